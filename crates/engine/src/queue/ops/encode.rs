//! The bytes of the ops of one queue and one group commit. What is over before it was written is
//! left out: a message that was acknowledged in the group that published it never touches the disk.
//!
//! ```text
//! version | ops: kind u8, number since the op before, then
//!   publish: level u8, first position, time, run of records
//!   ack, purge: how many ranges, each: level u8, first position, length
//!   drop: range, reason u8
//!   return, requeue: range
//!   die: range, reason u8
//!   delay: range, time
//!   remember: how many, each: level u8, position, key of 16 bytes, time
//! ```

#[cfg(test)]
mod tests;

use super::{DropReason, LoggedOp, Op, OpIndex, Trace};
use crate::block::Block;
use crate::ids::{Seq, SeqRange};
use crate::queue::seen::SeenKey;
use crate::seq::RangeSet;
use crate::time::Timestamp;
use crate::wire::{Damaged, Reader, put_varint};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// The first byte of encoded ops.
const VERSION: u8 = 1;

const PUBLISH: u8 = 1;
const ACK: u8 = 2;
const DROP: u8 = 3;
const RETURN: u8 = 4;
const PURGE: u8 = 5;
/// Came back without a failure; [`RETURN`] is after one.
const REQUEUE: u8 = 6;
const DIE: u8 = 7;
const DELAY: u8 = 8;
const REMEMBER: u8 = 9;

/// As many positions in a row without a message end a publish op: in memory each costs as much as
/// a small record, and beginning another block costs about this many.
pub(in crate::queue) const HOLES_IN_A_ROW_MAX: u64 = 16;

/// Appends the bytes of a queue's ops, which are those of one group commit in their order; nothing
/// if the disk need not hear of any. Transient messages are left out, and so is what a later
/// op of the group ends, together with its end. So the group must be written as a whole.
pub fn encode_ops(ops: &[LoggedOp], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(VERSION);
    let mut writer = Writer { out, before: 0, over: Over::find(ops) };
    for logged in ops.iter().filter(|logged| logged.trace != Trace::None) {
        writer.op(logged);
    }
    if out.len() == start + 1 {
        out.truncate(start);
    }
}

/// Appends the bytes of one op with all that it says, transient messages too: what copies of the queue tell each other.
/// [`decode_ops`] reads them.
pub fn encode_op(logged: &LoggedOp, out: &mut Vec<u8>) {
    out.push(VERSION);
    let mut writer = Writer { out, before: 0, over: Over::default() };
    match &logged.op {
        Op::Publish { first, at, block } => writer.publish_whole(logged.index, *first, *at, block),
        _ => writer.op(&LoggedOp { trace: Trace::Chunk, ..logged.clone() }),
    }
}

/// What need not be written of some ops.
#[derive(Debug, Default)]
struct Over {
    levels: SmallVec<[OverLevel; 1]>,
}

#[derive(Debug)]
struct OverLevel {
    priority: u8,
    /// Everything from here on was published by these ops.
    from: u64,
    /// What of that is done.
    done: RangeSet,
}

impl Over {
    fn find(ops: &[LoggedOp]) -> Self {
        let mut over = Self::default();
        for logged in ops {
            match &logged.op {
                Op::Publish { first, .. } => over.published(*first),
                Op::Ack(ranges) => ranges.iter().for_each(|range| over.done(*range)),
                Op::Purge(ranges) => ranges.iter().for_each(|range| over.done(*range)),
                Op::Drop { range, .. } => over.done(*range),
                Op::Return { .. } | Op::Die { .. } | Op::Delay { .. } | Op::Remember(_) => {}
            }
        }
        over
    }

    fn published(&mut self, first: Seq) {
        if self.level(first.level()).is_none() {
            let (priority, from) = (first.level(), first.index());
            self.levels.push(OverLevel { priority, from, done: RangeSet::new() });
        }
    }

