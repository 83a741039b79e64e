//! The nodes, and the one loop that moves them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::Waker;

use leveret_cluster::Agreed;
use leveret_cluster::replication::wire::Frame;
use leveret_cluster::replication::{
    ClusterCommand, Controller, Incarnation, LEASE_MS, Metadata, NodeId, NodeRole, Reply, StoreMark,
};
use leveret_engine::command::{ApplyTo, PolicySpec, QueueDeclare};
use leveret_engine::parameter::ParameterValue;
use leveret_engine::{Command, QueueId, Table, Timestamp};
use leveret_store::{MemoryStore, MessageStore, StoreId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::agreement::{Door, List, Proposal};
use super::network::Network;
use crate::journal::Sealed;
use crate::node::{Node, NodeConfig};
use crate::peers::Membership;

/// How often nodes send heartbeats, in milliseconds.
const BEAT_MS: u64 = 500;

/// A world of nodes. They are numbered from 0.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: StdRng,
    list: List,
    controller: Controller,
    network: Network,
    machines: Vec<Machine>,
    events: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    /// What happened, to be compared with what the same seed does again.
    pub(crate) history: Vec<String>,
}

struct Machine {
    id: NodeId,
    store: MemoryStore,
    mark: StoreMark,
    /// Counts the processes it has had.
    life: u32,
    process: Option<Process>,
    /// Whether it reaches the agreement.
    away: bool,
}

struct Process {
    incarnation: Incarnation,
    node: Arc<Node>,
    door: Arc<Door>,
    /// Up to which item it has learnt.
    learnt: usize,
    syncing: Option<Sealed>,
    tick_at: u64,
}

struct Scheduled {
    at: u64,
    number: u64,
    event: Event,
}

