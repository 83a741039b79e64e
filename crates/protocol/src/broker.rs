//! What a connection asks of its node, and what the node tells it: the seam between this crate and
//! `node`. Plain values; every answer may come at once or later.

use std::ops::Deref;
use std::sync::Arc;

use leveret_codec::ReplyCode;
use leveret_engine::command::Outcome;
use leveret_engine::{
    Block, BrokerError, ChannelCredit, ChannelKey, Command, ConsumerId, ConsumerSpec, Delivery,
    Exchange, NewRecord, Passage, QueueDeclare, QueueId, QueueMeta, Record, Settle, Settled,
    Topology,
};

/// A node, as one connection sees it. All methods return at once; none blocks.
///
/// # Contract
/// - [`publish`](Broker::publish) and [`settle`](Broker::settle) may stay pending until the turn of
///   the connection ends or until the next [`call`](Broker::call), whichever comes first. The
///   publishes of a batch reach their queues before its settles.
/// - Calls of one channel are answered in order. An answer that comes later arrives as
///   [`Event::Answer`] with the channel's key, before any delivery that follows from it.
/// - A queue that no longer exists takes publishes and settles silently: the publish is confirmed.
pub trait Broker {
    /// A read guard of the topology.
    type Guard<'a>: Deref<Target = Topology>
    where
        Self: 'a;

    /// The topology as it is now. Used and dropped before the next call on the broker.
    fn topology(&self) -> Self::Guard<'_>;

    /// Changes whenever a route or a permission may have changed. Costs no lock.
    fn routing_version(&self) -> u64;

    /// Appends a message to a queue. With `confirm` the node reports the tag of that channel by
    /// [`Event::Settled`], exactly once for each queue.
    fn publish(
        &mut self,
        queue: QueueId,
        record: &NewRecord<'_>,
        confirm: Option<(ChannelKey, u64)>,
    );

