//! The node: topology, queues, connections, timers, and the doors through which the server enters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use leveret_cluster::replication::{ClusterCommand, Metadata};
use leveret_cluster::{DecidedDone, Done, MetaConsensus, Proposed, StateMachine};
use leveret_engine::auth::User;
use leveret_engine::{Command, ConnectionId, ConsumerId, QueueId, QueueMeta, Timestamp, Topology};
use leveret_protocol::{Connection, ConnectionConfig, Event, Mechanism, Peer};
use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::admission::Admission;
use crate::connections::{ConnectionTable, Handle};
use crate::counters::Retired;
use crate::effects::Scope;
use crate::exchanges::ExchangeTable;
use crate::journal::Journal;
use crate::letters::Letters;
use crate::notices::Watched;
use crate::peers::{Membership, Peers};
use crate::queues::QueueTable;
use crate::remote::{Remote, first_id};
use crate::replicas::Replicas;
use crate::replies::Replies;
use crate::session::Session;
use crate::timers::Timers;
use crate::views::Endpoints;

/// What a node is made with.
pub struct NodeConfig {
    /// The node's name, `rabbit@host`.
    pub name: Arc<str>,
    /// Settings of client connections.
    pub connection: ConnectionConfig,
    /// Seed of everything random on this node (server-made names, reply addresses): from the operating system in a broker, from
    /// the test's seed in a simulation. It is a secret.
    pub seed: [u8; 32],
    /// Client connections at once, at most; `None` is without limit.
    pub connection_max: Option<u64>,
    /// The state to begin with.
    pub topology: Topology,
    /// Nodes and copies to begin with; none on a node that is alone.
    pub metadata: Metadata,
    /// Who this node is in its cluster; none if it is alone.
    pub membership: Option<Membership>,
    /// The agreement that changes it from now on.
    pub meta: Arc<dyn MetaConsensus>,
    /// Whether somebody stores what [`Node::seal`] gives: without it everything is in memory only.
    pub keeps_messages: bool,
}

/// A broker process without its threads.
pub struct Node {
    me: Weak<Self>,
    pub(crate) name: Arc<str>,
    pub(crate) topology: RwLock<Topology>,
    pub(crate) peers: Peers,
    routing_version: Arc<AtomicU64>,
    pub(crate) queues: QueueTable,
    pub(crate) exchanges: ExchangeTable,
    pub(crate) journal: Journal,
    pub(crate) letters: Letters,
    pub(crate) replicas: Replicas,
    pub(crate) watched: Watched,
    pub(crate) connections: ConnectionTable,
    pub(crate) admission: Admission,
    pub(crate) replies: Replies,
    pub(crate) remote: Remote,
    pub(crate) timers: Timers,
    pub(crate) retired: Retired,
    pub(crate) ids: Ids,
    connection_config: Arc<ConnectionConfig>,
    /// The settings of connections that the process itself makes for a user who has proved who it is.
    inside_config: Arc<ConnectionConfig>,
    alarm: Mutex<Option<Arc<str>>>,
    random: Mutex<StdRng>,
    meta: Arc<dyn MetaConsensus>,
}

/// Numbers that are never used twice, on any node.
#[derive(Default)]
pub(crate) struct Ids {
    /// What the numbers of this node begin behind.
    base: u64,
    connections: AtomicU64,
    consumers: AtomicU64,
}

