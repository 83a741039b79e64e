//! Questions to the leaders of queues, until they are answered: asked again when the connection or the leader was lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_cluster::Proposed;
use leveret_cluster::replication::NodeId;
use leveret_cluster::replication::wire::proxy::{Ask, Done, How, Told};
use leveret_engine::{
    BrokerError, ChannelKey, Command, ConnectionId, ConsumerId, Outcome, QueueId, QueueMeta,
    ResourceName, Seq, SeqRange, Timestamp,
};
use leveret_protocol::{Answer, Counts, Declared, Event};
use parking_lot::Mutex;

use super::Consumer;
use super::consumer::delivery;
use crate::connections::Handle;
use crate::effects::Scope;
use crate::node::Node;
use crate::peers::Leads;
use crate::ports::told_counts;

/// The questions that are open.
#[derive(Default)]
pub(super) struct Requests {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    /// Who was asked, if anybody has been.
    asked: Option<NodeId>,
    question: Question,
}

/// A question, and who wants to know.
pub(crate) struct Question {
    pub(crate) queue: QueueId,
    /// The client; a consumer that is moved has nobody who waits.
    pub(crate) handle: Option<Arc<Handle>>,
    pub(crate) wanted: Wanted,
}

/// What a client is answered, given what a proposal came to; `None` if somebody else answers.
pub(crate) type Shape = Arc<dyn Fn(&Node, Proposed, Timestamp) -> Option<Answer> + Send + Sync>;

/// What is wanted.
pub(crate) enum Wanted {
    /// To consume.
    Consuming { consumer: Arc<Consumer>, channel: ChannelKey },
    /// A message.
    Got { channel: ChannelKey, no_ack: bool },
    /// To purge.
    Purged { channel: ChannelKey },
    /// What is in the queue, for a passive declare.
    Counts { channel: ChannelKey },
    /// A change that the queue's node makes; and what the client is answered.
    Applied { channel: ChannelKey, command: Box<Command>, shape: Shape },
    /// The same for a declare.
    Declared { channel: ChannelKey, queue: Arc<QueueMeta> },
    /// The same, to delete the queue then.
    Deleted { channel: ChannelKey, queue: Arc<QueueMeta>, if_unused: bool, if_empty: bool },
}

impl Wanted {
    fn channel(&self) -> ChannelKey {
        match self {
            Self::Consuming { channel, .. }
            | Self::Got { channel, .. }
            | Self::Purged { channel }
            | Self::Counts { channel }
            | Self::Applied { channel, .. }
            | Self::Declared { channel, .. }
            | Self::Deleted { channel, .. } => *channel,
        }
    }

    fn refused(&self, error: BrokerError) -> Answer {
        match self {
            Self::Consuming { .. } => Answer::Consuming(Err(error)),
            Self::Got { .. } => Answer::Got(Err(error)),
            Self::Purged { .. } => Answer::Purged(Err(error)),
            Self::Counts { .. } => Answer::Counts(Err(error)),
            Self::Applied { .. } => Answer::Applied(Err(error)),
            Self::Declared { .. } => Answer::Declared(Err(error)),
            Self::Deleted { .. } => Answer::Deleted(Err(error)),
        }
    }
}

impl Requests {
    fn open(&self, question: Question) -> u64 {
        let mut inner = self.inner.lock();
        inner.last += 1;
        let number = inner.last;
        inner.open.insert(number, Open { asked: None, question });
        number
    }

    /// The question that `from` answers.
    fn answered(&self, number: u64, from: NodeId) -> Option<Question> {
        let mut inner = self.inner.lock();
        let asked = inner.open.get(&number)?.asked;
        (asked == Some(from))
            .then(|| inner.open.remove(&number))
            .flatten()
            .map(|open| open.question)
    }

    fn take(&self, number: u64) -> Option<Question> {
        self.inner.lock().open.remove(&number).map(|open| open.question)
    }

