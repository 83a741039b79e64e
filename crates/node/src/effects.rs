//! Carries out what a queue asked for: wakes consumers, hands confirms back, routes dead letters on, deletes.
//!
//! Effects of one queue on another (dead letters) are a work list, so that no two queue locks are ever held at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_cluster::replication::SessionId;
use leveret_engine::exchange::delay::Due;
use leveret_engine::settings::DeadLetterStrategy;
use leveret_engine::{
    Block, ChannelKey, ConnectionId, ConsumerId, DeadLetter, Effects, Exchange, Incoming, Queue,
    QueueId, QueueMeta, Routable, Routed, SettleOutcome, Settled, Timestamp,
};
use leveret_protocol::Event;
use smallvec::SmallVec;

use crate::connections::Handle;
use crate::letters::{Answered, Letter, Letters, Tries};
use crate::mailbox::{Ready, Source};
use crate::node::Node;
use crate::queues::QueueCell;
use crate::remote::session_of;

/// What one turn of a connection (or of the timers) brings about beyond the queue it touches.
pub(crate) struct Scope<'a> {
    pub(crate) now: Timestamp,
    /// The connection whose turn it is: what concerns itself needs no mailbox.
    own: Option<(ConnectionId, &'a mut Own)>,
    /// How long whoever published is not to be read, in milliseconds, since others cannot keep up.
    pub(crate) rest: u64,
    fx: Effects,
    dead: VecDeque<DeadLetter>,
    /// Messages whose time has come.
    due: VecDeque<Due>,
    /// Dead letters whose queues are to be told what became of them.
    answered: Vec<Answered>,
    /// Holds on the journal's open group, until the dead letters are in their queues.
    holds: u32,
    deletes: SmallVec<[QueueId; 1]>,
    /// Consumers of other nodes that have something to take.
    serve: SmallVec<[ConsumerId; 2]>,
    /// Answers to sessions, and who gives them.
    sessions: Vec<(QueueId, SessionId, Settled)>,
}

/// What a turn brings about for the connection whose turn it is.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) events: Vec<Event>,
    pub(crate) ready: Vec<Ready>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            own: None,
            rest: 0,
            fx: Effects::default(),
            dead: VecDeque::new(),
            due: VecDeque::new(),
            answered: Vec::new(),
            holds: 0,
            deletes: SmallVec::new(),
            serve: SmallVec::new(),
            sessions: Vec::new(),
        }
    }

    pub(crate) fn of(connection: ConnectionId, own: &'a mut Own, now: Timestamp) -> Self {
        Self { own: Some((connection, own)), ..Self::new(now) }
    }
}

impl Scope<'_> {
    /// Tells a connection that there is something for one of its consumers.
    pub(crate) fn ready(&mut self, to: &Handle, ready: Ready) {
        match &mut self.own {
            Some((own, out)) if *own == to.id => out.ready.push(ready),
            _ => to.mailbox.ready(ready),
        }
    }

    /// A block that the queue handed back empty.
    pub(crate) fn take_spare(&mut self) -> Option<Block> {
        self.fx.spare.take()
    }

    /// Confirms a message whose queue was deleted meanwhile: that is how a deletion answers what was outstanding.
    // rabbitmq: publisher confirms
    pub(crate) fn settled_at_once(&mut self, channel: ChannelKey, tag: u64) {
        if let Some((_, own)) = &mut self.own {
            let outcome = SettleOutcome::Accepted;
            own.events.push(Event::Settled(Settled { channel, first_tag: tag, n: 1, outcome }));
        }
    }
}

impl Node {
    /// Runs `work` on a queue under its lock, then carries out its effects with the lock released.
    pub(crate) fn with_queue<R>(
        &self,
        cell: &Arc<QueueCell>,
        scope: &mut Scope<'_>,
        work: impl FnOnce(&mut Queue, &mut Effects) -> R,
    ) -> R {
        let (result, deadline) = {
            let mut queue = cell.queue.lock();
            let result = work(&mut queue, &mut scope.fx);
            if !scope.fx.ops.is_empty() {
                let hold = !scope.fx.dead_letters.is_empty();
                let held = if cell.copy.is_here() {
                    self.log_ops(cell, &mut queue, scope.now, &mut scope.fx)
                } else {
                    self.journal.append(cell, &mut scope.fx.ops, hold)
                };
                scope.holds += u32::from(held);
            }
            let deadline = queue.next_deadline();
            (result, if cell.copy.is_here() { cell.copy.deadline(deadline) } else { deadline })
        };
        if !cell.leaving.load(Ordering::Relaxed) {
            self.timers.arm(cell.id, &cell.armed, deadline);
        }
        self.carry_out(cell, scope);
        result
    }

