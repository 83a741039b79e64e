//! A block that is in a chunk on disk: the bytes of the chunk, what is known of it while the block
//! is away, and how small blocks become one before they are filed.
//!
//! A chunk holds all records of a block that were live when it was filed, transient ones too;
//! which of them a restart brings back stands in the queue's checkpoint.

use super::checkpoint::{ChunkMeta, StoredChunk};
use super::slot::{Kind, Slot};
use crate::block::Block;
use crate::ids::Seq;
use crate::record;
use crate::wire::{Damaged, Reader, put_varint};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The first byte of a chunk.
const VERSION: u8 = 1;

/// A slot is filed alone if its block has this many bytes; smaller neighbours become one block.
pub(super) const CHUNK_BYTES_MIN: usize = 64 * 1024;

/// Neighbours do not become one block of more bytes than this.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Neighbours with more positions than this between them do not become one block.
const HOLES_BETWEEN_MAX: u64 = 64;

/// Which batch writes a chunk, or wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The one with this checkpoint.
    Writing(u64),
    /// The group commit of this number.
    Stored(u64),
}

/// What is known of a block that is in a chunk.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) place: Place,
    /// Bytes of bodies that all its records would have together, done ones included; only
    /// while the block is away.
    pub(super) nominal: u64,
    /// The earliest expiry among the records that were filed; 0 is never.
    pub(super) min_expiry: u64,
    /// One bit for each transient record, if there are others.
    pub(super) transient: Box<[u64]>,
    /// Its loading was asked for.
    pub(super) loading: bool,
    /// It is to leave memory once it is stored.
    pub(super) leaving: bool,
}

impl Filed {
    /// Bytes of the bodies of some records of a block of `n` that is away.
    pub(super) fn share(&self, n: u32, records: Range<u32>) -> u64 {
        let before = |end: u32| {
            // n is not 0, and the result is at most `nominal`.
            (u128::from(self.nominal) * u128::from(end) / u128::from(n.max(1))) as u64
        };
        before(records.end) - before(records.start)
    }

    pub(super) fn is_transient(&self, record: u32) -> bool {
        let word = self.transient.get(record as usize / 64);
        word.is_some_and(|word| word >> (record % 64) & 1 == 1)
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.transient.len() * 8
    }
}

impl Slot {
    /// Whether its block may go into a chunk: it is here, and in none yet.
    pub(super) fn can_be_filed(&self) -> bool {
        self.filed.is_none() && self.block.is_some()
    }

