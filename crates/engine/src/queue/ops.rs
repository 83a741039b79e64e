//! The ops: the only way in which what a queue holds changes. A queue emits them, and whoever
//! applies the same ops in the same order (recovery, a mirror) holds the same messages.
//! Who has what unacknowledged is no lasting state and is not in them.

pub mod encode;

use crate::block::Block;
use crate::dead_letter::DeathReason;
use crate::ids::{Seq, SeqRange};
use crate::queue::seen::SeenKey;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::sync::Arc;

/// The number of an op of a queue that keeps a log: 1, 2, 3, ...
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OpIndex(pub u64);

/// What an ack is about: one range as a rule, and then without an allocation.
pub type AckRanges = SmallVec<[SeqRange; 1]>;

/// A lasting change of a queue.
#[derive(Clone, Debug)]
pub enum Op {
    /// All records of a block are appended to one priority level, from `first` on.
    Publish {
        /// The position of the first record.
        first: Seq,
        /// When they arrived.
        at: Timestamp,
        /// The records.
        block: Arc<Block>,
    },
    /// Consumers are done with these; one op for all that is settled together.
    Ack(AckRanges),
    /// These left the queue without a consumer.
    Drop {
        /// Which.
        range: SeqRange,
        /// Why.
        reason: DropReason,
    },
    /// These came back; only a queue that counts deliveries says so.
    Return {
        /// Which.
        range: SeqRange,
        /// Whether their delivery failed: they were rejected, or whoever had them went away.
        failed: bool,
    },
    /// These are dead, and stay until their targets have them.
    Die {
        /// Which.
        range: SeqRange,
        /// Of what; one that [has a word](DropReason::death).
        reason: DropReason,
    },
    /// These came back and wait for their next try.
    Delay {
        /// Which.
        range: SeqRange,
        /// Until when.
        until: Timestamp,
    },
    /// These deduplication headers are remembered.
    Remember(Box<[SeenKey]>),
    /// All that was ready.
    Purge(Box<[SeqRange]>),
}

/// How often a message came back, in a queue that counts deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// In any way.
    pub all: u32,
    /// After a failed delivery; what the delivery limit is about.
    pub failed: u32,
}

impl Returns {
    /// One more.
    pub(super) fn count(&mut self, failed: bool) {
        self.all = self.all.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(failed));
    }
}

/// Why a message left its queue without a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It was returned more often than the delivery limit allows.
    DeliveryLimit,
    /// Its time was up.
    Expired,
    /// Its bytes did not survive; the log says that it was there.
    Lost,
    /// The queue was too long.
    MaxLength,
    /// The exchange that it waited for has routed it.
    Passed,
    /// A consumer rejected it.
    Rejected,
    /// The stream keeps no more, or not for longer.
    Truncated,
}

impl DropReason {
    /// The reason that a dead letter names; `None` for what cannot be dead-lettered.
    #[must_use]
    pub fn death(self) -> Option<DeathReason> {
        match self {
            Self::DeliveryLimit => Some(DeathReason::DeliveryLimit),
            Self::Expired => Some(DeathReason::Expired),
            Self::Lost | Self::Passed | Self::Truncated => None,
            Self::MaxLength => Some(DeathReason::MaxLength),
            Self::Rejected => Some(DeathReason::Rejected),
        }
    }
}

/// An op that a queue emitted, to be stored and replicated.
#[derive(Clone, Debug)]
pub struct LoggedOp {
    /// Its number.
    pub index: OpIndex,
    /// What changed.
    pub op: Op,
    /// Whether the disk has to hear of it.
    pub trace: Trace,
}

/// What the disk holds or is going to hold of the messages that an op is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// Nothing: none of them survives a restart anyway.
    #[default]
    None,
    /// The ops that published them, unless they are left out because it is all over already.
    Log,
    /// A chunk, perhaps. What is done with them must be told even if their publishing is not.
    Chunk,
}

/// Whether a queue's ops are kept by someone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// Nobody: no op is emitted, what is published is deliverable and confirmed at once.
    #[default]
    Memory,
    /// Ops are emitted. A message that is kept is confirmed once its op is
    /// [durable](crate::queue::Queue::durable), if the queue is.
    Kept {
        /// The number of the next op.
        next: OpIndex,
        /// Which messages survive a restart.
        keep: Keep,
        /// When a message may be delivered.
        shown: Shown,
    },
}

/// Which messages of a queue survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Those with `delivery_mode` 2.
    // rabbitmq: classic queues
    #[default]
    Persistent,
    /// All, whatever their `delivery_mode`.
    // rabbitmq: quorum queues
    All,
}

/// When the messages of a queue that keeps a log may be delivered and transient ones confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// At once: there is no other copy that would have to know them.
    #[default]
    AtOnce,
    /// When the op is [visible](crate::queue::Queue::visible).
    WhenVisible,
}
