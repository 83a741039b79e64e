//! The commands that change what is agreed on of nodes and copies, and what comes of them.

use super::{NodeRole, QueueRecord, ReplicaRole, SyncMode};
use crate::replication::effects::Alteration;
use crate::replication::ids::{Epoch, Incarnation, NodeId, StoreMark};
use leveret_engine::QueueId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One change. What is written down has the variants by their number: new ones go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClusterCommand {
    /// A node joins. It takes part once it has registered.
    AddNode {
        /// Its name.
        name: Arc<str>,
        /// Where the others reach it.
        addresses: Vec<Arc<str>>,
        /// What it does.
        role: NodeRole,
    },
    /// A process of a node has started (rules R1, R2, R3).
    Register {
        /// The node.
        node: NodeId,
        /// Its data directory.
        store: StoreMark,
        /// The last group commit that it found there.
        durable: u64,
    },
    /// A node has this much on disk, from time to time.
    NoteDurable {
        /// The node.
        node: NodeId,
        /// Its start.
        incarnation: Incarnation,
        /// The last group commit.
        durable: u64,
    },
    /// A node is not heard of any more.
    Fence {
        /// The node.
        node: NodeId,
        /// Its start.
        incarnation: Incarnation,
        /// Whether it has been silent for so long that it surely delivers no more.
        lease_over: bool,
    },
    /// A node that was fenced is heard of again.
    Unfence {
        /// The node.
        node: NodeId,
        /// Its start.
        incarnation: Incarnation,
    },
    /// A node is about to stop: others take over what it leads.
    Drain {
        /// The node.
        node: NodeId,
    },
    /// A node has been away for long: copies that policies count are made elsewhere.
    Replace {
        /// The node.
        node: NodeId,
    },
    /// A node is gone for ever.
    Forget {
        /// The node.
        node: NodeId,
    },
    /// A leader asks for a change of the copies in sync.
    Alter(Alteration),
    /// Another copy in sync is to lead.
    Transfer {
        /// Which queue.
        queue: QueueId,
        /// Where to.
        to: NodeId,
        /// The epoch that is known to whoever asks.
        epoch: Epoch,
        /// Whether the present leader has stopped delivering and asks itself.
        stopped: bool,
    },
    /// How the mirrors of a queue that are not in sync become so.
    // rabbitmq: sync_queue, cancel_sync_queue
    SetSync {
        /// Which queue.
        queue: QueueId,
        /// How.
        mode: SyncMode,
    },
    /// One more copy, by hand.
    AddReplica {
        /// Which queue.
        queue: QueueId,
        /// Where.
        node: NodeId,
    },
    /// One copy less, by hand.
    DropReplica {
        /// Which queue.
        queue: QueueId,
        /// Where.
        node: NodeId,
    },
    /// A copy that is not in sync is to lead, since nobody else can (rule R13).
    PromoteStale {
        /// Which queue.
        queue: QueueId,
        /// Where.
        node: NodeId,
    },
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// The node has this number.
    Added(NodeId),
    /// The node's present start has this number.
    Registered(Incarnation),
    /// What was known of the copy has changed since: it is not in sync, and the leader may go on without it.
    Declined,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is a node of this name.
    #[error("a node named '{0}' is in the cluster already; leave or forget it first")]
    NameTaken(Arc<str>),
    /// There are too many nodes.
    #[error("a cluster has at most {0} nodes")]
    TooManyNodes(usize),
    /// There is no such node.
    #[error("there is no node {0} in the cluster; it may have been forgotten, join again")]
    NoSuchNode(NodeId),
    /// It is about an earlier start of the node.
    #[error("node {0} has started again since")]
    OldIncarnation(NodeId),
    /// A node that is heard of cannot be forgotten.
    #[error("node {0} is up; stop it, or let it leave, before it is forgotten")]
    NodeIsUp(NodeId),
    /// The node has the only copy in sync of a queue.
    #[error("node {node} has the only copy of {n_queues} queues; they would be lost")]
    OnlyCopies {
        /// The node.
        node: NodeId,
        /// How many queues.
        n_queues: usize,
    },
    /// The queue has no record.
    #[error("queue {0} is not replicated")]
    NoSuchQueue(QueueId),
    /// What the proposer knew of the queue has changed since (rule R11).
    #[error("the record of queue {0} has changed")]
    Outdated(QueueId),
    /// The node has no copy.
    #[error("node {node} has no copy of queue {queue}")]
    NoCopy {
        /// The queue.
        queue: QueueId,
        /// The node.
        node: NodeId,
    },
    /// The leader cannot be taken out.
    #[error("node {node} leads queue {queue}; move the leader first")]
    LeadsQueue {
        /// The queue.
        queue: QueueId,
        /// The node.
        node: NodeId,
    },
    /// There is no copy, or it is not in sync.
    #[error("node {node} has no copy of queue {queue} that could lead")]
    CannotLead {
        /// The queue.
        queue: QueueId,
        /// The node.
        node: NodeId,
    },
    /// A copy in sync can lead.
    #[error("queue {0} has a leader or a copy in sync that is up; no other copy is promoted")]
    HasLeader(QueueId),
    /// There is a copy already.
    #[error("node {node} has a copy of queue {queue} already")]
    HasCopy {
        /// The queue.
        queue: QueueId,
        /// The node.
        node: NodeId,
    },
    /// The node may have no copy of a queue.
    #[error("node {0} is a witness: it holds no messages")]
    IsWitness(NodeId),
    /// The queue has too many copies.
    #[error("a queue has at most {0} copies")]
    TooManyReplicas(usize),
}

