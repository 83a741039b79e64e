//! What consumers say about messages they took: done, again, or not at all. Hot path for acks.

use super::consumers::Consumers;
use super::ops::{AckRanges, Returns};
use super::{DropReason, Effects, Op, Queue, positions, seq_range};
use crate::dead_letter::DeadLetter;
use crate::ids::{ConsumerId, SeqRange};
use crate::settings::{DelayedRetry, RetryKind};
use crate::time::Timestamp;
use std::ops::Range;

/// What a consumer says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// `basic.ack`: it is done.
    Ack,
    /// `basic.nack` or `basic.recover` with requeue: back in its place.
    Requeue,
    /// `basic.reject` with requeue, or its channel or connection went: back in its place, and it
    /// counts as a failed delivery.
    RequeueFailed,
    /// `basic.nack` without requeue: dead-lettered or dropped.
    Reject,
    /// `basic.reject` without requeue: likewise, and the dead letter is marked as redelivered.
    RejectFailed,
}

/// What became of messages that were taken.
#[derive(Clone, Copy, Debug)]
pub struct Settle {
    /// Who took them; `None` is `basic.get`.
    pub consumer: Option<ConsumerId>,
    /// Which.
    pub range: SeqRange,
    /// What became of them.
    pub how: Settlement,
}

/// The first of some settlements, together with those behind it that continue it; and the rest.
fn next_run(settles: &[Settle]) -> Option<(Settle, &[Settle])> {
    let (first, mut rest) = settles.split_first()?;
    let mut run = *first;
    while let Some((next, after)) = rest.split_first()
        && next.range.first == run.range.end()
        && (next.consumer, next.how) == (run.consumer, run.how)
    {
        run.range.n += next.range.n;
        rest = after;
    }
    Some((run, rest))
}

impl Queue {
    /// Settles messages that were taken. All of them count before the next message is handed out,
    /// so what is given back together comes again in its order. Parts of a range that are not
    /// out are ignored.
    pub fn settle(&mut self, settles: &[Settle], now: Timestamp, fx: &mut Effects) {
        if !self.leads {
            return;
        }
        if self.is_stream() {
            return self.settle_read(settles, fx);
        }
        let Some(mut consumers) = self.consumers.take() else {
            return self.settle_all(settles, None, now, fx);
        };
        self.settle_all(settles, Some(&mut consumers), now, fx);
        self.keep_consumers(consumers);
        self.assign(now, fx);
    }

    /// Settles messages that were taken before this queue was here to be led: those that are ready are
    /// done or rejected, as was said; what is to come again is ready already.
    pub fn settle_earlier(&mut self, settle: &Settle, fx: &mut Effects) {
        let Some(at) = self.level_index(settle.range.first.level()) else { return };
        let range = positions(settle.range);
        if self.is_stream() {
            return;
        }
        let level = &self.levels[at];
        let overlap = |part: Range<u64>| part.start.max(range.start)..part.end.min(range.end);
        let ready: Vec<_> =
            level.ready_ranges().map(overlap).filter(|part| !part.is_empty()).collect();
        let mut acked = AckRanges::new();
        for part in ready {
            match settle.how {
                Settlement::Ack => acked.push(seq_range(self.levels[at].priority, &part)),
                Settlement::Requeue | Settlement::RequeueFailed => {}
                Settlement::Reject | Settlement::RejectFailed => {
                    self.discard(at, part, DropReason::Rejected, fx);
                }
            }
        }
        self.emit_acks(&mut acked, fx);
    }

    fn settle_all(
        &mut self,
        settles: &[Settle],
        mut consumers: Option<&mut Consumers>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let mut given_back = false;
        let mut rest = settles;
        let mut acked = AckRanges::new();
        while let Some((settle, after)) = next_run(rest) {
            rest = after;
            if settle.how != Settlement::Ack {
                self.emit_acks(&mut acked, fx);
            }
            self.settle_one(&settle, &mut acked, now, fx);
            given_back |= matches!(settle.how, Settlement::Requeue | Settlement::RequeueFailed);
            if let (Some(consumers), Some(id)) = (&mut consumers, settle.consumer)
                && let Some(key) = consumers.key(id)
            {
                consumers.settled(key, settle.range.n);
            }
        }
        self.emit_acks(&mut acked, fx);
        if given_back {
            // rabbitmq: the limit is met before what came back is handed out again.
            self.drop_excess(fx);
            self.expire(now, fx);
        }
    }

    fn emit_acks(&mut self, acked: &mut AckRanges, fx: &mut Effects) {
        if !acked.is_empty() {
            self.stats.acked += acked.iter().map(|range| u64::from(range.n)).sum::<u64>();
            self.emit(Op::Ack(std::mem::take(acked)), fx);
        }
    }

