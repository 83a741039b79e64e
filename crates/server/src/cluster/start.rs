//! How a broker begins as a node of a cluster, or finds the one that it is to join.

use super::folder::{self, FolderError, Remembered};
use crate::clock::Clock;
use crate::config::{ClusterRole, Config};
use crate::listener::{self, ListenError, address};
use leveret_cluster::replication::wire::{ClusterId, Refused};
use leveret_cluster::replication::{Incarnation, NodeId, NodeRole, StoreMark};
use leveret_cluster::transport::{GreetError, Identity, Transport};
use leveret_cluster::{Join, JoinError, Member, join};
use leveret_node::Membership;
use leveret_store::{MessageStore as _, RocksStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How long a node waits before it asks its seeds again.
const SEEDS_EVERY: Duration = Duration::from_millis(500);

/// Nodes that may connect before they are accepted; there are few.
const BACKLOG: u32 = 64;

/// Why a broker does not begin as a node. The text is for the person who starts it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// What the data directory remembers cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The data directory belongs to a cluster, and the configuration does not say how to reach it.
    #[error(
        "this data directory belongs to node {0} of a cluster; set `cluster.listen` and `cluster.secret` as they were, or start with another directory"
    )]
    NotConfigured(NodeId),
    /// There is no secret.
    #[error(
        "`cluster.listen` needs `cluster.secret` or `cluster.secret_file`: the same text on all nodes, at least 8 characters"
    )]
    NoSecret,
    /// The secret cannot be read.
    #[error("cluster.secret_file: {path}: {reason}")]
    SecretFile {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The listener cannot be opened.
    #[error("cluster.listen: {0}")]
    Listen(#[from] ListenError),
}

/// Characters of a secret, at least.
const SECRET_MIN: usize = 8;

/// What of the configuration concerns the cluster, checked.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) identity: Identity,
    /// Where the others reach this node.
    pub(crate) address: Arc<str>,
    pub(crate) role: NodeRole,
    seeds: Vec<String>,
}

/// The cluster side of a broker that starts.
pub(crate) struct Started {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<Transport>,
    pub(crate) remembered: Option<Remembered>,
}

impl Started {
    /// What the agreement needs to know of this node.
    pub(crate) fn member(&self, store: &Arc<RocksStore>) -> Option<Member> {
        let remembered = self.remembered.as_ref()?;
        let disk = Arc::clone(store);
        Some(Member {
            transport: Arc::clone(&self.transport),
            address: Arc::clone(&self.settings.address),
            role: self.settings.role,
            others: remembered.others(),
            store: StoreMark(store.id().0),
            durable: Arc::new(move || disk.figures().durable.0),
        })
    }

    /// What this node is, once it has registered.
    pub(crate) fn membership(&self, incarnation: Option<Incarnation>) -> Option<Membership> {
        let node = self.remembered.as_ref()?.node();
        incarnation.map(|incarnation| Membership { node, incarnation })
    }
}

/// Opens the listener for other nodes, if there is to be one, and finds the cluster to which this node belongs.
pub(crate) async fn begin(
    config: &Config,
    data_dir: &Path,
    clock: &Arc<Clock>,
) -> Result<Option<Started>, ClusterError> {
    let mut remembered = folder::settle(data_dir)?;
    if config.cluster.listen.is_empty() {
        return match remembered {
            Some(remembered) => Err(ClusterError::NotConfigured(remembered.node())),
            None => Ok(None),
        };
    }
    let mut settings = settings(config, clock)?;
    let listen = std::slice::from_ref(&config.cluster.listen);
    // A name with several addresses: the first is where the others find it.
    let Some(listen) = address::resolve(listen)?.into_iter().next() else { return Ok(None) };
    let socket = listener::bind(listen.address, listen.ipv6_only)?.listen(BACKLOG)?;
    if let Ok(local) = socket.local_addr()
        && settings.address.ends_with(":0")
    {
        // Port 0 is for tests: the system has chosen.
        settings.address = local.to_string().into();
    }
    let socket = if remembered.is_none() && !settings.seeds.is_empty() {
        // Others that wait as well are told that there is no cluster here yet.
        let waiting = Transport::new(settings.identity.clone());
        let std = socket.into_std().map_err(failed)?;
        let twin = std.try_clone().map_err(failed)?;
        waiting.listen(tokio::net::TcpListener::from_std(twin).map_err(failed)?);
        let found = find(&settings).await;
        folder::will_join(data_dir, &found)?;
        waiting.end();
        remembered = folder::settle(data_dir)?;
        tokio::net::TcpListener::from_std(std).map_err(failed)?
    } else {
        socket
    };
    if let Some(remembered) = &remembered {
        settings.identity.cluster = remembered.cluster();
        settings.identity.node = remembered.node();
        settings.address = Arc::clone(&remembered.address);
        settings.role = remembered.role();
    }
    let transport = Transport::new(settings.identity.clone());
    transport.listen(socket);
    Ok(Some(Started { settings, transport, remembered }))
}

