//! A queue that is made again from what was stored of it: "published minus finished". It does not
//! read chunks: their descriptors say how much is in them, and the checkpoint what of it is left.

use super::checkpoint::{ChunkId, ChunkMeta, Entry, State, read_state};
use super::filed::{Filed, Place, nominal};
use super::level::Level;
use super::marks::Marks;
use super::ops::{Log, Op, OpIndex};
use super::seen::SeenKey;
use super::slot::{Kind, Slot};
use super::{Effects, Queue, positions};
use crate::block::Block;
use crate::ids::{Seq, SeqRange};
use crate::seq::RangeSet;
use crate::time::Timestamp;
use crate::wire::Damaged;
use std::ops::Range;
use std::sync::Arc;

/// What is found on disk of a queue, in this order: its [checkpoint](Self::checkpoint) if there is
/// one, each of its [chunks](Self::chunk), then each [op](Self::replay) of the remaining records, oldest first.
/// [`Queue::recover`] makes it the queue's.
#[derive(Debug, Default)]
pub struct Recovery {
    levels: Vec<RecoveredLevel>,
    /// The last op that the checkpoint includes.
    included: OpIndex,
    /// The highest number of an op that was seen.
    last: OpIndex,
    has_checkpoint: bool,
    /// Deduplication headers that were remembered.
    seen: Vec<SeenKey>,
}

#[derive(Debug)]
struct RecoveredLevel {
    level: Level,
    /// Positions that ops need not fill: they are in chunks or done.
    covered: RangeSet,
    /// No message that may have been told to the disk has this position or a later one.
    next: u64,
    /// By their first position, those of chunks that were not seen yet.
    entries: Vec<Entry>,
}

impl RecoveredLevel {
    fn new(priority: u8) -> Self {
        Self { level: Level::new(priority), covered: RangeSet::new(), next: 0, entries: Vec::new() }
    }
}

impl Recovery {
    /// Takes in the newest checkpoint.
    ///
    /// # Errors
    ///
    /// If it is damaged. The recovery can go on without it: then messages may come back
    /// that were done, but none is missing.
    pub fn checkpoint(&mut self, state: &[u8]) -> Result<(), Damaged> {
        let State { last, levels, seen } = read_state(state)?;
        self.seen = seen;
        self.included = last;
        self.last = self.last.max(last);
        self.has_checkpoint = true;
        for state in levels {
            let level = self.level(state.priority);
            level.covered.insert(0..state.covered);
            level.next = state.next;
            level.entries = state.entries;
            for (at, returns) in state.counts {
                level.level.marks.get_or_insert_default().set_returns(at, returns);
            }
            for (reason, range) in state.dead {
                level.level.marks.get_or_insert_default().hold_dead(range, reason);
            }
            for (at, until) in state.delayed {
                level.level.marks.get_or_insert_default().hold_until(at..at + 1, until);
            }
        }
        Ok(())
    }

    /// Takes in that there is a chunk.
    pub fn chunk(&mut self, id: ChunkId, meta: &ChunkMeta) {
        let has_checkpoint = self.has_checkpoint;
        let recovered = self.level(id.first.level());
        let (first, end) = (id.first.index(), meta.end);
        let entry = recovered.entries.binary_search_by_key(&first, |entry| entry.first).ok();
        let entry = entry.map(|at| &recovered.entries[at]);
        let slot = chunk_slot(id, meta, entry);
        let known = !has_checkpoint || recovered.next >= end;
        if let Some(slot) = slot.filter(|_| known)
            && recovered.level.restore_chunk(slot)
        {
            recovered.covered.insert(first..end);
            recovered.next = recovered.next.max(end);
        } else {
            recovered.level.drop_chunk(id);
        }
    }

    /// Takes in that a number is taken, by an op or by something that is none.
    pub fn saw(&mut self, index: OpIndex) {
        self.last = self.last.max(index);
    }

    /// Takes in an op of a record.
    pub fn replay(&mut self, index: OpIndex, op: Op) {
        self.last = self.last.max(index);
        match op {
            Op::Publish { first, at, block } => self.publish(index, first, at, &block),
            Op::Ack(ranges) => ranges.into_iter().for_each(|range| self.done(range)),
            Op::Purge(ranges) => ranges.into_iter().for_each(|range| self.done(range)),
            Op::Drop { range, .. } => self.done(range),
            Op::Return { range, failed } => {
                if let Some(marks) = self.marks_for(index, range) {
                    marks.count_return(positions(range), failed);
                }
            }
            Op::Remember(keys) if index > self.included => self.seen.extend(keys),
            Op::Remember(_) => {}
            Op::Die { range, reason } => {
                if let Some(marks) = self.marks_for(index, range) {
                    marks.hold_dead(positions(range), reason);
                }
            }
            Op::Delay { range, until } => {
                if let Some(marks) = self.marks_for(index, range) {
                    marks.hold_until(positions(range), until);
                }
            }
        }
    }

