//! The copies of a queue: changes that leaders and operators ask for, and the way to what a policy wants.

use super::{
    Changes, Handover, Metadata, NodeRole, QueueRecord, REPLICAS_MAX, Refusal, ReplicaRecord,
    ReplicaRole, Reply, SyncMode,
};
use crate::replication::bugs::Bug;
use crate::replication::effects::Alteration;
use crate::replication::ids::{Epoch, NodeId};
use leveret_engine::QueueId;

impl Metadata {
    /// A copy of a queue that has no message yet.
    pub(super) fn first_replica(&mut self, node: NodeId) -> ReplicaRecord {
        let role = if self.is_live(node) {
            ReplicaRole::InSync
        } else {
            ReplicaRole::Learner(SyncMode::Copy)
        };
        ReplicaRecord { node, rid: self.next_replica(), role, member: false }
    }

    fn record(&self, queue: QueueId) -> Result<&QueueRecord, Refusal> {
        self.queues.get(&queue).ok_or(Refusal::NoSuchQueue(queue))
    }

    /// Rule R11: it counts only for what its proposer knew.
    pub(super) fn alter(
        &mut self,
        wanted: &Alteration,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let Alteration { queue, node, .. } = *wanted;
        let record = self.record(queue)?;
        let leads = record.leader.is_some_and(|leader| {
            leader.node == wanted.leader && leader.incarnation == wanted.incarnation
        });
        if !leads || record.epoch != wanted.epoch || record.cfg != wanted.cfg {
            return Err(Refusal::Outdated(queue));
        }
        let replica = record.replica(node).ok_or(Refusal::NoCopy { queue, node })?;
        if !wanted.in_sync {
            if record.is_led_by(node) {
                return Err(Refusal::LeadsQueue { queue, node });
            }
            self.change(queue, changes, |record, _| record.lose_sync(node));
        } else {
            let as_reported = replica.rid == wanted.rid
                && self.is_live(node)
                && self
                    .nodes
                    .get(&node)
                    .is_some_and(|it| it.incarnation == wanted.node_incarnation);
            let unchecked =
                self.bugs.has(Bug::AddsWithoutCheck) || self.bugs.has(Bug::JoinsUnconditionally);
            if !as_reported && !unchecked {
                // The leader counts the copy until it learns that it need not. The same request must not come true later,
                // so the record moves on.
                self.touch(queue, changes);
                return Ok(Reply::Declined);
            }
            self.change(queue, changes, |record, _| {
                if let Some(replica) = record.replica_mut(node) {
                    replica.role = ReplicaRole::InSync;
                }
            });
        }
        self.converge(queue, changes);
        Ok(Reply::Done)
    }

    pub(super) fn transfer(
        &mut self,
        queue: QueueId,
        to: NodeId,
        epoch: Epoch,
        handover: Handover,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let record = self.record(queue)?;
        if record.epoch != epoch {
            return Err(Refusal::Outdated(queue));
        }
        if !record.is_in_sync(to) || !self.is_live(to) {
            return Err(Refusal::CannotLead { queue, node: to });
        }
        if !record.is_led_by(to) {
            self.change(queue, changes, |record, this| this.promote(record, to, handover));
        }
        Ok(Reply::Done)
    }

    pub(super) fn set_sync(
        &mut self,
        queue: QueueId,
        mode: SyncMode,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        self.record(queue)?;
        self.change(queue, changes, |record, _| {
            let learners = record.replicas.iter_mut().filter(|replica| !replica.is_in_sync());
            learners.for_each(|replica| replica.role = ReplicaRole::Learner(mode));
        });
        Ok(Reply::Done)
    }

    pub(super) fn add_replica(
        &mut self,
        queue: QueueId,
        node: NodeId,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let record = self.record(queue)?;
        if record.replica(node).is_some() {
            return Err(Refusal::HasCopy { queue, node });
        }
        if record.replicas.len() >= REPLICAS_MAX {
            return Err(Refusal::TooManyReplicas(REPLICAS_MAX));
        }
        match self.nodes.get(&node) {
            None => return Err(Refusal::NoSuchNode(node)),
            Some(it) if it.role == NodeRole::Witness => return Err(Refusal::IsWitness(node)),
            Some(_) => {}
        }
        self.change(queue, changes, |record, this| this.add_learner(record, node));
        Ok(Reply::Done)
    }

    pub(super) fn drop_replica(
        &mut self,
        queue: QueueId,
        node: NodeId,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let record = self.record(queue)?;
        if record.is_led_by(node) {
            return Err(Refusal::LeadsQueue { queue, node });
        }
        if record.replica(node).is_none() {
            return Err(Refusal::NoCopy { queue, node });
        }
        if record.in_sync().eq([node]) {
            return Err(Refusal::OnlyCopies { node, n_queues: 1 });
        }
        self.change(queue, changes, |record, _| {
            record.replicas.retain(|replica| replica.node != node);
        });
        Ok(Reply::Done)
    }

    pub(super) fn promote_stale(
        &mut self,
        queue: QueueId,
        node: NodeId,
        changes: &mut Changes,
    ) -> Result<Reply, Refusal> {
        let record = self.record(queue)?;
        if record.leader.is_some() || self.candidate(record, None).is_some() {
            return Err(Refusal::HasLeader(queue));
        }
        if record.replica(node).is_none() || !self.is_live(node) {
            return Err(Refusal::CannotLead { queue, node });
        }
        self.change(queue, changes, |record, this| {
            this.promote_unclean(record, node, Handover::LeaseMayRun);
        });
        Ok(Reply::Done)
    }

    fn add_learner(&mut self, record: &mut QueueRecord, node: NodeId) {
        let rid = self.next_replica();
        let role = ReplicaRole::Learner(record.placement.sync);
        record.replicas.push(ReplicaRecord { node, rid, role, member: false });
    }

    pub(super) fn converge_all(&mut self, changes: &mut Changes) {
        let queues: Vec<_> = self.queues.keys().copied().collect();
        for queue in queues {
            self.converge(queue, changes);
        }
    }

    /// Goes as far towards what the policy wants as is safe now: first copies are added; one that is not wanted is dropped
    /// when all that are wanted are in sync, and a leader that is not wanted hands over before that.
    pub(super) fn converge(&mut self, queue: QueueId, changes: &mut Changes) {
        let Some(record) = self.queues.get(&queue) else { return };
        let Some(leader) = record.leader else { return };
        let wanted = self.wanted(record);
        self.change(queue, changes, |record, this| {
            for node in &wanted {
                if record.replica(*node).is_none() && record.replicas.len() < REPLICAS_MAX {
                    this.add_learner(record, *node);
                }
            }
            let ready = |node: &&NodeId| record.is_in_sync(**node) && this.is_live(**node);
            if !wanted.contains(&leader.node)
                && let Some(to) = wanted.iter().find(ready).copied()
            {
                this.promote(record, to, Handover::LeaseMayRun);
            }
            let led_by = record.leader.map(|leader| leader.node);
            if wanted.iter().all(|node| record.is_in_sync(*node)) {
                record.replicas.retain(|replica| {
                    wanted.contains(&replica.node) || Some(replica.node) == led_by
                });
            }
        });
    }
}
