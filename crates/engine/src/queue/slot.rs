//! A block's place in a level, and which of its records are done. Hot path.

use crate::block::Block;
use crate::queue::level::Piece;
use crate::queue::stats::Amount;
use crate::seq::RangeSet;
use crate::time::Timestamp;
use std::ops::Range;
use std::sync::Arc;

/// A block and which of its records are done. `end() = first + n`, `live <= n - done_below`.
#[derive(Debug)]
pub(super) struct Slot {
    /// The position of the block's first record.
    first: u64,
    /// How many records the block has.
    n: u32,
    /// How many of them are not done.
    live: u32,
    /// All records below this one are done.
    done_below: u32,
    /// One bit per record that is done, where they were finished out of order. Covers at most
    /// the records there were when it was made; empty if there was no need yet.
    done: Box<[u64]>,
    /// When the first record arrived.
    at: Timestamp,
    /// `None` once no record is live.
    block: Option<Arc<Block>>,
}

impl Slot {
    pub(super) fn new(first: u64, block: Arc<Block>, at: Timestamp) -> Self {
        let n = block.len();
        Self { first, n, live: n, done_below: 0, done: Box::default(), at, block: Some(block) }
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

    /// Whether all records from [`Self::first_live`] on are live.
    pub(super) fn is_plain(&self) -> bool {
        self.done.is_empty()
    }

    pub(super) fn arrived_at(&self) -> Timestamp {
        self.at
    }

    /// The block, if nobody else holds it.
    pub(super) fn own_block(&mut self) -> Option<&mut Block> {
        Arc::get_mut(self.block.as_mut()?)
    }

    /// The block was appended to.
    pub(super) fn grow(&mut self, n: u32) {
        self.n += n;
        self.live += n;
    }

    /// The part of `range` from its start that lies in this slot.
    pub(super) fn piece(&self, range: Range<u64>) -> Option<Piece<'_>> {
        let records = self.records(&range);
        let n = records.end.checked_sub(records.start).filter(|n| *n > 0)?;
        let block = self.block.as_ref()?;
        Some(Piece { block, start: self.first + u64::from(records.start), first: records.start, n })
    }

    /// The records of the block whose positions are in `range`.
    fn records(&self, range: &Range<u64>) -> Range<u32> {
        let clip = |position: u64| position.clamp(self.first, self.end()) - self.first;
        clip(range.start) as u32..clip(range.end) as u32
    }

    fn is_done(&self, record: u32) -> bool {
        let word = self.done.get(record as usize / 64);
        record < self.done_below || word.is_some_and(|word| word >> (record % 64) & 1 == 1)
    }

    /// Marks the records in `range` as done and says how much of it was not done before.
    pub(super) fn finish(&mut self, range: &Range<u64>) -> Amount {
        let records = self.records(range);
        let records = records.start.max(self.done_below)..records.end;
        let Some(block) = self.block.as_ref().filter(|_| !records.is_empty()) else {
            return Amount::default();
        };
        if records.start > self.done_below || !self.done.is_empty() {
            return self.finish_out_of_order(records);
        }
        let n = records.end - records.start;
        let amount = Amount { n: u64::from(n), bytes: block.body_bytes(records.clone()) };
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
                let bytes =
                    self.block.as_ref().map_or(0, |block| block.body_bytes(record..record + 1));
                amount += Amount { n: 1, bytes };
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

    fn position(&self, record: u32) -> u64 {
        self.first + u64::from(record)
    }

    /// Adds all positions that are not done.
    pub(super) fn live_positions(&self, live: &mut RangeSet) {
        let mut parts = Vec::new();
        self.live_parts(&(self.first..self.end()), &mut parts);
        parts.into_iter().for_each(|part| live.insert(part));
    }

    pub(super) fn memory(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.memory()) + self.done.len() * 8
    }
}

/// Adds a stretch to a list of stretches, lowest first.
fn push_part(parts: &mut Vec<Range<u64>>, part: Range<u64>) {
    match parts.last_mut() {
        Some(last) if last.end == part.start => last.end = part.end,
        _ => parts.push(part),
    }
}