    /// Notes who is asked; what to ask, if the question is open and was not asked of that node.
    fn asking(&self, number: u64, node: NodeId) -> Option<Ask> {
        let mut inner = self.inner.lock();
        let open = inner.open.get_mut(&number)?;
        open.asked = Some(node);
        let queue = open.question.queue;
        Some(match &open.question.wanted {
            Wanted::Consuming { consumer, .. } => {
                consumer.attach(Some(node));
                let consumer = Box::new(consumer.subscriber());
                Ask::Consume { request: number, queue, consumer }
            }
            Wanted::Got { .. } => Ask::Get { request: number, queue },
            Wanted::Purged { .. } => Ask::Purge { request: number, queue },
            Wanted::Applied { command, .. } => {
                Ask::Apply { request: number, queue, command: command.clone() }
            }
            Wanted::Counts { .. } | Wanted::Declared { .. } | Wanted::Deleted { .. } => {
                Ask::Counts { request: number, queue }
            }
        })
    }

    /// Takes out what a connection asked.
    fn of_connection(&self, id: ConnectionId) -> Vec<Question> {
        let mut inner = self.inner.lock();
        let its = |open: &Open| open.question.handle.as_ref().is_some_and(|handle| handle.id == id);
        let taken: Vec<_> = inner.open.extract_if(.., |_, open| its(open)).collect();
        taken.into_iter().map(|(_, open)| open.question).collect()
    }

    /// The consumers of a queue that are asked to be taken.
    pub(super) fn consumers(&self, queue: QueueId) -> Vec<ConsumerId> {
        let inner = self.inner.lock();
        let of_queue = inner.open.values().filter(|open| open.question.queue == queue);
        let consumers = of_queue.filter_map(|open| match &open.question.wanted {
            Wanted::Consuming { consumer, .. } => Some(consumer.spec.id),
            _ => None,
        });
        consumers.collect()
    }

    fn of_queue(&self, queue: QueueId) -> Vec<u64> {
        let inner = self.inner.lock();
        let of_queue = inner.open.iter().filter(|(_, open)| open.question.queue == queue);
        of_queue.map(|(number, _)| *number).collect()
    }
}

impl Node {
    /// Asks the leader of a queue, now or when there is a connection to it.
    pub(crate) fn question(&self, question: Question) {
        let queue = question.queue;
        // So that a change of leader is noticed.
        self.remote.far_or_new(queue);
        let number = self.remote.requests.open(question);
        if let Some(leader) = self.linked_leader(queue)
            && let Some(ask) = self.remote.requests.asking(number, leader)
        {
            self.ask(leader, ask);
        }
    }

    /// Nobody answers for a queue: what a client is told.
    pub(crate) fn nobody_leads(&self, queue: QueueId) -> Option<BrokerError> {
        if self.leader_of(queue) != Leads::Nobody {
            return None;
        }
        let meta = self.queue_meta(queue)?;
        let queue = ResourceName::queue(&meta.vhost, Arc::clone(&meta.name));
        Some(BrokerError::HomeNodeDown { queue, node: self.home_node(meta.id) })
    }

    /// Asks the questions of a queue again, whose leader is another one now or is connected again.
    pub(super) fn ask_again(&self, queue: QueueId, scope: &mut Scope<'_>) {
        let leads = self.leader_of(queue);
        for number in self.remote.requests.of_queue(queue) {
            match leads {
                Leads::There(node) if self.remote.is_linked(node) => {
                    if let Some(ask) = self.remote.requests.asking(number, node) {
                        self.ask(node, ask);
                    }
                }
                Leads::There(_) => {}
                Leads::Here => {
                    if let Some(question) = self.remote.requests.take(number) {
                        self.answer_here(question, scope);
                    }
                }
                Leads::Nobody => {
                    let Some(error) = self.nobody_leads(queue) else { continue };
                    let Some(question) = self.remote.requests.take(number) else { continue };
                    self.refuse(&question, error);
                }
            }
        }
    }

