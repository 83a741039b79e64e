//! What a memory store holds at one moment, and how a batch changes it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::keys::CHUNK_KEY;
use crate::{Batch, BodyId, BodyRef, ChunkKey, Gcn, Place, Slot, StoreError, frame, keys};

type ChunkName = [u8; CHUNK_KEY];

/// Values are sealed, as they are on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) gcn: Gcn,
    pub(super) retired: Gcn,
    pub(super) log: BTreeMap<Gcn, Bytes>,
    pub(super) chunks: BTreeMap<ChunkName, Bytes>,
    pub(super) index: BTreeMap<ChunkName, Bytes>,
    pub(super) checkpoints: BTreeMap<Slot, Bytes>,
    pub(super) bodies: BTreeMap<BodyId, Bytes>,
    by_body: BTreeSet<(BodyId, Slot)>,
    by_slot: BTreeSet<(Slot, BodyId)>,
}

/// A batch as it is applied, first to what is seen and later to what is durable.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    gcn: Gcn,
    record: Bytes,
    chunks: Vec<(ChunkName, Bytes, Bytes)>,
    dropped_chunks: Vec<ChunkName>,
    checkpoints: Vec<(Slot, Bytes)>,
    bodies: Vec<(BodyId, Bytes)>,
    body_refs: Vec<BodyRef>,
    released_refs: Vec<BodyRef>,
    dropped_slots: Vec<Slot>,
    retire_upto: Option<Gcn>,
}

impl Sealed {
    pub(super) fn new(batch: Batch, gcn: Gcn) -> Self {
        let chunks = batch.chunks.into_iter().map(|mut chunk| {
            let name = keys::chunk(&chunk.key(gcn));
            let index = frame::seal_index(&name, &chunk.index);
            frame::seal_chunk(&name, &chunk.index, &mut chunk.data);
            (name, chunk.data.into(), index.into())
        });
        let checkpoints = batch.checkpoints.into_iter();
        let bodies = batch.bodies.into_iter();
        Self {
            gcn,
            record: sealed(&gcn.0.to_be_bytes(), batch.record),
            chunks: chunks.collect(),
            dropped_chunks: batch.dropped_chunks.iter().map(keys::chunk).collect(),
            checkpoints: checkpoints
                .map(|(slot, state)| (slot, sealed(&slot.0.to_be_bytes(), state)))
                .collect(),
            bodies: bodies.map(|body| (body.id, sealed(&body.id.0, body.data))).collect(),
            body_refs: batch.body_refs,
            released_refs: batch.released_refs,
            dropped_slots: batch.dropped_slots,
            retire_upto: batch.retire_upto,
        }
    }

    pub(super) fn damage(&mut self, place: Place) {
        match place {
            Place::Record(gcn) if gcn == self.gcn => flip(&mut self.record),
            Place::Record(_) => {}
            Place::Checkpoint(wanted) => {
                let found = self.checkpoints.iter_mut().filter(|(slot, _)| *slot == wanted);
                found.for_each(|(_, value)| flip(value));
            }
            Place::Chunk(key) => {
                let found = self.chunks.iter_mut().filter(|(name, ..)| *name == keys::chunk(&key));
                found.for_each(|(_, data, _)| flip(data));
            }
            Place::ChunkIndex(key) => {
                let found = self.chunks.iter_mut().filter(|(name, ..)| *name == keys::chunk(&key));
                found.for_each(|(.., index)| flip(index));
            }
            Place::Body(wanted) => {
                let found = self.bodies.iter_mut().filter(|(id, _)| *id == wanted);
                found.for_each(|(_, value)| flip(value));
            }
        }
    }
}