    fn done(&mut self, range: SeqRange) {
        let positions = crate::queue::positions(range);
        let level = self.levels.iter_mut().find(|level| level.priority == range.first.level());
        if let Some(level) = level {
            level.done.insert(positions.start.max(level.from)..positions.end);
        }
    }

    fn level(&self, priority: u8) -> Option<&OverLevel> {
        self.levels.iter().find(|level| level.priority == priority)
    }

    /// The part of a range whose publishing the disk knows.
    fn known(&self, range: SeqRange) -> Option<SeqRange> {
        let from = self.level(range.first.level()).map_or(u64::MAX, |level| level.from);
        let n = from.saturating_sub(range.first.index()).min(u64::from(range.n)) as u32;
        (n > 0).then_some(SeqRange { first: range.first, n })
    }

    /// The records of a published block that have to be written.
    fn left(&self, first: Seq, block: &Block, parts: &mut Vec<Range<u32>>) {
        let start = first.index();
        let end = start + u64::from(block.len());
        let mut at = start;
        while at < end {
            let done = self.level(first.level()).map(|level| level.done.stretch(at..end));
            let (stop, done) = done.unwrap_or((end, false));
            if !done {
                persistent_parts(block, (at - start) as u32..(stop - start) as u32, parts);
            }
            at = stop;
        }
    }
}

/// Adds the stretches of persistent records.
pub(in crate::queue) fn persistent_parts(
    block: &Block,
    records: Range<u32>,
    parts: &mut Vec<Range<u32>>,
) {
    if block.all_persistent() && block.holes() == 0 {
        return push_part(parts, records);
    }
    for at in records.filter(|at| block.is_persistent(*at)) {
        push_part(parts, at..at + 1);
    }
}

fn push_part(parts: &mut Vec<Range<u32>>, part: Range<u32>) {
    match parts.last_mut() {
        Some(last) if last.end == part.start => last.end = part.end,
        _ if part.is_empty() => {}
        _ => parts.push(part),
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The number of the op before.
    before: u64,
    over: Over,
}

impl Writer<'_> {
    fn op(&mut self, logged: &LoggedOp) {
        match &logged.op {
            Op::Publish { first, at, block } => self.publish(logged.index, *first, *at, block),
            Op::Ack(ranges) => self.ranges(ACK, logged, ranges),
            Op::Purge(ranges) => self.ranges(PURGE, logged, ranges),
            Op::Drop { range, reason } => {
                if let Some(range) = self.known(logged, *range) {
                    self.head(DROP, logged.index);
                    self.range(range);
                    self.out.push(reason_to_u8(*reason));
                }
            }
            // What was returned and ended later is over, too; rare enough to be written anyway.
            Op::Return { range, failed } => {
                self.head(if *failed { RETURN } else { REQUEUE }, logged.index);
                self.range(*range);
            }
            Op::Die { range, reason } => {
                self.head(DIE, logged.index);
                self.range(*range);
                self.out.push(reason_to_u8(*reason));
            }
            Op::Delay { range, until } => {
                self.head(DELAY, logged.index);
                self.range(*range);
                put_varint(self.out, until.0);
            }
            Op::Remember(keys) => {
                self.head(REMEMBER, logged.index);
                write_seen(keys.iter().copied(), keys.len(), self.out);
            }
        }
    }

    fn publish(&mut self, index: OpIndex, first: Seq, at: Timestamp, block: &Block) {
        let mut parts = Vec::new();
        self.over.left(first, block, &mut parts);
        let holes = |pair: &[Range<u32>]| u64::from(pair[1].start - pair[0].end);
        let mut rest = &parts[..];
        while let (Some(front), Some(_)) = (rest.first(), rest.last()) {
            let n = rest.windows(2).take_while(|pair| holes(pair) < HOLES_IN_A_ROW_MAX).count() + 1;
            let (run, after) = rest.split_at(n);
            let span = front.start..run.last().map_or(front.end, |last| last.end);
            self.head(PUBLISH, index);
            self.out.push(first.level());
            put_varint(self.out, first.index() + u64::from(span.start));
            put_varint(self.out, at.0);
            block.write_run(span, run, self.out);
            rest = after;
        }
    }

    fn publish_whole(&mut self, index: OpIndex, first: Seq, at: Timestamp, block: &Block) {
        self.head(PUBLISH, index);
        self.out.push(first.level());
        put_varint(self.out, first.index());
        put_varint(self.out, at.0);
        let mut parts = Vec::new();
        for at in (0..block.len()).filter(|at| !block.is_hole(*at)) {
            push_part(&mut parts, at..at + 1);
        }
        block.write_run(0..block.len(), &parts, self.out);
    }

    /// The part of a range of which the disk has to hear.
    fn known(&self, logged: &LoggedOp, range: SeqRange) -> Option<SeqRange> {
        if logged.trace == Trace::Chunk { Some(range) } else { self.over.known(range) }
    }

    fn ranges(&mut self, kind: u8, logged: &LoggedOp, ranges: &[SeqRange]) {
        let known = ranges.iter().filter_map(|range| self.known(logged, *range));
        let known: SmallVec<[SeqRange; 4]> = known.collect();
        if !known.is_empty() {
            self.head(kind, logged.index);
            put_varint(self.out, known.len() as u64);
            known.iter().for_each(|range| self.range(*range));
        }
    }

    fn head(&mut self, kind: u8, index: OpIndex) {
        self.out.push(kind);
        put_varint(self.out, index.0 - self.before);
        self.before = index.0;
    }

    fn range(&mut self, range: SeqRange) {
        self.out.push(range.first.level());
        put_varint(self.out, range.first.index());
        put_varint(self.out, u64::from(range.n));
    }
}

