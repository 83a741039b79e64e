//! What a connection asks of its node: the [`Broker`] of the protocol layer, for the length of one turn. Hot path.

use std::sync::Arc;

use leveret_cluster::Proposed;
use leveret_engine::{
    Block, BrokerError, ChannelKey, Command, ConsumerId, ConsumerSpec, Effects, Exchange,
    NewRecord, Passage, Queue, QueueDeclare, QueueId, QueueMeta, Settle, Timestamp, Topology,
};
use leveret_protocol::{Answer, Broker, Call, Counts, Tap};
use parking_lot::RwLockReadGuard;
use smallvec::SmallVec;

use crate::connections::Handle;
use crate::effects::Scope;
use crate::node::Node;
use crate::pending::{Batch, Pending, Push};
use crate::queues::QueueCell;
use crate::remote::{Question, Wanted};

/// How long a publisher is not read when the consumers of its queue cannot keep up, in milliseconds. They drain faster
/// than new memory could be filled; a consumer that does not read cannot hold a publisher back for longer than this
/// per batch.
const REST_MS: u64 = 1;

/// What is told of a queue by a declare.
pub(crate) fn told_counts(queue: &Queue) -> Counts {
    let counts = queue.counts();
    // rabbitmq: nobody is told how many read a stream
    let consumers = if queue.is_stream() { 0 } else { counts.consumers };
    Counts { ready: counts.ready, consumers }
}

/// One connection's way into the node during one turn.
pub(crate) struct Ports<'n, 's> {
    node: &'n Node,
    handle: &'n Arc<Handle>,
    pending: &'n mut Pending,
    scope: &'n mut Scope<'s>,
}

impl<'n, 's> Ports<'n, 's> {
    pub(crate) fn new(
        node: &'n Node,
        handle: &'n Arc<Handle>,
        pending: &'n mut Pending,
        scope: &'n mut Scope<'s>,
    ) -> Self {
        Self { node, handle, pending, scope }
    }

    /// Hands everything pending to its queues: one lock per queue, or two. Publishes go first, so that a message that was
    /// passed on before its original was acked is never in no queue; only what was settled before all of them goes with
    /// those to its queue, so that whoever acks and publishes is ready for the next message.
    pub(crate) fn flush(&mut self) {
        for batch in self.pending.batches() {
            hand_over_publishes(self.node, self.handle, self.scope, batch);
        }
        for batch in self.pending.batches() {
            hand_over_settles(self.node, self.scope, batch);
        }
        self.pending.handed_over();
    }

    /// Runs `work` on a queue, if it is still there.
    fn with<R>(
        &mut self,
        queue: QueueId,
        work: impl FnOnce(&mut Queue, &mut Effects) -> R,
    ) -> Option<R> {
        let cell = self.node.queues.get(queue)?;
        Some(self.node.with_queue(&cell, self.scope, work))
    }

    /// Proposes `command`; `shape` makes the answer of what it came to, now or later.
    fn propose(
        &mut self,
        channel: ChannelKey,
        command: Command,
        shape: impl Fn(&Node, Proposed, Timestamp) -> Answer + Clone + Send + Sync + 'static,
    ) -> Option<Answer> {
        self.node.propose_for(
            self.handle,
            channel,
            command,
            self.scope.now,
            move |node, came, now| Some(shape(node, came, now)),
        )
    }

    /// Declares a queue. What is in one that exists is asked of its leader.
    fn declare(&mut self, channel: ChannelKey, declare: QueueDeclare) -> Option<Answer> {
        let (command, handle) = (Command::DeclareQueue(declare), Arc::clone(self.handle));
        let now = self.scope.now;
        self.node.propose_for(self.handle, channel, command, now, move |node, proposed, now| {
            match proposed {
                Ok(outcome) => node.declared_for(&handle, channel, outcome, now),
                Err(error) => Some(Answer::Declared(Err(error))),
            }
        })
    }