    fn refuse(&self, question: &Question, error: BrokerError) {
        if let Wanted::Consuming { consumer, .. } = &question.wanted
            && let Some(far) = self.remote.far(question.queue)
        {
            far.state.lock().consumers.remove(&consumer.spec.id);
        }
        question.answer(question.wanted.refused(error));
    }

    /// This node leads the queue of a question itself.
    fn answer_here(&self, question: Question, scope: &mut Scope<'_>) {
        let Some(cell) = self.queues.get(question.queue) else {
            return self.queue_gone(&question, scope.now);
        };
        let now = scope.now;
        match &question.wanted {
            Wanted::Consuming { consumer, .. } => {
                if let Some(far) = self.remote.far(question.queue) {
                    far.state.lock().consumers.remove(&consumer.spec.id);
                }
                let spec = consumer.local_spec();
                // The answer has to be there before what the consumer is handed.
                self.with_queue(&cell, scope, |queue, fx| {
                    let taken = queue.consume(spec, now, fx);
                    if !consumer.tell() || taken.is_err() {
                        question.answer(Answer::Consuming(taken));
                    }
                });
            }
            Wanted::Got { channel, no_ack } => {
                if let Some(handle) = &question.handle {
                    let (queue, channel, no_ack) = (cell, *channel, *no_ack);
                    handle.mailbox.retry(crate::mailbox::Retry { queue, channel, no_ack });
                }
            }
            Wanted::Purged { .. } => {
                let n = self.with_queue(&cell, scope, |queue, fx| queue.purge(fx));
                question.answer(Answer::Purged(Ok(n)));
            }
            // What is not durable does not move to another node.
            Wanted::Applied { .. } => self.queue_gone(&question, now),
            Wanted::Counts { .. } | Wanted::Declared { .. } | Wanted::Deleted { .. } => {
                let counts = self.with_queue(&cell, scope, |queue, _| {
                    queue.touch(now);
                    told_counts(queue)
                });
                self.counted(question, Some(counts), scope);
            }
        }
    }

    /// The queue of a question was deleted.
    pub(super) fn queue_gone(&self, question: &Question, now: Timestamp) {
        if let Wanted::Applied { shape, .. } = &question.wanted {
            // rabbitmq: to delete or unbind what is not there is no error
            if let Some(answer) = shape(self, Ok(Outcome::Deleted { existed: false }), now) {
                question.answer(answer);
            }
            return;
        }
        question.answer(match &question.wanted {
            Wanted::Consuming { .. } => Answer::Consuming(Ok(())),
            Wanted::Got { .. } => Answer::Got(Ok(None)),
            Wanted::Purged { .. } => Answer::Purged(Ok(0)),
            Wanted::Counts { .. } | Wanted::Applied { .. } => Answer::Counts(Ok(None)),
            Wanted::Declared { queue, .. } => {
                Answer::Declared(Ok(Declared { queue: Arc::clone(queue), ready: 0, consumers: 0 }))
            }
            Wanted::Deleted { .. } => Answer::Deleted(Ok(0)),
        });
    }

    /// Answers all questions of a queue that was deleted.
    pub(super) fn answer_gone(&self, queue: QueueId, now: Timestamp) {
        for number in self.remote.requests.of_queue(queue) {
            if let Some(question) = self.remote.requests.take(number) {
                self.queue_gone(&question, now);
            }
        }
    }

    /// The leader has answered.
    pub(super) fn answered(
        &self,
        from: NodeId,
        (number, queue): (u64, QueueId),
        told: Told,
        scope: &mut Scope<'_>,
    ) {
        let Some(question) = self.remote.requests.answered(number, from) else {
            // Whoever asked is gone, or has been answered otherwise.
            if let Told::Got(Some((messages, _))) = told {
                self.give_back_got(from, queue, messages.first);
            }
            return;
        };
        match (&question.wanted, told) {
            (Wanted::Consuming { consumer, .. }, Told::Consuming(taken)) => {
                self.consuming(&question, consumer, taken);
            }
            (Wanted::Got { channel, no_ack }, Told::Got(found)) => {
                self.got(from, &question, (*channel, *no_ack), found);
            }
            (Wanted::Purged { .. }, Told::Purged(n)) => question.answer(Answer::Purged(Ok(n))),
            (Wanted::Applied { shape, .. }, Told::Applied(came)) => {
                if let Some(answer) = shape(self, came, scope.now) {
                    question.answer(answer);
                }
            }
            (_, Told::Counts(counts)) => {
                let counts = counts.map(|(ready, consumers)| Counts { ready, consumers });
                self.counted(question, counts, scope);
            }
            _ => tracing::error!(node = %from, "an answer that is none to what was asked"),
        }
    }

