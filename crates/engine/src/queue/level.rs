//! One priority's log: its blocks, how far it was read, what came back, what is done. Hot path.
//! It knows positions and bytes; it does not know consumers, settings or time.
//!
//! Every position below `next` is in exactly one state:
//!
//! - *ready*: in `returned`, or in `read..next`,
//! - *done*: marked in its slot, or its slot is gone,
//! - *out*: neither, that is assigned to or taken by somebody.

mod filing;
mod restoring;

use crate::block::{BLOCK_TARGET, Block};
use crate::queue::marks::Marks;
use crate::queue::ops::Trace;
use crate::queue::slot::Slot;
use crate::queue::stats::Amount;
use crate::seq::RangeSet;
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A batch of fewer bytes is copied into the tail block; a larger one becomes a block of the queue
/// as it is. At this size a copy costs about as much as the bookkeeping of one more block.
const COPY_BELOW: usize = 4096;

/// How many dead slots between live ones are tolerated before they are swept out, so that one
/// message that is never acknowledged does not make the list grow forever.
const DEAD_SLOTS_TOLERATED: usize = 32;

/// How many slots an empty list may keep room for.
const IDLE_SLOTS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) priority: u8,
    slots: VecDeque<Slot>,
    /// How many slots have no live record.
    dead: usize,
    /// The lowest position that was never assigned, or was given back since.
    read: u64,
    /// The position of the next record to come.
    next: u64,
    /// Positions below it may be assigned.
    visible: u64,
    /// Ready positions below `read`.
    returned: RangeSet,
    /// What is remembered of messages that came back. Rare.
    pub(super) marks: Option<Box<Marks>>,
    /// Whether any record may have an expiry.
    any_expires: bool,
    /// `None` until a slot was in a chunk.
    disk: Option<Box<filing::LevelDisk>>,
}

/// What became done by a call of [`Level::finish`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finished {
    /// Was ready.
    pub(super) ready: Amount,
    /// Was out.
    pub(super) out: Amount,
    /// Was dead and held.
    pub(super) dead: Amount,
    /// Waited for its next try.
    pub(super) delayed: Amount,
    /// What the disk holds of it.
    pub(super) trace: Trace,
}

/// A run of records within one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) block: &'a Arc<Block>,
    /// The position of the first record.
    pub(super) start: u64,
    /// The first record in the block.
    pub(super) first: u32,
    pub(super) n: u32,
}

impl Piece<'_> {
    pub(super) fn records(&self) -> Range<u32> {
        self.first..self.first + self.n
    }

    pub(super) fn positions(&self) -> Range<u64> {
        self.start..self.start + u64::from(self.n)
    }

    pub(super) fn amount(&self) -> Amount {
        Amount { n: u64::from(self.n), bytes: self.block.body_bytes(self.records()) }
    }
}

impl Level {
    pub(super) fn new(priority: u8) -> Self {
        Self { priority, ..Self::default() }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Positions below it may be handed out.
    pub(super) fn visible(&self) -> u64 {
        self.visible
    }

    /// The first position from `position` on whose record is not done, or may not be: where its
    /// block is here, holes in it are to be left out.
    pub(super) fn live_from(&self, position: u64) -> Option<u64> {
        let from = self.slot_index(position).unwrap_or(0);
        let mut slots = self.slots.range(from.min(self.slots.len())..);
        let slot = slots.find(|slot| slot.is_live() && slot.end() > position)?;
        Some(position.max(slot.first_live()))
    }

    /// Whether the record at `position` is there and not done.
    pub(super) fn is_live(&self, position: u64) -> bool {
        let slot = self.slot_index(position).and_then(|at| self.slots.get(at));
        slot.is_some_and(|slot| {
            position < slot.end()
                && slot.is_live()
                && !slot.is_done((position - slot.first()) as u32)
        })
    }

    /// The start of the last block whose first record came before `at`; the first block if there
    /// is none.
    pub(super) fn before(&self, at: Timestamp) -> u64 {
        let after = self.slots.partition_point(|slot| slot.arrived_at() < at);
        let slot = self.slots.get(after.saturating_sub(1));
        slot.map_or(self.next, Slot::first_live)
    }

    pub(super) fn any_expires(&self) -> bool {
        self.any_expires
    }

    /// Lets positions below `upto` be assigned.
    pub(super) fn show(&mut self, upto: u64) {
        self.visible = self.visible.max(upto);
    }

    /// Appends all records of a block, which op `op` published. A small one is copied, if nobody
    /// else holds the tail, and comes back to be used again.
    pub(super) fn append(
        &mut self,
        block: Arc<Block>,
        at: Timestamp,
        op: u64,
    ) -> Option<Arc<Block>> {
        let (n, first) = (block.len(), self.next);
        self.any_expires |= block.any_expires();
        self.next += u64::from(n);
        if block.byte_len() < COPY_BELOW
            && let Some(tail) = self.slots.back_mut()
            && tail.end() == first
            && let Some(own) = tail.own_block()
            && !own.is_full()
            && own.byte_len() + block.byte_len() <= BLOCK_TARGET
        {
            own.append_from(&block, 0..n);
            tail.grow(n);
            return Some(block);
        }
        self.trim_tail();
        if block.byte_len() < COPY_BELOW && !self.slots.is_empty() && Arc::strong_count(&block) > 1
        {
            // A block of the level's own, so that what follows can be copied into it.
            let mut own = Block::new();
            own.append_from(&block, 0..n);
            self.slots.push_back(Slot::new(first, Arc::new(own), at, op));
            return Some(block);
        }
        self.slots.push_back(Slot::new(first, block, at, op));
        None
    }

    /// Gives unused memory of the last block back before another follows, if it is going to stay a
    /// while: if there is something in it that nobody was assigned.
    fn trim_tail(&mut self) {
        if let Some(tail) = self.slots.back_mut()
            && self.read < tail.end()
            && let Some(own) = tail.own_block()
        {
            own.trim();
        }
    }

    /// Lets the next record have a later position: those in between were done long ago.
    pub(super) fn skip_to(&mut self, next: u64) {
        if next <= self.next {
            return;
        }
        self.returned.insert(self.read..self.next);
        (self.read, self.next, self.visible) = (next, next, next);
    }

    /// Takes everything that is here for delivered before.
    pub(super) fn mark_all_redelivered(&mut self) {
        if self.slots.iter().any(Slot::is_live) {
            self.marks.get_or_insert_default().redeliver_below(self.next);
        }
    }

    /// The slot that holds `position`; it may be dead.
    fn slot_index(&self, position: u64) -> Option<usize> {
        let front = self.slots.front()?;
        if position < front.end() {
            return (position >= front.first()).then_some(0);
        }
        let after = match self.slots.back() {
            Some(back) if position >= back.first() => self.slots.len(),
            _ => self.slots.partition_point(|slot| slot.first() <= position),
        };
        Some(after - 1)
    }

    /// The start of `range` as far as it lies in one slot; `None` if its start is done or unknown.
    pub(super) fn piece(&self, range: Range<u64>) -> Option<Piece<'_>> {
        let slot = self.slots.get(self.slot_index(range.start)?)?;
        slot.piece(range)
    }

