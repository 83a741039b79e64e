//! A node without threads, disk or peers: real topology, real queues, and a switch that makes its
//! answers come later.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{Change, Outcome};
use leveret_engine::exchange::Kept;
use leveret_engine::topology::default_commands;
use leveret_engine::{
    BindingSpec, Block, BrokerError, Budget, ChannelKey, Command, ConfirmRun, ConnectionId,
    ConnectionLimit, ConsumerId, DeadLetter, Delivery, Destination, Effects, Exchange,
    ExchangeState, Incoming, NewRecord, Passage, Queue, QueueId, ResourceName, Routable, Routed,
    SeqRange, Settle, Settled, Settlement, Timestamp, Topology, TopologyConfig,
};

use crate::{Answer, Broker, Call, Counts, Declared, Event, Tap};

/// What a take may hand out at once; small, so that tests see deliveries in pieces.
const TAKE: Budget = Budget { records: 100, bytes: 256 * 1024 };

/// Deliveries of one queue on their way to a connection.
pub type Deliveries = (ConnectionId, QueueId, Vec<Delivery>);

/// A node of one thread.
#[derive(Debug)]
pub struct FakeNode {
    /// The time of everything that happens.
    pub now: Timestamp,
    /// Whether calls are kept until [`FakeNode::answer_calls`].
    pub defer: bool,
    topology: Topology,
    version: Arc<AtomicU64>,
    queues: BTreeMap<QueueId, Queue>,
    /// By vhost and name.
    exchanges: BTreeMap<(Arc<str>, Arc<str>), RefCell<ExchangeState>>,
    incoming: BTreeMap<QueueId, Incoming>,
    settles: BTreeMap<QueueId, Vec<Settle>>,
    replies: BTreeMap<Arc<str>, ChannelKey>,
    events: VecDeque<(ConnectionId, Event)>,
    ready: VecDeque<(ConnectionId, QueueId, ConsumerId)>,
    deferred: VecDeque<(ChannelKey, Call)>,
    /// Vhost and user of every open connection.
    connections: BTreeMap<ConnectionId, (Arc<str>, Arc<str>)>,
    /// Users of open channels.
    channels: BTreeMap<Arc<str>, u64>,
    consumers: u64,
    randoms: u8,
}