pub(in crate::queue) fn reason_to_u8(reason: DropReason) -> u8 {
    match reason {
        DropReason::DeliveryLimit => 0,
        DropReason::Expired => 1,
        DropReason::Lost => 2,
        DropReason::MaxLength => 3,
        DropReason::Rejected => 4,
        DropReason::Truncated => 5,
        DropReason::Passed => 6,
    }
}

fn reason_from_u8(reason: u8) -> Option<DropReason> {
    Some(match reason {
        0 => DropReason::DeliveryLimit,
        1 => DropReason::Expired,
        2 => DropReason::Lost,
        3 => DropReason::MaxLength,
        4 => DropReason::Rejected,
        5 => DropReason::Truncated,
        6 => DropReason::Passed,
        _ => return None,
    })
}

/// The ops that [`encode_ops`] wrote, in their order. One op may come in several parts of the same
/// number, and with holes where messages were left out. Ends after the first error.
pub fn decode_ops(bytes: &[u8]) -> impl Iterator<Item = Result<(OpIndex, Op), Damaged>> + '_ {
    let mut reader = Reader::new(bytes);
    let mut before = None;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || reader.is_at_end() {
            return None;
        }
        let op = read_op(&mut reader, &mut before);
        failed = op.is_err();
        Some(op)
    })
}

fn read_op(reader: &mut Reader<'_>, before: &mut Option<u64>) -> Result<(OpIndex, Op), Damaged> {
    let last = match before {
        Some(last) => *last,
        None => {
            reader.version(VERSION)?;
            0
        }
    };
    let kind = reader.byte()?;
    let index = last.checked_add(reader.varint()?);
    let index = index.ok_or_else(|| reader.damaged("the number of an op is too large"))?;
    *before = Some(index);
    let op = match kind {
        PUBLISH => read_publish(reader)?,
        ACK => Op::Ack(read_ranges(reader)?.collect::<Result<_, _>>()?),
        DROP => {
            let range = read_range(reader)?;
            Op::Drop { range, reason: read_reason(reader)? }
        }
        DIE => Op::Die { range: read_range(reader)?, reason: read_death(reader)? },
        REMEMBER => Op::Remember(read_seen(reader)?.into_boxed_slice()),
        DELAY => Op::Delay { range: read_range(reader)?, until: Timestamp(reader.varint()?) },
        RETURN => Op::Return { range: read_range(reader)?, failed: true },
        REQUEUE => Op::Return { range: read_range(reader)?, failed: false },
        PURGE => Op::Purge(read_ranges(reader)?.collect::<Result<_, _>>()?),
        _ => return Err(reader.damaged("the kind of an op is unknown")),
    };
    Ok((OpIndex(index), op))
}

