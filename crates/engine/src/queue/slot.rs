//! A block's place in a level, and which of its records are done. Hot path. The block may be away:
//! its records are then only in a chunk on disk, and the slot knows how many they are.

use crate::block::Block;
use crate::queue::filed::{Filed, Place};
use crate::queue::level::Piece;
use crate::queue::ops::Trace;
use crate::queue::stats::Amount;
use crate::seq::RangeSet;
use crate::time::Timestamp;
use std::ops::Range;
use std::sync::Arc;

/// Which records of a block survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Transient,
    Mixed,
    Persistent,
}

impl Kind {
    fn of(block: &Block) -> Self {
        match (block.any_persistent(), block.all_persistent()) {
            (false, _) => Self::Transient,
            (true, true) => Self::Persistent,
            (true, false) => Self::Mixed,
        }
    }
}

/// A block and which of its records are done. `end() = first + n`, `live <= n - done_below`.
#[derive(Debug)]
pub(super) struct Slot {
    /// The position of the block's first record.
    pub(super) first: u64,
    /// How many records the block has.
    pub(super) n: u32,
    /// How many of them are not done.
    pub(super) live: u32,
    /// All records below this one are done.
    pub(super) done_below: u32,
    pub(super) kind: Kind,
    /// One bit per record that is done, where they were finished out of order. Covers at most
    /// the records there were when it was made; empty if there was no need yet.
    pub(super) done: Box<[u64]>,
    /// When the first record arrived.
    pub(super) at: Timestamp,
    /// The number of the op that published the first record; 0 if nobody keeps ops.
    pub(super) first_op: u64,
    /// `None` while it is away, and once no record is live.
    pub(super) block: Option<Arc<Block>>,
    /// The chunk that it is in, if any. Nothing is appended to the block then.
    pub(super) filed: Option<Box<Filed>>,
}

impl Slot {
    pub(super) fn new(first: u64, block: Arc<Block>, at: Timestamp, op: u64) -> Self {
        let n = block.len();
        let mut slot = Self {
            first,
            n,
            live: n,
            done_below: 0,
            kind: Kind::of(&block),
            done: Box::default(),
            at,
            first_op: op,
            block: Some(block),
            filed: None,
        };
        slot.finish_holes(0);
        slot
    }

    /// Marks the holes among the records from `from` on as done.
    fn finish_holes(&mut self, from: u32) {
        let Some(block) = self.block.clone().filter(|block| block.holes() > 0) else { return };
        for record in (from..self.n).filter(|record| block.is_hole(*record)) {
            let position = self.position(record);
            self.finish(&(position..position + 1));
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.n)
    }

    /// The position of the first record that may be live.
    pub(super) fn first_live(&self) -> u64 {
        self.first + u64::from(self.done_below)
    }

    pub(super) fn is_live(&self) -> bool {
        self.live > 0
    }

    /// Whether it has live records that are not in memory.
    pub(super) fn is_away(&self) -> bool {
        self.block.is_none() && self.live > 0
    }

    /// Whether all records from [`Self::first_live`] on are live.
    pub(super) fn is_plain(&self) -> bool {
        self.done.is_empty()
    }

    pub(super) fn arrived_at(&self) -> Timestamp {
        self.at
    }

    /// What the disk holds of its records.
    pub(super) fn trace(&self) -> Trace {
        match (self.kind, &self.filed) {
            (Kind::Transient, _) => Trace::None,
            (_, None) => Trace::Log,
            (_, Some(_)) => Trace::Chunk,
        }
    }

    /// The block, if it may be appended to and nobody else holds it.
    pub(super) fn own_block(&mut self) -> Option<&mut Block> {
        if self.filed.is_some() {
            return None;
        }
        Arc::get_mut(self.block.as_mut()?)
    }

    /// The block was appended to.
    pub(super) fn grow(&mut self, n: u32) {
        let from = self.n;
        self.n += n;
        self.live += n;
        if let Some(block) = &self.block {
            self.kind = Kind::of(block);
            if block.holes() > 0 {
                self.finish_holes(from);
            }
        }
    }

