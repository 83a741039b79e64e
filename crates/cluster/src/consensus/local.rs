//! Agreement of a node with itself, kept nowhere: for tests and simulations.

use std::sync::{Arc, OnceLock, Weak};

use leveret_engine::{BrokerError, Command, Timestamp};

use super::{
    Agreed, DecidedDone, Done, MetaConsensus, NotDecided, Proposed, Settled, StateMachine,
};
use crate::replication::{ClusterCommand, NodeId};

/// The number of a node that is alone.
const ME: NodeId = NodeId(1);

/// Every command is applied at once.
#[derive(Default)]
pub struct LocalConsensus {
    machine: OnceLock<Weak<dyn StateMachine>>,
}

impl LocalConsensus {
    fn machine(&self) -> Option<Arc<dyn StateMachine>> {
        self.machine.get().and_then(Weak::upgrade)
    }
}

impl MetaConsensus for LocalConsensus {
    fn attach(&self, machine: Weak<dyn StateMachine>) {
        // The first machine stays; a node attaches itself once.
        let _ = self.machine.set(machine);
    }

    fn propose(&self, command: Command, now: Timestamp, _done: Done) -> Option<Proposed> {
        let Some(machine) = self.machine() else { return Some(Err(BrokerError::ShuttingDown)) };
        let apply = |command: Command| {
            let offered = machine.offer(&command, now);
            offered.unwrap_or_else(|| machine.apply(&Agreed::Topology(command), ME, now).settled())
        };
        let Settled { outcome, mut next } = apply(command);
        while let Some(command) = next.pop() {
            next.extend(apply(command).next);
        }
        Some(outcome)
    }

    fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone) {
        let Some(machine) = self.machine() else {
            return done(Err(NotDecided::NotAgreed(BrokerError::ShuttingDown)));
        };
        done(machine.apply(&Agreed::Cluster(command), ME, now).decided());
    }
}