impl FakeNode {
    /// A node with the vhost `/` and the user `guest`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let topology = Topology::new(TopologyConfig::default());
        let version = topology.routing_version();
        let mut node = Self {
            now,
            defer: false,
            topology,
            version,
            queues: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            incoming: BTreeMap::new(),
            settles: BTreeMap::new(),
            replies: BTreeMap::new(),
            events: VecDeque::new(),
            ready: VecDeque::new(),
            deferred: VecDeque::new(),
            connections: BTreeMap::new(),
            channels: BTreeMap::new(),
            consumers: 0,
            randoms: 0,
        };
        let password = PasswordHash::new(HashAlgorithm::Sha256, b"guest", [1; 4]);
        for command in default_commands(&"/".into(), &"guest".into(), password, Vec::new()) {
            let applied = node.apply(&command);
            debug_assert!(applied.is_ok(), "{applied:?}");
        }
        node
    }

    /// Applies a command and acts on what it changed.
    ///
    /// # Errors
    /// What the topology refuses.
    pub fn apply(&mut self, command: &Command) -> Result<Outcome, BrokerError> {
        let applied = self.topology.apply(command, self.now)?;
        for change in applied.changes {
            self.act_on(change);
        }
        if let (Command::Bind(spec), Outcome::Bound { created: true }) = (command, &applied.outcome)
        {
            self.replay(spec);
        }
        Ok(applied.outcome)
    }

    fn act_on(&mut self, change: Change) {
        let now = self.now;
        match change {
            Change::QueueAdded(meta) => {
                let (vhost, name) = (meta.vhost.clone(), meta.name.clone());
                let queue = Queue::new(meta.id, vhost, name, meta.settings.clone(), now);
                self.queues.insert(meta.id, queue);
            }
            Change::QueueRemoved(meta) => {
                self.with(meta.id, |queue, fx| queue.close(now, fx));
                self.queues.remove(&meta.id);
            }
            Change::QueueChanged(meta) => {
                self.with(meta.id, |queue, fx| queue.set_settings(meta.settings.clone(), now, fx));
            }
            Change::ExchangeAdded(meta) => {
                if let Some(state) = ExchangeState::new(&meta) {
                    let name = (meta.vhost.clone(), meta.name.clone());
                    self.exchanges.insert(name, RefCell::new(state));
                }
            }
            Change::ExchangeRemoved(meta) => {
                self.exchanges.remove(&(meta.vhost.clone(), meta.name.clone()));
            }
            _ => {}
        }
    }

    /// What an exchange keeps; `None` if it is of a type that keeps nothing.
    #[must_use]
    pub fn exchange_state(&self, exchange: &Exchange) -> Option<&RefCell<ExchangeState>> {
        self.exchanges.get(&(exchange.vhost.clone(), exchange.name.clone()))
    }

    fn pass_block(&self, exchange: &Exchange, block: &Block) -> Passage {
        let Some(state) = self.exchange_state(exchange) else { return Passage::Route };
        let properties = block.record(0).properties();
        state.borrow_mut().pass(properties, self.now, || block.clone())
    }

    fn with<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Queue, &mut Effects) -> R,
    ) -> Option<R> {
        let mut fx = Effects::default();
        let result = work(self.queues.get_mut(&id)?, &mut fx);
        self.carry_out(id, fx);
        Some(result)
    }

    fn carry_out(&mut self, id: QueueId, fx: Effects) {
        self.ready
            .extend(fx.wake.into_iter().map(|(connection, consumer)| (connection, id, consumer)));
        for settled in fx.settled {
            self.post(settled.channel.connection, Event::Settled(settled));
        }
        for (connection, channel, consumer) in fx.cancelled {
            self.post(connection, Event::Cancelled { channel, consumer });
        }
        for letter in &fx.dead_letters {
            self.dead_letter(letter);
        }
        for due in &fx.due {
            let (block, keys, now) = (due.released(self.now), due.routing_keys(), self.now);
            self.send(&due.vhost, &due.exchange, &keys, &block);
            self.with(due.source, |queue, fx| queue.letter_answered(due.position, true, now, fx));
        }
        if fx.delete.is_some()
            && let Some(meta) = self.topology.queue_by_id(id).cloned()
        {
            let (vhost, name) = (meta.vhost.clone(), meta.name.clone());
            let deleted = self.apply(&Command::DeleteQueue { vhost, name, id: Some(id) });
            debug_assert!(deleted.is_ok(), "{deleted:?}");
        }
    }

    fn dead_letter(&mut self, letter: &DeadLetter) {
        for message in letter.republish(self.now) {
            let mut block = Block::new();
            message.push_to(&mut block);
            self.send(&letter.vhost, message.exchange(), &message.routing_keys(), &block);
        }
    }

    /// Publishes the one record of a block.
    fn send(&mut self, vhost: &str, exchange: &str, keys: &[&[u8]], block: &Block) {
        let (now, mut routed) = (self.now, Routed::new(0));
        if let Some(vhost) = self.topology.vhost(vhost) {
            let routable = Routable::of_record(&block.record(0), keys);
            let pass = |exchange: &Exchange| self.pass_block(exchange, block);
            vhost.route(exchange, &routable, pass, &mut routed);
        }
        for id in routed.queues().to_vec() {
            let incoming = Incoming { block: block.clone(), confirms: Default::default() };
            self.with(id, |queue, fx| queue.publish(incoming, now, fx));
        }
    }

    /// Publishes the recent messages of an exchange to what was bound to it.
    fn replay(&mut self, spec: &BindingSpec) {
        let Some(state) = self.exchanges.get(&(spec.vhost.clone(), spec.source.clone())) else {
            return;
        };
        let state = state.borrow();
        let messages = state.history().map(|history| history.messages().cloned().collect());
        let messages: Vec<Kept> = messages.unwrap_or_default();
        drop(state);
        for message in messages {
            let (block, keys) = (message.renewed(self.now), message.routing_keys());
            match &spec.destination {
                Destination::Exchange(name) => self.send(&spec.vhost, name, &keys, &block),
                Destination::Queue(name) => {
                    self.send(&spec.vhost, "", &[name.as_bytes()], &block);
                }
            }
        }
    }

    /// Hands what is pending to the queues, publishes first.
    pub fn flush(&mut self) {
        let now = self.now;
        for (id, incoming) in std::mem::take(&mut self.incoming) {
            self.with(id, |queue, fx| queue.publish(incoming, now, fx));
        }
        for (id, settles) in std::mem::take(&mut self.settles) {
            self.with(id, |queue, fx| queue.settle(&settles, now, fx));
        }
    }

    /// Lets queues act on the time.
    pub fn tick(&mut self) {
        let now = self.now;
        for id in self.queues.keys().copied().collect::<Vec<_>>() {
            self.with(id, |queue, fx| queue.tick(now, fx));
        }
    }

    /// When a queue has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.queues.values().filter_map(Queue::next_deadline).min()
    }

    /// Something for a connection.
    pub fn post(&mut self, to: ConnectionId, event: Event) {
        self.events.push_back((to, event));
    }

    /// The oldest event that was not taken.
    pub fn next_event(&mut self) -> Option<(ConnectionId, Event)> {
        self.events.pop_front()
    }

    /// An event for a connection that is gone.
    pub fn undeliverable(&mut self, event: &Event) {
        debug_assert!(!matches!(event, Event::Reply { .. }), "a reply to a closed address");
    }

    /// What the next consumer that was woken takes.
    pub fn next_deliveries(&mut self) -> Option<Deliveries> {
        let (connection, queue, consumer) = self.ready.pop_front()?;
        let (now, mut taken) = (self.now, Vec::new());
        let more = self.with(queue, |live, fx| live.take(consumer, TAKE, now, &mut taken, fx));
        if more == Some(true) {
            self.ready.push_back((connection, queue, consumer));
        }
        Some((connection, queue, taken))
    }

    /// Returns messages that their connection does not take any more.
    pub fn give_back(&mut self, queue: QueueId, delivery: &Delivery) {
        let range = SeqRange { first: delivery.first_seq, n: delivery.n };
        let consumer = Some(delivery.consumer);
        self.settle(queue, Settle { consumer, range, how: Settlement::Requeue });
        self.flush();
    }

    /// The socket of a connection is gone.
    pub fn connection_gone(&mut self, id: ConnectionId) {
        self.flush();
        self.connections.remove(&id);
        let deleted = self.apply(&Command::DeleteOwned { connection: id });
        debug_assert!(deleted.is_ok(), "{deleted:?}");
    }

    /// Answers the oldest `n` calls that were kept.
    pub fn answer_calls(&mut self, n: usize) {
        for _ in 0..n {
            let Some((channel, call)) = self.deferred.pop_front() else { return };
            self.flush();
            let answer = self.answer(channel, call);
            self.post(channel.connection, Event::Answer { channel, answer });
        }
    }

    /// How many calls are kept.
    #[must_use]
    pub fn n_deferred(&self) -> usize {
        self.deferred.len()
    }

    /// The queues that hold anything: name, ready, unacked.
    #[must_use]
    pub fn contents(&self) -> Vec<(String, u64, u64)> {
        let counts = |queue: &Queue| {
            let counts = queue.counts();
            (queue.name().to_string(), counts.ready, counts.unacked + counts.in_flight)
        };
        let made = self.queues.values().filter(|queue| queue.settings().delays_for.is_none());
        made.map(counts).collect()
    }

    fn open(
        &mut self,
        connection: ConnectionId,
        vhost: Arc<str>,
        user: Arc<str>,
    ) -> Result<(), BrokerError> {
        let open = || self.connections.values();
        let full = |limit: Option<u64>, n: u64| limit.filter(|limit| n >= *limit);
        let in_vhost = open().filter(|(other, _)| *other == vhost).count() as u64;
        if let Some(limit) = full(self.topology.vhost_connection_limit(&vhost), in_vhost) {
            let what = ConnectionLimit::VhostConnections { vhost, user };
            return Err(BrokerError::ConnectionLimit { what, limit });
        }
        let of_user = open().filter(|(_, other)| *other == user).count() as u64;
        if let Some(limit) = full(self.topology.user_connection_limit(&user), of_user) {
            let what = ConnectionLimit::UserConnections(user);
            return Err(BrokerError::ConnectionLimit { what, limit });
        }
        self.connections.insert(connection, (vhost, user));
        Ok(())
    }

    fn open_channel(&mut self, user: Arc<str>) -> Result<(), BrokerError> {
        let open = self.channels.entry(user.clone()).or_default();
        if let Some(limit) = self.topology.user_channel_limit(&user)
            && *open >= limit
        {
            let what = ConnectionLimit::UserChannels(user);
            return Err(BrokerError::ConnectionLimit { what, limit });
        }
        *open += 1;
        Ok(())
    }

    fn declared(&mut self, outcome: Outcome) -> Result<Declared, BrokerError> {
        let Outcome::QueueDeclared { queue, .. } = outcome else {
            return Err(BrokerError::Internal("a declare that is none".into()));
        };
        let counts = self.counts(queue.id).unwrap_or_default();
        Ok(Declared { queue, ready: counts.ready, consumers: counts.consumers })
    }

    fn counts(&mut self, queue: QueueId) -> Option<Counts> {
        let now = self.now;
        self.with(queue, |queue, _| {
            queue.touch(now);
            let counts = queue.counts();
            Counts { ready: counts.ready, consumers: counts.consumers }
        })
    }

    fn delete(
        &mut self,
        queue: &leveret_engine::QueueMeta,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<u64, BrokerError> {
        let counts = self.counts(queue.id).unwrap_or_default();
        let resource = || ResourceName::queue(&queue.vhost, queue.name.clone());
        if if_empty && counts.ready > 0 {
            return Err(BrokerError::NotEmpty(resource()));
        }
        if if_unused && counts.consumers > 0 {
            return Err(BrokerError::InUse(resource()));
        }
        let (vhost, name) = (queue.vhost.clone(), queue.name.clone());
        self.apply(&Command::DeleteQueue { vhost, name, id: Some(queue.id) })?;
        Ok(counts.ready)
    }

    fn answer(&mut self, channel: ChannelKey, call: Call) -> Answer {
        let now = self.now;
        match call {
            Call::Open { vhost, user } => {
                Answer::Opened(self.open(channel.connection, vhost, user))
            }
            Call::OpenChannel { user } => Answer::Opened(self.open_channel(user)),
            Call::CloseChannel { user } => {
                if let Some(open) = self.channels.get_mut(&user) {
                    *open -= 1;
                }
                Answer::Noted
            }
            Call::Command(command) => Answer::Applied(self.apply(&command)),
            Call::DeclareQueue(declare) => {
                let applied = self.apply(&Command::DeclareQueue(declare));
                Answer::Declared(applied.and_then(|outcome| self.declared(outcome)))
            }
            Call::DeleteQueue { queue, if_unused, if_empty } => {
                Answer::Deleted(self.delete(&queue, if_unused, if_empty))
            }
            Call::Consume { queue, spec } => Answer::Consuming(
                self.with(queue, |queue, fx| queue.consume(spec, now, fx)).unwrap_or(Ok(())),
            ),
            Call::Cancel { queue, consumer } => {
                self.with(queue, |queue, fx| queue.cancel(consumer, now, fx));
                Answer::Cancelled
            }
            Call::Get { queue, no_ack } => {
                Answer::Got(Ok(self
                    .with(queue, |queue, fx| {
                        if no_ack { queue.get_no_ack(now, fx) } else { queue.get(now, fx) }
                    })
                    .flatten()))
            }
            Call::Purge { queue } => {
                Answer::Purged(Ok(self.with(queue, |queue, fx| queue.purge(fx)).unwrap_or(0)))
            }
            Call::Counts { queue } => Answer::Counts(Ok(self.counts(queue))),
            Call::ShareCredit { queue, consumer, credit } => {
                self.with(queue, |queue, _| queue.share_credit(consumer, credit));
                Answer::Noted
            }
            Call::Credit { queue, consumer } => {
                self.with(queue, |queue, fx| queue.credit_changed(consumer, now, fx));
                Answer::Noted
            }
        }
    }
}

