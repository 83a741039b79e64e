//! The consumers of a queue: who may be handed how much, and whose turn it is. Hot path.
//! It counts what was assigned and taken; it does not know where messages are.
//!
//! A consumer is in its priority's ring exactly while it is *eligible*: it may be active, has
//! credit, and its window is not full. The one at the front has waited longest.

use crate::ids::{ChannelKey, ConsumerId, Seq, SeqRange};
use crate::queue::credit::ChannelCredit;
use crate::queue::effects::Effects;
use crate::queue::stream::{Reader, StreamRead};
use leveret_codec::Table;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many messages may be assigned to a consumer and not yet taken. It stands for RabbitMQ's
/// "the channel's writer is not congested": enough for a full read buffer of small messages, so
/// that what a quick consumer is about to take does not count as ready.
pub const ASSIGN_WINDOW_RECORDS: u32 = 2048;

/// Likewise in bytes of bodies; the last message may exceed it.
pub const ASSIGN_WINDOW_BYTES: u64 = 1024 * 1024;

/// From this prefetch on a consumer does not take all of it at once.
const BURST_FROM: u32 = 256;

/// What `basic.consume` asks for.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// The consumer.
    pub id: ConsumerId,
    /// The channel it lives on.
    pub channel: ChannelKey,
    /// The consumer tag.
    pub tag: Arc<str>,
    /// Whether deliveries are done without acknowledgement.
    pub no_ack: bool,
    /// Whether it wants to be the only one.
    pub exclusive: bool,
    /// How many unacknowledged messages it may have; 0 is no limit.
    pub prefetch: u16,
    /// `x-priority`: the highest eligible ones are served first.
    pub priority: i32,
    /// The limit it shares with the other consumers of its channel.
    pub channel_credit: Option<Arc<ChannelCredit>>,
    /// How it reads, if the queue is a stream.
    pub read: StreamRead,
    /// The arguments, to be shown.
    pub arguments: Table,
    /// Who consumes, to be shown.
    pub user: Arc<str>,
}

/// `n` messages from `first` on that a consumer has not taken yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assigned {
    pub(super) first: Seq,
    pub(super) n: u32,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) spec: ConsumerSpec,
    pub(super) assigned: VecDeque<Assigned>,
    assigned_n: u32,
    assigned_bytes: u64,
    /// Taken and not settled.
    unacked: u32,
    /// Whether it is in its ring.
    in_ring: bool,
    /// Whether its connection knows that there is something to take.
    awake: bool,
    /// Cancelled; kept until what it has unacknowledged is settled, for the channel's credit.
    gone: bool,
    /// The how-manieth consumer of the queue it was.
    order: u64,
    /// How far it has read, if the queue is a stream: then nothing is ever assigned to it.
    pub(super) reader: Reader,
}

impl Consumer {
    fn new(spec: ConsumerSpec, order: u64, reader: Reader) -> Self {
        Self {
            spec,
            assigned: VecDeque::new(),
            assigned_n: 0,
            assigned_bytes: 0,
            unacked: 0,
            in_ring: false,
            awake: false,
            gone: false,
            order,
            reader,
        }
    }

    /// How many more messages it may be assigned, the channel's credit aside.
    pub(super) fn room(&self) -> u32 {
        if self.assigned_bytes >= ASSIGN_WINDOW_BYTES {
            return 0;
        }
        let window = ASSIGN_WINDOW_RECORDS - self.assigned_n.min(ASSIGN_WINDOW_RECORDS);
        if self.spec.no_ack || self.spec.prefetch == 0 {
            return window;
        }
        let out = self.assigned_n + self.unacked;
        window.min(u32::from(self.spec.prefetch).saturating_sub(out))
    }

    /// How many messages it takes at once, if that is limited: with a large prefetch a quarter of it, so that broker and
    /// client work at the same time and not in turn, one of them waiting for the deliveries, then the other for the acks.
    pub(super) fn burst(&self) -> Option<u32> {
        let prefetch = u32::from(self.spec.prefetch);
        (!self.spec.no_ack && prefetch >= BURST_FROM).then_some(prefetch / 4)
    }

