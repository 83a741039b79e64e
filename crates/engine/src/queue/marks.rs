//! What is remembered of single messages that came back to a level: delivered before, failed
//! before, how often. Sparse; a level in which nothing came back has none.

use crate::queue::ops::Returns;
use crate::seq::RangeSet;
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Live positions that were delivered before.
    redelivered: RangeSet,
    /// All positions below it were delivered before, for all that is known.
    redelivered_below: u64,
    /// Live positions with a failed delivery: by `basic.reject`, or a channel that closed.
    pub(super) failed: RangeSet,
    /// How often a live position came back by a logged Return. Lasting.
    returns: BTreeMap<u64, Returns>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.redelivered_below == 0
            && self.redelivered.is_empty()
            && self.failed.is_empty()
            && self.returns.is_empty()
    }

    /// Notes that positions were delivered.
    pub(super) fn redeliver(&mut self, range: Range<u64>) {
        self.redelivered.insert(range.start.max(self.redelivered_below)..range.end);
    }

    /// Takes everything below `end` for delivered before.
    pub(super) fn redeliver_below(&mut self, end: u64) {
        self.redelivered_below = self.redelivered_below.max(end);
        self.redelivered.remove(0..end);
    }

    /// The longest stretch from the start of `range` that was delivered before, or was not.
    pub(super) fn redelivered(&self, range: Range<u64>) -> (u64, bool) {
        if range.start < self.redelivered_below {
            return (range.end.min(self.redelivered_below), true);
        }
        self.redelivered.stretch(range)
    }

    /// Forgets positions that are done; nothing is live below `floor`.
    pub(super) fn forget(&mut self, range: Range<u64>, floor: u64) {
        if floor >= self.redelivered_below {
            self.redelivered_below = 0;
        }
        if !self.redelivered.is_empty() {
            self.redelivered.remove(range.clone());
        }
        if !self.failed.is_empty() {
            self.failed.remove(range.clone());
        }
        while let Some((at, _)) = self.returns.range(range.clone()).next() {
            let at = *at;
            self.returns.remove(&at);
        }
    }

    /// Counts one more return of each position.
    pub(super) fn count_return(&mut self, range: Range<u64>, failed: bool) {
        for at in range {
            self.returns.entry(at).or_default().count(failed);
        }
    }

    /// Sets how often a position came back.
    pub(super) fn set_returns(&mut self, at: u64, returns: Returns) {
        self.returns.insert(at, returns);
    }

    /// Forgets the counts of positions that are not in `live`.
    pub(super) fn keep_returns(&mut self, live: &RangeSet) {
        self.returns.retain(|at, _| live.contains(*at));
    }

    /// How often the message at `at` came back.
    pub(super) fn returns(&self, at: u64) -> Returns {
        self.returns.get(&at).copied().unwrap_or_default()
    }

    /// The longest stretch from the start of `range` that came back equally often: its end, and
    /// how often that is.
    pub(super) fn equal_returns(&self, range: Range<u64>) -> (u64, Returns) {
        let mut counted = self.returns.range(range.clone());
        match counted.next() {
            None => (range.end, Returns::default()),
            Some((at, _)) if *at > range.start => (*at, Returns::default()),
            Some((_, returns)) => {
                let behind = (range.start + 1..).zip(counted);
                let equal = behind.take_while(|(at, next)| *next == (at, returns)).count();
                (range.start + 1 + equal as u64, *returns)
            }
        }
    }

    /// How often positions came back that ever did, lowest first.
    pub(super) fn all_returns(&self) -> impl Iterator<Item = (u64, Returns)> + '_ {
        self.returns.iter().map(|(at, returns)| (*at, *returns))
    }
}
