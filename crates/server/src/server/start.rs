//! Starting a broker. Everything that can be wrong with the configuration is found before the first
//! client can come in, and said in words for the person who starts it.

use super::definitions::DefinitionsError;
use super::kept::{self, Agreement, Kept};
use super::messages;
use super::{Protocol, Server, ServerFacts};
use crate::alarms::Thresholds;
use crate::backup::Sources;
use crate::clock::Clock;
use crate::cluster::routes::Control;
use crate::cluster::start::ClusterError;
use crate::cluster::{self, Peering};
use crate::config::Config;
use crate::connection_task::Context;
use crate::data_dir::{DataDir, DataDirError};
use crate::door::Door;
use crate::listener::accept::{self, Places};
use crate::listener::{self, Bound, ListenError, address};
use crate::process_view::{ProcessFacts, ProcessView};
use crate::tls::{self, TlsError};
use crate::{control, http, resources, storage, timers};
use leveret_cluster::{AgreedState, Member, OpenError, RaftConsensus};
use leveret_engine::view::Registry;
use leveret_engine::{BrokerError, Timestamp};
use leveret_node::{Membership, Node, NodeConfig, RecoveryError};
use leveret_protocol::{ConnectionConfig, Mechanism};
use leveret_store::{MessageStore, MetaError, StoreError};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Why a broker does not start. The text is for the person who starts it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// It cannot begin as a node of its cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A listener cannot be opened.
    #[error("{key}: {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// Why.
        source: ListenError,
    },
    /// TLS cannot be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What is kept of users, vhosts, queues and the like cannot be opened.
    #[error(transparent)]
    Kept(#[from] MetaError),
    /// What is kept of them makes no sense.
    #[error("users, vhosts and queues cannot be read: {0}")]
    Agreement(OpenError),
    /// The message store cannot be used.
    #[error(transparent)]
    Messages(#[from] StoreError),
    /// The messages in it cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The system has no thread left.
    #[error("cannot start the threads of the message store: {0}")]
    Threads(std::io::Error),
    /// A definitions file cannot be taken in.
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    /// The default user or vhost cannot be created.
    #[error("the default user and vhost cannot be created: {0}")]
    Defaults(BrokerError),
}

/// A listener that has its address.
struct Open {
    /// The configuration key.
    key: &'static str,
    protocol: Protocol,
    socket: Bound,
}

impl Server {
    /// Starts a broker. Must be called within a tokio runtime of several threads.
    ///
    /// # Errors
    /// The first thing that a person must correct; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let data_dir = DataDir::take(&config.data_dir)?;
        let tls = config.wants_tls().then(|| tls::acceptor(&config.tls)).transpose()?;
        let clock = Arc::new(Clock::start());
        // Before what others can reach: whoever finds a broker finds its socket as well.
        let control = control::listen(data_dir.path());
        let listeners = open(&config)?;
        let facts = facts(&config, &data_dir, &listeners);
        let cluster = cluster::start::begin(&config, data_dir.path(), &clock).await?;
        let store = messages::open(&data_dir)?;
        let member = cluster.as_ref().and_then(|cluster| cluster.member(&store));
        let kept = kept(&config, &data_dir, member, clock.now()).await?;
        let Kept { state, incarnation, agreement: meta } = kept;
        let membership = cluster.as_ref().and_then(|cluster| cluster.membership(incarnation));
        let node = node(&config, state, membership, &meta, clock.now());
        let storage = messages::start(&store, &node, &clock)?;
        if let (Some(cluster), Some(incarnation)) = (&cluster, incarnation) {
            let peering = Peering { node: Arc::clone(&node), clock: Arc::clone(&clock) };
            cluster.transport.exchange(incarnation, Arc::new(peering));
        }
        let sources = Sources { messages: Arc::clone(&store), meta: Arc::clone(&meta.store) };
        let sockets = resources::sockets_max(resources::descriptor_limit());
        let view =
            Arc::new(view(&config, &facts, (&node, store as _, &meta.consensus, &clock), sockets));
        // Before the first client, so that an alarm holds from the first message on.
        timers::look(&node, &view, view.data_dir(), view.thresholds());
        let (closing, _) = watch::channel(false);
        let mut server = Self {
            node: Arc::clone(&node),
            facts,
            places: Places::new(sockets),
            accepting: JoinSet::new(),
            others: JoinSet::new(),
            closing,
            restart: Arc::default(),
            transport: cluster.as_ref().map(|cluster| Arc::clone(&cluster.transport)),
            storage,
            meta,
            _data_dir: data_dir,
        };
        let nodes = Control {
            settings: cluster.as_ref().map(|cluster| cluster.settings.clone()),
            remembered: cluster.and_then(|cluster| cluster.remembered),
            transport: server.transport.clone(),
            data_dir: server.facts.data_dir.clone(),
            node: Arc::clone(&node),
            consensus: Arc::clone(&server.meta.consensus),
            clock: Arc::clone(&clock),
            restart: Arc::clone(&server.restart),
        };
        if node.membership().is_some() {
            let consensus = Arc::clone(&server.meta.consensus);
            let lease = cluster::lease(Arc::clone(&node), consensus, Arc::clone(&clock));
            server.others.spawn(lease);
        }
        let door = Door::new(Arc::clone(&node), Arc::clone(&clock));
        let state = leveret_management::State {
            registry: Arc::clone(&node) as Arc<dyn Registry>,
            node: Arc::clone(&view) as _,
            propose: Arc::new(door),
            samples: Arc::default(),
            body_bytes_max: config.management.max_body_size.0 as usize,
            salt: random,
        };
        super::definitions::load(&state, &config.definitions).await?;
        server.others.spawn(timers::samples(state.clone(), Arc::clone(&clock)));
        server.others.spawn(timers::deadlines(Arc::clone(&node), Arc::clone(&clock)));
        let limit = config.resources.message_memory.0 as usize;
        server.others.spawn(storage::paging(Arc::clone(&node), limit));
        server.others.spawn(timers::alarms(Arc::clone(&node), view, Arc::clone(&config)));
        let context = Arc::new(Context { node, clock });
        let api = under(&config.management.path_prefix, leveret_management::router(state.clone()));
        let metrics = leveret_management::metrics_router(state.clone(), &config.prometheus.path);
        for Open { key, protocol, socket } in listeners {
            let socket = socket
                .listen(config.amqp.backlog)
                .map_err(|source| StartError::Listen { key, source })?;
            server.serve((protocol, socket), tls.clone(), (&api, &metrics), &context);
        }
        if let Some(listener) = control {
            let api = leveret_management::router(state).merge(cluster::routes::router(nodes));
            let router = control::router(api, sources);
            server.others.spawn(control::run(listener, router, server.closing.subscribe()));
        }
        Ok(server)
    }

    fn serve(
        &mut self,
        (protocol, socket): (Protocol, TcpListener),
        tls: Option<tls::Acceptor>,
        (api, metrics): (&axum::Router, &axum::Router),
        context: &Arc<Context>,
    ) {
        let tls = tls.filter(|_| protocol.is_tls());
        match protocol {
            Protocol::Amqp | Protocol::Amqps => {
                let (places, context) = (self.places.clone(), Arc::clone(context));
                self.accepting.spawn(accept::run(socket, tls, places, context));
            }
            Protocol::Http | Protocol::Https => self.serve_http(socket, tls, api.clone()),
            Protocol::Prometheus | Protocol::PrometheusTls => {
                self.serve_http(socket, tls, metrics.clone());
            }
        }
    }

    fn serve_http(
        &mut self,
        socket: TcpListener,
        tls: Option<tls::Acceptor>,
        router: axum::Router,
    ) {
        let tls = tls.map(|tls| tls.rustls);
        self.others.spawn(http::run(socket, tls, router, self.closing.subscribe()));
    }
}

