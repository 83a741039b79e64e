//! The identities that pass between the crates: connections, channels, consumers, queues.
//! Plain numbers with a type each; names are in [`crate::names`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// A client's connection. Never reused while the node runs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ConnectionId(pub u64);

/// A consumer. Never reused while the node runs; 0 stands for `basic.get`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ConsumerId(pub u64);

impl ConsumerId {
    /// What a delivery by `basic.get` carries in place of a consumer.
    pub const GET: Self = Self(0);
}

/// A queue. Never reused on a node, so that what was stored for a deleted queue is never read
/// by a later one of the same name. The ids of durable queues are the same on every node and
/// survive a restart; those of transient queues have [`QueueId::TRANSIENT`] set and are the
/// node's own.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The bit that marks the id of a queue that does not survive its node.
    pub const TRANSIENT: u64 = 1 << 63;

    /// Whether the queue is one that does not survive its node.
    #[must_use]
    pub fn is_transient(self) -> bool {
        self.0 & Self::TRANSIENT != 0
    }

    /// Bits of a transient id below the count of starts.
    pub(crate) const TRANSIENT_COUNT_BITS: u32 = 43;

    /// In which start of its node a transient queue was made; the lower 20 bits.
    #[must_use]
    pub fn boot(self) -> u32 {
        ((self.0 & !Self::TRANSIENT) >> Self::TRANSIENT_COUNT_BITS) as u32
    }
}

/// A channel of a connection. `incarnation` counts `channel.open` on the connection, so that an
/// answer for a channel that was closed never reaches the next one of the same number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ChannelKey {
    /// The connection the channel belongs to.
    pub connection: ConnectionId,
    /// The channel number on the wire.
    pub number: u16,
    /// Which `channel.open` of the connection made it.
    pub incarnation: u32,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The position of a message in a queue: the priority level in the top 8 bits, a dense index
/// within the level in the lower 56.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// Bits of the index within a level.
    pub const INDEX_BITS: u32 = 56;

    /// The position `index` of priority `level`.
    #[must_use]
    pub const fn new(level: u8, index: u64) -> Self {
        debug_assert!(index >> Self::INDEX_BITS == 0);
        Self((level as u64) << Self::INDEX_BITS | index)
    }

    /// The priority level.
    #[must_use]
    pub const fn level(self) -> u8 {
        (self.0 >> Self::INDEX_BITS) as u8
    }

    /// The index within the level.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0 & ((1 << Self::INDEX_BITS) - 1)
    }

    /// The position `n` further on in the same level.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

/// `n` messages that follow one another in one priority level of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeqRange {
    /// The first of them.
    pub first: Seq,
    /// How many.
    pub n: u32,
}

impl SeqRange {
    /// The position after the last one.
    #[must_use]
    pub const fn end(self) -> Seq {
        self.first.plus(self.n as u64)
    }

    /// Whether `seq` is one of them.
    #[must_use]
    pub const fn contains(self, seq: Seq) -> bool {
        seq.0 >= self.first.0 && seq.0 < self.end().0
    }
}
