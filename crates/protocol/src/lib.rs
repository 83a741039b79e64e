//! AMQP 0-9-1 connections and channels as state machines: bytes and events in, bytes and calls out.
//!
//! Nothing here reads a socket or a clock, draws a random number or starts a task. A server drives a
//! [`Connection`] with what its socket brought and what its node says, and writes its [`Output`].
//! Everything a connection needs from the rest of the broker it asks through [`Broker`].
//!
//! ```text
//!                    ┌ handshake ┐                    ┌ publish → routes ┐
//! bytes → Connection ┤  frames   ├→ Channel (methods) ┤ acks → unacked   ├→ Broker
//!                    └ heartbeat ┘                    └ consume, get, …  ┘
//! Broker → Event / Delivery → Channel → confirms, deliver → Output → bytes
//! ```
//!
//! Start reading at `connection.rs`, then `channel.rs`; `channel/publish.rs`, `channel/deliver.rs`
//! and `channel/acks.rs` are the hot path.

#![forbid(unsafe_code)]

mod broker;
mod channel;
mod config;
mod connection;
mod error;
mod handshake;
mod info;
pub mod limits;
mod output;
mod tag_runs;
#[cfg(feature = "testing")]
pub mod testing;

pub use broker::{Answer, Broker, Call, Counts, Declared, Event, Tap, TapEvent};
pub use channel::Put;
pub use config::{ConnectionConfig, Mechanism, Peer};
pub use connection::Connection;
pub use connection::shared::ConnectionEnd;
pub use info::{
    ChannelInfo, ConnectionCounters, ConnectionInfo, ConnectionState, ConsumerInfo, MessageCounters,
};
pub use output::Output;
