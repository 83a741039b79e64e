//! The queue against the model: any sequence of steps, everything compared after each.

mod durable;

use super::disk::Disk;
use super::model::{Message, Model, ModelConsumer, State};
use super::support::{Draft, confirmed, number_of, numbers, queue, signed_numbers, spec};
use crate::ids::{ConsumerId, Seq, SeqRange};
use crate::queue::credit::ChannelCredit;
use crate::queue::effects::{Budget, Delivery, Effects, Outcome};
use crate::queue::ops::{Keep, Log, OpIndex, Returns, Shown};
use crate::queue::settle::{Settle, Settlement};
use crate::queue::{Queue, positions};
use crate::settings::{Overflow, QueueSettings};
use crate::time::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct MessageShape {
    priority: u8,
    len: usize,
    ttl: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<MessageShape>),
    Consume {
        no_ack: bool,
        prefetch: u16,
        priority: i32,
        shares_credit: bool,
    },
    Cancel(usize),
    Take {
        who: usize,
        records: u32,
        bytes: u32,
    },
    Get {
        no_ack: bool,
    },
    Settle(Vec<(usize, usize, usize, Settlement)>),
    Purge,
    Wait(u64),
    MaxLength(Option<u64>),
    MayDeliver(bool),
    CreditLimit(u32),
    ShareCredit(usize),
    Visible,
    Durable,
    /// Everything emitted is written.
    Seal,
    /// A checkpoint up to some ops ago goes into the next batch.
    Checkpoint(u64),
    PageOut(usize),
    /// The node ends, with everything written or not, and begins again.
    Crash {
        written: bool,
    },
}

/// Who keeps the queue's ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Memory,
    /// A log that says when messages are visible.
    Replicated,
    /// A log, and paging and crashes.
    Durable,
}

fn shape() -> impl Strategy<Value = MessageShape> {
    let len = prop_oneof![8 => 8usize..40, 2 => 100usize..2000, 1 => Just(5000usize), 1 => Just(400_000usize)];
    let ttl = prop_oneof![3 => Just(None), 1 => (0u64..50).prop_map(Some)];
    (0u8..6, len, ttl).prop_map(|(priority, len, ttl)| MessageShape { priority, len, ttl })
}

fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        4 => Just(Settlement::Ack),
        2 => Just(Settlement::Requeue),
        1 => Just(Settlement::RequeueFailed),
        1 => Just(Settlement::Reject),
        1 => Just(Settlement::RejectFailed),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let picks = prop::collection::vec((0usize..8, 0usize..40, 1usize..12, settlement()), 1..4);
    let budget =
        (0usize..6, prop_oneof![1u32..8, Just(u32::MAX)], prop_oneof![Just(u32::MAX), 1u32..3000]);
    prop_oneof![
        10 => prop::collection::vec(shape(), 1..14).prop_map(Step::Publish),
        3 => (any::<bool>(), 0u16..6, 0i32..2, any::<bool>()).prop_map(
            |(no_ack, prefetch, priority, shares_credit)| Step::Consume { no_ack, prefetch, priority, shares_credit }
        ),
        2 => (0usize..6).prop_map(Step::Cancel),
        10 => budget.prop_map(|(who, records, bytes)| Step::Take { who, records, bytes }),
        3 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        10 => picks.prop_map(Step::Settle),
        1 => Just(Step::Purge),
        2 => (1u64..40).prop_map(Step::Wait),
        1 => prop_oneof![Just(None), (0u64..10).prop_map(Some)].prop_map(Step::MaxLength),
        1 => any::<bool>().prop_map(Step::MayDeliver),
        1 => (0u32..6).prop_map(Step::CreditLimit),
        1 => any::<usize>().prop_map(Step::ShareCredit),
        3 => Just(Step::Visible),
        2 => Just(Step::Durable),
        5 => Just(Step::Seal),
        3 => (0u64..30).prop_map(Step::Checkpoint),
        4 => prop_oneof![Just(usize::MAX), 0usize..3000].prop_map(Step::PageOut),
        1 => any::<bool>().prop_map(|written| Step::Crash { written }),
    ]
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let overflow = prop_oneof![
        Just(Overflow::DropHead),
        Just(Overflow::RejectPublish),
        Just(Overflow::RejectPublishDlx)
    ];
    (
        prop_oneof![3 => Just(None), 1 => (0u64..60).prop_map(Some)],
        prop_oneof![2 => Just(None), 1 => (0u64..12).prop_map(Some)],
        prop_oneof![3 => Just(None), 1 => (0u64..3000).prop_map(Some)],
        overflow,
        prop_oneof![2 => Just(None), 1 => (0u8..4).prop_map(Some)],
        prop::bool::weighted(0.15),
        any::<bool>(),
        prop_oneof![
            3 => Just((false, None)),
            1 => Just((true, None)),
            2 => (0u32..3).prop_map(|limit| (true, Some(limit))),
        ],
    )
        .prop_map(
            |(
                ttl,
                max_length,
                max_bytes,
                overflow,
                max_priority,
                single,
                dead,
                (counts, limit),
            )| {
                QueueSettings {
                    durable: true,
                    message_ttl: ttl,
                    max_length,
                    max_length_bytes: max_bytes,
                    overflow,
                    max_priority,
                    single_active_consumer: single,
                    dead_letter: if dead { super::support::dead_letter() } else { None },
                    counts_deliveries: counts,
                    delivery_limit: limit,
                    ..QueueSettings::default()
                }
            },
        )
}

