//! A queue: a log of blocks for each priority, and who gets what is in it. Hot path.
//!
//! Pure: time is an argument and everything that must happen elsewhere comes back in [`Effects`].
//! What the queue holds changes only by [`Op`]s that it emits itself (see [`ops`]).
//!
//! ```text
//!  publish ─▶ ready ──assign──▶ assigned ──take──▶ unacked ──settle──▶ done
//!               ▲                  │ cancel           │ requeue
//!               └──────────────────┴──────────────────┘
//! ```
//!
//! # Waking consumers
//!
//! *Invariant:* a consumer that has something assigned is *awake*: its connection was told so by
//! [`Effects::wake`], or its last [`Queue::take`] answered `true`. It stays awake until a `take`
//! answers `false`, and then it has nothing assigned. So whoever calls `take` for every consumer
//! named in `wake`, and again as long as it answers `true`, never leaves a message behind.

mod assign;
pub mod checkpoint;
pub mod consumers;
pub mod credit;
pub mod effects;
mod expiry;
mod filed;
mod held;
mod level;
mod limits;
mod log;
mod marks;
pub mod ops;
pub mod paging;
mod passive;
mod pressure;
mod publish;
pub mod recovery;
pub mod seen;
mod settle;
mod slot;
pub mod stats;
pub mod stream;
mod take;
#[cfg(test)]
mod tests;

use crate::error::{BrokerError, ResourceName};
use crate::ids::{ConsumerId, QueueId, Seq, SeqRange};
use crate::settings::QueueSettings;
use crate::time::Timestamp;
use consumers::{ConsumerSpec, Consumers};
use credit::ChannelCredit;
use effects::{DeleteCause, Effects, Outcome};
use held::Held;
use level::Level;
use log::LogState;
use ops::{DropReason, Op, Returns};
use paging::QueueDisk;
use seen::SeenKeys;
use stats::{Amount, QueueCounts, QueueStats};
use std::ops::Range;
use std::sync::Arc;
use stream::Segments;

pub use settle::{Settle, Settlement};

/// A queue of messages.
#[derive(Debug)]
pub struct Queue {
    id: QueueId,
    vhost: Arc<str>,
    name: Arc<str>,
    settings: QueueSettings,
    /// The priorities that were ever used, highest first.
    levels: Vec<Level>,
    ready: Amount,
    /// Assigned to or taken by those that have to acknowledge.
    unacked: Amount,
    /// Assigned to consumers that do not acknowledge.
    in_flight: Amount,
    stats: QueueStats,
    /// What `stats.finished` was when [`Queue::is_pressed`] last saw it change, and when that was.
    progress: (u64, Timestamp),
    /// `None` while there is no consumer.
    consumers: Option<Box<Consumers>>,
    /// `None` while nobody keeps the ops.
    log: Option<Box<LogState>>,
    /// `None` until something has to do with a disk.
    disk: Option<Box<QueueDisk>>,
    /// `None` while nothing is held.
    held: Option<Box<Held>>,
    /// `None` unless duplicates are left out.
    seen: Option<Box<SeenKeys>>,
    /// `None` for everything but a stream.
    stream: Option<Box<Segments>>,
    /// When the queue was last in use, as `x-expires` counts it.
    last_used: Timestamp,
    may_deliver: bool,
    /// Whether this copy leads; see `passive`.
    leads: bool,
    /// Whether the queue has other copies, so that its chunks may be on their way to one.
    copied: bool,
    /// Whether dead letters stay until their targets have them, whatever the strategy.
    letters_stay: bool,
}

/// A consumer of a queue, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerView<'a> {
    /// What it asked for.
    pub spec: &'a ConsumerSpec,
    /// Whether it may be served: not waiting behind a single active consumer.
    pub active: bool,
    /// How many messages it has not acknowledged.
    pub unacked: u32,
}

