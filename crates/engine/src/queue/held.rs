//! Messages that are in the queue and are nobody's: neither ready nor unacknowledged. A dead letter waits until its
//! targets have it (dead-letter strategy at-least-once), a message that came back waits for its next try, one of a
//! delayed message exchange for its time.
//!
//! *Invariant:* which messages are held, and why, is lasting and stands in the marks of their level. What is here
//! follows from that: what is due when, and which dead letters are on their way.

use super::ops::{DropReason, Op};
use super::stats::Amount;
use super::{Effects, Queue, positions, push_seq_ranges, seq_range};
use crate::block::Block;
use crate::dead_letter::DeadLetter;
use crate::exchange::delay::{Due, delay_of};
use crate::ids::{Seq, SeqRange};
use crate::limits::{DEAD_LETTER_RETRY_MS, DEAD_LETTERS_SENT_MAX, DELAYED_MESSAGES_MAX};
use crate::record::Record;
use crate::seq::RangeSet;
use crate::settings::DeadLetterTarget;
use crate::time::Timestamp;
use leveret_codec::Properties;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

/// What a queue knows of the messages that it holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Dead letters that no target has confirmed.
    pub(super) dead: Amount,
    /// Messages that wait for their next try.
    pub(super) delayed: Amount,
    /// When which of them is due.
    due: BTreeSet<(Timestamp, Seq)>,
    /// The dead letters by priority.
    letters: Vec<Letters>,
    /// Messages of a delayed message exchange whose time has come, in that order.
    passing: VecDeque<Seq>,
    /// How many dead letters, or messages whose time has come, are on their way.
    n_sent: u64,
    /// When dead letters are sent again; nothing is sent before.
    retry_at: Option<Timestamp>,
}

/// The dead letters of a priority.
#[derive(Debug)]
struct Letters {
    priority: u8,
    /// Those to be sent.
    waiting: RangeSet,
    /// Those on their way.
    sent: RangeSet,
    /// Where sending goes on, so that what nobody takes does not keep the rest back.
    next: u64,
}

impl Held {
    fn letters(&mut self, priority: u8) -> &mut Letters {
        let at = self.letters.iter().position(|letters| letters.priority == priority);
        let at = at.unwrap_or_else(|| {
            let (waiting, sent) = (RangeSet::new(), RangeSet::new());
            self.letters.push(Letters { priority, waiting, sent, next: 0 });
            self.letters.len() - 1
        });
        &mut self.letters[at]
    }
}

impl Letters {
    /// The next ones to be sent, at most `n`.
    fn next(&self, n: u64) -> Option<Range<u64>> {
        let from = self.waiting.iter().find(|range| range.end > self.next);
        let first = from.or_else(|| self.waiting.first())?;
        let start = if first.end > self.next { first.start.max(self.next) } else { first.start };
        Some(start..first.end.min(start + n))
    }
}

impl Queue {
    /// Keeps messages that are dead until their targets have them.
    pub(super) fn hold_dead(
        &mut self,
        at: usize,
        range: Range<u64>,
        reason: DropReason,
        fx: &mut Effects,
    ) {
        let range = seq_range(self.levels[at].priority, &range);
        self.emit(Op::Die { range, reason }, fx);
        self.send_letters(fx);
    }

    /// Carries out that messages are dead and held.
    pub(super) fn carry_out_death(&mut self, range: SeqRange, reason: DropReason) {
        let Some(at) = self.level_index(range.first.level()) else { return };
        let range = positions(range);
        let amount = self.take_out(at, &range);
        let level = &mut self.levels[at];
        level.marks.get_or_insert_default().hold_dead(range.clone(), reason);
        let held = self.held.get_or_insert_default();
        held.dead += amount;
        held.letters(level.priority).waiting.insert(range);
    }

    /// Carries out that messages wait for their next try.
    pub(super) fn carry_out_delay(&mut self, range: SeqRange, until: Timestamp) {
        let Some(at) = self.level_index(range.first.level()) else { return };
        let span = positions(range);
        let amount = self.take_out(at, &span);
        self.levels[at].marks.get_or_insert_default().hold_until(span, until);
        let held = self.held.get_or_insert_default();
        held.delayed += amount;
        held.due.extend((0..u64::from(range.n)).map(|n| (until, range.first.plus(n))));
    }