    /// The pieces of `range`, leaving out slots that are gone.
    pub(super) fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece<'_>> {
        let from = self.slot_index(range.start).unwrap_or(0);
        let overlapping = self.slots.range(from.min(self.slots.len())..);
        overlapping
            .take_while({
                let end = range.end;
                move |slot| slot.first() < end
            })
            .filter_map(move |slot| slot.piece(range.start.max(slot.first())..range.end))
    }

    /// The lowest ready stretch, whether visible or not.
    pub(super) fn ready_head(&self) -> Option<Range<u64>> {
        self.returned.first().or_else(|| (self.read < self.next).then_some(self.read..self.next))
    }

    /// The lowest ready stretch that may be assigned.
    pub(super) fn visible_head(&self) -> Option<Range<u64>> {
        let ahead = || (self.read < self.visible).then_some(self.read..self.visible);
        self.returned.first().or_else(ahead)
    }

    /// All ready stretches, lowest first.
    pub(super) fn ready_ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let ahead = (self.read < self.next).then_some(self.read..self.next);
        self.returned.iter().chain(ahead)
    }

    /// All stretches that are not done, lowest first.
    pub(super) fn live_ranges(&self) -> RangeSet {
        let mut live = RangeSet::new();
        for slot in &self.slots {
            slot.live_positions(&mut live);
        }
        live
    }

    /// Takes a stretch from the start of [`Self::ready_head`] out of what is ready.
    pub(super) fn assign(&mut self, range: Range<u64>) {
        if range.start == self.read {
            self.read = range.end;
        } else {
            let removed = self.returned.remove(range.clone());
            debug_assert_eq!(removed, range.end - range.start, "assigned what was not ready");
        }
    }

    /// Makes a stretch that is out ready again, in its place.
    pub(super) fn give_back(&mut self, range: Range<u64>) {
        debug_assert!(range.end <= self.read, "gave back what was not out");
        if range.end < self.read {
            return self.returned.insert(range);
        }
        self.read = range.start;
        while let Some(last) = self.returned.last()
            && last.end == self.read
        {
            self.returned.remove(last.clone());
            self.read = last.start;
        }
    }

    /// The parts of `range` that are out, lowest first.
    pub(super) fn out_parts(&self, range: Range<u64>, parts: &mut Vec<Range<u64>>) {
        let end = range.end.min(self.read);
        let mut at = range.start;
        while at < end {
            let (stop, ready) = self.returned.stretch(at..end);
            if !ready {
                self.live_parts(at..stop, parts);
            }
            at = stop;
        }
    }

    pub(super) fn live_parts(&self, range: Range<u64>, parts: &mut Vec<Range<u64>>) {
        let from = self.slot_index(range.start).unwrap_or(0);
        for slot in self.slots.range(from.min(self.slots.len())..) {
            if slot.first() >= range.end {
                break;
            }
            slot.live_parts(&range, parts);
        }
    }

    /// Whether all of `range` is out, seen in constant time; `false` may also mean that it takes
    /// [`Self::out_parts`] to know.
    pub(super) fn is_plainly_out(&self, range: &Range<u64>) -> bool {
        range.end <= self.read
            && self.returned.is_empty()
            && self.slot_index(range.start).and_then(|at| self.slots.get(at)).is_some_and(|slot| {
                slot.is_plain() && range.start >= slot.first_live() && range.end <= slot.end()
            })
    }

    /// Marks a stretch as done, whatever it was; what is done already stays so and is not counted.
    pub(super) fn finish(&mut self, range: Range<u64>) -> Finished {
        let range = range.start..range.end.min(self.next);
        if range.is_empty() {
            return Finished::default();
        }
        let ready = self.unready(&range);
        let (dead, delayed) = self.held(&range);
        let (all, trace) = self.mark_done(&range);
        if let Some(marks) = &mut self.marks {
            marks.forget(range, self.slots.front().map_or(self.next, Slot::first_live));
            if marks.is_empty() {
                self.marks = None;
            }
        }
        Finished { ready, out: all - ready - dead - delayed, dead, delayed, trace }
    }

    /// How much of a stretch is dead and held, and how much waits for its next try.
    pub(super) fn held(&self, range: &Range<u64>) -> (Amount, Amount) {
        let Some(marks) = &self.marks else { return Default::default() };
        let sum = |parts: Vec<Range<u64>>| {
            let amounts = parts.into_iter().map(|part| self.amount(part));
            amounts.fold(Amount::default(), |sum, part| sum + part)
        };
        let [dead, delayed] = marks.held_parts(range);
        (sum(dead), sum(delayed))
    }

    /// Takes whatever of `range` is ready out of what is ready.
    pub(super) fn unready(&mut self, range: &Range<u64>) -> Amount {
        let mut amount = Amount::default();
        if !self.returned.is_empty() {
            let mut at = range.start;
            while at < range.end {
                let (stop, inside) = self.returned.stretch(at..range.end);
                if inside {
                    amount += self.amount(at..stop);
                }
                at = stop;
            }
            self.returned.remove(range.clone());
        }
        if range.end > self.read {
            let start = range.start.max(self.read);
            amount += self.amount(start..range.end);
            self.returned.insert(self.read..start);
            self.read = range.end;
        }
        amount
    }

    /// How much a stretch of live records is.
    pub(super) fn amount(&self, range: Range<u64>) -> Amount {
        let from = self.slot_index(range.start).unwrap_or(0);
        let overlapping = self.slots.range(from.min(self.slots.len())..);
        let overlapping = overlapping.take_while(|slot| slot.first() < range.end);
        overlapping.fold(Amount::default(), |sum, slot| sum + slot.amount(&range))
    }

    fn mark_done(&mut self, range: &Range<u64>) -> (Amount, Trace) {
        let (mut amount, mut trace) = (Amount::default(), Trace::None);
        let Some(mut at) = self.slot_index(range.start).or_else(|| self.slots.front().map(|_| 0))
        else {
            return (amount, trace);
        };
        while let Some(slot) = self.slots.get_mut(at)
            && slot.first() < range.end
        {
            if slot.is_live() {
                let was_away = slot.is_away();
                let done = slot.finish(range);
                amount += done;
                if done.n > 0 {
                    trace = trace.max(slot.trace());
                }
                if !slot.is_live() {
                    self.dead += 1;
                    self.filed_slot_died(at, was_away);
                }
            }
            at += 1;
        }
        self.sweep();
        (amount, trace)
    }

    /// Lets go of slots without a live record.
    fn sweep(&mut self) {
        if self.dead == 0 {
            return;
        }
        while self.slots.front().is_some_and(|slot| !slot.is_live()) {
            self.slots.pop_front();
            self.dead -= 1;
        }
        if self.dead > DEAD_SLOTS_TOLERATED && self.dead * 2 > self.slots.len() {
            self.slots.retain(Slot::is_live);
            self.dead = 0;
        }
        if self.slots.is_empty() {
            self.slots.shrink_to(IDLE_SLOTS);
            self.any_expires = false;
        }
    }

    /// What the disk holds of a stretch.
    pub(super) fn trace(&self, range: Range<u64>) -> Trace {
        let slots = self.slots_from(range.start).take_while(|slot| slot.first() < range.end);
        slots.map(Slot::trace).max().unwrap_or_default()
    }

    /// When the record at `position` arrived, or a little earlier.
    pub(super) fn arrived_at(&self, position: u64) -> Option<Timestamp> {
        Some(self.slots.get(self.slot_index(position)?)?.arrived_at())
    }

    /// Bytes of memory that the blocks and the lists of this level hold.
    pub(super) fn memory(&self) -> usize {
        let slots: usize = self.slots.iter().map(Slot::memory).sum();
        slots + self.slots.capacity() * size_of::<Slot>()
    }
}