impl Queue {
    /// An empty queue that keeps no log and may deliver.
    #[must_use]
    pub fn new(
        id: QueueId,
        vhost: Arc<str>,
        name: Arc<str>,
        settings: QueueSettings,
        now: Timestamp,
    ) -> Self {
        let stream = settings.stream.as_ref().map(|_| Box::default());
        let seen = settings.deduplication.as_ref().map(|window| Box::new(SeenKeys::new(**window)));
        Self {
            id,
            vhost,
            name,
            settings,
            levels: Vec::new(),
            ready: Amount::default(),
            unacked: Amount::default(),
            in_flight: Amount::default(),
            stats: QueueStats::default(),
            progress: (0, now),
            consumers: None,
            log: None,
            disk: None,
            held: None,
            seen,
            stream,
            last_used: now,
            may_deliver: true,
            leads: true,
            copied: false,
            letters_stay: false,
        }
    }

    /// Which queue it is.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// The vhost it is in.
    #[must_use]
    pub fn vhost(&self) -> &Arc<str> {
        &self.vhost
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is set to do.
    #[must_use]
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Changes what it is set to do. Limits hold at once; a TTL holds for what comes from now on.
    pub fn set_settings(&mut self, settings: QueueSettings, now: Timestamp, fx: &mut Effects) {
        self.settings = settings;
        if !self.leads {
            return;
        }
        self.send_letters(fx);
        self.truncate(now, fx);
        self.drop_excess(fx);
        self.expire(now, fx);
    }

    /// Adds a consumer. It is served at once; the caller sends `consume-ok` before what it takes.
    ///
    /// # Errors
    ///
    /// [`BrokerError::ExclusiveUse`] if there is an exclusive consumer, or if this one wants to be
    /// exclusive and there are others or the queue has a single active consumer; never from a
    /// stream or a quorum queue.
    // rabbitmq: basic.consume, exclusive
    pub fn consume(
        &mut self,
        spec: ConsumerSpec,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<(), BrokerError> {
        let consumers = self.consumers.as_ref();
        let n = consumers.map_or(0, |consumers| consumers.len());
        let taken = consumers.is_some_and(|consumers| consumers.is_exclusive());
        let refused = spec.exclusive && (n > 0 || self.settings.single_active_consumer);
        if (taken || refused) && !self.is_stream() && !self.settings.quorum_consumers {
            return Err(BrokerError::ExclusiveUse(ResourceName::queue(
                &self.vhost,
                self.name.clone(),
            )));
        }
        let reader = self.reader(spec.read.from, now);
        let single_active = self.settings.single_active_consumer;
        let consumers = self.consumers.get_or_insert_with(|| {
            Box::new(Consumers::new(single_active, self.settings.quorum_consumers))
        });
        consumers.add(spec, reader);
        self.assign(now, fx);
        Ok(())
    }

    /// Ends a consumer. What it did not take goes back in its place as if it had never been
    /// assigned; what it took stays with its channel, to be settled. Unknown ones are ignored.
    // rabbitmq: basic.cancel
    pub fn cancel(&mut self, consumer: ConsumerId, now: Timestamp, fx: &mut Effects) {
        let Some(mut consumers) = self.consumers.take() else { return };
        let left = consumers.key(consumer).filter(|key| consumers.leave(*key));
        if let Some(key) = left {
            self.take_back(&mut consumers, key);
            consumers.forget_if_done(key);
        }
        let n_left = consumers.len();
        self.keep_consumers(consumers);
        if left.is_none() {
            return;
        }
        if n_left == 0 {
            self.last_used = now;
            if self.settings.auto_delete {
                fx.delete = Some(DeleteCause::Unused);
            }
        }
        self.assign(now, fx);
        self.drop_excess(fx);
        self.expire(now, fx);
    }

    /// Ends all consumers without telling them: the queue is led elsewhere from now on, where they consume on. What they
    /// have is not given back here.
    pub fn dismiss(&mut self) -> Vec<ConsumerSpec> {
        let Some(consumers) = self.consumers.take() else { return Vec::new() };
        let specs = consumers.iter().map(|(consumer, _)| consumer.spec.clone()).collect();
        consumers.give_all_credit_back();
        specs
    }

    /// Makes what a consumer has assigned ready again.
    fn take_back(&mut self, consumers: &mut Consumers, key: u32) {
        let Some(consumer) = consumers.get_mut(key) else { return };
        let no_ack = consumer.spec.no_ack;
        for assigned in consumer.drain_assigned() {
            let (range, level) = (positions(assigned), assigned.first.level());
            let Some(at) = self.level_index(level) else { continue };
            let amount = self.levels[at].amount(range.clone());
            self.levels[at].give_back(range);
            self.ready += amount;
            if no_ack {
                self.in_flight -= amount;
            } else {
                self.unacked -= amount;
            }
        }
    }

    fn keep_consumers(&mut self, consumers: Box<Consumers>) {
        self.consumers = (!consumers.is_vacant()).then_some(consumers);
    }

    /// Tells the queue that a consumer may have credit again: the limit that it shares with its
    /// channel's other consumers has room. See [`credit::ChannelCredit`].
    pub fn credit_changed(&mut self, consumer: ConsumerId, now: Timestamp, fx: &mut Effects) {
        if let Some(consumers) = &mut self.consumers
            && let Some(key) = consumers.key(consumer)
        {
            consumers.admit(key);
            self.assign(now, fx);
        }
    }

    /// Lets a consumer that has no part in a limit of its channel share this one from now on. What it
    /// has not acknowledged counts, even beyond the limit.
    pub fn share_credit(&mut self, consumer: ConsumerId, credit: Arc<ChannelCredit>) {
        if let Some(consumers) = &mut self.consumers
            && let Some(key) = consumers.key(consumer)
            && let Some(consumer) = consumers.get_mut(key)
        {
            consumer.share(credit);
        }
    }

    /// Removes all that is ready and says how much that was. Unacknowledged messages stay.
    // rabbitmq: queue.purge
    pub fn purge(&mut self, fx: &mut Effects) -> u64 {
        if !self.leads {
            return 0;
        }
        if self.settings.delays_for.is_some() {
            return self.cancel_all_delayed(fx);
        }
        let n = self.ready.n;
        let mut ranges = Vec::new();
        for level in &self.levels {
            for range in level.ready_ranges() {
                push_seq_ranges(level.priority, range, &mut ranges);
            }
        }
        if n > 0 {
            self.emit(Op::Purge(ranges.into_boxed_slice()), fx);
        }
        n
    }

    /// Ends the queue: its consumers are cancelled, publishers that still wait are told yes,
    /// nothing is dead-lettered. Says how many messages were ready.
    // rabbitmq: queue.delete
    pub fn close(&mut self, _now: Timestamp, fx: &mut Effects) -> u64 {
        if let Some(consumers) = self.consumers.take() {
            for (consumer, _) in consumers.iter() {
                let channel = consumer.spec.channel;
                fx.cancelled.push((channel.connection, channel, consumer.spec.id));
            }
            consumers.give_all_credit_back();
        }
        if let Some(log) = self.log.take() {
            log.settle_all(fx);
        }
        self.may_deliver = false;
        self.ready.n
    }

    /// Lets dead letters stay until their targets have them, whatever the strategy: targets may be on other nodes.
    pub fn let_letters_stay(&mut self) {
        self.letters_stay = true;
    }

    /// Restarts the time after which an unused queue goes: for a declare.
    pub fn touch(&mut self, now: Timestamp) {
        self.last_used = now;
    }

    /// Allows or forbids that anything is handed to consumers or expires: a replica that does not
    /// lead, or is not sure that it does, must not.
    pub fn may_deliver(&mut self, may: bool, now: Timestamp, fx: &mut Effects) {
        self.may_deliver = may && self.leads;
        self.send_letters(fx);
        self.release_due(now, fx);
        self.expire(now, fx);
        self.assign(now, fx);
    }

    /// How much the queue holds. What readers of a stream have not acknowledged is in it all the same.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready.n,
            ready_bytes: self.ready.bytes,
            unacked: self.unacked.n,
            unacked_bytes: self.unacked.bytes,
            in_flight: self.in_flight.n,
            dead: self.held.as_ref().map_or(0, |held| held.dead.n),
            dead_bytes: self.held.as_ref().map_or(0, |held| held.dead.bytes),
            delayed: self.held.as_ref().map_or(0, |held| held.delayed.n),
            delayed_bytes: self.held.as_ref().map_or(0, |held| held.delayed.bytes),
            consumers: self.consumers.as_ref().map_or(0, |consumers| consumers.len()),
        }
    }

