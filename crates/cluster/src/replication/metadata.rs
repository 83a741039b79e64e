//! What the nodes of a cluster agree on besides the topology: the nodes themselves, and for every durable queue its
//! leader, its epoch, its copies and which of them are in sync. Deterministic: the same commands in the same order give
//! the same state.
//!
//! It stands beside the [`Topology`](leveret_engine::Topology) and not in it, since the engine knows nothing of nodes: one
//! agreed command goes to one of the two, and what a command of the topology changed of queues is told here
//! ([`Metadata::follow`]) before anything else is applied. Everything that makes a change valid is looked at when it is
//! applied, whatever was looked at when it was proposed.
//!
//! A node that is alone has no nodes in here and no records: it leads all its queues.

mod command;
mod elections;
mod nodes;
mod records;
mod replicas;

use super::bugs::Bugs;
use super::ids::{Incarnation, NodeId, ReplicaId};
use super::placement::Placement;
use leveret_engine::command::Change;
use leveret_engine::{QueueId, QueueMeta, Topology};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use command::{Changes, ClusterCommand, Notice, Refusal, Reply};
pub use records::{
    Handover, LeaderRef, NodeRecord, NodeRole, NodeState, QueueRecord, ReplicaRecord, ReplicaRole,
    SyncMode,
};

/// Nodes of a cluster, at most. Every node sends to every other one, and placement looks at all of them.
pub const NODES_MAX: usize = 64;

/// Copies of one queue, at most: each confirm waits for all of them.
pub const REPLICAS_MAX: usize = 16;

/// The agreed state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    nodes: BTreeMap<NodeId, NodeRecord>,
    queues: BTreeMap<QueueId, QueueRecord>,
    last_node: NodeId,
    last_incarnation: Incarnation,
    last_replica: ReplicaId,
    #[serde(skip)]
    bugs: Bugs,
}

impl Metadata {
    #[cfg(test)]
    pub(super) fn set_bugs(&mut self, bugs: Bugs) {
        self.bugs = bugs;
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// Whether a node was here and is no more.
    #[must_use]
    pub fn is_forgotten(&self, id: NodeId) -> bool {
        id <= self.last_node && !self.nodes.contains_key(&id)
    }

    /// A node by its name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<(NodeId, &NodeRecord)> {
        self.nodes().find(|(_, node)| &*node.name == name)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// The record of a queue; none if the node is alone or the queue is nobody else's business.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<&QueueRecord> {
        self.queues.get(&id)
    }

    /// The records of all queues.
    pub fn queues(&self) -> impl Iterator<Item = (QueueId, &QueueRecord)> {
        self.queues.iter().map(|(id, queue)| (*id, queue))
    }

    /// Whether a node is there and heard of.
    #[must_use]
    pub fn is_live(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(NodeRecord::is_live)
    }

    /// Applies an agreed command. What it changed is added to `changes`.
    ///
    /// # Errors
    /// [`Refusal`] when it does not fit what the commands before it have made; then nothing has changed.
    pub fn apply(
        &mut self,
        command: &ClusterCommand,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        use ClusterCommand as C;
        match command {
            C::AddNode { name, addresses, role } => self.add_node(name, addresses, *role, changes),
            C::Register { node, store, durable } => self.register(*node, *store, *durable, changes),
            C::NoteDurable { node, incarnation, durable } => {
                self.note_durable(*node, *incarnation, *durable)
            }
            C::Fence { node, incarnation, lease_over } => {
                let handover = if *lease_over { Handover::Settled } else { Handover::LeaseMayRun };
                self.fence(*node, *incarnation, handover, changes)
            }
            C::Unfence { node, incarnation } => self.unfence(*node, *incarnation, changes),
            C::Drain { node } => self.drain(*node, changes),
            C::Replace { node } => self.replace(*node, changes),
            C::Forget { node } => self.forget(*node, changes),
            C::Alter(alteration) => self.alter(alteration, changes),
            C::Transfer { queue, to, epoch, stopped } => {
                let handover = if *stopped { Handover::Settled } else { Handover::LeaseMayRun };
                self.transfer(*queue, *to, *epoch, handover, changes)
            }
            C::SetSync { queue, mode } => self.set_sync(*queue, *mode, changes),
            C::AddReplica { queue, node } => self.add_replica(*queue, *node, changes),
            C::DropReplica { queue, node } => self.drop_replica(*queue, *node, changes),
            C::PromoteStale { queue, node } => self.promote_stale(*queue, *node, changes),
        }
    }