    fn settle_one(
        &mut self,
        settle: &Settle,
        acked: &mut AckRanges,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let Some(at) = self.level_index(settle.range.first.level()) else { return };
        let range = positions(settle.range);
        if self.levels[at].is_plainly_out(&range) {
            return self.settle_part(at, range, settle.how, acked, now, fx);
        }
        let mut parts = Vec::new();
        self.levels[at].out_parts(range, &mut parts);
        for part in parts {
            self.settle_part(at, part, settle.how, acked, now, fx);
        }
    }

    fn settle_part(
        &mut self,
        at: usize,
        part: Range<u64>,
        how: Settlement,
        acked: &mut AckRanges,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        match how {
            Settlement::Ack => acked.push(seq_range(self.levels[at].priority, &part)),
            Settlement::Requeue => self.come_back(at, part, false, now, fx),
            Settlement::RequeueFailed => {
                self.mark_failed(at, part.clone());
                self.come_back(at, part, true, now, fx);
            }
            Settlement::Reject => self.discard(at, part, DropReason::Rejected, fx),
            Settlement::RejectFailed => {
                self.mark_failed(at, part.clone());
                self.discard(at, part, DropReason::Rejected, fx);
            }
        }
    }

    /// Puts messages back in their place, marked as delivered before.
    fn requeue(&mut self, at: usize, range: Range<u64>) {
        let level = &mut self.levels[at];
        let amount = level.amount(range.clone());
        level.marks.get_or_insert_default().redeliver(range.clone());
        level.give_back(range);
        self.unacked -= amount;
        self.ready += amount;
        self.stats.requeued += amount.n;
    }

    /// Counts that messages came back, if the queue does so, and puts them back, or lets them wait for
    /// their next try, unless their deliveries have failed too often.
    fn come_back(
        &mut self,
        at: usize,
        range: Range<u64>,
        failed: bool,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        if !self.settings.counts_deliveries {
            return self.requeue(at, range);
        }
        let returned = seq_range(self.levels[at].priority, &range);
        self.emit(Op::Return { range: returned, failed }, fx);
        let limit = self.settings.delivery_limit.filter(|_| failed);
        let retry =
            self.settings.delayed_retry.as_deref().copied().filter(|retry| retry.is_for(failed));
        if limit.is_none() && retry.is_none() {
            return self.requeue(at, range);
        }
        for position in range {
            let marks = self.levels[at].marks.as_ref();
            let returns = marks.map(|marks| marks.returns(position)).unwrap_or_default();
            let one = position..position + 1;
            if limit.is_some_and(|limit| returns.failed > limit) {
                self.discard(at, one, DropReason::DeliveryLimit, fx);
            } else if let Some(retry) = retry {
                self.retry_later(at, position, &retry, returns, now, fx);
            } else {
                self.requeue(at, one);
            }
        }
    }

    fn retry_later(
        &mut self,
        at: usize,
        position: u64,
        retry: &DelayedRetry,
        returns: Returns,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let n = if retry.kind == RetryKind::Failed { returns.failed } else { returns.all };
        let delay = retry.delay(n, scattered(self.id.0, position, n));
        let range = seq_range(self.levels[at].priority, &(position..position + 1));
        self.stats.requeued += 1;
        self.emit(Op::Delay { range, until: now.plus(delay) }, fx);
    }

    /// Remembers failed deliveries where somebody may be told: in a dead letter.
    fn mark_failed(&mut self, at: usize, range: Range<u64>) {
        if self.settings.dead_letter.is_some() {
            self.levels[at].marks.get_or_insert_default().failed.insert(range);
        }
    }

    /// Emits dead letters for messages that are about to leave, if they have somewhere to go.
    pub(super) fn dead_letter(
        &self,
        at: usize,
        range: Range<u64>,
        reason: DropReason,
        fx: &mut Effects,
    ) {
        let (Some(target), Some(death)) = (&self.settings.dead_letter, reason.death()) else {
            return;
        };
        let level = &self.levels[at];
        let mut start = range.start;
        while start < range.end {
            let marks = level.marks.as_ref();
            let (end, failed) =
                marks.map_or((range.end, false), |marks| marks.failed.stretch(start..range.end));
            fx.dead_letters.extend(level.pieces(start..end).map(|piece| DeadLetter {
                block: piece.block.clone(),
                first: piece.first,
                n: piece.n,
                reason: death,
                redelivered: failed,
                vhost: self.vhost.clone(),
                source: self.id,
                queue: self.name.clone(),
                target: target.clone(),
                held_at: None,
            }));
            start = end;
        }
    }
}

/// A number that looks like a random one and is the same on every node.
fn scattered(queue: u64, position: u64, n: u32) -> u64 {
    let seed = queue ^ position.rotate_left(24) ^ u64::from(n).rotate_left(56);
    // The finaliser of splitmix64.
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
