//! A run: what there is, what happens next, and the story of it.

use super::agreement::Agreement;
use super::checker::{Checker, Figures};
use super::disk::Disk;
use super::faults::{Fault, Faults};
use super::network::Network;
use super::process::Process;
use crate::replication::bugs::{Bug, Bugs};
use crate::replication::tests::support::{Queues, name_of};
use crate::replication::wire::{Frame, PAYLOAD_BYTES_MAX};
use crate::replication::{ClusterCommand, Message, NodeId, NodeRole, StoreMark};
use leveret_engine::{ParameterValue, QueueId, Table, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

/// How long there are faults, in milliseconds.
const FAULTS_UNTIL: u64 = 15_000;

/// How long after that all has to be well again: fenced nodes are taken back, mirrors copied, publishes resent, and what
/// is left consumed.
const AT_REST_BY: u64 = FAULTS_UNTIL + 60_000;

/// Lines of the story that are shown of a run that went wrong.
const STORY_LINES: usize = 150;

/// What a run is.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
    /// Nodes with messages, of three.
    n_data: usize,
    policy: Vec<(&'static str, ParameterValue)>,
    quorum: bool,
}

impl Setting {
    /// The setting of a seed: two data nodes and a witness, or three; one of several policies.
    pub(super) fn of(seed: u64, bug: Option<Bug>) -> Self {
        let all = || ("ha-mode", "all".into());
        let (policy, quorum) = match seed % 5 {
            0 | 1 => (vec![all()], false),
            2 => (vec![("ha-mode", "exactly".into()), ("ha-params", 2.into())], false),
            3 => (vec![all(), ("ha-sync-mode", "manual".into())], false),
            _ => (vec![("max-length", 1_000_000.into())], true),
        };
        let n_data = if seed.is_multiple_of(2) || quorum { 3 } else { 2 };
        Self { seed, bug, n_data, policy, quorum }
    }
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) violation: Option<String>,
    pub(super) figures: Figures,
    /// A number that stands for everything that happened.
    pub(super) history: u64,
    /// The last of what happened.
    pub(super) story: String,
}

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    Arrives {
        from: usize,
        to: usize,
        generation: u32,
        packet: Packet,
    },
    /// The disk of a node has synced, in one life of its process.
    Synced {
        node: usize,
        life: u32,
    },
    /// A process does what it does from time to time.
    Beat {
        node: usize,
        life: u32,
    },
    /// A consumer on a node acks.
    ClientAcks {
        node: usize,
        life: u32,
        id: u32,
        /// Who has delivered, and in which epoch.
        from: (usize, crate::replication::Epoch),
    },
    /// Those who agree look around.
    Agree,
    Starts {
        node: usize,
    },
    Fault(Fault),
    NextFault,
}

/// What goes from node to node.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    Copy(Message),
    Propose(ClusterCommand),
    Register { life: u32, store: StoreMark, durable: u64 },
    Registered { life: u32, incarnation: crate::replication::Incarnation, index: usize },
    Agreed { index: usize },
    Heartbeat { number: u64, incarnation: crate::replication::Incarnation, durable: u64 },
    Heard { number: u64 },
    Publish { session: crate::replication::SessionId, first: u64, ids: Vec<u32>, again: bool },
    Confirmed { session: crate::replication::SessionId, first: u64, n: u32 },
    Attach { incarnation: crate::replication::Incarnation },
    Deliver { id: u32, epoch: crate::replication::Epoch },
    Acks { id: u32 },
}

/// One machine.
pub(super) struct Machine {
    pub(super) store: StoreMark,
    pub(super) disk: Disk,
    /// The disk as it once was.
    pub(super) backup: Option<(StoreMark, Disk)>,
    pub(super) slow_until: u64,
    pub(super) process: Option<Process>,
    pub(super) life: u32,
    /// It hangs until then.
    pub(super) paused_until: u64,
    clock_offset: u64,
    /// How much faster than true time its clock is, in thousandths.
    clock_drift: i64,
}

/// Everything there is.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) random: StdRng,
    events: BTreeMap<(u64, u64), Event>,
    n_events: u64,
    pub(super) machines: Vec<Machine>,
    pub(super) network: Network,
    pub(super) agreement: Agreement,
    pub(super) checker: Checker,
    pub(super) faults: Faults,
    pub(super) queues: Queues,
    pub(super) queue: QueueId,
    pub(super) bugs: Bugs,
    pub(super) next_id: u32,
    hasher: DefaultHasher,
    story: VecDeque<String>,
}

pub(super) fn id_of(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

pub(super) fn index_of(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).unwrap()
}