impl State {
    /// Refuses what only this implementation can see cheaply: dropping or releasing what is not there,
    /// or referring twice.
    pub(super) fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        if !batch.dropped_chunks.iter().all(|key| self.chunks.contains_key(&keys::chunk(key))) {
            return Err(StoreError::Misuse("a chunk is dropped that is not there"));
        }
        if batch.body_refs.iter().any(|held| self.by_body.contains(&(held.id, held.slot))) {
            return Err(StoreError::Misuse("a slot refers twice to one body"));
        }
        let held =
            |r: &BodyRef| self.by_body.contains(&(r.id, r.slot)) || batch.body_refs.contains(r);
        if !batch.released_refs.iter().all(held) {
            return Err(StoreError::Misuse("a reference is released that is not there"));
        }
        let known = |id| self.bodies.contains_key(&id) || batch.bodies.iter().any(|b| b.id == id);
        if !batch.body_refs.iter().all(|body_ref| known(body_ref.id)) {
            return Err(StoreError::Misuse("a slot refers to a body that is not there"));
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, batch: &Sealed) {
        self.gcn = batch.gcn;
        self.log.insert(batch.gcn, batch.record.clone());
        for (name, data, index) in &batch.chunks {
            self.chunks.insert(*name, data.clone());
            self.index.insert(*name, index.clone());
        }
        for name in &batch.dropped_chunks {
            self.drop_chunk(name);
        }
        self.checkpoints.extend(batch.checkpoints.iter().cloned());
        self.bodies.extend(batch.bodies.iter().cloned());
        for held in &batch.body_refs {
            self.by_body.insert((held.id, held.slot));
            self.by_slot.insert((held.slot, held.id));
        }
        for released in &batch.released_refs {
            self.release(*released);
        }
        for slot in &batch.dropped_slots {
            self.drop_slot(*slot);
        }
        if let Some(upto) = batch.retire_upto {
            self.log = self.log.split_off(&upto.next());
            self.retired = self.retired.max(upto);
        }
    }

    pub(super) fn index_of(&self, slot: Slot) -> Vec<(ChunkKey, Bytes)> {
        let entries = self.index.range(first_of(slot)..=last_of(slot));
        entries
            .filter_map(|(name, value)| Some((keys::parse_chunk(name)?, value.clone())))
            .collect()
    }

    pub(super) fn refs_of(&self, slot: Slot) -> Vec<BodyId> {
        let (first, last) = (BodyId([0; 16]), BodyId([0xff; 16]));
        self.by_slot.range((slot, first)..=(slot, last)).map(|(_, id)| *id).collect()
    }

    pub(super) fn damage(&mut self, place: Place) -> bool {
        let value = match place {
            Place::Record(gcn) => self.log.get_mut(&gcn),
            Place::Checkpoint(slot) => self.checkpoints.get_mut(&slot),
            Place::Chunk(key) => self.chunks.get_mut(&keys::chunk(&key)),
            Place::ChunkIndex(key) => self.index.get_mut(&keys::chunk(&key)),
            Place::Body(id) => self.bodies.get_mut(&id),
        };
        value.map(flip).is_some()
    }

    fn drop_chunk(&mut self, name: &ChunkName) {
        self.chunks.remove(name);
        self.index.remove(name);
    }

    fn release(&mut self, released: BodyRef) {
        self.by_body.remove(&(released.id, released.slot));
        self.by_slot.remove(&(released.slot, released.id));
        let of_body = (released.id, Slot(0))..=(released.id, Slot(u64::MAX));
        if self.by_body.range(of_body).next().is_none() {
            self.bodies.remove(&released.id);
        }
    }

    fn drop_slot(&mut self, slot: Slot) {
        self.checkpoints.remove(&slot);
        let names = self.chunks.range(first_of(slot)..=last_of(slot));
        for name in names.map(|(name, _)| *name).collect::<Vec<_>>() {
            self.drop_chunk(&name);
        }
        for id in self.refs_of(slot) {
            self.release(BodyRef { id, slot });
        }
    }
}

fn sealed(key: &[u8], mut value: Vec<u8>) -> Bytes {
    frame::seal(key, &mut value);
    value.into()
}

fn first_of(slot: Slot) -> ChunkName {
    keys::chunk(&ChunkKey { slot, priority: 255, first_seq: 0, gcn: Gcn(0) })
}

fn last_of(slot: Slot) -> ChunkName {
    keys::chunk(&ChunkKey { slot, priority: 0, first_seq: u64::MAX, gcn: Gcn(u64::MAX) })
}

fn flip(value: &mut Bytes) {
    let mut flipped = value.to_vec();
    if let Some(byte) = flipped.first_mut() {
        *byte ^= 1;
    }
    *value = flipped.into();
}
