//! Whole nodes that agree at once and reach each other through a pipe that a test lets flow; and clients on them.

use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use leveret_cluster::replication::wire::{Frame, PAYLOAD_BYTES_MAX};
use leveret_cluster::replication::{
    Changes, ClusterCommand, Incarnation, Metadata, NodeId, NodeRole, StoreMark,
};
use leveret_cluster::{
    Agreed, Answer as Applied, DecidedDone, Done, MetaConsensus, NotDecided, Proposed, StateMachine,
};
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{ApplyTo, PolicySpec, QueueDeclare};
use leveret_engine::limits::TopologyLimits;
use leveret_engine::topology::{TopologyConfig, default_commands};
use leveret_engine::{
    Body, Budget, ChannelKey, Command, ConsumerId, ConsumerSpec, Delivery, NewRecord, Outcome,
    ParameterValue, QueueId, SeqRange, Settle, SettleOutcome, Settlement, Table, Timestamp,
    Topology,
};
use leveret_protocol::{Answer, Broker, Call, Event};

use crate::connections::Handle;
use crate::effects::{Own, Scope};
use crate::mailbox::{Mail, Source};
use crate::node::{Node, NodeConfig};
use crate::peers::Membership;
use crate::pending::Pending;
use crate::ports::Ports;
use crate::views::Endpoints;

pub(super) const NOW: Timestamp = Timestamp(1_000_000);

/// Everybody applies what anybody proposes, at once.
#[derive(Default)]
struct Agreement {
    machines: Mutex<Vec<(NodeId, Weak<dyn StateMachine>)>>,
}

struct Seat {
    agreement: Arc<Agreement>,
    node: NodeId,
}

impl Seat {
    fn apply(&self, agreed: &Agreed, now: Timestamp) -> Option<Applied> {
        let machines = self.agreement.machines.lock().unwrap().clone();
        let mut own = None;
        for (node, machine) in machines {
            let Some(machine) = machine.upgrade() else { continue };
            let applied = machine.apply(agreed, self.node, now);
            if node == self.node {
                own = Some(applied);
            }
        }
        own
    }
}

impl MetaConsensus for Seat {
    fn attach(&self, machine: Weak<dyn StateMachine>) {
        self.agreement.machines.lock().unwrap().push((self.node, machine));
    }

    fn propose(&self, command: Command, now: Timestamp, _done: Done) -> Option<Proposed> {
        let machines = self.agreement.machines.lock().unwrap().clone();
        let own = machines.iter().find(|(node, _)| *node == self.node)?.1.upgrade()?;
        let settled = own.offer(&command, now).or_else(|| {
            match self.apply(&Agreed::Topology(command), now)? {
                Applied::Topology(settled) => Some(settled),
                Applied::Cluster(_) => None,
            }
        })?;
        for next in settled.next {
            let _ = self.propose(next, now, Box::new(|_| {}));
        }
        Some(settled.outcome)
    }

    fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone) {
        if let Some(Applied::Cluster(decided)) = self.apply(&Agreed::Cluster(command), now) {
            done(decided.map_err(NotDecided::from));
        }
    }
}

/// Nodes 1 to n.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Arc<Node>>,
}

impl Cluster {
    pub(super) fn new(n: u64) -> Self {
        let mut metadata = Metadata::default();
        let mut changes = Changes::default();
        for n in 1..=n {
            let (name, addresses) = (format!("rabbit@{n}").into(), Vec::new());
            let add = ClusterCommand::AddNode { name, addresses, role: NodeRole::Data };
            metadata.apply(&add, &mut changes).unwrap();
            let (node, store) = (NodeId(n), StoreMark(n.into()));
            let register = ClusterCommand::Register { node, store, durable: 0 };
            metadata.apply(&register, &mut changes).unwrap();
        }
        let agreement = Arc::new(Agreement::default());
        let nodes = (1..=n).map(|n| {
            let seat = Seat { agreement: Arc::clone(&agreement), node: NodeId(n) };
            let me = Membership { node: NodeId(n), incarnation: Incarnation(n) };
            Node::new(config(me, metadata.clone(), seat), NOW)
        });
        let cluster = Self { nodes: nodes.collect() };
        for node in &cluster.nodes {
            node.set_lease(NOW.plus(60_000), NOW);
        }
        for a in 1..=n {
            for b in (1..=n).filter(|b| *b != a) {
                cluster.node(a).peer_up(NodeId(b), Incarnation(b), NOW);
            }
        }
        cluster
    }

    pub(super) fn node(&self, n: u64) -> &Arc<Node> {
        &self.nodes[n as usize - 1]
    }

    /// Lets everything that is under way arrive, as bytes.
    pub(super) fn flow(&self) {
        while self.flow_once() {}
    }

    fn flow_once(&self) -> bool {
        let mut any = false;
        for (at, node) in self.nodes.iter().enumerate() {
            for (to, frame) in node.take_frames(Waker::noop()) {
                let mut bytes = Vec::new();
                frame.encode(0, &mut bytes).unwrap();
                let read = Frame::decode(&bytes, PAYLOAD_BYTES_MAX).unwrap();
                let (frame, ..) = read.expect("a whole frame");
                self.node(to.0).frame(NodeId(at as u64 + 1), frame, NOW);
                any = true;
            }
        }
        any
    }

