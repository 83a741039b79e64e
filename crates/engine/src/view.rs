//! What management sees of a broker: traits that the node and the server implement, and the plain
//! values they answer with. Copies, made when somebody asks; nothing here is on the way of a message.

mod hand;
mod redrive;

use crate::command::{Command, Outcome};
use crate::error::BrokerError;
use crate::ids::{ChannelKey, ConnectionId, ConsumerId, QueueId};
use crate::queue::stats::{QueueCounts, QueueStats};
use crate::time::Timestamp;
use crate::topology::Topology;
pub use hand::{HandGet, HandGot, HandPublish, HandPublished, HandRefused, HandSettle};
pub use leveret_codec::{Properties, PropertiesWriter, Table, Value};
pub use redrive::{
    PutMessage, REDRIVE_FAILURES_KEPT, Redrive, RedriveFailure, RedriveState, RedriveView,
};
use std::pin::Pin;
use std::sync::Arc;

/// A future behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Reads the broker.
pub trait Registry: Send + Sync {
    /// Runs `f` with the topology, which does not change meanwhile. `f` must be quick and must not
    /// call the registry: publishers may wait for it.
    fn with_topology(&self, f: &mut dyn FnMut(&Topology));
    /// What a queue holds and counted; `None` if it is not led here or is gone.
    fn queue_figures(&self, id: QueueId) -> Option<QueueFigures>;
    /// Client connections of this node, in no order.
    fn connections(&self) -> Vec<ConnectionView>;
    /// Channels of this node, in no order.
    fn channels(&self) -> Vec<ChannelView>;
    /// Consumers of this node's queues, in no order.
    fn consumers(&self) -> Vec<ConsumerView>;
    /// Counters and sums of this node.
    fn totals(&self) -> Totals;
}

/// Tells about the process.
pub trait NodeView: Send + Sync {
    /// The node's name.
    fn name(&self) -> &str;
    /// The cluster's name.
    fn cluster_name(&self) -> String;
    /// The RabbitMQ version that is spoken; tools switch features by it.
    fn product_version(&self) -> &str;
    /// Milliseconds since the start.
    fn uptime_ms(&self) -> u64;
    /// Where the node listens.
    fn listeners(&self) -> Vec<ListenerView>;
    /// The alarms that are on.
    fn alarms(&self) -> Vec<Alarm>;
    /// Memory, disk, descriptors.
    fn resources(&self) -> Resources;
    /// Client connections at once, at most; `None` is without limit.
    fn connection_max(&self) -> Option<u64>;
    /// How far this node has agreed on its topology; `None` where nothing is kept.
    fn agreement(&self) -> Option<AgreementView> {
        None
    }
    /// What the message store tells about itself; `None` where messages are in memory only.
    fn store(&self) -> Option<StoreView> {
        None
    }
}

/// How far a node has agreed on its topology: positions in the log of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AgreementView {
    /// The term.
    pub term: u64,
    /// The last entry in the log.
    pub last_written: u64,
    /// The last entry that is agreed on and applied.
    pub last_applied: u64,
    /// The last entry in a snapshot.
    pub snapshot: u64,
    /// How long the last command took to be agreed on, in seconds.
    pub commit_latency_seconds: f64,
}

/// What the message store tells about itself: counts since it was opened, sizes now.
#[derive(Clone, Debug, Default)]
pub struct StoreView {
    /// Group commits written.
    pub groups: u64,
    /// Bytes of content in them.
    pub group_bytes: Distribution,
    /// How long the disk took to sync, in seconds.
    pub sync_seconds: Distribution,
    /// Group commits whose records are still needed.
    pub window_records: u64,
    /// Bytes of these records.
    pub window_bytes: u64,
    /// Chunks of messages that outlived their records.
    pub chunks: u64,
    /// Bytes of tables and blobs on disk, the log of the database not included.
    pub disk_bytes: u64,
    /// Bytes of the database's memory tables.
    pub memory_bytes: u64,
    /// Writes that were held up.
    pub slow_writes: u64,
}

/// Values in buckets.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    /// Upper bounds, rising, and how many values were at or below each.
    pub buckets: Vec<(f64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// The sum of all values.
    pub sum: f64,
}