    fn delete(
        &mut self,
        channel: ChannelKey,
        meta: &Arc<QueueMeta>,
        if_unused: bool,
        if_empty: bool,
    ) -> Option<Answer> {
        let counts = if self.node.leads(meta.id) {
            let counts = self.with(meta.id, |queue, _| queue.counts()).unwrap_or_default();
            Counts { ready: counts.ready, consumers: counts.consumers }
        } else {
            match self.node.nobody_leads(meta.id) {
                Some(error) if if_unused || if_empty => return Some(Answer::Deleted(Err(error))),
                // rabbitmq: a queue whose node is down is deleted all the same
                Some(_) => Counts::default(),
                None => {
                    let queue = Arc::clone(meta);
                    let wanted = Wanted::Deleted { channel, queue, if_unused, if_empty };
                    return self.question(meta.id, wanted);
                }
            }
        };
        self.node.delete_counted(
            self.handle,
            channel,
            meta,
            (if_unused, if_empty),
            counts,
            self.scope.now,
        )
    }

    /// Asks the leader of a queue, which is another node.
    fn question(&self, queue: QueueId, wanted: Wanted) -> Option<Answer> {
        let handle = Some(Arc::clone(self.handle));
        self.node.question(Question { queue, handle, wanted });
        None
    }

    fn consume(&mut self, queue: QueueId, spec: ConsumerSpec) -> Result<(), BrokerError> {
        let now = self.scope.now;
        let told = self.node.watched.is_listened().then(|| spec.clone());
        let mut name = None;
        let taken = self.with(queue, |queue, fx| {
            name = told.as_ref().map(|_| Arc::clone(queue.name()));
            queue.consume(spec, now, fx)
        });
        if let (Some(spec), Some(queue), Some(Ok(()))) = (told, name, &taken) {
            let (node, handle) = (self.node, self.handle);
            node.tell_of(handle, self.scope, |client| client.consumes(&queue, &spec));
        }
        taken.unwrap_or(Ok(()))
    }

    fn cancel(&mut self, queue: QueueId, consumer: ConsumerId) {
        if let Some(consumer) = self.node.far_consumer(queue, consumer) {
            return self.node.cancel_far(&consumer);
        }
        let now = self.scope.now;
        let listened = self.node.watched.is_listened();
        let gone = self.with(queue, |queue, fx| {
            let gone = queue.consumers().find(|view| listened && view.spec.id == consumer);
            let gone = gone.map(|view| (Arc::clone(queue.name()), view.spec.clone()));
            queue.cancel(consumer, now, fx);
            gone
        });
        if let Some((queue, spec)) = gone.flatten() {
            let (node, handle) = (self.node, self.handle);
            node.tell_of(handle, self.scope, |client| client.cancelled(&queue, &spec));
        }
    }

    /// The next message, or that there is none; `None` while the queue reads it from disk: then the connection is told to
    /// try again.
    pub(crate) fn get_or_wait(
        &mut self,
        cell: &Arc<QueueCell>,
        channel: ChannelKey,
        no_ack: bool,
    ) -> Option<Answer> {
        let now = self.scope.now;
        let (node, handle) = (self.node, self.handle);
        if !node.leads(cell.id) {
            return match node.nobody_leads(cell.id) {
                Some(error) => Some(Answer::Got(Err(error))),
                None => self.question(cell.id, Wanted::Got { channel, no_ack }),
            };
        }
        node.with_queue(cell, self.scope, |queue, fx| {
            let found = if no_ack { queue.get_no_ack(now, fx) } else { queue.get(now, fx) };
            if found.is_none() && queue.is_loading() {
                // Under the queue's lock: it cannot be loaded before this is noted.
                node.journal.loads.wait(cell, handle, channel, no_ack);
                return None;
            }
            Some(Answer::Got(Ok(found)))
        })
    }

    fn counts(&mut self, queue: QueueId) -> Option<Counts> {
        let now = self.scope.now;
        self.with(queue, |queue, _| {
            queue.touch(now);
            told_counts(queue)
        })
    }
}

