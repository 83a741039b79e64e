//! What the node of a client and the leader of a queue tell each other, so that a client may be connected to any node.
//!
//! An [`Ask`] goes to the leader, a [`Tell`] comes from it. Both are read in the order they were sent in; when a
//! connection ends they may be lost, and then the leader has given back what was delivered over it, and the client's
//! node sends again what was not answered.

use super::super::ids::SessionId;
use super::super::shared_bytes;
use leveret_engine::{
    BrokerError, ChannelKey, Command, ConsumerId, Outcome, QueueId, Seq, SeqRange, Table,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// To the leader of a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Messages. Each is [settled](Tell::Settled), though its publisher may not want to know.
    Publish {
        /// The queue.
        queue: QueueId,
        /// Whose.
        session: SessionId,
        /// All publishes of the session behind this one and before `first` have been settled.
        after: u64,
        /// The number of the first message; the others follow.
        first: u64,
        /// The messages, as the engine packs them.
        #[serde(with = "shared_bytes")]
        block: Arc<[u8]>,
    },
    /// A session will not publish to this queue any more, and nothing of it is unsettled.
    EndSession {
        /// The queue.
        queue: QueueId,
        /// The session.
        session: SessionId,
    },
    /// What became of messages that were delivered.
    Settle {
        /// The queue.
        queue: QueueId,
        /// What became of which, in order.
        settles: Vec<Done>,
    },
    /// A client consumes. Answered by [`Told::Consuming`].
    Consume {
        /// For the answer.
        request: u64,
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: Box<Subscriber>,
    },
    /// A consumer is gone. What it took stays with its channel, but for what never reached the client.
    Cancel {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: ConsumerId,
        /// What never reached the client.
        untaken: Vec<SeqRange>,
    },
    /// A consumer has been handed so many bytes of what was delivered: as many more may be on their way.
    Room {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: ConsumerId,
        /// Bytes, as [`delivery_weight`] counts them.
        bytes: u64,
    },
    /// One message. Answered by [`Told::Got`].
    Get {
        /// For the answer.
        request: u64,
        /// The queue.
        queue: QueueId,
    },
    /// Answered by [`Told::Purged`].
    Purge {
        /// For the answer.
        request: u64,
        /// The queue.
        queue: QueueId,
    },
    /// A change of the queue or of its bindings, which is not durable. Answered by [`Told::Applied`].
    Apply {
        /// For the answer.
        request: u64,
        /// The queue.
        queue: QueueId,
        /// The change.
        command: Box<Command>,
    },
    /// What a declare tells; for the queue's expiry this is a use. Answered by [`Told::Counts`].
    Counts {
        /// For the answer.
        request: u64,
        /// The queue.
        queue: QueueId,
    },
}

/// What a node has that is not durable, for the others to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transient {
    /// Whether this is all of it, or what has changed.
    pub all: bool,
    /// As commands.
    pub commands: Vec<Command>,
}

/// From the leader of a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tell {
    /// What became of publishes.
    Settled {
        /// The queue.
        queue: QueueId,
        /// Whose.
        session: SessionId,
        /// The first.
        first: u64,
        /// How many.
        n: u32,
        /// Whether the queue holds them as safely as it promises to, or has refused them.
        taken: bool,
    },
    /// Publishes are missing: all that are not settled are to be sent again.
    Missing {
        /// The queue.
        queue: QueueId,
        /// Whose.
        session: SessionId,
    },
    /// This node has begun to lead a queue that it was asked something of before it did.
    Leads {
        /// The queue.
        queue: QueueId,
    },
    /// Messages for a consumer.
    Deliver {
        /// The queue.
        queue: QueueId,
        /// For whom.
        consumer: ConsumerId,
        /// The messages.
        messages: Messages,
    },
    /// The queue is gone, or its leader leads no more and the consumer did not want to be moved.
    Cancelled {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: ConsumerId,
    },
    /// A message for the direct reply-to consumer of a client there.
    Reply {
        /// Its address.
        token: Arc<str>,
        /// The message, as the engine packs it.
        #[serde(with = "shared_bytes")]
        block: Arc<[u8]>,
    },
    /// An answer.
    Answer {
        /// To what.
        request: u64,
        /// The queue.
        queue: QueueId,
        /// What it is.
        told: Told,
    },
}

/// Messages on their way to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// The position of the first; the others follow.
    pub first: Seq,
    /// Whether they were delivered before.
    pub redelivered: bool,
    /// How often each came back, and how often after a failed delivery.
    pub returns: (u32, u32),
    /// Whether they are read from a stream.
    pub from_stream: bool,
    /// The messages, as the engine packs them.
    #[serde(with = "shared_bytes")]
    pub block: Arc<[u8]>,
}

/// What became of messages that were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Who took them; `None` is `basic.get`.
    pub consumer: Option<ConsumerId>,
    /// Which.
    pub range: SeqRange,
    /// What became of them.
    pub how: How,
}

/// What a client says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It is done.
    Ack,
    /// Back in its place.
    Requeue,
    /// The same, and its delivery has failed.
    RequeueFailed,
    /// Dead-lettered or dropped.
    Reject,
    /// The same, and its delivery has failed.
    RejectFailed,
}

/// A consumer on another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscriber {
    /// The consumer; its number says on which node it is.
    pub id: ConsumerId,
    /// Its channel.
    pub channel: ChannelKey,
    /// The consumer tag.
    pub tag: Arc<str>,
    /// Whether its client does not acknowledge. Its node does.
    pub no_ack: bool,
    /// Whether it wants to be the only one.
    pub exclusive: bool,
    /// How many unacknowledged messages it may have; 0 is no limit.
    pub prefetch: u16,
    /// Its priority.
    pub priority: i32,
    /// Where in a stream it reads on, if it has begun to.
    pub from: Option<u64>,
    /// The arguments.
    pub arguments: Table,
    /// Who consumes.
    pub user: Arc<str>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// To [`Ask::Consume`].
    Consuming(Result<(), BrokerError>),
    /// To [`Ask::Get`]: the message, and how many are ready behind it. It has to be settled.
    Got(Option<(Messages, u64)>),
    /// To [`Ask::Purge`].
    Purged(u64),
    /// To [`Ask::Apply`].
    Applied(Result<Outcome, BrokerError>),
    /// To [`Ask::Counts`]: ready messages and consumers. `None`: the queue is gone.
    Counts(Option<(u64, u32)>),
}

/// What a message counts for that is on its way to a consumer, besides its body.
const MESSAGE_BYTES: u64 = 64;

/// What messages count for that are on their way to a consumer, of which there are `n` with `body_bytes` in all.
#[must_use]
pub const fn delivery_weight(n: u32, body_bytes: u64) -> u64 {
    body_bytes + n as u64 * MESSAGE_BYTES
}
