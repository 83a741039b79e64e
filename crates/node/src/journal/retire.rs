//! The window: group commits whose records are still needed, and how the oldest are made superfluous. What outlives
//! its record is written into chunks with a checkpoint of its queue, in the batch that retires the record.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::HashMap;
use leveret_engine::QueueId;
use leveret_engine::queue::Queue;
use leveret_engine::queue::checkpoint::Checkpoint;
use leveret_engine::queue::ops::OpIndex;
use leveret_store::{Batch, ChunkIndex, ChunkKey, ChunkPut, Gcn, Slot, StoreError};

use super::Journal;
use super::recovery::head;
use crate::node::Node;
use crate::queues::QueueCell;

/// Bytes of records in the window. What is consumed before as much was published after it is written once and
/// never again; a start after a crash reads it. Fits the store's write buffers.
const WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// Which part of the window is retired in one group, 4 MiB: a group that rewrites more keeps its publishers waiting. After as
/// many bytes it is looked whether the oldest records can go before the window is full, and at most twice as many are
/// rewritten for that.
const STEP: u64 = 16;

/// The records that are not retired, oldest first.
pub(super) struct Window {
    records: VecDeque<Record>,
    bytes: u64,
    /// How many bytes it may have.
    limit: u64,
    /// How many it had after the last look at what is left of the oldest.
    looked_at: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit: WINDOW_BYTES, looked_at: 0 }
    }
}

struct Record {
    gcn: Gcn,
    bytes: u64,
    /// The queues with ops in it, and the last of these.
    queues: Box<[(Arc<QueueCell>, OpIndex)]>,
}

impl Record {
    /// Whether nothing is left of what its ops put into their queues.
    fn is_settled(&self) -> bool {
        self.all(|queue, op| queue.is_settled(op))
    }

    /// Whether each of its queues has more than `bytes` before what comes now: all of that is going to be written again.
    fn is_waiting_behind(&self, bytes: u64) -> bool {
        self.all(|queue, op| queue.counts().ready_bytes > bytes || queue.is_settled(op))
    }

    fn all(&self, holds: impl Fn(&Queue, OpIndex) -> bool) -> bool {
        let mut queues = self.queues.iter();
        queues.all(|(cell, op)| cell.place.has_retired(*op) || holds(&cell.queue.lock(), *op))
    }
}

/// A checkpoint that is in a batch.
pub(super) struct Written {
    pub(super) cell: Arc<QueueCell>,
    pub(super) number: u64,
}

impl Window {
    pub(super) fn add(&mut self, gcn: Gcn, bytes: u64, queues: &[(Arc<QueueCell>, OpIndex)]) {
        self.bytes += bytes;
        self.records.push_back(Record { gcn, bytes, queues: queues.into() });
    }

    /// What is to be checkpointed so that the oldest records can go: queues and the last of their ops there.
    fn oldest(&mut self) -> Vec<(Arc<QueueCell>, OpIndex)> {
        let step = self.limit / STEP;
        let full = self.bytes > self.limit;
        if !full && self.bytes < self.looked_at + step {
            return Vec::new();
        }
        self.looked_at = self.bytes;
        let mut must = if full { (self.bytes - self.limit).max(step) } else { 0 };
        let (mut left, mut may) = (self.bytes, 2 * step);
        last_ops(self.records.iter().take_while(|record| {
            left = left.saturating_sub(record.bytes);
            if must > 0 {
                must = must.saturating_sub(record.bytes);
                true
            } else if left < step {
                false
            } else if record.is_settled() {
                true
            } else {
                let long = may > 0 && record.is_waiting_behind(self.limit);
                may = may.saturating_sub(record.bytes);
                long
            }
        }))
    }

