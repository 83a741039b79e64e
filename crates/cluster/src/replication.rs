//! How a queue is kept on several nodes, without IO: what the nodes agree on, and what the copies of one queue say to
//! each other.
//!
//! Data goes from the leader of a queue to its mirrors; *who* leads and which copies are in sync is decided only by the
//! state that all nodes agree on ([`Metadata`]). So no two nodes ever lead at the same time, and a copy that is out of
//! date is never promoted unless the policy says so.
//!
//! - [`Metadata`] is the agreed part: nodes and, for every replicated queue, its leader, epoch, copies and which of them
//!   are in sync. It changes by [`ClusterCommand`]s alone and stands beside the topology in one state machine: a
//!   command of the topology is applied first, and what it changed of queues follows here
//!   ([`Metadata::follow`]).
//! - [`Replica`] is one copy of one queue on this node: the log of its ops, as leader or as mirror.
//! - [`Lease`] and [`Controller`] tell who is alive: a node from its own side, and the node that leads the agreement
//!   about all others.
//! - [`stored`] has the bytes of what a disk keeps of a copy.
//! - [`wire`] has the bytes of what nodes send each other.
//!
//! Everything takes `now` and inputs and gives effects. The rules that make it safe are named where they are kept, from
//! R1 to R14; `docs/decisions/009-replication.md` lists them. Tests break them one at a time and see a message lost.

mod bugs;
mod controller;
mod effects;
mod ids;
mod leader;
mod lease;
mod log;
mod metadata;
mod mirror;
mod peer;
mod placement;
mod replica;
mod sessions;
mod shared_bytes;
pub mod stored;
pub mod wire;

pub use controller::{Controller, FENCE_AFTER_MS, HEARTBEAT_MS, REPLACE_AFTER_MS};
pub use effects::{
    Ack, Alteration, Append, Conflict, Effects, Fatal, Happened, Message, Part, PartAck, Stale,
    Supply, Write, WriteWhat,
};
pub use ids::{Cfg, Epoch, Incarnation, NodeId, Position, ReplicaId, SessionId, StoreMark};
pub use lease::{LEASE_MS, Lease};
pub use log::{Entry, OpBytes, OpLog, Origin, Payload, Ticket};
pub use metadata::{
    Changes, ClusterCommand, Handover, LeaderRef, Metadata, NODES_MAX, NodeRecord, NodeRole,
    NodeState, Notice, QueueRecord, REPLICAS_MAX, Refusal, ReplicaRecord, ReplicaRole, Reply,
    SyncMode,
};
pub use peer::{APPEND_BYTES_MAX, RESEND_AFTER_MS, WINDOW_ENTRIES_MAX};
pub use placement::{HaMode, Locator, Placement, Promote};
pub use replica::{ISR_LAG_MS, NotLeading, Recovered, Replica};
pub use sessions::{Admitted, Gap};

#[cfg(test)]
mod tests;