impl Ids {
    fn of(membership: Option<Membership>) -> Self {
        let base = membership.map_or(0, |me| first_id(me.node));
        Self { base, ..Self::default() }
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        ConnectionId(self.base + self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn connections_made(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn consumer(&self) -> ConsumerId {
        ConsumerId(self.base + self.consumers.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Node {
    /// A node with the queues of its topology in place.
    pub fn new(config: NodeConfig, now: Timestamp) -> Arc<Self> {
        let mut topology = config.topology;
        if let Some(me) = config.membership {
            topology.number_transient(me.incarnation.0 as u32);
        }
        let node = Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: Weak::clone(me),
            name: config.name,
            routing_version: topology.routing_version(),
            topology: RwLock::new(topology),
            peers: Peers::new(config.membership, config.metadata),
            queues: QueueTable::new(config.keeps_messages, config.membership.is_some()),
            exchanges: ExchangeTable::default(),
            journal: Journal::default(),
            letters: Letters::default(),
            replicas: Replicas::default(),
            watched: Watched::default(),
            connections: ConnectionTable::default(),
            admission: Admission::new(config.connection_max),
            replies: Replies::default(),
            remote: Remote::default(),
            timers: Timers::default(),
            retired: Retired::default(),
            ids: Ids::of(config.membership),
            inside_config: Arc::new(inside(&config.connection)),
            connection_config: Arc::new(config.connection),
            alarm: Mutex::default(),
            random: Mutex::new(StdRng::from_seed(config.seed)),
            meta: config.meta,
        });
        node.open_queues(now);
        let machine: Weak<dyn StateMachine> = node.weak();
        node.meta.attach(machine);
        node
    }

    /// A client has connected; its session begins with the protocol header.
    pub fn connect(self: &Arc<Self>, peer: Peer, endpoints: Endpoints, now: Timestamp) -> Session {
        self.connect_with(Arc::clone(&self.connection_config), peer, endpoints, now)
    }

    /// A connection that the process itself makes for a user who has logged in elsewhere, by HTTP: it speaks AMQP like any
    /// other, and EXTERNAL takes the user as it is.
    pub fn connect_inside(self: &Arc<Self>, user: &Arc<User>, now: Timestamp) -> Session {
        let peer = Peer {
            address: Arc::from("management"),
            loopback: true,
            certificate_name: Some(Arc::clone(&user.name)),
            known: Some(Arc::clone(user)),
        };
        let endpoints = Endpoints { local: Arc::from("management"), tls: None };
        self.connect_with(Arc::clone(&self.inside_config), peer, endpoints, now)
    }

    fn connect_with(
        self: &Arc<Self>,
        config: Arc<ConnectionConfig>,
        peer: Peer,
        endpoints: Endpoints,
        now: Timestamp,
    ) -> Session {
        let id = self.ids.connection();
        let connection = Connection::new(id, config, peer, now);
        let handle = Arc::new(Handle::new(id, endpoints));
        self.connections.add(&handle);
        if let Some(reason) = self.alarm.lock().clone() {
            handle.mailbox.post(Event::Alarm(Some(reason)));
        }
        Session::new(Arc::clone(self), connection, handle)
    }

    /// The socket of a connection is gone and its session has given back what it held.
    pub(crate) fn disconnected(&self, handle: &Handle, now: Timestamp) {
        self.connections.remove(handle.id);
        self.leave_far(handle);
        self.admission.release(handle.id);
        self.retired.add(handle);
        let command = Command::DeleteOwned { connection: handle.id };
        // Nobody waits for this any more.
        let _ = self.propose(command, now, Box::new(|_| {}));
    }

    /// When [`Node::tick`] is to be called; `waker` is woken when that moves earlier.
    pub fn next_deadline(&self, waker: &Waker) -> Option<Timestamp> {
        self.timers.next(waker)
    }

    /// Looks at what has its time: messages expire, delayed ones reach their queues, unused queues go.
    pub fn tick(&self, now: Timestamp) {
        for queue in self.timers.due(now) {
            let mut scope = Scope::new(now);
            self.tick_queue(queue, &mut scope);
            self.finish(&mut scope);
        }
    }

    fn tick_queue(&self, id: QueueId, scope: &mut Scope<'_>) {
        let Some(cell) = self.queues.get(id) else { return };
        cell.armed.store(u64::MAX, Ordering::Relaxed);
        let now = scope.now;
        self.with_queue(&cell, scope, |queue, fx| queue.tick(now, fx));
        self.tick_copy(&cell, scope);
    }

    /// Raises or clears the resource alarm: publishers are blocked while there is a reason, such as `low on memory`.
    pub fn set_alarm(&self, reason: Option<Arc<str>>) {
        let mut alarm = self.alarm.lock();
        if *alarm == reason {
            return;
        }
        alarm.clone_from(&reason);
        for handle in self.connections.all() {
            handle.mailbox.post(Event::Alarm(reason.clone()));
        }
    }

    /// Asks every client to go: `connection.close` with 320 and `text`.
    pub fn close_all(&self, text: &str) {
        for handle in self.connections.all() {
            handle.mailbox.post(Event::forced_close(text));
        }
    }

    /// How many clients are connected.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    #[inline]
    pub(crate) fn routing_version(&self) -> u64 {
        self.routing_version.load(Ordering::Acquire)
    }

    pub(crate) fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.lock().fill_bytes(&mut bytes);
        bytes
    }

    /// A number to start a generator with.
    pub(crate) fn random_seed(&self) -> u64 {
        self.random.lock().next_u64()
    }

    /// Proposes a change of the topology. `Some` is the outcome; with `None` it is told to `done`, later.
    pub fn propose(&self, command: Command, now: Timestamp, done: Done) -> Option<Proposed> {
        self.meta.propose(command, now, done)
    }

    /// Proposes a change of nodes and copies; what came of it is told to `done`.
    pub fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone) {
        self.meta.decide(command, now, done);
    }

    pub(crate) fn delete_command(queue: &QueueMeta) -> Command {
        Command::DeleteQueue {
            vhost: Arc::clone(&queue.vhost),
            name: Arc::clone(&queue.name),
            id: Some(queue.id),
        }
    }

    pub(crate) fn queue_meta(&self, id: QueueId) -> Option<Arc<QueueMeta>> {
        self.topology.read().queue_by_id(id).cloned()
    }
}

/// Without heartbeats: nobody can be lost between two parts of one process.
fn inside(config: &ConnectionConfig) -> ConnectionConfig {
    ConnectionConfig { mechanisms: vec![Mechanism::External], heartbeat: 0, ..config.clone() }
}
