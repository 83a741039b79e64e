//! A queue that is too simple to be wrong: a list of all messages that ever were, looked through
//! from the front for every step, one message at a time.

use crate::dead_letter::DeathReason;
use crate::ids::ConsumerId;
use crate::queue::Settlement;
use crate::queue::consumers::{ASSIGN_WINDOW_BYTES, ASSIGN_WINDOW_RECORDS};
use crate::queue::ops::Returns;
use crate::settings::{Overflow, QueueSettings};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Assigned(u64),
    /// By a consumer, or by `basic.get` (0).
    Taken(u64),
    Acked,
    Expired,
    Dropped,
    Rejected,
    OverLimit,
    Purged,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Unique over the whole test; the first 8 bytes of the body.
    pub(super) id: u64,
    pub(super) level: u8,
    pub(super) bytes: u64,
    pub(super) expires: Option<u64>,
    pub(super) redelivered: bool,
    pub(super) failed: bool,
    pub(super) returns: Returns,
    /// The op that published it.
    pub(super) op: u64,
    pub(super) state: State,
}

#[derive(Clone, Debug)]
pub(super) struct ModelConsumer {
    pub(super) id: u64,
    pub(super) no_ack: bool,
    pub(super) prefetch: u16,
    pub(super) priority: i32,
    pub(super) shares_credit: bool,
    pub(super) gone: bool,
    /// What it was assigned, in order.
    pub(super) assigned: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) settings: QueueSettings,
    pub(super) messages: Vec<Message>,
    pub(super) consumers: Vec<ModelConsumer>,
    /// Eligible consumers, longest waiting first.
    ring: Vec<u64>,
    active: Option<u64>,
    pub(super) credit_limit: u32,
    pub(super) may_deliver: bool,
    pub(super) visible_op: u64,
    /// What was dead-lettered or dropped without dead-lettering, in order, with its mark.
    pub(super) deaths: Vec<(u64, DeathReason, bool)>,
}

impl Model {
    pub(super) fn new(settings: QueueSettings, credit_limit: u32) -> Self {
        Self { settings, credit_limit, may_deliver: true, visible_op: u64::MAX, ..Self::default() }
    }

    pub(super) fn message(&mut self, id: u64) -> &mut Message {
        self.messages.iter_mut().find(|message| message.id == id).unwrap()
    }

    pub(super) fn sum(&self, state: impl Fn(State) -> bool) -> (u64, u64) {
        let those = self.messages.iter().filter(|message| state(message.state));
        those.fold((0, 0), |(n, bytes), message| (n + 1, bytes + message.bytes))
    }

    fn consumer(&self, id: u64) -> Option<&ModelConsumer> {
        self.consumers.iter().find(|consumer| consumer.id == id && !consumer.gone)
    }

    pub(super) fn is_no_ack(&self, id: u64) -> bool {
        self.consumers.iter().any(|consumer| consumer.id == id && consumer.no_ack)
    }

    fn out_of(&self, id: u64) -> u64 {
        self.sum(|state| matches!(state, State::Taken(by) | State::Assigned(by) if by == id)).0
    }

    fn credit_used(&self) -> u64 {
        let sharing =
            |id: u64| self.consumers.iter().any(|c| c.id == id && c.shares_credit && !c.no_ack);
        self.sum(|state| matches!(state, State::Taken(by) | State::Assigned(by) if sharing(by))).0
    }

    fn has_room(&self, consumer: &ModelConsumer) -> bool {
        let (n, bytes) = self.sum(|state| state == State::Assigned(consumer.id));
        let window = n < u64::from(ASSIGN_WINDOW_RECORDS) && bytes < ASSIGN_WINDOW_BYTES;
        let unlimited = consumer.no_ack || consumer.prefetch == 0;
        window && (unlimited || self.out_of(consumer.id) < u64::from(consumer.prefetch))
    }

    fn admit(&mut self, id: u64) {
        let Some(consumer) = self.consumer(id) else { return };
        let active = !self.settings.single_active_consumer || self.active == Some(id);
        if active && self.has_room(consumer) && !self.ring.contains(&id) {
            self.ring.push(id);
        }
    }

    /// The index of the head of a level.
    fn head_of(&self, level: u8) -> Option<usize> {
        self.messages.iter().position(|m| m.level == level && m.state == State::Ready)
    }