    /// What happened in the queue.
    #[must_use]
    pub fn stats(&self) -> &QueueStats {
        &self.stats
    }

    /// The consumers in the order they came.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView<'_>> {
        self.consumers.iter().flat_map(|consumers| consumers.iter()).map(|(consumer, active)| {
            ConsumerView { spec: &consumer.spec, active, unacked: consumer.unacked() }
        })
    }

    /// When the oldest ready message arrived, or a little earlier.
    #[must_use]
    pub fn oldest_ready(&self) -> Option<Timestamp> {
        let heads = self
            .levels
            .iter()
            .filter_map(|level| level.ready_head().and_then(|head| level.arrived_at(head.start)));
        heads.min()
    }

    /// Bytes of memory that the messages take, with the lists that hold them.
    #[must_use]
    pub fn memory(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.memory());
        self.levels.iter().map(Level::memory).sum::<usize>() + seen
    }

    /// All that the queue holds, ready or not, for a checkpoint: the ranges of each priority and
    /// the position that its next message gets.
    pub fn live(&self) -> impl Iterator<Item = (u8, Vec<SeqRange>, Seq)> {
        self.levels.iter().map(|level| {
            let mut ranges = Vec::new();
            for range in level.live_ranges().iter() {
                push_seq_ranges(level.priority, range, &mut ranges);
            }
            (level.priority, ranges, Seq::new(level.priority, level.next()))
        })
    }

    /// How often each message came back, where it ever did; of a queue that counts deliveries.
    pub fn delivery_counts(&self) -> impl Iterator<Item = (Seq, Returns)> {
        self.levels.iter().flat_map(|level| {
            let marks = level.marks.iter().flat_map(|marks| marks.all_returns());
            marks.map(|(at, n)| (Seq::new(level.priority, at), n))
        })
    }

    fn level_index(&self, priority: u8) -> Option<usize> {
        self.levels.iter().position(|level| level.priority == priority)
    }

    /// The level of a priority, made if there was none.
    fn level_for(&mut self, priority: u8) -> &mut Level {
        let at = self.levels.partition_point(|level| level.priority > priority);
        if self.levels.get(at).is_none_or(|level| level.priority != priority) {
            self.levels.insert(at, Level::new(priority));
        }
        &mut self.levels[at]
    }
}

fn positions(range: impl Into<SeqRange>) -> Range<u64> {
    let range = range.into();
    range.first.index()..range.first.index() + u64::from(range.n)
}

/// Positions of a level as ranges, as many as it takes for their lengths to fit.
fn push_seq_ranges(priority: u8, range: Range<u64>, ranges: &mut Vec<SeqRange>) {
    let mut at = range.start;
    while at < range.end {
        let n = u32::try_from(range.end - at).unwrap_or(u32::MAX);
        ranges.push(SeqRange { first: Seq::new(priority, at), n });
        at += u64::from(n);
    }
}

/// The range of a level as one [`SeqRange`]; only for what is known to be shorter than 2^32.
fn seq_range(priority: u8, range: &Range<u64>) -> SeqRange {
    SeqRange { first: Seq::new(priority, range.start), n: (range.end - range.start) as u32 }
}
