//! What a connection asks of its node: the [`Broker`] of the protocol layer, for the length of one turn. Hot path.

use std::sync::Arc;

use leveret_cluster::Proposed;
use leveret_engine::{
    Block, BrokerError, ChannelKey, Command, ConsumerId, ConsumerSpec, Effects, Exchange,
    NewRecord, Passage, Queue, QueueId, QueueKind, QueueMeta, ResourceName, Settle, Timestamp,
    Topology,
};
use leveret_protocol::{Answer, Broker, Call, Counts, Event, Tap};
use parking_lot::RwLockReadGuard;

use crate::connections::Handle;
use crate::effects::Scope;
use crate::node::Node;
use crate::pending::{Batch, Pending, Push};
use crate::queues::QueueCell;

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
        shape: impl Fn(&Node, Proposed, Timestamp) -> Answer + Clone + Send + 'static,
    ) -> Option<Answer> {
        let now = self.scope.now;
        let shape_later = shape.clone();
        let (node, handle) = (self.node.weak(), Arc::clone(self.handle));
        let later = Box::new(move |proposed: Proposed| {
            if let Some(node) = node.upgrade() {
                let answer = shape_later(&node, proposed, now);
                handle.mailbox.post(Event::Answer { channel, answer });
            }
        });
        let proposed = self.node.propose(command, now, later)?;
        Some(shape(self.node, proposed, now))
    }

    fn delete(
        &mut self,
        channel: ChannelKey,
        meta: &QueueMeta,
        if_unused: bool,
        if_empty: bool,
    ) -> Option<Answer> {
        let counts = self.with(meta.id, |queue, _| queue.counts()).unwrap_or_default();
        let name = || ResourceName::queue(&meta.vhost, Arc::clone(&meta.name));
        if if_empty && counts.ready > 0 {
            return Some(Answer::Deleted(Err(BrokerError::NotEmpty(name()))));
        }
        if if_unused && counts.consumers > 0 {
            return Some(Answer::Deleted(Err(BrokerError::InUse(name()))));
        }
        // rabbitmq: who deletes a stream is not told how much was in it
        let n = if meta.kind == QueueKind::Stream { 0 } else { counts.ready };
        self.propose(channel, Node::delete_command(meta), move |_, proposed, _| {
            Answer::Deleted(proposed.map(|_| n))
        })
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
        let Some(channel) = self.node.replies.find(token) else { return false };
        let mut block = Block::new();
        block.push(record);
        let event = Event::Reply { channel, block };
        self.node.connections.with(channel.connection, |to| to.mailbox.post(event)).is_some()
    }

    fn reply_alive(&self, token: &str) -> bool {
        self.node.replies.find(token).is_some()
    }

    fn open_reply(&mut self, channel: ChannelKey) -> Arc<str> {
        let secret = self.node.random();
        self.node.replies.open(channel, secret)
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
            Call::DeclareQueue(declare) => {
                let command = Command::DeclareQueue(declare);
                return self.propose(channel, command, |node, proposed, now| {
                    Answer::Declared(proposed.and_then(|outcome| node.declared(outcome, now)))
                });
            }
            Call::DeleteQueue { queue, if_unused, if_empty } => {
                return self.delete(channel, &queue, if_unused, if_empty);
            }
            Call::Consume { queue, spec } => Answer::Consuming(self.consume(queue, spec)),
            Call::Cancel { queue, consumer } => {
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
                Answer::Cancelled
            }
            Call::Get { queue, no_ack } => match self.node.queues.get(queue) {
                Some(cell) => return self.get_or_wait(&cell, channel, no_ack),
                None => Answer::Got(Ok(None)),
            },
            Call::Purge { queue } => {
                Answer::Purged(Ok(self.with(queue, |queue, fx| queue.purge(fx)).unwrap_or(0)))
            }
            Call::Counts { queue } => Answer::Counts(self.counts(queue)),
            Call::ShareCredit { queue, consumer, credit } => {
                self.with(queue, |queue, _| queue.share_credit(consumer, credit));
                Answer::Noted
            }
            Call::Credit { queue, consumer } => {
                self.with(queue, |queue, fx| queue.credit_changed(consumer, now, fx));
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
    let incoming = batch.take_incoming();
    let early = std::mem::take(&mut batch.early);
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
    let (now, settles) = (scope.now, &batch.settles);
    node.with_queue(&batch.cell, scope, |queue, fx| queue.settle(settles, now, fx));
    batch.settles.clear();
    batch.early = 0;
}