    fn consuming(&self, question: &Question, consumer: &Consumer, taken: Result<(), BrokerError>) {
        if taken.is_err()
            && let Some(far) = self.remote.far(question.queue)
        {
            far.state.lock().consumers.remove(&consumer.spec.id);
        }
        let was_told = consumer.tell();
        match taken {
            taken if !was_told => question.answer(Answer::Consuming(taken)),
            Ok(()) => {}
            // It was moved to another leader, which does not take it.
            Err(_) => cancelled(consumer),
        }
    }

    fn got(
        &self,
        from: NodeId,
        question: &Question,
        (channel, no_ack): (ChannelKey, bool),
        found: Option<(leveret_cluster::replication::wire::proxy::Messages, u64)>,
    ) {
        let queue = question.queue;
        let found =
            found.and_then(|(messages, left)| Some((delivery(ConsumerId::GET, &messages)?, left)));
        if let Some((delivery, _)) = &found {
            if !self.connections.is_there(channel.connection) {
                return self.give_back_got(from, queue, delivery.first_seq);
            }
            if no_ack {
                self.settle_got(from, queue, delivery.first_seq, How::Ack);
            }
        }
        question.answer(Answer::Got(Ok(found)));
    }

    fn give_back_got(&self, leader: NodeId, queue: QueueId, position: Seq) {
        self.settle_got(leader, queue, position, How::Requeue);
    }

    fn settle_got(&self, leader: NodeId, queue: QueueId, position: Seq, how: How) {
        let done = Done { consumer: None, range: SeqRange { first: position, n: 1 }, how };
        self.ask(leader, Ask::Settle { queue, settles: vec![done] });
    }

    /// A connection is gone, and wants no answer any more.
    pub(crate) fn forget_questions_of(&self, handle: &Handle) {
        for question in self.remote.requests.of_connection(handle.id) {
            if let Wanted::Consuming { consumer, .. } = &question.wanted {
                self.cancel_far(consumer);
            }
        }
    }

    fn counted(&self, question: Question, counts: Option<Counts>, scope: &mut Scope<'_>) {
        let told = counts.unwrap_or_default();
        match &question.wanted {
            Wanted::Declared { queue, .. } => {
                let Counts { ready, consumers } = told;
                let queue = Arc::clone(queue);
                question.answer(Answer::Declared(Ok(Declared { queue, ready, consumers })));
            }
            Wanted::Deleted { channel, queue, if_unused, if_empty } => {
                let flags = (*if_unused, *if_empty);
                let Some(handle) = &question.handle else { return };
                let answer = self.delete_counted(handle, *channel, queue, flags, told, scope.now);
                if let Some(answer) = answer {
                    question.answer(answer);
                }
            }
            _ => question.answer(Answer::Counts(Ok(counts))),
        }
    }
}

/// Tells a client that its consumer is gone.
pub(super) fn cancelled(consumer: &Consumer) {
    let (channel, consumer_id) = (consumer.spec.channel, consumer.spec.id);
    consumer.handle.mailbox.post(Event::Cancelled { channel, consumer: consumer_id });
}

impl Question {
    fn answer(&self, answer: Answer) {
        if let Some(handle) = &self.handle {
            let channel = self.wanted.channel();
            handle.mailbox.post(Event::Answer { channel, answer });
        }
    }
}