/// Runs until all is at rest, or something is broken.
pub(super) fn run(setting: Setting) -> Ended {
    let mut world = World::new(&setting);
    while world.checker.violation.is_none() {
        if world.now > FAULTS_UNTIL && world.is_at_rest() {
            world.checker.at_end();
            world.compare_copies();
            break;
        }
        if world.now > AT_REST_BY {
            if world.is_empty() {
                world.checker.at_end();
            }
            let why = world.unrest();
            world.checker.broken(|| format!("L1: no rest: {why}"));
            break;
        }
        world.step();
    }
    let story = world.story.iter().map(|line| format!("{line}\n")).collect();
    let figures = world.checker.figures();
    let history = world.hasher.finish();
    Ended { violation: world.checker.violation, figures, history, story }
}

impl World {
    fn new(setting: &Setting) -> Self {
        let mut random = StdRng::seed_from_u64(setting.seed);
        let bugs = Bugs::plant(setting.bug);
        let mut queues = Queues::new(&setting.policy);
        let mut arguments = Table::new();
        if setting.quorum {
            arguments.insert("x-queue-type", "quorum");
        }
        let queue = queues.declare("q", arguments);
        let mut agreement = Agreement::new(bugs);
        for node in 0..3 {
            let role = if node < setting.n_data { NodeRole::Data } else { NodeRole::Witness };
            agreement.found(name_of(node as u64 + 1), role, store_of(node));
        }
        agreement.declare(&queue, id_of(0));
        let machine = |node| Machine {
            store: store_of(node),
            disk: Disk::default(),
            backup: None,
            slow_until: 0,
            process: None,
            life: 0,
            paused_until: 0,
            clock_offset: random.random_range(0..1_000),
            clock_drift: random.random_range(-10..=10),
        };
        let mut world = Self {
            now: 0,
            machines: (0..3).map(machine).collect(),
            random,
            events: BTreeMap::new(),
            n_events: 0,
            network: Network::new(3),
            agreement,
            checker: Checker::default(),
            faults: Faults::default(),
            queues,
            queue: queue.id,
            bugs,
            next_id: 1,
            hasher: DefaultHasher::new(),
            story: VecDeque::new(),
        };
        for node in 0..3 {
            world.at(node, Event::Starts { node: usize::try_from(node).unwrap() });
        }
        world.at(10, Event::Agree);
        world.at(1_000, Event::NextFault);
        world
    }

    /// Whether there are faults and publishers.
    pub(super) fn is_stormy(&self) -> bool {
        self.now < FAULTS_UNTIL
    }

    /// What a node's clock shows.
    pub(super) fn clock(&self, node: usize) -> Timestamp {
        let machine = &self.machines[node];
        let now = i64::try_from(self.now).unwrap();
        let shown = now + now * machine.clock_drift / 1_000;
        Timestamp(machine.clock_offset + u64::try_from(shown).unwrap())
    }