struct Harness {
    queue: Queue,
    /// Applies what the queue emits.
    mirror: Queue,
    model: Model,
    credit: Arc<ChannelCredit>,
    fx: Effects,
    now: u64,
    next_message: u64,
    next_consumer: u64,
    n_refused: u64,
    mode: Mode,
    keep: Keep,
    disk: Disk,
    /// What lives and what is done as far as the disk was told.
    told: durable::Told,
    /// Messages that no publish of this queue's counters brought.
    n_recovered: u64,
    /// Consumers whose connection believes that there is something to take.
    awake: BTreeSet<u64>,
    /// (who took it, position, number) of what is unacknowledged, in the order it was taken.
    taken: Vec<(u64, Seq, u64)>,
    unanswered: u64,
    n_deaths: usize,
}

impl Harness {
    fn new(mut settings: QueueSettings, mode: Mode, keep: Keep, credit_limit: u32) -> Self {
        if mode == Mode::Durable {
            // While a block is away the bytes of its messages are estimated.
            settings.max_length_bytes = None;
        }
        let mut harness = Self {
            queue: queue(settings.clone()),
            mirror: queue(settings.clone()),
            model: Model::new(settings, credit_limit),
            credit: Arc::new(ChannelCredit::new(credit_limit)),
            fx: Effects::default(),
            now: 1000,
            next_message: 1,
            next_consumer: 1,
            n_refused: 0,
            mode,
            keep,
            disk: Disk::default(),
            told: durable::Told::default(),
            n_recovered: 0,
            awake: BTreeSet::new(),
            taken: Vec::new(),
            unanswered: 0,
            n_deaths: 0,
        };
        let shown = match mode {
            Mode::Memory => return harness,
            Mode::Replicated => Shown::WhenVisible,
            Mode::Durable => Shown::AtOnce,
        };
        let log = Log::Kept { next: OpIndex(1), keep, shown };
        harness.queue.set_log(log, Timestamp(1000), &mut harness.fx);
        if mode == Mode::Replicated {
            harness.model.visible_op = 0;
        }
        harness
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn consumer(&self, pick: usize) -> u64 {
        let there: Vec<u64> =
            self.model.consumers.iter().filter(|c| !c.gone).map(|c| c.id).collect();
        there.get(pick % there.len().max(1)).copied().unwrap_or(999)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(shapes) => self.publish(shapes),
            Step::Consume { no_ack, prefetch, priority, shares_credit } => {
                self.consume(*no_ack, *prefetch, *priority, *shares_credit);
            }
            Step::Cancel(pick) => {
                let id = self.consumer(*pick);
                self.awake.remove(&id);
                self.queue.cancel(ConsumerId(id), self.at(), &mut self.fx);
                self.model.cancel(id, self.now);
                self.credit_freed();
            }
            Step::Take { who, records, bytes } => {
                self.take(self.consumer(*who), *records, *bytes);
            }
            Step::Get { no_ack } => self.get(*no_ack),
            Step::Settle(picks) => self.settle(picks),
            Step::Purge => {
                assert_eq!(self.queue.purge(&mut self.fx), self.model.purge());
            }
            Step::Wait(ms) => {
                self.now += ms;
                self.queue.tick(self.at(), &mut self.fx);
                self.model.expire(self.now);
            }
            Step::MaxLength(max_length) => {
                self.model.settings.max_length = *max_length;
                self.queue.set_settings(self.model.settings.clone(), self.at(), &mut self.fx);
                self.model.drop_excess();
                self.model.expire(self.now);
            }
            Step::MayDeliver(may) => {
                self.queue.may_deliver(*may, self.at(), &mut self.fx);
                self.model.may_deliver = *may;
                self.model.expire(self.now);
                self.model.assign(self.now);
            }
            Step::CreditLimit(limit) => {
                self.credit.set_limit(*limit);
                self.model.credit_limit = *limit;
                self.credit_freed();
            }
            Step::ShareCredit(who) => self.share_credit(*who),
            Step::Visible => self.visible(),
            Step::Durable => {
                let last = self.queue.last_op().unwrap_or_default();
                self.queue.durable(last, self.at(), &mut self.fx);
            }
            Step::Seal | Step::Checkpoint(_) | Step::PageOut(_) | Step::Crash { .. } => {
                if self.mode == Mode::Durable {
                    self.disk_step(step);
                }
            }
        }
        self.answer_loads();
    }

