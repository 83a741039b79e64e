//! What a connection is configured with, and what the listener knows of its peer.

use leveret_engine::auth::User;
use std::sync::Arc;

/// Settings shared by all connections of a listener.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// The version in server-properties. Clients parse it and switch features by it; see
    /// `docs/decisions/003-advertised-version.md`.
    pub product_version: String,
    /// The cluster's name in server-properties.
    pub cluster_name: String,
    /// The platform in server-properties.
    pub platform: String,
    /// Entries added to server-properties, or put in the place of the usual ones.
    pub server_properties: Vec<(String, String)>,
    /// SASL mechanisms offered, the preferred one first.
    pub mechanisms: Vec<Mechanism>,
    /// The largest number of channels of a connection; 0 is without limit.
    pub channel_max: u16,
    /// The largest frame in bytes, with its eight bytes around the payload; 0 is without limit.
    pub frame_max: u32,
    /// The heartbeat proposed to clients, in seconds; 0 proposes none.
    pub heartbeat: u16,
    /// Milliseconds from the first byte to connection.open.
    pub handshake_timeout_ms: u64,
    /// The largest message body in bytes; never more than
    /// [`BODY_BYTES_CEILING`](crate::limits::BODY_BYTES_CEILING).
    pub max_message_size: u64,
    /// Consumers of one channel; `None` is without limit.
    pub consumer_max_per_channel: Option<u32>,
    /// The prefetch of consumers on channels without basic.qos; 0 is unlimited.
    pub default_consumer_prefetch: u16,
    /// Milliseconds a delivery may stay unacknowledged before its channel is closed; `None` is for
    /// ever. Applies to quorum queues, and to every queue that sets `x-consumer-timeout` itself.
    pub consumer_timeout_ms: Option<u64>,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            product_version: "3.13.7".to_owned(),
            cluster_name: "leveret".to_owned(),
            platform: format!("Rust, leveret {}", env!("CARGO_PKG_VERSION")),
            server_properties: Vec::new(),
            mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain],
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            handshake_timeout_ms: 10_000,
            max_message_size: 128 * 1024 * 1024,
            consumer_max_per_channel: None,
            default_consumer_prefetch: 0,
            consumer_timeout_ms: Some(1_800_000),
        }
    }
}

/// A way to log in.
// rabbitmq: authentication
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `\0user\0password`.
    Plain,
    /// A table with `LOGIN` and `PASSWORD`.
    AmqPlain,
    /// The name in the client's certificate; offered only where there is one.
    External,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }

    /// The mechanism of a name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Plain, Self::AmqPlain, Self::External].into_iter().find(|m| m.name() == name)
    }
}

/// The other end of a socket.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address and port as people read them.
    pub address: Arc<str>,
    /// Whether it is on this machine: users such as `guest` may come from nowhere else.
    pub loopback: bool,
    /// The name in its verified TLS certificate, for EXTERNAL.
    pub certificate_name: Option<Arc<str>>,
    /// A user whom the process itself knows to be at the other end; EXTERNAL takes it as it is.
    pub known: Option<Arc<User>>,
}
