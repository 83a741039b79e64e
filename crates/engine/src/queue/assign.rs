//! Which consumer gets which message. Hot path: one consumer alone is handed whole runs of a
//! block; several of one priority take turns, message by message.

use super::consumers::Consumers;
use super::{DropReason, Effects, Queue};
use crate::ids::Seq;
use crate::queue::stats::Amount;
use crate::time::Timestamp;
use std::ops::Range;

/// How many messages are looked at for expiry before a round among several consumers.
const SCAN: u32 = 256;

impl Queue {
    /// Hands what is ready to whoever is eligible. Nothing that expired by `expired_by` is handed
    /// out; it leaves the queue when it comes to the head.
    pub(super) fn assign(&mut self, expired_by: Timestamp, fx: &mut Effects) {
        if self.ready.n == 0 || !self.may_deliver {
            return;
        }
        if self.is_stream() {
            return self.wake_readers(fx);
        }
        let Some(mut consumers) = self.consumers.take() else { return };
        while consumers.any_eligible() {
            let alone = consumers.alone().map(|consumer| consumer.room());
            let Some((level, range)) = self.head(alone.unwrap_or(SCAN), expired_by, fx) else {
                break;
            };
            if alone.is_some() {
                self.assign_run(&mut consumers, level, range, fx);
            } else {
                self.assign_in_turn(&mut consumers, level, range, fx);
            }
        }
        self.consumers = Some(consumers);
        if self.disk.is_some() {
            self.read_ahead(fx);
        }
    }

    /// At most `want` messages from the head that may be handed out, within one block: the index
    /// of their level and their positions. What has expired at the head is dropped on the way.
    /// Nothing while the head is on its way from disk.
    pub(super) fn head(
        &mut self,
        want: u32,
        expired_by: Timestamp,
        fx: &mut Effects,
    ) -> Option<(usize, Range<u64>)> {
        loop {
            let heads = self.levels.iter().enumerate();
            let (at, head) =
                heads.filter_map(|(at, level)| Some((at, level.visible_head()?))).next()?;
            let Some(piece) = self.levels[at].piece(head.clone()) else {
                self.load_from(at, head.start, fx);
                return None;
            };
            let n = piece.n.min(want);
            let range = piece.start..piece.start + u64::from(n);
            if !piece.block.any_expires() {
                return Some((at, range));
            }
            let alive = super::expiry::run(&piece, n, |expires| expires > expired_by);
            if alive > 0 {
                return Some((at, piece.start..piece.start + u64::from(alive)));
            }
            let dead = super::expiry::run(&piece, piece.n, |expires| expires <= expired_by);
            if dead == 0 {
                return None;
            }
            let range = piece.start..piece.start + u64::from(dead);
            self.discard(at, range, DropReason::Expired, fx);
        }
    }

    /// Hands as much of a run as fits to the one consumer whose turn it is.
    fn assign_run(
        &mut self,
        consumers: &mut Consumers,
        at: usize,
        range: Range<u64>,
        fx: &mut Effects,
    ) {
        let level = &mut self.levels[at];
        let Some(piece) = level.piece(range) else { return };
        let (mut amount, mut no_ack) = (Amount::default(), false);
        consumers.turn(|consumer| {
            let fits = piece.block.fill(piece.records(), consumer.byte_room());
            let n = consumer.take_credit(fits);
            if n > 0 {
                let bytes = piece.block.body_bytes(piece.first..piece.first + n);
                consumer.assign(Seq::new(level.priority, piece.start), n, bytes, fx);
                (amount, no_ack) = (Amount { n: u64::from(n), bytes }, consumer.spec.no_ack);
            }
            n < fits
        });
        let start = piece.start;
        level.assign(start..start + amount.n);
        self.leave_ready(amount, no_ack);
    }

    /// Hands a run out, one message to each in turn, until the run ends or one is left alone.
    fn assign_in_turn(
        &mut self,
        consumers: &mut Consumers,
        at: usize,
        range: Range<u64>,
        fx: &mut Effects,
    ) {
        let level = &self.levels[at];
        let Some(piece) = level.piece(range) else { return };
        let (mut with_ack, mut without) = (Amount::default(), Amount::default());
        let mut n = 0;
        while n < piece.n && consumers.several_eligible() {
            let bytes = piece.block.body_bytes(piece.first + n..piece.first + n + 1);
            let seq = Seq::new(level.priority, piece.start + u64::from(n));
            consumers.turn(|consumer| {
                if consumer.take_credit(1) == 0 {
                    return true;
                }
                consumer.assign(seq, 1, bytes, fx);
                let sum = if consumer.spec.no_ack { &mut without } else { &mut with_ack };
                *sum += Amount { n: 1, bytes };
                n += 1;
                false
            });
        }
        let start = piece.start;
        self.levels[at].assign(start..start + u64::from(n));
        self.leave_ready(with_ack, false);
        self.leave_ready(without, true);
    }

    pub(super) fn leave_ready(&mut self, amount: Amount, no_ack: bool) {
        self.ready -= amount;
        if no_ack {
            self.in_flight += amount;
        } else {
            self.unacked += amount;
        }
    }
}
