//! How a queue emits and applies ops, and what waits until its ops are visible or durable.

use super::effects::{Outcome, Settled};
use super::level::Level;
use super::ops::{DropReason, Keep, Log, LoggedOp, Op, OpIndex, Shown, Trace};
use super::{Effects, Queue, positions};
use crate::block::Block;
use crate::ids::{Seq, SeqRange};
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a queue remembers while somebody keeps its ops.
#[derive(Debug)]
pub(super) struct LogState {
    next: OpIndex,
    /// The ops up to this one survive.
    durable: OpIndex,
    keep: Keep,
    shown: Shown,
    /// Up to which position a priority may be handed out once an op is visible.
    hidden: VecDeque<(OpIndex, u8, u64)>,
    /// Answers to publishers that wait for an op to be visible.
    until_visible: VecDeque<(OpIndex, Settled)>,
    /// Answers to publishers that wait for an op to be durable.
    until_durable: VecDeque<(OpIndex, Settled)>,
}

impl LogState {
    fn new(next: OpIndex, keep: Keep, shown: Shown) -> Self {
        Self {
            next,
            durable: OpIndex(next.0.saturating_sub(1)),
            keep,
            shown,
            hidden: VecDeque::new(),
            until_visible: VecDeque::new(),
            until_durable: VecDeque::new(),
        }
    }

    /// Keeps answers until the last op is durable or visible.
    pub(super) fn wait(
        &mut self,
        answers: impl Iterator<Item = Settled>,
        durable: bool,
        fx: &mut Effects,
    ) {
        if !durable && self.shown == Shown::AtOnce {
            return fx.settled.extend(answers);
        }
        let last = OpIndex(self.next.0 - 1);
        let waiting = if durable { &mut self.until_durable } else { &mut self.until_visible };
        waiting.extend(answers.map(|answer| (last, answer)));
    }

    /// Keeps answers until an op is durable that was emitted before.
    pub(super) fn wait_for(
        &mut self,
        op: OpIndex,
        answers: impl Iterator<Item = Settled>,
        fx: &mut Effects,
    ) {
        if op <= self.durable {
            return fx.settled.extend(answers);
        }
        self.until_durable.extend(answers.map(|answer| (op, answer)));
    }

    /// When messages may be delivered from now on.
    pub(super) fn set_shown(&mut self, shown: Shown) {
        self.shown = shown;
    }

    /// Tells whoever still waits no.
    pub(super) fn refuse_all(&mut self, fx: &mut Effects) {
        let waiting = self.until_visible.drain(..).chain(self.until_durable.drain(..));
        let refused = waiting.map(|(_, settled)| Settled { outcome: Outcome::Rejected, ..settled });
        fx.settled.extend(refused);
    }

    /// Notes what an op publishes that is not to be seen yet.
    fn hide(&mut self, index: OpIndex, op: &Op) {
        if let Op::Publish { first, block, .. } = op
            && self.shown == Shown::WhenVisible
        {
            let end = first.index() + u64::from(block.len());
            self.hidden.push_back((index, first.level(), end));
        }
    }

    /// Gives every answer that waits.
    pub(super) fn settle_all(mut self, fx: &mut Effects) {
        let all = OpIndex(u64::MAX);
        release(&mut self.until_visible, all, fx);
        release(&mut self.until_durable, all, fx);
    }
}

fn release(waiting: &mut VecDeque<(OpIndex, Settled)>, upto: OpIndex, fx: &mut Effects) {
    while let Some((_, settled)) = waiting.pop_front_if(|(index, _)| *index <= upto) {
        fx.settled.push(settled);
    }
}

impl Queue {
    /// Says whether somebody keeps the ops from now on. Whatever waited for the log is released.
    pub fn set_log(&mut self, log: Log, now: Timestamp, fx: &mut Effects) {
        let before = match log {
            Log::Memory => self.log.take(),
            Log::Kept { next, keep, shown } => {
                let shown = if self.is_stream() { Shown::WhenVisible } else { shown };
                self.log.replace(Box::new(LogState::new(next, keep, shown)))
            }
        };
        if let Some(before) = before {
            before.settle_all(fx);
        }
        for level in &mut self.levels {
            level.show(level.next());
        }
        self.assign(now, fx);
    }

    /// The number of the last op that was emitted; `None` without a log.
    #[must_use]
    pub fn last_op(&self) -> Option<OpIndex> {
        self.log.as_ref().map(|log| OpIndex(log.next.0 - 1))
    }

    /// The ops up to `upto` may be acted upon: their messages may be delivered, and publishers of
    /// transient messages are answered.
    pub fn visible(&mut self, upto: OpIndex, now: Timestamp, fx: &mut Effects) {
        let Some(log) = &mut self.log else { return };
        release(&mut log.until_visible, upto, fx);
        while let Some((_, priority, end)) = log.hidden.pop_front_if(|(index, ..)| *index <= upto) {
            if let Some(level) = self.levels.iter_mut().find(|level| level.priority == priority) {
                level.show(end);
            }
        }
        self.assign(now, fx);
    }

    /// The ops up to `upto` survive: publishers of persistent messages are answered, and readers of
    /// a stream are shown what they published.
    pub fn durable(&mut self, upto: OpIndex, now: Timestamp, fx: &mut Effects) {
        if let Some(log) = &mut self.log {
            log.durable = log.durable.max(upto);
            release(&mut log.until_durable, upto, fx);
        }
        if self.is_stream() {
            self.visible(upto, now, fx);
        }
    }