    /// Forgets the oldest records as far as nobody needs them; the last one of these.
    fn retire(&mut self) -> Option<Gcn> {
        let mut upto = None;
        while let Some(record) = self.records.front()
            && record.queues.iter().all(|(cell, op)| cell.place.has_retired(*op))
        {
            upto = Some(record.gcn);
            self.bytes -= record.bytes;
            self.records.pop_front();
        }
        self.looked_at = self.looked_at.min(self.bytes);
        upto
    }
}

/// The queues of some records, oldest first, and the last of their ops there.
fn last_ops<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<(Arc<QueueCell>, OpIndex)> {
    let mut last: HashMap<QueueId, (Arc<QueueCell>, OpIndex)> = HashMap::default();
    for (cell, op) in records.flat_map(|record| &record.queues) {
        last.insert(cell.id, (Arc::clone(cell), *op));
    }
    last.into_values().collect()
}

impl super::Place {
    fn has_retired(&self, op: OpIndex) -> bool {
        self.is_gone() || self.retired.load(Ordering::Relaxed) >= op.0
    }
}

impl Node {
    /// Keeps records in the log until they have so many bytes together, instead of 64 MiB. A smaller window makes a
    /// start after a crash quicker and writes more messages twice.
    pub fn set_window(&self, bytes: u64) {
        self.journal.window.lock().limit = bytes;
    }

    /// To be called about ten times a second: looks at what the queues hold in memory. Beyond `limit` bytes the next group frees what is too much, and while
    /// that goes on and is not enough, publishers rest.
    pub fn limit_memory(&self, limit: usize) {
        let (mut used, mut garbage) = (0, 0);
        for cell in self.queues.all() {
            let queue = cell.queue.lock();
            used += queue.memory();
            garbage += queue.garbage();
        }
        if garbage > 0 && self.journal.looks.fetch_add(1, Ordering::Relaxed) >= SWEEP_LOOKS {
            self.journal.looks.store(0, Ordering::Relaxed);
            self.journal.sweep();
        }
        let excess = used.saturating_sub(limit);
        let goes_on = self.journal.freed.swap(0, Ordering::Relaxed) > 0;
        self.journal.crowded.store(goes_on && excess > limit / 2, Ordering::Relaxed);
        if excess > 0 {
            // A little more than needed, so that the next message does not ask again.
            self.journal.want_paging(excess + limit / 8);
        }
    }

    /// Adds the checkpoints that it is time for, and retires what they make superfluous.
    pub(super) fn checkpoints(
        &self,
        batch: &mut Batch,
        slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
    ) -> Result<Vec<Written>, StoreError> {
        let journal = &self.journal;
        let mut written = Vec::new();
        self.page_out(batch, &mut written, slot)?;
        if journal.sweep.swap(false, Ordering::Relaxed) {
            self.remove_garbage(batch, &mut written);
        }
        let mut window = journal.window.lock();
        for (cell, upto) in window.oldest() {
            if cell.place.has_retired(upto) {
                continue;
            }
            let Some(own) = cell.place.slot() else { continue };
            let checkpoint = cell.queue.lock().checkpoint(upto);
            written.push(put(batch, own, &cell, checkpoint));
        }
        batch.retire_upto = window.retire();
        Ok(written)
    }

    /// Removes the chunks that queues do not need any more, although nothing else is written of them.
    fn remove_garbage(&self, batch: &mut Batch, written: &mut Vec<Written>) {
        for cell in self.queues.all() {
            let Some(own) = cell.place.slot() else { continue };
            let mut queue = cell.queue.lock();
            if queue.garbage() > 0 {
                let checkpoint = queue.checkpoint(OpIndex(0));
                drop(queue);
                written.push(put(batch, own, &cell, checkpoint));
            }
        }
    }