fn failed(source: std::io::Error) -> ClusterError {
    ClusterError::Folder(FolderError::of("the cluster's listener", &source))
}

fn settings(config: &Config, clock: &Arc<Clock>) -> Result<Settings, ClusterError> {
    let cluster = &config.cluster;
    let secret = if cluster.secret_file.is_empty() {
        cluster.secret.0.clone()
    } else {
        std::fs::read_to_string(&cluster.secret_file).map_err(|error| ClusterError::SecretFile {
            path: cluster.secret_file.clone(),
            reason: error.to_string(),
        })?
    };
    let secret = secret.trim();
    if secret.chars().count() < SECRET_MIN {
        return Err(ClusterError::NoSecret);
    }
    let clock = Arc::clone(clock);
    let identity = Identity {
        cluster: ClusterId::default(),
        node: NodeId::default(),
        name: config.node_name.as_str().into(),
        secret: secret.as_bytes().into(),
        clock: Arc::new(move || clock.now()),
        draw: crate::server::random,
    };
    let address =
        if cluster.advertise.is_empty() { reached_at(config) } else { cluster.advertise.clone() };
    let role = match cluster.role {
        ClusterRole::Data => NodeRole::Data,
        ClusterRole::Witness => NodeRole::Witness,
    };
    let seeds = cluster.seeds.iter().filter(|seed| **seed != address).cloned().collect();
    Ok(Settings { identity, address: address.into(), role, seeds })
}

/// Where others reach a node that says nothing of it: at its listener, or by its host name where that takes all addresses.
fn reached_at(config: &Config) -> String {
    let listen = &config.cluster.listen;
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let everywhere = matches!(host, "" | "0.0.0.0" | "[::]" | "*");
    if !everywhere {
        return listen.clone();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{port}")
}

impl Settings {
    /// Asks a node to let this one join.
    pub(crate) async fn join(&self, seed: &str) -> Result<Remembered, JoinError> {
        let (name, address) = (Arc::clone(&self.identity.name), Arc::clone(&self.address));
        let wants = Join { name, address, role: self.role };
        let stranger = Identity {
            cluster: ClusterId::default(),
            node: NodeId::default(),
            ..self.identity.clone()
        };
        let (joined, cluster) = join(&stranger, seed, wants).await?;
        Ok(Remembered::new(cluster, joined.node, &self.address, self.role, &joined.others))
    }

    /// A new cluster with this node as its first.
    pub(crate) fn found(&self) -> Remembered {
        let cluster = ClusterId(u128::from_le_bytes(crate::server::random()));
        Remembered::new(cluster, NodeId(1), &self.address, self.role, &[])
    }
}

/// Joins the cluster of the first seed that has one. The node whose name comes first founds one when all others have said
/// that there is none.
async fn find(settings: &Settings) -> Remembered {
    let mut told = String::new();
    loop {
        let mut without = 0;
        for seed in &settings.seeds {
            match settings.join(seed).await {
                Ok(remembered) => {
                    info!(%seed, node = %remembered.node(), "joined the cluster");
                    return remembered;
                }
                Err(JoinError::Greet(GreetError::Refused {
                    refused: Refused::NoCluster { .. },
                    ..
                })) => without += 1,
                Err(error) => {
                    let reason = error.to_string();
                    if reason != told {
                        warn!(%reason, "not joined yet");
                        told = reason;
                    }
                }
            }
        }
        let first = settings.seeds.iter().all(|seed| *settings.address < **seed);
        if first && without == settings.seeds.len() {
            info!("no seed belongs to a cluster: this node founds one");
            return settings.found();
        }
        tokio::time::sleep(SEEDS_EVERY).await;
    }
}
