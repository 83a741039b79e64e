//! Agreement of a node with itself, kept nowhere: for tests and simulations.

use std::sync::{OnceLock, Weak};

use leveret_engine::{BrokerError, Command, Timestamp};

use super::{Done, MetaConsensus, Proposed, StateMachine};

/// Every command is applied at once.
#[derive(Default)]
pub struct LocalConsensus {
    machine: OnceLock<Weak<dyn StateMachine>>,
}

impl MetaConsensus for LocalConsensus {
    fn attach(&self, machine: Weak<dyn StateMachine>) {
        // The first machine stays; a node attaches itself once.
        let _ = self.machine.set(machine);
    }

    fn propose(&self, command: Command, now: Timestamp, _done: Done) -> Option<Proposed> {
        let Some(machine) = self.machine.get().and_then(Weak::upgrade) else {
            return Some(Err(BrokerError::ShuttingDown));
        };
        let apply = |command: &Command| {
            machine.offer(command, now).unwrap_or_else(|| machine.apply(command, now))
        };
        let settled = apply(&command);
        let mut next = settled.next;
        while let Some(command) = next.pop() {
            next.extend(apply(&command).next);
        }
        Some(settled.outcome)
    }
}