/// A borrow of the topology.
#[derive(Debug)]
pub struct Guard<'a>(&'a Topology);

impl Deref for Guard<'_> {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        self.0
    }
}

impl Broker for FakeNode {
    type Guard<'a> = Guard<'a>;

    fn topology(&self) -> Guard<'_> {
        Guard(&self.topology)
    }

    fn routing_version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    fn publish(
        &mut self,
        queue: QueueId,
        record: &NewRecord<'_>,
        confirm: Option<(ChannelKey, u64)>,
    ) {
        if !self.queues.contains_key(&queue) {
            if let Some((channel, first_tag)) = confirm {
                let outcome = leveret_engine::queue::effects::Outcome::Accepted;
                let settled = Settled { channel, first_tag, n: 1, outcome };
                self.post(channel.connection, Event::Settled(settled));
            }
            return;
        }
        let incoming = self.incoming.entry(queue).or_default();
        if let Some((channel, first_tag)) = confirm {
            let first_record = incoming.block.len();
            incoming.confirms.push(ConfirmRun { first_record, n: 1, channel, first_tag });
        }
        incoming.block.push(record);
    }

    fn tap(&mut self, _tap: &Tap<'_>) {
        // Where the copies go is a matter of the real node.
    }

    fn pass(&self, exchange: &Exchange, record: &NewRecord<'_>) -> Passage {
        let Some(state) = self.exchange_state(exchange) else { return Passage::Route };
        state.borrow_mut().pass(record.properties, self.now, || {
            let mut block = Block::new();
            block.push(record);
            block
        })
    }

    fn settle(&mut self, queue: QueueId, settle: Settle) {
        self.settles.entry(queue).or_default().push(settle);
    }

    fn reply(&mut self, token: &str, record: &NewRecord<'_>) -> bool {
        let Some(channel) = self.replies.get(token).copied() else { return false };
        let mut block = Block::new();
        block.push(record);
        self.post(channel.connection, Event::Reply { channel, block });
        true
    }

    fn reply_alive(&self, token: &str) -> bool {
        self.replies.contains_key(token)
    }

    fn open_reply(&mut self, channel: ChannelKey) -> Arc<str> {
        let token: Arc<str> =
            format!("t{}-{}-{}", channel.connection, channel.number, channel.incarnation).into();
        self.replies.insert(token.clone(), channel);
        token
    }

    fn close_reply(&mut self, channel: ChannelKey) {
        self.replies.retain(|_, other| *other != channel);
    }

    fn call(&mut self, channel: ChannelKey, call: Call) -> Option<Answer> {
        self.flush();
        // Calls of one channel are answered in their order.
        if self.defer || self.deferred.iter().any(|(key, _)| *key == channel) {
            self.deferred.push_back((channel, call));
            return None;
        }
        Some(self.answer(channel, call))
    }

    fn random(&mut self) -> [u8; 16] {
        self.randoms = self.randoms.wrapping_add(1);
        [self.randoms; 16]
    }

    fn next_consumer_id(&mut self) -> ConsumerId {
        self.consumers += 1;
        ConsumerId(self.consumers)
    }
}