    fn publish(&mut self, shapes: &[MessageShape]) {
        let mut drafts = Vec::new();
        let mut messages = Vec::new();
        for shape in shapes {
            let own = shape.ttl.map(|ttl| self.now + ttl);
            let all = self.model.settings.message_ttl.map(|ttl| self.now + ttl);
            let id = self.next_message;
            self.next_message += 1;
            let (priority, len) = (shape.priority, shape.len);
            drafts.push(Draft { id, priority, len, expires_at: own });
            messages.push(Message {
                id,
                level: self.model.settings.max_priority.map_or(0, |max| priority.min(max)),
                bytes: len as u64,
                expires: own.into_iter().chain(all).min(),
                redelivered: false,
                failed: false,
                returns: Returns::default(),
                op: if self.mode == Mode::Replicated { u64::MAX } else { 0 },
                state: State::Ready,
            });
        }
        self.fx.settled.clear();
        self.queue.publish(confirmed(&drafts), self.at(), &mut self.fx);
        let taken = self.model.publish(messages, self.now);
        self.n_refused += taken.iter().filter(|taken| !**taken).count() as u64;
        self.check_answers(&taken);
    }

    fn check_answers(&mut self, taken: &[bool]) {
        let outcomes: Vec<_> = self
            .fx
            .settled
            .iter()
            .flat_map(|s| (s.first_tag..s.first_tag + u64::from(s.n)).map(|t| (t, s.outcome)))
            .collect();
        let expected: BTreeSet<_> = taken.iter().zip(1u64..).collect();
        let mut answered = BTreeSet::new();
        for (tag, outcome) in &outcomes {
            assert!(answered.insert(*tag), "tag {tag} answered twice");
            assert!(expected.contains(&(&(*outcome == Outcome::Accepted), *tag)));
        }
        let accepted = taken.iter().filter(|taken| **taken).count();
        let refused = taken.len() - accepted;
        let waiting = taken.len() - outcomes.len();
        match self.mode {
            Mode::Memory => assert_eq!(waiting, 0),
            Mode::Replicated => assert_eq!(waiting, accepted),
            Mode::Durable => {
                assert!(outcomes.len() >= refused);
                let first = self.next_message - taken.len() as u64;
                let early = |(tag, outcome): &(u64, Outcome)| {
                    *outcome == Outcome::Accepted && self.lasts(first + tag - 1)
                };
                assert!(!outcomes.iter().any(early), "confirmed before it is durable");
            }
        }
        self.unanswered += waiting as u64;
        self.fx.settled.clear();
    }

    fn consume(&mut self, no_ack: bool, prefetch: u16, priority: i32, shares_credit: bool) {
        let id = self.next_consumer;
        self.next_consumer += 1;
        let mut spec = spec(id);
        spec.no_ack = no_ack;
        spec.prefetch = prefetch;
        spec.priority = priority;
        spec.channel_credit = shares_credit.then(|| self.credit.clone());
        self.queue.consume(spec, self.at(), &mut self.fx).unwrap();
        let consumer = ModelConsumer {
            id,
            no_ack,
            prefetch,
            priority,
            shares_credit,
            gone: false,
            assigned: Vec::new(),
        };
        self.model.consume(consumer, self.now);
    }

