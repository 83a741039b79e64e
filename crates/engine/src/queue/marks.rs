//! What is remembered of single messages that came back to a level: delivered before, failed
//! before, how often. Sparse; a level in which nothing came back has none.

use crate::queue::ops::{DropReason, Returns};
use crate::seq::RangeSet;
use crate::time::Timestamp;
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
    /// Live positions of dead letters that their targets do not have yet. Lasting.
    dead: Vec<(DropReason, RangeSet)>,
    /// Live positions that wait for their next try, and until when. Lasting.
    delayed: BTreeMap<u64, Timestamp>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.redelivered_below == 0
            && self.redelivered.is_empty()
            && self.failed.is_empty()
            && self.returns.is_empty()
            && self.delayed.is_empty()
            && self.dead.iter().all(|(_, dead)| dead.is_empty())
    }

    /// Holds positions that died.
    pub(super) fn hold_dead(&mut self, range: Range<u64>, reason: DropReason) {
        match self.dead.iter_mut().find(|(own, _)| *own == reason) {
            Some((_, dead)) => dead.insert(range),
            None => {
                let mut dead = RangeSet::new();
                dead.insert(range);
                self.dead.push((reason, dead));
            }
        }
    }

    /// Holds positions for their next try.
    pub(super) fn hold_until(&mut self, range: Range<u64>, until: Timestamp) {
        self.delayed.extend(range.map(|at| (at, until)));
    }

    /// The position at `at` does not wait any more.
    pub(super) fn release(&mut self, at: u64) {
        self.delayed.remove(&at);
    }

    /// What the position at `at` died of, if it is held.
    pub(super) fn death(&self, at: u64) -> Option<DropReason> {
        self.dead.iter().find(|(_, dead)| dead.contains(at)).map(|(reason, _)| *reason)
    }

    /// Until when the position at `at` waits, if it does.
    pub(super) fn due(&self, at: u64) -> Option<Timestamp> {
        self.delayed.get(&at).copied()
    }

    /// The stretches of dead positions.
    pub(super) fn dead(&self) -> impl Iterator<Item = (DropReason, Range<u64>)> + '_ {
        self.dead.iter().flat_map(|(reason, dead)| dead.iter().map(|range| (*reason, range)))
    }

    /// The positions that wait, lowest first.
    pub(super) fn delayed(&self) -> impl Iterator<Item = (u64, Timestamp)> + '_ {
        self.delayed.iter().map(|(at, until)| (*at, *until))
    }

    /// The parts of a stretch that are dead, and those that wait.
    pub(super) fn held_parts(&self, range: &Range<u64>) -> [Vec<Range<u64>>; 2] {
        let mut dead = Vec::new();
        for (_, set) in &self.dead {
            let mut at = range.start;
            while at < range.end && !set.is_empty() {
                let (stop, inside) = set.stretch(at..range.end);
                if inside {
                    dead.push(at..stop);
                }
                at = stop;
            }
        }
        let delayed = self.delayed.range(range.clone()).map(|(at, _)| *at..*at + 1).collect();
        [dead, delayed]
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
        for (_, dead) in &mut self.dead {
            dead.remove(range.clone());
        }
        while let Some((at, _)) = self.delayed.range(range.clone()).next() {
            let at = *at;
            self.delayed.remove(&at);
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

    /// Forgets what is lasting of positions that are not in `live`.
    pub(super) fn keep_lasting(&mut self, live: &RangeSet) {
        self.returns.retain(|at, _| live.contains(*at));
        self.delayed.retain(|at, _| live.contains(*at));
        for (_, dead) in &mut self.dead {
            let all = std::mem::take(dead);
            for range in live.iter() {
                let mut at = range.start;
                while at < range.end && !all.is_empty() {
                    let (stop, inside) = all.stretch(at..range.end);
                    if inside {
                        dead.insert(at..stop);
                    }
                    at = stop;
                }
            }
        }
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