/// Appends deduplication headers, `n` of them.
pub(in crate::queue) fn write_seen(
    keys: impl Iterator<Item = SeenKey>,
    n: usize,
    out: &mut Vec<u8>,
) {
    put_varint(out, n as u64);
    for seen in keys {
        out.push(seen.at.level());
        put_varint(out, seen.at.index());
        out.extend_from_slice(&seen.key);
        put_varint(out, seen.until.0);
    }
}

/// Reads what [`write_seen`] wrote.
pub(in crate::queue) fn read_seen(reader: &mut Reader<'_>) -> Result<Vec<SeenKey>, Damaged> {
    let n = reader.count(19)?;
    let mut keys = Vec::with_capacity(n);
    for _ in 0..n {
        let (level, first) = (reader.byte()?, reader.varint()?);
        let range = checked_range(level, first, 1);
        let at = range.ok_or_else(|| reader.damaged("a position is too large"))?.first;
        let mut key = [0; 16];
        for byte in &mut key {
            *byte = reader.byte()?;
        }
        keys.push(SeenKey { at, key, until: Timestamp(reader.varint()?) });
    }
    Ok(keys)
}

fn read_reason(reader: &mut Reader<'_>) -> Result<DropReason, Damaged> {
    reason_from_u8(reader.byte()?).ok_or_else(|| reader.damaged("a reason is unknown"))
}

/// The reason of a dead letter.
pub(in crate::queue) fn read_death(reader: &mut Reader<'_>) -> Result<DropReason, Damaged> {
    let reason = read_reason(reader)?;
    if reason.death().is_some() { Ok(reason) } else { Err(reader.damaged("nothing dies of that")) }
}

fn read_publish(reader: &mut Reader<'_>) -> Result<Op, Damaged> {
    let level = reader.byte()?;
    let first = reader.varint()?;
    let at = Timestamp(reader.varint()?);
    let block = Block::read_run(reader)?;
    if block.holes() == block.len() {
        return Err(reader.damaged("nothing is published"));
    }
    let range = checked_range(level, first, block.len());
    let first = range.ok_or_else(|| reader.damaged("a position is too large"))?.first;
    Ok(Op::Publish { first, at, block: Arc::new(block) })
}

fn read_ranges<'a, 'b>(
    reader: &'a mut Reader<'b>,
) -> Result<impl Iterator<Item = Result<SeqRange, Damaged>> + use<'a, 'b>, Damaged> {
    let n = reader.count(3)?;
    if n == 0 {
        return Err(reader.damaged("an op is about nothing"));
    }
    Ok((0..n).map(move |_| read_range(reader)))
}

fn read_range(reader: &mut Reader<'_>) -> Result<SeqRange, Damaged> {
    let level = reader.byte()?;
    let (first, n) = (reader.varint()?, reader.varint_u32()?);
    let range = checked_range(level, first, n).filter(|range| range.n > 0);
    range.ok_or_else(|| reader.damaged("a range is malformed"))
}

/// The range, if its positions are possible.
pub(in crate::queue) fn checked_range(level: u8, first: u64, n: u32) -> Option<SeqRange> {
    let end = first.checked_add(u64::from(n))?;
    (end < 1 << Seq::INDEX_BITS).then(|| SeqRange { first: Seq::new(level, first), n })
}
