//! A block: records one after another in one growing buffer, the unit of memory, of disk and of
//! delivery. Hot path. It knows its records' lengths and expiries; it does not know a queue.

mod stored;
#[cfg(test)]
mod tests;

use crate::record::{self, Body, EXPIRES, FLAGS, HEAD, HOLE_BYTES, NewRecord, PRIORITY, Record};
use crate::time::Timestamp;
use bytes::Bytes;
use std::ops::Range;

/// A block of this many bytes (shared bodies included) takes no further record. Large enough that
/// the work per block vanishes, small enough that one unacknowledged record pins little.
pub const BLOCK_TARGET: usize = 64 * 1024;

/// The first allocation of a block, so that an idle queue stays small.
const FIRST_BYTES: usize = 256;

/// Where a record ends, and the bytes of all bodies up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexEntry {
    end: u32,
    bodies: u32,
}

/// Records one after another. Appended to by one owner; read by everyone once it is in an `Arc`.
#[derive(Clone, Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    index: Vec<IndexEntry>,
    bodies: Vec<Bytes>,
    /// How many records have an expiry.
    expiring: u32,
    /// How many records are persistent.
    persistent: u32,
    /// How many records stand for messages that are not there.
    holes: u32,
    /// The lowest and the highest priority among the records; without records (0, 0).
    priorities: (u8, u8),
}