/// Changes the broker on behalf of a person, whose rights the caller has checked.
pub trait Propose: Send + Sync {
    /// Applies a command; the answer comes when it holds.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Outcome, BrokerError>>;
    /// Deletes a queue and returns how many messages were ready in it.
    fn delete_queue<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        only: DeleteOnly,
    ) -> BoxFuture<'a, Result<u64, BrokerError>>;
    /// Removes what is ready in a queue and returns how much that was.
    fn purge_queue<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<u64, BrokerError>>;
    /// Publishes a message with a user's rights, and waits until queues have it.
    fn publish(&self, message: HandPublish) -> BoxFuture<'_, Result<HandPublished, HandRefused>>;
    /// Gets messages with a user's rights.
    fn get(&self, wanted: HandGet) -> BoxFuture<'_, Result<Vec<HandGot>, HandRefused>>;
    /// Puts messages into a queue past every exchange, and waits until it has them all. The caller has made sure that
    /// the person may do that.
    fn put<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        messages: Vec<PutMessage>,
    ) -> BoxFuture<'a, Result<(), HandRefused>>;
    /// Begins to move messages, and returns the number of the work; `None` while there is too much of it under way.
    fn redrive(&self, wanted: Redrive) -> Option<u64>;
    /// Now, by the clock of the process.
    fn now(&self) -> Timestamp;
    /// The redrives that are under way and the last ones that ended, oldest first.
    fn redrives(&self) -> Vec<RedriveView>;
    /// Asks a redrive to end; `false` if there is none of this number under way.
    fn cancel_redrive(&self, id: u64) -> bool;
    /// Asks a client to go, with 320 and `reason`; `false` if it is gone already.
    fn close_connection(&self, id: ConnectionId, reason: &str) -> bool;
}

/// Conditions of a delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteOnly {
    /// Only without consumers.
    pub if_unused: bool,
    /// Only without ready messages.
    pub if_empty: bool,
}

/// What a queue holds and counted.
#[derive(Clone, Debug, Default)]
pub struct QueueFigures {
    /// What it holds now.
    pub counts: QueueCounts,
    /// What happened in it.
    pub stats: QueueStats,
    /// Bytes of memory of its messages.
    pub memory: u64,
    /// When its oldest ready message arrived.
    pub oldest_ready: Option<Timestamp>,
    /// The tag of the consumer that has the queue for itself.
    pub exclusive_consumer: Option<Arc<str>>,
    /// The tag of the consumer that is active where only one may be.
    pub single_active_consumer: Option<Arc<str>>,
}

/// Counters of messages, as RabbitMQ's `message_stats` name them. They never go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageStats {
    /// `basic.publish`.
    pub publish: u64,
    /// Publishes answered by `basic.ack`.
    pub confirm: u64,
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
    /// `basic.get` with a message that waits for an ack.
    pub get: u64,
    /// `basic.get` with a message that does not.
    pub get_no_ack: u64,
    /// `basic.get` of an empty queue.
    pub get_empty: u64,
    /// Deliveries acked.
    pub ack: u64,
}

/// A client connection.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Which connection.
    pub id: ConnectionId,
    /// The client's address and port, `127.0.0.1:5555`.
    pub peer: Arc<str>,
    /// The broker's address and port.
    pub local: Arc<str>,
    /// What TLS has settled; `None` without TLS.
    pub tls: Option<Arc<TlsView>>,
    /// The user, empty before the login.
    pub user: Arc<str>,
    /// The vhost, empty before `connection.open`.
    pub vhost: Arc<str>,
    /// The SASL mechanism, empty before the login.
    pub mechanism: &'static str,
    /// The properties as the client sent them.
    pub client_properties: Table,
    /// `connection_name` of the client properties.
    pub user_provided_name: Option<Arc<str>>,
    /// RabbitMQ's word for the state: `running`, `blocked`, ...
    pub state: &'static str,
    /// Open channels.
    pub channels: u32,
    /// Largest number of channels, 0 is unlimited.
    pub channel_max: u16,
    /// Largest frame in bytes, 0 is unlimited.
    pub frame_max: u32,
    /// Heartbeat in seconds, 0 is none.
    pub heartbeat: u16,
    /// When the client came.
    pub connected_at: Timestamp,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Frames received.
    pub received_frames: u64,
}

/// What TLS has settled on a connection.
#[derive(Clone, Debug, Default)]
pub struct TlsView {
    /// `tlsv1.3`.
    pub protocol: Arc<str>,
    /// The cipher suite.
    pub cipher: Arc<str>,
    /// Subject of the client's certificate.
    pub peer_cert_subject: Option<Arc<str>>,
    /// Its issuer.
    pub peer_cert_issuer: Option<Arc<str>>,
    /// Its validity.
    pub peer_cert_validity: Option<Arc<str>>,
}