    /// The last op that the checkpoint includes.
    #[must_use]
    pub fn included(&self) -> OpIndex {
        self.included
    }

    /// The number that the queue's next op has to have.
    #[must_use]
    pub fn next_op(&self) -> OpIndex {
        OpIndex(self.last.0 + 1)
    }

    fn publish(&mut self, index: OpIndex, first: Seq, at: Timestamp, block: &Arc<Block>) {
        let recovered = self.level(first.level());
        let all = first.index()..first.index() + u64::from(block.len());
        recovered.next = recovered.next.max(all.end);
        let mut start = all.start;
        while start < all.end {
            let (end, covered) = recovered.covered.stretch(start..all.end);
            if !covered {
                let part = part_of(block, &all, start..end);
                let from = recovered.level.restore_records(start, part, at, index.0);
                recovered.covered.insert(from..end);
            }
            start = end;
        }
        recovered.covered.insert(all);
    }

    /// What is remembered of the messages that an op is about, unless the checkpoint includes it.
    fn marks_for(&mut self, index: OpIndex, range: SeqRange) -> Option<&mut Marks> {
        let counts = index > self.included;
        let level = self.level(range.first.level());
        level.next = level.next.max(range.end().index());
        counts.then(|| &mut **level.level.marks.get_or_insert_default())
    }

    fn done(&mut self, range: SeqRange) {
        let recovered = self.level(range.first.level());
        let range = positions(range);
        recovered.next = recovered.next.max(range.end);
        recovered.level.restore_done(&range);
    }

    fn level(&mut self, priority: u8) -> &mut RecoveredLevel {
        let at = self.levels.partition_point(|own| own.level.priority > priority);
        if self.levels.get(at).is_none_or(|own| own.level.priority != priority) {
            self.levels.insert(at, RecoveredLevel::new(priority));
        }
        &mut self.levels[at]
    }
}

/// The records of a block whose positions are `part` of `all`.
fn part_of(block: &Arc<Block>, all: &Range<u64>, part: Range<u64>) -> Arc<Block> {
    if part == *all {
        return block.clone();
    }
    let mut own = Block::new();
    let records = (part.start - all.start) as u32..(part.end - all.start) as u32;
    own.append_from(block, records);
    Arc::new(own)
}

/// The slot of a chunk; `None` if nothing of it is left or its descriptor makes no sense.
fn chunk_slot(id: ChunkId, meta: &ChunkMeta, entry: Option<&Entry>) -> Option<Slot> {
    let (first, end) = (id.first.index(), meta.end);
    let n = u32::try_from(end.checked_sub(first)?).ok().filter(|n| *n > 0)?;
    if meta.flags & ChunkMeta::TRANSIENT != 0 || end >> Seq::INDEX_BITS != 0 {
        return None;
    }
    let mut slot = Slot {
        first,
        n,
        live: n,
        done_below: 0,
        kind: Kind::Persistent,
        done: Box::default(),
        at: Timestamp(meta.first_at),
        first_op: 0,
        block: None,
        filed: Some(Box::new(Filed {
            place: Place::Stored(id.gcn),
            nominal: meta.bytes,
            min_expiry: meta.min_expiry,
            transient: Box::default(),
            loading: false,
            leaving: false,
        })),
    };
    if let Some(entry) = entry {
        let mut at = first;
        for part in &entry.live {
            slot.finish(&(at..part.start));
            at = part.end;
        }
        slot.finish(&(at..end));
        if let Some(filed) = &mut slot.filed {
            filed.nominal = nominal(entry.bytes, n, slot.live);
        }
    }
    slot.is_live().then_some(slot)
}

impl Queue {
    /// Makes what was recovered this queue's, which must be new and empty. All of it is taken for
    /// delivered before. The log goes on with [`Recovery::next_op`].
    // rabbitmq: classic queues, recovery
    pub fn recover(&mut self, recovery: Recovery, log: Log, now: Timestamp, fx: &mut Effects) {
        debug_assert!(self.levels.is_empty(), "recovered into a queue that was in use");
        self.disk.get_or_insert_default();
        self.set_log(log, now, fx);
        for mut recovered in recovery.levels {
            let redelivered = !self.is_stream();
            self.ready += recovered.level.restored(recovered.next, redelivered);
            self.levels.push(recovered.level);
        }
        self.recover_seen(&recovery.seen);
        self.find_held();
        self.find_segments();
        self.truncate(now, fx);
        self.send_letters(fx);
        self.drop_excess(fx);
        self.expire(now, fx);
        self.assign(now, fx);
    }
}
