//! Blocks leave memory and come back. What is farthest from being delivered leaves first; what is
//! about to be delivered is asked for some chunks ahead.
//!
//! *Invariant:* what is assigned to a consumer and not taken yet is in memory.

use super::checkpoint::{Checkpoint, ChunkId};
use super::level::Finished;
use super::ops::DropReason;
use super::{Effects, Op, Queue, positions, seq_range};
use crate::settings::DeadLetterStrategy;
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Range;

/// How many chunks behind the head are asked for before they are needed: one is being read
/// by a consumer, the others are on their way.
pub(super) const READ_AHEAD: usize = 3;

/// What a queue remembers once it was checkpointed or something of it waits for the disk.
#[derive(Debug, Default)]
pub(super) struct QueueDisk {
    /// How many checkpoints there were.
    pub(super) checkpoints: u64,
    /// The first positions of chunks that are being written, by checkpoint.
    pub(super) writing: Vec<(u64, Vec<crate::ids::Seq>)>,
    /// What is to be dead-lettered as soon as it is in memory: priority, positions, reason.
    waiting: Vec<(u8, Range<u64>, DropReason)>,
}

/// What [`Queue::page_out`] did.
#[derive(Debug, Default)]
pub struct PagedOut {
    /// Bytes of memory that are free now.
    pub freed: usize,
    /// Bytes of memory that become free when chunks that are being written are stored.
    pub leaving: usize,
    /// What has to be written first.
    pub checkpoint: Option<Checkpoint>,
}

/// Positions that are assigned, by priority.
type Assigned = Vec<(u8, Range<u64>)>;

impl Queue {
    /// Frees about `bytes` bytes of memory, or as much as can be, from the tail forwards. What is
    /// not stored yet is written first: with the checkpoint, as [`Queue::checkpoint`] tells.
    pub fn page_out(&mut self, bytes: usize) -> PagedOut {
        let mut out = PagedOut::default();
        let mut to_file = BTreeSet::new();
        let mut planned = 0;
        let assigned = self.assigned();
        let ahead: &[usize] =
            if self.consumers.is_some() { &[READ_AHEAD + 1, 1] } else { &[READ_AHEAD + 1, 1, 0] };
        for ahead in ahead {
            let left = bytes.saturating_sub(out.freed + out.leaving + planned);
            for (at, first) in self.may_leave(&assigned, *ahead, left) {
                if to_file.contains(&(at, first)) {
                    continue;
                }
                match self.let_go(at, first) {
                    Some((freed, true)) => out.freed += freed,
                    Some((leaving, false)) => out.leaving += leaving,
                    None => {
                        planned += self.levels[at].slot(first).map_or(0, |slot| slot.memory());
                        to_file.insert((at, first));
                    }
                }
            }
        }
        if !to_file.is_empty() {
            out.leaving += planned;
            out.checkpoint = Some(self.file_and_let_go(&to_file));
        }
        out
    }

    fn file_and_let_go(&mut self, to_file: &BTreeSet<(usize, u64)>) -> Checkpoint {
        let priorities: Vec<u8> = self.levels.iter().map(|level| level.priority).collect();
        let wanted: BTreeSet<(u8, u64)> =
            to_file.iter().map(|(at, first)| (priorities[*at], *first)).collect();
        let checkpoint =
            self.checkpoint_of(|priority, slot| wanted.contains(&(priority, slot.first())));
        for chunk in &checkpoint.chunks {
            if let Some(at) = self.level_index(chunk.first.level()) {
                self.let_go(at, chunk.first.index());
            }
        }
        checkpoint
    }

    /// The slots whose blocks are here and may leave, those first that are needed last, until they
    /// make `bytes` bytes: of a long queue most is away, and what is here is at its end.
    fn may_leave(&self, assigned: &Assigned, ahead: usize, bytes: usize) -> Vec<(usize, u64)> {
        let near = self.near_head(ahead);
        let (mut all, mut found) = (Vec::new(), 0);
        let slots = self.levels.iter().enumerate().rev();
        let slots = slots.flat_map(|(at, level)| level.slots().rev().map(move |slot| (at, slot)));
        // The readers of a stream are near its end as a rule.
        let mut slots: Box<dyn Iterator<Item = _>> = match self.levels.first() {
            Some(level) if self.is_stream() => Box::new(level.slots().map(|slot| (0, slot))),
            _ => Box::new(slots),
        };
        for (at, slot) in slots.by_ref().filter(|(_, slot)| slot.block.is_some()) {
            if found >= bytes {
                return all;
            }
            let leaving = slot.filed.as_ref().is_some_and(|filed| filed.leaving);
            let key = (at, slot.first());
            if !leaving && !near.contains(&key) && !self.is_assigned(key, assigned) {
                found += slot.memory();
                all.push(key);
            }
        }
        all
    }

