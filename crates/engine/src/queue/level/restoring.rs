//! A level that is made again from what was stored of it: chunks first, then ops.

use super::{Level, Slot};
use crate::block::{BLOCK_TARGET, Block};
use crate::queue::ops::encode::HOLES_IN_A_ROW_MAX;
use crate::queue::stats::Amount;
use crate::time::Timestamp;
use std::ops::Range;
use std::sync::Arc;

impl Level {
    /// Adds a slot whose block is in a chunk; says whether it fits between the others.
    pub(in crate::queue) fn restore_chunk(&mut self, slot: Slot) -> bool {
        let at = self.slots.partition_point(|other| other.first < slot.first);
        let before = at.checked_sub(1).and_then(|before| self.slots.get(before));
        let after = self.slots.get(at);
        let fits = before.is_none_or(|before| before.end() <= slot.first)
            && after.is_none_or(|after| slot.end() <= after.first);
        if fits {
            self.any_expires |= slot.filed.as_ref().is_some_and(|filed| filed.min_expiry > 0);
            self.disk.get_or_insert_default().note_away();
            self.slots.insert(at, slot);
        }
        fits
    }

    /// Adds what an op published; none of it is here yet. A small gap before it is filled with
    /// holes. Says from where on positions are taken now.
    pub(in crate::queue) fn restore_records(
        &mut self,
        first: u64,
        block: Arc<Block>,
        at: Timestamp,
        op: u64,
    ) -> u64 {
        self.any_expires |= block.any_expires();
        let place = self.slots.partition_point(|other| other.first < first);
        if let Some(before) = place.checked_sub(1).and_then(|at| self.slots.get_mut(at))
            && let Some(gap) = first.checked_sub(before.end()).filter(|n| *n < HOLES_IN_A_ROW_MAX)
            && let Some(own) = before.own_block()
            && own.byte_len() + block.byte_len() <= BLOCK_TARGET
        {
            (0..gap).for_each(|_| own.push_hole());
            own.append_from(&block, 0..block.len());
            before.grow(gap as u32 + block.len());
            return first - gap;
        }
        let slot = Slot::new(first, block, at, op);
        if slot.is_live() {
            self.slots.insert(place, slot);
        }
        first
    }

    /// Marks a stretch as done, of whatever is here.
    pub(in crate::queue) fn restore_done(&mut self, range: &Range<u64>) {
        self.mark_done(range);
    }

    /// All that is live and not held is ready again, wherever it was; what was not to be seen yet still is not, unless
    /// something behind it is. Says how much that is.
    pub(in crate::queue) fn all_back(&mut self, redelivered: bool) -> Amount {
        let visible = self.visible;
        let amount = self.restored(self.next, redelivered);
        self.visible = visible;
        amount
    }

    /// All is here: what is live is ready, and the next record gets the position `next`, or a later
    /// one if there is something. What is held is not ready. Says how much is.
    pub(in crate::queue) fn restored(&mut self, next: u64, redelivered: bool) -> Amount {
        let live = self.live_ranges();
        let next = self.slots.back().map_or(next, |slot| slot.end().max(next));
        let tail = live.last().filter(|last| last.end == next);
        self.read = tail.as_ref().map_or(next, |last| last.start);
        (self.next, self.visible) = (next, next);
        if let Some(marks) = &mut self.marks {
            marks.keep_lasting(&live);
            if marks.is_empty() {
                self.marks = None;
            }
        }
        let amount = live.iter().map(|range| self.amount(range));
        let amount = amount.fold(Amount::default(), |sum, part| sum + part);
        self.returned = live;
        self.returned.remove(self.read..next);
        let held = self.marks.as_ref().map(|marks| marks.held_parts(&(0..next)));
        let held = held.into_iter().flatten().flatten();
        let held = held.fold(Amount::default(), |sum, part| sum + self.unready(&part));
        if redelivered {
            self.mark_all_redelivered();
        }
        amount - held
    }
}
