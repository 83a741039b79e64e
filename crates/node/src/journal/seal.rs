//! From the open group to a batch for the store, and back to the publishers once it is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use leveret_cluster::replication::Ticket;
use leveret_engine::Timestamp;
use leveret_engine::queue::ops::encode::encode_ops;
use leveret_engine::queue::ops::{LoggedOp, OpIndex};
use leveret_store::{Batch, Gcn, Slot, StoreError};

use super::retire::{Ops, Written};
use super::{Content, Entry, Journal, copies};
use crate::effects::Scope;
use crate::node::Node;
use crate::queues::QueueCell;

/// A group that is closed, on its way to the disk.
pub struct Sealed {
    /// What is to be written. Empty if the disk need not hear of anything in the group.
    pub batch: Batch,
    /// The queues in the group.
    queues: Vec<InGroup>,
    /// Which group it is.
    number: u64,
    /// Checkpoints in the batch.
    checkpoints: Vec<Written>,
    record_bytes: u64,
    gcn: Gcn,
}

/// A queue in a group.
pub(super) struct InGroup {
    pub(super) cell: Arc<QueueCell>,
    /// Which life of its place it is in.
    pub(super) life: u64,
    /// The last of its ops.
    pub(super) last: OpIndex,
    /// What was written that is no op.
    pub(super) notes: u64,
    /// Of what a copy keeps.
    pub(super) ticket: Option<Ticket>,
}

impl InGroup {
    fn ops(&self) -> Ops {
        let (cell, notes) = (Arc::clone(&self.cell), self.notes);
        Ops { cell, life: self.life, last: self.last, notes }
    }
}

impl Node {
    /// Closes the open group and says what is to be written of it, with checkpoints where it is time for them. `None` if
    /// there is nothing to do; then `waker` is woken when there is. `slot` gives slots to queues that had nothing on
    /// disk yet.
    ///
    /// Whoever calls writes [`Sealed::batch`], calls [`Node::written`], syncs, and calls [`Node::synced`]. Groups are
    /// written in the order in which they were sealed.
    ///
    /// # Errors
    /// Those of `slot`.
    pub fn seal(
        &self,
        waker: &Waker,
        slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
    ) -> Result<Option<Sealed>, StoreError> {
        let journal = &self.journal;
        if !journal.is_sealable(waker) {
            return Ok(None);
        }
        let mut batch = Batch::default();
        // Checkpoints first: the ops that they include are in this group at the latest.
        let checkpoints = self.checkpoints(&mut batch, slot)?;
        let Closed { number, entries, dropped, bytes } = journal.close();
        // At once: growing step by step copies it several times. What is over already leaves some of it untouched.
        batch.record.reserve(bytes);
        let mut sealed = Sealed {
            batch,
            queues: Vec::with_capacity(entries.len()),
            number,
            checkpoints,
            record_bytes: 0,
            gcn: Gcn(0),
        };
        for entry in entries {
            sealed.add(entry, slot)?;
        }
        sealed.batch.dropped_slots.extend(dropped);
        sealed.record_bytes = sealed.batch.record.len() as u64;
        Ok(Some(sealed))
    }

    /// The batch of a group has been written as number `gcn`.
    pub fn written(&self, sealed: &mut Sealed, gcn: Gcn) {
        sealed.gcn = gcn;
        for done in &sealed.checkpoints {
            done.cell.queue.lock().checkpoint_stored(done.number, gcn.0);
            self.snapshot_stored(&done.cell, done.number);
        }
        self.replicas.group_written(sealed.number);
        if sealed.record_bytes > 0 {
            let ops = sealed.queues.iter().map(InGroup::ops);
            self.journal.window.lock().add(gcn, sealed.record_bytes, ops);
        }
    }