    /// A consumer that has no part in the channel's credit is given one.
    fn share_credit(&mut self, who: usize) {
        let there: Vec<_> = self.model.consumers.iter_mut().filter(|c| !c.gone).collect();
        let n = there.len().max(1);
        let Some(consumer) = there.into_iter().nth(who % n) else { return };
        consumer.shares_credit = true;
        self.queue.share_credit(ConsumerId(consumer.id), self.credit.clone());
    }

    fn take(&mut self, id: u64, records: u32, bytes: u32) {
        let (out, more) = self.take_with_loads(id, Budget { records, bytes });
        let (expected, expected_more) = self.model.take(id, records, bytes, self.now);
        let got: Vec<i64> = out.iter().flat_map(signed_numbers).collect();
        let signed = |(id, again): &(u64, bool)| if *again { -(*id as i64) } else { *id as i64 };
        assert_eq!(got, expected.iter().map(signed).collect::<Vec<_>>());
        assert_eq!(more, expected_more);
        out.iter().for_each(|delivery| self.check_returns(delivery));
        self.note_wakes();
        if more {
            self.awake.insert(id)
        } else {
            self.awake.remove(&id)
        };
        if !self.model.is_no_ack(id) {
            let taken = out.iter().flat_map(|delivery| {
                (0..delivery.n).map(|n| {
                    let number = number_of(&delivery.block, delivery.first + n);
                    (id, delivery.first_seq.plus(u64::from(n)), number)
                })
            });
            self.taken.extend(taken);
        }
    }

    fn get(&mut self, no_ack: bool) {
        let get = |harness: &mut Self| {
            if no_ack {
                harness.queue.get_no_ack(harness.at(), &mut harness.fx)
            } else {
                harness.queue.get(harness.at(), &mut harness.fx)
            }
        };
        let mut got = get(self);
        while got.is_none() && self.queue.is_loading() && self.model.may_deliver {
            self.answer_loads();
            got = get(self);
        }
        self.answer_loads();
        let expected = self.model.get(self.now);
        let mut ready = self.model.sum(|state| state == State::Ready).0;
        if self.mode == Mode::Durable {
            // What has expired behind it may have been away.
            ready = got.as_ref().map_or(0, |(_, left)| *left);
        }
        assert_eq!(
            got.as_ref().map(|(d, left)| (number_of(&d.block, d.first), d.redelivered, *left)),
            expected.map(|(id, redelivered)| (id, redelivered, ready))
        );
        got.iter().for_each(|(delivery, _)| self.check_returns(delivery));
        match (got, expected) {
            (Some(_), Some((id, _))) if no_ack => self.model.message(id).state = State::Acked,
            (Some((delivery, _)), Some((id, _))) => self.taken.push((0, delivery.first_seq, id)),
            _ => (),
        }
    }

    fn check_returns(&self, delivery: &Delivery) {
        for number in numbers(delivery) {
            let message = self.model.messages.iter().find(|message| message.id == number);
            assert_eq!(message.unwrap().returns, delivery.returns, "of {number}");
        }
    }

    fn settle(&mut self, picks: &[(usize, usize, usize, Settlement)]) {
        let mut settles = Vec::new();
        let mut expected = Vec::new();
        for (who, start, n, how) in picks {
            let owners: BTreeSet<u64> = self.taken.iter().map(|(by, ..)| *by).collect();
            let Some(by) = owners.iter().nth(who % owners.len().max(1)).copied() else { continue };
            let mine: Vec<_> = self.taken.iter().filter(|taken| taken.0 == by).copied().collect();
            let start = start % mine.len();
            let chosen = &mine[start..mine.len().min(start + n)];
            self.taken.retain(|taken| !chosen.contains(taken));
            let mut runs: Vec<(SeqRange, Vec<u64>)> = Vec::new();
            for (_, seq, id) in chosen {
                match runs.last_mut() {
                    Some((run, ids)) if run.end() == *seq && run.first.level() == seq.level() => {
                        run.n += 1;
                        ids.push(*id);
                    }
                    _ => runs.push((SeqRange { first: *seq, n: 1 }, vec![*id])),
                }
            }
            for (range, ids) in runs {
                let consumer = (by > 0).then_some(ConsumerId(by));
                settles.push(Settle { consumer, range, how: *how });
                expected.push((by, ids, *how));
            }
        }
        self.queue.settle(&settles, self.at(), &mut self.fx);
        self.model.settle(&expected, self.now);
        self.credit_freed();
    }

