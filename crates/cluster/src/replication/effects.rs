//! What a copy of a queue wants done: writes, messages, changes of the agreed state, and what its queue is to know. And
//! the messages between copies. All of it values; somebody else does it.

use super::ids::{Cfg, Epoch, Incarnation, NodeId, Position, ReplicaId, SessionId};
use super::log::{Entry, Ticket};
use super::shared_bytes;
use leveret_engine::{OpIndex, QueueId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is to be done, each list in its order.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To the disk. When one is on the platter, and so all before it, `Replica::written` is due.
    pub writes: Vec<Write>,
    /// To other nodes. They may be lost; they must not be read in another order than they were sent in.
    pub sends: Vec<(NodeId, Message)>,
    /// To be agreed on. They may be lost.
    pub alterations: Vec<Alteration>,
    /// Parts of a copy that a mirror needs.
    pub supplies: Vec<Supply>,
    /// What the queue is to know.
    pub happened: Vec<Happened>,
    /// The node has to end: going on would lose what was confirmed.
    pub fatal: Option<Fatal>,
}

/// One write to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its ticket.
    pub ticket: Ticket,
    /// What to write.
    pub what: WriteWhat,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteWhat {
    /// Entries that follow one another.
    Append {
        /// The index of the first.
        first: OpIndex,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Nothing from this entry on counts any more.
    Truncate {
        /// The first that does not.
        first: OpIndex,
    },
    /// What was received part by part replaces all that was there.
    Replace {
        /// The last entry that is in it.
        base: Position,
    },
}

/// A change of the agreed record of a queue that its leader asks for.
///
/// Rule R11: it counts only if epoch, leader and `cfg` are still what the leader knew, and what it knew of the copy, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alteration {
    /// Which queue.
    pub queue: QueueId,
    /// The leader that asks.
    pub leader: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
    /// The epoch it leads in.
    pub epoch: Epoch,
    /// The record it knows.
    pub cfg: Cfg,
    /// Which copy.
    pub node: NodeId,
    /// Whether that copy is to be in sync.
    pub in_sync: bool,
    /// The start of its node that has reported it to be so; not used when it leaves.
    pub node_incarnation: Incarnation,
    /// The life of that copy; not used when it leaves.
    pub rid: ReplicaId,
}

/// A part of a copy that has to be read from the queue and the store: answered by `Replica::supply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// For whom.
    pub node: NodeId,
    /// The state of the queue after this entry.
    pub at: Position,
    /// The number of the part, from 0 on.
    pub part: u32,
}

/// What the queue of this copy is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// This copy leads from now on. Ops are taken from `next` on.
    Leads {
        /// The epoch.
        epoch: Epoch,
        /// The index of the next op.
        next: OpIndex,
    },
    /// This copy leads no more.
    Deposed,
    /// All copies in sync have received the ops up to here: they may be delivered.
    Visible(OpIndex),
    /// The ops up to here are final.
    Committed(OpIndex),
    /// These publishes are safe: on all copies in sync, and on their disks unless they are transient.
    Confirmed {
        /// Whose.
        session: SessionId,
        /// The first.
        first: u64,
        /// How many.
        n: u32,
    },
    /// A part of a copy arrived, to be kept aside until [`WriteWhat::Replace`].
    Received(Part),
    /// What this copy holds belongs to a history that was given up (rule R13): it is kept aside, not deleted, and the
    /// copy begins again.
    Quarantined {
        /// The life of the copy that ended.
        rid: ReplicaId,
    },
}

/// Why a node has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A leader wants to cut off what is committed here.
    #[error(
        "queue {queue}: the leader of epoch {epoch} has another entry {index:?} than the one that is committed here"
    )]
    CommittedEntryDiffers {
        /// The queue.
        queue: QueueId,
        /// The leader's epoch.
        epoch: Epoch,
        /// The entry.
        index: OpIndex,
    },
}

/// What copies of a queue tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Entries, from the leader.
    Append(Append),
    /// How far a mirror is.
    Ack(Ack),
    /// A mirror does not have what is before the entries.
    Conflict(Conflict),
    /// The receiver knows of a later epoch than the sender.
    Stale(Stale),
    /// A part of a copy, from the leader.
    Part(Part),
    /// A part of a copy has arrived.
    PartAck(PartAck),
}

/// Entries, from the leader to one mirror.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Append {
    /// Which queue.
    pub queue: QueueId,
    /// The life of the copy that is addressed.
    pub rid: ReplicaId,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The leader.
    pub leader: NodeId,
    /// What is before the entries.
    pub prev: Position,
    /// The entries; there may be none.
    pub entries: Vec<Entry>,
    /// How far the leader has committed.
    pub commit: OpIndex,
}

/// How far a mirror is in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ack {
    /// Which queue.
    pub queue: QueueId,
    /// The mirror's node.
    pub node: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
    /// The life of the copy.
    pub rid: ReplicaId,
    /// The epoch.
    pub epoch: Epoch,
    /// Up to here it has what the leader has.
    pub received: OpIndex,
    /// Up to here it has that on disk.
    pub durable: OpIndex,
    /// It has nothing of what ops up to here have done; 0 is a whole copy.
    pub lacks_upto: OpIndex,
    /// Up to here it knows to be committed.
    pub commit: OpIndex,
}

/// A mirror does not have the entry before those it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conflict {
    /// Which queue.
    pub queue: QueueId,
    /// The mirror's node.
    pub node: NodeId,
    /// The life of the copy.
    pub rid: ReplicaId,
    /// The epoch.
    pub epoch: Epoch,
    /// What it was asked for.
    pub prev: Position,
    /// The last entry it has that is not of a later epoch than that.
    pub end: Position,
}

/// A leader hears that it was deposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stale {
    /// Which queue.
    pub queue: QueueId,
    /// The epoch that the receiver knows of.
    pub promised: Epoch,
}

/// A part of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Which queue.
    pub queue: QueueId,
    /// The life of the copy that is addressed.
    pub rid: ReplicaId,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The leader.
    pub leader: NodeId,
    /// The state of the queue after this entry.
    pub at: Position,
    /// The number of the part, from 0 on.
    pub part: u32,
    /// Whether it is the last.
    pub last: bool,
    /// Whether the copy begins here, without what is older.
    pub natural: bool,
    /// The last committed publish of each session; with the last part.
    pub sessions: Vec<(SessionId, u64)>,
    /// What the store and the queue make of it.
    #[serde(with = "shared_bytes")]
    pub state: Arc<[u8]>,
}

/// A part of a copy has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartAck {
    /// Which queue.
    pub queue: QueueId,
    /// The mirror's node.
    pub node: NodeId,
    /// The life of the copy.
    pub rid: ReplicaId,
    /// The epoch.
    pub epoch: Epoch,
    /// The state that is copied.
    pub at: Position,
    /// The number of the next part.
    pub next: u32,
}

impl Message {
    /// Which queue it is about.
    #[must_use]
    pub fn queue(&self) -> QueueId {
        match self {
            Self::Append(it) => it.queue,
            Self::Ack(it) => it.queue,
            Self::Conflict(it) => it.queue,
            Self::Stale(it) => it.queue,
            Self::Part(it) => it.queue,
            Self::PartAck(it) => it.queue,
        }
    }
}