/// A router with a path before all of its paths.
fn under(prefix: &str, router: axum::Router) -> axum::Router {
    match prefix.trim_end_matches('/') {
        "" => router,
        prefix => axum::Router::new().nest(prefix, router),
    }
}

/// Takes the addresses of all listeners.
fn open(config: &Config) -> Result<Vec<Open>, StartError> {
    let mut all = Vec::new();
    for (key, protocol, texts) in [
        ("amqp.listen", Protocol::Amqp, &config.amqp.listen),
        ("amqp.tls_listen", Protocol::Amqps, &config.amqp.tls_listen),
        ("management.listen", Protocol::Http, &config.management.listen),
        ("management.tls_listen", Protocol::Https, &config.management.tls_listen),
        ("prometheus.listen", Protocol::Prometheus, &config.prometheus.listen),
        ("prometheus.tls_listen", Protocol::PrometheusTls, &config.prometheus.tls_listen),
    ] {
        let failed = |source| StartError::Listen { key, source };
        for listen in address::resolve(texts).map_err(failed)? {
            let socket = listener::bind(listen.address, listen.ipv6_only).map_err(failed)?;
            all.push(Open { key, protocol, socket });
        }
    }
    Ok(all)
}

fn facts(config: &Config, data_dir: &DataDir, listeners: &[Open]) -> ServerFacts {
    let auth = &config.auth;
    ServerFacts {
        node_name: config.node_name.clone(),
        data_dir: data_dir.path().to_owned(),
        default_user: auth.default_user.clone(),
        well_known_password: auth.default_user == "guest" && auth.default_pass.0 == "guest",
        loopback_only: auth.loopback_users.contains(&auth.default_user),
        listeners: listeners.iter().map(|open| (open.protocol, open.socket.address())).collect(),
    }
}

