//! The state that is searched, what can happen next, and what must hold.

use super::super::super::bugs::{Bug, Bugs};
use super::super::super::{
    Alteration, Changes, ClusterCommand, Effects, Entry, Epoch, Happened, Incarnation, Message,
    Metadata, NodeId, OpBytes, Payload, Recovered, Replica, Reply, StoreMark, Ticket, WriteWhat,
};
use super::super::support::{Agreed, NOW, Queues};
use super::search::Bounds;
use leveret_engine::{OpIndex, QueueId};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

pub(super) const N: usize = 3;

/// Nodes, what they agree on, and what is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    nodes: [Node; N],
    metadata: Metadata,
    queue: QueueId,
    /// A set: order, loss and repetition are the network's to choose.
    net: Vec<Packet>,
    /// What was ever committed.
    ghost: Vec<Entry>,
    /// Who led in which epoch.
    leaders: Vec<(Epoch, usize)>,
    used: Used,
    bugs: Bugs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Used {
    values: u8,
    crashes: u8,
    wipes: u8,
    fences: u8,
    alters: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    up: bool,
    store: StoreMark,
    /// The number that its process has; `None` until it has registered.
    incarnation: Option<Incarnation>,
    replica: Option<Replica>,
    disk: Disk,
}

/// A copy on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Disk {
    rid: crate::replication::ReplicaId,
    lineage: u32,
    entries: Vec<Entry>,
    /// Written and not synced.
    tail: Vec<WriteWhat>,
}