    fn carry_out(&self, cell: &Arc<QueueCell>, scope: &mut Scope<'_>) {
        for (connection, consumer) in scope.fx.wake.drain(..) {
            let ready = || Ready { source: Source::Queue(Arc::clone(cell)), consumer };
            match &mut scope.own {
                Some((own, out)) if *own == connection => out.ready.push(ready()),
                _ if self.is_foreign(connection.0) => scope.serve.push(consumer),
                _ => {
                    self.connections.with(connection, |to| to.mailbox.ready(ready()));
                }
            }
        }
        for settled in scope.fx.settled.drain(..) {
            if Letters::are_told(&settled) {
                self.letters.settled(&settled, |answered| scope.answered.push(answered));
            } else if let Some(session) = session_of(settled.channel) {
                scope.sessions.push((cell.id, session, settled));
            } else {
                let connection = settled.channel.connection;
                post(self, &mut scope.own, connection, Event::Settled(settled));
            }
        }
        for (queue, session, settled) in std::mem::take(&mut scope.sessions) {
            self.session_settled(queue, session, &settled, scope);
        }
        for (_, channel, consumer) in scope.fx.cancelled.drain(..) {
            if self.is_foreign(channel.connection.0) {
                self.cancel_taker(cell.id, consumer);
                continue;
            }
            let event = Event::Cancelled { channel, consumer };
            post(self, &mut scope.own, channel.connection, event);
        }
        scope.dead.extend(scope.fx.dead_letters.drain(..));
        scope.due.extend(scope.fx.due.drain(..));
        if !scope.fx.loads.is_empty() {
            self.journal.loads.ask(cell, &mut scope.fx.loads);
        }
        // To delete a durable queue takes until the disk has it.
        let unwanted = scope.fx.delete.take().is_some() && self.leads(cell.id);
        if unwanted && !cell.leaving.swap(true, Ordering::Relaxed) {
            scope.deletes.push(cell.id);
        }
    }

    /// Tells a publisher what became of its messages: a client of this node, or letters.
    pub(crate) fn tell_publisher(&self, settled: Settled, scope: &mut Scope<'_>) {
        if Letters::are_told(&settled) {
            self.letters.settled(&settled, |answered| scope.answered.push(answered));
            return;
        }
        let connection = settled.channel.connection;
        post(self, &mut scope.own, connection, Event::Settled(settled));
    }

    /// Ends a turn: dead letters reach their queues, queues that are to go are deleted.
    pub(crate) fn finish(&self, scope: &mut Scope<'_>) {
        loop {
            while let Some(dead) = scope.dead.pop_front() {
                self.dead_letter(&dead, scope);
            }
            if let Some(due) = scope.due.pop_front() {
                self.pass_on(&due, scope);
                continue;
            }
            if let Some(consumer) = scope.serve.pop() {
                self.serve_consumer(consumer, scope);
                continue;
            }
            if scope.holds > 0 {
                self.journal.release(std::mem::take(&mut scope.holds));
            }
            if let Some(answered) = scope.answered.pop() {
                self.letter_answered(answered, scope);
                continue;
            }
            let Some(id) = scope.deletes.pop() else { break };
            self.delete_unused(id, scope.now);
        }
    }

    fn delete_unused(&self, id: QueueId, now: Timestamp) {
        let Some(meta) = self.queue_meta(id) else { return };
        // Nobody waits for the outcome; a queue that is gone already is what was wanted.
        let _ = self.propose(Self::delete_command(&meta), now, Box::new(|_| {}));
    }

    fn dead_letter(&self, dead: &DeadLetter, scope: &mut Scope<'_>) {
        let held_at = |n: u64| {
            let (queue, position) = (dead.source, dead.held_at?.plus(n));
            Some(Letter { queue, position, tries: self.tries(queue) })
        };
        for (letter, n) in dead.republish(scope.now).zip(0..) {
            let mut block = Block::new();
            letter.push_to(&mut block);
            let keys = letter.routing_keys();
            let message = Unsent { exchange: letter.exchange(), keys: &keys, block: &block };
            let wanted = |queue: &QueueMeta| !letter.is_cycle(&queue.name);
            match held_at(n) {
                None => self.send(&dead.vhost, &message, wanted, scope),
                Some(held) => self.send_held(&dead.vhost, &message, wanted, held, scope),
            }
        }
    }

