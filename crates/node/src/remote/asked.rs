//! What this node is asked as the leader of a queue.

use std::sync::Arc;

use leveret_cluster::replication::wire::proxy::{
    Ask, Done, How, Messages, Subscriber, Tell, Told, delivery_weight,
};
use leveret_cluster::replication::{NodeId, SessionId};
use leveret_engine::Command as C;
use leveret_engine::{
    Block, BrokerError, Budget, ConsumerId, ConsumerSpec, Delivery, QueueId, SeqRange, Settle,
    Settlement, StreamOffset, StreamRead, Timestamp,
};

use super::home_of;
use super::serving::Turn;
use super::settling::settle_of;
use crate::effects::Scope;
use crate::node::Node;
use crate::ports::told_counts;
use crate::queues::QueueCell;

/// Records that are taken at once for a consumer of another node: bounds the time a queue's lock is held.
const TURN_RECORDS: u32 = 4096;

/// Bytes of bodies that go into one frame for a consumer, about.
const TURN_BYTES: u32 = 256 * 1024;

/// What a node asks of a queue, if it has to be told when this node begins to lead it.
fn queue_of(ask: &Ask) -> QueueId {
    match ask {
        Ask::Publish { queue, .. }
        | Ask::EndSession { queue, .. }
        | Ask::Settle { queue, .. }
        | Ask::Consume { queue, .. }
        | Ask::Cancel { queue, .. }
        | Ask::Room { queue, .. }
        | Ask::Get { queue, .. }
        | Ask::Purge { queue, .. }
        | Ask::Apply { queue, .. }
        | Ask::Counts { queue, .. } => *queue,
    }
}

impl Node {
    /// Takes what a node asks of the leader of a queue.
    pub(crate) fn asked(&self, from: NodeId, ask: Ask, now: Timestamp) {
        let queue = queue_of(&ask);
        if self.cell(queue).is_some() && !self.leads(queue) {
            // It knows more than this node does, or less. In the first case it is told when this one knows, too.
            return self.remote.serving.turn_away(queue, from);
        }
        let mut scope = Scope::new(now);
        self.do_asked(from, ask, &mut scope);
        self.finish(&mut scope);
    }

    fn cell(&self, queue: QueueId) -> Option<Arc<QueueCell>> {
        self.queues.get(queue)
    }

    fn do_asked(&self, from: NodeId, ask: Ask, scope: &mut Scope<'_>) {
        let answer = |request, queue, told| {
            self.tell_node(from, Tell::Answer { request, queue, told });
        };
        let now = scope.now;
        match ask {
            Ask::Publish { queue, session, after, first, block } => {
                self.asked_publish(from, queue, session, (after, first), &block, scope);
            }
            Ask::EndSession { queue, session } => {
                self.remote.serving.end_session((queue, session));
            }
            Ask::Settle { queue, settles } => {
                let sorted = self.remote.serving.sort(from, queue, &settles);
                let present: Vec<_> = sorted.present.iter().map(settle_of).collect();
                let Some(cell) = self.cell(queue) else { return };
                self.with_queue(&cell, scope, |queue, fx| {
                    if !present.is_empty() {
                        queue.settle(&present, now, fx);
                    }
                    let earlier = sorted.earlier.iter().map(settle_of);
                    earlier.for_each(|settle| queue.settle_earlier(&settle, fx));
                });
            }
            Ask::Consume { request, queue, consumer } => {
                self.asked_consume(from, (request, queue), &consumer, scope);
            }
            Ask::Cancel { queue, consumer, untaken } => {
                self.asked_cancel(from, (queue, consumer), &untaken, scope);
            }
            Ask::Room { consumer, bytes, .. } => {
                if self.remote.serving.more_room(from, consumer, bytes) {
                    self.serve_consumer(consumer, scope);
                }
            }
            Ask::Get { request, queue } => match self.cell(queue) {
                Some(cell) => self.asked_get(from, request, &cell, scope),
                None => answer(request, queue, Told::Got(None)),
            },
            Ask::Purge { request, queue } => {
                let n = self
                    .cell(queue)
                    .map_or(0, |cell| self.with_queue(&cell, scope, |queue, fx| queue.purge(fx)));
                answer(request, queue, Told::Purged(n));
            }
            Ask::Apply { request, queue, command } => {
                // It concerns this node alone, and so is done at once.
                let (C::DeleteQueue { .. } | C::Bind(_) | C::Unbind(_)) = *command else {
                    return tracing::error!(node = %from, "a change that is not one of a queue");
                };
                let came = self.propose(*command, now, Box::new(|_| {}));
                let came = came.unwrap_or(Err(BrokerError::Internal("not applied at once".into())));
                answer(request, queue, Told::Applied(came));
            }
            Ask::Counts { request, queue } => {
                let counts = self.cell(queue).map(|cell| {
                    let counts = self.with_queue(&cell, scope, |queue, _| {
                        queue.touch(now);
                        told_counts(queue)
                    });
                    (counts.ready, counts.consumers)
                });
                answer(request, queue, Told::Counts(counts));
            }
        }
    }

