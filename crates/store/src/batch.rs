//! The values that pass between the store and its callers: identifiers, chunks and batches. No
//! layout on disk here; that is `keys` and `frame`.

use std::fmt;

pub(crate) mod check;

/// The data of one queue replica. Handed out by the store and never used again, so that a queue
/// that is dropped and synced again cannot meet old keys.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slot(pub u64);

/// The number of a group commit: 1, 2, 3 and so on. What was durable is never numbered again, over
/// restarts and repairs too.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Gcn(pub u64);

impl Gcn {
    /// The group commit after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The name of a body that several queues share. The caller chooses it and never uses one twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BodyId(pub [u8; 16]);

/// The name of one store folder, for comparison over restarts; a restored or repaired store is
/// told apart from the one it came from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct StoreId(pub u128);

/// The name of a chunk. It holds the group commit that wrote it, so each key is written once, also
/// when leftovers are written again at the same positions.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChunkKey {
    /// Whose messages.
    pub slot: Slot,
    /// The priority level they are in.
    pub priority: u8,
    /// The position of the first.
    pub first_seq: u64,
    /// The group commit that wrote it.
    pub gcn: Gcn,
}

/// What a queue knows of a chunk without reading it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ChunkIndex {
    /// Messages in it.
    pub n: u32,
    /// The position after the last.
    pub end_seq: u64,
    /// Bytes as the queue counts them (not the size of the data).
    pub bytes: u64,
    /// The earliest expiry, in the caller's unit; the caller decides what stands for none.
    pub min_expiry: u64,
    /// The time of the first message, in the caller's unit.
    pub first_at: u64,
    /// The caller's flags.
    pub flags: u8,
}

/// A chunk to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkPut {
    /// Whose messages.
    pub slot: Slot,
    /// The priority level they are in.
    pub priority: u8,
    /// The position of the first.
    pub first_seq: u64,
    /// What is kept in the index.
    pub index: ChunkIndex,
    /// The messages, opaque here. 64 to 256 KiB is the size that pays.
    pub data: Vec<u8>,
}

impl ChunkPut {
    /// Its name once `gcn` has written it.
    #[must_use]
    pub fn key(&self, gcn: Gcn) -> ChunkKey {
        ChunkKey { slot: self.slot, priority: self.priority, first_seq: self.first_seq, gcn }
    }
}

/// A shared body to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyPut {
    /// Its name.
    pub id: BodyId,
    /// The body.
    pub data: Vec<u8>,
}

/// One queue's hold on a shared body.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BodyRef {
    /// The body.
    pub id: BodyId,
    /// The queue that needs it.
    pub slot: Slot,
}

/// What one group commit writes, all of it or nothing. The order of the fields is the order in
/// which they take effect.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// Ops of all queues of this group, opaque here; empty when there are none.
    pub record: Vec<u8>,
    /// New chunks, each slot, priority and position at most once.
    pub chunks: Vec<ChunkPut>,
    /// Chunks with nothing left alive. Each was written by an earlier batch and is dropped once.
    pub dropped_chunks: Vec<ChunkKey>,
    /// New checkpoints; the last one of a slot counts.
    pub checkpoints: Vec<(Slot, Vec<u8>)>,
    /// New shared bodies, each with at least one reference in the same batch.
    pub bodies: Vec<BodyPut>,
    /// New references to bodies of this or an earlier batch.
    pub body_refs: Vec<BodyRef>,
    /// References that are no longer needed; a body goes with its last one.
    pub released_refs: Vec<BodyRef>,
    /// Queues that are gone: their checkpoint, chunks and references go.
    pub dropped_slots: Vec<Slot>,
    /// Records up to this one are no longer needed.
    pub retire_upto: Option<Gcn>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record.is_empty()
            && self.chunks.is_empty()
            && self.dropped_chunks.is_empty()
            && self.checkpoints.is_empty()
            && self.bodies.is_empty()
            && self.body_refs.is_empty()
            && self.released_refs.is_empty()
            && self.dropped_slots.is_empty()
            && self.retire_upto.is_none()
    }

    /// Bytes of content, keys and framing apart.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.data.len()).sum();
        let checkpoints: usize = self.checkpoints.iter().map(|(_, state)| state.len()).sum();
        let bodies: usize = self.bodies.iter().map(|body| body.data.len()).sum();
        (self.record.len() + chunks + checkpoints + bodies) as u64
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Gcn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, priority, first_seq, gcn } = self;
        write!(
            f,
            "slot {slot}, priority {priority}, from position {first_seq} (group commit {gcn})"
        )
    }
}