/// Opens what is kept, on a thread that may wait.
async fn kept(
    config: &Arc<Config>,
    data_dir: &DataDir,
    member: Option<Member>,
    now: Timestamp,
) -> Result<Kept, StartError> {
    let (config, data_dir) = (Arc::clone(config), data_dir.path().to_owned());
    let opened = move || kept::open(&config, &data_dir, member, now);
    match tokio::task::spawn_blocking(opened).await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn node(
    config: &Config,
    state: AgreedState,
    membership: Option<Membership>,
    meta: &Agreement,
    now: Timestamp,
) -> Arc<Node> {
    let config = NodeConfig {
        name: config.node_name.as_str().into(),
        connection: connection_config(config),
        seed: random(),
        connection_max: some(config.amqp.connection_max),
        topology: state.topology,
        metadata: state.metadata,
        membership,
        meta: Arc::clone(&meta.consensus) as _,
        keeps_messages: true,
    };
    Node::new(config, now)
}

/// What must not be guessed: salts, and the seed of names that the node makes up.
#[expect(clippy::disallowed_methods, reason = "the server is where randomness comes from")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    rand::random()
}

fn cluster_name(config: &Config) -> String {
    let named = Some(&config.cluster_name).filter(|name| !name.is_empty());
    named.unwrap_or(&config.node_name).clone()
}

/// 0 stands for no limit in the configuration.
pub(super) fn some(limit: u64) -> Option<u64> {
    (limit > 0).then_some(limit)
}

fn connection_config(config: &Config) -> ConnectionConfig {
    let amqp = &config.amqp;
    let named = amqp.auth_mechanisms.iter().filter_map(|name| Mechanism::parse(name));
    let mut mechanisms: Vec<Mechanism> = named.collect();
    if mechanisms.is_empty() {
        mechanisms.extend([Mechanism::Plain, Mechanism::AmqPlain]);
        if config.tls.verify == crate::config::Verify::VerifyPeer {
            mechanisms.push(Mechanism::External);
        }
    }
    ConnectionConfig {
        cluster_name: cluster_name(config),
        mechanisms,
        channel_max: amqp.channel_max,
        frame_max: amqp.frame_max,
        heartbeat: amqp.heartbeat,
        handshake_timeout_ms: amqp.handshake_timeout,
        max_message_size: amqp.max_message_size.0,
        consumer_max_per_channel: (amqp.consumer_max_per_channel > 0)
            .then_some(amqp.consumer_max_per_channel),
        default_consumer_prefetch: amqp.default_consumer_prefetch,
        consumer_timeout_ms: some(amqp.consumer_timeout),
        ..ConnectionConfig::default()
    }
}

fn view(
    config: &Config,
    facts: &ServerFacts,
    (node, store, meta, clock): (
        &Arc<Node>,
        Arc<dyn MessageStore>,
        &Arc<RaftConsensus>,
        &Arc<Clock>,
    ),
    sockets: u64,
) -> ProcessView {
    let thresholds = Thresholds::new(config, resources::memory_total());
    let facts = ProcessFacts {
        name: facts.node_name.clone(),
        cluster_name: cluster_name(config),
        product_version: ConnectionConfig::default().product_version,
        data_dir: facts.data_dir.clone(),
        thresholds,
        connection_max: some(config.amqp.connection_max),
        sockets_total: sockets,
        listeners: facts.views(),
    };
    ProcessView::new(Arc::clone(node), store, Arc::clone(meta), Arc::clone(clock), facts)
}
