//! What the leader of a queue tells this node.

use leveret_cluster::replication::NodeId;
use leveret_cluster::replication::wire::proxy::Tell;
use leveret_engine::{ConnectionId, ConsumerId, QueueId, SettleOutcome, Timestamp};

use super::consumer::delivery;
use super::requests::cancelled;
use crate::effects::Scope;
use crate::node::Node;

impl Node {
    /// Takes what a node tells as the leader of a queue.
    pub(crate) fn told(&self, from: NodeId, tell: Tell, now: Timestamp) {
        let mut scope = Scope::new(now);
        match tell {
            Tell::Settled { queue, session, first, n, taken } => {
                let outcome = if taken { SettleOutcome::Accepted } else { SettleOutcome::Rejected };
                self.publishes_settled(queue, session, (first, n), outcome, &mut scope);
            }
            Tell::Missing { queue, session } => {
                self.send_again(queue, ConnectionId(session.channel), &mut scope);
            }
            Tell::Leads { queue } => {
                if let Some(far) = self.remote.far(queue) {
                    self.begin_again(&far, &mut scope);
                }
            }
            Tell::Deliver { queue, consumer, messages } => match delivery(consumer, &messages) {
                Some(delivery) => self.delivered(from, queue, consumer, delivery),
                None => tracing::error!(node = %from, "a delivery with damaged messages"),
            },
            Tell::Cancelled { queue, consumer } => self.cancelled_by_leader(from, queue, consumer),
            Tell::Reply { token, block } => self.replied(from, &token, &block),
            Tell::Answer { request, queue, told } => {
                self.answered(from, (request, queue), told, &mut scope);
            }
        }
        self.finish(&mut scope);
    }

    /// Publishes of a connection were lost on the way.
    fn send_again(&self, queue: QueueId, connection: ConnectionId, scope: &mut Scope<'_>) {
        let Some(far) = self.remote.far(queue) else { return };
        {
            let mut state = far.state.lock();
            let state = &mut *state;
            if let Some(publisher) = state.publishers.get_mut(&connection) {
                publisher.begin_again();
                if publisher.has_more() && !state.waiting.contains(&connection) {
                    state.waiting.push_back(connection);
                }
            }
        }
        self.hand_over(&far, scope);
    }

    fn cancelled_by_leader(&self, from: NodeId, queue: QueueId, id: ConsumerId) {
        let Some(consumer) = self.far_consumer(queue, id) else { return };
        if consumer.attached_to() != Some(from) || consumer.is_gone() {
            return;
        }
        if let Some(far) = self.remote.far(queue) {
            far.state.lock().consumers.remove(&id);
        }
        consumer.leave();
        cancelled(&consumer);
    }
}
