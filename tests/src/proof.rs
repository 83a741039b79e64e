//! The proof that what was confirmed survives: brokers under load that end in the middle of it, and a checker that reads
//! everything back and names what broke. A series of rounds shares a data folder and a seed, which reproduces its plan.
//! How a broker ends and what is done to its folder before the next start, each test says itself.

mod ledger;
mod load;
mod messages;
mod read_back;
mod series;

pub use ledger::{Ledger, QUEUES};
pub use messages::Id;
pub use series::{Round, Series, rounds, seeds};