impl Block {
    /// An empty block that has allocated nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            index: Vec::new(),
            bodies: Vec::new(),
            expiring: 0,
            persistent: 0,
            holes: 0,
            priorities: (0, 0),
        }
    }

    /// An empty block with room for `bytes` bytes in `records` records.
    #[must_use]
    pub fn with_capacity(bytes: usize, records: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), index: Vec::with_capacity(records), ..Self::new() }
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
        self.bodies.clear();
        self.expiring = 0;
        self.persistent = 0;
        self.holes = 0;
        self.priorities = (0, 0);
    }

    /// Appends a record. The caller starts a new block once this one [is full](Self::is_full).
    pub fn push(&mut self, new: &NewRecord<'_>) {
        let len = new.stored_len();
        self.make_room(len);
        self.bytes.extend_from_slice(&new.head());
        self.bytes.extend_from_slice(new.address);
        self.bytes.extend_from_slice(new.properties);
        match new.body {
            Body::Inline(body) => self.bytes.extend_from_slice(body),
            Body::Shared(body) => self.push_body(body.clone()),
        }
        self.note_priority(new.priority);
        self.expiring += u32::from(new.expires_at.is_some());
        self.persistent += u32::from(new.persistent);
        self.push_entry(new.body.len());
    }

    /// Appends what stands for a message that is not there.
    pub(crate) fn push_hole(&mut self) {
        self.make_room(HEAD);
        self.bytes.extend_from_slice(&HOLE_BYTES);
        self.holes += 1;
        self.push_entry(0);
    }

    /// Doubles the buffer when it is full, but not beyond what a block may hold.
    fn make_room(&mut self, len: usize) {
        let needed = self.bytes.len() + len;
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let doubled = (2 * capacity).clamp(FIRST_BYTES, BLOCK_TARGET);
            self.bytes.reserve_exact(doubled.max(needed) - self.bytes.len());
        }
    }

    fn push_body(&mut self, body: Bytes) {
        let at = self.bodies.len() as u32;
        self.bytes.extend_from_slice(&at.to_le_bytes());
        self.bodies.push(body);
    }

    fn push_entry(&mut self, body_len: usize) {
        let bodies = self.index.last().map_or(0, |last| last.bodies) + body_len as u32;
        self.index.push(IndexEntry { end: self.bytes.len() as u32, bodies });
    }

    fn note_priority(&mut self, priority: u8) {
        if self.index.is_empty() {
            self.priorities = (priority, priority);
        } else {
            let (low, high) = self.priorities;
            self.priorities = (low.min(priority), high.max(priority));
        }
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.index.len() as u32
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of the records, shared bodies not included.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the block should take no further record.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.shared_bytes() >= BLOCK_TARGET
    }

    fn shared_bytes(&self) -> usize {
        if self.bodies.is_empty() { 0 } else { self.bodies.iter().map(Bytes::len).sum() }
    }

    fn start_of(&self, at: u32) -> usize {
        match at.checked_sub(1) {
            Some(before) => self.index[before as usize].end as usize,
            None => 0,
        }
    }

    fn bodies_before(&self, at: u32) -> u32 {
        at.checked_sub(1).map_or(0, |before| self.index[before as usize].bodies)
    }

    fn span(&self, at: u32) -> Range<usize> {
        self.start_of(at)..self.index[at as usize].end as usize
    }

    /// Record number `at`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "blocks are only filled by push, append_from and from_parts"
    )]
    pub fn record(&self, at: u32) -> Record<'_> {
        Record::new(&self.bytes[self.span(at)], &self.bodies).expect("a block's records are whole")
    }

    /// Bytes of the bodies of these records, in constant time.
    #[must_use]
    pub fn body_bytes(&self, range: Range<u32>) -> u64 {
        u64::from(self.bodies_before(range.end) - self.bodies_before(range.start))
    }

    /// How many of the records from `from` up to `end` it takes until their bodies fill `room`
    /// bytes; the last one may exceed it. 0 without room or without records.
    #[must_use]
    pub fn fill(&self, range: Range<u32>, room: u64) -> u32 {
        if range.is_empty() || room == 0 {
            return 0;
        }
        let n = range.end - range.start;
        if self.body_bytes(range.start..range.end - 1) < room {
            return n;
        }
        let limit = u64::from(self.bodies_before(range.start)) + room;
        let entries = &self.index[range.start as usize..range.end as usize];
        let below = entries.partition_point(|entry| u64::from(entry.bodies) < limit);
        n.min(u32::try_from(below).unwrap_or(n).saturating_add(1))
    }

    /// When record `at` expires.
    #[must_use]
    pub fn expires_at(&self, at: u32) -> Option<Timestamp> {
        let start = self.start_of(at);
        let field = &self.bytes[start + EXPIRES.start..start + EXPIRES.end];
        record::expiry_from_u64(field.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// Whether any record has an expiry.
    #[must_use]
    pub fn any_expires(&self) -> bool {
        self.expiring > 0
    }

    /// Whether any record is persistent.
    #[must_use]
    pub fn any_persistent(&self) -> bool {
        self.persistent > 0
    }

    /// Whether all records are persistent, holes aside.
    pub(crate) fn all_persistent(&self) -> bool {
        self.persistent + self.holes == self.len()
    }

    /// Whether record `at` is persistent.
    pub(crate) fn is_persistent(&self, at: u32) -> bool {
        record::is_persistent(&self.bytes[self.start_of(at)..])
    }

    /// Makes all records persistent.
    pub(crate) fn make_persistent(&mut self) {
        for at in 0..self.len() {
            if !self.is_persistent(at) && !self.is_hole(at) {
                let span = self.span(at);
                record::make_persistent(&mut self.bytes[span]);
                self.persistent += 1;
            }
        }
    }

    /// How many records stand for messages that are not there.
    pub(crate) fn holes(&self) -> u32 {
        self.holes
    }

    /// Whether record `at` stands for a message that is not there.
    pub(crate) fn is_hole(&self, at: u32) -> bool {
        record::is_hole(&self.bytes[self.start_of(at)..])
    }

    /// Bytes of the records and of the bodies that are kept by reference.
    pub(crate) fn total_bytes(&self) -> usize {
        self.bytes.len() + self.shared_bytes()
    }

    /// The lowest and the highest priority among the records.
    #[must_use]
    pub fn priorities(&self) -> (u8, u8) {
        self.priorities
    }

    /// The priority of record `at`.
    #[must_use]
    pub fn priority(&self, at: u32) -> u8 {
        self.bytes[self.start_of(at) + PRIORITY]
    }

    /// Sets when record `at` expires.
    pub fn set_expiry(&mut self, at: u32, expires_at: Option<Timestamp>) {
        self.expiring -= u32::from(self.expires_at(at).is_some());
        self.expiring += u32::from(expires_at.is_some());
        let start = self.start_of(at);
        self.bytes[start + EXPIRES.start..start + EXPIRES.end]
            .copy_from_slice(&record::expiry_to_u64(expires_at).to_le_bytes());
    }

    /// Lets every record expire at `at`, unless it expires earlier by itself.
    pub fn limit_expiry(&mut self, at: Timestamp) {
        for record in 0..self.len() {
            if self.expires_at(record).is_none_or(|own| own > at) {
                self.set_expiry(record, Some(at));
            }
        }
    }

    /// Notes in every record when it came, in the place of an expiry: what is in a stream has none.
    pub(crate) fn stamp(&mut self, now: Timestamp) {
        for record in 0..self.len() {
            self.set_expiry(record, Some(now));
        }
    }

    /// When record `at` of a stream came.
    pub(crate) fn arrived_at(&self, at: u32) -> Option<Timestamp> {
        self.expires_at(at)
    }

    /// Marks record `at` as one that had a failed delivery before: see [`Record::redelivered`].
    pub fn mark_redelivered(&mut self, at: u32) {
        let span = self.span(at);
        record::mark_redelivered(&mut self.bytes[span]);
    }

    /// Marks record `at` as one whose CC header is not routed by: see [`Record::cc_spent`].
    pub fn mark_cc_spent(&mut self, at: u32) {
        let span = self.span(at);
        record::mark_cc_spent(&mut self.bytes[span]);
    }

    /// Copies records of another block to the end of this one.
    pub fn append_from(&mut self, other: &Self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        if !other.bodies.is_empty() {
            return self.append_each(other, range);
        }
        self.note_summary(other, &range);
        let from = other.start_of(range.start);
        let to = other.start_of(range.end);
        let bytes_base = self.bytes.len() as u32;
        let bodies_base = self.index.last().map_or(0, |last| last.bodies);
        let (skip_bytes, skip_bodies) = (from as u32, other.bodies_before(range.start));
        self.make_room(to - from);
        self.bytes.extend_from_slice(&other.bytes[from..to]);
        let entries = &other.index[range.start as usize..range.end as usize];
        self.index.extend(entries.iter().map(|entry| IndexEntry {
            end: entry.end - skip_bytes + bytes_base,
            bodies: entry.bodies - skip_bodies + bodies_base,
        }));
    }

    /// Takes over what [`Self::append_from`] needs to know of the records before it copies them.
    fn note_summary(&mut self, other: &Self, range: &Range<u32>) {
        let (low, high) = other.priorities;
        self.note_priority(low);
        self.priorities.1 = self.priorities.1.max(high);
        if range.start == 0 && range.end == other.len() {
            self.expiring += other.expiring;
            self.persistent += other.persistent;
            self.holes += other.holes;
            return;
        }
        if other.expiring > 0 {
            let expiring = range.clone().filter(|at| other.expires_at(*at).is_some()).count();
            self.expiring += expiring as u32;
        }
        if other.persistent > 0 {
            let persistent = range.clone().filter(|at| other.is_persistent(*at)).count();
            self.persistent += persistent as u32;
        }
        if other.holes > 0 {
            self.holes += range.clone().filter(|at| other.is_hole(*at)).count() as u32;
        }
    }

    /// Copies records one by one, since their shared bodies get other numbers here.
    fn append_each(&mut self, other: &Self, range: Range<u32>) {
        for at in range {
            let record = other.record(at);
            self.note_priority(record.priority());
            self.expiring += u32::from(record.expires_at().is_some());
            self.persistent += u32::from(record.persistent());
            self.holes += u32::from(other.is_hole(at));
            let bytes = &other.bytes[other.span(at)];
            self.make_room(bytes.len());
            if let Body::Shared(body) = record.body() {
                self.bytes.extend_from_slice(&bytes[..bytes.len() - 4]);
                self.push_body(body.clone());
            } else {
                self.bytes.extend_from_slice(bytes);
            }
            self.push_entry(record.body_len());
        }
    }

    /// The records' bytes, to be stored; with [`Self::shared_bodies`] all that there is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bodies that are kept by reference, in the order of their records.
    #[must_use]
    pub fn shared_bodies(&self) -> &[Bytes] {
        &self.bodies
    }

    /// The block that [`Self::bytes`] and [`Self::shared_bodies`] came from; `None` if they do not
    /// make whole records.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, bodies: Vec<Bytes>) -> Option<Self> {
        let mut block = Self { bodies, ..Self::new() };
        let mut at = 0;
        while at < bytes.len() {
            let total = bytes.get(at..)?.first_chunk::<4>()?;
            let total = u32::from_le_bytes(*total) as usize;
            let record = Record::new(bytes.get(at..at.checked_add(total)?)?, &block.bodies)?;
            let body_len = record.body_len();
            if record.is_shared() {
                let body = block.bodies.get(record.shared_index()?)?;
                if body.len() != body_len {
                    return None;
                }
            }
            let (expires, persistent) = (record.expires_at().is_some(), record.persistent());
            let priority = record.priority();
            block.note_priority(priority);
            block.expiring += u32::from(expires);
            block.persistent += u32::from(persistent);
            at += total;
            let bodies = block.index.last().map_or(0, |last| last.bodies);
            let bodies = bodies.checked_add(u32::try_from(body_len).ok()?)?;
            block.index.push(IndexEntry { end: u32::try_from(at).ok()?, bodies });
        }
        block.bytes = bytes;
        Some(block)
    }

    /// Gives memory back if much of it is unused.
    pub fn trim(&mut self) {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 4 + FIRST_BYTES {
            self.bytes.shrink_to_fit();
            self.index.shrink_to_fit();
        }
    }

    /// Bytes of memory that the block holds, shared bodies included.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.bytes.capacity()
            + self.index.capacity() * size_of::<IndexEntry>()
            + self.bodies.capacity() * size_of::<Bytes>()
            + self.shared_bytes()
    }
}

const _: () = assert!(HEAD == 24 && FLAGS < HEAD && PRIORITY < HEAD && EXPIRES.end <= HEAD);
