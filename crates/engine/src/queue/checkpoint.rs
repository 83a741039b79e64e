//! Checkpoints: what has to be on disk of a queue so that the records of its ops can go.
//!
//! A checkpoint is written in one batch with its chunks and the removal of the chunks that it no
//! longer knows, so the chunks in the store are always those that the newest checkpoint speaks of.
//!
//! ```text
//! version | number of the last op | levels: priority u8, covered, next,
//!     entries: distance from the entry before, bytes, live parts: (gap, length)
//!     returns: distance from the position before, how often in all, how often after a failure
//!     dead: first position, length, reason u8
//!     delayed: distance from the position before, until when
//!   | deduplication headers: as in ops
//! ```
//!
//! Version 1 had one count of returns, of those after a failure; versions 1 and 2 ended with them.
//!
//! A chunk without an entry is live as a whole. An entry without live parts is a chunk to remove.

use super::Queue;
use super::level::Level;
use super::ops::encode::{read_death, read_seen, reason_to_u8, write_seen};
use super::ops::{DropReason, OpIndex, Returns};
use super::seen::SeenKey;
use super::slot::{Kind, Slot};
use crate::ids::Seq;
use crate::time::Timestamp;
use crate::wire::{Damaged, Reader, put_varint};
use std::ops::Range;

/// The first byte of a checkpoint.
const VERSION: u8 = 3;
/// The oldest version that is still read.
const VERSION_OLDEST: u8 = 1;
/// The first version that tells of what is held.
const VERSION_HELD: u8 = 3;

/// The key of a chunk of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// The position of its first record.
    pub first: Seq,
    /// The number of the group commit that wrote it.
    pub gcn: u64,
}

/// What is known of a chunk without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkMeta {
    /// How many messages were in it when it was written.
    pub n: u32,
    /// The index within its priority of the position after its last one.
    pub end: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// The earliest expiry among them, in milliseconds since the epoch; 0 is never.
    pub min_expiry: u64,
    /// When the first of them arrived, in milliseconds since the epoch.
    pub first_at: u64,
    /// [`Self::TRANSIENT`] or 0.
    pub flags: u8,
}

impl ChunkMeta {
    /// No restart brings back anything of it.
    pub const TRANSIENT: u8 = 1;
}

/// A chunk to be written. The group commit that does so completes its key.
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// The position of its first record.
    pub first: Seq,
    /// What is kept beside it.
    pub meta: ChunkMeta,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// What has to be written, in one batch, to checkpoint a queue.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Which checkpoint of the queue it is, for [`Queue::checkpoint_stored`].
    pub number: u64,
    /// The bytes that replace those of the checkpoint before.
    pub state: Vec<u8>,
    /// Chunks to write.
    pub chunks: Vec<StoredChunk>,
    /// Chunks to remove.
    pub dropped: Vec<ChunkId>,
    /// The ops up to this one are no longer needed once the batch is written; those after it are.
    pub retires: OpIndex,
}

impl Queue {
    /// What has to be written so that the queue's ops up to `upto` are no longer needed. Messages
    /// that they published and that are still there go into chunks, younger ones do not.
    ///
    /// The batches of a queue's checkpoints are written in the order of the calls, none left out,
    /// and [`Self::checkpoint_stored`] is called for each. Ops that the queue emitted before the call
    /// are written in the same batch at the latest.
    #[must_use]
    pub fn checkpoint(&mut self, upto: OpIndex) -> Checkpoint {
        self.checkpoint_of(|_, slot| slot.kind != Kind::Transient && slot.first_op <= upto.0)
    }

    /// A checkpoint that files the slots of a level's priority that are wanted.
    pub(super) fn checkpoint_of(&mut self, wanted: impl Fn(u8, &Slot) -> bool) -> Checkpoint {
        let disk = self.disk.get_or_insert_default();
        disk.checkpoints += 1;
        let may_grow = !self.copied;
        let mut checkpoint = Checkpoint { number: disk.checkpoints, ..Checkpoint::default() };
        for level in &mut self.levels {
            let priority = level.priority;
            let wanted = |slot: &Slot| wanted(priority, slot);
            level.file(checkpoint.number, may_grow, wanted, &mut checkpoint.chunks);
            level.take_dropped(&mut checkpoint.dropped);
        }
        let firsts: Vec<_> = checkpoint.chunks.iter().map(|chunk| chunk.first).collect();
        if !firsts.is_empty() {
            self.disk.get_or_insert_default().writing.push((checkpoint.number, firsts));
        }
        let last = self.last_op().unwrap_or_default();
        let unfiled = self.levels.iter().filter_map(Level::first_unfiled).map(|slot| slot.first_op);
        checkpoint.retires =
            unfiled.min().map_or(last, |op| OpIndex(op.saturating_sub(1)).min(last));
        self.write_state(last, &mut checkpoint.state);
        checkpoint
    }