    /// Takes live messages out of what is ready or unacknowledged.
    fn take_out(&mut self, at: usize, range: &Range<u64>) -> Amount {
        let level = &mut self.levels[at];
        let amount = level.amount(range.clone());
        let ready = level.unready(range);
        self.ready -= ready;
        self.unacked -= amount - ready;
        amount
    }

    /// Forgets what was held of messages that are done.
    pub(super) fn held_finished(&mut self, range: SeqRange, dead: Amount, delayed: Amount) {
        let Some(held) = &mut self.held else { return };
        held.dead -= dead;
        held.delayed -= delayed;
        let letters = held.letters(range.first.level());
        letters.waiting.remove(positions(range));
        let gone = letters.sent.remove(positions(range));
        held.n_sent -= gone;
    }

    /// Hands dead letters out to be published, as many as may be on their way.
    pub(super) fn send_letters(&mut self, fx: &mut Effects) {
        if !self.may_deliver {
            return;
        }
        if self.settings.delays_for.is_some() {
            return self.send_due(fx);
        }
        let Some(mut held) = self.held.take() else { return };
        let Some(target) = self.settings.dead_letter.clone() else {
            self.held = Some(held);
            return self.drop_letters(fx);
        };
        let mut at = 0;
        while held.retry_at.is_none()
            && held.n_sent < DEAD_LETTERS_SENT_MAX
            && at < held.letters.len()
        {
            let letters = &mut held.letters[at];
            let Some(range) = letters.next(DEAD_LETTERS_SENT_MAX - held.n_sent) else {
                at += 1;
                continue;
            };
            let Some(index) = self.level_index(letters.priority) else { break };
            let level = &mut self.levels[index];
            if level.is_missing(range.start) {
                level.request(range.start, 1, &mut fx.loads);
                at += 1;
                continue;
            }
            let Some(letter) = self.letter(index, range.clone(), &target) else {
                letters.waiting.remove(range.start..range.start + 1);
                continue;
            };
            let sent = range.start..range.start + u64::from(letter.n);
            letters.waiting.remove(sent.clone());
            letters.sent.insert(sent.clone());
            letters.next = sent.end;
            held.n_sent += u64::from(letter.n);
            fx.dead_letters.push(letter);
        }
        self.held = Some(held);
    }

    /// What became of a dead letter that was handed out with its position: every target has it, or
    /// one does not take it or there was none. Then it is sent again later.
    pub fn letter_answered(
        &mut self,
        position: Seq,
        taken: bool,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let Some(held) = &mut self.held else { return };
        let letters = held.letters(position.level());
        let index = position.index();
        let n = letters.sent.remove(index..index + 1);
        if n == 0 {
            return;
        }
        held.n_sent -= n;
        match (taken, self.why_held(position)) {
            (true, Some(reason)) => {
                self.emit(Op::Drop { range: SeqRange { first: position, n: 1 }, reason }, fx);
            }
            (false, Some(_)) => {
                let held = self.held.get_or_insert_default();
                if self.settings.delays_for.is_some() {
                    held.passing.push_back(position);
                } else {
                    held.letters(position.level()).waiting.insert(index..index + 1);
                }
                held.retry_at.get_or_insert_with(|| now.plus(DEAD_LETTER_RETRY_MS));
            }
            (_, None) => {}
        }
        self.send_letters(fx);
    }

    /// What a message that is held leaves the queue for.
    fn why_held(&self, position: Seq) -> Option<DropReason> {
        let level = self.level_index(position.level()).and_then(|at| self.levels.get(at))?;
        let marks = level.marks.as_ref()?;
        let passes = self.settings.delays_for.is_some() && marks.due(position.index()).is_some();
        marks.death(position.index()).or_else(|| passes.then_some(DropReason::Passed))
    }

