//! leveret-cluster: how what is durable and not a message is agreed on, and how queues are kept on several nodes.
//!
//! Every durable change of topology is one [`Command`](leveret_engine::Command) that goes through
//! [`MetaConsensus`]. It is kept on disk by [`RaftConsensus`], on a node that is alone as in a group, and applied once it is
//! kept by as many nodes as it takes. What concerns one node alone is applied at once. The caller cannot tell: an answer may always
//! come later.
//!
//! [`transport`] has the connections between nodes. [`replication`] is the pure core of clusters: what nodes agree on besides topology, and the copies of queues. It does no IO.
//!
//! *Invariant:* this crate does not speak AMQP.
#![forbid(unsafe_code)]

mod consensus;
pub mod replication;
pub mod transport;

pub use consensus::{
    Agreed, AgreedState, Answer, Decided, DecidedDone, Done, Join, JoinError, Joined,
    LocalConsensus, Member, MetaConsensus, NotDecided, OpenError, Opened, Opening, Proposed,
    RaftConsensus, Settled, Standing, State, StateMachine, join,
};