impl Broker for Ports<'_, '_> {
    type Guard<'a>
        = RwLockReadGuard<'a, Topology>
    where
        Self: 'a;

    fn topology(&self) -> Self::Guard<'_> {
        self.node.topology.read()
    }

    #[inline]
    fn routing_version(&self) -> u64 {
        self.node.routing_version()
    }

    #[inline]
    fn publish(
        &mut self,
        queue: QueueId,
        record: &NewRecord<'_>,
        confirm: Option<(ChannelKey, u64)>,
    ) {
        let node = self.node;
        match self.pending.publish(queue, record, confirm, |id| node.queues.get(id)) {
            Push::Room => {}
            Push::Full(batch) => hand_over_publishes(node, self.handle, self.scope, batch),
            Push::Gone => {
                if let Some((channel, tag)) = confirm {
                    self.scope.settled_at_once(channel, tag);
                }
            }
        }
    }

    fn pass(&self, exchange: &Exchange, record: &NewRecord<'_>) -> Passage {
        self.node.pass(exchange, record.properties, self.scope.now, || {
            let mut block = Block::with_capacity(record.stored_len(), 1);
            block.push(record);
            block
        })
    }

    fn tap(&mut self, tap: &Tap<'_>) {
        self.node.tap(tap, &self.handle.endpoints.local, self.scope);
    }

    fn settle(&mut self, queue: QueueId, settle: Settle) {
        self.pending.settle(queue, settle, |id| self.node.queues.get(id));
    }

    fn reply(&mut self, token: &str, record: &NewRecord<'_>) -> bool {
        let mut block = Block::new();
        block.push(record);
        match self.node.replies.find(token) {
            Some(channel) => self.node.reply_to(channel, block),
            None => self.node.reply_far(token, &block),
        }
    }

    fn reply_alive(&self, token: &str) -> bool {
        self.node.replies.find(token).is_some() || self.node.far_reply_node(token).is_some()
    }

    fn open_reply(&mut self, channel: ChannelKey) -> Arc<str> {
        let secret = self.node.random();
        let node = self.node.membership().map(|me| me.node);
        self.node.replies.open(channel, secret, node)
    }

    fn close_reply(&mut self, channel: ChannelKey) {
        self.node.replies.close(channel);
    }

    fn call(&mut self, channel: ChannelKey, call: Call) -> Option<Answer> {
        self.flush();
        let now = self.scope.now;
        Some(match call {
            Call::Open { vhost, user } => {
                let opened = {
                    let topology = self.node.topology.read();
                    let id = self.handle.id;
                    self.node.admission.connection(&topology, id, &vhost, &user)
                };
                if opened.is_ok() {
                    self.node.connection_opened(self.handle, &user, &vhost, self.scope);
                }
                Answer::Opened(opened)
            }
            Call::OpenChannel { user } => {
                let opened = {
                    let topology = self.node.topology.read();
                    self.node.admission.channel(&topology, self.handle.id, &user)
                };
                if opened.is_ok() {
                    let number = channel.number;
                    self.node
                        .tell_of(self.handle, self.scope, |client| client.channel_opened(number));
                }
                Answer::Opened(opened)
            }
            Call::CloseChannel { .. } => {
                self.node.admission.release_channel(self.handle.id);
                let number = channel.number;
                self.node.tell_of(self.handle, self.scope, |client| client.channel_closed(number));
                Answer::Cancelled
            }
            Call::Command(command) => {
                return self.propose(channel, command, |_, proposed, _| Answer::Applied(proposed));
            }
            Call::DeclareQueue(declare) => return self.declare(channel, declare),
            Call::DeleteQueue { queue, if_unused, if_empty } => {
                return self.delete(channel, &queue, if_unused, if_empty);
            }
            Call::Consume { queue, spec } => {
                if self.node.leads(queue) {
                    return Some(Answer::Consuming(self.consume(queue, spec)));
                }
                if let Some(error) = self.node.nobody_leads(queue) {
                    return Some(Answer::Consuming(Err(error)));
                }
                self.node.consume_far(queue, spec, self.handle);
                return None;
            }
            Call::Cancel { queue, consumer } => {
                self.cancel(queue, consumer);
                Answer::Cancelled
            }
            Call::Get { queue, no_ack } => match self.node.queues.get(queue) {
                Some(cell) => return self.get_or_wait(&cell, channel, no_ack),
                None => Answer::Got(Ok(None)),
            },
            Call::Purge { queue } if !self.node.leads(queue) => {
                if let Some(error) = self.node.nobody_leads(queue) {
                    return Some(Answer::Purged(Err(error)));
                }
                return self.question(queue, Wanted::Purged { channel });
            }
            Call::Purge { queue } => {
                Answer::Purged(Ok(self.with(queue, |queue, fx| queue.purge(fx)).unwrap_or(0)))
            }
            Call::Counts { queue } if !self.node.leads(queue) => {
                if let Some(error) = self.node.nobody_leads(queue) {
                    return Some(Answer::Counts(Err(error)));
                }
                return self.question(queue, Wanted::Counts { channel });
            }
            Call::Counts { queue } => Answer::Counts(Ok(self.counts(queue))),
            Call::ShareCredit { queue, consumer, credit } => {
                match self.node.far_consumer(queue, consumer) {
                    Some(far) => far.share(credit),
                    None => {
                        self.with(queue, |queue, _| queue.share_credit(consumer, credit));
                    }
                }
                Answer::Noted
            }
            Call::Credit { queue, consumer } => {
                match self.node.far_consumer(queue, consumer) {
                    Some(far) => self.node.far_credit_changed(&far, self.scope),
                    None => {
                        self.with(queue, |queue, fx| queue.credit_changed(consumer, now, fx));
                    }
                }
                Answer::Cancelled
            }
        })
    }

    fn random(&mut self) -> [u8; 16] {
        self.node.random()
    }

    fn next_consumer_id(&mut self) -> ConsumerId {
        self.node.ids.consumer()
    }
}

