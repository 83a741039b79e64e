//! A batch as one RocksDB write batch. Keys of records, indexes and references are written once and
//! removed with `SingleDelete`, so that both can vanish when they meet; the others are deleted.

use std::collections::BTreeSet;

use rocksdb::WriteBatch;

use super::columns::Column;
use super::db::{Db, Scan};
use super::ref_keys::{self, REF_KEY};
use super::{Writer, mark};
use crate::keys;
use crate::{Batch, BodyId, BodyPut, BodyRef, ChunkKey, ChunkPut, Gcn, Slot, StoreError, frame};

/// A dropped slot with more chunks than this is removed by range: a range costs every later read a
/// little until the next flush, a key costs once.
const KEYS_BY_HAND: u64 = 256;

/// Room for keys, checksums and lengths in a batch of the usual size; one with more grows once.
const FRAMING: usize = 1024;

/// What a batch changes in memory once it is written.
pub(super) struct Change {
    pub(super) gcn: Gcn,
    pub(super) record_bytes: usize,
    pub(super) new_chunks: Vec<ChunkKey>,
    pub(super) dropped_chunks: Vec<ChunkKey>,
    pub(super) dropped_slots: Vec<Slot>,
    pub(super) retire_upto: Option<Gcn>,
    pub(super) has_refs: bool,
}

pub(super) fn encode(
    db: &Db,
    writer: &Writer,
    batch: Batch,
) -> Result<(WriteBatch, Change), StoreError> {
    let gcn = writer.last.next();
    // At once: growing step by step would copy the record as often as it is written.
    let room = batch.bytes() as usize + FRAMING;
    let mut encoder = Encoder { db, writer, ops: WriteBatch::with_capacity_bytes(room) };
    // Each batch leaves a record, also an empty one: the last key of the log is the last number.
    let record_bytes = encoder.record(gcn, batch.record);
    let new_chunks: Vec<ChunkKey> = batch.chunks.iter().map(|chunk| chunk.key(gcn)).collect();
    batch.chunks.into_iter().for_each(|chunk| encoder.chunk(chunk, gcn));
    batch.dropped_chunks.iter().for_each(|key| encoder.drop_chunk(&keys::chunk(key)));
    for (slot, state) in batch.checkpoints {
        encoder.checkpoint(slot, state);
    }
    batch.bodies.into_iter().for_each(|body| encoder.body(body));
    batch.body_refs.iter().for_each(|held| encoder.body_ref(*held));
    let mut released: BTreeSet<BodyRef> = batch.released_refs.iter().copied().collect();
    for slot in &batch.dropped_slots {
        encoder.drop_slot(*slot, &new_chunks, &batch.dropped_chunks);
        released.extend(encoder.refs_of(*slot, &batch.body_refs)?);
    }
    encoder.release(&released, &batch.body_refs)?;
    if let Some(upto) = batch.retire_upto {
        encoder.retire(upto);
    }
    let change = Change {
        gcn,
        record_bytes,
        new_chunks,
        dropped_chunks: batch.dropped_chunks,
        dropped_slots: batch.dropped_slots,
        retire_upto: batch.retire_upto,
        has_refs: !batch.body_refs.is_empty(),
    };
    Ok((encoder.ops, change))
}

struct Encoder<'a> {
    db: &'a Db,
    writer: &'a Writer,
    ops: WriteBatch,
}

