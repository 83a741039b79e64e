//! A store whose disk fails when the test says so.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    Batch, BodyId, ChunkIndex, ChunkKey, Figures, Gcn, MessageStore, ReadError, Slot, StoreError,
    StoreId,
};

/// A kind of call that can fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// [`MessageStore::write`] of a batch with something in it.
    Write,
    /// [`MessageStore::sync`].
    Sync,
    /// [`MessageStore::allocate_slot`].
    AllocateSlot,
    /// [`MessageStore::read_chunk`], [`MessageStore::read_record`] and [`MessageStore::read_body`].
    Read,
}

/// How it fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No room left on the disk.
    DiskFull,
    /// The disk answers with an error.
    Io,
}

/// Another store with faults. A call that fails does not reach the other store; after a failed write, sync or
/// slot everything that writes is refused, as the contract says. Reads fail once and go on.
#[derive(Debug)]
pub struct FailingStore<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Call, how many of them succeed before, and the fault.
    planned: Vec<(Call, u64, Fault)>,
    first: Option<String>,
}

impl<S> FailingStore<S> {
    /// A store without faults so far.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Lets the `nth` call from now on fail; 0 is the next one.
    pub fn fail(&self, call: Call, nth: u64, fault: Fault) {
        self.state.lock().planned.push((call, nth, fault));
    }

    /// The store without the faults: what a restart finds.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn turn(&self, call: Call) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let writes = call != Call::Read;
        if let Some(first) = state.first.as_ref().filter(|_| writes) {
            return Err(StoreError::Stopped { first: first.clone() });
        }
        let mut now = None;
        state.planned.retain_mut(|(planned, left, fault)| {
            let due = *planned == call && *left == 0;
            if due {
                now = Some(*fault);
            } else if *planned == call {
                *left -= 1;
            }
            !due
        });
        let Some(fault) = now else { return Ok(()) };
        let (doing, detail) = ("as the test says", "injected".to_owned());
        let error = match fault {
            Fault::DiskFull => StoreError::DiskFull { doing, detail },
            Fault::Io => StoreError::Io { doing, detail },
        };
        if writes {
            state.first = Some(error.to_string());
        }
        Err(error)
    }
}

impl<S: MessageStore> MessageStore for FailingStore<S> {
    fn id(&self) -> StoreId {
        self.inner.id()
    }

    fn allocate_slot(&self) -> Result<Slot, StoreError> {
        self.turn(Call::AllocateSlot)?;
        self.inner.allocate_slot()
    }

    fn write(&self, batch: Batch) -> Result<Gcn, StoreError> {
        if !batch.is_empty() {
            self.turn(Call::Write)?;
        }
        self.inner.write(batch)
    }

    fn sync(&self) -> Result<Gcn, StoreError> {
        self.turn(Call::Sync)?;
        self.inner.sync()
    }

    fn read_chunk(&self, key: &ChunkKey) -> Result<Bytes, ReadError> {
        self.turn(Call::Read)?;
        self.inner.read_chunk(key)
    }

    fn read_record(&self, gcn: Gcn) -> Result<Option<Bytes>, ReadError> {
        self.turn(Call::Read)?;
        self.inner.read_record(gcn)
    }

    fn read_body(&self, id: &BodyId) -> Result<Bytes, ReadError> {
        self.turn(Call::Read)?;
        self.inner.read_body(id)
    }

    fn checkpoints(&self, each: &mut dyn FnMut(Slot, &[u8])) -> Result<(), StoreError> {
        self.inner.checkpoints(each)
    }

    fn chunk_indexes(
        &self,
        slot: Slot,
        each: &mut dyn FnMut(ChunkKey, ChunkIndex),
    ) -> Result<(), StoreError> {
        self.inner.chunk_indexes(slot, each)
    }

    fn records(&self, each: &mut dyn FnMut(Gcn, &[u8])) -> Result<(), StoreError> {
        self.inner.records(each)
    }

    fn body_refs(&self, slot: Slot, each: &mut dyn FnMut(BodyId)) -> Result<(), StoreError> {
        self.inner.body_refs(slot, each)
    }

    fn figures(&self) -> Figures {
        self.inner.figures()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn one(record: &[u8]) -> Batch {
        Batch { record: record.to_vec(), ..Batch::default() }
    }

    #[test]
    fn the_nth_write_fails_and_leaves_nothing_and_no_write_follows() {
        let store = FailingStore::new(MemoryStore::new(StoreId(1)));
        store.fail(Call::Write, 1, Fault::DiskFull);
        assert_eq!(store.write(one(b"a")), Ok(Gcn(1)));
        assert!(matches!(store.write(one(b"b")), Err(StoreError::DiskFull { .. })));
        assert!(matches!(store.write(one(b"c")), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.sync(), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.allocate_slot(), Err(StoreError::Stopped { .. })));
        assert_eq!(store.read_record(Gcn(1)), Ok(Some(Bytes::from_static(b"a"))));
        assert_eq!(store.inner().figures().written, Gcn(1));
    }

    #[test]
    fn what_a_failed_sync_leaves_is_lost_in_a_crash_at_worst() {
        let store = FailingStore::new(MemoryStore::new(StoreId(1)));
        store.fail(Call::Sync, 0, Fault::Io);
        store.write(one(b"a")).expect("written");
        assert!(matches!(store.sync(), Err(StoreError::Io { .. })));
        assert_eq!(store.inner().crash(0).figures().written, Gcn(0));
        assert_eq!(store.inner().crash(1).figures().written, Gcn(1));
    }

    #[test]
    fn a_failed_read_is_followed_by_one_that_works() {
        let store = FailingStore::new(MemoryStore::new(StoreId(1)));
        store.write(one(b"a")).expect("written");
        store.fail(Call::Read, 0, Fault::Io);
        assert!(matches!(store.read_record(Gcn(1)), Err(ReadError::Store(_))));
        assert!(store.read_record(Gcn(1)).is_ok());
        assert!(store.write(one(b"b")).is_ok());
    }
}