    /// Applies an agreed command where the topology is at hand: with the first node that registers, the queues that were
    /// there before there was a cluster get their records.
    ///
    /// # Errors
    /// As [`Metadata::apply`].
    pub fn decide(
        &mut self,
        command: &ClusterCommand,
        topology: &Topology,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let reply = self.apply(command, changes)?;
        if let ClusterCommand::Register { node, .. } = command {
            let vhosts = topology.vhosts();
            let mut queues: Vec<_> = vhosts.flat_map(|vhost| vhost.queues()).collect();
            queues.sort_by_key(|queue| queue.id);
            queues.iter().for_each(|queue| self.queue_added(queue, *node, changes));
        }
        Ok(reply)
    }

    /// Follows what a command of the topology changed: a new queue gets its copies, one under another policy gets others,
    /// one that is gone has none. `from` is the node on which the command was given.
    pub fn follow(&mut self, of: &[Change], from: NodeId, changes: &mut Changes) {
        if self.nodes.is_empty() {
            return;
        }
        for change in of {
            match change {
                Change::QueueAdded(queue) => self.queue_added(queue, from, changes),
                Change::QueueChanged(queue) => self.queue_changed(queue, changes),
                Change::QueueRemoved(queue) => {
                    if let Some(record) = self.queues.remove(&queue.id) {
                        self.count(&record, -1);
                        changes.touch(queue.id);
                    }
                }
                _ => {}
            }
        }
    }

    /// Makes a record for a queue that has none: for one that is new, or that was there before its node had a cluster.
    pub fn queue_added(&mut self, queue: &QueueMeta, from: NodeId, changes: &mut Changes) {
        if !queue.durable || self.queues.contains_key(&queue.id) {
            return;
        }
        let placement = Placement::of(queue);
        let chosen = self.choose_first(queue.id, &placement, from);
        let Some((first, _)) = chosen.split_first() else { return };
        let leader = self.leader_ref(*first);
        let replicas = chosen.iter().map(|node| self.first_replica(*node)).collect();
        let mut record = QueueRecord::new(leader, replicas, placement);
        record.recount_majority();
        self.count(&record, 1);
        self.queues.insert(queue.id, record);
        changes.touch(queue.id);
    }

    fn queue_changed(&mut self, queue: &QueueMeta, changes: &mut Changes) {
        let placement = Placement::of(queue);
        if self.queues.get(&queue.id).is_some_and(|record| record.placement != placement) {
            self.change(queue.id, changes, |record, _| record.placement = placement);
            self.converge(queue.id, changes);
        }
    }

    fn next_replica(&mut self) -> ReplicaId {
        self.last_replica = self.last_replica.next();
        self.last_replica
    }

    /// The one door through which a record changes: the counts of nodes follow, and `cfg` grows.
    fn change<R>(
        &mut self,
        queue: QueueId,
        changes: &mut Changes,
        work: impl FnOnce(&mut QueueRecord, &mut Self) -> R,
    ) -> Option<R> {
        let mut record = self.queues.remove(&queue)?;
        let before = record.clone();
        let out = work(&mut record, self);
        if record != before {
            record.cfg = before.cfg.next();
            record.recount_majority();
            self.count(&before, -1);
            self.count(&record, 1);
            changes.note_difference(queue, &before, &record);
        }
        self.queues.insert(queue, record);
        Some(out)
    }

    /// Makes everything outdated that was asked for so far.
    fn touch(&mut self, queue: QueueId, changes: &mut Changes) {
        if let Some(record) = self.queues.get_mut(&queue) {
            record.cfg = record.cfg.next();
            changes.touch(queue);
        }
    }

    /// Counts the copies and leaderships of a record in, or out again.
    fn count(&mut self, record: &QueueRecord, by: i64) {
        for replica in &record.replicas {
            if let Some(node) = self.nodes.get_mut(&replica.node) {
                node.n_replicas = node.n_replicas.saturating_add_signed(by);
            }
        }
        if let Some(node) = record.leader.and_then(|leader| self.nodes.get_mut(&leader.node)) {
            node.n_leaders = node.n_leaders.saturating_add_signed(by);
        }
    }
}
