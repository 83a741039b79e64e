//! Messages that a person publishes or looks at by hand, through management. Plain values; what they
//! mean for a queue is what AMQP says.

use crate::auth::User;
use std::sync::Arc;

/// A message that a person publishes.
#[derive(Clone, Debug)]
pub struct HandPublish {
    /// Who publishes; the rights of this user hold.
    pub user: Arc<User>,
    /// The vhost.
    pub vhost: Arc<str>,
    /// The exchange, empty for the default one.
    pub exchange: Arc<str>,
    /// The routing key, at most 255 bytes.
    pub routing_key: Arc<str>,
    /// Property flags and values.
    pub properties: Vec<u8>,
    /// The payload.
    pub body: Vec<u8>,
}

/// What became of a message that was published by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandPublished {
    /// At least one queue has it.
    Routed,
    /// No queue was reached.
    Unroutable,
    /// A queue refused it: it is full.
    Rejected,
}

/// What happens to messages that a person has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandSettle {
    /// They are acknowledged as they are taken.
    Ack,
    /// They go back to their places by `basic.nack`.
    Return,
    /// They go back to their places by `basic.reject`.
    RejectAndReturn,
    /// They are rejected, and dead-lettered where the queue says so.
    Reject,
}

/// Messages that a person wants to see.
#[derive(Clone, Debug)]
pub struct HandGet {
    /// Who looks; the rights of this user hold.
    pub user: Arc<User>,
    /// The vhost.
    pub vhost: Arc<str>,
    /// The queue.
    pub queue: Arc<str>,
    /// How many messages, at most.
    pub count: u64,
    /// What happens to them then.
    pub settle: HandSettle,
    /// Bytes of payload kept of each.
    pub keep_bytes: usize,
}

/// A message that was got by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandGot {
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Ready messages that were left behind it.
    pub message_count: u64,
    /// Property flags and values.
    pub properties: Vec<u8>,
    /// The payload, or its beginning.
    pub body: Vec<u8>,
    /// Bytes of the whole payload.
    pub body_bytes: u64,
}

/// What AMQP answered instead: a reply code and its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct HandRefused {
    /// The reply code, such as 404.
    pub code: u16,
    /// RabbitMQ's text.
    pub text: String,
}
