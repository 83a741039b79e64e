//! The copies of queues on this node.

use leveret_cluster::replication::{Changes, Message, NodeId};
use leveret_engine::Timestamp;

use crate::node::Node;

impl Node {
    /// Records of queues have changed.
    pub(crate) fn learn(&self, _changes: &Changes, _now: Timestamp) {}

    /// What copies on another node tell those on this one.
    pub(crate) fn copies(&self, _from: NodeId, _messages: Vec<Message>, _now: Timestamp) {}
}
