//! What a queue is set to do, as the queue itself needs it: arguments and policies are already
//! merged. How they are merged is in [`crate::policy`].

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The effective settings of a queue: its arguments merged with its policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Whether the queue survives a restart. Never for an exclusive queue.
    pub durable: bool,
    /// Whether the queue goes with its last consumer.
    pub auto_delete: bool,
    /// How long a message may wait, in milliseconds.
    pub message_ttl: Option<u64>,
    /// How long the queue may be unused, in milliseconds. At least 1.
    pub expires: Option<u64>,
    /// How many ready messages it may hold.
    pub max_length: Option<u64>,
    /// How many bytes of bodies its ready messages may hold.
    pub max_length_bytes: Option<u64>,
    /// What happens to a message that does not fit.
    pub overflow: Overflow,
    /// The highest priority; `None` is a queue without priorities.
    pub max_priority: Option<u8>,
    /// Whether only one consumer at a time receives messages.
    pub single_active_consumer: bool,
    /// Where messages go that were rejected, expired or dropped.
    pub dead_letter: Option<DeadLetterTarget>,
    /// Whether the source keeps a dead-lettered message until its targets confirmed it.
    pub dead_letter_strategy: DeadLetterStrategy,
    /// Whether the queue counts how often each message comes back, and tells whoever gets it next.
    // rabbitmq: quorum queues
    pub counts_deliveries: bool,
    /// How many failed deliveries of a message are tolerated before it is dead-lettered, if the
    /// queue counts them; `None` is without limit.
    pub delivery_limit: Option<u32>,
    /// How long a delivery may stay unacknowledged, in milliseconds; `None` leaves it to the
    /// node's configuration.
    pub consumer_timeout: Option<u64>,
}

/// What happens to a message when the queue is at its length limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// The oldest message is dropped or dead-lettered.
    #[default]
    DropHead,
    /// The new message is refused: its publisher gets a nack.
    RejectPublish,
    /// The new message is refused and dead-lettered.
    RejectPublishDlx,
}

/// The exchange, and perhaps the key, with which dead letters are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterTarget {
    /// The exchange; it need not exist. Empty is the default exchange.
    pub exchange: Arc<str>,
    /// The key that replaces the message's own keys.
    pub routing_key: Option<Arc<str>>,
}

/// How sure dead-lettering is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadLetterStrategy {
    /// The message leaves its queue when it is published again.
    #[default]
    AtMostOnce,
    /// The message stays in its queue until every target confirmed it.
    AtLeastOnce,
}

/// The type of a queue, `x-queue-type`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum QueueKind {
    /// One copy, or as many as an ha-mode policy says.
    #[default]
    Classic,
    /// A majority of replicas holds every message.
    Quorum,
    /// An append-only log that consumers read without emptying it.
    Stream,
}

impl QueueKind {
    /// The name clients use in `x-queue-type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

    /// RabbitMQ's module name, which its error texts show.
    #[must_use]
    pub fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }

    /// The kind that a name or a module name stands for; an empty name is a classic queue.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "" | "classic" | "rabbit_classic_queue" => Some(Self::Classic),
            "quorum" | "rabbit_quorum_queue" => Some(Self::Quorum),
            "stream" | "rabbit_stream_queue" => Some(Self::Stream),
            _ => None,
        }
    }
}
