//! Checkpoints of queues with other copies. What a leader has done is final only once it is committed, and a copy must not
//! have on disk what may be undone in more than its log: so a checkpoint is held back until everything that it says is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_engine::queue::Queue;
use leveret_engine::queue::checkpoint::Checkpoint;
use leveret_engine::queue::ops::OpIndex;
use leveret_store::Batch;
use parking_lot::Mutex;

use super::recovery::{copy_head, head};
use super::retire::{Written, put};
use crate::node::Node;
use crate::queues::QueueCell;

/// What is held back. Only the store's owner touches it.
#[derive(Default)]
pub(super) struct Holding {
    held: Mutex<Vec<Held>>,
}

struct Held {
    cell: Arc<QueueCell>,
    checkpoint: Checkpoint,
    /// The last op that it says something of.
    last: OpIndex,
    /// Which making of the queue it is of.
    made: u64,
}

/// What is to happen to what is held.
enum Now {
    Write(Vec<u8>),
    Wait,
    Forget,
}

impl Node {
    /// Makes a checkpoint of a queue, if there is one to make, and adds it to the batch, now or when it is committed. One
    /// that has none on disk yet, or of which one is held, is left.
    pub(crate) fn checkpoint(
        &self,
        batch: &mut Batch,
        written: &mut Vec<Written>,
        cell: &Arc<QueueCell>,
        make: impl FnOnce(&mut Queue) -> Option<Checkpoint>,
    ) {
        let mut held = self.journal.holding.held.lock();
        if cell.place.slot().is_none() || held.iter().any(|held| held.cell.id == cell.id) {
            return;
        }
        let (checkpoint, last, made) = {
            let mut queue = cell.queue.lock();
            if !cell.copy.may_checkpoint() {
                return;
            }
            let Some(checkpoint) = make(&mut queue) else { return };
            (checkpoint, queue.last_op().unwrap_or_default(), cell.copy.made())
        };
        let it = Held { cell: Arc::clone(cell), checkpoint, last, made };
        held.extend(release(it, batch, written));
    }

    /// Adds what was held back and is committed by now.
    pub(super) fn release_held(&self, batch: &mut Batch, written: &mut Vec<Written>) {
        let mut held = self.journal.holding.held.lock();
        let before = std::mem::take(&mut *held);
        held.extend(before.into_iter().filter_map(|it| release(it, batch, written)));
    }
}

/// Adds it to the batch if it is time; gives it back if it is not.
fn release(it: Held, batch: &mut Batch, written: &mut Vec<Written>) -> Option<Held> {
    match it.now() {
        Now::Write(state) => {
            let Held { cell, checkpoint, .. } = it;
            let slot = cell.place.slot()?;
            written.push(put(batch, slot, &cell, state, checkpoint));
            None
        }
        Now::Wait => Some(it),
        Now::Forget => None,
    }
}

impl Held {
    fn now(&self) -> Now {
        let Self { cell, checkpoint, last, made } = self;
        let _queue = cell.queue.lock();
        if cell.place.is_gone() || cell.copy.made() != *made {
            return Now::Forget;
        }
        let place = cell.copy.lock();
        let Some(copy) = place.as_ref() else { return Now::Write(head(cell.id)) };
        if copy.commit() < *last {
            return Now::Wait;
        }
        copy.head(checkpoint.retires)
            .map_or(Now::Wait, |head| Now::Write(copy_head(cell.id, &head)))
    }
}

impl super::Place {
    /// Notes that a checkpoint has everything up to an op.
    pub(super) fn note_retired(&self, upto: OpIndex) {
        self.retired.fetch_max(upto.0, Ordering::Relaxed);
        self.notes_retired.store(self.notes(), Ordering::Relaxed);
    }

    pub(super) fn has_retired_notes(&self, notes: u64) -> bool {
        self.notes_retired.load(Ordering::Relaxed) >= notes
    }
}
