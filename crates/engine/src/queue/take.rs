//! Messages go out: a consumer's connection takes what was assigned, `basic.get` takes one.
//! Hot path: constant work per block for a consumer alone.

use super::consumers::{Consumer, Consumers};
use super::effects::{Budget, Delivery};
use super::level::{Level, Piece};
use super::ops::{AckRanges, Returns};
use super::{Effects, Op, Queue, positions, seq_range};
use crate::ids::{ConsumerId, Seq, SeqRange};
use crate::time::Timestamp;
use std::ops::Range;

impl Queue {
    /// Takes what is assigned to a consumer, as far as the budget goes, and whatever is assigned
    /// to it in the meantime. Says whether there is more: then the caller has to come again.
    pub fn take(
        &mut self,
        consumer: ConsumerId,
        budget: Budget,
        now: Timestamp,
        out: &mut Vec<Delivery>,
        fx: &mut Effects,
    ) -> bool {
        if self.is_stream() {
            return self.read(consumer, budget, out, fx);
        }
        let Some(consumers) = &self.consumers else { return false };
        let Some(key) = consumers.key(consumer) else { return false };
        let mut left = budget;
        if let Some(burst) = consumers.get(key).and_then(Consumer::burst) {
            left.records = left.records.min(burst);
        }
        loop {
            let Some(mut consumers) = self.consumers.take() else { return false };
            self.hand_over(&mut consumers, key, &mut left, out, fx);
            consumers.set_awake(key, true);
            // What was taken made room in its window.
            consumers.admit(key);
            self.consumers = Some(consumers);
            self.assign(now, fx);
            let Some(consumers) = &mut self.consumers else { return false };
            let more = consumers.get(key).is_some_and(|consumer| consumer.has_assigned());
            if !more || left.records == 0 || left.bytes == 0 {
                consumers.set_awake(key, more);
                return more;
            }
        }
    }

    fn hand_over(
        &mut self,
        consumers: &mut Consumers,
        key: u32,
        left: &mut Budget,
        out: &mut Vec<Delivery>,
        fx: &mut Effects,
    ) {
        let Some(consumer) = consumers.get_mut(key) else { return };
        let no_ack = consumer.spec.no_ack;
        let mut done = AckRanges::new();
        while left.records > 0 && left.bytes > 0 {
            let Some(next) = consumer.assigned.front() else { break };
            let Some(at) = self.level_index(next.first.level()) else { break };
            let level = &self.levels[at];
            let Some(piece) = level.piece(positions(*next)) else { break };
            let (piece, before) = cut(level, piece, left);
            let amount = piece.amount();
            out.push(delivery(level, &piece, consumer.spec.id, before));
            let range = seq_range(level.priority, &piece.positions());
            consumer.taken(range.n, amount.bytes);
            left.records -= range.n;
            left.bytes = left.bytes.saturating_sub(u32::try_from(amount.bytes).unwrap_or(u32::MAX));
            self.count_delivery(amount.n, no_ack, before.redelivered);
            if no_ack {
                self.in_flight -= amount;
                self.unacked += amount;
                done.push(range);
            }
        }
        // Messages taken without acknowledgement are done.
        if !done.is_empty() {
            self.emit(Op::Ack(done), fx);
        }
    }

    fn count_delivery(&mut self, n: u64, no_ack: bool, redelivered: bool) {
        let delivered =
            if no_ack { &mut self.stats.delivered_no_ack } else { &mut self.stats.delivered };
        *delivered += n;
        if redelivered {
            self.stats.redelivered += n;
        }
    }

    /// Takes the next message, past all consumers, to be settled later; and says how many are
    /// ready behind it. For the queue's expiry this is a use. Nothing also means that the message
    /// is not in memory yet, if [`Self::is_loading`] says so.
    // rabbitmq: basic.get
    pub fn get(&mut self, now: Timestamp, fx: &mut Effects) -> Option<(Delivery, u64)> {
        let delivery = self.fetch(now, fx)?;
        self.stats.got += 1;
        Some((delivery, self.ready.n))
    }

    /// Like [`Self::get`], and the message is done.
    pub fn get_no_ack(&mut self, now: Timestamp, fx: &mut Effects) -> Option<(Delivery, u64)> {
        let delivery = self.fetch(now, fx)?;
        self.stats.got_no_ack += 1;
        let range = SeqRange { first: delivery.first_seq, n: 1 };
        self.emit(Op::Ack(AckRanges::from([range])), fx);
        Some((delivery, self.ready.n))
    }

    fn fetch(&mut self, now: Timestamp, fx: &mut Effects) -> Option<Delivery> {
        self.last_used = now;
        let head = if self.may_deliver { self.head(1, now, fx) } else { None };
        let delivery = head.and_then(|(at, range)| self.fetch_at(at, range));
        // What comes up behind it may have expired already and is not to be counted as left.
        self.expire(now, fx);
        match &delivery {
            Some(delivery) => self.stats.redelivered += u64::from(delivery.redelivered),
            None => self.stats.got_empty += u64::from(!self.is_loading()),
        }
        delivery
    }

    fn fetch_at(&mut self, at: usize, range: Range<u64>) -> Option<Delivery> {
        let level = &self.levels[at];
        let one = Budget { records: 1, bytes: u32::MAX };
        let (piece, before) = cut(level, level.piece(range)?, &one);
        let amount = piece.amount();
        let delivery = delivery(level, &piece, ConsumerId::GET, before);
        let taken = piece.positions();
        self.levels[at].assign(taken);
        self.leave_ready(amount, false);
        Some(delivery)
    }
}

/// What happened before to all messages of a piece.
#[derive(Clone, Copy, Default)]
struct Before {
    redelivered: bool,
    returns: Returns,
}

/// As much of a piece as the budget allows and as the same happened to before.
fn cut<'a>(level: &Level, mut piece: Piece<'a>, budget: &Budget) -> (Piece<'a>, Before) {
    piece.n = piece.n.min(budget.records);
    piece.n = piece.block.fill(piece.records(), u64::from(budget.bytes));
    let Some(marks) = &level.marks else { return (piece, Before::default()) };
    let (end, redelivered) = marks.redelivered(piece.positions());
    let (end, returns) = marks.equal_returns(piece.start..end);
    piece.n = (end - piece.start) as u32;
    (piece, Before { redelivered, returns })
}

fn delivery(level: &Level, piece: &Piece<'_>, consumer: ConsumerId, before: Before) -> Delivery {
    Delivery {
        consumer,
        block: piece.block.clone(),
        first: piece.first,
        n: piece.n,
        first_seq: Seq::new(level.priority, piece.start),
        redelivered: before.redelivered,
        returns: before.returns,
        from_stream: false,
    }
}
