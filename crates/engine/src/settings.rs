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
    /// Whether consumers are served as those of a quorum queue: `exclusive` is noted and not enforced, and a single active
    /// consumer gives way to one of higher priority as soon as it has nothing left to acknowledge.
    // rabbitmq: quorum queues
    pub quorum_consumers: bool,
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
    /// How long a message that came back waits for its next try; `None` is not at all.
    pub delayed_retry: Option<Box<DelayedRetry>>,
    /// Whether a message is left out whose deduplication header was seen, and for how long.
    pub deduplication: Option<Box<Deduplication>>,
    /// The exchange whose messages wait here for their time; `None` for every queue that a client made.
    pub delays_for: Option<Arc<str>>,
    /// What makes it a stream; `None` for every other type.
    pub stream: Option<Box<StreamSettings>>,
}

/// For how long a queue remembers deduplication headers: with neither a time nor a number, for as long as
/// their messages are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduplication {
    /// How long after the message came, in milliseconds.
    pub ttl: Option<u64>,
    /// How many headers; the oldest goes for a new one.
    pub size: Option<u64>,
}

/// How long messages that came back wait until they may be delivered again.
// rabbitmq: quorum queues, delayed retry
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedRetry {
    /// Which of them wait.
    pub kind: RetryKind,
    /// How long after the first time, in milliseconds.
    pub min: u64,
    /// How long at most, in milliseconds.
    pub max: u64,
    /// By how much, in hundredths, a delay is longer than the one before; 0 is linear: each is longer by the first.
    pub multiplier: u32,
    /// Up to how many hundredths of it are added to a delay, so that what failed together does not come together.
    pub jitter: u32,
}

/// Which messages that came back wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryKind {
    /// All of them.
    All,
    /// Those whose delivery failed: they were rejected, or whoever had them went away.
    Failed,
    /// Those that were given back without a failure.
    Returned,
}

impl RetryKind {
    /// The value of a word; `None` for `disabled` and for what is no word.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "failed" => Some(Self::Failed),
            "returned" => Some(Self::Returned),
            _ => None,
        }
    }
}

impl DelayedRetry {
    /// How long a message waits that came back for the `n`th time; `random` decides about the jitter.
    #[must_use]
    pub fn delay(&self, n: u32, random: u64) -> u64 {
        let delay = match self.multiplier {
            0 => self.min.saturating_mul(n.into()),
            multiplier => {
                let mut delay = u128::from(self.min);
                for _ in 1..n {
                    let next = delay * u128::from(multiplier) / 100;
                    if next <= delay || delay > u128::from(self.max) {
                        break;
                    }
                    delay = next;
                }
                u64::try_from(delay).unwrap_or(u64::MAX)
            }
        };
        let delay = delay.min(self.max);
        let most = u128::from(delay) * u128::from(self.jitter) / 100;
        let added = (u128::from(random) * most) >> u64::BITS;
        delay.saturating_add(u64::try_from(added).unwrap_or(0)).min(self.max)
    }

    /// Whether a message that came back waits.
    #[must_use]
    pub fn is_for(&self, failed: bool) -> bool {
        match self.kind {
            RetryKind::All => true,
            RetryKind::Failed => failed,
            RetryKind::Returned => !failed,
        }
    }
}

/// How a stream keeps what was published to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSettings {
    /// How many bytes it keeps, its newest segment aside.
    pub max_bytes: Option<u64>,
    /// How long it keeps a segment, in milliseconds.
    pub max_age: Option<u64>,
    /// A segment of this many bytes is followed by another. Whole segments go.
    pub segment_bytes: u64,
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
