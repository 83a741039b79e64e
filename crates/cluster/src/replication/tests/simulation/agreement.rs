//! Agreement, modelled: one list of commands, to which the node that leads it adds while it can talk to a majority. What
//! openraft does to get there is tested elsewhere.

use super::world::{Packet, World, id_of};
use crate::replication::bugs::Bugs;
use crate::replication::{
    Changes, ClusterCommand, Controller, Incarnation, Metadata, NodeId, NodeRole, Reply, StoreMark,
};
use leveret_engine::{Applied, QueueMeta};
use rand::Rng;
use std::sync::Arc;

/// What is agreed on, and who leads the agreement.
pub(super) struct Agreement {
    /// The state after each command.
    states: Vec<Metadata>,
    pub(super) leader: Option<usize>,
    controller: Controller,
    next_election: u64,
    next_tick: u64,
}

impl Agreement {
    pub(super) fn new(bugs: Bugs) -> Self {
        let mut metadata = Metadata::default();
        metadata.set_bugs(bugs);
        Self {
            states: vec![metadata],
            leader: None,
            controller: Controller::default(),
            next_election: 0,
            next_tick: 0,
        }
    }

    /// A node of the first hour.
    pub(super) fn found(&mut self, name: Arc<str>, role: NodeRole, store: StoreMark) {
        let added = self.apply(&ClusterCommand::AddNode { name, addresses: Vec::new(), role });
        let Some(Reply::Added(node)) = added else { panic!("{added:?}") };
        self.apply(&ClusterCommand::Register { node, store, durable: 0 });
    }

    pub(super) fn declare(&mut self, queue: &QueueMeta, from: NodeId) {
        let mut state = self.now().clone();
        state.queue_added(queue, from, &mut Changes::default());
        self.states.push(state);
    }

    pub(super) fn follow(&mut self, applied: &Applied, from: NodeId) {
        let mut state = self.now().clone();
        state.follow(&applied.changes, from, &mut Changes::default());
        self.states.push(state);
    }

    pub(super) fn now(&self) -> &Metadata {
        self.states.last().unwrap()
    }

    pub(super) fn index(&self) -> usize {
        self.states.len() - 1
    }

    pub(super) fn state(&self, index: usize) -> &Metadata {
        &self.states[index]
    }

    /// What a node was last heard to have on disk.
    pub(super) fn last_durable(&self, node: NodeId) -> u64 {
        self.controller.last_durable(node).unwrap_or_default()
    }

    fn apply(&mut self, command: &ClusterCommand) -> Option<Reply> {
        let mut state = self.now().clone();
        let reply = state.apply(command, &mut Changes::default());
        self.states.push(state);
        reply.ok()
    }
}

impl World {
    fn is_awake(&self, node: usize) -> bool {
        self.machines[node].process.is_some() && self.machines[node].paused_until <= self.now
    }

    fn has_majority(&self, node: usize) -> bool {
        let n = self.machines.len();
        let reached =
            (0..n).filter(|other| self.is_awake(*other) && self.network.talk(node, *other));
        self.is_awake(node) && reached.count() > n / 2
    }

    /// Leaders of the agreement come and go; the one there is decides who is alive, and tells the others what is agreed on.
    pub(super) fn agree(&mut self) {
        if let Some(leader) = self.agreement.leader
            && !self.has_majority(leader)
        {
            self.agreement.leader = None;
            self.agreement.next_election = self.now + self.random.random_range(1_000..2_000);
        }
        if self.agreement.leader.is_none() && self.agreement.next_election <= self.now {
            let able: Vec<_> =
                (0..self.machines.len()).filter(|node| self.has_majority(*node)).collect();
            self.agreement.next_election = self.now + 500;
            if !able.is_empty() {
                let leader = able[self.random.random_range(0..able.len())];
                self.agreement.leader = Some(leader);
                self.agreement.controller = Controller::new();
            }
        }
        let Some(leader) = self.agreement.leader else { return };
        if self.agreement.next_tick <= self.now {
            self.agreement.next_tick = self.now + 250;
            let now = self.clock(leader);
            let state = self.agreement.now().clone();
            for command in self.agreement.controller.tick(&state, now) {
                self.apply_agreed(&command);
            }
        }
        let index = self.agreement.index();
        for node in 0..self.machines.len() {
            let process = self.machines[node].process.as_ref();
            if process.is_some_and(|process| process.seen < index) {
                self.send(leader, node, Packet::Agreed { index });
            }
        }
    }

    pub(super) fn apply_agreed(&mut self, command: &ClusterCommand) -> Option<Reply> {
        let reply = self.agreement.apply(command);
        self.tell(format!("{} agreed {command:?}: {reply:?}", self.now));
        reply
    }

    /// A node asks for something to be agreed on.
    pub(super) fn propose(&mut self, node: usize, command: ClusterCommand) {
        if let Some(leader) = self.agreement.leader {
            self.send(node, leader, Packet::Propose(command));
        }
    }

    fn leads_agreement(&self, node: usize) -> bool {
        self.agreement.leader == Some(node) && self.has_majority(node)
    }

    pub(super) fn propose_here(&mut self, here: usize, command: &ClusterCommand) {
        if self.leads_agreement(here) {
            self.apply_agreed(command);
        }
    }

    pub(super) fn register_here(
        &mut self,
        here: usize,
        from: usize,
        life: u32,
        store: StoreMark,
        durable: u64,
    ) {
        // A request of a process that has ended in the meantime came over a connection that ended with it.
        if !self.leads_agreement(here) || self.machines[from].life != life {
            return;
        }
        let node = id_of(from);
        if let Some(known) = self.agreement.controller.last_durable(node)
            && let Some(incarnation) = self.agreement.now().node(node).map(|node| node.incarnation)
        {
            self.apply_agreed(&ClusterCommand::NoteDurable { node, incarnation, durable: known });
        }
        let reply = self.apply_agreed(&ClusterCommand::Register { node, store, durable });
        if let Some(Reply::Registered(incarnation)) = reply {
            let index = self.agreement.index();
            self.send(here, from, Packet::Registered { life, incarnation, index });
        }
    }

    pub(super) fn heartbeat_here(
        &mut self,
        here: usize,
        from: usize,
        number: u64,
        incarnation: Incarnation,
        durable: u64,
    ) {
        if self.leads_agreement(here) {
            let now = self.clock(here);
            self.agreement.controller.heartbeat(id_of(from), incarnation, durable, now);
            self.send(here, from, Packet::Heard { number });
        }
    }
}