    /// How many more bytes it may be assigned; the last message may exceed it.
    pub(super) fn byte_room(&self) -> u64 {
        ASSIGN_WINDOW_BYTES.saturating_sub(self.assigned_bytes)
    }

    /// Asks the channel's shared credit for `n` messages.
    pub(super) fn take_credit(&self, n: u32) -> u32 {
        match &self.spec.channel_credit {
            Some(credit) if !self.spec.no_ack => credit.try_take(n),
            _ => n,
        }
    }

    /// Takes part in the channel's shared credit from now on.
    pub(super) fn share(&mut self, credit: Arc<ChannelCredit>) {
        if self.spec.channel_credit.is_none() {
            if !self.spec.no_ack {
                credit.take_beyond(self.unacked());
            }
            self.spec.channel_credit = Some(credit);
        }
    }

    pub(super) fn give_credit_back(&self, n: u32) {
        if let Some(credit) = &self.spec.channel_credit
            && !self.spec.no_ack
        {
            credit.give_back(n);
        }
    }

    /// Notes an assignment, and tells the connection if it does not know of one yet.
    pub(super) fn assign(&mut self, first: Seq, n: u32, bytes: u64, fx: &mut Effects) {
        self.assigned_n += n;
        self.assigned_bytes += bytes;
        match self.assigned.back_mut() {
            Some(last) if last.first.plus(u64::from(last.n)) == first => last.n += n,
            _ => self.assigned.push_back(Assigned { first, n }),
        }
        self.wake(fx);
    }

    /// Tells its connection that there is something to take, unless it knows.
    pub(super) fn wake(&mut self, fx: &mut Effects) {
        if !self.awake {
            self.awake = true;
            fx.wake.push((self.spec.channel.connection, self.spec.id));
        }
    }

    pub(super) fn set_awake(&mut self, awake: bool) {
        self.awake = awake;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether it has room and does not know of anything to read.
    pub(super) fn could_read(&self) -> bool {
        !self.awake && !self.gone && self.room() > 0
    }

    /// Notes that it read `n` messages of a stream.
    pub(super) fn has_read(&mut self, n: u32) {
        self.unacked += n;
    }

    /// Notes that `n` of the first assigned range were taken.
    pub(super) fn taken(&mut self, n: u32, bytes: u64) {
        self.assigned_n -= n;
        self.assigned_bytes -= bytes;
        if !self.spec.no_ack {
            self.unacked += n;
        }
        if let Some(front) = self.assigned.front_mut() {
            front.first = front.first.plus(u64::from(n));
            front.n -= n;
            if front.n == 0 {
                self.assigned.pop_front();
            }
        }
    }

    /// Notes that `n` taken messages were settled.
    pub(super) fn settled(&mut self, n: u32) {
        debug_assert!(n <= self.unacked, "settled more than was taken");
        self.unacked -= n.min(self.unacked);
        self.give_credit_back(n);
    }

    pub(super) fn has_assigned(&self) -> bool {
        !self.assigned.is_empty()
    }

    /// Takes out all that is assigned and gives its credit back.
    pub(super) fn drain_assigned(&mut self) -> VecDeque<Assigned> {
        self.give_credit_back(self.assigned_n);
        self.assigned_n = 0;
        self.assigned_bytes = 0;
        std::mem::take(&mut self.assigned)
    }

    /// Messages that it has to acknowledge, taken or on their way to it.
    pub(super) fn unacked(&self) -> u32 {
        self.unacked + if self.spec.no_ack { 0 } else { self.assigned_n }
    }
}

impl From<Assigned> for SeqRange {
    fn from(assigned: Assigned) -> Self {
        Self { first: assigned.first, n: assigned.n }
    }
}

/// The consumers of one priority that are eligible, longest waiting first.
#[derive(Debug)]
struct Ring {
    priority: i32,
    turns: VecDeque<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    entries: Vec<Option<Consumer>>,
    free: Vec<u32>,
    /// Sorted by consumer.
    by_id: Vec<(ConsumerId, u32)>,
    /// Highest priority first.
    rings: Vec<Ring>,
    /// Whether only `active` may be eligible.
    single_active: bool,
    active: Option<u32>,
    /// Whether `active` gives way to one of higher priority.
    gives_way: bool,
    /// Whether it is about to: it is served no more, and when it has nothing left the next one is active.
    fading: bool,
    exclusive: bool,
    /// Consumers that are not gone.
    n: u32,
    joined: u64,
}

impl Consumers {
    pub(super) fn new(single_active: bool, gives_way: bool) -> Self {
        Self { single_active, gives_way, ..Self::default() }
    }

