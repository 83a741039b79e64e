//! leveret-cluster.
