//! Scenarios of raw frames, played against a broker and compared with what RabbitMQ answered to the same
//! frames. A scenario is a text file under `tests/differential`; beside it lies RabbitMQ's answer as text.
//! Nothing here knows a rule of the broker: what is right is what was recorded.

mod answers;
mod catalogue;
mod conformance;
mod connection;
mod deeds;
mod event;
mod login;
mod mask;
mod play;
mod runner;
mod scenario;
mod stage;
mod step;
mod subjects;
mod text;
mod waits;
mod wire;

pub use answers::Version;
pub use conformance::{conformance, uncovered};
pub use runner::{Outcome, play_all, record_all, record_own};
pub use scenario::{Library, LoadError, Scenario};
