//! The copies of queues on this node. A queue that other nodes have copies of has a [`Copy`] beside it: the log that its
//! leader sends to its mirrors. What the log wants done is carried out here, under the queue's lock, so that all copies
//! see everything in one order.
//!
//! ```text
//!  leader:  queue ──ops──▶ log ──▶ group commit          mirror:  frames ──▶ log ──▶ group commit
//!                           │                                                  │
//!                           └──▶ frames to mirrors                 committed ops ──▶ queue, which is passive
//! ```
//!
//! *Invariant:* the lock of a copy is taken under that of its queue, and frames are sent under both.

mod copy;
mod parts;
mod records;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use leveret_cluster::replication::wire::Frame;
use leveret_cluster::replication::{
    self, ClusterCommand, Entry, Fatal, Happened, Message, NodeId, Payload, Ticket,
};
use leveret_engine::queue::Queue;
use leveret_engine::queue::ops::encode::decode_ops;
use leveret_engine::queue::ops::{Op, OpIndex};
use leveret_engine::{Effects, QueueId, Timestamp};
use parking_lot::Mutex;

use crate::effects::Scope;
use crate::node::Node;
use crate::queues::QueueCell;

pub(crate) use copy::CopyPlace;
pub use parts::CopiesError;

/// What concerns all copies of this node.
#[derive(Default)]
pub(crate) struct Replicas {
    /// Until when this node may deliver from queues with other copies (rule R14).
    lease_until: AtomicU64,
    /// The number of the next group to be written.
    next_group: AtomicU64,
    /// Queues that are to be made again from the store, once a group is written.
    again: Mutex<HashMap<QueueId, (Arc<QueueCell>, u64)>>,
    /// Queues of which parts are wanted.
    parts: Mutex<Vec<Arc<QueueCell>>>,
    /// Why this node must not go on.
    fatal: Mutex<Option<Fatal>>,
}

/// The ops of an entry; a form that is not known ends them.
pub(crate) fn ops_of(entry: &Entry) -> impl Iterator<Item = (OpIndex, Op)> + '_ {
    let bytes: &[u8] = match &entry.payload {
        Payload::Op(op) => &op.bytes,
        Payload::EpochStart | Payload::SessionEnd(_) => &[],
    };
    decode_ops(bytes).map_while(|op| {
        op.inspect_err(|error| tracing::error!(%error, "an op of a copy cannot be read")).ok()
    })
}

impl Replicas {
    /// A group has been written, so that the store shows it.
    pub(crate) fn group_written(&self, number: u64) {
        self.next_group.fetch_max(number + 1, Ordering::Release);
    }

    fn lease_until(&self) -> Timestamp {
        Timestamp(self.lease_until.load(Ordering::Relaxed))
    }
}

impl Node {
    /// This node may deliver from queues with other copies until then: a heartbeat was answered.
    pub fn set_lease(&self, until: Timestamp, now: Timestamp) {
        let before = self.replicas.lease_until.swap(until.0, Ordering::Relaxed);
        if before > now.0 {
            return;
        }
        for cell in self.copied() {
            let mut scope = Scope::new(now);
            self.with_copy(&cell, &mut scope, |_, _, _| {});
            self.finish(&mut scope);
        }
    }

    /// The queues with a copy here, in one order.
    fn copied(&self) -> Vec<Arc<QueueCell>> {
        let mut cells = self.queues.all();
        cells.retain(|cell| cell.copy.is_here());
        cells.sort_unstable_by_key(|cell| cell.id);
        cells
    }

    /// What copies on another node tell those on this one.
    pub(crate) fn copies(&self, _from: NodeId, messages: Vec<Message>, now: Timestamp) {
        let mut scope = Scope::new(now);
        for message in messages {
            // One that is not here, or not any more: its leader asks again.
            if let Some(cell) = self.queues.get(message.queue()) {
                self.with_copy(&cell, &mut scope, |replica, now, fx| {
                    replica.receive(message, now, fx);
                });
            }
        }
        self.finish(&mut scope);
    }

    /// The connection to a node is new: what was sent over the one before may be lost.
    pub(crate) fn copies_reconnected(&self, node: NodeId, now: Timestamp) {
        let mut scope = Scope::new(now);
        for cell in self.copied() {
            self.with_copy(&cell, &mut scope, |replica, now, fx| {
                replica.reconnected(node, now, fx);
            });
        }
        self.finish(&mut scope);
    }

    /// What a copy has written is on disk.
    pub(crate) fn copy_written(&self, cell: &Arc<QueueCell>, upto: Ticket, scope: &mut Scope<'_>) {
        self.with_copy(cell, scope, |replica, now, fx| replica.written(upto, now, fx));
    }

