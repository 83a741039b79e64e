//! What the channels of a connection share, and the context in which they work: the node, the
//! output and the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_codec::ReplyCode;
use leveret_engine::{
    ChannelKey, ConnectionId, ConsumerId, QueueId, SeqRange, Settle, Settlement, Timestamp, User,
};

use crate::broker::{Answer, Broker, Call};
use crate::channel::Consumer;
use crate::channel::message::Scratch;
use crate::config::{ConnectionConfig, Peer};
use crate::info::ConnectionCounters;
use crate::output::Output;

/// What the client said it can do.
// rabbitmq: client capabilities
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) consumer_cancel_notify: bool,
    pub(crate) authentication_failure_close: bool,
    pub(crate) connection_blocked: bool,
}

/// The state that belongs to the connection and that its channels read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ConnectionId,
    pub(crate) config: Arc<ConnectionConfig>,
    pub(crate) peer: Peer,
    /// The user once authenticated.
    pub(crate) user: Option<Arc<User>>,
    pub(crate) user_name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    pub(crate) capabilities: Capabilities,
    /// As negotiated; 0 is unlimited.
    pub(crate) frame_max: u32,
    /// As negotiated; 0 is unlimited.
    pub(crate) channel_max: u16,
    /// Every consumer of every channel.
    pub(crate) consumers: BTreeMap<ConsumerId, Consumer>,
    /// Bytes of frames held on all channels.
    pub(crate) held_bytes: usize,
    /// Publishes of all channels that wait for a confirm.
    pub(crate) unconfirmed: u64,
    /// basic.get calls of channels that are gone, by the channel that made them.
    pub(crate) orphans: Vec<(ChannelKey, QueueId)>,
    /// Whether any consumer had a timeout for its acks.
    pub(crate) ack_timeouts: bool,
    /// Channels with confirms to tell at the end of the batch.
    pub(crate) dirty: Vec<u16>,
    /// The run of acks that may still grow.
    settling: Option<(QueueId, Settle)>,
    /// Boxed, since it is taken out while it is used.
    pub(crate) scratch: Option<Box<Scratch>>,
    pub(crate) counters: ConnectionCounters,
    /// When the connection last did something; the time of deliveries.
    pub(crate) now: Timestamp,
}

impl Shared {
    pub(crate) fn new(
        id: ConnectionId,
        config: Arc<ConnectionConfig>,
        peer: Peer,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            config,
            peer,
            user: None,
            user_name: Arc::from(""),
            vhost: Arc::from(""),
            capabilities: Capabilities::default(),
            frame_max: crate::limits::INITIAL_FRAME_MAX,
            channel_max: 0,
            consumers: BTreeMap::new(),
            held_bytes: 0,
            unconfirmed: 0,
            orphans: Vec::new(),
            ack_timeouts: false,
            dirty: Vec::new(),
            settling: None,
            scratch: None,
            counters: ConnectionCounters::default(),
            now,
        }
    }

    /// The key for calls of the connection itself.
    pub(crate) fn key(&self) -> ChannelKey {
        ChannelKey { connection: self.id, number: 0, incarnation: 0 }
    }

    /// Whole minutes since the epoch, rounded up so that a timeout is never early.
    pub(crate) fn minute(&self) -> u32 {
        self.now.0.div_ceil(crate::limits::CONSUMER_TIMEOUT_TICK_MS) as u32
    }
}

/// What a channel works with.
pub(crate) struct Context<'a, B> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) broker: &'a mut B,
    pub(crate) out: &'a mut Output,
    pub(crate) now: Timestamp,
}

impl<B: Broker> Context<'_, B> {
    /// Asks the node, after everything settled so far.
    pub(crate) fn call(&mut self, channel: ChannelKey, call: Call) -> Option<Answer> {
        self.flush_settles();
        self.broker.call(channel, call)
    }

    /// Settles a run. Runs that follow one another become one before the node sees them.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        queue: QueueId,
        consumer: Option<ConsumerId>,
        range: SeqRange,
        how: Settlement,
    ) {
        if let Some((last_queue, last)) = &mut self.shared.settling
            && *last_queue == queue
            && last.consumer == consumer
            && last.how == how
            && last.range.end() == range.first
            && let Some(n) = last.range.n.checked_add(range.n)
        {
            last.range.n = n;
            return;
        }
        self.flush_settles();
        self.shared.settling = Some((queue, Settle { consumer, range, how }));
    }

    /// Hands the last run of settles to the node.
    #[inline]
    pub(crate) fn flush_settles(&mut self) {
        if self.shared.settling.is_some()
            && let Some((queue, settle)) = self.shared.settling.take()
        {
            self.broker.settle(queue, settle);
        }
    }
}

/// How a connection ended, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// It has not.
    #[default]
    Open,
    /// The peer left before it sent a byte: a load balancer's health check.
    HealthCheck,
    /// The peer did not speak AMQP 0-9-1.
    WrongProtocol,
    /// The handshake took too long.
    HandshakeTimeout,
    /// A login was refused.
    LoginRefused {
        /// Who wanted to log in, as far as known.
        user: String,
        /// Why; not for the client.
        reason: String,
    },
    /// The handshake broke a rule; the peer was not told.
    Handshake(String),
    /// The client closed it properly.
    ByClient {
        /// The client's reply code.
        code: u16,
        /// The client's text.
        text: String,
    },
    /// The server closed it.
    ByServer {
        /// The reply code.
        code: ReplyCode,
        /// The text that the client got.
        text: String,
    },
    /// Nothing came from the client for more than two heartbeats.
    HeartbeatTimeout {
        /// The heartbeat in seconds.
        seconds: u16,
    },
    /// The socket went without a close method.
    SocketLost,
}