    fn asked_publish(
        &self,
        from: NodeId,
        queue: QueueId,
        session: SessionId,
        numbers: (u64, u64),
        block: &[u8],
        scope: &mut Scope<'_>,
    ) {
        let Ok(block) = Block::unpack(block) else {
            tracing::error!(node = %from, "publishes with damaged messages");
            return;
        };
        if home_of(session.channel) != from || numbers.0 >= numbers.1 {
            tracing::error!(node = %from, "publishes of a session that is none of the node's");
            return;
        }
        self.take_in(Some(from), queue, session, numbers, block, scope);
    }

    fn asked_consume(
        &self,
        from: NodeId,
        (request, queue): (u64, QueueId),
        consumer: &Subscriber,
        scope: &mut Scope<'_>,
    ) {
        let told = match self.cell(queue) {
            Some(cell) => self.add_subscriber(from, &cell, consumer, scope),
            None => Ok(()),
        };
        // Before anything is sent to the consumer, which is done at the end of the turn.
        let told = Told::Consuming(told);
        self.tell_node(from, Tell::Answer { request, queue, told });
    }

    fn add_subscriber(
        &self,
        from: NodeId,
        cell: &Arc<QueueCell>,
        subscriber: &Subscriber,
        scope: &mut Scope<'_>,
    ) -> Result<(), BrokerError> {
        let id = subscriber.id;
        if home_of(id.0) != from || home_of(subscriber.channel.connection.0) != from {
            return Err(BrokerError::Internal("a consumer that is none of the node's".into()));
        }
        let Some(meta) = self.queue_meta(cell.id) else { return Ok(()) };
        let arguments = &subscriber.arguments;
        let mut read = StreamRead::from_arguments(arguments, meta.kind, &meta.resource())?;
        if let Some(offset) = subscriber.from {
            read.from = StreamOffset::At(offset);
        }
        let spec = ConsumerSpec {
            id,
            channel: subscriber.channel,
            tag: Arc::clone(&subscriber.tag),
            // Its node acknowledges what its client is handed, so that nothing is lost on the way there.
            no_ack: false,
            exclusive: subscriber.exclusive,
            prefetch: subscriber.prefetch,
            priority: subscriber.priority,
            channel_credit: None,
            read,
            arguments: arguments.clone(),
            user: Arc::clone(&subscriber.user),
        };
        self.remote.serving.add_taker(id, from, cell);
        let now = scope.now;
        let taken = self.with_queue(cell, scope, |queue, fx| queue.consume(spec, now, fx));
        if taken.is_err() {
            self.remote.serving.drop_taker(id);
        }
        taken
    }

