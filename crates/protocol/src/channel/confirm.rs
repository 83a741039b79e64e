//! Publisher confirms: which publishes wait for their queues, and what is told to the publisher at
//! the end of a batch. Hot path: publishes with one queue are kept in runs, only those with several
//! are counted one by one.

use std::collections::BTreeMap;

use leveret_codec::{put_ack, put_nack};
use leveret_engine::Settled;
use leveret_engine::queue::effects::Outcome;

use crate::output::Output;
use crate::tag_runs::{Run, RunValue, TagRuns};

/// What the publishes of one run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Targets {
    One,
    /// The number is in `Confirms::counts`.
    Many,
}

impl RunValue for Targets {
    fn advanced(self, _n: u32) -> Self {
        self
    }

    fn continued_by(self, _n: u32, next: Self) -> bool {
        self == next
    }
}

/// The confirms of one channel.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    published: u64,
    outstanding: TagRuns<Targets>,
    /// For publishes with several queues: how many have not answered.
    counts: BTreeMap<u64, u32>,
    /// Runs of tags to be acked, as they became so.
    acked: Vec<(u64, u32)>,
    nacked: Vec<u64>,
}

impl Confirms {
    /// Gives the next publish its tag and notes for how many queues it waits.
    #[inline]
    pub(crate) fn publish(&mut self, targets: usize) -> u64 {
        self.published += 1;
        let tag = self.published;
        match targets {
            0 => push_run(&mut self.acked, tag, 1),
            1 => self.outstanding.push(Run { first: tag, n: 1, value: Targets::One }),
            many => {
                self.outstanding.push(Run { first: tag, n: 1, value: Targets::Many });
                self.counts.insert(tag, many as u32);
            }
        }
        tag
    }

    /// Gives the next publish its tag and refuses it.
    pub(crate) fn refuse(&mut self) {
        self.published += 1;
        self.nacked.push(self.published);
    }

    /// How many publishes wait for a queue.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding.len()
    }

    /// Whether [`Confirms::flush`] has something to say.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.acked.is_empty() || !self.nacked.is_empty()
    }

    /// A queue has answered for a run of publishes; returns how many are not outstanding any more.
    pub(crate) fn settled(&mut self, settled: &Settled) -> u64 {
        let before = self.outstanding.len();
        let Self { outstanding, counts, acked, nacked, .. } = self;
        let accepted = settled.outcome == Outcome::Accepted;
        let mut unfinished = Vec::new();
        outstanding.take_range(settled.first_tag, settled.n, |run| match (run.value, accepted) {
            (Targets::One, true) => push_run(acked, run.first, run.n),
            (_, false) => {
                for tag in run.first..run.first + u64::from(run.n) {
                    counts.remove(&tag);
                    nacked.push(tag);
                }
            }
            (Targets::Many, true) => {
                for tag in run.first..run.first + u64::from(run.n) {
                    if count_down(counts, tag) {
                        push_run(acked, tag, 1);
                    } else {
                        unfinished.push(tag);
                    }
                }
            }
        });
        for tag in unfinished {
            outstanding.restore(Run { first: tag, n: 1, value: Targets::Many });
        }
        before - outstanding.len()
    }

    /// Tells the publisher. As RabbitMQ: everything below the lowest tag that is outstanding or
    /// refused in one ack, the rest one by one, acks before nacks.
    // rabbitmq: confirms
    pub(crate) fn flush(&mut self, channel: u16, out: &mut Output) -> FlushedConfirms {
        let mut flushed = FlushedConfirms::default();
        if self.acked.len() > 1 {
            self.acked.sort_unstable();
        }
        self.nacked.sort_unstable();
        let outstanding = self.outstanding.lowest().unwrap_or(u64::MAX);
        let refused = self.nacked.first().copied().unwrap_or(u64::MAX);
        let cutoff = outstanding.min(refused);
        let mut below: Option<(u64, u64)> = None;
        let mut single = Vec::new();
        for (first, n) in self.acked.drain(..) {
            flushed.acked += u64::from(n);
            let last = first + u64::from(n) - 1;
            if first < cutoff {
                let covered = last.min(cutoff - 1);
                let count = below.map_or(0, |(_, count)| count) + (covered - first + 1);
                below = Some((covered, count));
            }
            single.extend(first.max(cutoff)..=last);
        }
        if let Some((last, count)) = below {
            put_ack(out.buf(), channel, last, count > 1);
        }
        for tag in single {
            put_ack(out.buf(), channel, tag, false);
        }
        flushed.nacked = self.nacked.len() as u64;
        for tag in self.nacked.drain(..) {
            put_nack(out.buf(), channel, tag, false, false);
        }
        flushed
    }
}

/// How many publishes a flush has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlushedConfirms {
    pub(crate) acked: u64,
    pub(crate) nacked: u64,
}

fn push_run(runs: &mut Vec<(u64, u32)>, first: u64, n: u32) {
    if let Some((last_first, last_n)) = runs.last_mut()
        && *last_first + u64::from(*last_n) == first
        && let Some(sum) = last_n.checked_add(n)
    {
        *last_n = sum;
        return;
    }
    runs.push((first, n));
}

/// True when no queue is left to answer.
fn count_down(counts: &mut BTreeMap<u64, u32>, tag: u64) -> bool {
    let std::collections::btree_map::Entry::Occupied(mut left) = counts.entry(tag) else {
        return true;
    };
    *left.get_mut() -= 1;
    if *left.get() > 0 {
        return false;
    }
    left.remove();
    true
}

#[cfg(test)]
mod tests;
