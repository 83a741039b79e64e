//! The replication of queues under test: rules one by one, a model that is searched, and a simulator.

mod metadata;
mod model;
mod replicas;
mod simulation;
pub(super) mod support;
