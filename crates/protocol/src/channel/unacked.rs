//! Deliveries that wait for their ack, as runs: what a run remembers of its messages.

use leveret_engine::{ConsumerId, QueueId, Seq, SeqRange};

use crate::tag_runs::{Run, RunValue, TagRuns};

/// What the deliveries of one run share; their positions in the queue follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Where they came from.
    pub(crate) queue: QueueId,
    /// For whom; `None` is basic.get.
    pub(crate) consumer: Option<ConsumerId>,
    /// The position of the first in its queue.
    pub(crate) seq: Seq,
    /// When, in whole minutes: runs of different minutes do not merge, so that the oldest is known.
    pub(crate) minute: u32,
    /// Minutes they may stay unacked; 0 is for ever.
    pub(crate) minutes_max: u32,
}

impl RunValue for Delivered {
    fn advanced(self, n: u32) -> Self {
        Self { seq: self.seq.plus(u64::from(n)), ..self }
    }

    fn continued_by(self, n: u32, next: Self) -> bool {
        self.advanced(n) == next
    }
}

pub(crate) type Unacked = TagRuns<Delivered>;

impl Run<Delivered> {
    /// The messages of the run, as their queue knows them.
    pub(crate) fn range(&self) -> SeqRange {
        SeqRange { first: self.value.seq, n: self.n }
    }
}