    pub(super) fn at(&mut self, delay: u64, event: Event) {
        self.n_events += 1;
        self.events.insert((self.now + delay, self.n_events), event);
    }

    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        if let Packet::Copy(message) = &packet {
            self.check_bytes(message);
        }
        if let Some((when, generation)) = self.network.send(from, to, self.now, &mut self.random) {
            self.at(when - self.now, Event::Arrives { from, to, generation, packet });
        }
    }

    /// What copies say survives being written and read.
    fn check_bytes(&mut self, message: &Message) {
        let frame = Frame::Copies(vec![message.clone()]);
        let mut bytes = Vec::new();
        let written = frame.encode(1, &mut bytes);
        let read = Frame::decode(&bytes, PAYLOAD_BYTES_MAX);
        if written.is_err() || read != Ok(Some((frame, 1, bytes.len()))) {
            self.checker.broken(|| format!("a message is changed on the way: {message:?}"));
        }
    }

    /// Adds a line to the story.
    pub(super) fn tell(&mut self, line: String) {
        self.hasher.write(line.as_bytes());
        if self.story.len() == STORY_LINES {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    fn step(&mut self) {
        let Some(((when, n), event)) = self.events.pop_first() else {
            return self.checker.broken(|| "L1: nothing happens any more".into());
        };
        self.now = when;
        // What hangs does it later.
        let node = match &event {
            Event::Arrives { to, .. } => Some(*to),
            Event::Synced { node, .. }
            | Event::Beat { node, .. }
            | Event::ClientAcks { node, .. } => Some(*node),
            Event::Agree | Event::Starts { .. } | Event::Fault(_) | Event::NextFault => None,
        };
        if let Some(until) = node.map(|node| self.machines[node].paused_until)
            && until > self.now
        {
            self.events.insert((until, n), event);
            return;
        }
        self.tell(format!("{when} {event:?}"));
        self.happen(event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { from, to, generation, packet } => {
                if self.network.arrives(from, to, generation) {
                    self.arrive(from, to, packet);
                }
            }
            Event::Synced { node, life } if self.is_alive(node, life) => self.synced(node),
            Event::Beat { node, life } if self.is_alive(node, life) => self.beat(node),
            Event::ClientAcks { node, life, id, from } if self.is_alive(node, life) => {
                self.client_acks(node, id, from);
            }
            Event::Synced { .. } | Event::Beat { .. } | Event::ClientAcks { .. } => {}
            Event::Agree => {
                self.agree();
                self.at(50, Event::Agree);
            }
            Event::Starts { node } => self.start(node),
            Event::Fault(fault) => self.fault(fault),
            Event::NextFault => self.next_fault(),
        }
    }

    fn is_alive(&self, node: usize, life: u32) -> bool {
        self.machines[node].process.is_some() && self.machines[node].life == life
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        if self.machines[to].process.is_none() {
            return;
        }
        match packet {
            Packet::Copy(message) => {
                self.with_replica(to, |replica, now, fx| replica.receive(message, now, fx));
            }
            Packet::Propose(command) => self.propose_here(to, &command),
            Packet::Register { life, store, durable } => {
                self.register_here(to, from, life, store, durable);
            }
            Packet::Registered { life, incarnation, index } => {
                self.registered(to, life, incarnation, index);
            }
            Packet::Agreed { index } => self.learn(to, index),
            Packet::Heartbeat { number, incarnation, durable } => {
                self.heartbeat_here(to, from, number, incarnation, durable);
            }
            Packet::Heard { number } => {
                if let Some(process) = &mut self.machines[to].process {
                    process.lease.answered(number);
                }
                self.deliver(to);
            }
            Packet::Publish { session, first, ids, again } => {
                self.publish_here(to, from, session, first, &ids, again);
            }
            Packet::Confirmed { session, first, n } => self.confirmed(to, session, first, n),
            Packet::Attach { incarnation } => self.attach_here(to, from, incarnation),
            Packet::Deliver { id, epoch } => self.delivered(to, id, (from, epoch)),
            Packet::Acks { id } => self.acks_here(to, id),
        }
    }

    /// A connection is new: what was on its way is lost, and both ends know.
    pub(super) fn reconnect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.network.reset(from, to);
            self.disconnected(from, to);
            self.with_replica(from, |replica, now, fx| replica.reconnected(id_of(to), now, fx));
        }
    }

    fn is_at_rest(&self) -> bool {
        self.unrest().is_empty()
    }

    /// Whether no copy has a message left.
    fn is_empty(&self) -> bool {
        let processes = self.machines.iter().filter_map(|machine| machine.process.as_ref());
        processes.map(|process| process.committed.len()).sum::<usize>() == 0
    }

    /// What the leader has to do.
    fn leading(&self) -> Option<&super::process::Leading> {
        let processes = self.machines.iter().filter_map(|machine| machine.process.as_ref());
        processes.filter_map(|process| process.leading.as_ref()).max_by_key(|it| it.epoch)
    }

    /// What is not at rest.
    fn unrest(&self) -> String {
        let record = self.agreement.now().queue(self.queue).unwrap();
        if !self.checker.is_drained() {
            return format!("not everything that was confirmed is consumed: {record:?}");
        }
        if record.replicas.iter().any(|replica| !replica.is_in_sync()) {
            return format!("not all copies are in sync: {record:?}");
        }
        for (node, machine) in self.machines.iter().enumerate() {
            let Some(process) = &machine.process else { return format!("node {node} is down") };
            if !process.unconfirmed.is_empty() {
                return format!("node {node} waits for confirms");
            }
            let copy = process.replica.as_ref().filter(|_| record.replica(id_of(node)).is_some());
            let Some(copy) = copy else { continue };
            if process.committed.len() > 0 {
                let left: Vec<_> = process.committed.messages().collect();
                return format!("node {node} has {left:?} left; {:?}", self.leading());
            }
            if copy.log().end().index != self.checker.n_committed() {
                return format!("the log of node {node} is not like the others");
            }
        }
        String::new()
    }

    /// At rest, all copies are the same.
    fn compare_copies(&mut self) {
        let record = self.agreement.now().queue(self.queue).unwrap();
        let upto = self.checker.n_committed();
        for node in record.in_sync() {
            let node = index_of(node);
            let entry = |index| self.checker.committed_entry(index);
            if !self.machines[node].disk.holds(upto, entry) {
                return self.checker.broken(|| format!("I4: node {node} has another log on disk"));
            }
        }
    }
}

fn store_of(node: usize) -> StoreMark {
    StoreMark((node as u128 + 1) << 16)
}
