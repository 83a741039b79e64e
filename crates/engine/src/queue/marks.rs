//! What is remembered of single messages that came back to a level: delivered before, failed
//! before, how often. Sparse; a level in which nothing came back has none.

use crate::seq::RangeSet;
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Live positions that were delivered before.
    pub(super) redelivered: RangeSet,
    /// Live positions with a failed delivery: by `basic.reject`, or a channel that closed.
    pub(super) failed: RangeSet,
    /// How often a live position came back by a logged Return; the delivery count. Lasting.
    returns: BTreeMap<u64, u32>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.redelivered.is_empty() && self.failed.is_empty() && self.returns.is_empty()
    }

    /// Forgets positions that are done.
    pub(super) fn forget(&mut self, range: Range<u64>) {
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

    /// Counts one more failed delivery of each position.
    pub(super) fn count_return(&mut self, range: Range<u64>) {
        for at in range {
            *self.returns.entry(at).or_default() += 1;
        }
    }

    /// How often the message at `at` came back.
    pub(super) fn returns(&self, at: u64) -> u32 {
        self.returns.get(&at).copied().unwrap_or_default()
    }

    /// All delivery counts, lowest position first.
    pub(super) fn all_returns(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.returns.iter().map(|(at, n)| (*at, *n))
    }
}