    /// What the channel does after its credit may have grown.
    fn credit_freed(&mut self) {
        self.note_wakes();
        if self.credit.take_refused() {
            let ids: Vec<u64> = self.model.consumers.iter().map(|c| c.id).collect();
            for id in ids {
                self.queue.credit_changed(ConsumerId(id), self.at(), &mut self.fx);
                self.disk.answer_loads(&mut self.queue, Timestamp(self.now), &mut self.fx);
                self.model.credit_changed(id, self.now);
            }
        }
    }

    fn visible(&mut self) {
        let last = self.queue.last_op().unwrap_or_default();
        self.queue.visible(last, self.at(), &mut self.fx);
        if self.mode == Mode::Replicated {
            self.model.visible_op = last.0;
            for message in self.model.messages.iter_mut().filter(|m| m.op == u64::MAX) {
                message.op = last.0;
            }
            self.model.assign(self.now);
        }
    }

    fn note_wakes(&mut self) {
        for (_, consumer) in self.fx.wake.drain(..) {
            assert!(self.awake.insert(consumer.0), "woken though awake");
        }
    }

    fn check(&mut self) {
        self.note_wakes();
        let model = &self.model;
        let counts = self.queue.counts();
        let ready = model.sum(|state| state == State::Ready);
        let estimated = self.queue.paged_out().0 > 0;
        let own = |n, bytes, model: (u64, u64)| (n, if estimated { model.1 } else { bytes });
        assert_eq!(own(counts.ready, counts.ready_bytes, ready), ready);
        let unacked = model.sum(|state| match state {
            State::Taken(_) => true,
            State::Assigned(by) => !model.is_no_ack(by),
            _ => false,
        });
        assert_eq!(own(counts.unacked, counts.unacked_bytes, unacked), unacked);
        let in_flight =
            model.sum(|state| matches!(state, State::Assigned(by) if model.is_no_ack(by)));
        assert_eq!(counts.in_flight, in_flight.0);
        self.check_stats();
        self.check_consumers();
        self.check_deaths();
        self.check_mirror();
        if self.mode == Mode::Durable {
            self.check_disk();
        }
    }

    fn check_stats(&self) {
        let (stats, counts) = (self.queue.stats(), self.queue.counts());
        let n = |state| self.model.sum(|s| s == state).0;
        let published = stats.published + self.n_recovered;
        assert_eq!(published, self.model.messages.len() as u64);
        assert_eq!(stats.finished, n(State::Acked));
        assert_eq!(stats.expired, n(State::Expired));
        assert_eq!(stats.dropped, n(State::Dropped));
        assert_eq!(stats.rejected, n(State::Rejected));
        assert_eq!(stats.over_delivery_limit, n(State::OverLimit));
        assert_eq!(stats.purged, n(State::Purged));
        assert_eq!(stats.refused, self.n_refused);
        let gone = stats.finished
            + stats.expired
            + stats.dropped
            + stats.rejected
            + stats.over_delivery_limit
            + stats.purged;
        assert_eq!(published, gone + counts.ready + counts.unacked + counts.in_flight);
        assert_eq!(stats.finished, stats.acked + stats.delivered_no_ack + stats.got_no_ack,);
    }

    fn check_consumers(&self) {
        let there = self.model.consumers.iter().filter(|consumer| !consumer.gone);
        assert_eq!(self.queue.counts().consumers as usize, there.clone().count());
        for consumer in there {
            let id = ConsumerId(consumer.id);
            let assigned = self.assigned(id);
            assert_eq!(assigned, self.model.assigned(id), "assigned to {id:?}");
            assert!(
                assigned.is_empty() || self.awake.contains(&consumer.id),
                "{id:?} has something assigned and sleeps"
            );
        }
    }

    fn assigned(&self, id: ConsumerId) -> Vec<u64> {
        let consumers = self.queue.consumers.as_ref().unwrap();
        let consumer = consumers.get(consumers.key(id).unwrap()).unwrap();
        let mut all = Vec::new();
        for assigned in &consumer.assigned {
            let level = self.queue.level_index(assigned.first.level()).unwrap();
            for piece in self.queue.levels[level].pieces(positions(*assigned)) {
                all.extend(piece.records().map(|record| number_of(piece.block, record)));
            }
        }
        all
    }

