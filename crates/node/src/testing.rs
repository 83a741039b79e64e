//! Several whole nodes in one process, for tests: memory stores that can crash, an agreement that is one list, a network
//! that delays and cuts, and virtual time. All of it follows from one seed.

mod agreement;
mod clients;
mod network;
mod world;

pub(crate) use clients::{Publisher, drain, get};
pub(crate) use world::World;
