//! What copies of queues keep, in the same group commits as everything else. A copy that is replaced as a whole gets a
//! slot of its own, and the one before goes in the batch that names the new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_cluster::replication::Ticket;
use leveret_cluster::replication::stored::{Head, Kept, PartChunk, write_kept};
use leveret_engine::queue::ops::OpIndex;
use leveret_store::{Batch, ChunkIndex, ChunkPut, Slot, StoreError};

use super::recovery::{copy_head, incoming_head};
use super::seal::{COPY, ENTRY_HEAD, end_entry};
use super::{Content, Journal, OP_BYTES, Place, wake};
use crate::queues::QueueCell;

/// What a copy wants kept.
pub(crate) enum CopyWrite {
    /// What belongs into the log.
    Kept(Kept),
    /// A chunk of a copy that is on its way here; the `first` one begins it.
    Chunk { chunk: PartChunk, first: bool },
    /// The copy that has come takes the place of the one before: its head, and the state of its queue. A `bare` one has no
    /// chunks.
    Replace { head: Head, state: Arc<[u8]>, bare: bool },
}

impl CopyWrite {
    fn size(&self) -> usize {
        match self {
            Self::Kept(Kept::Append { entries, .. }) => {
                entries.iter().map(|entry| entry.byte_len()).sum()
            }
            Self::Kept(_) => OP_BYTES,
            Self::Chunk { chunk, .. } => chunk.data.len(),
            Self::Replace { state, .. } => state.len(),
        }
    }
}

impl Journal {
    /// Takes what a copy wants kept; the caller holds the queue's lock. `last` is the last entry of its log, `ticket` of
    /// its writes. Says in which group it is.
    pub(crate) fn keep(
        &self,
        cell: &Arc<QueueCell>,
        kept: Vec<CopyWrite>,
        (last, ticket): (OpIndex, Ticket),
        hold: bool,
    ) -> u64 {
        let bytes: usize = kept.iter().map(CopyWrite::size).sum();
        let replaced = kept.iter().any(|write| matches!(write, CopyWrite::Replace { .. }));
        let (number, waker) = {
            let mut open = self.open.lock();
            let at = open.entry(cell, true);
            if let Some(Content::Copy { writes, last: upto, ticket: newest, .. }) =
                open.entries.get_mut(at).map(|entry| &mut entry.content)
            {
                writes.extend(kept);
                // What was cut off was in it all the same; what was replaced is in another place.
                *upto = if replaced { last } else { last.max(*upto) };
                *newest = ticket.max(*newest);
            }
            open.bytes += bytes;
            open.holds += u32::from(hold);
            self.open_bytes.store(open.bytes, Ordering::Relaxed);
            (open.number, open.waker.take())
        };
        wake(waker);
        number
    }

    /// The copy of a queue on this node is given up: what is on disk of it may go.
    pub(crate) fn give_up(&self, cell: &QueueCell) {
        let place = &cell.place;
        let waker = {
            let mut open = self.open.lock();
            place.given_up.fetch_add(1, Ordering::Relaxed);
            open.dropped.extend(place.slot());
            open.dropped.extend(place.take_incoming());
            place.begin_again(None);
            open.waker.take()
        };
        wake(waker);
    }

    /// The store's owner is wanted: copies have to be read.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
        let waker = self.open.lock().waker.take();
        wake(waker);
    }

    /// A group is wanted: a checkpoint that a mirror waits for can be made, or written.
    pub(crate) fn want_checkpoints(&self) {
        self.checkpoints_wanted.store(true, Ordering::Release);
        let waker = self.open.lock().waker.take();
        wake(waker);
    }

    /// Whether the store's owner was wanted.
    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Acquire)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }
}

impl Place {
    /// Another copy is here from now on, in `slot`, or none.
    fn begin_again(&self, slot: Option<Slot>) {
        self.life.fetch_add(1, Ordering::Relaxed);
        self.slot.store(slot.map_or(0, |slot| slot.0 + 1), Ordering::Relaxed);
        self.retired.store(0, Ordering::Relaxed);
    }

    pub(super) fn take_incoming(&self) -> Option<Slot> {
        self.incoming.swap(0, Ordering::Relaxed).checked_sub(1).map(Slot)
    }

    fn incoming(&self) -> Option<Slot> {
        self.incoming.load(Ordering::Relaxed).checked_sub(1).map(Slot)
    }
}

/// Whether it says something that is in no entry.
pub(super) fn is_note(kept: &Kept) -> bool {
    matches!(kept, Kept::Begins { .. } | Kept::Life(_) | Kept::Ends)
}

/// Adds what a copy keeps to a batch.
pub(super) fn encode(
    batch: &mut Batch,
    cell: &QueueCell,
    writes: Vec<CopyWrite>,
    slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
) -> Result<(), StoreError> {
    let place = &cell.place;
    let mut kept = Vec::new();
    for write in writes {
        match write {
            CopyWrite::Kept(more) => kept.push(more),
            CopyWrite::Chunk { chunk, first } => {
                let own = incoming(batch, place, first, slot)?;
                batch.chunks.push(put(own, chunk));
            }
            CopyWrite::Replace { head, state, bare } => {
                // It was for a copy that goes.
                kept.clear();
                batch.dropped_slots.extend(place.slot());
                let own = match place.take_incoming() {
                    Some(own) if !bare => own,
                    old => {
                        batch.dropped_slots.extend(old);
                        slot()?
                    }
                };
                let mut bytes = copy_head(cell.id, &head);
                bytes.extend_from_slice(&state);
                batch.checkpoints.push((own, bytes));
                place.begin_again(Some(own));
            }
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    if kept.iter().any(is_note) {
        place.count_note();
    }
    let own = match place.slot() {
        Some(own) => own,
        None => {
            let own = slot()?;
            place.set_slot(own);
            batch.checkpoints.push((own, super::recovery::head(cell.id)));
            own
        }
    };
    let record = &mut batch.record;
    let start = record.len();
    record.extend_from_slice(&[0; ENTRY_HEAD]);
    record.push(COPY);
    write_kept(&kept, record);
    end_entry(record, start, own);
    Ok(())
}

/// The slot of the copy that is on its way; one that was begun before goes.
fn incoming(
    batch: &mut Batch,
    place: &Place,
    first: bool,
    slot: &mut dyn FnMut() -> Result<Slot, StoreError>,
) -> Result<Slot, StoreError> {
    if first {
        batch.dropped_slots.extend(place.take_incoming());
    }
    if let Some(own) = place.incoming() {
        return Ok(own);
    }
    let own = slot()?;
    place.incoming.store(own.0 + 1, Ordering::Relaxed);
    batch.checkpoints.push((own, incoming_head()));
    Ok(own)
}

fn put(slot: Slot, chunk: PartChunk) -> ChunkPut {
    let PartChunk { priority, first, end, n, bytes, min_expiry, first_at, flags, data } = chunk;
    let index = ChunkIndex { n, end_seq: end, bytes, min_expiry, first_at, flags };
    ChunkPut { slot, priority, first_seq: first, index, data: data.to_vec() }
}