    fn visible_head(&self) -> Option<usize> {
        (0..=u8::MAX)
            .rev()
            .filter_map(|level| self.head_of(level))
            .find(|at| self.messages[*at].op <= self.visible_op)
    }

    fn live_head(&mut self, expired_by: u64) -> Option<usize> {
        loop {
            let at = self.visible_head()?;
            if self.messages[at].expires.is_none_or(|expires| expires > expired_by) {
                return Some(at);
            }
            self.die(at, State::Expired, DeathReason::Expired);
        }
    }

    fn die(&mut self, at: usize, state: State, reason: DeathReason) {
        self.messages[at].state = state;
        self.deaths.push((self.messages[at].id, reason, self.messages[at].failed));
    }

    pub(super) fn assign(&mut self, expired_by: u64) {
        if !self.may_deliver || self.head_exists().is_none() {
            return;
        }
        while !self.ring.is_empty() {
            let Some(at) = self.live_head(expired_by) else { return };
            let priority = |id: &u64| self.consumer(*id).unwrap().priority;
            let best = self.ring.iter().map(priority).max().unwrap();
            let turn = self.ring.iter().position(|id| priority(id) == best).unwrap();
            let id = self.ring.remove(turn);
            let consumer = self.consumer(id).unwrap().clone();
            let limited = consumer.shares_credit && !consumer.no_ack && self.credit_limit > 0;
            if limited && self.credit_used() >= u64::from(self.credit_limit) {
                continue;
            }
            self.messages[at].state = State::Assigned(id);
            let message = self.messages[at].id;
            self.consumers.iter_mut().find(|c| c.id == id).unwrap().assigned.push(message);
            self.admit(id);
        }
    }

    fn head_exists(&self) -> Option<usize> {
        self.messages.iter().position(|m| m.state == State::Ready)
    }