    /// The first `n` slots that are going to be delivered from, those of each reader of a stream.
    fn near_head(&self, n: usize) -> Vec<(usize, u64)> {
        if self.is_stream() {
            return self.near_readers(n);
        }
        let heads = self.levels.iter().enumerate();
        let head = heads.filter_map(|(at, level)| Some((at, level.ready_head()?))).next();
        let slots = head.into_iter().flat_map(|(at, head)| {
            let slots = self.levels[at].slots_from(head.start);
            slots.take(n).map(move |slot| (at, slot.first()))
        });
        slots.collect()
    }

    /// What consumers have assigned and did not take yet.
    pub(super) fn assigned(&self) -> Vec<(u8, Range<u64>)> {
        let all = self.consumers.iter().flat_map(|consumers| consumers.iter());
        let assigned = all.flat_map(|(consumer, _)| consumer.assigned.iter());
        assigned.map(|assigned| (assigned.first.level(), positions(*assigned))).collect()
    }

    fn is_assigned(&self, (at, first): (usize, u64), assigned: &Assigned) -> bool {
        let level = &self.levels[at];
        let end = level.slot(first).map_or(first, |slot| slot.end());
        assigned.iter().any(|(priority, range)| {
            *priority == level.priority && range.start < end && range.end > first
        })
    }

    /// Whether the slot has to stay in memory.
    pub(super) fn is_pinned(&self, at: usize, first: u64, assigned: &Assigned) -> bool {
        let head = usize::from(self.consumers.is_some());
        self.near_head(head).contains(&(at, first)) || self.is_assigned((at, first), assigned)
    }

    /// Lets a block leave memory, now or when it is stored, and counts its bytes as they are
    /// estimated from now on. Says how many bytes that frees and whether it has left.
    pub(super) fn let_go(&mut self, at: usize, first: u64) -> Option<(usize, bool)> {
        let range = self.levels[at].slot(first)?.positions();
        let before = self.levels[at].shares(&range);
        let gone = self.levels[at].let_go(first);
        self.count_again(at, &range, before);
        gone
    }

    /// Counts the bytes of a stretch as they are told now instead of as they were `before`.
    fn count_again(&mut self, at: usize, range: &Range<u64>, before: Finished) {
        let after = self.levels[at].shares(range);
        // What is out is unacknowledged, or is on its way to a consumer and does not change.
        self.ready = self.ready + after.ready - before.ready;
        self.unacked = self.unacked + after.out - before.out;
        if let Some(held) = &mut self.held {
            held.dead = held.dead + after.dead - before.dead;
            held.delayed = held.delayed + after.delayed - before.delayed;
        }
    }

    /// Asks for the block of a position, and for some behind it.
    pub(super) fn load_from(&mut self, at: usize, position: u64, fx: &mut Effects) {
        self.levels[at].request(position, 1 + READ_AHEAD, &mut fx.loads);
    }

    /// Asks for what comes soon after the head.
    pub(super) fn read_ahead(&mut self, fx: &mut Effects) {
        let heads = self.levels.iter().enumerate();
        let head = heads.filter_map(|(at, level)| Some((at, level.ready_head()?.start))).next();
        if let Some((at, position)) = head.filter(|(at, _)| self.levels[*at].has_away()) {
            self.load_from(at, position, fx);
        }
    }

    /// Whether the next message is on its way from disk: a `basic.get` that finds nothing is to be
    /// tried again after [`Self::loaded`].
    #[must_use]
    pub fn is_loading(&self) -> bool {
        let head = self.levels.iter().find_map(|level| Some((level, level.visible_head()?)));
        head.is_some_and(|(level, head)| level.is_missing(head.start))
    }

    /// How many messages are on disk only, and about how many bytes their bodies have.
    #[must_use]
    pub fn paged_out(&self) -> (u64, u64) {
        let away = self.levels.iter().map(|level| level.away());
        away.fold((0, 0), |(n, bytes), away| (n + away.n, bytes + away.bytes))
    }