    /// Asks an exchange that keeps something of its messages whether it lets this one through. Called
    /// while a message is routed.
    fn pass(&self, exchange: &Exchange, record: &NewRecord<'_>) -> Passage;

    /// Copies a message to the firehose of the vhost, whose tracing is on.
    // rabbitmq: rabbit_trace
    fn tap(&mut self, tap: &Tap<'_>);

    /// Acks, returns or rejects what was delivered.
    fn settle(&mut self, queue: QueueId, settle: Settle);

    /// Sends a message to the direct reply-to consumer that `token` names. False if it is gone.
    fn reply(&mut self, token: &str, record: &NewRecord<'_>) -> bool;

    /// Whether the direct reply-to consumer that `token` names is there.
    fn reply_alive(&self, token: &str) -> bool;

    /// Opens the reply address of a channel: an unguessable token.
    fn open_reply(&mut self, channel: ChannelKey) -> Arc<str>;

    /// Closes the reply address of a channel, if it has one.
    fn close_reply(&mut self, channel: ChannelKey);

    /// Asks for something that may need the disk, another node or consensus. `None` means that the
    /// answer comes later.
    fn call(&mut self, channel: ChannelKey, call: Call) -> Option<Answer>;

    /// Unguessable bytes, for the names that the server makes.
    fn random(&mut self) -> [u8; 16];

    /// A consumer id that was never used before.
    fn next_consumer_id(&mut self) -> ConsumerId;
}

/// A message that a client has published, or is about to get.
#[derive(Clone, Copy, Debug)]
pub struct Tap<'a> {
    /// The vhost.
    pub vhost: &'a str,
    /// The client's user.
    pub user: &'a str,
    /// The client's address and port.
    pub peer: &'a str,
    /// The channel's number.
    pub channel: u16,
    /// What happens to it.
    pub event: TapEvent<'a>,
    /// The message.
    pub record: Record<'a>,
}

/// What happens to a message.
#[derive(Clone, Copy, Debug)]
pub enum TapEvent<'a> {
    /// It was published and routed to these queues.
    Published(&'a [QueueId]),
    /// It is delivered.
    Delivered {
        /// From this queue.
        queue: QueueId,
        /// Whether it was delivered before.
        redelivered: bool,
    },
}

/// What holds back the frames behind it on its channel until it is answered.
#[derive(Clone, Debug)]
pub enum Call {
    /// `connection.open`: the limits of node, vhost and user. Answered by [`Answer::Opened`].
    Open {
        /// The vhost, which exists.
        vhost: Arc<str>,
        /// The user, authenticated.
        user: Arc<str>,
    },
    /// `channel.open`: the limits of user and node. Answered by [`Answer::Opened`].
    OpenChannel {
        /// The user.
        user: Arc<str>,
    },
    /// The channel is gone and no longer counts. Nobody waits for the answer, if there is one.
    CloseChannel {
        /// The user.
        user: Arc<str>,
    },
    /// A change of topology. Answered by [`Answer::Applied`].
    Command(Command),
    /// `queue.declare`, not passive. Answered by [`Answer::Declared`].
    DeclareQueue(QueueDeclare),
    /// `queue.delete` of a queue that exists. Answered by [`Answer::Deleted`].
    DeleteQueue {
        /// The queue.
        queue: Arc<QueueMeta>,
        /// Refuse if it has consumers.
        if_unused: bool,
        /// Refuse if it has ready messages.
        if_empty: bool,
    },
    /// `basic.consume`. Answered by [`Answer::Consuming`].
    Consume {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        spec: ConsumerSpec,
    },
    /// `basic.cancel`, and the end of a channel. What was assigned and not taken goes back to its
    /// place. Answered by [`Answer::Cancelled`].
    Cancel {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: ConsumerId,
    },
    /// `basic.get`. With `no_ack` the node acks at once. Answered by [`Answer::Got`].
    Get {
        /// The queue.
        queue: QueueId,
        /// Whether the message is settled by being handed out.
        no_ack: bool,
    },
    /// `queue.purge`. Answered by [`Answer::Purged`].
    Purge {
        /// The queue.
        queue: QueueId,
    },
    /// What `queue.declare-ok` tells of a queue that exists; restarts its `x-expires` timer.
    /// Answered by [`Answer::Counts`].
    Counts {
        /// The queue.
        queue: QueueId,
    },
    /// A consumer that started without one shares a channel-wide credit from now on. Nobody waits
    /// for the answer, if there is one.
    ShareCredit {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: ConsumerId,
        /// The credit of its channel.
        credit: Arc<ChannelCredit>,
    },
    /// The channel-wide credit of a consumer may have grown. Nobody waits for the answer, if there
    /// is one.
    Credit {
        /// The queue.
        queue: QueueId,
        /// The consumer.
        consumer: ConsumerId,
    },
}

/// The answer to a [`Call`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Call::Open`] and [`Call::OpenChannel`].
    Opened(Result<(), BrokerError>),
    /// To [`Call::Command`].
    Applied(Result<Outcome, BrokerError>),
    /// To [`Call::DeclareQueue`].
    Declared(Result<Declared, BrokerError>),
    /// To [`Call::DeleteQueue`]: how many ready messages went with it.
    Deleted(Result<u64, BrokerError>),
    /// To [`Call::Consume`].
    Consuming(Result<(), BrokerError>),
    /// To [`Call::Cancel`].
    Cancelled,
    /// To [`Call::Get`]: the message and how many ready messages are left behind it.
    Got(Result<Option<(Delivery, u64)>, BrokerError>),
    /// To [`Call::Purge`]: how many messages were removed.
    Purged(Result<u64, BrokerError>),
    /// To [`Call::Counts`]; `None` if the queue went meanwhile.
    Counts(Result<Option<Counts>, BrokerError>),
    /// To [`Call::CloseChannel`], [`Call::ShareCredit`] and [`Call::Credit`], where a node answers them at all.
    Noted,
}

/// A queue that was declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The queue, new or as it was.
    pub queue: Arc<QueueMeta>,
    /// Ready messages.
    pub ready: u64,
    /// Consumers.
    pub consumers: u32,
}

/// What `queue.declare-ok` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready messages.
    pub ready: u64,
    /// Consumers.
    pub consumers: u32,
}

/// What the node tells a connection without being asked at that moment.
#[derive(Debug)]
pub enum Event {
    /// A call that was not answered at once is answered now.
    Answer {
        /// The channel that called.
        channel: ChannelKey,
        /// The answer.
        answer: Answer,
    },
    /// Publishes that a queue has taken or refused.
    Settled(Settled),
    /// A queue is gone, and its consumer with it.
    Cancelled {
        /// The consumer's channel.
        channel: ChannelKey,
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Messages for the direct reply-to consumer of a channel.
    Reply {
        /// The channel.
        channel: ChannelKey,
        /// The messages.
        block: Block,
    },
    /// A resource alarm: why publishers are to be blocked, such as `low on memory`; `None` when it
    /// has cleared.
    Alarm(Option<Arc<str>>),
    /// The node closes the connection: an operator, a shutdown, a deleted vhost or user.
    Close {
        /// The reply code, as a rule 320.
        code: ReplyCode,
        /// The text behind the code's name.
        text: String,
    },
}

impl Event {
    /// The node closes the connection on behalf of a person or of its own end: 320 with `text`.
    #[must_use]
    pub fn forced_close(text: impl Into<String>) -> Self {
        Self::Close { code: ReplyCode::CONNECTION_FORCED, text: text.into() }
    }
}
