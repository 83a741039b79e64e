//! leveret-cluster: how what is durable and not a message is agreed on, and (with the cluster itself) how queues are mirrored.
//!
//! Every change of topology is one [`Command`](leveret_engine::Command) that goes through
//! [`MetaConsensus`]. A node that is alone applies it at once ([`LocalConsensus`]); a group of nodes
//! applies it when a majority has it. The caller cannot tell: an answer may always come later.
//!
//! *Invariant:* this crate does not speak AMQP.
#![forbid(unsafe_code)]

mod consensus;

pub use consensus::{Done, LocalConsensus, MetaConsensus, Proposed, StateMachine};