    /// Takes in a chunk that was asked for by [`Effects::loads`]; `None` if its bytes are damaged.
    /// Says whether its messages are here now; otherwise those that the queue still had are lost.
    /// One that nobody waits for any more is ignored.
    pub fn loaded(
        &mut self,
        id: ChunkId,
        data: Option<&Bytes>,
        now: Timestamp,
        fx: &mut Effects,
    ) -> bool {
        let at = self.level_index(id.first.level());
        let Some((at, range)) =
            at.and_then(|at| Some((at, self.levels[at].waits_for(id)?.positions())))
        else {
            return true;
        };
        let before = self.levels[at].shares(&range);
        let first = id.first.index();
        let here = data.is_some_and(|data| self.levels[at].come_back(first, data).is_ok());
        if here {
            self.count_again(at, &range, before);
        } else if self.leads {
            self.lose(at, range.clone(), fx);
        }
        if !self.leads {
            return here;
        }
        self.discard_waiting(at, &range, fx);
        self.send_letters(fx);
        self.drop_excess(fx);
        self.expire(now, fx);
        self.assign(now, fx);
        here
    }

    /// Drops what is left of a chunk that cannot be read.
    fn lose(&mut self, at: usize, range: Range<u64>, fx: &mut Effects) {
        let mut parts = Vec::new();
        self.levels[at].live_parts(range, &mut parts);
        for part in parts {
            self.discard(at, part, DropReason::Lost, fx);
        }
    }

    /// Takes messages that are out of the queue as soon as they can be dead-lettered.
    pub(super) fn discard_later(
        &mut self,
        at: usize,
        range: Range<u64>,
        reason: DropReason,
        fx: &mut Effects,
    ) {
        self.levels[at].request(range.start, 1, &mut fx.loads);
        let disk = self.disk.get_or_insert_default();
        disk.waiting.push((self.levels[at].priority, range, reason));
    }

    fn discard_waiting(&mut self, at: usize, range: &Range<u64>, fx: &mut Effects) {
        let priority = self.levels[at].priority;
        let Some(disk) = &mut self.disk else { return };
        let here = |(own, part, _): &mut (u8, Range<u64>, DropReason)| {
            *own == priority && part.start < range.end && range.start < part.end
        };
        let waited: Vec<_> = disk.waiting.extract_if(.., here).collect();
        for (_, part, reason) in waited {
            let mut parts = Vec::new();
            self.levels[at].out_parts(part, &mut parts);
            parts.into_iter().for_each(|part| self.discard(at, part, reason, fx));
        }
    }

    /// Takes messages out of the queue without a consumer, and dead-letters them if that is set;
    /// those that are away once they are here.
    pub(super) fn discard(
        &mut self,
        at: usize,
        range: Range<u64>,
        reason: DropReason,
        fx: &mut Effects,
    ) {
        if self.is_dead_lettered(reason) && self.holds_letters(reason) {
            self.hold_dead(at, range, reason, fx);
        } else if self.is_dead_lettered(reason) && self.levels[at].has_away() {
            let mut parts = Vec::new();
            self.levels[at].parts_by_presence(range, &mut parts);
            for (part, here) in parts {
                if here {
                    self.discard_now(at, part, reason, fx);
                } else {
                    self.discard_later(at, part, reason, fx);
                }
            }
        } else {
            self.discard_now(at, range, reason, fx);
        }
    }

    fn discard_now(&mut self, at: usize, range: Range<u64>, reason: DropReason, fx: &mut Effects) {
        self.dead_letter(at, range.clone(), reason, fx);
        let range = seq_range(self.levels[at].priority, &range);
        self.emit(Op::Drop { range, reason }, fx);
    }

    /// Whether dead letters stay until their targets have them: if that is asked for, and if there are other copies, which
    /// may hear that a message has left before others hear that it has arrived.
    fn holds_letters(&self, reason: DropReason) -> bool {
        // What a length limit has dropped must not pile up.
        self.copied
            || (self.letters_stay && reason != DropReason::MaxLength)
            || self.settings.dead_letter_strategy == DeadLetterStrategy::AtLeastOnce
    }

    /// Whether what leaves for this reason is published again.
    pub(super) fn is_dead_lettered(&self, reason: DropReason) -> bool {
        self.settings.dead_letter.is_some() && reason.death().is_some()
    }
}
