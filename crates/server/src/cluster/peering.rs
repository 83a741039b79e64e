//! The node, as the connections to other nodes know it.

use crate::clock::Clock;
use leveret_cluster::RaftConsensus;
use leveret_cluster::replication::wire::Frame;
use leveret_cluster::replication::{Incarnation, NodeId};
use leveret_cluster::transport::Frames;
use leveret_engine::Timestamp;
use leveret_node::Node;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// How often the node learns until when it may deliver: a small part of what a lease lasts.
const LEASE_EVERY: Duration = Duration::from_millis(100);

/// Tells the node until when it may deliver from replicated queues. Runs until it is dropped.
pub(crate) async fn lease(node: Arc<Node>, consensus: Arc<RaftConsensus>, clock: Arc<Clock>) {
    let mut told = Timestamp(0);
    loop {
        let until = consensus.lease_until();
        if until != told {
            told = until;
            node.set_lease(until, clock.now());
        }
        tokio::time::sleep(LEASE_EVERY).await;
    }
}

/// A node and the clock of the process.
pub(crate) struct Peering {
    pub(crate) node: Arc<Node>,
    pub(crate) clock: Arc<Clock>,
}

impl Frames for Peering {
    fn take(&self, waker: &Waker) -> Vec<(NodeId, Frame)> {
        self.node.take_frames(waker)
    }

    fn frame(&self, from: NodeId, frame: Frame) {
        self.node.frame(from, frame, self.clock.now());
    }

    fn up(&self, node: NodeId, incarnation: Incarnation) {
        self.node.peer_up(node, incarnation, self.clock.now());
    }

    fn down(&self, node: NodeId) {
        self.node.peer_down(node, self.clock.now());
    }
}
