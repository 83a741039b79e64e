//! Agreement as one list that everybody learns in its order, each with its own delay.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use leveret_cluster::replication::{ClusterCommand, Metadata, NodeId, Refusal, Reply};
use leveret_cluster::{
    Agreed, AgreedState, Answer, DecidedDone, Done, MetaConsensus, NotDecided, Proposed,
    StateMachine,
};
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::limits::TopologyLimits;
use leveret_engine::topology::{Topology, TopologyConfig, default_commands};
use leveret_engine::{BrokerError, Command, Timestamp};
use parking_lot::Mutex;

/// Who is told of the outcome.
pub(super) enum Waiting {
    Topology(Done),
    Cluster(DecidedDone),
}

/// A change that somebody wants agreed on.
pub(super) struct Proposal {
    pub(super) agreed: Agreed,
    pub(super) from: NodeId,
    pub(super) at: Timestamp,
    pub(super) waiting: Option<Waiting>,
}

/// One agreed change.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) agreed: Agreed,
    pub(super) from: NodeId,
    pub(super) at: Timestamp,
}

/// The list, and the state after all of it.
pub(super) struct List {
    pub(super) items: Vec<Item>,
    pub(super) state: AgreedState,
}

pub(super) fn topology() -> Topology {
    let limits = TopologyLimits::default();
    Topology::new(TopologyConfig { limits, loopback_users: Vec::new(), boot: 1 })
}

impl List {
    pub(super) fn new() -> Self {
        let state = AgreedState { topology: topology(), metadata: Metadata::default() };
        let mut list = Self { items: Vec::new(), state };
        let password = PasswordHash::new(HashAlgorithm::default(), b"guest", [0; 4]);
        for command in default_commands(&"/".into(), &"guest".into(), password, Vec::new()) {
            list.add(Agreed::Topology(command), NodeId(0), Timestamp(0));
        }
        list
    }

    /// Agrees on a change of nodes and copies; what came of it.
    pub(super) fn decide(
        &mut self,
        command: ClusterCommand,
        at: Timestamp,
    ) -> Result<Reply, Refusal> {
        match self.add(Agreed::Cluster(command), NodeId(0), at) {
            Answer::Cluster(reply) => reply,
            Answer::Topology(_) => unreachable!("it was another change"),
        }
    }

    pub(super) fn add(&mut self, agreed: Agreed, from: NodeId, at: Timestamp) -> Answer {
        let answer = self.state.apply(&agreed, from, at);
        self.items.push(Item { agreed, from, at });
        answer
    }

    /// The state, for a process that begins with it.
    pub(super) fn copy(&self) -> (Topology, Metadata) {
        let state = self.state.snapshot();
        let mut topology = topology();
        for command in &state.commands {
            let _ = topology.apply_agreed(command, Timestamp(0));
        }
        (topology, state.metadata)
    }
}

/// A node's door to it.
pub(super) struct Door {
    node: NodeId,
    machine: OnceLock<Weak<dyn StateMachine>>,
    pub(super) proposals: Mutex<Vec<Proposal>>,
    /// Who waits for which item.
    pub(super) waiting: Mutex<BTreeMap<usize, Waiting>>,
}

impl Door {
    pub(super) fn new(node: NodeId) -> Arc<Self> {
        let (machine, proposals, waiting) = Default::default();
        Arc::new(Self { node, machine, proposals, waiting })
    }

    fn want(&self, agreed: Agreed, at: Timestamp, waiting: Option<Waiting>) {
        self.proposals.lock().push(Proposal { agreed, from: self.node, at, waiting });
    }

    /// Applies the next item.
    pub(super) fn apply(&self, number: usize, item: &Item) {
        let Some(machine) = self.machine.get().and_then(Weak::upgrade) else { return };
        let answer = machine.apply(&item.agreed, item.from, item.at);
        let waiting = self.waiting.lock().remove(&number);
        match (answer, waiting) {
            (Answer::Topology(settled), waiting) => {
                if item.from == self.node {
                    for command in settled.next {
                        self.want(Agreed::Topology(command), item.at, None);
                    }
                }
                if let Some(Waiting::Topology(done)) = waiting {
                    done(settled.outcome);
                }
            }
            (Answer::Cluster(reply), Some(Waiting::Cluster(done))) => {
                done(reply.map_err(NotDecided::from));
            }
            (Answer::Cluster(_), _) => {}
        }
    }
}

impl MetaConsensus for Door {
    fn attach(&self, machine: Weak<dyn StateMachine>) {
        let _ = self.machine.set(machine);
    }

    fn propose(&self, command: Command, now: Timestamp, done: Done) -> Option<Proposed> {
        let Some(machine) = self.machine.get().and_then(Weak::upgrade) else {
            return Some(Err(BrokerError::ShuttingDown));
        };
        let Some(settled) = machine.offer(&command, now) else {
            self.want(Agreed::Topology(command), now, Some(Waiting::Topology(done)));
            return None;
        };
        for command in settled.next {
            let _ = self.propose(command, now, Box::new(|_| {}));
        }
        Some(settled.outcome)
    }

    fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone) {
        self.want(Agreed::Cluster(command), now, Some(Waiting::Cluster(done)));
    }
}
