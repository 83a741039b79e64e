//! leveret-node.
