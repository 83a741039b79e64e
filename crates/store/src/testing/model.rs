//! What a store must hold after some batches, worked out in the plainest way, and the comparison.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Batch, BodyId, BodyRef, ChunkIndex, ChunkKey, Gcn, MessageStore, ReadError, Slot};

/// The expected content of a store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Model {
    pub(super) gcn: Gcn,
    pub(super) retired: Gcn,
    pub(super) records: BTreeMap<Gcn, Vec<u8>>,
    pub(super) chunks: BTreeMap<ChunkKey, (ChunkIndex, Vec<u8>)>,
    pub(super) checkpoints: BTreeMap<Slot, Vec<u8>>,
    pub(super) bodies: BTreeMap<BodyId, Vec<u8>>,
    pub(super) refs: BTreeSet<BodyRef>,
    /// Everything that was ever named, to see that what is gone is gone.
    slots: BTreeSet<Slot>,
    past_chunks: BTreeSet<ChunkKey>,
    past_bodies: BTreeSet<BodyId>,
}

impl Model {
    /// Takes one more batch into account.
    pub fn apply(&mut self, batch: &Batch) {
        self.gcn = self.gcn.next();
        self.records.insert(self.gcn, batch.record.clone());
        for chunk in &batch.chunks {
            let key = chunk.key(self.gcn);
            self.slots.insert(chunk.slot);
            self.past_chunks.insert(key);
            self.chunks.insert(key, (chunk.index, chunk.data.clone()));
        }
        self.chunks.retain(|key, _| !batch.dropped_chunks.contains(key));
        for (slot, state) in &batch.checkpoints {
            self.slots.insert(*slot);
            self.checkpoints.insert(*slot, state.clone());
        }
        for body in &batch.bodies {
            self.past_bodies.insert(body.id);
            self.bodies.insert(body.id, body.data.clone());
        }
        self.refs.extend(&batch.body_refs);
        let gone = |slot| batch.dropped_slots.contains(&slot);
        self.refs.retain(|held| !batch.released_refs.contains(held) && !gone(held.slot));
        self.bodies.retain(|id, _| self.refs.iter().any(|held| held.id == *id));
        self.chunks.retain(|key, _| !gone(key.slot));
        self.checkpoints.retain(|slot, _| !gone(*slot));
        if let Some(upto) = batch.retire_upto {
            self.records.retain(|gcn, _| *gcn > upto);
            self.retired = self.retired.max(upto);
        }
    }

    /// Compares everything a store can be asked.
    ///
    /// # Panics
    /// Where the store answers something else.
    pub fn assert_held_by(&self, store: &dyn MessageStore) {
        let figures = store.figures();
        assert_eq!(figures.written, self.gcn, "the last number");
        assert_eq!(figures.retired, self.retired, "the last retired record");
        assert_eq!(figures.chunks, self.chunks.len() as u64, "the number of chunks");
        assert_eq!(figures.window_records, self.records.len() as u64, "the number of records");
        self.assert_records(store);
        self.assert_chunks(store);
        self.assert_bodies(store);
        let mut checkpoints = Vec::new();
        let shown = store.checkpoints(&mut |slot, state| checkpoints.push((slot, state.to_vec())));
        shown.expect("checkpoints can be read");
        let expected: Vec<_> = self.checkpoints.clone().into_iter().collect();
        assert_eq!(checkpoints, expected, "the checkpoints");
    }

    fn assert_records(&self, store: &dyn MessageStore) {
        let mut shown = Vec::new();
        let read = store.records(&mut |gcn, record| shown.push((gcn, record.to_vec())));
        read.expect("records can be read");
        let with_content = self.records.iter().filter(|(_, record)| !record.is_empty());
        let expected: Vec<_> = with_content.map(|(gcn, record)| (*gcn, record.clone())).collect();
        assert_eq!(shown, expected, "the records");
        for gcn in (0..=self.gcn.0 + 1).map(Gcn) {
            let record = store.read_record(gcn).expect("a record can be read");
            let expected = self.records.get(&gcn).filter(|record| !record.is_empty());
            assert_eq!(record.as_deref(), expected.map(Vec::as_slice), "record {gcn}");
        }
    }

    fn assert_chunks(&self, store: &dyn MessageStore) {
        for slot in &self.slots {
            let mut shown = Vec::new();
            let read = store.chunk_indexes(*slot, &mut |key, index| shown.push((key, index)));
            read.expect("chunk indexes can be read");
            let of_slot = self.chunks.iter().filter(|(key, _)| key.slot == *slot);
            let mut expected: Vec<_> = of_slot.map(|(key, (index, _))| (*key, *index)).collect();
            expected.sort_by_key(|(key, _)| (255 - key.priority, key.first_seq, key.gcn));
            assert_eq!(shown, expected, "the chunks of slot {slot}");
        }
        for key in &self.past_chunks {
            match (store.read_chunk(key), self.chunks.get(key)) {
                (Ok(data), Some((_, expected))) => assert_eq!(data, expected, "chunk {key}"),
                (Err(ReadError::Missing { .. }), None) => {}
                (got, expected) => panic!("chunk {key}: {got:?} instead of {expected:?}"),
            }
        }
    }

    fn assert_bodies(&self, store: &dyn MessageStore) {
        for id in &self.past_bodies {
            match (store.read_body(id), self.bodies.get(id)) {
                (Ok(data), Some(expected)) => assert_eq!(data, expected, "body {id}"),
                (Err(ReadError::Missing { .. }), None) => {}
                (got, expected) => panic!("body {id}: {got:?} instead of {expected:?}"),
            }
        }
        for slot in &self.slots {
            let mut shown = BTreeSet::new();
            let read = store.body_refs(*slot, &mut |id| assert!(shown.insert(id), "{id} twice"));
            read.expect("references can be read");
            let of_slot = self.refs.iter().filter(|held| held.slot == *slot);
            assert_eq!(shown, of_slot.map(|held| held.id).collect(), "references of slot {slot}");
        }
    }
}
