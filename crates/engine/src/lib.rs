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
pub use settings::{DeadLetterStrategy, DeadLetterTarget, Overflow, QueueKind, QueueSettings};
pub use time::Timestamp;

pub use error::{AuthError, BrokerError, Permission, ResourceKind, ResourceName};
