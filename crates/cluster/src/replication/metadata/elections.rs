//! Who leads a queue. Rule R12: a copy in sync on a node that is heard of, in the next epoch; the same change takes out
//! those that are not heard of, but never the last one.

use super::{
    Handover, LeaderRef, Metadata, NodeState, QueueRecord, ReplicaRecord, ReplicaRole, SyncMode,
};
use crate::replication::bugs::Bug;
use crate::replication::ids::{Incarnation, NodeId};
use crate::replication::placement::Promote;

impl Metadata {
    /// A node in its present start.
    pub(super) fn leader_ref(&self, node: NodeId) -> LeaderRef {
        let incarnation =
            self.nodes.get(&node).map_or_else(Incarnation::default, |node| node.incarnation);
        LeaderRef { node, incarnation }
    }

    /// The copy that is to lead: the oldest that is in sync and whose node stays; `last` and nodes that are about to stop
    /// only if there is no other.
    // rabbitmq: the oldest mirror is promoted
    pub(super) fn candidate(&self, record: &QueueRecord, last: Option<NodeId>) -> Option<NodeId> {
        let anybody = self.bugs.has(Bug::ElectsAnybody);
        let may = |replica: &&ReplicaRecord| {
            (replica.is_in_sync() || anybody) && self.is_live(replica.node)
        };
        let stays =
            |node: NodeId| self.nodes.get(&node).is_some_and(|node| node.state == NodeState::Up);
        let rank = |replica: &&ReplicaRecord| (Some(replica.node) == last, !stays(replica.node));
        // `min_by_key` takes the first of equals, and that is the oldest.
        record.replicas.iter().filter(may).min_by_key(rank).map(|replica| replica.node)
    }

    /// Makes a copy the leader.
    pub(super) fn promote(&self, record: &mut QueueRecord, to: NodeId, handover: Handover) {
        record.leader = Some(self.leader_ref(to));
        record.epoch = record.epoch.next();
        record.handover = handover;
        if let Some(replica) = record.replica_mut(to) {
            replica.role = ReplicaRole::InSync;
        }
    }

    /// Finds a leader, or says that there is none.
    pub(super) fn elect(&self, record: &mut QueueRecord, last: Option<NodeId>, handover: Handover) {
        match self.candidate(record, last) {
            Some(to) => self.promote(record, to, handover),
            None => record.leader = None,
        }
    }

    /// Goes on without a node.
    pub(super) fn take_out(
        &mut self,
        record: &mut QueueRecord,
        gone: NodeId,
        controlled: bool,
        handover: Handover,
    ) {
        let led = record.is_led_by(gone);
        if led {
            let others = self.candidate(record, Some(gone));
            let Some(to) = others.filter(|to| *to != gone) else {
                // Nobody else has everything: its copy stays the one that counts.
                record.leader = None;
                self.promote_by_policy(record, controlled, handover);
                return;
            };
            record.lose_sync(gone);
            self.promote(record, to, handover);
        } else if record.is_in_sync(gone) && record.in_sync().count() > 1 {
            record.lose_sync(gone);
        }
    }

    /// Makes a copy the leader that is not in sync, if the policy wants that rather than a queue that cannot be used.
    fn promote_by_policy(
        &mut self,
        record: &mut QueueRecord,
        controlled: bool,
        handover: Handover,
    ) {
        let rule =
            if controlled { record.placement.on_shutdown } else { record.placement.on_failure };
        if rule != Promote::Always {
            return;
        }
        let to =
            record.replicas.iter().map(|replica| replica.node).find(|node| self.is_live(*node));
        if let Some(to) = to {
            self.promote_unclean(record, to, handover);
        }
    }

    /// Rule R13: a new history begins. What the other copies have is set aside and not compared with it: they get new
    /// lives.
    pub(super) fn promote_unclean(
        &mut self,
        record: &mut QueueRecord,
        to: NodeId,
        handover: Handover,
    ) {
        record.lineage += 1;
        for replica in &mut record.replicas {
            if replica.node != to {
                replica.rid = self.next_replica();
                replica.role = ReplicaRole::Learner(SyncMode::Copy);
                replica.member = false;
            }
        }
        self.promote(record, to, handover);
    }
}