    /// A group is on disk, or nothing of it had to be: publishers get their confirms.
    pub fn synced(&self, sealed: Sealed, now: Timestamp) {
        let mut scope = Scope::new(now);
        for InGroup { cell, last, ticket, .. } in sealed.queues {
            match ticket {
                None => {
                    self.with_queue(&cell, &mut scope, |queue, fx| queue.durable(last, now, fx))
                }
                Some(ticket) => self.copy_written(&cell, ticket, &mut scope),
            }
        }
        for done in sealed.checkpoints {
            done.cell.retire_log();
        }
        self.finish(&mut scope);
    }
}

impl Sealed {
    fn add(
        &mut self,
        entry: Entry,
        slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
    ) -> Result<(), StoreError> {
        let Entry { cell, content } = entry;
        let (last, ticket) = match content {
            Content::Ops(ops) => {
                let Some(last) = ops.last().map(|logged| logged.index) else { return Ok(()) };
                if !cell.place.is_gone() {
                    self.encode(&cell, &ops, slot)?;
                }
                (last, None)
            }
            Content::Copy { life, writes, last, ticket } => {
                let given_up = cell.place.given_up.load(Ordering::Relaxed) != life;
                if given_up || cell.place.is_gone() {
                    return Ok(());
                }
                copies::encode(&mut self.batch, &cell, writes, slot)?;
                (last, Some(ticket))
            }
        };
        let (life, notes) = (cell.place.life(), cell.place.notes());
        self.queues.push(InGroup { cell, life, last, notes, ticket });
        Ok(())
    }

    /// Appends to the record: slot, length, ops.
    fn encode(
        &mut self,
        cell: &Arc<QueueCell>,
        ops: &[LoggedOp],
        slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
    ) -> Result<(), StoreError> {
        let record = &mut self.batch.record;
        let start = record.len();
        record.extend_from_slice(&[0; ENTRY_HEAD]);
        encode_ops(ops, record);
        let len = record.len() - start - ENTRY_HEAD;
        if len == 0 {
            record.truncate(start);
            return Ok(());
        }
        let own = match cell.place.slot() {
            Some(own) => own,
            None => {
                let own = slot()?;
                cell.place.set_slot(own);
                self.batch.checkpoints.push((own, super::recovery::head(cell.id)));
                own
            }
        };
        end_entry(record, start, own);
        Ok(())
    }
}

/// Fills in the head of the entry that began at `start` and is complete.
pub(super) fn end_entry(record: &mut [u8], start: usize, slot: Slot) {
    let len = record.len() - start - ENTRY_HEAD;
    if let Some(head) = record.get_mut(start..start + ENTRY_HEAD) {
        head[..8].copy_from_slice(&slot.0.to_le_bytes());
        head[8..].copy_from_slice(&(len as u32).to_le_bytes());
    }
}

/// Bytes before the ops of a queue in a record: its slot and their length.
pub(super) const ENTRY_HEAD: usize = 12;

/// The first byte of an entry that is a copy's; ops begin with their version, which is lower.
pub(super) const COPY: u8 = 0xc0;

/// What was in the open group.
struct Closed {
    number: u64,
    entries: Vec<Entry>,
    dropped: Vec<Slot>,
    /// About how much memory the ops take.
    bytes: usize,
}

impl Journal {
    /// Whether there is something to seal; otherwise `waker` is left.
    fn is_sealable(&self, waker: &Waker) -> bool {
        let mut open = self.open.lock();
        let any = !open.entries.is_empty() || !open.dropped.is_empty() || self.wants_group();
        if !any && !open.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            open.waker = Some(waker.clone());
        }
        any
    }

    /// Takes what is in the open group, once nothing is on its way from queue to queue: that is a matter of the
    /// microseconds in which another thread puts dead letters into their queues.
    fn close(&self) -> Closed {
        let mut open = self.open.lock();
        self.released.wait_while(&mut open, |open| open.holds > 0);
        open.number += 1;
        self.open_bytes.store(0, Ordering::Relaxed);
        for publisher in open.resting.drain(..) {
            publisher.mailbox.end_rest();
        }
        Closed {
            number: open.number - 1,
            entries: std::mem::take(&mut open.entries),
            dropped: std::mem::take(&mut open.dropped),
            bytes: std::mem::take(&mut open.bytes),
        }
    }
}
