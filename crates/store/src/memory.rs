//! The store in memory: the twin that tests and the simulator use. It keeps what is durable apart
//! from what is only written, so a crash can be asked for, and it seals and checks values as the one on disk
//! does. No disk, no clock; it holds everything in memory, so it is not for data of any size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::batch::check::check;
use crate::histogram::Recorder;
use crate::{
    Batch, BodyId, ChunkIndex, ChunkKey, Figures, GROUP_BOUNDS_BYTES, Gcn, LATENCY_BOUNDS_MICROS,
    MessageStore, Place, ReadError, SLOT_STEP, Slot, StoreError, StoreId, frame, keys,
};

mod state;
#[cfg(test)]
mod tests;

use state::{Sealed, State};

/// A store that ends with its last reference, and can crash before.
#[derive(Debug)]
pub struct MemoryStore {
    id: StoreId,
    inner: Mutex<Inner>,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    group_bytes: Recorder,
    syncs: Recorder,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    /// What reads see.
    current: State,
    /// What survives.
    durable: State,
    /// Written and not synced, oldest first.
    pending: Vec<Sealed>,
    next_slot: u64,
    /// Slots below this may have been handed out; survives a crash.
    slot_mark: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(id: StoreId) -> Self {
        Self::holding(id, Inner::default())
    }

    /// Batches that were written and are not durable.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.inner.lock().pending.len()
    }

    /// What a restart finds after a crash now in which the disk kept the first `kept` of the batches that
    /// were not durable (all, when there are fewer). This store is not changed.
    #[must_use]
    pub fn crash(&self, kept: usize) -> Self {
        let mut inner = self.inner.lock().clone();
        for batch in inner.pending.drain(..).take(kept) {
            inner.durable.apply(&batch);
        }
        inner.current = inner.durable.clone();
        inner.next_slot = inner.slot_mark;
        Self::holding(self.id, inner)
    }

    /// Flips one bit of what is kept at `place`, so that reading it fails; whether there was anything.
    pub fn damage(&self, place: Place) -> bool {
        let mut inner = self.inner.lock();
        inner.durable.damage(place);
        for batch in &mut inner.pending {
            batch.damage(place);
        }
        inner.current.damage(place)
    }

    fn holding(id: StoreId, inner: Inner) -> Self {
        Self {
            id,
            inner: Mutex::new(inner),
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            group_bytes: Recorder::new(&GROUP_BOUNDS_BYTES),
            syncs: Recorder::new(&LATENCY_BOUNDS_MICROS),
        }
    }
}

impl MessageStore for MemoryStore {
    fn id(&self) -> StoreId {
        self.id
    }

    fn allocate_slot(&self) -> Result<Slot, StoreError> {
        let mut inner = self.inner.lock();
        if inner.next_slot == inner.slot_mark {
            inner.slot_mark += SLOT_STEP;
        }
        let slot = Slot(inner.next_slot);
        inner.next_slot += 1;
        Ok(slot)
    }

    fn write(&self, batch: Batch) -> Result<Gcn, StoreError> {
        let mut inner = self.inner.lock();
        if batch.is_empty() {
            return Ok(inner.current.gcn);
        }
        check(&batch, inner.current.gcn)?;
        inner.current.check(&batch)?;
        let gcn = inner.current.gcn.next();
        self.writes.fetch_add(1, Relaxed);
        self.written_bytes.fetch_add(batch.bytes(), Relaxed);
        self.group_bytes.add(batch.bytes());
        let sealed = Sealed::new(batch, gcn);
        inner.current.apply(&sealed);
        inner.pending.push(sealed);
        Ok(gcn)
    }

    fn sync(&self) -> Result<Gcn, StoreError> {
        let mut inner = self.inner.lock();
        if !inner.pending.is_empty() {
            self.syncs.add(0);
        }
        let Inner { durable, pending, .. } = &mut *inner;
        for batch in pending.drain(..) {
            durable.apply(&batch);
        }
        Ok(durable.gcn)
    }

    fn read_chunk(&self, key: &ChunkKey) -> Result<Bytes, ReadError> {
        let place = Place::Chunk(*key);
        let name = keys::chunk(key);
        let value = self.inner.lock().current.chunks.get(&name).cloned();
        let value = value.ok_or(ReadError::Missing { place })?;
        let (len, _) = frame::open_chunk(place, &name, &value)?;
        Ok(value.slice(..len))
    }

    fn read_record(&self, gcn: Gcn) -> Result<Option<Bytes>, ReadError> {
        let value = self.inner.lock().current.log.get(&gcn).cloned();
        let Some(value) = value else { return Ok(None) };
        let len = frame::open(Place::Record(gcn), &gcn.0.to_be_bytes(), &value)?;
        Ok((len > 0).then(|| value.slice(..len)))
    }

    fn read_body(&self, id: &BodyId) -> Result<Bytes, ReadError> {
        let place = Place::Body(*id);
        let value = self.inner.lock().current.bodies.get(id).cloned();
        let value = value.ok_or(ReadError::Missing { place })?;
        let len = frame::open(place, &id.0, &value)?;
        Ok(value.slice(..len))
    }

    fn checkpoints(&self, each: &mut dyn FnMut(Slot, &[u8])) -> Result<(), StoreError> {
        let checkpoints = self.inner.lock().current.checkpoints.clone();
        for (slot, value) in checkpoints {
            let place = Place::Checkpoint(slot);
            let len = frame::open(place, &slot.0.to_be_bytes(), &value).map_err(whole_store)?;
            each(slot, &value[..len]);
        }
        Ok(())
    }

    fn chunk_indexes(
        &self,
        slot: Slot,
        each: &mut dyn FnMut(ChunkKey, ChunkIndex),
    ) -> Result<(), StoreError> {
        let entries = self.inner.lock().current.index_of(slot);
        for (key, value) in entries {
            let place = Place::ChunkIndex(key);
            let index =
                frame::open_index(place, &keys::chunk(&key), &value).map_err(whole_store)?;
            each(key, index);
        }
        Ok(())
    }

    fn records(&self, each: &mut dyn FnMut(Gcn, &[u8])) -> Result<(), StoreError> {
        let log = self.inner.lock().current.log.clone();
        for (gcn, value) in log {
            let place = Place::Record(gcn);
            let len = frame::open(place, &gcn.0.to_be_bytes(), &value).map_err(whole_store)?;
            if len > 0 {
                each(gcn, &value[..len]);
            }
        }
        Ok(())
    }

    fn body_refs(&self, slot: Slot, each: &mut dyn FnMut(BodyId)) -> Result<(), StoreError> {
        let refs = self.inner.lock().current.refs_of(slot);
        refs.into_iter().for_each(each);
        Ok(())
    }

    fn figures(&self) -> Figures {
        let inner = self.inner.lock();
        let state = &inner.current;
        let window_bytes = state.log.values().map(|value| value.len() as u64).sum();
        Figures {
            written: state.gcn,
            durable: inner.durable.gcn,
            retired: state.retired,
            writes: self.writes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            group_bytes: self.group_bytes.get(),
            sync_micros: self.syncs.get(),
            window_records: state.log.len() as u64,
            window_bytes,
            chunks: state.chunks.len() as u64,
            memory_bytes: window_bytes,
            ..Figures::default()
        }
    }
}

/// Damage that cannot be isolated.
fn whole_store(error: ReadError) -> StoreError {
    match error {
        ReadError::Damaged { place, detail } => StoreError::damaged(place, detail),
        ReadError::Missing { place } => StoreError::damaged(place, "it is missing"),
        ReadError::Store(error) => error,
    }
}
