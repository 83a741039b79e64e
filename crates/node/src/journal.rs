//! The open group: the ops of all queues that no group commit has written yet, in order. Hot path.
//!
//! ```text
//!  queues, each under its lock ──append──▶ open group ──seal──▶ batch ──▶ written ──▶ synced
//!                                               ▲                                       │
//!                      what comes meanwhile ────┘              answers to publishers ◀──┘
//! ```
//!
//! Whoever owns the store (one thread in the server, the loop of a simulator) calls [`Node::seal`], writes the
//! batch, says [`Node::written`], syncs, and says [`Node::synced`]; then again. It never waits for company:
//! what arrives while it writes is the next group.
//!
//! *Invariants:* the ops of a queue are appended in their order, since that happens under its lock. A message that
//! was taken from one queue to be dead-lettered and the same message in its target are in one group:
//! see [`Journal::append`].

mod copies;
mod held;
mod loads;
mod recovery;
mod retire;
mod seal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use leveret_cluster::replication::Ticket;
use leveret_engine::queue::ops::{LoggedOp, Op, OpIndex, Trace};
use leveret_store::Slot;
use parking_lot::{Condvar, Mutex};

use crate::connections::Handle;
use crate::queues::QueueCell;
use held::Holding;
use loads::Loads;
use retire::Window;

pub(crate) use copies::CopyWrite;
pub use loads::Load;
pub(crate) use recovery::take_stock;
pub use recovery::{Recovered, RecoveryError};
pub(crate) use retire::Written;
pub use seal::Sealed;

/// Bytes of an open group beyond which publishers rest until it has been sealed: a disk that is slower than its
/// publishers must not fill the memory. Some hundredths of a second of what a fast disk takes; several copies of it are on the way.
const OPEN_BYTES_HIGH: usize = 8 * 1024 * 1024;

/// How long a publisher rests at most, in milliseconds, when it is ahead of the disk. As a rule it goes on when the next
/// group is closed; this is for a disk that takes longer than anybody should wait without a look.
const REST_MAX_MS: u64 = 1000;

/// What of a group is spoken of by no byte count: ranges and lists.
const OP_BYTES: usize = 48;

/// The ops that wait to be written, and what is known of those that were.
#[derive(Default)]
pub(crate) struct Journal {
    open: Mutex<Open>,
    /// Told when the last hold on the open group ends.
    released: Condvar,
    /// Only the store's owner touches it, once per group.
    window: Mutex<Window>,
    pub(crate) loads: Loads,
    /// Checkpoints that wait until what they say is committed.
    holding: Holding,
    /// Whether the store's owner is wanted for something else than a group.
    wanted: AtomicBool,
    /// Whether a group is wanted for the checkpoints in it.
    checkpoints_wanted: AtomicBool,
    /// Bytes of memory to be freed with the next group.
    paging: AtomicUsize,
    /// Whether freeing memory does not keep up with publishers.
    crowded: AtomicBool,
    /// Bytes of memory that were freed, or are being freed, since the queues were last looked at.
    freed: AtomicUsize,
    /// Whether the next group removes what queues left on disk.
    sweep: AtomicBool,
    /// Looks at memory since the last one that swept.
    looks: AtomicUsize,
    /// Bytes of the open group, readable without its lock.
    open_bytes: AtomicUsize,
}

#[derive(Default)]
struct Open {
    /// Which group it is, counted from the start of the process.
    number: u64,
    entries: Vec<Entry>,
    bytes: usize,
    /// Slots of queues that are gone.
    dropped: Vec<Slot>,
    /// Turns that took messages from one queue and have not put them into the next yet.
    holds: u32,
    /// Publishers that are not read until the group is closed.
    resting: Vec<Arc<Handle>>,
    waker: Option<Waker>,
}

/// What one queue has in the open group.
struct Entry {
    cell: Arc<QueueCell>,
    content: Content,
}

enum Content {
    /// The ops of a queue that has no other copy.
    Ops(Vec<LoggedOp>),
    /// What a copy keeps: in which life of its place, up to which entry and under which ticket.
    Copy { life: u64, writes: Vec<CopyWrite>, last: OpIndex, ticket: Ticket },
}

/// What a queue's cell remembers for the journal.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The slot plus 1, once the first group of the queue was sealed; 0 before.
    slot: AtomicU64,
    /// The open group that the queue is in, plus 1, and its entry there. Written under the journal's lock.
    group: AtomicU64,
    entry: AtomicUsize,
    /// The ops up to this number are in the queue's newest checkpoint.
    retired: AtomicU64,
    /// Whether the queue was deleted: nothing of it is written any more.
    gone: AtomicBool,
    /// The slot plus 1 of a copy that is on its way here.
    incoming: AtomicU64,
    /// How often the copy here was given up or replaced: what was written before does not count.
    life: AtomicU64,
    /// How often the copy here was given up: what waits to be written of it is not.
    given_up: AtomicU64,
    /// How often something was written that is in no entry of the log and that the next checkpoint makes superfluous, and
    /// how often that was when the newest checkpoint was written.
    notes: AtomicU64,
    notes_retired: AtomicU64,
}

