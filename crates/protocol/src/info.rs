//! What management and metrics show of a connection and its channels: plain values, copied out.

use std::sync::Arc;

use leveret_codec::Table;
use leveret_engine::{ChannelKey, ConnectionId, ConsumerId, QueueId, Timestamp};

/// Monotonic counters of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounters {
    /// Bytes received.
    pub bytes_received: u64,
    /// Frames received.
    pub frames_received: u64,
    /// channel.open.
    pub channels_opened: u64,
    /// Channels closed, whoever closed them.
    pub channels_closed: u64,
    /// Messages of all channels, those that are closed included.
    pub messages: MessageCounters,
}

/// Classes that published bodies are counted in.
pub(crate) const SIZE_CLASSES: usize = leveret_engine::view::MESSAGE_SIZE_BOUNDS.len() + 1;

/// The class of a body: as many bounds of [`leveret_engine::view::MESSAGE_SIZE_BOUNDS`] as it exceeds.
#[inline]
pub(crate) fn size_class(bytes: u64) -> usize {
    leveret_engine::view::MESSAGE_SIZE_BOUNDS.iter().map(|bound| usize::from(bytes > *bound)).sum()
}

/// Monotonic counters of messages, as RabbitMQ's `message_stats` name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// basic.publish.
    pub publish: u64,
    /// Publishes answered by basic.ack.
    pub confirm: u64,
    /// Publishes answered by basic.nack.
    pub nack_published: u64,
    /// Mandatory messages returned.
    pub return_unroutable: u64,
    /// Messages that matched no queue and were dropped.
    pub drop_unroutable: u64,
    /// Deliveries that wait for an ack.
    pub deliver: u64,
    /// Deliveries that do not.
    pub deliver_no_ack: u64,
    /// Deliveries that were not the first.
    pub redeliver: u64,
    /// basic.get with a message that waits for an ack.
    pub get: u64,
    /// basic.get with a message that does not.
    pub get_no_ack: u64,
    /// basic.get of an empty queue.
    pub get_empty: u64,
    /// Deliveries acked.
    pub ack: u64,
    /// Bytes of bodies published.
    pub publish_bytes: u64,
    /// Publishes by the size of their body: how many exceed as many of
    /// [`leveret_engine::view::MESSAGE_SIZE_BOUNDS`] as their index says.
    pub publish_sizes: [u64; SIZE_CLASSES],
    /// Bytes of bodies delivered or got.
    pub deliver_bytes: u64,
}

impl MessageCounters {
    /// Counts a publish. Hot path.
    #[inline]
    pub(crate) fn note_publish(&mut self, bytes: u64) {
        self.publish += 1;
        self.publish_bytes += bytes;
        if let Some(n) = self.publish_sizes.get_mut(size_class(bytes)) {
            *n += 1;
        }
    }

    /// Adds publishes by size.
    pub(crate) fn add_sizes(&mut self, sizes: &[u64; SIZE_CLASSES]) {
        for (sum, n) in self.publish_sizes.iter_mut().zip(sizes) {
            *sum += n;
        }
    }

    /// Counts a message without a queue.
    pub(crate) fn note_unroutable(&mut self, returned: bool) {
        if returned {
            self.return_unroutable += 1;
        } else {
            self.drop_unroutable += 1;
        }
    }

    /// Adds what another set has counted.
    pub fn add(&mut self, other: &Self) {
        self.publish += other.publish;
        self.confirm += other.confirm;
        self.nack_published += other.nack_published;
        self.return_unroutable += other.return_unroutable;
        self.drop_unroutable += other.drop_unroutable;
        self.deliver += other.deliver;
        self.deliver_no_ack += other.deliver_no_ack;
        self.redeliver += other.redeliver;
        self.get += other.get;
        self.get_no_ack += other.get_no_ack;
        self.get_empty += other.get_empty;
        self.ack += other.ack;
        self.publish_bytes += other.publish_bytes;
        self.add_sizes(&other.publish_sizes);
        self.deliver_bytes += other.deliver_bytes;
    }
}

/// The state of a connection in RabbitMQ's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Before connection.start-ok.
    Starting,
    /// Before connection.tune-ok.
    Tuning,
    /// Before connection.open-ok.
    Opening,
    /// Open.
    Running,
    /// An alarm is on; the next publish blocks.
    Blocking,
    /// Not read because of an alarm.
    Blocked,
    /// Being closed.
    Closing,
    /// Closed.
    Closed,
}

impl ConnectionState {
    /// RabbitMQ's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Tuning => "tuning",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// A connection as management shows it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Which connection.
    pub id: ConnectionId,
    /// The peer's address and port.
    pub peer: Arc<str>,
    /// The user, empty before the login.
    pub user: Arc<str>,
    /// The vhost, empty before connection.open.
    pub vhost: Arc<str>,
    /// The SASL mechanism, empty before the login.
    pub mechanism: &'static str,
    /// client-properties as they came.
    pub client_properties: Table,
    /// `connection_name` of the client properties.
    pub user_provided_name: Option<String>,
    /// The state.
    pub state: ConnectionState,
    /// Largest number of channels, 0 is unlimited.
    pub channel_max: u16,
    /// Largest frame, 0 is unlimited.
    pub frame_max: u32,
    /// Heartbeat in seconds, 0 is none.
    pub heartbeat: u16,
    /// Open channels.
    pub channels: usize,
    /// When the connection was made.
    pub connected_at: Timestamp,
    /// What it has counted.
    pub counters: ConnectionCounters,
}

/// A channel as management shows it.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// Which channel.
    pub key: ChannelKey,
    /// Its consumers.
    pub consumers: Vec<ConsumerInfo>,
    /// Deliveries that wait for an ack.
    pub unacked: u64,
    /// Publishes that wait for a confirm.
    pub unconfirmed: u64,
    /// Publishes of the open transaction.
    pub uncommitted: u64,
    /// Acks of the open transaction.
    pub uncommitted_acks: u64,
    /// The prefetch of consumers to come.
    pub prefetch: u16,
    /// The prefetch of the whole channel, 0 is unlimited.
    pub global_prefetch: u32,
    /// Whether it is in confirm mode.
    pub confirm: bool,
    /// Whether it is transactional.
    pub transactional: bool,
    /// Whether a call of it is unanswered.
    pub waiting: bool,
    /// What it has counted.
    pub counters: MessageCounters,
}

/// A consumer as management shows it.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// Which consumer.
    pub id: ConsumerId,
    /// Its tag.
    pub tag: Arc<str>,
    /// The queue.
    pub queue: QueueId,
    /// The queue's name.
    pub queue_name: Arc<str>,
    /// Whether it acks nothing.
    pub no_ack: bool,
    /// Whether it is exclusive.
    pub exclusive: bool,
    /// Its prefetch, 0 is unlimited.
    pub prefetch: u16,
    /// Its arguments.
    pub arguments: Table,
}