#[inline]
fn hand_over_publishes(
    node: &Node,
    publisher: &Arc<Handle>,
    scope: &mut Scope<'_>,
    batch: &mut Batch,
) {
    if batch.block.is_empty() {
        return;
    }
    let now = scope.now;
    let early = std::mem::take(&mut batch.early);
    if node.is_far(batch.cell.id) {
        let settles: SmallVec<[Settle; 4]> = batch.settles.drain(..early).collect();
        settle_far_or_here(node, scope, &batch.cell, &settles);
        let (queue, incoming) = (batch.cell.id, batch.take_incoming());
        return node.publish_far(queue, Some(publisher), incoming, scope);
    }
    let incoming = batch.take_incoming();
    let settled = batch.settles.get(..early).unwrap_or_default();
    let pressed = node.with_queue(&batch.cell, scope, |queue, fx| {
        if !settled.is_empty() {
            queue.settle(settled, now, fx);
        }
        queue.publish(incoming, now, fx);
        queue.is_pressed(now)
    });
    batch.settles.drain(..early);
    if pressed {
        scope.rest = scope.rest.max(REST_MS);
    }
    scope.rest = scope.rest.max(node.journal.rest(publisher));
    batch.reuse(scope.take_spare());
}

#[inline]
fn hand_over_settles(node: &Node, scope: &mut Scope<'_>, batch: &mut Batch) {
    if batch.settles.is_empty() {
        return;
    }
    settle_far_or_here(node, scope, &batch.cell, &batch.settles);
    batch.settles.clear();
    batch.early = 0;
}

#[inline]
fn settle_far_or_here(
    node: &Node,
    scope: &mut Scope<'_>,
    cell: &Arc<QueueCell>,
    settles: &[Settle],
) {
    if !settles.is_empty() && !node.settle_far(cell.id, settles, scope) {
        let now = scope.now;
        node.with_queue(cell, scope, |queue, fx| queue.settle(settles, now, fx));
    }
}