/// What a command changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Queues whose records have changed: whoever has a copy learns the record.
    pub touched: Vec<QueueId>,
    /// What operators are to know.
    pub notices: Vec<Notice>,
}

/// What operators are to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A node has joined.
    NodeAdded(NodeId),
    /// A node is heard of.
    NodeUp(NodeId),
    /// A node is not heard of any more.
    NodeDown(NodeId),
    /// A node has come with an empty or an older disk than it had.
    NodeLostData(NodeId),
    /// A node is gone for ever.
    NodeForgotten(NodeId),
    /// Another node leads a queue.
    LeaderChanged {
        /// The queue.
        queue: QueueId,
        /// Who led.
        from: Option<NodeId>,
        /// Who leads; nobody can.
        to: Option<NodeId>,
    },
    /// A copy that was not in sync leads: messages may be lost (rule R13).
    UncleanPromotion {
        /// The queue.
        queue: QueueId,
        /// Who leads.
        to: NodeId,
    },
    /// A copy is in sync.
    InSync {
        /// The queue.
        queue: QueueId,
        /// Where.
        node: NodeId,
    },
    /// A copy is no longer in sync.
    LostSync {
        /// The queue.
        queue: QueueId,
        /// Where.
        node: NodeId,
    },
    /// No copy of a queue that had all messages is left.
    QueueLost(QueueId),
}

impl Changes {
    /// A record has changed.
    pub(super) fn touch(&mut self, queue: QueueId) {
        if self.touched.last() != Some(&queue) {
            self.touched.push(queue);
        }
    }

    /// Tells what is different in a record.
    pub(super) fn note_difference(
        &mut self,
        queue: QueueId,
        before: &QueueRecord,
        after: &QueueRecord,
    ) {
        self.touch(queue);
        let leads = |record: &QueueRecord| record.leader.map(|leader| leader.node);
        let (from, to) = (leads(before), leads(after));
        if let Some(to) = to.filter(|_| after.lineage > before.lineage) {
            self.notices.push(Notice::UncleanPromotion { queue, to });
        } else if from != to {
            self.notices.push(Notice::LeaderChanged { queue, from, to });
        }
        for replica in &after.replicas {
            let node = replica.node;
            match (before.is_in_sync(node), replica.role) {
                (false, ReplicaRole::InSync) => self.notices.push(Notice::InSync { queue, node }),
                (true, ReplicaRole::Learner(_)) => {
                    self.notices.push(Notice::LostSync { queue, node });
                }
                _ => {}
            }
        }
        if after.is_lost() && !before.is_lost() {
            self.notices.push(Notice::QueueLost(queue));
        }
    }
}