impl Place {
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.slot.load(Ordering::Relaxed).checked_sub(1).map(Slot)
    }

    fn set_slot(&self, slot: Slot) {
        self.slot.store(slot.0 + 1, Ordering::Relaxed);
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn life(&self) -> u64 {
        self.life.load(Ordering::Relaxed)
    }

    pub(super) fn notes(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }

    fn count_note(&self) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }

    /// The ops up to this one are in the newest checkpoint.
    pub(crate) fn retired(&self) -> OpIndex {
        OpIndex(self.retired.load(Ordering::Relaxed))
    }
}

impl Journal {
    /// Takes the ops of a queue, whose lock the caller holds. With `hold` the group is not closed before
    /// [`Journal::release`]: what these ops took from the queue is on its way into another one, and the disk is to
    /// learn of both at once. Ops that the disk need not hear of are not taken, and then nothing is held. Says whether
    /// something is.
    pub(crate) fn append(
        &self,
        cell: &Arc<QueueCell>,
        ops: &mut Vec<LoggedOp>,
        hold: bool,
    ) -> bool {
        let bytes: usize = ops.iter().map(size).sum();
        if bytes == 0 {
            ops.clear();
            return false;
        }
        let waker = {
            let mut open = self.open.lock();
            let entry = open.entry(cell, false);
            match open.entries.get_mut(entry).map(|entry| &mut entry.content) {
                Some(Content::Ops(known)) if known.is_empty() => std::mem::swap(known, ops),
                Some(Content::Ops(known)) => known.append(ops),
                Some(Content::Copy { .. }) | None => {}
            }
            open.bytes += bytes;
            open.holds += u32::from(hold);
            self.open_bytes.store(open.bytes, Ordering::Relaxed);
            open.waker.take()
        };
        ops.clear();
        wake(waker);
        hold
    }

    /// Ends holds: what was taken from one queue is in the other.
    pub(crate) fn release(&self, holds: u32) {
        let mut open = self.open.lock();
        open.holds -= holds.min(open.holds);
        if open.holds == 0 {
            self.released.notify_all();
        }
    }

    /// A queue is gone: what is on disk of it may go.
    pub(crate) fn forget(&self, cell: &QueueCell) {
        cell.place.gone.store(true, Ordering::Relaxed);
        let waker = {
            let mut open = self.open.lock();
            open.dropped.extend(cell.place.slot());
            open.dropped.extend(cell.place.take_incoming());
            open.waker.take()
        };
        wake(waker);
    }

    /// Slots that no queue has any more.
    pub(super) fn drop_slots(&self, slots: Vec<Slot>) {
        self.open.lock().dropped.extend(slots);
    }

    /// How long a publisher has to rest, in milliseconds at most, so that the disk keeps up with it: 0 unless the open
    /// group is large or memory is crowded. Its mailbox is told when it may go on.
    pub(crate) fn rest(&self, publisher: &Arc<Handle>) -> u64 {
        let crowded = || self.crowded.load(Ordering::Relaxed);
        if self.open_bytes.load(Ordering::Relaxed) <= OPEN_BYTES_HIGH && !crowded() {
            return 0;
        }
        let mut open = self.open.lock();
        // It may have been closed in the meantime.
        if open.bytes <= OPEN_BYTES_HIGH && !crowded() {
            return 0;
        }
        if !open.resting.last().is_some_and(|last| Arc::ptr_eq(last, publisher)) {
            open.resting.push(Arc::clone(publisher));
        }
        REST_MAX_MS
    }
}

impl Open {
    /// The queue's entry, for its ops or for what a copy keeps; made if there is none.
    fn entry(&mut self, cell: &Arc<QueueCell>, copy: bool) -> usize {
        let place = &cell.place;
        if place.group.load(Ordering::Relaxed) == self.number + 1 {
            let at = place.entry.load(Ordering::Relaxed);
            let known = self.entries.get(at).map(|entry| &entry.content);
            if matches!(known, Some(Content::Copy { .. })) == copy {
                return at;
            }
        }
        let at = self.entries.len();
        let content = if copy {
            let life = place.given_up.load(Ordering::Relaxed);
            let (writes, last, ticket) = Default::default();
            Content::Copy { life, writes, last, ticket }
        } else {
            Content::Ops(Vec::new())
        };
        self.entries.push(Entry { cell: Arc::clone(cell), content });
        place.group.store(self.number + 1, Ordering::Relaxed);
        place.entry.store(at, Ordering::Relaxed);
        at
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// About how much memory an op takes while it waits; 0 if the disk need not hear of it.
fn size(logged: &LoggedOp) -> usize {
    match &logged.op {
        _ if logged.trace == Trace::None => 0,
        Op::Publish { block, .. } => block.memory() + OP_BYTES,
        _ => OP_BYTES,
    }
}