    /// How many consumers there are, those gone not counted.
    pub(super) fn len(&self) -> u32 {
        self.n
    }

    /// Whether there is not even one that is gone.
    pub(super) fn is_vacant(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(super) fn key(&self, id: ConsumerId) -> Option<u32> {
        if let [(only, key)] = self.by_id[..] {
            return (only == id).then_some(key);
        }
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.by_id[at].1)
    }

    pub(super) fn get(&self, key: u32) -> Option<&Consumer> {
        self.entries.get(key as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut Consumer> {
        self.entries.get_mut(key as usize)?.as_mut()
    }

    /// Adds a consumer; it is served as soon as it may be.
    pub(super) fn add(&mut self, spec: ConsumerSpec, reader: Reader) {
        let (id, exclusive) = (spec.id, spec.exclusive);
        let consumer = Consumer::new(spec, self.joined, reader);
        self.joined += 1;
        self.n += 1;
        self.exclusive |= exclusive;
        let key = self.store(consumer);
        if let Err(at) = self.by_id.binary_search_by_key(&id, |(id, _)| *id) {
            self.by_id.insert(at, (id, key));
        }
        match self.active {
            None if self.single_active => self.active = Some(key),
            Some(active) if self.gives_way && self.ranks_above(key, active) => {
                self.retire(active);
                self.fading = true;
            }
            _ => {}
        }
        self.admit(key);
    }

    fn ranks_above(&self, key: u32, other: u32) -> bool {
        let priority = |key| self.get(key).map(|consumer| consumer.spec.priority);
        priority(key) > priority(other)
    }

    fn store(&mut self, consumer: Consumer) -> u32 {
        if let Some(key) = self.free.pop() {
            self.entries[key as usize] = Some(consumer);
            return key;
        }
        self.entries.push(Some(consumer));
        // A node has fewer consumers than 2^32.
        (self.entries.len() - 1) as u32
    }

    /// Takes a consumer out of service and says whether it was in it. What it had assigned is the
    /// caller's to take back.
    pub(super) fn leave(&mut self, key: u32) -> bool {
        self.retire(key);
        self.rings.retain(|ring| !ring.turns.is_empty());
        let Some(consumer) = self.get_mut(key).filter(|consumer| !consumer.gone) else {
            return false;
        };
        consumer.gone = true;
        let was_exclusive = consumer.spec.exclusive;
        self.n -= 1;
        self.exclusive &= !was_exclusive;
        if self.active == Some(key) {
            self.active = None;
            self.activate_next();
        }
        true
    }

    /// The next active consumer: the highest priority, then who came first.
    // rabbitmq: consumers/single active consumer
    fn activate_next(&mut self) {
        let candidates = self.by_id.iter().filter_map(|(_, key)| {
            let consumer = self.get(*key).filter(|consumer| !consumer.gone)?;
            Some((std::cmp::Reverse(consumer.spec.priority), consumer.order, *key))
        });
        self.active = candidates.min().map(|(_, _, key)| key);
        self.fading = false;
        if let Some(key) = self.active {
            self.admit(key);
        }
    }

    /// Forgets a consumer that is gone once nothing of it is out.
    pub(super) fn forget_if_done(&mut self, key: u32) {
        let Some(consumer) = self.get(key).filter(|consumer| consumer.gone) else { return };
        if consumer.unacked > 0 || consumer.has_assigned() {
            return;
        }
        let id = consumer.spec.id;
        self.entries[key as usize] = None;
        self.free.push(key);
        if let Ok(at) = self.by_id.binary_search_by_key(&id, |(id, _)| *id) {
            self.by_id.remove(at);
        }
    }

    /// Puts a consumer at the end of its ring if it became eligible.
    pub(super) fn admit(&mut self, key: u32) {
        if self.fading {
            let active = self.active.and_then(|active| self.get(active));
            if active.is_none_or(|active| active.unacked == 0 && !active.has_assigned()) {
                self.activate_next();
            }
            return;
        }
        let may_be_active = !self.single_active || self.active == Some(key);
        let Some(consumer) = self.get_mut(key) else { return };
        if consumer.in_ring || consumer.gone || !may_be_active || consumer.room() == 0 {
            return;
        }
        consumer.in_ring = true;
        let priority = consumer.spec.priority;
        let at = self.rings.partition_point(|ring| ring.priority > priority);
        if self.rings.get(at).is_none_or(|ring| ring.priority != priority) {
            self.rings.insert(at, Ring { priority, turns: VecDeque::new() });
        }
        self.rings[at].turns.push_back(key);
    }

    /// Takes a consumer out of its ring.
    fn retire(&mut self, key: u32) {
        let Some(consumer) = self.get_mut(key).filter(|consumer| consumer.in_ring) else { return };
        consumer.in_ring = false;
        for ring in &mut self.rings {
            ring.turns.retain(|turn| *turn != key);
        }
    }

    /// The consumer whose turn it is, if no other has the same right to it.
    pub(super) fn alone(&mut self) -> Option<&mut Consumer> {
        let ring = self.rings.iter().find(|ring| !ring.turns.is_empty())?;
        let key = *ring.turns.front().filter(|_| ring.turns.len() == 1)?;
        self.get_mut(key)
    }

    /// Whether several have the same right to the next message.
    pub(super) fn several_eligible(&self) -> bool {
        let ring = self.rings.iter().find(|ring| !ring.turns.is_empty());
        ring.is_some_and(|ring| ring.turns.len() > 1)
    }

    /// Whether anybody is eligible.
    pub(super) fn any_eligible(&self) -> bool {
        self.rings.iter().any(|ring| !ring.turns.is_empty())
    }

    /// Gives the consumer whose turn it is to `hand`, which says whether it was refused credit.
    /// Then it goes to the end of its ring, or out of it if it is no longer eligible.
    pub(super) fn turn(&mut self, hand: impl FnOnce(&mut Consumer) -> bool) {
        let Some(ring) = self.rings.iter_mut().find(|ring| !ring.turns.is_empty()) else { return };
        let Some(key) = ring.turns.pop_front() else { return };
        let Some(consumer) = self.entries.get_mut(key as usize).and_then(Option::as_mut) else {
            return;
        };
        if hand(consumer) || consumer.room() == 0 {
            consumer.in_ring = false;
        } else {
            ring.turns.push_back(key);
        }
    }

    /// All consumers that are not gone, with whether each may be served, in the order they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Consumer, bool)> {
        let mut all: Vec<_> = self
            .by_id
            .iter()
            .filter_map(|(_, key)| Some((self.get(*key)?, *key)))
            .filter(|(consumer, _)| !consumer.gone)
            .collect();
        all.sort_by_key(|(consumer, _)| consumer.order);
        let active = self.active.filter(|_| self.single_active);
        all.into_iter()
            .map(move |(consumer, key)| (consumer, !self.single_active || active == Some(key)))
    }

    /// Gives back what all consumers have of their channels' credit, those gone included.
    pub(super) fn give_all_credit_back(&self) {
        for consumer in self.entries.iter().flatten() {
            consumer.give_credit_back(consumer.unacked());
        }
    }

    /// Notes that `n` messages that a consumer took were settled.
    pub(super) fn settled(&mut self, key: u32, n: u32) {
        let Some(consumer) = self.get_mut(key) else { return };
        consumer.settled(n);
        if consumer.gone {
            self.forget_if_done(key);
        } else {
            self.admit(key);
        }
    }

    pub(super) fn set_awake(&mut self, key: u32, awake: bool) {
        if let Some(consumer) = self.get_mut(key) {
            consumer.set_awake(awake);
        }
    }

    /// All consumers, those gone included, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Consumer> {
        self.entries.iter().flatten()
    }

    /// The same, to be changed.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.entries.iter_mut().flatten()
    }
}
