//! The door through which every durable change of topology goes, and its driver for a node that is alone.

use std::sync::Weak;

use leveret_engine::{BrokerError, Command, Outcome, Timestamp};

/// What a proposal came to.
pub type Proposed = Result<Outcome, BrokerError>;

/// Told of the outcome of a proposal that was not applied at once.
pub type Done = Box<dyn FnOnce(Proposed) + Send>;

/// The deterministic machine that commands change.
///
/// # Contract
/// The same commands in the same order lead to the same state on every node: `apply` reads no clock
/// and no randomness but its arguments, and it acts on what changed (queues created, consumers
/// cancelled) before it returns.
pub trait StateMachine: Send + Sync {
    /// Applies one command at the time that the proposer stamped on it.
    fn apply(&self, command: &Command, now: Timestamp) -> Proposed;
}

/// Agreement on the order of commands.
///
/// # Contract
/// - Commands are applied in one order, the same on every node.
/// - `Some(outcome)`: the command has been applied (or refused) already and `done` is dropped.
/// - `None`: `done` is called exactly once, later, from any thread, once the command is applied
///   here or is known never to be.
/// - It never blocks the calling thread.
pub trait MetaConsensus: Send + Sync {
    /// Proposes `command`, stamped with `now`.
    fn propose(&self, command: Command, now: Timestamp, done: Done) -> Option<Proposed>;
}

/// Agreement of a node with itself: every command is applied at once.
pub struct LocalConsensus {
    machine: Weak<dyn StateMachine>,
}

impl LocalConsensus {
    /// A driver for `machine`, which owns it (hence the weak reference).
    pub fn new(machine: Weak<dyn StateMachine>) -> Self {
        Self { machine }
    }
}

impl MetaConsensus for LocalConsensus {
    fn propose(&self, command: Command, now: Timestamp, _done: Done) -> Option<Proposed> {
        match self.machine.upgrade() {
            Some(machine) => Some(machine.apply(&command, now)),
            None => Some(Err(BrokerError::ShuttingDown)),
        }
    }
}
