//! Nodes join, register, are fenced, drained and forgotten.

use super::{
    Changes, Handover, Metadata, NODES_MAX, NodeRecord, NodeRole, NodeState, Notice, Refusal, Reply,
};
use crate::replication::bugs::Bug;
use crate::replication::ids::{Incarnation, NodeId, StoreMark};
use leveret_engine::QueueId;
use std::sync::Arc;

impl Metadata {
    pub(super) fn add_node(
        &mut self,
        name: &Arc<str>,
        addresses: &[Arc<str>],
        role: NodeRole,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        if self.node_named(name).is_some() {
            return Err(Refusal::NameTaken(name.clone()));
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(Refusal::TooManyNodes(NODES_MAX));
        }
        let id = self.last_node.next();
        self.last_node = id;
        let node = NodeRecord {
            name: name.clone(),
            addresses: addresses.to_vec(),
            role,
            store: None,
            incarnation: Incarnation::default(),
            state: NodeState::Fenced,
            durable: 0,
            replaced: false,
            n_replicas: 0,
            n_leaders: 0,
        };
        self.nodes.insert(id, node);
        changes.notices.push(Notice::NodeAdded(id));
        Ok(Reply::Added(id))
    }

    /// A process has started. Rule R2: whatever its node led is led in a later epoch. Rule R3: a node that lost its disk,
    /// or a part of it, is in sync with nothing.
    pub(super) fn register(
        &mut self,
        id: NodeId,
        store: StoreMark,
        durable: u64,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let incarnation = self.last_incarnation.next();
        let node = self.nodes.get_mut(&id).ok_or(Refusal::NoSuchNode(id))?;
        let known = node.store.is_some();
        let lost = known && (node.store != Some(store) || durable < node.durable);
        self.last_incarnation = incarnation;
        node.store = Some(store);
        node.incarnation = incarnation;
        node.durable = durable;
        node.state = NodeState::Up;
        node.replaced = false;
        changes.notices.push(Notice::NodeUp(id));
        if lost {
            changes.notices.push(Notice::NodeLostData(id));
        }
        let trusted = !lost || self.bugs.has(Bug::TrustsNewDisk);
        for queue in self.queues_on(id) {
            self.start_again(queue, id, trusted, changes);
        }
        self.converge_all(changes);
        Ok(Reply::Registered(incarnation))
    }

    /// A copy is there again after its node has started.
    fn start_again(&mut self, queue: QueueId, id: NodeId, trusted: bool, changes: &mut Changes) {
        let restarted = self.bugs.has(Bug::LeadsAfterRestart);
        self.change(queue, changes, |record, this| {
            if !trusted {
                record.lose_sync(id);
            }
            if restarted && record.is_led_by(id) {
                record.leader = Some(this.leader_ref(id));
            } else if record.leader.is_none() || record.is_led_by(id) {
                // Its old process is gone for sure: nobody delivers any more.
                this.elect(record, Some(id), Handover::Settled);
            }
        });
    }

    pub(super) fn note_durable(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        durable: u64,
    ) -> Result<Reply, Refusal> {
        let node = self.present(id, incarnation)?;
        node.durable = node.durable.max(durable);
        Ok(Reply::Done)
    }

    pub(super) fn fence(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        handover: Handover,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let node = self.present(id, incarnation)?;
        let controlled = node.state == NodeState::Draining;
        if !node.is_live() {
            return Ok(Reply::Done);
        }
        node.state = if controlled { NodeState::Stopped } else { NodeState::Fenced };
        changes.notices.push(Notice::NodeDown(id));
        for queue in self.queues_on(id) {
            self.change(queue, changes, |record, this| {
                this.take_out(record, id, controlled, handover);
            });
            self.converge(queue, changes);
        }
        Ok(Reply::Done)
    }

    pub(super) fn unfence(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let node = self.present(id, incarnation)?;
        if node.is_live() {
            return Ok(Reply::Done);
        }
        node.state = NodeState::Up;
        node.replaced = false;
        changes.notices.push(Notice::NodeUp(id));
        for queue in self.queues_on(id) {
            self.change(queue, changes, |record, this| {
                if record.leader.is_none() && record.is_in_sync(id) {
                    this.promote(record, id, Handover::LeaseMayRun);
                }
            });
        }
        self.converge_all(changes);
        Ok(Reply::Done)
    }

    /// Whatever the node leads goes to a copy in sync on a node that stays; what has none stays, unless the policy says
    /// otherwise.
    // rabbitmq: ha-promote-on-shutdown
    pub(super) fn drain(&mut self, id: NodeId, changes: &mut Changes) -> Result<Reply, Refusal> {
        let node = self.nodes.get_mut(&id).ok_or(Refusal::NoSuchNode(id))?;
        if node.state != NodeState::Up {
            return Ok(Reply::Done);
        }
        node.state = NodeState::Draining;
        for queue in self.queues_on(id) {
            self.change(queue, changes, |record, this| {
                if !record.is_led_by(id) {
                    return;
                }
                if let Some(other) = this.candidate(record, Some(id)).filter(|other| *other != id) {
                    this.promote(record, other, Handover::LeaseMayRun);
                }
            });
        }
        Ok(Reply::Done)
    }

    pub(super) fn replace(&mut self, id: NodeId, changes: &mut Changes) -> Result<Reply, Refusal> {
        let node = self.nodes.get_mut(&id).ok_or(Refusal::NoSuchNode(id))?;
        if !node.is_live() && !node.replaced {
            node.replaced = true;
            self.converge_all(changes);
        }
        Ok(Reply::Done)
    }

    pub(super) fn forget(&mut self, id: NodeId, changes: &mut Changes) -> Result<Reply, Refusal> {
        let node = self.nodes.get(&id).ok_or(Refusal::NoSuchNode(id))?;
        if node.is_live() {
            return Err(Refusal::NodeIsUp(id));
        }
        let only = |queue: &QueueId| {
            self.queues.get(queue).is_some_and(|record| record.in_sync().eq([id]))
        };
        let queues = self.queues_on(id);
        let n_queues = queues.iter().filter(|queue| only(queue)).count();
        if n_queues > 0 {
            return Err(Refusal::OnlyCopies { node: id, n_queues });
        }
        for queue in queues {
            self.change(queue, changes, |record, _| {
                record.replicas.retain(|replica| replica.node != id);
            });
        }
        self.nodes.remove(&id);
        changes.notices.push(Notice::NodeForgotten(id));
        self.converge_all(changes);
        Ok(Reply::Done)
    }

    /// A node in its present start.
    fn present(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
    ) -> Result<&mut NodeRecord, Refusal> {
        let node = self.nodes.get_mut(&id).ok_or(Refusal::NoSuchNode(id))?;
        if node.incarnation != incarnation {
            return Err(Refusal::OldIncarnation(id));
        }
        Ok(node)
    }

    /// Queues that have a copy on a node.
    pub(super) fn queues_on(&self, id: NodeId) -> Vec<QueueId> {
        let has = |(queue, record): (QueueId, &super::QueueRecord)| {
            record.replica(id).is_some().then_some(queue)
        };
        self.queues().filter_map(has).collect()
    }
}