    fn asked_cancel(
        &self,
        from: NodeId,
        (queue, consumer): (QueueId, ConsumerId),
        untaken: &[SeqRange],
        scope: &mut Scope<'_>,
    ) {
        let done =
            |range: &SeqRange| Done { consumer: Some(consumer), range: *range, how: How::Requeue };
        let untaken: Vec<_> = untaken.iter().map(done).collect();
        // Not sorted after it has left: then it may be forgotten.
        let sorted = self.remote.serving.sort(from, queue, &untaken);
        let Some(cell) = self.remote.serving.leave(from, consumer) else { return };
        let back: Vec<_> = sorted.present.iter().map(settle_of).collect();
        let now = scope.now;
        self.with_queue(&cell, scope, |queue, fx| {
            queue.settle(&back, now, fx);
            queue.cancel(consumer, now, fx);
        });
    }

    /// Answers a `basic.get` of another node; later if the message has to be read from disk.
    pub(crate) fn asked_get(
        &self,
        from: NodeId,
        request: u64,
        cell: &Arc<QueueCell>,
        scope: &mut Scope<'_>,
    ) {
        let now = scope.now;
        let found = self.with_queue(cell, scope, |queue, fx| {
            let found = queue.get(now, fx);
            if found.is_none() && queue.is_loading() {
                // Under the queue's lock: it cannot be loaded before this is noted.
                self.journal.loads.wait_for_node(cell, from, request);
                return None;
            }
            Some(found)
        });
        let Some(found) = found else { return };
        let queue = cell.id;
        let found = found.map(|(delivery, left)| {
            self.remote.serving.got(from, queue, SeqRange { first: delivery.first_seq, n: 1 });
            (messages(&delivery), left)
        });
        if found.is_some() && !self.remote.is_linked(from) {
            // It went meanwhile, and would not give it back.
            self.take_leave(from, scope);
        }
        self.tell_node(from, Tell::Answer { request, queue, told: Told::Got(found) });
    }

    /// Takes for a consumer of another node what its queue has for it.
    pub(crate) fn serve_consumer(&self, consumer: ConsumerId, scope: &mut Scope<'_>) {
        let mut taken = Vec::new();
        loop {
            let Some(turn) = self.remote.serving.begin(consumer) else { return };
            let Turn { node, cell, room } = turn;
            let now = scope.now;
            let bytes = u32::try_from(room).unwrap_or(u32::MAX).min(TURN_BYTES);
            let budget = Budget { records: TURN_RECORDS, bytes };
            let more = self.with_queue(&cell, scope, |queue, fx| {
                queue.take(consumer, budget, now, &mut taken, fx)
            });
            for delivery in taken.drain(..) {
                self.send_delivery(node, &cell, &delivery, scope);
            }
            let again = self.remote.serving.end(consumer);
            if !more && !again {
                return;
            }
        }
    }

    fn send_delivery(
        &self,
        node: NodeId,
        cell: &Arc<QueueCell>,
        delivery: &Delivery,
        scope: &mut Scope<'_>,
    ) {
        let Delivery { consumer, first, n, first_seq, .. } = *delivery;
        let range = SeqRange { first: first_seq, n };
        let weight = delivery_weight(n, delivery.block.body_bytes(first..first + n));
        if self.remote.serving.sending(consumer, range, weight) {
            let messages = messages(delivery);
            return self.tell_node(node, Tell::Deliver { queue: cell.id, consumer, messages });
        }
        // The node went meanwhile.
        let back = Settle { consumer: Some(consumer), range, how: Settlement::Requeue };
        let now = scope.now;
        self.with_queue(cell, scope, |queue, fx| queue.settle(&[back], now, fx));
    }

    /// A queue has cancelled a consumer of another node.
    pub(crate) fn cancel_taker(&self, queue: QueueId, consumer: ConsumerId) {
        if let Some(node) = self.remote.serving.drop_taker(consumer) {
            self.tell_node(node, Tell::Cancelled { queue, consumer });
        }
    }
}

fn messages(delivery: &Delivery) -> Messages {
    let records = delivery.first..delivery.first + delivery.n;
    Messages {
        first: delivery.first_seq,
        redelivered: delivery.redelivered,
        returns: (delivery.returns.all, delivery.returns.failed),
        from_stream: delivery.from_stream,
        block: delivery.block.pack(records).into(),
    }
}
