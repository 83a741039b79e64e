//! What one connection has published and settled in the current batch, by queue, before any lock is taken. Hot path.

use std::sync::Arc;

use foldhash::HashMap;
use leveret_engine::{Block, ChannelKey, ConfirmRun, Incoming, NewRecord, QueueId, Settle};
use smallvec::SmallVec;

use crate::queues::QueueCell;

/// How large the next block of a batch is made at once, at most: what a full read buffer of small publishes needs.
const CAPACITY_HINT_MAX: usize = leveret_engine::BLOCK_TARGET;

/// The part of a batch that goes to one queue.
pub(crate) struct Batch {
    pub(crate) cell: Arc<QueueCell>,
    pub(crate) block: Block,
    pub(crate) confirms: SmallVec<[ConfirmRun; 2]>,
    pub(crate) settles: Vec<Settle>,
    /// How many of the settles came before anything was published, to whatever queue: they go first.
    pub(crate) early: usize,
    /// What the last block held: bytes and records.
    hint: usize,
    records: usize,
}

impl Batch {
    fn new(cell: Arc<QueueCell>) -> Self {
        Self {
            cell,
            block: Block::new(),
            confirms: SmallVec::new(),
            settles: Vec::new(),
            early: 0,
            hint: 0,
            records: 0,
        }
    }

    #[inline]
    fn push(&mut self, record: &NewRecord<'_>, confirm: Option<(ChannelKey, u64)>) {
        if self.block.is_empty() && self.hint > 0 {
            self.block = Block::with_capacity(self.hint, self.records);
        }
        if let Some((channel, tag)) = confirm {
            self.note_confirm(channel, tag);
        }
        self.block.push(record);
    }

    #[inline]
    fn note_confirm(&mut self, channel: ChannelKey, tag: u64) {
        let at = self.block.len();
        if let Some(run) = self.confirms.last_mut()
            && run.channel == channel
            && run.first_tag + u64::from(run.n) == tag
            && run.first_record + run.n == at
        {
            run.n += 1;
            return;
        }
        self.confirms.push(ConfirmRun { first_record: at, n: 1, channel, first_tag: tag });
    }

    /// Memory that the queue has no use for serves the next block.
    pub(crate) fn reuse(&mut self, spare: Option<Block>) {
        if let Some(block) = spare {
            self.block = block;
        }
    }

    /// Hands out what has been published, leaving room for as much again.
    pub(crate) fn take_incoming(&mut self) -> Incoming {
        self.hint = self.block.byte_len().min(CAPACITY_HINT_MAX);
        self.records = self.block.len() as usize;
        Incoming {
            block: std::mem::take(&mut self.block),
            confirms: std::mem::take(&mut self.confirms),
        }
    }
}

/// What became of a message that was added to its batch.
pub(crate) enum Push<'a> {
    /// It waits there for the end of the batch.
    Room,
    /// It waits there, and its block is full: hand it over before more is added.
    Full(&'a mut Batch),
    /// Its queue is gone.
    Gone,
}

/// The batches of a connection. Those of earlier turns are kept a while, so that a steady publisher finds its queue at once.
#[derive(Default)]
pub(crate) struct Pending {
    batches: Vec<Batch>,
    by_queue: HashMap<QueueId, usize>,
    last: usize,
    /// Whether anything was published since all was handed over.
    published: bool,
}

/// Batches kept from turn to turn; a connection that touches more queues than this in one turn starts afresh.
const BATCHES_KEPT: usize = 64;

impl Pending {
    /// Adds a message for `queue`.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        queue: QueueId,
        record: &NewRecord<'_>,
        confirm: Option<(ChannelKey, u64)>,
        find: impl FnOnce(QueueId) -> Option<Arc<QueueCell>>,
    ) -> Push<'_> {
        self.published = true;
        let Some(batch) = self.batch(queue, find) else { return Push::Gone };
        batch.push(record, confirm);
        if batch.block.is_full() { Push::Full(batch) } else { Push::Room }
    }

    /// Adds an ack, a requeue or a rejection for `queue`.
    pub(crate) fn settle(
        &mut self,
        queue: QueueId,
        settle: Settle,
        find: impl FnOnce(QueueId) -> Option<Arc<QueueCell>>,
    ) {
        let published = self.published;
        if let Some(batch) = self.batch(queue, find) {
            batch.settles.push(settle);
            if !published {
                batch.early = batch.settles.len();
            }
        }
    }

    #[inline]
    fn batch(
        &mut self,
        queue: QueueId,
        find: impl FnOnce(QueueId) -> Option<Arc<QueueCell>>,
    ) -> Option<&mut Batch> {
        let hit = |batch: Option<&Batch>| batch.is_some_and(|b| b.cell.id == queue);
        if !hit(self.batches.get(self.last)) {
            let next = self.last + 1;
            self.last = if hit(self.batches.get(next)) { next } else { self.look_up(queue, find)? };
        }
        self.batches.get_mut(self.last)
    }

    #[cold]
    fn look_up(
        &mut self,
        queue: QueueId,
        find: impl FnOnce(QueueId) -> Option<Arc<QueueCell>>,
    ) -> Option<usize> {
        if let Some(at) = self.by_queue.get(&queue) {
            return Some(*at);
        }
        let cell = find(queue)?;
        self.batches.push(Batch::new(cell));
        self.by_queue.insert(queue, self.batches.len() - 1);
        Some(self.batches.len() - 1)
    }

    /// The batches, so that the caller can hand them over one by one.
    pub(crate) fn batches(&mut self) -> &mut [Batch] {
        &mut self.batches
    }

    /// Everything was handed over.
    pub(crate) fn handed_over(&mut self) {
        self.published = false;
    }

    /// Ends the turn: everything has been handed over.
    pub(crate) fn end(&mut self) {
        if self.batches.len() > BATCHES_KEPT {
            self.forget();
        }
    }

    /// Lets go of all queues (they may have been deleted).
    pub(crate) fn forget(&mut self) {
        self.batches.clear();
        self.by_queue.clear();
        self.last = 0;
    }
}
