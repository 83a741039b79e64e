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
        let Some(mut consumers) = self.consumers.take() else { return };
        while let Some((key, alone)) = consumers.next_turn() {
            let want = if alone { consumers.get(key).map_or(0, |c| c.room()) } else { SCAN };
            let Some((level, range)) = self.head(want, expired_by, fx) else { break };
            if alone {
                self.assign_run(&mut consumers, key, level, range, fx);
            } else {
                self.assign_in_turn(&mut consumers, level, range, fx);
            }
        }
        self.consumers = Some(consumers);
    }

    /// At most `want` messages from the head that may be handed out, within one block: the index
    /// of their level and their positions. What has expired at the head is dropped on the way.
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
            let piece = self.levels[at].piece(head)?;
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

    /// Hands as much of a run as fits to one consumer.
    fn assign_run(
        &mut self,
        consumers: &mut Consumers,
        key: u32,
        at: usize,
        range: Range<u64>,
        fx: &mut Effects,
    ) {
        let level = &mut self.levels[at];
        let (Some(consumer), Some(piece)) = (consumers.get_mut(key), level.piece(range)) else {
            return;
        };
        let fits = piece.block.fill(piece.records(), consumer.byte_room());
        let n = consumer.take_credit(fits);
        if n > 0 {
            let bytes = piece.block.body_bytes(piece.first..piece.first + n);
            let start = piece.start;
            let no_ack = consumer.spec.no_ack;
            consumer.assign(Seq::new(level.priority, start), n, bytes, fx);
            level.assign(start..start + u64::from(n));
            self.leave_ready(Amount { n: u64::from(n), bytes }, no_ack);
        }
        consumers.end_turn(n < fits);
    }

    /// Hands a run out, one message to each in turn, until the run or those who take turns end.
    fn assign_in_turn(
        &mut self,
        consumers: &mut Consumers,
        at: usize,
        range: Range<u64>,
        fx: &mut Effects,
    ) {
        let level = &self.levels[at];
        let Some(piece) = level.piece(range) else { return };
        let (start, priority) = (piece.start, level.priority);
        let (mut with_ack, mut without) = (Amount::default(), Amount::default());
        let mut record = piece.first;
        while record < piece.first + piece.n {
            let Some((key, false)) = consumers.next_turn() else { break };
            let Some(consumer) = consumers.get_mut(key) else { break };
            let granted = consumer.take_credit(1) == 1;
            if granted {
                let bytes = piece.block.body_bytes(record..record + 1);
                let position = start + u64::from(record - piece.first);
                consumer.assign(Seq::new(priority, position), 1, bytes, fx);
                let sum = if consumer.spec.no_ack { &mut without } else { &mut with_ack };
                *sum += Amount { n: 1, bytes };
                record += 1;
            }
            consumers.end_turn(!granted);
        }
        let n = with_ack.n + without.n;
        self.levels[at].assign(start..start + n);
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
