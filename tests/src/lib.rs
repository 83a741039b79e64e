//! The harness of the black-box tests: a broker in a process of its own, an AMQP client that can be as rude
//! as a test needs, and waiting with a limit. It knows the broker only by its binary and its sockets.
//!
//! The tests run the binary `leveret` that lies beside them in the target folder (or the one that
//! `LEVERET_BIN` names); it is not rebuilt by building the tests:
//!
//! ```text
//! cargo build -p leveret-server --bin leveret && cargo test -p leveret-tests
//! ```
//!
//! With `LEVERET_TEST_AMQP=HOST:PORT` (and `LEVERET_TEST_MANAGEMENT=HOST:PORT`, `LEVERET_TEST_PID=PID` of a
//! process on this machine whose memory is measured) the same tests run against a broker that is there
//! already, which may be RabbitMQ. Tests that need a configuration or a process of their own then do nothing.
//!
//! What surprises a test ends it: the functions here panic, and say what they waited for.

#![forbid(unsafe_code)]

mod broker;
mod bystander;
mod call;
mod client;
mod clock;
pub mod differential;
mod folder;
pub mod http;
mod management;
mod memory;
mod ports;
pub mod power;
pub mod proof;
mod request;
pub mod series;
mod stream;
mod target;
mod victim;

pub use broker::{Broker, Ended, Options, allow_descriptors, leveret};
pub use bystander::Bystander;
pub use call::Call;
pub use client::{Client, Closed, Event, Login, Message, Outgoing, arguments, text};
pub use clock::{Deadline, PATIENCE, Stopwatch, eventually, pause};
pub use folder::Folder;
pub use management::Management;
pub use memory::Memory;
pub use ports::free_address;
pub use target::Target;
pub use victim::Victim;

pub use leveret_codec as codec;
pub use leveret_codec::amqp::{
    AMQPClass, basic, channel, confirm, connection, exchange, queue, tx,
};
pub use leveret_codec::amqp_types::{AMQPValue, FieldTable};
