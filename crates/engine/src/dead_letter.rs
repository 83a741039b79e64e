//! Dead letters: a message that left its queue by rejection, expiry or a limit, and the message
//! that is published in its place. Which queues that reaches is decided by whoever routes it.

mod origin;
mod republish;
#[cfg(test)]
mod tests;

use crate::block::Block;
use crate::ids::{QueueId, Seq};
use crate::settings::DeadLetterTarget;
use std::sync::Arc;

pub use origin::{Death, first_death};
pub use republish::Republished;

/// Messages of one queue that are to be published to its dead-letter exchange.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where they are.
    pub block: Arc<Block>,
    /// The first record.
    pub first: u32,
    /// How many records.
    pub n: u32,
    /// Why they left.
    pub reason: DeathReason,
    /// Whether the copy is marked as delivered before: a delivery of the message failed.
    pub redelivered: bool,
    /// The vhost of the queue they left.
    pub vhost: Arc<str>,
    /// The queue they left.
    pub source: QueueId,
    /// Its name.
    pub queue: Arc<str>,
    /// Where they go.
    pub target: DeadLetterTarget,
    /// The position of the first, the others follow, if their queue keeps them until it is told by
    /// [`Queue::letter_answered`](crate::queue::Queue::letter_answered) what became of each.
    pub held_at: Option<Seq>,
}

/// Why a message was dead-lettered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// Returned more often than the delivery limit allows.
    DeliveryLimit,
    /// Its time was up.
    Expired,
    /// The queue was too long.
    MaxLength,
    /// A consumer rejected it without requeue.
    Rejected,
}

impl DeathReason {
    /// The word that stands in an `x-death` header.
    // rabbitmq: dead lettering
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeliveryLimit => "delivery_limit",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::Rejected => "rejected",
        }
    }
}
