//! This broker as a node of a cluster: what it remembers of that, how it begins, and what `leveret cluster` can ask of it.
//!
//! A broker becomes a node, or stops being one, by starting again within its process: what is to come is written into the
//! data directory first ([`folder`]), so that a crash in between changes nothing.

pub(crate) mod command;
mod folder;
mod peering;
pub(crate) mod routes;
pub(crate) mod start;

pub(crate) use peering::{Peering, lease};