    /// The part of `range` from its start that lies in this slot; `None` if there is none, or if
    /// the block is not here.
    pub(super) fn piece(&self, range: Range<u64>) -> Option<Piece<'_>> {
        let records = self.records(&range);
        let n = records.end.checked_sub(records.start).filter(|n| *n > 0)?;
        let block = self.block.as_ref()?;
        Some(Piece { block, start: self.first + u64::from(records.start), first: records.start, n })
    }

    /// The records of the block whose positions are in `range`.
    pub(super) fn records(&self, range: &Range<u64>) -> Range<u32> {
        let clip = |position: u64| position.clamp(self.first, self.end()) - self.first;
        clip(range.start) as u32..clip(range.end) as u32
    }

    /// Bytes of the bodies of some live records. While they are away that is a share of what all
    /// of them have: exact if they are alike, and in sum.
    pub(super) fn body_bytes(&self, records: Range<u32>) -> u64 {
        match (&self.block, &self.filed) {
            (Some(block), _) => block.body_bytes(records),
            (None, Some(filed)) => filed.share(self.n, records),
            (None, None) => 0,
        }
    }

    /// How much a stretch of live records is.
    pub(super) fn amount(&self, range: &Range<u64>) -> Amount {
        let records = self.records(range);
        if records.is_empty() {
            return Amount::default();
        }
        Amount { n: u64::from(records.end - records.start), bytes: self.body_bytes(records) }
    }

    /// How many of the records of a stretch it takes until their bodies fill `room` bytes; the last
    /// one may exceed it. Like [`Block::fill`], also where the block is away.
    pub(super) fn fill(&self, range: &Range<u64>, room: u64) -> u32 {
        let records = self.records(range);
        if let Some(block) = &self.block {
            return block.fill(records, room);
        }
        if records.is_empty() || room == 0 {
            return 0;
        }
        let below = |end: &u32| self.body_bytes(records.start..*end) < room;
        let ends = records.start + 1..records.end;
        ends.take_while(below).count() as u32 + 1
    }

    pub(super) fn is_done(&self, record: u32) -> bool {
        let word = self.done.get(record as usize / 64);
        record < self.done_below || word.is_some_and(|word| word >> (record % 64) & 1 == 1)
    }

    /// Marks the records in `range` as done and says how much of it was not done before.
    pub(super) fn finish(&mut self, range: &Range<u64>) -> Amount {
        let records = self.records(range);
        let records = records.start.max(self.done_below)..records.end;
        if records.is_empty() || self.live == 0 {
            return Amount::default();
        }
        if records.start > self.done_below || !self.done.is_empty() {
            return self.finish_out_of_order(records);
        }
        let n = records.end - records.start;
        let amount = Amount { n: u64::from(n), bytes: self.body_bytes(records.clone()) };
        self.done_below = records.end;
        self.count_done(n);
        amount
    }

    fn finish_out_of_order(&mut self, records: Range<u32>) -> Amount {
        let mut amount = Amount::default();
        self.cover(records.end);
        for record in records {
            let (word, bit) = (record as usize / 64, 1 << (record % 64));
            if self.done[word] & bit == 0 {
                self.done[word] |= bit;
                amount += Amount { n: 1, bytes: self.body_bytes(record..record + 1) };
            }
        }
        while self.done_below < self.n && self.is_done(self.done_below) {
            self.done_below += 1;
        }
        self.count_done(amount.n as u32);
        amount
    }

    /// Makes room in `done` for records below `end`.
    fn cover(&mut self, end: u32) {
        let words = (end as usize).div_ceil(64);
        if self.done.len() < words {
            let words = words.max((self.n as usize).div_ceil(64));
            let mut longer = std::mem::take(&mut self.done).into_vec();
            longer.resize(words, 0);
            self.done = longer.into_boxed_slice();
        }
    }

    fn count_done(&mut self, n: u32) {
        debug_assert!(n <= self.live, "more records done than there were");
        self.live -= n;
        if self.live == 0 {
            self.block = None;
            self.done = Box::default();
            self.done_below = self.n;
        }
        if self.done_below + self.live == self.n {
            // What was out of order has caught up.
            self.done = Box::default();
        }
    }

    /// The stretches of `range` that are live.
    pub(super) fn live_parts(&self, range: &Range<u64>, parts: &mut Vec<Range<u64>>) {
        let records = self.records(range);
        let records = records.start.max(self.done_below)..records.end;
        if self.done.is_empty() {
            if !records.is_empty() {
                push_part(parts, self.position(records.start)..self.position(records.end));
            }
            return;
        }
        for record in records.filter(|record| !self.is_done(*record)) {
            push_part(parts, self.position(record)..self.position(record + 1));
        }
    }

    pub(super) fn position(&self, record: u32) -> u64 {
        self.first + u64::from(record)
    }

    /// All positions that are not done.
    pub(super) fn positions(&self) -> Range<u64> {
        self.first_live()..self.end()
    }

    /// Adds all positions that are not done.
    pub(super) fn live_positions(&self, live: &mut RangeSet) {
        let mut parts = Vec::new();
        self.live_parts(&self.positions(), &mut parts);
        parts.into_iter().for_each(|part| live.insert(part));
    }

    /// The key of the chunk that holds the block, once it is known.
    pub(super) fn stored_gcn(&self) -> Option<u64> {
        match self.filed.as_ref()?.place {
            Place::Stored(gcn) => Some(gcn),
            Place::Writing(_) => None,
        }
    }

    /// The earliest expiry of a block that is away, if it has any and is not on its way here.
    pub(super) fn away_expiry(&self) -> Option<Timestamp> {
        let filed = self.filed.as_ref().filter(|filed| self.is_away() && !filed.loading)?;
        (filed.min_expiry > 0).then_some(Timestamp(filed.min_expiry))
    }

    pub(super) fn memory(&self) -> usize {
        let filed = self.filed.as_ref().map_or(0, |filed| filed.memory());
        self.block.as_ref().map_or(0, |block| block.memory()) + self.done.len() * 8 + filed
    }
}

/// Adds a stretch to a list of stretches, lowest first.
fn push_part(parts: &mut Vec<Range<u64>>, part: Range<u64>) {
    match parts.last_mut() {
        Some(last) if last.end == part.start => last.end = part.end,
        _ => parts.push(part),
    }
}
