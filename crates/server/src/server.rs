//! A broker in this process: opens everything in order, keeps it running, and ends it gracefully.

mod definitions;
mod kept;
mod messages;
mod start;

#[cfg(test)]
mod tests;

use crate::data_dir::DataDir;
use crate::listener::accept::Places;
use crate::storage::Storage;
use leveret_cluster::transport::Transport;
use leveret_engine::view::ListenerView;
use leveret_node::Node;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use definitions::DefinitionsError;
pub(crate) use definitions::read_named as read_definitions;
pub(crate) use kept::FOLDER as META;
pub(crate) use messages::FOLDER as MESSAGES;
pub use start::StartError;
pub(crate) use start::random;

/// What clients are told when the broker ends.
// rabbitmq: 320 of a stopping node
const SHUTDOWN_TEXT: &str = "broker forced connection closure with reason 'shutdown'";

/// How long clients may take to answer `connection.close` when the broker ends. A client that is
/// there answers at once; container runtimes kill after ten seconds.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(5);

/// A running broker. Dropping it ends it without a word to clients; [`Server::shutdown`] is polite.
pub struct Server {
    node: Arc<Node>,
    facts: ServerFacts,
    places: Places,
    /// Accept loops of AMQP.
    accepting: JoinSet<()>,
    /// HTTP listeners and timers.
    others: JoinSet<()>,
    closing: watch::Sender<bool>,
    /// Told when the broker is to start again.
    restart: Arc<Notify>,
    /// The connections to other nodes.
    transport: Option<Arc<Transport>>,
    /// Go before the directory they are in.
    storage: Storage,
    meta: kept::Agreement,
    _data_dir: DataDir,
}

/// What a person or a test wants to know of a running broker.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// The node's name.
    pub node_name: String,
    /// The data directory, absolute.
    pub data_dir: PathBuf,
    /// The administrator that a new broker has.
    pub default_user: String,
    /// Whether its password is still the one everybody knows.
    pub well_known_password: bool,
    /// Whether it may only come from this machine.
    pub loopback_only: bool,
    /// Where the broker listens, with RabbitMQ's names of the protocols.
    pub listeners: Vec<(Protocol, SocketAddr)>,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp,
    /// AMQP 0-9-1 over TLS.
    Amqps,
    /// The management API.
    Http,
    /// The management API over TLS.
    Https,
    /// The Prometheus endpoint.
    Prometheus,
    /// The Prometheus endpoint over TLS.
    PrometheusTls,
}

impl Protocol {
    /// Whether it is spoken over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Amqps | Self::Https | Self::PrometheusTls)
    }

    /// RabbitMQ's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Amqps => "amqp/ssl",
            Self::Http => "http",
            Self::Https => "https",
            Self::Prometheus => "http/prometheus",
            Self::PrometheusTls => "https/prometheus",
        }
    }
}

impl ServerFacts {
    /// The first address on which a protocol is served.
    #[must_use]
    pub fn address(&self, protocol: Protocol) -> Option<SocketAddr> {
        let mut all = self.listeners.iter().filter(|(served, _)| *served == protocol);
        all.next().map(|(_, address)| *address)
    }

    fn views(&self) -> Vec<ListenerView> {
        let view = |(protocol, address): &(Protocol, SocketAddr)| ListenerView {
            protocol: protocol.name().into(),
            ip: address.ip().to_string().into(),
            port: address.port(),
        };
        self.listeners.iter().map(view).collect()
    }
}

impl Server {
    /// What it is and where it listens.
    #[must_use]
    pub fn facts(&self) -> ServerFacts {
        self.facts.clone()
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Waits until the broker is to start again, as a node of a cluster or alone.
    pub async fn restart_wanted(&self) {
        self.restart.notified().await;
    }

    /// Takes no new clients, tells those that are there to go, and waits for them, but not for
    /// long. Returns how many were cut off.
    pub async fn shutdown(mut self) -> usize {
        self.accepting.shutdown().await;
        self.node.close_all(SHUTDOWN_TEXT);
        // A health check that asks now is still answered; new requests are not.
        self.closing.send_replace(true);
        let emptied = tokio::time::timeout(SHUTDOWN_TIME_MAX, self.places.emptied()).await;
        let left = if emptied.is_ok() { 0 } else { self.node.connection_count() };
        self.others.shutdown().await;
        self.storage.end();
        // What clients were answered is on disk; what they still wait for is refused.
        self.meta.consensus.shutdown();
        if let Some(transport) = &self.transport {
            transport.end();
        }
        left
    }
}
