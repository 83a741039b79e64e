//! leveret-node: what a broker process is, without its threads.
//!
//! A [`Node`] holds the topology, the queues and the connections. A [`Session`] is one client
//! connection on it. Both are plain functions of their input and of `now`: the server calls them from its
//! tasks, a simulator calls them from its one loop.
//!
//! ```text
//!   bytes in ──► Session::receive ──► pending blocks, pending settles (per queue, no lock)
//!                                          │ end of the batch, or before any other call
//!                                          ▼
//!                                     one lock per queue: publish, settle, take, ...
//!                                          │ Effects
//!                                          ▼
//!   bytes out ◄── Session::run ◄── mailboxes: events, queues that have something for a consumer
//! ```
//!
//! *Invariants:* no thread, no clock, no IO and no randomness of its own. At most one queue lock is held at a
//! time, and never while the topology is locked for writing by the same call.
#![forbid(unsafe_code)]

mod admission;
mod answers;
mod connections;
mod counters;
mod effects;
mod exchanges;
mod firehose;
mod journal;
mod letters;
mod mailbox;
mod node;
mod notices;
mod peers;
mod pending;
mod ports;
mod queues;
mod remote;
mod replicas;
mod replies;
mod session;
#[cfg(test)]
mod testing;
mod timers;
mod topology;
mod views;

pub use journal::{Load, Recovered, RecoveryError, Sealed};
pub use node::{Node, NodeConfig};
pub use peers::Membership;
pub use replicas::CopiesError;
pub use session::Session;
pub use views::Endpoints;