    fn total_bytes(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.total_bytes())
    }

    /// Whether it is worth being joined with what comes next.
    pub(super) fn is_small(&self) -> bool {
        self.total_bytes() < CHUNK_BYTES_MIN
    }

    /// Whether both can become one block.
    pub(super) fn goes_with(&self, next: &Self) -> bool {
        (self.kind == Kind::Transient) == (next.kind == Kind::Transient)
            && next.first - self.end() <= HOLES_BETWEEN_MAX
            && self.total_bytes() + next.total_bytes() <= CHUNK_BYTES_MAX
    }

    /// One slot in place of two neighbours whose blocks are here.
    pub(super) fn join(self, next: &Self) -> Self {
        let gap = (next.first - self.end()) as u32;
        let n = self.n + gap + next.n;
        let room = self.total_bytes() + next.total_bytes() + gap as usize * record::HEAD;
        let mut block = Block::with_capacity(room, n as usize);
        self.copy_live(&mut block);
        (0..gap).for_each(|_| block.push_hole());
        next.copy_live(&mut block);
        Self::new(self.first, Arc::new(block), self.at, self.first_op)
    }

    /// Appends its live records, and holes in place of the others.
    fn copy_live(&self, target: &mut Block) {
        let Some(block) = &self.block else { return };
        let mut parts = Vec::new();
        self.live_parts(&self.positions(), &mut parts);
        let mut at = 0;
        for part in parts {
            let records = self.records(&part);
            (at..records.start).for_each(|_| target.push_hole());
            target.append_from(block, records.clone());
            at = records.end;
        }
        (at..self.n).for_each(|_| target.push_hole());
    }

    /// The chunk of its block, which from now on is taken to be in it.
    pub(super) fn file(&mut self, priority: u8, checkpoint: u64) -> Option<StoredChunk> {
        let block = self.block.clone()?;
        let mut parts = Vec::new();
        self.live_parts(&self.positions(), &mut parts);
        let kept: Vec<_> = parts.iter().map(|part| self.records(part)).collect();
        let mut data = Vec::with_capacity(block.total_bytes() + 64);
        data.push(VERSION);
        data.push(priority);
        put_varint(&mut data, self.first);
        block.write_run(0..self.n, &kept, &mut data);
        let bytes = kept.iter().map(|records| block.body_bytes(records.clone())).sum();
        let min_expiry = min_expiry(&block, &kept);
        let transient = match self.kind {
            Kind::Mixed => transient_bits(&block),
            Kind::Persistent | Kind::Transient => Box::default(),
        };
        self.filed = Some(Box::new(Filed {
            place: Place::Writing(checkpoint),
            nominal: 0,
            min_expiry,
            transient,
            loading: false,
            leaving: false,
        }));
        let meta = ChunkMeta {
            n: self.live,
            end: self.end(),
            bytes,
            min_expiry,
            first_at: self.at.0,
            flags: if self.kind == Kind::Transient { ChunkMeta::TRANSIENT } else { 0 },
        };
        Some(StoredChunk { first: Seq::new(priority, self.first), meta, data })
    }

    /// The stretches of live records that survive a restart, and the bytes of their bodies.
    pub(super) fn lasting(&self, parts: &mut Vec<Range<u64>>) -> u64 {
        let mut live = Vec::new();
        self.live_parts(&self.positions(), &mut live);
        if let Some(filed) = self.filed.as_ref().filter(|_| self.kind == Kind::Mixed) {
            for position in live.into_iter().flatten() {
                if !filed.is_transient((position - self.first) as u32) {
                    match parts.last_mut() {
                        Some(last) if last.end == position => last.end += 1,
                        _ => parts.push(position..position + 1),
                    }
                }
            }
        } else {
            parts.append(&mut live);
        }
        parts.iter().map(|part| self.amount(part).bytes).sum()
    }

    /// Whether every position of it survives a restart.
    pub(super) fn lasts_wholly(&self) -> bool {
        self.live == self.n && self.kind == Kind::Persistent
    }

    /// Lets the block leave memory; says how many bytes that freed. It must be stored.
    pub(super) fn leave(&mut self) -> usize {
        let before = self.memory();
        let bytes: u64 = {
            let mut parts = Vec::new();
            self.live_parts(&self.positions(), &mut parts);
            parts.iter().map(|part| self.amount(part).bytes).sum()
        };
        let Some(filed) = &mut self.filed else { return 0 };
        filed.nominal = nominal(bytes, self.n, self.live);
        filed.leaving = false;
        self.block = None;
        before.saturating_sub(self.memory())
    }

    /// Takes the block back from the bytes of its chunk.
    pub(super) fn come_back(&mut self, priority: u8, data: &Bytes) -> Result<(), Damaged> {
        let mut reader = Reader::sharing(data);
        reader.version(VERSION)?;
        if reader.byte()? != priority || reader.varint()? != self.first {
            return Err(reader.damaged("it is another chunk"));
        }
        let block = Block::read_run(&mut reader)?;
        if !reader.is_at_end() || block.len() != self.n {
            return Err(reader.damaged("the chunk has another length"));
        }
        let missing = |record: &u32| block.is_hole(*record) && !self.is_done(*record);
        if block.holes() > 0 && (self.done_below..self.n).any(|record| missing(&record)) {
            return Err(reader.damaged("a message is missing"));
        }
        if let Some(filed) = &mut self.filed {
            filed.loading = false;
            filed.nominal = 0;
        }
        self.block = Some(Arc::new(block));
        Ok(())
    }
}

/// What all of `n` records would have if each had as much as the live ones have on average.
pub(super) fn nominal(bytes: u64, n: u32, live: u32) -> u64 {
    let all = u128::from(bytes) * u128::from(n) / u128::from(live.max(1));
    u64::try_from(all).unwrap_or(u64::MAX)
}

fn min_expiry(block: &Block, kept: &[Range<u32>]) -> u64 {
    if !block.any_expires() {
        return 0;
    }
    let records = kept.iter().cloned().flatten();
    let expiries = records.filter_map(|record| block.expires_at(record));
    expiries.min().map_or(0, |at| at.0)
}

fn transient_bits(block: &Block) -> Box<[u64]> {
    let mut bits = vec![0; (block.len() as usize).div_ceil(64)].into_boxed_slice();
    for record in (0..block.len()).filter(|record| !block.is_persistent(*record)) {
        bits[record as usize / 64] |= 1 << (record % 64);
    }
    bits
}
