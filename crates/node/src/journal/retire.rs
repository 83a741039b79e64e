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
    /// The queues with ops in it.
    queues: Box<[Ops]>,
}

/// The ops of a queue in a record.
#[derive(Clone)]
pub(crate) struct Ops {
    pub(super) cell: Arc<QueueCell>,
    /// Which life of the queue's place they belong to.
    pub(super) life: u64,
    /// The last one.
    pub(super) last: OpIndex,
    /// What was written until then that is no op.
    pub(super) notes: u64,
}

impl Ops {
    /// Whether nothing needs them any more.
    fn is_retired(&self) -> bool {
        let place = &self.cell.place;
        place.is_gone()
            || place.life() != self.life
            || (place.retired() >= self.last && place.has_retired_notes(self.notes))
    }
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
        queues.all(|ops| ops.is_retired() || holds(&ops.cell.queue.lock(), ops.last))
    }
}

/// A checkpoint that is in a batch.
pub(crate) struct Written {
    pub(super) cell: Arc<QueueCell>,
    pub(super) number: u64,
}

impl Window {
    pub(super) fn add(&mut self, gcn: Gcn, bytes: u64, queues: impl IntoIterator<Item = Ops>) {
        self.bytes += bytes;
        let queues = queues.into_iter().collect();
        self.records.push_back(Record { gcn, bytes, queues });
    }

    /// What is to be checkpointed so that the oldest records can go: queues and the last of their ops there.
    fn oldest(&mut self) -> Vec<Ops> {
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
            && record.queues.iter().all(Ops::is_retired)
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
fn last_ops<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<Ops> {
    let mut last: HashMap<QueueId, Ops> = HashMap::default();
    for ops in records.flat_map(|record| &record.queues) {
        last.insert(ops.cell.id, ops.clone());
    }
    last.into_values().collect()
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
        journal.checkpoints_wanted.store(false, Ordering::Release);
        self.release_held(batch, &mut written);
        self.page_out(batch, &mut written, slot)?;
        if journal.sweep.swap(false, Ordering::Relaxed) {
            self.remove_garbage(batch, &mut written);
        }
        self.take_snapshots(batch, &mut written);
        let mut window = journal.window.lock();
        for ops in window.oldest() {
            if ops.is_retired() {
                continue;
            }
            let (upto, cell) = (ops.last, &ops.cell);
            self.checkpoint(batch, &mut written, cell, |queue| Some(queue.checkpoint(upto)));
        }
        batch.retire_upto = window.retire();
        Ok(written)
    }

    /// Removes the chunks that queues do not need any more, although nothing else is written of them.
    fn remove_garbage(&self, batch: &mut Batch, written: &mut Vec<Written>) {
        for cell in self.queues.all() {
            self.checkpoint(batch, written, &cell, |queue| {
                (queue.garbage() > 0).then(|| queue.checkpoint(OpIndex(0)))
            });
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
            if cell.place.slot().is_none() {
                cell.place.set_slot(slot()?);
            }
            let mut freed = 0;
            self.checkpoint(batch, written, &cell, |queue| {
                let paged = queue.page_out(wanted);
                freed = paged.freed + paged.leaving;
                paged.checkpoint
            });
            wanted = wanted.saturating_sub(freed);
            self.journal.freed.fetch_add(freed, Ordering::Relaxed);
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

/// Adds a checkpoint to a batch, with `state` before what it says.
pub(super) fn put(
    batch: &mut Batch,
    slot: Slot,
    cell: &Arc<QueueCell>,
    mut state: Vec<u8>,
    checkpoint: Checkpoint,
) -> Written {
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
    cell.place.note_retired(checkpoint.retires);
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
        self.paging.load(Ordering::Relaxed) > 0
            || self.sweep.load(Ordering::Relaxed)
            || self.is_wanted()
            || self.checkpoints_wanted.load(Ordering::Acquire)
    }

    /// What this group is to free; the groups behind it free the rest.
    fn take_paging(&self) -> usize {
        let less = |wanted: usize| Some(wanted.saturating_sub(PAGED_MAX));
        let wanted = self.paging.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        wanted.unwrap_or_default().min(PAGED_MAX)
    }
}
