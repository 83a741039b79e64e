//! The identities of a cluster: nodes, their starts, copies, epochs. Numbers with a type each; none is ever given twice.

use leveret_engine::OpIndex;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            )]
            pub struct $name(pub u64);

            impl $name {
                /// The one after this.
                #[must_use]
                pub const fn next(self) -> Self {
                    Self(self.0 + 1)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{}", self.0)
                }
            }
        )*
    };
}

numbers! {
    /// A node. The log gives the numbers, from 1 on; a node that comes back after it was forgotten has another.
    NodeId;
    /// One start of a node's process, counted over the whole cluster.
    Incarnation;
    /// One life of a copy of a queue: a copy that is dropped and added again has another.
    ReplicaId;
    /// One reign of a leader of a queue. What stands in a queue's log carries the epoch it was written in; 0 is before
    /// all of them.
    Epoch;
    /// The number of a queue's record; it grows with every change of it.
    Cfg;
}

/// The name of a data directory, made when it was: a node that comes with another one has lost its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreMark(pub u128);

/// Who publishes to a queue: a channel on one start of a node. Its publishes to one queue are numbered, so that one that
/// is sent again is known.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SessionId {
    /// The start of the node that the client is connected to.
    pub incarnation: Incarnation,
    /// The channel, never the same twice in that start.
    pub channel: u64,
}

/// A place in the log of a queue: the index of an entry and the epoch it was written in. Two logs that have the same
/// place are the same up to there.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The epoch of the entry.
    pub epoch: Epoch,
    /// Its index; 0 is before the first.
    pub index: OpIndex,
}