    /// Looks after a copy whose time has come.
    pub(crate) fn tick_copy(&self, cell: &Arc<QueueCell>, scope: &mut Scope<'_>) {
        self.with_copy(cell, scope, |replica, now, fx| replica.tick(now, fx));
    }

    /// Lets the copy of a queue work, if it is here, and does what it wants done.
    pub(crate) fn with_copy(
        &self,
        cell: &Arc<QueueCell>,
        scope: &mut Scope<'_>,
        work: impl FnOnce(&mut replication::Replica, Timestamp, &mut replication::Effects),
    ) {
        if !cell.copy.is_here() {
            return;
        }
        let now = scope.now;
        self.with_queue(cell, scope, |queue, fx| {
            let mut place = cell.copy.lock();
            let Some(copy) = place.as_mut() else { return };
            let Some(replica) = copy.replica_mut() else { return };
            let mut wanted = replication::Effects::default();
            work(replica, now, &mut wanted);
            self.do_for_copy(cell, copy, queue, wanted, now, fx);
            if fx.ops.is_empty() && copy.is_alone_and_done() {
                self.end_copy(cell, &mut place, queue, now, fx);
            }
        });
    }

    /// Takes the ops that a queue has emitted into its log. The caller holds the queue's lock. Says whether the open group
    /// is held.
    pub(crate) fn log_ops(
        &self,
        cell: &Arc<QueueCell>,
        queue: &mut Queue,
        now: Timestamp,
        fx: &mut Effects,
    ) -> bool {
        let mut place = cell.copy.lock();
        let Some(copy) = place.as_mut() else {
            // It has just been given up.
            fx.ops.clear();
            return false;
        };
        copy.hold = !fx.dead_letters.is_empty();
        // What becomes visible at once may let the queue emit more.
        while !fx.ops.is_empty() {
            let mut wanted = replication::Effects::default();
            for logged in fx.ops.drain(..) {
                copy.append(&logged, now, &mut wanted);
            }
            self.do_for_copy(cell, copy, queue, wanted, now, fx);
        }
        let held = std::mem::take(&mut copy.held);
        copy.hold = false;
        if copy.is_alone_and_done() {
            self.end_copy(cell, &mut place, queue, now, fx);
        }
        held
    }

    /// Does what a copy wants done.
    fn do_for_copy(
        &self,
        cell: &Arc<QueueCell>,
        copy: &mut copy::Copy,
        queue: &mut Queue,
        wanted: replication::Effects,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let replication::Effects { writes, sends, alterations, supplies, happened, fatal } = wanted;
        if let Some(fatal) = fatal {
            self.replicas.fatal.lock().get_or_insert(fatal);
            return self.journal.want();
        }
        let kept = copy.kept(writes, &happened);
        let again = copy.made_again_for(&kept);
        if !kept.is_empty() {
            let hold = std::mem::take(&mut copy.hold);
            copy.held |= hold;
            let group = self.journal.keep(cell, kept, copy.written_upto(), hold);
            if again {
                cell.copy.count_making();
                self.replicas.again.lock().insert(cell.id, (Arc::clone(cell), group));
                self.journal.want();
            }
        }
        let committed = happened.iter().any(|it| matches!(it, Happened::Committed(_)));
        for happened in happened {
            copy.note(queue, happened, now, fx);
        }
        copy.deliver(queue, self.replicas.lease_until(), now, fx);
        if committed && copy.waits_for_commit() {
            self.journal.want_checkpoints();
        }
        self.send_copies(sends);
        for alteration in alterations {
            // The record tells whether it was done; until then it is asked for again.
            self.decide(ClusterCommand::Alter(alteration), now, Box::new(|_| {}));
        }
        if !supplies.is_empty() {
            copy.want_parts(supplies);
            self.replicas.parts.lock().push(Arc::clone(cell));
            self.journal.want();
        }
        for wanted in std::mem::take(&mut copy.later) {
            self.do_for_copy(cell, copy, queue, wanted, now, fx);
        }
    }

    fn send_copies(&self, sends: Vec<(NodeId, Message)>) {
        let mut frames: Vec<(NodeId, Vec<Message>)> = Vec::new();
        for (to, message) in sends {
            match frames.iter_mut().find(|(node, _)| *node == to) {
                Some((_, messages)) => messages.push(message),
                None => frames.push((to, vec![message])),
            }
        }
        for (to, messages) in frames {
            self.send_frame(to, Frame::Copies(messages));
        }
    }
}