    /// Frees memory, if it was asked for: the queues that hold the most are written out first.
    fn page_out(
        &self,
        batch: &mut Batch,
        written: &mut Vec<Written>,
        slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
    ) -> Result<(), StoreError> {
        let mut wanted = self.journal.take_paging();
        if wanted == 0 {
            return Ok(());
        }
        let sized = |cell: Arc<QueueCell>| {
            let memory = cell.queue.lock().memory();
            (memory, cell)
        };
        let mut cells: Vec<_> = self.queues.all().into_iter().map(sized).collect();
        cells.sort_unstable_by_key(|(memory, _)| std::cmp::Reverse(*memory));
        for (memory, cell) in cells {
            if wanted == 0 || memory < PAGED_MIN {
                break;
            }
            let own = match cell.place.slot() {
                Some(own) => own,
                None => {
                    let own = slot()?;
                    cell.place.set_slot(own);
                    own
                }
            };
            let paged = cell.queue.lock().page_out(wanted);
            let freed = paged.freed + paged.leaving;
            wanted = wanted.saturating_sub(freed);
            self.journal.freed.fetch_add(freed, Ordering::Relaxed);
            if let Some(checkpoint) = paged.checkpoint {
                written.push(put(batch, own, &cell, checkpoint));
            }
        }
        Ok(())
    }
}

/// Bytes that one group frees at most: it is written as a whole, and publishers wait for it.
const PAGED_MAX: usize = 16 * 1024 * 1024;

/// Looks at memory after which chunks that nothing needs are removed: seconds, since removing them one by one costs a
/// checkpoint each time.
const SWEEP_LOOKS: usize = 50;

/// Queues smaller than this are not worth a chunk.
const PAGED_MIN: usize = 256 * 1024;

fn put(batch: &mut Batch, slot: Slot, cell: &Arc<QueueCell>, checkpoint: Checkpoint) -> Written {
    let mut state = head(cell.id);
    state.extend_from_slice(&checkpoint.state);
    batch.checkpoints.push((slot, state));
    batch.chunks.extend(checkpoint.chunks.into_iter().map(|chunk| ChunkPut {
        slot,
        priority: chunk.first.level(),
        first_seq: chunk.first.index(),
        index: ChunkIndex {
            n: chunk.meta.n,
            end_seq: chunk.meta.end,
            bytes: chunk.meta.bytes,
            min_expiry: chunk.meta.min_expiry,
            first_at: chunk.meta.first_at,
            flags: chunk.meta.flags,
        },
        data: chunk.data,
    }));
    batch.dropped_chunks.extend(checkpoint.dropped.into_iter().map(|id| chunk_key(slot, id)));
    let retired = &cell.place.retired;
    retired.fetch_max(checkpoint.retires.0, Ordering::Relaxed);
    Written { cell: Arc::clone(cell), number: checkpoint.number }
}

/// A chunk as the store names it.
pub(super) fn chunk_key(slot: Slot, id: leveret_engine::queue::checkpoint::ChunkId) -> ChunkKey {
    ChunkKey { slot, priority: id.first.level(), first_seq: id.first.index(), gcn: Gcn(id.gcn) }
}

impl Journal {
    /// Asks for so many bytes of memory to be freed with the next group.
    pub(crate) fn want_paging(&self, bytes: usize) {
        self.paging.store(bytes, Ordering::Relaxed);
        let waker = self.open.lock().waker.take();
        super::wake(waker);
    }

    /// Asks for what nothing needs to be removed with the next group.
    fn sweep(&self) {
        self.sweep.store(true, Ordering::Relaxed);
        let waker = self.open.lock().waker.take();
        super::wake(waker);
    }

    /// Whether a group is wanted although no queue has anything to write.
    pub(super) fn wants_group(&self) -> bool {
        self.paging.load(Ordering::Relaxed) > 0 || self.sweep.load(Ordering::Relaxed)
    }

    /// What this group is to free; the groups behind it free the rest.
    fn take_paging(&self) -> usize {
        let less = |wanted: usize| Some(wanted.saturating_sub(PAGED_MAX));
        let wanted = self.paging.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        wanted.unwrap_or_default().min(PAGED_MAX)
    }
}