    fn check_deaths(&mut self) {
        let new = &self.model.deaths[self.n_deaths..];
        let mut new = new.to_vec();
        let mut got: Vec<_> = self
            .fx
            .dead_letters
            .drain(..)
            .flat_map(|dead| {
                (dead.first..dead.first + dead.n).map(move |record| {
                    (number_of(&dead.block, record), dead.reason, dead.redelivered)
                })
            })
            .collect();
        if self.mode == Mode::Durable {
            // What is away dies when it is back.
            new.sort_unstable_by_key(|(id, ..)| *id);
            got.sort_unstable_by_key(|(id, ..)| *id);
        }
        if self.model.settings.dead_letter.is_some() {
            assert_eq!(got, new);
        } else {
            assert!(got.is_empty());
        }
        self.n_deaths = self.model.deaths.len();
    }

    fn check_mirror(&mut self) {
        if self.mode == Mode::Memory {
            return assert!(self.fx.ops.is_empty());
        }
        for logged in &self.fx.ops {
            self.mirror.apply(logged.index, logged.op.clone());
        }
        self.disk.emitted(&mut self.fx.ops);
        let live: Vec<_> = self.queue.live().collect();
        assert_eq!(self.mirror.live().collect::<Vec<_>>(), live);
        let (own, other) = (self.queue.counts(), self.mirror.counts());
        assert_eq!(other.ready, own.ready + own.unacked + own.in_flight);
        let bytes = self.queue.ready.bytes + self.queue.unacked.bytes + self.queue.in_flight.bytes;
        if self.queue.paged_out().0 == 0 {
            assert_eq!(other.ready_bytes, bytes);
        }
        let counts: Vec<_> = self.queue.delivery_counts().collect();
        assert_eq!(self.mirror.delivery_counts().collect::<Vec<_>>(), counts);
        let (a, b) = (self.queue.stats(), self.mirror.stats());
        assert_eq!(
            (a.published, a.finished, a.expired, a.dropped, a.rejected, a.purged),
            (b.published, b.finished, b.expired, b.dropped, b.rejected, b.purged),
        );
        assert_eq!((a.over_delivery_limit, a.lost), (b.over_delivery_limit, b.lost));
    }

    /// Drains the queue with a consumer that acts on nothing but wake-ups.
    fn drain(&mut self) {
        self.model.settings.max_length = None;
        self.model.settings.max_length_bytes = None;
        self.queue.set_settings(self.model.settings.clone(), self.at(), &mut self.fx);
        self.model.expire(self.now);
        for step in [Step::MayDeliver(true), Step::CreditLimit(0), Step::Visible, Step::Durable] {
            self.step(&step);
            self.check();
        }
        self.unanswered -= self.fx.settled.iter().map(|s| u64::from(s.n)).sum::<u64>();
        assert_eq!(self.unanswered, 0, "a publisher waits forever");
        self.consume(true, 0, 9, false);
        let mut rounds = 0;
        loop {
            self.answer_loads();
            self.check();
            if let Some(id) = self.awake.first().copied() {
                self.take(id, 7, 900);
            } else if let Some((by, seq, id)) = self.taken.pop() {
                let range = SeqRange { first: seq, n: 1 };
                let consumer = (by > 0).then_some(ConsumerId(by));
                let settle = Settle { consumer, range, how: Settlement::Ack };
                self.queue.settle(&[settle], self.at(), &mut self.fx);
                self.model.settle(&[(by, vec![id], Settlement::Ack)], self.now);
                self.credit_freed();
            } else {
                break;
            }
            rounds += 1;
            assert!(rounds < 100_000, "no end in sight");
        }
        let counts = self.queue.counts();
        let left = (counts.ready, counts.unacked, counts.in_flight);
        // With a single active consumer the one that was active before may have no reader left.
        assert_eq!(left, (0, 0, 0), "something was left behind");
        assert_eq!(self.credit.used(), 0);
        assert_eq!(self.queue.levels.iter().map(|level| level.live_ranges().len()).sum::<u64>(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(600), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(
        settings in settings(),
        mode in prop_oneof![1 => Just(Mode::Memory), 1 => Just(Mode::Replicated), 3 => Just(Mode::Durable)],
        keep in prop_oneof![Just(Keep::Persistent), Just(Keep::All)],
        credit_limit in 0u32..5,
        keeps_records in any::<bool>(),
        steps in prop::collection::vec(step(), 1..70),
    ) {
        let mut harness = Harness::new(settings, mode, keep, credit_limit);
        harness.disk.keeps_records = keeps_records;
        for step in &steps {
            harness.step(step);
            harness.unanswered -= harness.fx.settled.iter().map(|s| u64::from(s.n)).sum::<u64>();
            harness.fx.settled.clear();
            harness.check();
        }
        harness.drain();
    }
}
