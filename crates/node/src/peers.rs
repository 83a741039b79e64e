//! The other nodes, as this one knows them: what is to be sent to them, what they have sent, and who leads a queue.
//!
//! A node that is alone has no membership; nothing in here costs it more than a look at that.

use std::collections::BTreeMap;
use std::task::Waker;

use leveret_cluster::replication::wire::Frame;
use leveret_cluster::replication::{
    Changes, ClusterCommand, Incarnation, Metadata, NodeId, Refusal, Reply,
};
use leveret_engine::command::Change;
use leveret_engine::{QueueId, Timestamp, Topology};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::node::Node;

/// That a node is in a cluster: its number, and the start of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The node.
    pub node: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
}

/// Who leads a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// This node.
    Here,
    /// Another one.
    There(NodeId),
    /// Nobody, for now.
    Nobody,
}

/// What this node knows of the others.
pub(crate) struct Peers {
    membership: Option<Membership>,
    /// Nodes and copies as they were agreed on. Written with the topology locked, read without.
    metadata: RwLock<Metadata>,
    outbox: Mutex<Outbox>,
}

/// Frames that wait for whoever sends them.
#[derive(Default)]
struct Outbox {
    frames: Vec<(NodeId, Frame)>,
    waker: Option<Waker>,
    /// Nodes that are connected, in which start. What is for others is dropped: the protocols above send again.
    up: BTreeMap<NodeId, Incarnation>,
}

impl Peers {
    pub(crate) fn new(membership: Option<Membership>, metadata: Metadata) -> Self {
        Self { membership, metadata: RwLock::new(metadata), outbox: Mutex::default() }
    }

    /// Who this node is in its cluster; none if it is alone.
    pub(crate) fn membership(&self) -> Option<Membership> {
        self.membership
    }

    /// Nodes and copies as they were agreed on.
    pub(crate) fn metadata(&self) -> RwLockReadGuard<'_, Metadata> {
        self.metadata.read()
    }

    /// Follows what a command of the topology changed, with the topology locked.
    pub(crate) fn follow(&self, changed: &[Change], from: NodeId) -> Changes {
        let mut changes = Changes::default();
        self.metadata.write().follow(changed, from, &mut changes);
        changes
    }

    /// Puts other nodes and copies in the place of these: all records count as changed.
    pub(crate) fn replace(&self, by: &Metadata) -> Changes {
        let mut metadata = self.metadata.write();
        let both = metadata.queues().chain(by.queues()).map(|(queue, _)| queue);
        let mut touched: Vec<_> = both.collect();
        touched.sort_unstable();
        touched.dedup();
        metadata.clone_from(by);
        Changes { touched, ..Changes::default() }
    }

    /// Applies a change of nodes and copies, with the topology locked.
    pub(crate) fn decide(
        &self,
        command: &ClusterCommand,
        topology: &Topology,
    ) -> (Result<Reply, Refusal>, Changes) {
        let mut changes = Changes::default();
        let reply = self.metadata.write().decide(command, topology, &mut changes);
        (reply, changes)
    }
}

impl Node {
    /// Who this node is in its cluster; none if it is alone.
    pub fn membership(&self) -> Option<Membership> {
        self.peers.membership()
    }

    /// Shows nodes and copies as they were agreed on.
    pub fn with_metadata<R>(&self, look: impl FnOnce(&Metadata) -> R) -> R {
        look(&self.peers.metadata())
    }

    /// What is to be sent to other nodes, in order per node; `waker` is woken when there is more.
    pub fn take_frames(&self, waker: &Waker) -> Vec<(NodeId, Frame)> {
        let mut outbox = self.peers.outbox.lock();
        if !outbox.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            outbox.waker = Some(waker.clone());
        }
        std::mem::take(&mut outbox.frames)
    }

    /// A frame from a node that has proved who it is, in the order in which it was sent. Frames that are not for a node but
    /// for its agreement and its transport do not come here.
    pub fn frame(&self, from: NodeId, frame: Frame, now: Timestamp) {
        match frame {
            Frame::Copies(messages) => self.copies(from, messages, now),
            Frame::Alter(alteration) => {
                // The leader of the queue sees in the record whether it was done.
                self.decide(ClusterCommand::Alter(alteration), now, Box::new(|_| {}));
            }
            Frame::Ask(ask) => self.asked(from, ask, now),
            Frame::Tell(tell) => self.told(from, tell, now),
            Frame::Transient(told) => self.others_have(from, told, now),
            _ => {}
        }
    }

    /// A node is connected: frames reach it from now on.
    pub fn peer_up(&self, node: NodeId, incarnation: Incarnation, now: Timestamp) {
        self.peers.outbox.lock().up.insert(node, incarnation);
        self.copies_reconnected(node, now);
        self.link_up(node, incarnation, now);
    }

    /// The connection to a node has ended; frames that were sent may be lost.
    pub fn peer_down(&self, node: NodeId, now: Timestamp) {
        {
            let mut outbox = self.peers.outbox.lock();
            outbox.up.remove(&node);
            outbox.frames.retain(|(to, _)| *to != node);
        }
        self.link_down(node, now);
    }

    /// Sends a frame, if the node is connected. It may be lost all the same.
    pub(crate) fn send_frame(&self, to: NodeId, frame: Frame) {
        let waker = {
            let mut outbox = self.peers.outbox.lock();
            if !outbox.up.contains_key(&to) {
                return;
            }
            outbox.frames.push((to, frame));
            outbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Who leads a queue. Costs nothing on a node that is alone.
    #[inline]
    pub(crate) fn leader_of(&self, queue: QueueId) -> Leads {
        let Some(me) = self.peers.membership else { return Leads::Here };
        if queue.is_transient() {
            return self.home_of_transient(queue);
        }
        let metadata = self.peers.metadata();
        match metadata.queue(queue).and_then(|record| record.leader) {
            Some(leader) if leader.node != me.node => Leads::There(leader.node),
            Some(leader) if leader.incarnation == me.incarnation => Leads::Here,
            _ => Leads::Nobody,
        }
    }

    /// Records of queues have changed: whoever has a copy learns its record, whoever works with one led elsewhere finds
    /// its leader.
    pub(crate) fn records_changed(&self, changes: &Changes, now: Timestamp) {
        if self.peers.membership.is_none() || changes.touched.is_empty() {
            return;
        }
        self.leaders_change(changes, now);
        self.learn(changes, now);
        self.leaders_changed(changes, now);
    }
}

#[cfg(test)]
mod tests;