    /// Whether a checkpoint that has the ops up to `upto` needs no chunk: nothing that they put here is left. Quick and
    /// not always sure: `false` may also mean that it takes a longer look.
    #[must_use]
    pub fn is_settled(&self, upto: OpIndex) -> bool {
        self.levels.iter().all(|level| level.needs_ops_from() > upto.0)
    }

    /// How many chunks on disk nothing needs any more; the next checkpoint removes them.
    #[must_use]
    pub fn garbage(&self) -> usize {
        self.levels.iter().map(Level::n_dropped).sum()
    }

    /// Tells the queue that the batch with a checkpoint was written, though perhaps not synced yet:
    /// its chunks can be read. What was to leave memory does so now.
    pub fn checkpoint_stored(&mut self, number: u64, gcn: u64) {
        let Some(disk) = &mut self.disk else { return };
        let at = disk.writing.iter().position(|(writing, _)| *writing == number);
        let firsts = at.map(|at| disk.writing.remove(at).1).unwrap_or_default();
        let pinned = self.assigned();
        for first in firsts {
            let Some(at) = self.level_index(first.level()) else { continue };
            let first = first.index();
            let leaving = self.levels[at].stored(first, number, gcn);
            if leaving && !self.is_pinned(at, first, &pinned) {
                self.let_go(at, first);
            }
        }
    }

    fn write_state(&self, last: OpIndex, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_varint(out, last.0);
        put_varint(out, self.levels.len() as u64);
        for level in &self.levels {
            out.push(level.priority);
            let covered = level.first_unfiled().map_or_else(|| level.next(), Slot::first);
            put_varint(out, covered);
            put_varint(out, level.next());
            write_entries(level, out);
            let counts: Vec<_> = level.marks.iter().flat_map(|marks| marks.all_returns()).collect();
            put_varint(out, counts.len() as u64);
            let mut before = 0;
            for (position, returns) in counts {
                put_varint(out, position - before);
                put_varint(out, returns.all.into());
                put_varint(out, returns.failed.into());
                before = position;
            }
            write_held(level, out);
        }
        let seen: Vec<_> = self.seen.iter().flat_map(|seen| seen.all()).collect();
        write_seen(seen.iter().copied(), seen.len(), out);
    }
}

fn write_held(level: &Level, out: &mut Vec<u8>) {
    let dead: Vec<_> = level.marks.iter().flat_map(|marks| marks.dead()).collect();
    put_varint(out, dead.len() as u64);
    for (reason, range) in dead {
        put_varint(out, range.start);
        put_varint(out, range.end - range.start);
        out.push(reason_to_u8(reason));
    }
    let delayed: Vec<_> = level.marks.iter().flat_map(|marks| marks.delayed()).collect();
    put_varint(out, delayed.len() as u64);
    let mut before = 0;
    for (position, until) in delayed {
        put_varint(out, position - before);
        put_varint(out, until.0);
        before = position;
    }
}

fn write_entries(level: &Level, out: &mut Vec<u8>) {
    let mut entries: Vec<_> = level
        .filed_partly()
        .map(|slot| {
            let mut parts = Vec::new();
            let bytes = slot.lasting(&mut parts);
            (slot.first(), bytes, parts)
        })
        .collect();
    entries.extend(level.dead_while_written().map(|first| (first, 0, Vec::new())));
    entries.sort_unstable_by_key(|(first, ..)| *first);
    put_varint(out, entries.len() as u64);
    let mut before = 0;
    for (first, bytes, parts) in entries {
        put_varint(out, first - before);
        put_varint(out, bytes);
        put_varint(out, parts.len() as u64);
        let mut at = first;
        for part in parts {
            put_varint(out, part.start - at);
            put_varint(out, part.end - part.start);
            at = part.end;
        }
        before = first;
    }
}

/// What a checkpoint says of a chunk that is not live as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) bytes: u64,
    pub(super) live: Vec<Range<u64>>,
}

/// What a checkpoint says of a priority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelState {
    pub(super) priority: u8,
    /// What was published below it is in chunks or done.
    pub(super) covered: u64,
    pub(super) next: u64,
    /// By their first position.
    pub(super) entries: Vec<Entry>,
    /// By position.
    pub(super) counts: Vec<(u64, Returns)>,
    pub(super) dead: Vec<(DropReason, Range<u64>)>,
    /// By position.
    pub(super) delayed: Vec<(u64, Timestamp)>,
}

