//! The `leveret` program: sockets, threads, time and configuration for the parts that have none of
//! these. No rule of the broker is here.
//!
//! ```text
//!  main ─▶ cli ─▶ config ─▶ server ─┬─▶ listener ─▶ connection_task   one task per client
//!                                   ├─▶ http ─▶ management's routers
//!                                   └─▶ timers: deadlines of queues, alarms
//! ```
//!
//! Start reading at [`server::Server::start`].

#![forbid(unsafe_code)]

pub mod alarms;
mod backup;
mod banner;
mod cli;
pub mod clock;
mod cluster;
pub mod config;
mod config_commands;
pub mod connection_task;
mod control;
mod ctl;
mod data_commands;
pub mod data_dir;
mod door;
pub mod http;
mod inside;
pub mod listener;
pub mod logging;
mod migrate;
#[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
mod perf;
mod process_view;
mod program;
pub mod resources;
pub mod server;
pub mod signals;
mod socket;
mod storage;
mod timers;
pub mod tls;
mod top;

pub use program::run;
