//! The door through which every durable change of topology goes, and every change of what nodes agree on besides it.

mod agreed;
mod bytes;
mod local;
mod raft;

use std::sync::Weak;

use leveret_engine::{Applied, BrokerError, Change, Command, Outcome, Timestamp};

use crate::replication::{ClusterCommand, Metadata, NodeId, Refusal, Reply};

pub use agreed::{Agreed, AgreedState, Answer, State};
pub use local::LocalConsensus;
pub use raft::{
    Join, JoinError, Joined, Member, OpenError, Opened, Opening, RaftConsensus, Standing, join,
};

/// What a proposal came to.
pub type Proposed = Result<Outcome, BrokerError>;

/// Told of the outcome of a proposal that was not applied at once.
pub type Done = Box<dyn FnOnce(Proposed) + Send>;

/// What a proposal that concerns nodes and copies came to.
pub type Decided = Result<Reply, NotDecided>;

/// Told of that.
pub type DecidedDone = Box<dyn FnOnce(Decided) + Send>;

/// Why a change of nodes and copies was not made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotDecided {
    /// It does not fit what was agreed on before.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be agreed on.
    #[error("{0}")]
    NotAgreed(BrokerError),
}

/// A command that was applied, and what has to be agreed on before its proposer is answered.
#[derive(Debug)]
pub struct Settled {
    /// The answer.
    pub outcome: Proposed,
    /// The commands that follow from it.
    pub next: Vec<Command>,
}

impl From<Result<Applied, BrokerError>> for Settled {
    fn from(applied: Result<Applied, BrokerError>) -> Self {
        match applied {
            Ok(Applied { outcome, changes }) => {
                let next = changes.iter().filter_map(Change::consequence).collect();
                Self { outcome: Ok(outcome), next }
            }
            Err(error) => Self { outcome: Err(error), next: Vec::new() },
        }
    }
}

/// The deterministic machine that commands change.
///
/// # Contract
/// - The same agreed changes in the same order lead to the same durable state on every node, whatever
///   else there is: `apply` reads no clock and no randomness but its arguments.
/// - Both methods act on what changed (queues created, consumers cancelled) before they return.
pub trait StateMachine: Send + Sync {
    /// Takes a command from this node, at the time `now`. `None`: it has to be agreed on. Otherwise it
    /// was refused, or it concerned this node alone and has been applied.
    fn offer(&self, command: &Command, now: Timestamp) -> Option<Settled>;

    /// Applies an agreed change that was proposed on the node `from`, at the time that the proposer stamped on it.
    fn apply(&self, agreed: &Agreed, from: NodeId, now: Timestamp) -> Answer;

    /// What makes the durable state again.
    fn snapshot(&self) -> State;

    /// Replaces the durable state, on a node that was away for so long that the log no longer has what it missed. `now` is
    /// the time of the last change that was applied.
    fn restore(&self, state: &State, now: Timestamp);

    /// Looks at nodes and copies.
    fn with_metadata(&self, look: &mut dyn FnMut(&Metadata));
}

/// Agreement on the order of changes.
///
/// # Contract
/// - What has to be agreed on is applied in one order, the same on every node, and not before it is
///   kept by as many nodes as it takes: what was answered survives any crash.
/// - `Some(outcome)`: the command has been applied (or refused) already and `done` is dropped.
/// - `None`: `done` is called exactly once, later, from any thread, once the command is applied
///   here or is known never to be.
/// - It never blocks the calling thread on a disk or on another node.
pub trait MetaConsensus: Send + Sync {
    /// Names the machine that commands are offered to and applied to from now on. It usually owns this
    /// value, hence the weak reference.
    fn attach(&self, machine: Weak<dyn StateMachine>);

    /// Proposes `command`, stamped with `now`.
    fn propose(&self, command: Command, now: Timestamp, done: Done) -> Option<Proposed>;

    /// Proposes a change of nodes and copies, stamped with `now`. `done` is called exactly once.
    fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone);
}
