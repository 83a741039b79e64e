//! A run of a block's records as the disk keeps it. Records are copied as they lie, many at a time;
//! positions whose messages are not kept are told apart by their number only.
//!
//! ```text
//! positions | parts | (gap, records) of each part | bytes of all records | the records | the shared bodies
//! ```
//!
//! All but the records and bodies are variable-length numbers.

use super::{Block, IndexEntry};
use crate::record::{HEAD, Record};
use crate::wire::{Damaged, Reader, put_varint};
use std::ops::Range;

/// How many positions without a message a stored run may have. They cost memory when it is read.
const HOLES_MAX: u64 = 1 << 20;

impl Block {
    /// The bytes of these records, for another node.
    #[must_use]
    pub fn pack(&self, records: Range<u32>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_run(records.clone(), &[records], &mut out);
        out
    }

    /// The block that [`Self::pack`] made bytes of.
    ///
    /// # Errors
    /// [`Damaged`] when they are no bytes of a block.
    pub fn unpack(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let block = Self::read_run(&mut reader)?;
        if block.is_empty() || block.holes() > 0 {
            return Err(reader.damaged("a message is missing"));
        }
        if reader.is_at_end() {
            return Ok(block);
        }
        Err(reader.damaged("there is more than a block"))
    }

    /// Writes the records in `kept`, lowest first and not touching each other, out of `span`.
    pub(crate) fn write_run(&self, span: Range<u32>, kept: &[Range<u32>], out: &mut Vec<u8>) {
        put_varint(out, u64::from(span.end - span.start));
        put_varint(out, kept.len() as u64);
        let (mut at, mut bytes) = (span.start, 0);
        for part in kept {
            put_varint(out, u64::from(part.start - at));
            put_varint(out, u64::from(part.end - part.start));
            at = part.end;
            bytes += self.start_of(part.end) - self.start_of(part.start);
        }
        put_varint(out, bytes as u64);
        out.reserve(bytes);
        for part in kept {
            out.extend_from_slice(&self.bytes[self.start_of(part.start)..self.start_of(part.end)]);
        }
        if !self.bodies.is_empty() {
            for at in kept.iter().cloned().flatten() {
                let record = self.record(at);
                if record.is_shared() {
                    out.extend_from_slice(record.body().bytes());
                }
            }
        }
    }

    /// Reads what [`Self::write_run`] wrote. A position without a message becomes a hole.
    pub(crate) fn read_run(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let n = reader.varint()?;
        let n_parts = reader.count(2)?;
        let mut parts = Vec::with_capacity(n_parts);
        let (mut end, mut kept) = (0u64, 0u64);
        for at in 0..n_parts {
            let (gap, len) = (reader.varint()?, reader.varint()?);
            if len == 0 || (gap == 0 && at > 0) {
                return Err(reader.damaged("a part is empty"));
            }
            end = end.saturating_add(gap).saturating_add(len);
            kept = kept.saturating_add(len);
            parts.push((gap, len));
        }
        let bytes = reader.count(1)?;
        let room = (bytes / HEAD) as u64;
        let Some(holes) = n.checked_sub(kept).filter(|holes| {
            end <= n && *holes <= HOLES_MAX && kept <= room && n <= u64::from(u32::MAX)
        }) else {
            return Err(reader.damaged("the parts do not fit the run"));
        };
        let total = bytes as u64 + holes * HEAD as u64;
        if total > u64::from(u32::MAX) {
            return Err(reader.damaged("the run is too long"));
        }
        let mut block = Self::with_capacity(total as usize, n as usize);
        let mut records = reader.take(bytes)?;
        for (gap, len) in parts {
            block.push_holes(gap);
            records = block.read_part(records, len, reader)?;
        }
        if !records.is_empty() {
            return Err(reader.damaged("there are more records than announced"));
        }
        block.push_holes(n - end);
        Ok(block)
    }

    fn push_holes(&mut self, n: u64) {
        (0..n).for_each(|_| self.push_hole());
    }

    /// Appends `n` stored records, whose bodies by reference `bodies` reads; gives the rest back.
    fn read_part<'a>(
        &mut self,
        records: &'a [u8],
        n: u64,
        bodies: &mut Reader<'_>,
    ) -> Result<&'a [u8], Damaged> {
        let base = self.bytes.len();
        let mut at = 0;
        let mut shared = Vec::new();
        for _ in 0..n {
            let (record, len) = Record::stored(records.get(at..).unwrap_or_default())
                .ok_or_else(|| bodies.damaged("a record is not whole"))?;
            at += len;
            self.note_priority(record.priority());
            self.expiring += u32::from(record.expires_at().is_some());
            self.persistent += u32::from(record.persistent());
            if record.is_shared() {
                // Bodies are numbered in the order of their records.
                shared.push((base + at - 4, self.bodies.len() as u32));
                self.bodies.push(bodies.take_bytes(record.body_len())?);
            }
            let before = self.index.last().map_or(0, |last| last.bodies);
            let sum = u32::try_from(record.body_len()).ok().and_then(|len| before.checked_add(len));
            let sum = sum.ok_or_else(|| bodies.damaged("the bodies are too long"))?;
            self.index.push(IndexEntry { end: (base + at) as u32, bodies: sum });
        }
        self.bytes.extend_from_slice(&records[..at]);
        for (place, number) in shared {
            self.bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        }
        Ok(&records[at..])
    }
}
