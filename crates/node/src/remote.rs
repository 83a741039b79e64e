//! Queues that another node leads, and queues with several copies: what clients of this node do with them, and what this
//! node does, as a leader, for clients of others. A client may so be connected to any node.
//!
//! ```text
//!  the client's node                                        the leader's node
//!  Ports ──▶ Publisher, Consumer, Requests ──── Ask ───▶ Serving ──▶ Queue
//!                                          ◀─── Tell ───
//! ```
//!
//! - What is published is numbered by connection and queue ([`publisher`]) and kept until the leader has settled it. When
//!   somebody else leads, everything that is not settled goes there in its order, and the leader leaves out what it knows
//!   ([`serving`]). So it is with the queue's own node, too, if there are several copies.
//! - A consumer is a mailbox that the leader fills ([`consumer`]). It is made known to the next leader silently.
//! - A question is asked again until it is answered ([`requests`]).
//!
//! Ids of connections and consumers have the number of their node in the upper bits, so that a queue may know those of
//! other nodes as it knows its own.
//!
//! *Invariants:* what is published by one connection to one queue is handed over in its order, by one thread at a time. No
//! lock of this module is held while a queue is locked.

mod asked;
mod consumer;
mod consuming;
mod following;
mod publisher;
mod publishing;
mod replying;
mod requests;
mod serving;
mod settling;
mod told;
mod transient;

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;
use leveret_cluster::replication::wire::Frame;
use leveret_cluster::replication::wire::proxy::{Ask, Tell};
use leveret_cluster::replication::{Incarnation, NodeId};
use leveret_engine::seq::RangeSet;
use leveret_engine::{ConnectionId, ConsumerId, QueueId};
use parking_lot::{Mutex, RwLock};

use crate::node::Node;
use crate::peers::Leads;

pub(crate) use consumer::Consumer;
use publisher::Publisher;
pub(crate) use publisher::{UNSETTLED_BYTES_MAX, session_of};
use requests::Requests;
pub(crate) use requests::{Question, Wanted};
use serving::Serving;
use transient::Unfit;

/// Where the number of a node begins in the ids of its connections and consumers.
const NODE_SHIFT: u32 = 48;

/// The first of a node's ids; those of a node that is alone begin with 0.
pub(crate) fn first_id(node: NodeId) -> u64 {
    node.0 << NODE_SHIFT
}

/// The node that an id belongs to.
pub(crate) fn home_of(id: u64) -> NodeId {
    NodeId(id >> NODE_SHIFT)
}

/// All that this node does for its clients with queues that it does not lead alone, and for clients of others.
#[derive(Default)]
pub(crate) struct Remote {
    far: RwLock<HashMap<QueueId, Arc<Far>>>,
    requests: Requests,
    serving: Serving,
    unfit: Unfit,
    /// The nodes that are connected, with their starts.
    linked: RwLock<HashMap<NodeId, Incarnation>>,
}

/// A queue as clients of this node use it by way of its leader.
pub(crate) struct Far {
    pub(crate) id: QueueId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who leads, as was last acted on.
    leads: Option<Leads>,
    publishers: HashMap<ConnectionId, Publisher>,
    /// Those with something that the leader has not been sent.
    waiting: VecDeque<ConnectionId>,
    /// Whether somebody is handing it over.
    sending: bool,
    consumers: HashMap<ConsumerId, Arc<Consumer>>,
    /// What clients of this node had from other leaders and have not settled, while this node leads.
    earlier: RangeSet,
    /// What clients have settled while nobody could be told.
    late: Vec<leveret_cluster::replication::wire::proxy::Done>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.publishers.is_empty()
            && self.consumers.is_empty()
            && self.earlier.is_empty()
            && self.late.is_empty()
    }
}

impl Remote {
    fn far(&self, queue: QueueId) -> Option<Arc<Far>> {
        self.far.read().get(&queue).cloned()
    }

    fn far_or_new(&self, queue: QueueId) -> Arc<Far> {
        if let Some(far) = self.far(queue) {
            return far;
        }
        let mut all = self.far.write();
        let new = || Arc::new(Far { id: queue, state: Mutex::default() });
        Arc::clone(all.entry(queue).or_insert_with(new))
    }

    fn all_far(&self) -> Vec<Arc<Far>> {
        self.far.read().values().cloned().collect()
    }

    fn is_linked(&self, node: NodeId) -> bool {
        self.linked.read().contains_key(&node)
    }
}

impl Node {
    /// Whether an id is one of another node.
    pub(crate) fn is_foreign(&self, id: u64) -> bool {
        let home = home_of(id);
        home.0 != 0 && self.membership().is_none_or(|me| me.node != home)
    }

    /// Whether what is published to a queue is handed to its leader by session: if another node leads it, and if it has
    /// several copies.
    #[inline]
    pub(crate) fn is_far(&self, queue: QueueId) -> bool {
        self.membership().is_some() && self.is_far_in_cluster(queue)
    }

    fn is_far_in_cluster(&self, queue: QueueId) -> bool {
        let has_mirrors = || {
            let metadata = self.peers.metadata();
            metadata.queue(queue).is_some_and(|record| record.replicas.len() > 1)
        };
        self.leader_of(queue) != Leads::Here || has_mirrors()
    }

    /// The name of the node that a queue is on, in the first place.
    fn home_node(&self, queue: QueueId) -> Arc<str> {
        let metadata = self.peers.metadata();
        let first = metadata.queue(queue).and_then(|record| record.replicas.first());
        let home = first.and_then(|replica| metadata.node(replica.node));
        home.map_or_else(|| Arc::from("nobody"), |node| Arc::clone(&node.name))
    }

    /// Whether this node leads a queue.
    #[inline]
    pub(crate) fn leads(&self, queue: QueueId) -> bool {
        self.membership().is_none() || self.leader_of(queue) == Leads::Here
    }

    fn ask(&self, leader: NodeId, ask: Ask) {
        self.send_frame(leader, Frame::Ask(ask));
    }

    fn tell_node(&self, node: NodeId, tell: Tell) {
        self.send_frame(node, Frame::Tell(tell));
    }

    /// The leader of a queue, if it is another node that is connected.
    fn linked_leader(&self, queue: QueueId) -> Option<NodeId> {
        match self.leader_of(queue) {
            Leads::There(node) if self.remote.is_linked(node) => Some(node),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