impl Encoder<'_> {
    fn put(&mut self, column: Column, key: &[u8], value: &[u8]) {
        self.ops.put_cf(self.db.handle(column), key, value);
    }

    fn single_delete(&mut self, column: Column, key: &[u8]) {
        self.ops.single_delete_cf(self.db.handle(column), key);
    }

    /// For what may be written again under its key, as collecting does.
    fn delete(&mut self, column: Column, key: &[u8]) {
        self.ops.delete_cf(self.db.handle(column), key);
    }

    fn record(&mut self, gcn: Gcn, mut record: Vec<u8>) -> usize {
        let name = gcn.0.to_be_bytes();
        frame::seal(&name, &mut record);
        self.put(Column::Log, &name, &record);
        record.len()
    }

    fn chunk(&mut self, mut chunk: ChunkPut, gcn: Gcn) {
        let name = keys::chunk(&chunk.key(gcn));
        frame::seal_chunk(&name, &chunk.index, &mut chunk.data);
        self.put(Column::Chunk, &name, &chunk.data);
        self.put(Column::ChunkIndex, &name, &frame::seal_index(&name, &chunk.index));
    }

    fn drop_chunk(&mut self, name: &[u8]) {
        self.delete(Column::Chunk, name);
        self.single_delete(Column::ChunkIndex, name);
    }

    fn checkpoint(&mut self, slot: Slot, mut state: Vec<u8>) {
        let name = slot.0.to_be_bytes();
        frame::seal(&name, &mut state);
        self.put(Column::Checkpoint, &name, &state);
    }

    fn body(&mut self, mut body: BodyPut) {
        frame::seal(&body.id.0, &mut body.data);
        self.put(Column::Body, &body.id.0, &body.data);
    }

    fn body_ref(&mut self, held: BodyRef) {
        self.put(Column::BodyRef, &ref_keys::by_body(held.id, held.slot), &[]);
        self.put(Column::BodyRef, &ref_keys::by_slot(held.id, held.slot), &[]);
    }

    /// Removes checkpoint and chunks of a slot; `new` and `dropped` are those of the same batch.
    fn drop_slot(&mut self, slot: Slot, new: &[ChunkKey], dropped: &[ChunkKey]) {
        self.delete(Column::Checkpoint, &slot.0.to_be_bytes());
        let new = new.iter().filter(|key| key.slot == slot);
        new.for_each(|key| self.drop_chunk(&keys::chunk(key)));
        let chunks = &self.writer.chunks;
        if chunks.count_of(slot) <= KEYS_BY_HAND {
            let left = chunks.keys_of(slot).filter(|key| !dropped.contains(key));
            left.for_each(|key| self.drop_chunk(&keys::chunk(&key)));
            return;
        }
        for (first, last) in chunks.ranges_of(slot) {
            let end = after(&last);
            for column in [Column::Chunk, Column::ChunkIndex] {
                self.ops.delete_range_cf(self.db.handle(column), first.as_slice(), end.as_slice());
            }
        }
    }

    /// What a slot refers to: in the database, and in the same batch.
    fn refs_of(&self, slot: Slot, new: &[BodyRef]) -> Result<Vec<BodyRef>, StoreError> {
        let mut refs: Vec<BodyRef> = new.iter().filter(|held| held.slot == slot).copied().collect();
        if self.writer.has_refs {
            let (first, end) = refs_of_slot(slot);
            self.db.scan(Column::BodyRef, (&first, Some(&end)), &mut |name, _| {
                let (id, slot) = ref_keys::parse_by_slot(name).ok_or_else(odd_ref)?;
                refs.push(BodyRef { id, slot });
                Ok(Scan::GoOn)
            })?;
        }
        Ok(refs)
    }

    /// Removes references, and the bodies nobody refers to any more.
    fn release(&mut self, released: &BTreeSet<BodyRef>, new: &[BodyRef]) -> Result<(), StoreError> {
        for gone in released {
            self.single_delete(Column::BodyRef, &ref_keys::by_body(gone.id, gone.slot));
            self.single_delete(Column::BodyRef, &ref_keys::by_slot(gone.id, gone.slot));
        }
        // By body, since the set is ordered so.
        let mut bodies: Vec<BodyId> = released.iter().map(|gone| gone.id).collect();
        bodies.dedup();
        for id in bodies {
            let kept = |held: &BodyRef| held.id == id && !released.contains(held);
            if !new.iter().any(kept) && !self.is_held(id, released)? {
                self.delete(Column::Body, &id.0);
            }
        }
        Ok(())
    }

    fn is_held(&self, id: BodyId, released: &BTreeSet<BodyRef>) -> Result<bool, StoreError> {
        let first = ref_keys::by_body(id, Slot(0));
        let end = after(&ref_keys::by_body(id, Slot(u64::MAX)));
        let mut held = false;
        self.db.scan(Column::BodyRef, (&first, Some(&end)), &mut |name, _| {
            let (id, slot) = ref_keys::parse_by_body(name).ok_or_else(odd_ref)?;
            held = !released.contains(&BodyRef { id, slot });
            Ok(if held { Scan::Stop } else { Scan::GoOn })
        })?;
        Ok(held)
    }

    fn retire(&mut self, upto: Gcn) {
        let (db, ops) = (self.db, &mut self.ops);
        for gcn in self.writer.window.upto(upto) {
            ops.single_delete_cf(db.handle(Column::Log), gcn.0.to_be_bytes());
        }
        let retired = upto.max(self.writer.retired);
        self.put(Column::Default, mark::RETIRED, &retired.0.to_be_bytes());
    }
}

/// The first key after `key`.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    let mut after = key.to_vec();
    after.push(0);
    after
}

/// The bounds of a slot's references.
pub(super) fn refs_of_slot(slot: Slot) -> ([u8; REF_KEY], Vec<u8>) {
    let end = after(&ref_keys::by_slot(BodyId([0xff; 16]), slot));
    (ref_keys::by_slot(BodyId([0; 16]), slot), end)
}

pub(super) fn odd_ref() -> StoreError {
    StoreError::damaged("a reference to a shared body", "its key has another form")
}
