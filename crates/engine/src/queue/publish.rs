//! Messages come in: TTL, limits, priorities, and the answers to publishers. Hot path.

use super::effects::{ConfirmRun, Incoming, answers};
use super::{Effects, Op, Outcome, Queue};
use crate::block::Block;
use crate::dead_letter::{DeadLetter, DeathReason};
use crate::ids::Seq;
use crate::settings::Overflow;
use crate::time::Timestamp;
use std::ops::Range;
use std::sync::Arc;

impl Queue {
    /// Takes a batch. What can be handed to a consumer at once never counts as ready.
    pub fn publish(&mut self, incoming: Incoming, now: Timestamp, fx: &mut Effects) {
        if !self.leads {
            let all = 0..incoming.block.len();
            return fx.settled.extend(answers(&incoming.confirms, all, Outcome::Rejected));
        }
        if self.seen.is_some() {
            let Incoming { block, confirms } = incoming;
            return self.publish_unseen(&block, &confirms, now, fx);
        }
        self.publish_taken(incoming, now, fx);
    }

    /// Takes a batch without duplicates.
    pub(super) fn publish_taken(&mut self, incoming: Incoming, now: Timestamp, fx: &mut Effects) {
        let Incoming { mut block, confirms } = incoming;
        if block.is_empty() {
            return;
        }
        if let Some(ttl) = self.settings.message_ttl {
            block.limit_expiry(now.plus(ttl));
        }
        if self.keeps_all() {
            block.make_persistent();
        }
        if self.is_stream() {
            block.stamp(now);
        }
        if self.is_full_of_delayed(block.len()) {
            fx.settled.extend(answers(&confirms, 0..block.len(), Outcome::Rejected));
            self.stats.refused += u64::from(block.len());
            return;
        }
        if self.fitting(&block, 0).is_some() {
            self.publish_what_fits(&block, &confirms, now, fx);
        } else {
            let all = 0..block.len();
            let any_persistent = block.any_persistent();
            self.append(block, now, fx);
            self.confirm(&confirms, all, any_persistent, fx);
            self.assign_fresh(now, fx);
        }
        self.truncate(now, fx);
        self.drop_excess(fx);
        self.expire(now, fx);
    }

    /// Hands out what just came; with a TTL of 0 this is the only time that a message may be.
    fn assign_fresh(&mut self, now: Timestamp, fx: &mut Effects) {
        self.assign(Timestamp(now.0.saturating_sub(1)), fx);
    }

    /// Takes the messages that fit, refuses the others. What was taken is handed out before the
    /// next is looked at, so the limit is met exactly as if they had come one by one.
    // rabbitmq: maxlength, reject-publish
    fn publish_what_fits(
        &mut self,
        block: &Block,
        confirms: &[ConfirmRun],
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let mut first = 0;
        while first < block.len() {
            let n = self.fitting(block, first).unwrap_or(block.len() - first);
            if n == 0 {
                self.refuse(block, first, confirms, fx);
                first += 1;
                continue;
            }
            let mut part = Block::new();
            part.append_from(block, first..first + n);
            let any_persistent = part.any_persistent();
            self.append(part, now, fx);
            self.confirm(confirms, first..first + n, any_persistent, fx);
            self.assign_fresh(now, fx);
            first += n;
        }
    }

    fn refuse(&mut self, block: &Block, at: u32, confirms: &[ConfirmRun], fx: &mut Effects) {
        self.stats.refused += 1;
        fx.settled.extend(answers(confirms, at..at + 1, Outcome::Rejected));
        if self.settings.overflow != Overflow::RejectPublishDlx {
            return;
        }
        let Some(target) = self.settings.dead_letter.clone() else { return };
        let mut alone = Block::new();
        alone.append_from(block, at..at + 1);
        fx.dead_letters.push(DeadLetter {
            block: Arc::new(alone),
            first: 0,
            n: 1,
            reason: DeathReason::MaxLength,
            redelivered: false,
            vhost: self.vhost.clone(),
            source: self.id,
            queue: self.name.clone(),
            target,
            held_at: None,
        });
    }

    /// Appends a whole block to the log, split by priority if the queue has priorities.
    fn append(&mut self, block: Block, now: Timestamp, fx: &mut Effects) {
        let Some(max) = self.settings.max_priority else {
            return self.append_to(0, block, now, fx);
        };
        let (low, high) = block.priorities();
        if low.min(max) == high.min(max) {
            return self.append_to(high.min(max), block, now, fx);
        }
        let mut parts: Vec<(u8, Block)> = Vec::new();
        for at in 0..block.len() {
            let priority = block.priority(at).min(max);
            let part = match parts.iter().position(|(own, _)| *own == priority) {
                Some(part) => part,
                None => {
                    parts.push((priority, Block::new()));
                    parts.len() - 1
                }
            };
            parts[part].1.append_from(&block, at..at + 1);
        }
        for (priority, part) in parts {
            self.append_to(priority, part, now, fx);
        }
    }

    fn append_to(&mut self, priority: u8, block: Block, now: Timestamp, fx: &mut Effects) {
        let first = Seq::new(priority, self.level_for(priority).next());
        let (keys, delays) = (self.keys_in(&block), self.delays_in(&block));
        self.emit(Op::Publish { first, at: now, block: Arc::new(block) }, fx);
        if !keys.is_empty() {
            self.remember(first, keys, now, fx);
        }
        self.delay_fresh(first, &delays, now, fx);
    }

    /// Tells publishers that records were accepted, now or when the log has them.
    fn confirm(
        &mut self,
        confirms: &[ConfirmRun],
        records: Range<u32>,
        any_persistent: bool,
        fx: &mut Effects,
    ) {
        if confirms.is_empty() {
            return;
        }
        let answers = answers(confirms, records, Outcome::Accepted);
        match &mut self.log {
            None => fx.settled.extend(answers),
            Some(log) => log.wait(answers, self.settings.durable && any_persistent, fx),
        }
    }
}
