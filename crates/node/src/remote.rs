//! Queues that are led by another node, as channels on this one work with them.

use leveret_cluster::replication::Changes;
use leveret_engine::Timestamp;

use crate::node::Node;

impl Node {
    /// Other nodes may lead these queues now.
    pub(crate) fn leaders_changed(&self, _changes: &Changes, _now: Timestamp) {}
}
