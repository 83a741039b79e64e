//! Consumers of this node whose queues are led elsewhere: they come, take, and go.

use std::sync::Arc;

use leveret_cluster::replication::NodeId;
use leveret_cluster::replication::wire::proxy::{Ask, Done, How};
use leveret_engine::{Budget, ConsumerId, ConsumerSpec, Delivery, QueueId, SeqRange};

use super::Consumer;
use super::requests::{Question, Wanted};
use crate::connections::Handle;
use crate::effects::Scope;
use crate::mailbox::{Ready, Source};
use crate::node::Node;

impl Node {
    /// The consumer of a client of this node, if its queue is led elsewhere.
    pub(crate) fn far_consumer(&self, queue: QueueId, id: ConsumerId) -> Option<Arc<Consumer>> {
        self.membership()?;
        self.remote.far(queue)?.state.lock().consumers.get(&id).cloned()
    }

    /// Asks the leader of a queue to take a consumer.
    pub(crate) fn consume_far(&self, queue: QueueId, spec: ConsumerSpec, handle: &Arc<Handle>) {
        let (channel, id) = (spec.channel, spec.id);
        let consumer = Arc::new(Consumer::new(queue, spec, Arc::clone(handle)));
        let far = self.remote.far_or_new(queue);
        {
            let mut state = far.state.lock();
            state.leads.get_or_insert_with(|| self.leader_of(queue));
            state.consumers.insert(id, Arc::clone(&consumer));
        }
        let wanted = Wanted::Consuming { consumer, channel };
        self.question(Question { queue, handle: Some(Arc::clone(handle)), wanted });
    }

    /// Takes what has come for a consumer; says whether there is more.
    pub(crate) fn take_far(
        &self,
        consumer: &Consumer,
        budget: Budget,
        out: &mut Vec<Delivery>,
    ) -> bool {
        let taken = consumer.take(budget, out);
        let (queue, id) = (consumer.queue, consumer.spec.id);
        if let Some(leader) = taken.at {
            if !taken.acks.is_empty() {
                let done = |range| Done { consumer: Some(id), range, how: How::Ack };
                let settles = taken.acks.into_iter().map(done).collect();
                self.ask(leader, Ask::Settle { queue, settles });
            }
            if let Some(bytes) = taken.room {
                self.ask(leader, Ask::Room { queue, consumer: id, bytes });
            }
        }
        taken.more
    }

    /// Cancels a consumer. What its client did not take goes back.
    pub(crate) fn cancel_far(&self, consumer: &Consumer) {
        let (queue, id) = (consumer.queue, consumer.spec.id);
        let leader = consumer.attached_to();
        let (untaken, is_done) = consumer.leave();
        if is_done && let Some(far) = self.remote.far(queue) {
            far.state.lock().consumers.remove(&id);
        }
        if let Some(leader) = leader {
            self.ask(leader, Ask::Cancel { queue, consumer: id, untaken });
        }
    }

    /// The limit that a consumer shares with others of its channel may have room.
    pub(crate) fn far_credit_changed(&self, consumer: &Arc<Consumer>, scope: &mut Scope<'_>) {
        if consumer.credit_changed() {
            let ready =
                Ready { source: Source::Far(Arc::clone(consumer)), consumer: consumer.spec.id };
            scope.ready(&consumer.handle, ready);
        }
    }

    /// Takes what the leader has sent for a consumer.
    pub(super) fn delivered(
        &self,
        from: NodeId,
        queue: QueueId,
        id: ConsumerId,
        delivery: Delivery,
    ) {
        let range = SeqRange { first: delivery.first_seq, n: delivery.n };
        let consumer = self.far_consumer(queue, id);
        let arrived = consumer.as_ref().map_or(Err(range), |known| known.arrived(from, delivery));
        match (arrived, consumer) {
            (Ok(true), Some(consumer)) => {
                let source = Source::Far(Arc::clone(&consumer));
                consumer.handle.mailbox.ready(Ready { source, consumer: id });
            }
            (Ok(_), _) => {}
            (Err(range), _) => {
                // It was cancelled while this was on its way.
                let done = Done { consumer: Some(id), range, how: How::Requeue };
                self.ask(from, Ask::Settle { queue, settles: vec![done] });
            }
        }
    }
}