/// What a checkpoint says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The number of the last op that it includes.
    pub(super) last: OpIndex,
    pub(super) levels: Vec<LevelState>,
    pub(super) seen: Vec<SeenKey>,
}

/// Reads a checkpoint.
pub(super) fn read_state(bytes: &[u8]) -> Result<State, Damaged> {
    let mut reader = Reader::new(bytes);
    let version = reader.version_of(VERSION_OLDEST..=VERSION)?;
    let last = OpIndex(reader.varint()?);
    let n = reader.count(5)?;
    let mut levels: Vec<LevelState> = Vec::with_capacity(n);
    for _ in 0..n {
        let level = read_level(version, &mut reader)?;
        if levels.iter().any(|other| other.priority == level.priority) {
            return Err(reader.damaged("a priority occurs twice"));
        }
        levels.push(level);
    }
    let seen = if version >= VERSION_HELD { read_seen(&mut reader)? } else { Vec::new() };
    let state = State { last, levels, seen };
    if reader.is_at_end() { Ok(state) } else { Err(reader.damaged("too many bytes")) }
}

fn read_level(version: u8, reader: &mut Reader<'_>) -> Result<LevelState, Damaged> {
    let mut level = LevelState { priority: reader.byte()?, ..LevelState::default() };
    level.covered = reader.varint()?;
    level.next = reader.varint()?;
    if level.covered > level.next || level.next >> Seq::INDEX_BITS != 0 {
        return Err(reader.damaged("a position is too large"));
    }
    let mut before = None;
    for _ in 0..reader.count(3)? {
        let entry = read_entry(before, level.next, reader)?;
        before = Some(entry.first);
        level.entries.push(entry);
    }
    let mut before = None;
    for _ in 0..reader.count(2)? {
        let position = next_position(before, level.next, reader)?;
        level.counts.push((position, read_returns(version, reader)?));
        before = Some(position);
    }
    if version >= VERSION_HELD {
        read_held(&mut level, reader)?;
    }
    Ok(level)
}

fn read_held(level: &mut LevelState, reader: &mut Reader<'_>) -> Result<(), Damaged> {
    for _ in 0..reader.count(3)? {
        let (start, len) = (reader.varint()?, reader.varint()?);
        let end = start.checked_add(len).filter(|end| *end <= level.next && len > 0);
        let end = end.ok_or_else(|| reader.damaged("a dead letter is out of place"))?;
        level.dead.push((read_death(reader)?, start..end));
    }
    let mut before = None;
    for _ in 0..reader.count(2)? {
        let position = next_position(before, level.next, reader)?;
        level.delayed.push((position, Timestamp(reader.varint()?)));
        before = Some(position);
    }
    Ok(())
}

fn read_returns(version: u8, reader: &mut Reader<'_>) -> Result<Returns, Damaged> {
    let all = reader.varint_u32()?;
    let failed = if version == VERSION_OLDEST { all } else { reader.varint_u32()? };
    if failed > all {
        return Err(reader.damaged("a message failed more often than it came back"));
    }
    Ok(Returns { all, failed })
}

/// The position after `before`, told as its distance from that, and below `next`.
fn next_position(before: Option<u64>, next: u64, reader: &mut Reader<'_>) -> Result<u64, Damaged> {
    let distance = reader.varint()?;
    let position = before.unwrap_or(0).checked_add(distance).filter(|at| *at < next);
    let rises = before.is_none() || distance > 0;
    position.filter(|_| rises).ok_or_else(|| reader.damaged("a position is out of place"))
}

fn read_entry(before: Option<u64>, next: u64, reader: &mut Reader<'_>) -> Result<Entry, Damaged> {
    let first = next_position(before, next, reader)?;
    let mut entry = Entry { first, bytes: reader.varint()?, live: Vec::new() };
    let mut at = first;
    for part in 0..reader.count(2)? {
        let (gap, len) = (reader.varint()?, reader.varint()?);
        let start = at.checked_add(gap);
        let end = start.and_then(|start| start.checked_add(len)).filter(|end| *end <= next);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(reader.damaged("a part is out of place"));
        };
        if len == 0 || (gap == 0 && part > 0) {
            return Err(reader.damaged("a part is empty"));
        }
        entry.live.push(start..end);
        at = end;
    }
    Ok(entry)
}
