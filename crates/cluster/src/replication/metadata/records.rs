//! What is agreed on of one node and of one queue.

use crate::replication::ids::{Cfg, Epoch, Incarnation, NodeId, ReplicaId, StoreMark};
use crate::replication::placement::Placement;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name, as RabbitMQ's tools show it; no other node has it.
    pub name: Arc<str>,
    /// Where the other nodes reach it, as `host:port`.
    pub addresses: Vec<Arc<str>>,
    /// What it does.
    pub role: NodeRole,
    /// The data directory it has registered with; none until it has.
    pub store: Option<StoreMark>,
    /// Its present start; 0 until it has registered.
    pub incarnation: Incarnation,
    /// How it is.
    pub state: NodeState,
    /// The last group commit that it was known to have on disk.
    pub durable: u64,
    /// Whether it has been away for so long that others are to take its place.
    pub replaced: bool,
    /// Copies of queues that are placed on it.
    pub n_replicas: u64,
    /// Queues that it leads.
    pub n_leaders: u64,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeRole {
    /// It has queues, and votes.
    #[default]
    Data,
    /// It votes and has no messages, so that two data nodes survive the loss of one.
    Witness,
}

/// How a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// It is not heard of, or has never registered. It takes part in nothing.
    #[default]
    Fenced,
    /// It is heard of.
    Up,
    /// It is heard of and about to stop: it is given no leadership.
    Draining,
    /// It has stopped as it was told to.
    Stopped,
}

impl NodeRecord {
    /// Whether it is heard of.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, NodeState::Up | NodeState::Draining)
    }
}

/// Who leads a queue: a node in one of its starts (rule R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaderRef {
    /// The node.
    pub node: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
}

/// What a new leader knows of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Handover {
    /// It surely delivers no more.
    #[default]
    Settled,
    /// It may still deliver until its lease is over (rule R14).
    LeaseMayRun,
}

/// How a mirror that lacks something comes by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum SyncMode {
    /// It is copied, beside the traffic.
    #[default]
    Copy,
    /// It gets only what is new, and is in sync when what is older has been consumed.
    // rabbitmq: ha-sync-mode manual
    Natural,
}

/// What a copy counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaRole {
    /// It has everything that is committed, and what is committed waits for it.
    InSync,
    /// It has not.
    Learner(SyncMode),
}

/// One copy of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// Where it is.
    pub node: NodeId,
    /// Its life.
    pub rid: ReplicaId,
    /// What it counts for.
    pub role: ReplicaRole,
    /// Whether it was in sync once, and counts for the majority of a quorum queue.
    pub member: bool,
}

impl ReplicaRecord {
    /// Whether it has everything that is committed.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.role == ReplicaRole::InSync
    }
}

/// What is agreed on of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueueRecord {
    /// The present reign, or the last one.
    pub epoch: Epoch,
    /// Who leads; nobody while no copy that may lead is there.
    pub leader: Option<LeaderRef>,
    /// Grows with every change of this record.
    pub cfg: Cfg,
    /// Its copies, the oldest first.
    pub replicas: Vec<ReplicaRecord>,
    /// How many copies have to be in sync for anything to be confirmed or delivered.
    pub min_in_sync: u32,
    /// Counts the times when a copy that was not in sync was made the leader (rule R13).
    pub lineage: u32,
    /// What the leader knows of the one before.
    pub handover: Handover,
    /// What policy and arguments ask for.
    pub placement: Placement,
}

impl QueueRecord {
    pub(super) fn new(
        leader: LeaderRef,
        replicas: Vec<ReplicaRecord>,
        placement: Placement,
    ) -> Self {
        Self {
            epoch: Epoch(1),
            leader: Some(leader),
            cfg: Cfg(1),
            replicas,
            min_in_sync: 1,
            lineage: 0,
            handover: Handover::Settled,
            placement,
        }
    }

    /// The copy on a node.
    #[must_use]
    pub fn replica(&self, node: NodeId) -> Option<&ReplicaRecord> {
        self.replicas.iter().find(|replica| replica.node == node)
    }

    pub(super) fn replica_mut(&mut self, node: NodeId) -> Option<&mut ReplicaRecord> {
        self.replicas.iter_mut().find(|replica| replica.node == node)
    }

    /// The nodes whose copies are in sync, the oldest first.
    pub fn in_sync(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.replicas.iter().filter(|replica| replica.is_in_sync()).map(|replica| replica.node)
    }

    /// Whether the copy on a node is in sync.
    #[must_use]
    pub fn is_in_sync(&self, node: NodeId) -> bool {
        self.in_sync().any(|other| other == node)
    }

    /// Whether a node leads.
    #[must_use]
    pub fn is_led_by(&self, node: NodeId) -> bool {
        self.leader.is_some_and(|leader| leader.node == node)
    }

    /// Whether every copy that had all messages has lost its disk: what is left may be promoted by hand.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.in_sync().next().is_none()
    }

    /// A copy no longer is in sync.
    pub(super) fn lose_sync(&mut self, node: NodeId) {
        let mode = self.placement.sync;
        if let Some(replica) = self.replica_mut(node) {
            replica.role = ReplicaRole::Learner(mode);
        }
    }

    /// A quorum queue wants a majority of those that ever were in sync; others are content with one.
    pub(super) fn recount_majority(&mut self) {
        for replica in &mut self.replicas {
            replica.member |= replica.is_in_sync();
        }
        let members = self.replicas.iter().filter(|replica| replica.member).count();
        let majority = u32::try_from(members / 2 + 1).unwrap_or(u32::MAX);
        self.min_in_sync = if self.placement.quorum { majority } else { 1 };
    }
}