    /// Loses the connection between two nodes with all that is on it.
    pub(super) fn cut(&self, a: u64, b: u64) {
        self.node(a).peer_down(NodeId(b), NOW);
        self.node(b).peer_down(NodeId(a), NOW);
    }

    pub(super) fn mend(&self, a: u64, b: u64) {
        self.node(a).peer_up(NodeId(b), Incarnation(b), NOW);
        self.node(b).peer_up(NodeId(a), Incarnation(a), NOW);
    }

    /// A node is gone, for the others.
    pub(super) fn lose(&self, n: u64) {
        for other in (1..=self.nodes.len() as u64).filter(|other| *other != n) {
            self.cut(n, other);
        }
        let (node, incarnation) = (NodeId(n), Incarnation(n));
        let fence = ClusterCommand::Fence { node, incarnation, lease_over: true };
        let asker = self.nodes.iter().find(|node| node.membership().unwrap().node.0 != n).unwrap();
        asker.decide(fence, NOW, Box::new(|decided| assert!(decided.is_ok())));
    }

    /// A queue with copies on all nodes.
    pub(super) fn mirror_all(&self) {
        let policy = PolicySpec {
            vhost: "/".into(),
            name: "ha".into(),
            pattern: ".*".into(),
            apply_to: ApplyTo::Queues,
            priority: 0,
            definition: vec![("ha-mode".into(), ParameterValue::String("all".into()))],
        };
        self.propose(1, Command::PutPolicy(policy));
    }

    pub(super) fn propose(&self, n: u64, command: Command) -> Outcome {
        let proposed = self.node(n).propose(command, NOW, Box::new(|_| {}));
        proposed.expect("agreed at once").unwrap()
    }