    /// The delays of a block's messages, as runs of the same one; nothing unless they wait here.
    pub(super) fn delays_in(&self, block: &Block) -> Vec<(u32, u64)> {
        let mut runs: Vec<(u32, u64)> = Vec::new();
        if self.settings.delays_for.is_none() {
            return runs;
        }
        for at in 0..block.len() {
            let headers = Properties::new(block.record(at).properties()).headers();
            let delay = delay_of(headers).unwrap_or(0);
            match runs.last_mut() {
                Some((n, last)) if *last == delay => *n += 1,
                _ => runs.push((1, delay)),
            }
        }
        runs
    }

    /// Lets messages that were appended wait for their time.
    pub(super) fn delay_fresh(
        &mut self,
        first: Seq,
        delays: &[(u32, u64)],
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let mut first = first;
        for (n, delay) in delays {
            let range = SeqRange { first, n: *n };
            self.emit(Op::Delay { range, until: now.plus(*delay) }, fx);
            first = range.end();
        }
    }

    /// Whether `n` more messages may not wait here.
    pub(super) fn is_full_of_delayed(&self, n: u32) -> bool {
        let delayed = self.held.as_ref().map_or(0, |held| held.delayed.n);
        self.settings.delays_for.is_some() && delayed + u64::from(n) > DELAYED_MESSAGES_MAX
    }

    /// Hands messages out whose time has come, as many as may be on their way.
    fn send_due(&mut self, fx: &mut Effects) {
        let Some(exchange) = self.settings.delays_for.clone() else { return };
        while let Some((position, at)) = self.next_due() {
            let (level, index) = (&mut self.levels[at], position.index());
            if level.is_missing(index) {
                return level.request(index, 1, &mut fx.loads);
            }
            let held = self.held.get_or_insert_default();
            held.passing.pop_front();
            // It may have been cancelled.
            let Some(piece) = level.piece(index..index + 1).filter(|_| level.is_live(index)) else {
                continue;
            };
            let (block, record) = (piece.block.clone(), piece.first);
            held.letters(position.level()).sent.insert(index..index + 1);
            held.n_sent += 1;
            fx.due.push(Due {
                block,
                record,
                source: self.id,
                position,
                vhost: self.vhost.clone(),
                exchange: exchange.clone(),
            });
        }
    }

    /// The next message whose time has come, and the index of its level, if it may be handed out.
    fn next_due(&self) -> Option<(Seq, usize)> {
        let held = self.held.as_ref().filter(|held| held.retry_at.is_none())?;
        let position = *held.passing.front().filter(|_| held.n_sent < DEAD_LETTERS_SENT_MAX)?;
        Some((position, self.level_index(position.level())?))
    }

    /// The messages that wait for their time, soonest first: position, time, and the message if it is in memory.
    pub fn delayed(&self) -> impl Iterator<Item = (Seq, Timestamp, Option<Record<'_>>)> {
        let due = self.held.iter().flat_map(|held| held.due.iter());
        due.map(|(at, position)| {
            let index = position.index();
            let level = self.level_index(position.level()).map(|at| &self.levels[at]);
            let piece = level.and_then(|level| level.piece(index..index + 1));
            (*position, *at, piece.map(|piece| piece.block.record(piece.first)))
        })
    }

    /// Takes a message out of the queue that waits for its time. `false` if there is none at this position, or if its
    /// time has come.
    pub fn cancel_delayed(&mut self, position: Seq, fx: &mut Effects) -> bool {
        let level = self.level_index(position.level()).and_then(|at| self.levels.get(at));
        let marks = level.and_then(|level| level.marks.as_ref());
        let until = marks.and_then(|marks| marks.due(position.index()));
        let Some(held) = &mut self.held else { return false };
        if !until.is_some_and(|until| held.due.remove(&(until, position))) {
            return false;
        }
        self.emit(Op::Purge(Box::new([SeqRange { first: position, n: 1 }])), fx);
        true
    }

    /// Takes out all that waits for its time, and says how many messages that was.
    pub(super) fn cancel_all_delayed(&mut self, fx: &mut Effects) -> u64 {
        let due = self.held.as_mut().map(|held| std::mem::take(&mut held.due)).unwrap_or_default();
        let n = due.len() as u64;
        if n > 0 {
            let ranges = due.into_iter().map(|(_, first)| SeqRange { first, n: 1 });
            self.emit(Op::Purge(ranges.collect()), fx);
        }
        n
    }