/// A channel. Its user and vhost are those of its connection.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Which channel.
    pub key: ChannelKey,
    /// Consumers on it.
    pub consumers: u32,
    /// Deliveries that wait for an ack.
    pub unacked: u64,
    /// Publishes that wait for a confirm.
    pub unconfirmed: u64,
    /// Publishes of the open transaction.
    pub uncommitted: u64,
    /// Acks of the open transaction.
    pub uncommitted_acks: u64,
    /// The prefetch of consumers to come, 0 is unlimited.
    pub prefetch: u32,
    /// The prefetch of the whole channel, 0 is unlimited.
    pub global_prefetch: u32,
    /// Whether it is in confirm mode.
    pub confirm: bool,
    /// Whether it is transactional.
    pub transactional: bool,
    /// What it counted.
    pub stats: MessageStats,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    /// Which consumer.
    pub id: ConsumerId,
    /// The channel it lives on.
    pub channel: ChannelKey,
    /// The queue.
    pub queue: QueueId,
    /// The vhost of the queue.
    pub vhost: Arc<str>,
    /// The queue's name.
    pub queue_name: Arc<str>,
    /// The consumer tag.
    pub tag: Arc<str>,
    /// Whether it acknowledges nothing.
    pub no_ack: bool,
    /// Whether it is exclusive.
    pub exclusive: bool,
    /// Whether it may be served: not waiting behind a single active consumer.
    pub active: bool,
    /// Its prefetch, 0 is unlimited.
    pub prefetch: u16,
    /// The arguments of `basic.consume`.
    pub arguments: Table,
    /// Who consumes.
    pub user: Arc<str>,
}

/// Counters and sums of a node. The counters never go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections now.
    pub connections: u64,
    /// Channels now.
    pub channels: u64,
    /// Consumers now.
    pub consumers: u64,
    /// Queues led here now.
    pub queues: u64,
    /// Messages ready in them.
    pub ready: u64,
    /// Messages delivered and not acknowledged.
    pub unacked: u64,
    /// Bytes of bodies of ready messages.
    pub ready_bytes: u64,
    /// Bytes of bodies of unacknowledged messages.
    pub unacked_bytes: u64,
    /// Connections ever made.
    pub connections_opened: u64,
    /// Connections ended.
    pub connections_closed: u64,
    /// Channels ever opened.
    pub channels_opened: u64,
    /// Channels closed.
    pub channels_closed: u64,
    /// `queue.declare` that was answered well.
    pub queues_declared: u64,
    /// Queues made.
    pub queues_created: u64,
    /// Queues deleted.
    pub queues_deleted: u64,
    /// Bytes received from clients.
    pub received_bytes: u64,
    /// Bytes sent to clients.
    pub sent_bytes: u64,
    /// What all channels counted, closed ones included.
    pub messages: MessageStats,
    /// Bytes of bodies published.
    pub published_bytes: u64,
    /// Publishes by the size of their body: how many exceed as many of [`MESSAGE_SIZE_BOUNDS`] as their index says.
    pub published_sizes: [u64; MESSAGE_SIZE_BOUNDS.len() + 1],
}

/// Bounds, in bytes, of the classes that published bodies are counted in.
// rabbitmq: message_size_bytes
pub const MESSAGE_SIZE_BOUNDS: [u64; 8] =
    [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerView {
    /// RabbitMQ's name of the protocol: `amqp`, `amqp/ssl`, `http`, `https`, `http/prometheus`.
    pub protocol: Arc<str>,
    /// The address.
    pub ip: Arc<str>,
    /// The port.
    pub port: u16,
}

/// A resource that has run low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Free disk space is below its limit.
    Disk,
    /// Memory is beyond its watermark.
    Memory,
}

/// What the process uses and may use. 0 where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of memory in use.
    pub memory_used: u64,
    /// Bytes beyond which the memory alarm is on.
    pub memory_limit: u64,
    /// Free bytes on the disk of the data directory.
    pub disk_free: u64,
    /// Bytes below which the disk alarm is on.
    pub disk_limit: u64,
    /// Open file descriptors.
    pub descriptors_used: u64,
    /// Descriptors that may be open.
    pub descriptors_total: u64,
    /// Client connections that fit into the descriptors.
    pub sockets_total: u64,
    /// Cores.
    pub processors: u64,
    /// The process's number.
    pub os_pid: u32,
}