    /// The one door through which what the queue holds changes.
    pub(super) fn emit(&mut self, op: Op, fx: &mut Effects) {
        let Some(log) = &mut self.log else {
            if let Some(block) = self.carry_out(OpIndex::default(), op).0
                && let Some(mut block) = Arc::into_inner(block)
            {
                block.clear();
                fx.spare = Some(block);
            }
            return;
        };
        let index = log.next;
        log.next = OpIndex(index.0 + 1);
        log.hide(index, &op);
        let (_, trace) = self.carry_out(index, op.clone());
        fx.ops.push(LoggedOp { index, op, trace });
    }

    /// Whether messages are kept whatever their `delivery_mode`.
    pub(super) fn keeps_all(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.keep == Keep::All)
    }

    /// Applies an op that another copy of this queue emitted: for mirrors. Changes what the queue
    /// holds and its counters, and nothing else. What it publishes is hidden until it is visible.
    pub fn apply(&mut self, index: OpIndex, op: Op) {
        if let Some(log) = &mut self.log {
            log.next = log.next.max(OpIndex(index.0 + 1));
            log.hide(index, &op);
        }
        self.carry_out(index, op);
    }

    /// The ops up to this number are taken: by what stands in the log of a replicated queue and is none of its own.
    pub fn skip_op(&mut self, index: OpIndex) {
        if let Some(log) = &mut self.log {
            log.next = log.next.max(OpIndex(index.0 + 1));
        }
    }

    /// Lets the next message of a priority have this position: for a queue that is made again from
    /// what was stored of it. Positions that no op fills are those of messages long done.
    pub fn skip_to(&mut self, next: Seq) {
        self.level_for(next.level()).skip_to(next.index());
    }

    /// Takes all that the queue holds for delivered before: after a restart or when another node
    /// begins to lead it, nobody knows what was.
    pub fn mark_all_redelivered(&mut self) {
        self.levels.iter_mut().for_each(Level::mark_all_redelivered);
    }

    /// Carries an op out; gives a block back that was copied, and says what the disk is to know.
    fn carry_out(&mut self, index: OpIndex, op: Op) -> (Option<Arc<Block>>, Trace) {
        let mut trace = Trace::None;
        match op {
            Op::Publish { first, at, block } => {
                let n = u64::from(block.len() - block.holes());
                self.stats.published += n;
                self.ready.n += n;
                self.ready.bytes += block.body_bytes(0..block.len());
                if block.any_persistent() {
                    trace = Trace::Log;
                }
                let log = self.log.as_ref();
                let hidden = log.is_some_and(|log| log.shown == Shown::WhenVisible);
                let level = self.level_for(first.level());
                debug_assert!(first.index() >= level.next(), "ops applied out of order");
                let bytes = block.total_bytes() as u64;
                level.skip_to(first.index());
                let copied = level.append(block, at, index.0);
                if !hidden {
                    level.show(level.next());
                }
                if let (Some(segments), Some(settings)) = (&mut self.stream, &self.settings.stream)
                {
                    segments.appended(first.index(), bytes, at, settings.segment_bytes);
                }
                return (copied, trace);
            }
            Op::Ack(ranges) => {
                for range in ranges {
                    self.stats.finished += self.finish(range, &mut trace);
                }
            }
            Op::Drop { range, reason } => {
                let n = self.finish(range, &mut trace);
                *self.dropped_counter(reason) += n;
                if let Some(segments) =
                    self.stream.as_mut().filter(|_| reason == DropReason::Truncated)
                {
                    segments.truncated(range.end().index());
                }
            }
            Op::Return { range, failed } => {
                if let Some(at) = self.level_index(range.first.level()) {
                    let level = &mut self.levels[at];
                    let marks = level.marks.get_or_insert_default();
                    marks.count_return(positions(range), failed);
                    trace = level.trace(positions(range));
                }
            }
            Op::Die { range, reason } => {
                trace = self.trace(range);
                self.carry_out_death(range, reason);
            }
            Op::Delay { range, until } => {
                trace = self.trace(range);
                self.carry_out_delay(range, until);
            }
            Op::Remember(keys) => {
                trace = Trace::Log;
                if let Some(seen) = &mut self.seen {
                    keys.iter().for_each(|key| seen.remember(key));
                }
            }
            Op::Purge(ranges) => {
                for range in ranges {
                    self.stats.purged += self.finish(range, &mut trace);
                }
            }
        }
        (None, trace)
    }

    fn dropped_counter(&mut self, reason: DropReason) -> &mut u64 {
        match reason {
            DropReason::DeliveryLimit => &mut self.stats.over_delivery_limit,
            DropReason::Expired => &mut self.stats.expired,
            DropReason::Lost => &mut self.stats.lost,
            DropReason::MaxLength => &mut self.stats.dropped,
            DropReason::Passed => &mut self.stats.passed,
            DropReason::Rejected => &mut self.stats.rejected,
            DropReason::Truncated => &mut self.stats.truncated,
        }
    }

    /// Marks messages as done, wherever they were, and says how many were not done before.
    fn finish(&mut self, range: SeqRange, trace: &mut Trace) -> u64 {
        let Some(at) = self.level_index(range.first.level()) else { return 0 };
        let done = self.levels[at].finish(positions(range));
        *trace = (*trace).max(done.trace);
        self.ready -= done.ready;
        self.unacked -= done.out;
        self.held_finished(range, done.dead, done.delayed);
        if let Some(seen) = &mut self.seen {
            seen.finished(range);
        }
        done.ready.n + done.out.n + done.dead.n + done.delayed.n
    }

    /// What the disk holds of some messages.
    fn trace(&self, range: SeqRange) -> Trace {
        let at = self.level_index(range.first.level());
        at.map(|at| self.levels[at].trace(positions(range))).unwrap_or_default()
    }
}
