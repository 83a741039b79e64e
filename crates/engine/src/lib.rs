//! What a broker knows and decides, without IO: vhosts, exchanges, bindings, queues, dead letters,
//! policies, permissions, limits.
//!
//! Nothing here reads a socket or a clock, draws a random number, starts a thread or knows a disk:
//! time and randomness are arguments, and what must be written, sent or woken comes back as a value.
//!
//! Two halves that meet in the node:
//!
//! - [`Topology`] is everything but messages. It changes only by [`Command`]s, so that nodes that
//!   apply the same commands agree. It turns an exchange and a routing key into queues.
//! - A queue is a log of blocks of messages, and decides which consumer gets which.
//!
//! Read in this order:

#![forbid(unsafe_code)]

// What both halves share.
pub mod error;
pub mod ids;
pub mod limits;
pub mod settings;
pub mod time;

pub use ids::{ChannelKey, ConnectionId, ConsumerId, QueueId, Seq, SeqRange};
pub use settings::{
    DeadLetterStrategy, DeadLetterTarget, Deduplication, DelayedRetry, Overflow, QueueKind,
    QueueSettings, StreamSettings,
};
pub use time::Timestamp;

pub use error::{
    ArgumentError, AuthError, BrokerError, ConnectionLimit, Permission, RecordKind, ResourceKind,
    ResourceName,
};

// The topology half.
mod arguments;
pub mod auth;
pub mod command;
pub mod exchange;
pub mod names;
pub mod parameter;
pub mod policy;
pub mod queue_meta;
pub mod router;
mod slab;
pub mod topology;

pub use auth::{PeerAddress, Resource, User};
pub use command::{
    Applied, BindingSpec, Change, Command, Destination, ExchangeDeclare, Outcome, QueueDeclare,
};
pub use exchange::{Exchange, ExchangeKind, ExchangeState, Passage};
/// The arguments of commands, as they came over the wire.
pub use leveret_codec::{Table, Value};
pub use parameter::ParameterValue;
pub use policy::Policy;
pub use queue_meta::QueueMeta;
pub use router::{Routable, Routed};
pub use topology::{Examined, Topology, TopologyConfig, Vhost};

// The queue half.
pub mod block;
pub mod dead_letter;
pub mod firehose;
pub mod queue;
pub mod record;
pub mod seq;
mod wire;

pub use block::{BLOCK_TARGET, Block};
pub use dead_letter::{DeadLetter, DeathReason, Republished};
pub use queue::checkpoint::{Checkpoint, ChunkId, ChunkMeta, StoredChunk};
pub use queue::consumers::ConsumerSpec;
pub use queue::credit::ChannelCredit;
pub use queue::effects::{
    Budget, ConfirmRun, DeleteCause, Delivery, Effects, Incoming, Outcome as SettleOutcome, Settled,
};
pub use queue::ops::encode::{decode_ops, encode_ops};
pub use queue::ops::{DropReason, Keep, Log, LoggedOp, Op, OpIndex, Returns, Shown, Trace};
pub use queue::paging::PagedOut;
pub use queue::recovery::Recovery;
pub use queue::stats::{QueueCounts, QueueStats};
pub use queue::stream::{StreamFilter, StreamOffset, StreamRead};
pub use queue::{ConsumerView, Queue, Settle, Settlement};
pub use record::{BODY_BY_REFERENCE, Body, NewRecord, Record};
pub use wire::Damaged;

// What management and watchers see.
pub mod notice;
pub mod view;