impl Disk {
    fn sync(&mut self) {
        for write in std::mem::take(&mut self.tail) {
            match write {
                WriteWhat::Append { first, entries } => {
                    assert_eq!(first.0, self.entries.len() as u64 + 1, "a gap on disk");
                    self.entries.extend(entries);
                }
                WriteWhat::Truncate { first } => {
                    self.entries.truncate(usize::try_from(first.0 - 1).unwrap());
                }
                WriteWhat::Replace { base } => {
                    assert_eq!(base.index, OpIndex(0), "no copies in the model");
                    self.entries.clear();
                }
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Packet {
    Copy(usize, Message),
    Alter(Alteration),
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A node learns what is agreed on.
    Learn(usize),
    /// A process registers.
    Register(usize),
    /// A leader takes an op.
    Write(usize),
    /// A disk syncs.
    Sync(usize),
    /// A connection from a leader to a mirror is made anew.
    Reconnect(usize, usize),
    /// A leader asks to go on without a mirror.
    Evict(usize, usize),
    /// A process ends, and what was not synced is lost.
    CrashLosing(usize),
    /// A process ends.
    Crash(usize),
    /// A process starts.
    Restart(usize),
    /// A disk is replaced by an empty one.
    Wipe(usize),
    /// A node is not heard of.
    Fence(usize),
    /// A node is heard of again.
    Unfence(usize),
    /// A packet arrives: the one that is at this place.
    Deliver(usize),
    /// A packet is lost.
    Drop(usize),
}

impl Action {
    /// How likely it is in a walk: faults are rarer, so that something comes of it.
    pub(super) fn weight(self) -> u64 {
        match self {
            Self::CrashLosing(_)
            | Self::Crash(_)
            | Self::Wipe(_)
            | Self::Fence(_)
            | Self::Drop(_) => 1,
            _ => 4,
        }
    }
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

fn place(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).unwrap()
}

impl World {
    /// Three registered nodes and an empty queue whose first `in_sync` copies are in sync.
    pub(super) fn new(in_sync: u64, bug: Option<Bug>) -> Self {
        let bugs = Bugs::plant(bug);
        let mut agreed = Agreed::of(N as u64);
        let queue =
            Queues::new(&[("ha-mode", "all".into())]).declare("q", leveret_engine::Table::new());
        for node in in_sync + 1..=N as u64 {
            agreed.fence(node);
        }
        agreed.add(&queue, 1);
        for node in in_sync + 1..=N as u64 {
            agreed.unfence(node);
        }
        agreed.metadata.set_bugs(bugs);
        let metadata = agreed.metadata;
        let nodes = std::array::from_fn(|node| {
            let record = metadata.node(id(node)).unwrap();
            Node {
                up: true,
                store: record.store.unwrap(),
                incarnation: Some(record.incarnation),
                replica: None,
                disk: Disk::default(),
            }
        });
        let mut world = Self {
            nodes,
            metadata,
            queue: queue.id,
            net: Vec::new(),
            ghost: Vec::new(),
            leaders: Vec::new(),
            used: Used::default(),
            bugs,
        };
        (0..N).for_each(|node| world.open(node));
        world
    }

    /// Whether anything was committed.
    pub(super) fn has_commit(&self) -> bool {
        self.ghost.iter().any(|entry| matches!(entry.payload, Payload::Op(_)))
    }

    /// Whether another leader than the first was elected.
    pub(super) fn has_failover(&self) -> bool {
        self.leaders.iter().any(|(epoch, _)| *epoch > Epoch(1))
    }

    /// The places of the packets for a node.
    pub(super) fn packets_to(&self, node: usize) -> Vec<usize> {
        let is_for = |packet: &Packet| matches!(packet, Packet::Copy(to, _) if *to == node);
        (0..self.net.len()).filter(|at| is_for(&self.net[*at])).collect()
    }

    /// The place of something that a leader has asked for.
    pub(super) fn alteration(&self) -> Option<usize> {
        self.net.iter().position(|packet| matches!(packet, Packet::Alter(_)))
    }

    fn record(&self) -> &crate::replication::QueueRecord {
        self.metadata.queue(self.queue).unwrap()
    }

    /// Makes the copy of a process from its disk.
    fn open(&mut self, node: usize) {
        let Node { disk, incarnation: Some(incarnation), .. } = &self.nodes[node] else { return };
        let recovered = Recovered {
            rid: disk.rid,
            lineage: disk.lineage,
            entries: disk.entries.clone(),
            ..Recovered::default()
        };
        let mut replica = Replica::new(self.queue, id(node), *incarnation, recovered);
        replica.set_bugs(self.bugs);
        self.nodes[node].replica = Some(replica);
    }

    /// Everything that can happen now.
    pub(super) fn actions(&self, bounds: &Bounds) -> Vec<Action> {
        let mut out = Vec::new();
        for node in 0..N {
            self.actions_of(node, bounds, &mut out);
        }
        for at in 0..self.net.len() {
            out.extend([Action::Deliver(at), Action::Drop(at)]);
        }
        out
    }

    fn is_registered(&self, node: usize) -> bool {
        let agreed = self.metadata.node(id(node)).unwrap().incarnation;
        self.nodes[node].incarnation == Some(agreed)
    }

    fn learns(&self, node: usize) -> bool {
        let anyway = self.bugs.has(Bug::ActsUnregistered) || self.bugs.has(Bug::LeadsAfterRestart);
        let Some(replica) = &self.nodes[node].replica else { return false };
        let leads = self.record().leader.is_some_and(|leader| {
            leader.node == id(node) && Some(leader.incarnation) == self.nodes[node].incarnation
        });
        let begins = leads && replica.leads() != Some(self.record().epoch);
        (self.is_registered(node) || anyway) && (replica.cfg() != Some(self.record().cfg) || begins)
    }

    fn actions_of(&self, node: usize, bounds: &Bounds, out: &mut Vec<Action>) {
        let it = &self.nodes[node];
        let may_elect = self.record().epoch.0 < u64::from(bounds.epochs);
        let used = &self.used;
        if !it.up {
            out.push(Action::Restart(node));
            if used.wipes < bounds.wipes {
                out.push(Action::Wipe(node));
            }
        } else {
            if self.learns(node) {
                out.push(Action::Learn(node));
            }
            if !self.is_registered(node) && may_elect {
                out.push(Action::Register(node));
            }
            if !it.disk.tail.is_empty() {
                out.push(Action::Sync(node));
            }
            if it.replica.as_ref().is_some_and(|replica| replica.leads().is_some()) {
                self.actions_of_leader(node, bounds, out);
            }
            if used.crashes < bounds.crashes {
                out.push(Action::Crash(node));
                if !it.disk.tail.is_empty() {
                    out.push(Action::CrashLosing(node));
                }
            }
            let live = self.metadata.is_live(id(node));
            if !live && self.is_registered(node) && may_elect {
                out.push(Action::Unfence(node));
            }
        }
        if used.fences < bounds.fences && self.metadata.is_live(id(node)) && may_elect {
            out.push(Action::Fence(node));
        }
    }

    fn actions_of_leader(&self, node: usize, bounds: &Bounds, out: &mut Vec<Action>) {
        if self.used.values < bounds.values {
            out.push(Action::Write(node));
        }
        for other in (0..N).filter(|other| *other != node) {
            if self.net.len() < bounds.packets {
                out.push(Action::Reconnect(node, other));
            }
            if self.used.alters < bounds.alters && self.record().is_in_sync(id(other)) {
                out.push(Action::Evict(node, other));
            }
        }
    }

    /// Does it. An error is a broken invariant.
    pub(super) fn after(&self, action: Action, bounds: &Bounds) -> Result<Self, String> {
        let mut next = self.clone();
        next.act(action, bounds)?;
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        next.net.sort_by_cached_key(|packet| hasher.hash_one(packet));
        next.net.dedup();
        next.check()?;
        Ok(next)
    }

    fn act(&mut self, action: Action, bounds: &Bounds) -> Result<(), String> {
        match action {
            Action::Learn(node) => {
                let record = Arc::new(self.record().clone());
                let registered = self.metadata.node(id(node)).unwrap().incarnation;
                self.run(node, bounds, |replica, fx| replica.learn(&record, registered, NOW, fx))
            }
            Action::Register(node) => self.register(node),
            Action::Write(node) => {
                self.used.values += 1;
                let bytes = [self.used.values].into();
                let op = OpBytes { origin: None, transient: false, bytes };
                self.run(node, bounds, |replica, fx| {
                    replica.append(op, NOW, fx).unwrap();
                })
            }
            Action::Sync(node) => {
                self.nodes[node].disk.sync();
                self.run(node, bounds, |replica, fx| replica.written(Ticket(u64::MAX), NOW, fx))
            }
            Action::Reconnect(node, other) => {
                self.run(node, bounds, |replica, fx| replica.reconnected(id(other), NOW, fx))
            }
            Action::Evict(node, other) => {
                self.run(node, bounds, |replica, fx| replica.evict(id(other), NOW, fx))
            }
            Action::Crash(node) | Action::CrashLosing(node) => {
                self.used.crashes += 1;
                let it = &mut self.nodes[node];
                if matches!(action, Action::Crash(_)) {
                    it.disk.sync();
                }
                it.disk.tail.clear();
                (it.up, it.incarnation, it.replica) = (false, None, None);
                Ok(())
            }
            Action::Restart(node) => {
                self.nodes[node].up = true;
                self.start_unregistered(node);
                Ok(())
            }
            Action::Wipe(node) => {
                self.used.wipes += 1;
                let it = &mut self.nodes[node];
                it.disk = Disk::default();
                it.store.0 += 1;
                Ok(())
            }
            Action::Fence(node) => {
                self.used.fences += 1;
                let incarnation = self.metadata.node(id(node)).unwrap().incarnation;
                self.agree(&ClusterCommand::Fence {
                    node: id(node),
                    incarnation,
                    lease_over: true,
                });
                Ok(())
            }
            Action::Unfence(node) => {
                let incarnation = self.metadata.node(id(node)).unwrap().incarnation;
                self.agree(&ClusterCommand::Unfence { node: id(node), incarnation });
                Ok(())
            }
            Action::Deliver(at) => self.deliver(at, bounds),
            Action::Drop(at) => {
                self.net.remove(at);
                Ok(())
            }
        }
    }

    fn agree(&mut self, command: &ClusterCommand) -> Option<Reply> {
        self.metadata.apply(command, &mut Changes::default()).ok()
    }

    /// With the bugs that are about it, a process does not wait for its number.
    fn start_unregistered(&mut self, node: usize) {
        if self.bugs.has(Bug::ActsUnregistered) || self.bugs.has(Bug::LeadsAfterRestart) {
            let last = (0..N).map(|node| self.metadata.node(id(node)).unwrap().incarnation).max();
            self.nodes[node].incarnation = Some(last.unwrap().next());
            self.open(node);
        }
    }

    fn register(&mut self, node: usize) -> Result<(), String> {
        let store = self.nodes[node].store;
        let command = ClusterCommand::Register { node: id(node), store, durable: 0 };
        let Some(Reply::Registered(incarnation)) = self.agree(&command) else {
            return Err("a node cannot register".into());
        };
        if self.nodes[node].incarnation != Some(incarnation) {
            self.nodes[node].incarnation = Some(incarnation);
            self.nodes[node].disk.sync();
            self.open(node);
        }
        Ok(())
    }

    fn deliver(&mut self, at: usize, bounds: &Bounds) -> Result<(), String> {
        match self.net.remove(at) {
            Packet::Copy(to, message) => {
                self.run(to, bounds, |replica, fx| replica.receive(message, NOW, fx))
            }
            Packet::Alter(alteration) => {
                self.agree(&ClusterCommand::Alter(alteration));
                Ok(())
            }
        }
    }

    /// Lets a copy work, and does what it wants done.
    fn run(
        &mut self,
        node: usize,
        bounds: &Bounds,
        work: impl FnOnce(&mut Replica, &mut Effects),
    ) -> Result<(), String> {
        let mut fx = Effects::default();
        let it = &mut self.nodes[node];
        let Some(replica) = it.replica.as_mut().filter(|_| it.up) else { return Ok(()) };
        let led = replica.leads();
        work(replica, &mut fx);
        (it.disk.rid, it.disk.lineage) = (replica.rid(), replica.lineage());
        it.disk.tail.extend(fx.writes.into_iter().map(|write| write.what));
        if let Some(fatal) = fx.fatal {
            return Err(fatal.to_string());
        }
        let leads = replica.leads();
        let committed = fx.happened.iter().filter_map(|happened| match happened {
            Happened::Committed(upto) if leads.is_some() => Some(*upto),
            _ => None,
        });
        let committed = committed.max();
        let entries: Vec<_> = replica.log().entries().map(|(_, entry)| entry.clone()).collect();
        if let Some(epoch) = leads.filter(|_| led != leads) {
            if self.leaders.iter().any(|(of, who)| *of == epoch && *who != node) {
                return Err(format!("I1: two leaders in epoch {epoch}"));
            }
            self.leaders.push((epoch, node));
        }
        for (to, message) in fx.sends {
            self.post(Packet::Copy(place(to), message), bounds);
        }
        for alteration in fx.alterations {
            self.used.alters += 1;
            self.post(Packet::Alter(alteration), bounds);
        }
        match committed {
            Some(upto) => self.commit(node, upto, &entries),
            None => Ok(()),
        }
    }

    /// What does not fit is lost.
    fn post(&mut self, packet: Packet, bounds: &Bounds) {
        if self.net.len() < bounds.packets {
            self.net.push(packet);
        }
    }

    fn commit(&mut self, node: usize, upto: OpIndex, log: &[Entry]) -> Result<(), String> {
        let n = usize::try_from(upto.0).unwrap();
        for (at, entry) in log[..n].iter().enumerate() {
            match self.ghost.get(at) {
                None => self.ghost.push(entry.clone()),
                Some(known) if known != entry => {
                    return Err(format!("I2: committed entry {} changed by node {node}", at + 1));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let record = self.record();
        for (node, it) in self.nodes.iter().enumerate() {
            let Some(replica) = &it.replica else { continue };
            if it.up && replica.leads() == Some(record.epoch) {
                let log: Vec<_> = replica.log().entries().map(|(_, entry)| entry).collect();
                if !self.ghost.iter().eq(log.into_iter().take(self.ghost.len())) {
                    return Err(format!("I3: leader {node} lacks a committed entry"));
                }
            }
        }
        for node in record.in_sync() {
            let it = &self.nodes[place(node)];
            let intact = self.metadata.node(node).unwrap().store == Some(it.store);
            if intact && !it.disk.entries.starts_with(&self.ghost) {
                return Err(format!("I4: {node} is in sync and lacks a committed entry on disk"));
            }
        }
        Ok(())
    }
}
