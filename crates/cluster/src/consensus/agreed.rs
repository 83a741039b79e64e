//! What is agreed on: one log for changes of the topology and for those of nodes and copies, one state of two halves.

use leveret_engine::{BrokerError, Command, Timestamp, Topology, TopologyConfig};
use serde::{Deserialize, Serialize};

use super::{Decided, NotDecided, Settled};
use crate::replication::{Changes, ClusterCommand, Metadata, NodeId, Refusal, Reply};

/// One change. What is written down has the variants by their number: new ones go to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Agreed {
    /// Of the topology.
    Topology(Command),
    /// Of nodes and copies.
    Cluster(ClusterCommand),
}

/// What came of one.
#[derive(Debug)]
pub enum Answer {
    /// Of a change of the topology.
    Topology(Settled),
    /// Of a change of nodes and copies.
    Cluster(Result<Reply, Refusal>),
}

impl Answer {
    /// What a change of the topology came to.
    pub(super) fn settled(self) -> Settled {
        match self {
            Self::Topology(settled) => settled,
            Self::Cluster(_) => Err(mixed_up()).into(),
        }
    }

    /// What a change of nodes and copies came to.
    pub(super) fn decided(self) -> Decided {
        match self {
            Self::Cluster(decided) => decided.map_err(NotDecided::from),
            Self::Topology(_) => Err(NotDecided::NotAgreed(mixed_up())),
        }
    }
}

fn mixed_up() -> BrokerError {
    BrokerError::Internal("a change was applied as one of another kind".into())
}

/// What makes the durable state again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The topology, from nothing.
    pub commands: Vec<Command>,
    /// Nodes and copies.
    pub metadata: Metadata,
}

/// Both halves of the state, for whoever has both.
#[derive(Debug)]
pub struct AgreedState {
    /// The topology.
    pub topology: Topology,
    /// Nodes and copies.
    pub metadata: Metadata,
}

impl AgreedState {
    pub(super) fn new(config: TopologyConfig) -> Self {
        Self { topology: Topology::new(config), metadata: Metadata::default() }
    }

    /// The state that was kept.
    pub(super) fn restored(config: TopologyConfig, state: &State) -> Self {
        let mut topology = Topology::new(config);
        for command in &state.commands {
            // What was kept was applied before; what is refused now was so then.
            let _ = topology.apply_agreed(command, Timestamp(0));
        }
        Self { topology, metadata: state.metadata.clone() }
    }

    /// Applies a change. What it changed of queues is followed before the next.
    pub fn apply(&mut self, agreed: &Agreed, from: NodeId, now: Timestamp) -> Answer {
        let mut changes = Changes::default();
        match agreed {
            Agreed::Topology(command) => {
                let applied = self.topology.apply_agreed(command, now);
                if let Ok(applied) = &applied {
                    self.metadata.follow(&applied.changes, from, &mut changes);
                }
                Answer::Topology(applied.into())
            }
            Agreed::Cluster(command) => {
                Answer::Cluster(self.metadata.decide(command, &self.topology, &mut changes))
            }
        }
    }

    /// What makes it again.
    #[must_use]
    pub fn snapshot(&self) -> State {
        let (commands, metadata) = (self.topology.snapshot_commands(), self.metadata.clone());
        State { commands, metadata }
    }
}