    /// There is nowhere to send dead letters to any more.
    // rabbitmq: quorum queues, a dead-letter exchange that is taken away
    fn drop_letters(&mut self, fx: &mut Effects) {
        let mut gone = Vec::new();
        for level in &self.levels {
            for (reason, range) in level.marks.iter().flat_map(|marks| marks.dead()) {
                let mut ranges = Vec::new();
                push_seq_ranges(level.priority, range, &mut ranges);
                gone.extend(ranges.into_iter().map(|range| (reason, range)));
            }
        }
        for (reason, range) in gone {
            self.emit(Op::Drop { range, reason }, fx);
        }
    }

    /// Lets go of what is due: messages are ready again in their place, dead letters are sent again.
    pub(super) fn release_due(&mut self, now: Timestamp, fx: &mut Effects) {
        let Some(held) = self.held.as_mut().filter(|_| self.may_deliver) else { return };
        if held.retry_at.is_some_and(|at| at <= now) {
            held.retry_at = None;
            self.send_letters(fx);
        }
        let mut released = false;
        while let Some(held) = &mut self.held
            && let Some((at, seq)) = held.due.first().copied()
            && at <= now
        {
            held.due.pop_first();
            if self.settings.delays_for.is_some() {
                held.passing.push_back(seq);
            } else {
                self.release(seq);
            }
            released = true;
        }
        if released {
            self.send_due(fx);
            self.drop_excess(fx);
            self.expire(now, fx);
            self.assign(now, fx);
        }
    }

    fn release(&mut self, seq: Seq) {
        let Some(at) = self.level_index(seq.level()) else { return };
        let range = seq.index()..seq.index() + 1;
        let level = &mut self.levels[at];
        let Some(marks) = level.marks.as_mut().filter(|marks| marks.due(range.start).is_some())
        else {
            return;
        };
        marks.release(range.start);
        marks.redeliver(range.clone());
        let amount = level.amount(range.clone());
        level.give_back(range);
        self.ready += amount;
        if let Some(held) = &mut self.held {
            held.delayed -= amount;
        }
    }

    /// When [`Self::release_due`] has something to do next.
    pub(super) fn held_due(&self) -> Option<Timestamp> {
        let held = self.held.as_ref()?;
        held.due.first().map(|(at, _)| *at).into_iter().chain(held.retry_at).min()
    }

    /// Finds what is held among what a restart brought back.
    pub(super) fn find_held(&mut self) {
        let mut held = Held::default();
        for level in &self.levels {
            let Some(marks) = &level.marks else { continue };
            for (_, range) in marks.dead() {
                held.dead += level.amount(range.clone());
                held.letters(level.priority).waiting.insert(range);
            }
            for (position, until) in marks.delayed() {
                held.delayed += level.amount(position..position + 1);
                held.due.insert((until, Seq::new(level.priority, position)));
            }
        }
        let any = !held.due.is_empty() || !held.letters.is_empty();
        self.held = any.then(|| Box::new(held));
    }

    /// The dead letters at the start of a stretch that died of the same and lie in one block;
    /// `None` if the first is gone.
    fn letter(
        &self,
        at: usize,
        range: Range<u64>,
        target: &DeadLetterTarget,
    ) -> Option<DeadLetter> {
        let level = &self.levels[at];
        let marks = level.marks.as_ref()?;
        let reason = marks.death(range.start)?;
        let (end, failed) = marks.failed.stretch(range.clone());
        let alike = (range.start..end).take_while(|at| marks.death(*at) == Some(reason));
        let piece = level.piece(range.start..range.start + alike.count() as u64)?;
        Some(DeadLetter {
            block: piece.block.clone(),
            first: piece.first,
            n: piece.n,
            reason: reason.death()?,
            redelivered: failed,
            vhost: self.vhost.clone(),
            source: self.id,
            queue: self.name.clone(),
            target: target.clone(),
            held_at: Some(Seq::new(level.priority, piece.start)),
        })
    }
}