    /// A durable queue that is declared on a node, and led there.
    pub(super) fn declare(&self, n: u64, name: &str) -> QueueId {
        match self.propose(n, Command::DeclareQueue(durable(name))) {
            Outcome::QueueDeclared { queue, .. } => queue.id,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn durable(name: &str) -> QueueDeclare {
    QueueDeclare {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Table::default(),
        user: "guest".into(),
        id: None,
    }
}

fn config(me: Membership, metadata: Metadata, seat: Seat) -> NodeConfig {
    let limits = TopologyLimits::default();
    let config = TopologyConfig { limits, loopback_users: Vec::new(), boot: 1 };
    let mut topology = Topology::new(config);
    let password = PasswordHash::new(HashAlgorithm::default(), b"guest", [0; 4]);
    for command in default_commands(&"/".into(), &"guest".into(), password, Vec::new()) {
        topology.apply(&command, NOW).unwrap();
    }
    NodeConfig {
        name: format!("rabbit@{}", me.node).into(),
        connection: leveret_protocol::ConnectionConfig::default(),
        seed: [me.node.0 as u8; 32],
        connection_max: None,
        topology,
        metadata,
        membership: Some(me),
        meta: Arc::new(seat),
        keeps_messages: false,
    }
}

/// A client on a node, past the protocol: what a channel asks of it.
pub(super) struct Client {
    node: Arc<Node>,
    handle: Arc<Handle>,
    pending: Pending,
    own: Own,
    mail: Mail,
    pub(super) channel: ChannelKey,
    next_tag: u64,
    /// What was settled, and how.
    pub(super) settled: Vec<(u64, SettleOutcome)>,
    pub(super) cancelled: Vec<ConsumerId>,
    answers: Vec<Answer>,
    replies: Vec<String>,
}

impl Client {
    pub(super) fn new(cluster: &Cluster, n: u64) -> Self {
        let node = Arc::clone(cluster.node(n));
        let id = node.ids.connection();
        let endpoints = Endpoints { local: "test".into(), tls: None };
        let handle = Arc::new(Handle::new(id, endpoints));
        node.connections.add(&handle);
        let channel = ChannelKey { connection: id, number: 1, incarnation: 1 };
        Self {
            node,
            handle,
            pending: Pending::default(),
            own: Own::default(),
            mail: Mail::default(),
            channel,
            next_tag: 0,
            settled: Vec::new(),
            cancelled: Vec::new(),
            answers: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Asks the node as a channel does.
    pub(super) fn ports<R>(&mut self, work: impl FnOnce(&mut Ports<'_, '_>) -> R) -> R {
        self.turn(work)
    }

    /// The replies that have come.
    pub(super) fn replies(&mut self) -> Vec<String> {
        self.look();
        std::mem::take(&mut self.replies)
    }

    fn turn<R>(&mut self, work: impl FnOnce(&mut Ports<'_, '_>) -> R) -> R {
        let mut scope = Scope::of(self.handle.id, &mut self.own, NOW);
        let mut ports = Ports::new(&self.node, &self.handle, &mut self.pending, &mut scope);
        let result = work(&mut ports);
        ports.flush();
        self.node.finish(&mut scope);
        result
    }

    /// Publishes, and asks for confirms.
    pub(super) fn publish(&mut self, queue: QueueId, bodies: &[&str]) {
        let channel = self.channel;
        let mut tag = self.next_tag;
        self.turn(|ports| {
            for body in bodies {
                tag += 1;
                let record = NewRecord {
                    address: b"\x00\x01q",
                    properties: &[0, 0],
                    persistent: false,
                    priority: 0,
                    expires_at: None,
                    body: Body::Inline(body.as_bytes()),
                };
                ports.publish(queue, &record, Some((channel, tag)));
            }
        });
        self.next_tag = tag;
    }

    pub(super) fn call(&mut self, call: Call) {
        let channel = self.channel;
        let answer = self.turn(|ports| ports.call(channel, call));
        self.answers.extend(answer);
    }

    /// The answer to the last call.
    pub(super) fn answer(&mut self) -> Answer {
        self.look();
        self.answers.pop().expect("an answer")
    }

    pub(super) fn has_answer(&mut self) -> bool {
        self.look();
        !self.answers.is_empty()
    }

    /// Reads its mailbox.
    pub(super) fn look(&mut self) {
        self.handle.mailbox.drain(&mut self.mail, Waker::noop());
        let mut events = std::mem::take(&mut self.mail.events);
        events.append(&mut self.own.events);
        for event in events {
            match event {
                Event::Settled(settled) => {
                    let tags = settled.first_tag..settled.first_tag + u64::from(settled.n);
                    self.settled.extend(tags.map(|tag| (tag, settled.outcome)));
                }
                Event::Answer { answer, .. } => self.answers.push(answer),
                Event::Reply { block, .. } => self.replies.extend((0..block.len()).map(|at| {
                    String::from_utf8_lossy(block.record(at).body().bytes()).into_owned()
                })),
                Event::Cancelled { consumer, .. } => self.cancelled.push(consumer),
                other => panic!("{other:?}"),
            }
        }
        for retry in std::mem::take(&mut self.mail.retries) {
            let answer =
                self.turn(|ports| ports.get_or_wait(&retry.queue, retry.channel, retry.no_ack));
            self.answers.extend(answer);
        }
    }

    pub(super) fn spec(&mut self, prefetch: u16) -> ConsumerSpec {
        ConsumerSpec {
            id: self.node.ids.consumer(),
            channel: self.channel,
            tag: "tag".into(),
            no_ack: false,
            exclusive: false,
            prefetch,
            priority: 0,
            channel_credit: None,
            read: Default::default(),
            arguments: Table::default(),
            user: "guest".into(),
        }
    }

    /// Consumes; the answer comes with [`Client::answer`].
    pub(super) fn consume(&mut self, queue: QueueId, spec: ConsumerSpec) -> ConsumerId {
        let id = spec.id;
        self.call(Call::Consume { queue, spec });
        id
    }

    /// Takes what is there for its consumers.
    pub(super) fn take(&mut self) -> Vec<Delivery> {
        self.look();
        let mut taken = Vec::new();
        loop {
            let mut ready = std::mem::take(&mut self.mail.ready);
            ready.append(&mut self.own.ready);
            if ready.is_empty() {
                return taken;
            }
            for ready in ready {
                let budget = Budget { records: 1000, bytes: 1 << 20 };
                let mut scope = Scope::of(self.handle.id, &mut self.own, NOW);
                match &ready.source {
                    Source::Queue(cell) => {
                        self.node.with_queue(cell, &mut scope, |queue, fx| {
                            queue.take(ready.consumer, budget, NOW, &mut taken, fx)
                        });
                    }
                    Source::Far(consumer) => {
                        self.node.take_far(consumer, budget, &mut taken);
                    }
                }
                self.node.finish(&mut scope);
            }
        }
    }

    pub(super) fn settle(&mut self, queue: QueueId, delivery: &Delivery, how: Settlement) {
        let range = SeqRange { first: delivery.first_seq, n: delivery.n };
        let get = delivery.consumer == ConsumerId::GET;
        let consumer = (!get).then_some(delivery.consumer);
        self.turn(|ports| ports.settle(queue, Settle { consumer, range, how }));
    }

    pub(super) fn cancel(&mut self, queue: QueueId, consumer: ConsumerId) {
        self.call(Call::Cancel { queue, consumer });
        assert!(matches!(self.answers.pop(), Some(Answer::Cancelled)));
    }

    /// Its connection is lost.
    pub(super) fn leave(self) {
        self.node.forget_questions_of(&self.handle);
        self.node.disconnected(&self.handle, NOW);
    }

    pub(super) fn accepted(&self) -> Vec<u64> {
        assert!(self.settled.iter().all(|(_, how)| *how == SettleOutcome::Accepted));
        self.settled.iter().map(|(tag, _)| *tag).collect()
    }
}

pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    let records = deliveries.iter().flat_map(|delivery| {
        (delivery.first..delivery.first + delivery.n).map(|at| delivery.block.record(at))
    });
    records.map(|record| String::from_utf8_lossy(record.body().bytes()).into_owned()).collect()
}