enum Event {
    Frame { from: usize, to: usize, link: u32, frame: Box<Frame> },
    Agree(Box<Proposal>),
    Learn { of: usize, life: u32, upto: usize },
    Synced { of: usize, life: u32 },
    Tick { of: usize, life: u32 },
    Beat,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl World {
    /// `n` nodes that are up.
    pub(crate) fn new(n: usize, seed: u64) -> Self {
        let mut world = Self {
            now: 1_000_000,
            random: StdRng::seed_from_u64(seed),
            list: List::new(),
            controller: Controller::new(),
            network: Network::default(),
            machines: Vec::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            history: Vec::new(),
        };
        for at in 0..n {
            let name = format!("rabbit@{at}").into();
            let add = ClusterCommand::AddNode { name, addresses: Vec::new(), role: NodeRole::Data };
            let Ok(Reply::Added(id)) = world.list.decide(add, world.time()) else {
                panic!("not added")
            };
            world.machines.push(Machine {
                id,
                store: MemoryStore::new(StoreId(at as u128)),
                mark: StoreMark(at as u128 + 1),
                life: 0,
                process: None,
                away: false,
            });
        }
        for at in 0..n {
            world.start(at);
        }
        world.at(0, Event::Beat);
        world.run_for(1);
        world
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// The node of a machine that is up.
    pub(crate) fn node(&self, of: usize) -> Option<&Arc<Node>> {
        self.machines[of].process.as_ref().map(|process| &process.node)
    }

    /// What is agreed on.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.list.state.metadata
    }

    /// The machine that leads a queue, if it is up.
    pub(crate) fn leader(&self, queue: QueueId) -> Option<usize> {
        let leader = self.metadata().queue(queue)?.leader?;
        self.machines.iter().position(|machine| {
            let up = machine.process.as_ref();
            machine.id == leader.node && up.is_some_and(|it| it.incarnation == leader.incarnation)
        })
    }

    /// The machines whose copies of a queue are in sync.
    pub(crate) fn in_sync(&self, queue: QueueId) -> Vec<usize> {
        let Some(record) = self.metadata().queue(queue) else { return Vec::new() };
        let of = |id| self.machines.iter().position(|machine| machine.id == id);
        record.in_sync().filter_map(of).collect()
    }

    /// A policy for queues whose names begin with a text; mirrored as it says.
    pub(crate) fn set_policy(&mut self, prefix: &str, definition: &[(&str, ParameterValue)]) {
        let policy = PolicySpec {
            vhost: "/".into(),
            name: prefix.into(),
            pattern: format!("^{prefix}").as_str().into(),
            apply_to: ApplyTo::Queues,
            priority: 0,
            definition: definition
                .iter()
                .map(|(key, value)| ((*key).into(), value.clone()))
                .collect(),
        };
        self.agree(0, Command::PutPolicy(policy));
    }

    /// Declares a durable queue on a node; its id.
    pub(crate) fn declare(&mut self, on: usize, name: &str) -> QueueId {
        self.declare_as(on, name, Table::default())
    }

    /// The same with arguments.
    pub(crate) fn declare_as(&mut self, on: usize, name: &str, arguments: Table) -> QueueId {
        let declare = QueueDeclare {
            vhost: "/".into(),
            name: name.into(),
            server_named: false,
            durable: true,
            exclusive_owner: None,
            auto_delete: false,
            arguments,
            user: "guest".into(),
            id: None,
        };
        self.agree(on, Command::DeclareQueue(declare));
        let vhost = self.list.state.topology.vhost("/").unwrap();
        vhost.queues().find(|queue| &*queue.name == name).unwrap().id
    }

    /// Proposes a change on a node and waits until all that are up know of it.
    pub(crate) fn agree(&mut self, on: usize, command: Command) {
        let before = self.list.items.len();
        let now = self.time();
        let done = Box::new(|outcome: leveret_cluster::Proposed| {
            outcome.expect("a change that is possible");
        });
        let node = Arc::clone(self.node(on).unwrap());
        assert!(node.propose(command, now, done).is_none(), "it has to be agreed on");
        self.pump();
        while self.list.items.len() == before {
            self.run_for(1);
        }
        self.run_for(50);
    }

    /// A process starts on what its machine's disk holds.
    pub(crate) fn start(&mut self, of: usize) {
        if self.machines[of].process.is_some() {
            return;
        }
        let (id, mark) = (self.machines[of].id, self.machines[of].mark);
        let durable = self.machines[of].store.figures().durable.0;
        let register = ClusterCommand::Register { node: id, store: mark, durable };
        let now = self.time();
        let Ok(Reply::Registered(incarnation)) = self.list.decide(register, now) else {
            panic!("not registered")
        };
        self.spread();
        let (topology, metadata) = self.list.copy();
        let door = Door::new(id);
        let config = NodeConfig {
            name: format!("rabbit@{of}").into(),
            connection: leveret_protocol::ConnectionConfig::default(),
            seed: [of as u8; 32],
            connection_max: None,
            topology,
            metadata,
            membership: Some(Membership { node: id, incarnation }),
            meta: Arc::clone(&door) as _,
            keeps_messages: true,
        };
        let node = Node::new(config, now);
        node.recover(&self.machines[of].store, now).unwrap();
        let learnt = self.list.items.len();
        let machine = &mut self.machines[of];
        machine.life += 1;
        machine.process =
            Some(Process { incarnation, node, door, learnt, syncing: None, tick_at: u64::MAX });
        self.note(format!("start {of} as {incarnation}"));
        for other in 0..self.machines.len() {
            if other != of && !self.network.is_cut(of, other) {
                self.network.reset(of, other);
                self.connect(of, other);
            }
        }
        self.pump();
    }

    /// A process ends; of what was not synced its disk keeps the first `kept` group commits.
    pub(crate) fn crash(&mut self, of: usize, kept: usize) {
        let machine = &mut self.machines[of];
        if machine.process.take().is_none() {
            return;
        }
        machine.store = machine.store.crash(kept);
        self.note(format!("crash {of}"));
        for other in (0..self.machines.len()).filter(|other| *other != of) {
            self.network.reset(of, other);
            self.disconnect(of, other);
        }
    }

    /// Cuts two machines off from each other.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        if !self.network.is_cut(a, b) {
            self.network.set(a, b, true);
            self.disconnect(a, b);
            self.note(format!("cut {a} {b}"));
        }
    }

    /// Mends what was cut between two machines.
    pub(crate) fn mend(&mut self, a: usize, b: usize) {
        if self.network.is_cut(a, b) {
            self.network.set(a, b, false);
            self.connect(a, b);
            self.note(format!("mend {a} {b}"));
        }
    }

    /// Cuts a machine off from the agreement, or lets it back.
    pub(crate) fn set_away(&mut self, of: usize, away: bool) {
        self.machines[of].away = away;
        self.note(format!("away {of} {away}"));
    }

    fn connect(&mut self, a: usize, b: usize) {
        let now = self.time();
        for (of, to) in [(a, b), (b, a)] {
            let other = self.machines[to].process.as_ref().map(|process| process.incarnation);
            let id = self.machines[to].id;
            if let (Some(node), Some(incarnation)) = (self.node(of), other) {
                node.peer_up(id, incarnation, now);
            }
        }
        self.pump();
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        let now = self.time();
        for (of, to) in [(a, b), (b, a)] {
            let id = self.machines[to].id;
            if let Some(node) = self.node(of) {
                node.peer_down(id, now);
            }
        }
        self.pump();
    }

    /// Lets some time pass.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(Reverse(next)) = self.events.peek()
            && next.at <= until
        {
            let Some(Reverse(Scheduled { at, event, .. })) = self.events.pop() else { break };
            self.now = self.now.max(at);
            self.happens(event);
            self.pump();
        }
        self.now = until;
    }

    /// Lets time pass until something holds, for two minutes at most.
    pub(crate) fn run_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let until = self.now + 120_000;
        while !holds(self) {
            assert!(self.now < until, "never: {what}\n{}", self.copies());
            self.run_for(10);
        }
    }

    /// The copies of all queues, for whoever has to find out what is wrong with them.
    fn copies(&self) -> String {
        let mut all = format!("{:?}\n", self.metadata());
        for (at, machine) in self.machines.iter().enumerate() {
            let cells = machine.process.iter().flat_map(|process| process.node.queues.all());
            for cell in cells {
                let queue = cell.queue.lock();
                let last = queue.last_op();
                all += &format!("{at}: {last:?} {:?}\n", cell.copy.lock());
            }
        }
        all
    }

    fn happens(&mut self, event: Event) {
        let now = self.time();
        match event {
            Event::Frame { from, to, link, frame } => {
                if self.network.arrives(from, to, link) {
                    let id = self.machines[from].id;
                    if let Some(node) = self.node(to) {
                        node.frame(id, *frame, now);
                    }
                }
            }
            Event::Agree(proposal) => self.agreed(*proposal),
            Event::Learn { of, life, upto } => self.learn(of, life, upto),
            Event::Synced { of, life } => self.synced(of, life),
            Event::Tick { of, life } => {
                let machine = &mut self.machines[of];
                if let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) {
                    process.tick_at = u64::MAX;
                    process.node.tick(now);
                }
            }
            Event::Beat => self.beat(),
        }
    }

    fn agreed(&mut self, proposal: Proposal) {
        let Proposal { agreed, from, at, waiting } = proposal;
        let Some(of) = self.machines.iter().position(|machine| machine.id == from) else { return };
        if self.machines[of].away {
            // It is asked again until it is heard.
            let again = Proposal { agreed, from, at, waiting };
            return self.at(100, Event::Agree(Box::new(again)));
        }
        let number = self.list.items.len();
        if let (Some(waiting), Some(process)) = (waiting, &self.machines[of].process) {
            process.door.waiting.lock().insert(number, waiting);
        }
        if let Agreed::Cluster(command) = &agreed {
            self.note(format!("{command:?}"));
        }
        self.list.add(agreed, from, at);
        self.spread();
    }

    /// Everybody learns what was agreed on.
    fn spread(&mut self) {
        let upto = self.list.items.len();
        for of in 0..self.machines.len() {
            let life = self.machines[of].life;
            let delay = self.random.random_range(1..20);
            self.at(delay, Event::Learn { of, life, upto });
        }
    }

    fn learn(&mut self, of: usize, life: u32, upto: usize) {
        let machine = &mut self.machines[of];
        if machine.away {
            return self.at(100, Event::Learn { of, life, upto });
        }
        let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) else {
            return;
        };
        while process.learnt < upto {
            let number = process.learnt;
            process.learnt += 1;
            let (door, item) = (Arc::clone(&process.door), self.list.items[number].clone());
            door.apply(number, &item);
        }
    }

    fn beat(&mut self) {
        let now = self.time();
        for machine in self.machines.iter().filter(|machine| !machine.away) {
            if let Some(process) = &machine.process {
                let durable = machine.store.figures().durable.0;
                self.controller.heartbeat(machine.id, process.incarnation, durable, now);
                process.node.set_lease(now.plus(LEASE_MS), now);
            }
        }
        for command in self.controller.tick(&self.list.state.metadata, now) {
            self.note(format!("{command:?}"));
            let _ = self.list.decide(command, now);
        }
        self.spread();
        self.at(BEAT_MS, Event::Beat);
    }

    fn synced(&mut self, of: usize, life: u32) {
        let now = self.time();
        let machine = &mut self.machines[of];
        let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) else {
            return;
        };
        machine.store.sync().unwrap();
        if let Some(sealed) = process.syncing.take() {
            process.node.synced(sealed, now);
        }
    }

    /// Does what every node wants done now.
    pub(crate) fn pump(&mut self) {
        for of in 0..self.machines.len() {
            self.write(of);
            self.read(of);
            self.send(of);
            self.propose(of);
            self.set_tick(of);
        }
    }

    fn write(&mut self, of: usize) {
        let now = self.time();
        let machine = &mut self.machines[of];
        let (life, store) = (machine.life, &machine.store);
        let Some(process) = &mut machine.process else { return };
        while process.syncing.is_none() {
            process.node.serve_copies(store, now).unwrap();
            let sealed = process.node.seal(Waker::noop(), &mut || store.allocate_slot()).unwrap();
            let Some(mut sealed) = sealed else { return };
            if sealed.batch.is_empty() {
                process.node.synced(sealed, now);
                continue;
            }
            let gcn = store.write(std::mem::take(&mut sealed.batch)).unwrap();
            process.node.written(&mut sealed, gcn);
            process.syncing = Some(sealed);
            let takes = self.random.random_range(1..9);
            self.at(takes, Event::Synced { of, life });
            return;
        }
    }

    fn read(&mut self, of: usize) {
        let now = self.time();
        let machine = &self.machines[of];
        let Some(process) = &machine.process else { return };
        while let Some(load) = process.node.next_load(Waker::noop()) {
            let bytes = machine.store.read_chunk(&load.key).ok();
            assert!(process.node.loaded(load, bytes.as_ref(), now), "a chunk that is lost");
        }
    }

    fn send(&mut self, of: usize) {
        let Some(node) = self.node(of) else { return };
        for (to, frame) in node.take_frames(Waker::noop()) {
            let Some(to) = self.machines.iter().position(|machine| machine.id == to) else {
                continue;
            };
            let delay = self.random.random_range(1..6);
            if let Some((at, link)) = self.network.send(of, to, self.now, delay) {
                let frame = Box::new(frame);
                self.at(at - self.now, Event::Frame { from: of, to, link, frame });
            }
        }
    }

    fn propose(&mut self, of: usize) {
        let Some(process) = &self.machines[of].process else { return };
        let proposals = std::mem::take(&mut *process.door.proposals.lock());
        for proposal in proposals {
            let delay = self.random.random_range(1..20);
            self.at(delay, Event::Agree(Box::new(proposal)));
        }
    }

    fn set_tick(&mut self, of: usize) {
        let machine = &mut self.machines[of];
        let life = machine.life;
        let Some(process) = &mut machine.process else { return };
        let Some(Timestamp(due)) = process.node.next_deadline(Waker::noop()) else { return };
        if due < process.tick_at {
            process.tick_at = due;
            let delay = due.saturating_sub(self.now).max(1);
            self.at(delay, Event::Tick { of, life });
        }
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.scheduled += 1;
        let (at, number) = (self.now + delay, self.scheduled);
        self.events.push(Reverse(Scheduled { at, number, event }));
    }

    pub(crate) fn note(&mut self, what: String) {
        self.history.push(format!("{} {what}", self.now));
    }
}
