//! The management HTTP API and the Prometheus endpoint, with RabbitMQ's paths and JSON, so that
//! tools, dashboards and client test suites need no change.
//!
//! This crate hands out routers and opens no socket. It reads the broker through `Registry` and
//! `NodeView` and changes it through `Propose`, and knows nothing else of it.
//!
//! ```text
//!  request ─▶ caller (who, from where, which level) ─▶ api/* ─▶ Registry, NodeView   read
//!                                                          └──▶ Propose               change
//!          ◀─ list (filter, sort, page, columns) ◀─ JSON ◀─────┘
//! ```
//!
//! Start reading at [`router`]; each file of `api` is one resource.

#![forbid(unsafe_code)]

mod api;
mod audit;
mod body;
mod caller;
mod counters;
mod error;
mod json;
mod list;
mod metrics;
mod page;
mod samples;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use samples::{ROUND_EVERY, Samples};

use axum::Router;
use leveret_engine::auth::SALT_BYTES;
use leveret_engine::view::{NodeView, Propose, Registry};
use std::net::SocketAddr;
use std::sync::Arc;

/// What the API works on.
#[derive(Clone)]
pub struct State {
    /// Reads the broker.
    pub registry: Arc<dyn Registry>,
    /// Tells about the process.
    pub node: Arc<dyn NodeView>,
    /// Changes the broker.
    pub propose: Arc<dyn Propose>,
    /// The last minutes of its counters, which the server adds to every [`ROUND_EVERY`].
    pub samples: Arc<Samples>,
    /// Bytes of the largest request body; definitions files are the largest.
    pub body_bytes_max: usize,
    /// Draws a random salt for the password of a user.
    pub salt: fn() -> [u8; SALT_BYTES],
}

/// Where a request comes from. The server puts it into the extensions of every request; without
/// it a request counts as coming from another machine.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// Over the network. Who it is, a user name and password tell.
    Network(SocketAddr),
    /// Over the socket in the data directory, which only the account that the broker runs in can open: that
    /// account could read and change everything in the directory anyway, so it may do all.
    Trusted,
}

impl Client {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Network(address) => address.ip().to_canonical().is_loopback(),
            Self::Trusted => true,
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Trusted => f.write_str("the data directory's socket"),
        }
    }
}

/// The management API, everything under `/api`, and the web page that asks it.
pub fn router(state: State) -> Router {
    api::router(Arc::new(state)).merge(page::router())
}

/// The Prometheus endpoint, by RabbitMQ at `/metrics`. It asks for no password, as RabbitMQ's.
pub fn metrics_router(state: State, path: &str) -> Router {
    metrics::router(Arc::new(state), path)
}

/// Takes in a definitions document, as RabbitMQ exports it. What is there already stays as it is.
///
/// # Errors
/// What is wrong with the document, in words for the person who wrote it.
pub async fn import_definitions(state: &State, document: &[u8]) -> Result<(), String> {
    api::import_definitions(&Arc::new(state.clone()), document).await
}