    /// How often the dead letters of a queue are tried, which stay there until then.
    fn tries(&self, queue: QueueId) -> Tries {
        match self.queue_meta(queue).map(|meta| meta.settings.dead_letter_strategy) {
            Some(DeadLetterStrategy::AtMostOnce) => Tries::Once,
            _ => Tries::UntilTaken,
        }
    }

    /// Routes a message whose time has come. Without a target it is gone.
    fn pass_on(&self, due: &Due, scope: &mut Scope<'_>) {
        let (block, keys) = (due.released(scope.now), due.routing_keys());
        let message = Unsent { exchange: &due.exchange, keys: &keys, block: &block };
        let (queue, position) = (due.source, due.position);
        let letter = Letter { queue, position, tries: Tries::UntilNotRefused };
        self.send_held(&due.vhost, &message, |_| true, letter, scope);
    }

    /// Publishes a message whose queue keeps it until every target has it.
    fn send_held(
        &self,
        vhost: &str,
        message: &Unsent<'_>,
        wanted: impl Fn(&QueueMeta) -> bool,
        letter: Letter,
        scope: &mut Scope<'_>,
    ) {
        let targets = self.targets(vhost, message, wanted, scope.now);
        let cells: SmallVec<[_; 2]> =
            targets.into_iter().filter_map(|queue| self.queues.get(queue)).collect();
        if cells.is_empty() {
            let taken = letter.tries != Tries::UntilTaken;
            return scope.answered.push(Answered { letter, taken });
        }
        let confirm = self.letters.send(letter, cells.len());
        for cell in cells {
            let confirms = SmallVec::from_iter([confirm]);
            let incoming = Incoming { block: message.block.clone(), confirms };
            self.hand_in(&cell, None, incoming, scope);
        }
    }

    fn letter_answered(&self, answered: Answered, scope: &mut Scope<'_>) {
        let Answered { letter, taken } = answered;
        let Some(cell) = self.queues.get(letter.queue) else { return };
        let now = scope.now;
        self.with_queue(&cell, scope, |queue, fx| {
            queue.letter_answered(letter.position, taken, now, fx);
        });
    }

    /// Publishes a message that no client sent to the queues that it reaches and that are `wanted`: to none when its
    /// exchange is missing or leads nowhere.
    pub(crate) fn send(
        &self,
        vhost: &str,
        message: &Unsent<'_>,
        wanted: impl Fn(&QueueMeta) -> bool,
        scope: &mut Scope<'_>,
    ) {
        let now = scope.now;
        for queue in self.targets(vhost, message, wanted, now) {
            let Some(cell) = self.queues.get(queue) else { continue };
            let incoming = Incoming { block: message.block.clone(), confirms: SmallVec::new() };
            self.hand_in(&cell, None, incoming, scope);
        }
    }

    fn targets(
        &self,
        vhost: &str,
        message: &Unsent<'_>,
        wanted: impl Fn(&QueueMeta) -> bool,
        now: Timestamp,
    ) -> SmallVec<[QueueId; 2]> {
        let topology = self.topology.read();
        let Some(vhost) = topology.vhost(vhost) else { return SmallVec::new() };
        let routable = Routable::of_record(&message.block.record(0), message.keys);
        let mut routed = Routed::new(self.random_seed());
        let pass = |exchange: &Exchange| {
            self.pass(exchange, routable.properties, now, || message.block.clone())
        };
        vhost.route(message.exchange, &routable, pass, &mut routed);
        let targets = vhost.routed(&routed).filter(|queue| wanted(queue));
        targets.map(|queue| queue.id).collect()
    }
}

/// A message that no client sent: a dead letter, a delayed message, a copy for the firehose.
pub(crate) struct Unsent<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) keys: &'a [&'a [u8]],
    /// Its one record.
    pub(crate) block: &'a Block,
}

fn post(node: &Node, own: &mut Option<(ConnectionId, &mut Own)>, to: ConnectionId, event: Event) {
    match own {
        Some((connection, own)) if *connection == to => own.events.push(event),
        _ => {
            node.connections.with(to, |handle| handle.mailbox.post(event));
        }
    }
}