    /// The batch, and for each message whether it was taken.
    pub(super) fn publish(&mut self, batch: Vec<Message>, now: u64) -> Vec<bool> {
        let rejecting = self.settings.overflow != Overflow::DropHead;
        let mut taken = Vec::new();
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            let before = taken.len();
            while let Some(message) = batch.next_if(|message| !rejecting || self.fits(message)) {
                self.messages.push(message);
                taken.push(true);
            }
            if taken.len() > before {
                self.assign(now - 1);
            } else if let Some(refused) = batch.next() {
                taken.push(false);
                if self.settings.overflow == Overflow::RejectPublishDlx {
                    self.deaths.push((refused.id, DeathReason::MaxLength, false));
                }
            }
        }
        self.drop_excess();
        self.expire(now);
        taken
    }

    fn fits(&self, message: &Message) -> bool {
        let (n, bytes) = self.sum(|state| state == State::Ready);
        self.settings.max_length.is_none_or(|max| n < max)
            && self.settings.max_length_bytes.is_none_or(|max| bytes + message.bytes <= max)
    }

    pub(super) fn drop_excess(&mut self) {
        if self.settings.overflow != Overflow::DropHead {
            return;
        }
        loop {
            let (n, bytes) = self.sum(|state| state == State::Ready);
            let over = self.settings.max_length.is_some_and(|max| n > max)
                || self.settings.max_length_bytes.is_some_and(|max| bytes > max);
            let head = (0..=u8::MAX).rev().find_map(|level| self.head_of(level));
            match head {
                Some(at) if over => self.die(at, State::Dropped, DeathReason::MaxLength),
                _ => return,
            }
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        if !self.may_deliver {
            return;
        }
        while let Some(at) = (0..=u8::MAX).rev().find_map(|level| self.head_of(level))
            && self.messages[at].expires.is_some_and(|expires| expires <= now)
        {
            self.die(at, State::Expired, DeathReason::Expired);
        }
    }

    pub(super) fn consume(&mut self, consumer: ModelConsumer, now: u64) {
        let id = consumer.id;
        self.consumers.push(consumer);
        if self.active.is_none() {
            self.active = Some(id);
        }
        self.admit(id);
        self.assign(now);
    }

    pub(super) fn cancel(&mut self, id: u64, now: u64) {
        let Some(consumer) = self.consumers.iter_mut().find(|c| c.id == id && !c.gone) else {
            return;
        };
        consumer.gone = true;
        let assigned = std::mem::take(&mut consumer.assigned);
        self.ring.retain(|turn| *turn != id);
        for message in assigned {
            self.message(message).state = State::Ready;
        }
        if self.settings.single_active_consumer && self.active == Some(id) {
            let mut left: Vec<_> = self.consumers.iter().filter(|c| !c.gone).collect();
            left.sort_by_key(|consumer| -consumer.priority);
            self.active = left.first().map(|consumer| consumer.id);
            if let Some(active) = self.active {
                self.admit(active);
            }
        }
        self.assign(now);
        self.drop_excess();
        self.expire(now);
    }

    pub(super) fn credit_changed(&mut self, id: u64, now: u64) {
        if self.consumer(id).is_some() {
            self.admit(id);
            self.assign(now);
        }
    }

    /// The messages taken, with whether each is redelivered; and whether there is more.
    pub(super) fn take(
        &mut self,
        id: u64,
        records: u32,
        bytes: u32,
        now: u64,
    ) -> (Vec<(u64, bool)>, bool) {
        let mut out = Vec::new();
        if self.consumer(id).is_none() {
            return (out, false);
        }
        let (mut records, mut bytes) = (u64::from(records), u64::from(bytes));
        loop {
            while records > 0 && bytes > 0 {
                let no_ack = self.is_no_ack(id);
                let consumer = self.consumers.iter_mut().find(|c| c.id == id).unwrap();
                if consumer.assigned.is_empty() {
                    break;
                }
                let message = consumer.assigned.remove(0);
                let message = self.message(message);
                message.state = if no_ack { State::Acked } else { State::Taken(id) };
                out.push((message.id, message.redelivered));
                records -= 1;
                bytes = bytes.saturating_sub(message.bytes);
            }
            self.admit(id);
            self.assign(now);
            let more = !self.consumer(id).unwrap().assigned.is_empty();
            if !more || records == 0 || bytes == 0 {
                return (out, more);
            }
        }
    }

    pub(super) fn get(&mut self, now: u64) -> Option<(u64, bool)> {
        if !self.may_deliver {
            return None;
        }
        let got = self.live_head(now);
        if let Some(at) = got {
            self.messages[at].state = State::Taken(0);
        }
        self.expire(now);
        got.map(|at| (self.messages[at].id, self.messages[at].redelivered))
    }

    /// Each of these is settled; consumers regain credit in this order.
    pub(super) fn settle(&mut self, settles: &[(u64, Vec<u64>, Settlement)], now: u64) {
        let mut given_back = false;
        for (by, ids, how) in settles {
            for id in ids {
                self.settle_one(*id, *how);
            }
            given_back |= matches!(how, Settlement::Requeue | Settlement::RequeueFailed);
            self.admit(*by);
        }
        if given_back {
            self.drop_excess();
            self.expire(now);
        }
        self.assign(now);
    }

    fn settle_one(&mut self, id: u64, how: Settlement) {
        let dead_letters = self.settings.dead_letter.is_some();
        let counts = self.settings.counts_deliveries;
        let limit = self.settings.delivery_limit;
        let at = self.messages.iter().position(|message| message.id == id).unwrap();
        let message = &mut self.messages[at];
        let failed = matches!(how, Settlement::RequeueFailed | Settlement::RejectFailed);
        message.failed |= failed && dead_letters;
        match how {
            Settlement::Ack => message.state = State::Acked,
            Settlement::Requeue | Settlement::RequeueFailed => {
                message.returns.all += u32::from(counts);
                message.returns.failed += u32::from(counts && failed);
                if counts && failed && limit.is_some_and(|limit| message.returns.failed > limit) {
                    self.die(at, State::OverLimit, DeathReason::DeliveryLimit);
                } else {
                    message.state = State::Ready;
                    message.redelivered = true;
                }
            }
            Settlement::Reject | Settlement::RejectFailed => {
                self.die(at, State::Rejected, DeathReason::Rejected);
            }
        }
    }

    pub(super) fn purge(&mut self) -> u64 {
        let mut n = 0;
        for message in self.messages.iter_mut().filter(|m| m.state == State::Ready) {
            message.state = State::Purged;
            n += 1;
        }
        n
    }

    /// What a consumer has assigned, for comparison.
    pub(super) fn assigned(&self, id: ConsumerId) -> Vec<u64> {
        self.consumer(id.0).map(|consumer| consumer.assigned.clone()).unwrap_or_default()
    }
}
