//! What is agreed on of queues, as their copies on this node act on it: a copy begins, is given up, or is the only one again.

use std::sync::Arc;

use leveret_cluster::replication::stored::{FoundCopy, Kept};
use leveret_cluster::replication::{
    self, Changes, Incarnation, Position, QueueRecord, Recovered, Replica, ReplicaRecord,
};
use leveret_engine::queue::Queue;
use leveret_engine::queue::ops::OpIndex;
use leveret_engine::queue::recovery::Recovery;
use leveret_engine::{Effects, QueueId, Timestamp};
use parking_lot::MutexGuard;

use super::copy::Copy;
use crate::effects::Scope;
use crate::journal::CopyWrite;
use crate::node::Node;
use crate::peers::Membership;
use crate::queues::{QueueCell, kept};

/// What is agreed on of one queue, as this node sees it.
struct Known {
    me: Membership,
    record: Arc<QueueRecord>,
    mine: Option<ReplicaRecord>,
    /// The start of this node that is agreed on.
    registered: Incarnation,
}

impl Node {
    /// Records of queues have changed.
    pub(crate) fn learn(&self, changes: &Changes, now: Timestamp) {
        for queue in &changes.touched {
            self.learn_of(*queue, now);
        }
    }

    /// The queues are as they were found on disk: what is agreed on of them is acted on.
    pub(crate) fn learn_all(&self, now: Timestamp) {
        if self.membership().is_none() {
            return;
        }
        let mut queues: Vec<_> = self.queues.all().iter().map(|cell| cell.id).collect();
        queues.sort_unstable();
        for queue in queues {
            self.learn_of(queue, now);
        }
    }

    fn learn_of(&self, queue: QueueId, now: Timestamp) {
        let (Some(cell), Some(known)) = (self.queues.get(queue), self.known(queue)) else { return };
        let mut scope = Scope::new(now);
        self.with_queue(&cell, &mut scope, |queue, fx| {
            self.follow_record(&cell, queue, &known, now, fx);
        });
        self.finish(&mut scope);
    }

    fn known(&self, queue: QueueId) -> Option<Known> {
        let me = self.membership()?;
        self.with_metadata(|metadata| {
            let record = metadata.queue(queue)?;
            let mine = record.replica(me.node).copied();
            let registered = metadata.node(me.node).map(|node| node.incarnation)?;
            Some(Known { me, record: Arc::new(record.clone()), mine, registered })
        })
    }

    fn follow_record(
        &self,
        cell: &Arc<QueueCell>,
        queue: &mut Queue,
        known: &Known,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let mut place = cell.copy.lock();
        let Some(mine) = known.mine else {
            return self.give_copy_up(cell, &mut place, queue, now, fx);
        };
        if place.is_none() && known.record.replicas.len() == 1 {
            // Nobody else has it: there is nothing that others would have to agree on.
            match mine.is_in_sync() {
                true => lead_alone(queue, now, fx),
                false => queue.stand_down(fx),
            }
            return;
        }
        if place.is_none() {
            *place = Some(Box::new(self.begin_copy(cell, queue, known, mine, now, fx)));
            cell.copy.note_here(true);
        }
        let Some(copy) = place.as_mut() else { return };
        copy.open(|found| self.new_replica(cell.id, known.me, found));
        let Some(replica) = copy.replica_mut() else { return };
        let mut wanted = replication::Effects::default();
        replica.learn(&known.record, known.registered, now, &mut wanted);
        self.do_for_copy(cell, copy, queue, wanted, now, fx);
        if fx.ops.is_empty() && copy.is_alone_and_done() {
            self.end_copy(cell, &mut place, queue, now, fx);
        }
    }

    fn new_replica(&self, queue: QueueId, me: Membership, recovered: Recovered) -> Replica {
        Replica::new(queue, me.node, me.incarnation, recovered)
    }

    /// The queue has other copies from now on: the log goes on behind what the queue has done so far, if this node had it,
    /// and begins if not.
    fn begin_copy(
        &self,
        cell: &Arc<QueueCell>,
        queue: &mut Queue,
        known: &Known,
        mine: ReplicaRecord,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Copy {
        let last = queue.last_op().unwrap_or_default();
        let base = Position { index: last, ..Position::default() };
        let (rid, lineage) = (mine.rid, known.record.lineage);
        let recovered = Recovered { rid, lineage, base, ..Recovered::default() };
        let copy = Copy::beginning(self.new_replica(cell.id, known.me, recovered), last);
        let begins = Kept::Begins { life: copy.life(), base };
        self.journal.keep(cell, vec![CopyWrite::Kept(begins)], copy.written_upto(), false);
        queue.set_copied(true, now, fx);
        if known.record.is_led_by(known.me.node) && queue.leads() {
            return copy.delivers_already();
        }
        queue.stand_down(fx);
        copy
    }

    /// No other node has a copy any more, and what the log says is done.
    pub(super) fn end_copy(
        &self,
        cell: &Arc<QueueCell>,
        place: &mut MutexGuard<'_, Option<Box<Copy>>>,
        queue: &mut Queue,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let Some(copy) = place.take() else { return };
        cell.copy.note_here(false);
        self.journal.keep(cell, vec![CopyWrite::Kept(Kept::Ends)], copy.written_upto(), false);
        queue.set_copied(false, now, fx);
        queue.may_deliver(true, now, fx);
    }

    /// This node has no copy of the queue any more, or never had: what is here goes.
    fn give_copy_up(
        &self,
        cell: &Arc<QueueCell>,
        place: &mut MutexGuard<'_, Option<Box<Copy>>>,
        queue: &mut Queue,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let had = place.take().is_some() || queue.last_op().is_some_and(|last| last > OpIndex(0));
        cell.copy.note_here(false);
        queue.stand_down(fx);
        if had {
            cell.copy.count_making();
            self.journal.give_up(cell);
            queue.begin_again(kept(cell.keep, OpIndex(1)), now, fx);
        }
    }

    /// A copy as it was found on disk. Says how many messages its queue has.
    pub(crate) fn copy_found(
        &self,
        cell: &Arc<QueueCell>,
        recovery: Recovery,
        (found, applied): (FoundCopy, OpIndex),
        scope: &mut Scope<'_>,
    ) -> u64 {
        let now = scope.now;
        self.with_queue(cell, scope, |queue, fx| {
            *cell.copy.lock() = Some(Box::new(Copy::found(found, applied)));
            cell.copy.note_here(true);
            queue.stand_down(fx);
            refill(cell, queue, recovery, applied, now, fx);
            queue.counts().ready
        })
    }
}

/// Fills an empty queue that does not lead with what the store has of it.
pub(super) fn refill(
    cell: &QueueCell,
    queue: &mut Queue,
    recovery: Recovery,
    applied: OpIndex,
    now: Timestamp,
    fx: &mut Effects,
) {
    queue.recover(recovery, kept(cell.keep, OpIndex(applied.0 + 1)), now, fx);
    queue.set_copied(true, now, fx);
}

fn lead_alone(queue: &mut Queue, now: Timestamp, fx: &mut Effects) {
    if !queue.leads() {
        let last = queue.last_op().unwrap_or_default();
        queue.lead(last, now, fx);
        queue.may_deliver(true, now, fx);
    }
}
