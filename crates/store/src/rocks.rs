//! The store on disk: RocksDB in a folder of its own, with a format file, a lock and a durable marker
//! beside it. Nothing outside this module and `meta` knows RocksDB. It has no threads but RocksDB's.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::batch::check::check;
use crate::histogram::Recorder;
use crate::{
    Batch, BodyId, ChunkIndex, ChunkKey, Figures, GROUP_BOUNDS_BYTES, Gcn, LATENCY_BOUNDS_MICROS,
    MessageStore, Place, ReadError, SLOT_STEP, SLOW_WRITE, Slot, StoreError, StoreId, failpoint,
    frame, keys,
};

mod backup;
mod before;
mod cause;
mod chunks;
mod collect;
mod columns;
mod db;
mod draft;
mod encode;
mod folder;
mod inspect;
pub(crate) mod marker;
mod open;
mod ref_keys;
mod repair;
#[cfg(test)]
mod tests;
mod walk;
mod window;

pub use backup::{BackupReport, restore};
pub use collect::Collected;
pub use draft::Draft;
pub use inspect::{CheckReport, Damage, check as check_folder};
pub use open::Opened;
pub use repair::{RepairReport, repair};

use chunks::Chunks;
use columns::Column;
use db::{Db, Scan, reading, store_error};
use marker::Marker;
use window::Window;

/// Keys of the default column family.
mod mark {
    pub(super) const FORMAT: &[u8] = b"format";
    pub(super) const ID: &[u8] = b"id";
    pub(super) const RETIRED: &[u8] = b"retired";
    pub(super) const SLOTS: &[u8] = b"slots";
}

/// How a store is opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RocksOptions {
    /// The identity of the store if it is made now; it should be random.
    pub new_id: StoreId,
    /// Size of one memory table of the commit log in bytes; up to six are held, usually four. What is
    /// written and retired within four of them never reaches a table.
    pub log_buffer_bytes: usize,
    /// Size of one memory table of chunks and one of bodies in bytes; up to three of each are held.
    pub data_buffer_bytes: usize,
    /// Bytes of write-ahead log. They are replayed at a start, at 100 to 200 MB/s.
    pub wal_bytes: u64,
    /// Bytes of tables kept in memory: indexes and checkpoints. Chunks do not go through it.
    pub cache_bytes: usize,
}

impl RocksOptions {
    /// The defaults: up to 192 MiB of commit log in memory and 512 MiB of write-ahead log.
    #[must_use]
    pub fn new(new_id: StoreId) -> Self {
        Self {
            new_id,
            log_buffer_bytes: 32 << 20,
            data_buffer_bytes: 32 << 20,
            wal_bytes: 512 << 20,
            cache_bytes: 32 << 20,
        }
    }
}

/// The message store on disk.
pub struct RocksStore {
    id: StoreId,
    folder: PathBuf,
    opened: Opened,
    db: Db,
    writer: Mutex<Writer>,
    marker: Mutex<Marker>,
    written: AtomicU64,
    durable: AtomicU64,
    /// Why nothing is written any more.
    stopped: OnceLock<String>,
    counters: Counters,
    /// Last, so that the folder is free only when the database is closed.
    _lock: folder::Lock,
}

/// What only the writing thread needs. Locked for a write, and for moments by others.
#[derive(Debug)]
struct Writer {
    last: Gcn,
    retired: Gcn,
    next_slot: u64,
    /// Slots below this are reserved on disk.
    slot_mark: u64,
    window: Window,
    chunks: Chunks,
    /// Whether there may be a reference to a body: most stores never have one, and looking walks
    /// what was deleted.
    has_refs: bool,
}

struct Counters {
    writes: AtomicU64,
    written_bytes: AtomicU64,
    slow_writes: AtomicU64,
    slow_write_micros: AtomicU64,
    group_bytes: Recorder,
    sync_micros: Recorder,
}

impl RocksStore {
    /// Opens the store in `folder`, or makes it. Reads and checks the commit log and the chunk index, and
    /// replays the write-ahead log: some seconds after a crash under full load.
    ///
    /// # Errors
    /// `Locked`, `OtherFormat`, `Damaged` (which names the repair command), and the disk's.
    pub fn open(folder: &Path, options: &RocksOptions) -> Result<Self, StoreError> {
        open::open(folder, options)
    }

    /// What opening found.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Where the store is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes everything durable and closes. Dropping does the same but can tell nobody what failed.
    ///
    /// # Errors
    /// As [`MessageStore::sync`].
    pub fn close(self) -> Result<(), StoreError> {
        self.sync().map(|_| ())
    }

    /// Reads everything and checks every checksum, while the store goes on.
    ///
    /// # Errors
    /// The disk's; what is damaged is in the report.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        inspect::inspect(&self.db, Some(Gcn(self.durable.load(Ordering::Acquire))))
    }

    /// Writes old chunks again, about `bytes` of them, when more than half of what chunks take on disk is
    /// garbage: files go only as a whole. Call it now and then; it costs next to nothing when there is nothing to
    /// do. Writes wait for one chunk at a time.
    ///
    /// # Errors
    /// As [`MessageStore::write`].
    pub fn collect(&self, bytes: u64) -> Result<Collected, StoreError> {
        collect::collect(self, bytes)
    }

    /// Makes a copy of the store in `target`, which must not exist, while the store goes on. It holds a
    /// prefix of what was written, at least all that was before the call. Files are linked where `target` is on the
    /// same file system.
    ///
    /// # Errors
    /// `Misuse` when `target` exists, and the disk's; then nothing is left at `target`.
    pub fn backup(&self, target: &Path) -> Result<BackupReport, StoreError> {
        backup::backup(self, target)
    }

    /// Remembers the first failure, after which nothing is written.
    fn stop(&self, error: StoreError) -> StoreError {
        let error = cause::told(error, &self.folder);
        self.stopped.get_or_init(|| error.to_string());
        error
    }

    fn go_on(&self) -> Result<(), StoreError> {
        match self.stopped.get() {
            None => Ok(()),
            Some(first) => Err(StoreError::Stopped { first: first.clone() }),
        }
    }

    fn put(&self, ops: rocksdb::WriteBatch, bytes: u64) -> Result<(), StoreError> {
        let before = now();
        self.db.db.write(ops).map_err(|error| store_error("writing a group commit", &error))?;
        let took = before.elapsed();
        let counters = &self.counters;
        counters.writes.fetch_add(1, Ordering::Relaxed);
        counters.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        counters.group_bytes.add(bytes);
        if took >= SLOW_WRITE {
            counters.slow_writes.fetch_add(1, Ordering::Relaxed);
            counters.slow_write_micros.fetch_add(micros(took), Ordering::Relaxed);
        }
        Ok(())
    }

    fn sync_log(&self) -> Result<(), StoreError> {
        let before = now();
        // Without the sync the tests of power loss have to find something.
        let left_out = failpoint::setting("no-sync").is_some();
        let synced = self.db.db.flush_wal(!left_out);
        synced.map_err(|error| store_error("syncing the log", &error))?;
        self.counters.sync_micros.add(micros(before.elapsed()));
        Ok(())
    }
}

impl MessageStore for RocksStore {
    fn id(&self) -> StoreId {
        self.id
    }

    fn allocate_slot(&self) -> Result<Slot, StoreError> {
        let mut writer = self.writer.lock();
        self.go_on()?;
        if writer.next_slot == writer.slot_mark {
            let mark = writer.slot_mark + SLOT_STEP;
            let mut options = rocksdb::WriteOptions::default();
            options.set_sync(true);
            let column = self.db.handle(Column::Default);
            let put = self.db.db.put_cf_opt(column, mark::SLOTS, mark.to_be_bytes(), &options);
            put.map_err(|error| self.stop(store_error("reserving slots", &error)))?;
            failpoint::pass("after-slots");
            writer.slot_mark = mark;
        }
        let slot = Slot(writer.next_slot);
        writer.next_slot += 1;
        Ok(slot)
    }

    fn write(&self, batch: Batch) -> Result<Gcn, StoreError> {
        let mut writer = self.writer.lock();
        self.go_on()?;
        if batch.is_empty() {
            return Ok(writer.last);
        }
        check(&batch, writer.last)?;
        if !batch.dropped_chunks.iter().all(|key| writer.chunks.contains(key)) {
            return Err(StoreError::Misuse("a chunk is dropped that is not there"));
        }
        let bytes = batch.bytes();
        let encoded = encode::encode(&self.db, &writer, batch);
        let (ops, change) = encoded.map_err(|error| self.stop(error))?;
        failpoint::pass("before-write");
        self.put(ops, bytes).map_err(|error| self.stop(error))?;
        let gcn = change.gcn;
        failpoint::pass("after-write");
        if !change.new_chunks.is_empty() {
            failpoint::pass("after-chunks");
        }
        if change.retire_upto.is_some() {
            failpoint::pass("after-retire");
        }
        writer.take_effect(change);
        self.written.store(gcn.0, Ordering::Release);
        Ok(gcn)
    }

    fn sync(&self) -> Result<Gcn, StoreError> {
        let upto = Gcn(self.written.load(Ordering::Acquire));
        self.go_on()?;
        if self.durable.load(Ordering::Acquire) >= upto.0 {
            // Nothing new, so there is time for the marker.
            self.marker.lock().settle(upto).map_err(|error| self.stop(error))?;
            return Ok(upto);
        }
        self.sync_log().map_err(|error| self.stop(error))?;
        failpoint::pass("after-sync");
        self.durable.fetch_max(upto.0, Ordering::AcqRel);
        self.marker.lock().note(upto, now()).map_err(|error| self.stop(error))?;
        Ok(upto)
    }

    fn read_chunk(&self, key: &ChunkKey) -> Result<Bytes, ReadError> {
        let place = Place::Chunk(*key);
        let name = keys::chunk(key);
        let value = self.db.get(Column::Chunk, &name);
        let value = one(place, Column::Chunk, value)?;
        let (len, _) = frame::open_chunk(place, &name, &value)?;
        Ok(Bytes::copy_from_slice(&value[..len]))
    }

    fn read_record(&self, gcn: Gcn) -> Result<Option<Bytes>, ReadError> {
        let place = Place::Record(gcn);
        let name = gcn.0.to_be_bytes();
        let value = match one(place, Column::Log, self.db.get(Column::Log, &name)) {
            Err(ReadError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let len = frame::open(place, &name, &value)?;
        Ok((len > 0).then(|| Bytes::copy_from_slice(&value[..len])))
    }

    fn read_body(&self, id: &BodyId) -> Result<Bytes, ReadError> {
        let place = Place::Body(*id);
        let value = one(place, Column::Body, self.db.get(Column::Body, &id.0))?;
        let len = frame::open(place, &id.0, &value)?;
        Ok(Bytes::copy_from_slice(&value[..len]))
    }

    fn checkpoints(&self, each: &mut dyn FnMut(Slot, &[u8])) -> Result<(), StoreError> {
        self.db.scan(Column::Checkpoint, (&[], None), &mut |name, value| {
            let (slot, len) = walk::checkpoint(name, value).map_err(whole_store)?;
            each(slot, &value[..len]);
            Ok(Scan::GoOn)
        })
    }

    fn chunk_indexes(
        &self,
        slot: Slot,
        each: &mut dyn FnMut(ChunkKey, ChunkIndex),
    ) -> Result<(), StoreError> {
        let ranges = self.writer.lock().chunks.ranges_of(slot);
        for (first, last) in ranges {
            let end = encode::after(&last);
            let bounds = (first.as_slice(), Some(end.as_slice()));
            self.db.scan(Column::ChunkIndex, bounds, &mut |name, value| {
                let (key, index) = walk::chunk_index(name, value).map_err(whole_store)?;
                each(key, index);
                Ok(Scan::GoOn)
            })?;
        }
        Ok(())
    }

    fn records(&self, each: &mut dyn FnMut(Gcn, &[u8])) -> Result<(), StoreError> {
        let first = self.writer.lock().retired.next().0.to_be_bytes();
        self.db.scan(Column::Log, (&first, None), &mut |name, value| {
            let (gcn, len) = walk::record(name, value).map_err(whole_store)?;
            if len > 0 {
                each(gcn, &value[..len]);
            }
            Ok(Scan::GoOn)
        })
    }

    fn body_refs(&self, slot: Slot, each: &mut dyn FnMut(BodyId)) -> Result<(), StoreError> {
        let (first, end) = encode::refs_of_slot(slot);
        self.db.scan(Column::BodyRef, (&first, Some(&end)), &mut |name, _| {
            let (id, _) = ref_keys::parse_by_slot(name).ok_or_else(encode::odd_ref)?;
            each(id);
            Ok(Scan::GoOn)
        })
    }

    fn figures(&self) -> Figures {
        let counters = &self.counters;
        let sum = |name| columns::COLUMNS.map(|column| self.db.property(column, name)).iter().sum();
        let tables: u64 = sum("rocksdb.live-sst-files-size");
        let blobs: u64 = sum("rocksdb.live-blob-file-size");
        let memory_bytes = sum("rocksdb.size-all-mem-tables");
        let state = |name| self.db.property(Column::Default, name) > 0;
        let writer = self.writer.lock();
        Figures {
            written: writer.last,
            durable: Gcn(self.durable.load(Ordering::Acquire)),
            retired: writer.retired,
            writes: counters.writes.load(Ordering::Relaxed),
            written_bytes: counters.written_bytes.load(Ordering::Relaxed),
            group_bytes: counters.group_bytes.get(),
            sync_micros: counters.sync_micros.get(),
            window_records: writer.window.len(),
            window_bytes: writer.window.bytes(),
            chunks: writer.chunks.count(),
            slow_writes: counters.slow_writes.load(Ordering::Relaxed),
            slow_write_micros: counters.slow_write_micros.load(Ordering::Relaxed),
            writes_stopped: state("rocksdb.is-write-stopped"),
            writes_delayed: state("rocksdb.actual-delayed-write-rate"),
            memory_bytes,
            disk_bytes: tables + blobs,
        }
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        // Two calls: the first makes the log durable, the second the marker. A store that stopped
        // refuses both.
        if self.sync().is_ok() && self.sync().is_err() {
            self.stopped.get_or_init(|| "the durable marker could not be written".to_owned());
        }
        // Closing waits for a running compaction otherwise.
        self.db.db.cancel_all_background_work(true);
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Writer {
    /// What the batch changed, now that it is written.
    fn take_effect(&mut self, change: encode::Change) {
        self.last = change.gcn;
        self.window.push(change.gcn, change.record_bytes);
        change.new_chunks.iter().for_each(|key| self.chunks.add(key));
        change.dropped_chunks.iter().for_each(|key| self.chunks.remove(key));
        change.dropped_slots.iter().for_each(|slot| self.chunks.remove_slot(*slot));
        self.has_refs |= change.has_refs;
        if let Some(upto) = change.retire_upto {
            self.window.retire(upto);
            self.retired = self.retired.max(upto);
        }
    }
}

impl Counters {
    const fn new() -> Self {
        Self {
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            slow_writes: AtomicU64::new(0),
            slow_write_micros: AtomicU64::new(0),
            group_bytes: Recorder::new(&GROUP_BOUNDS_BYTES),
            sync_micros: Recorder::new(&LATENCY_BOUNDS_MICROS),
        }
    }
}

/// The value of one key, where damage concerns that key alone.
fn one<T>(
    place: Place,
    column: Column,
    value: Result<Option<T>, rocksdb::Error>,
) -> Result<T, ReadError> {
    match value {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(ReadError::Missing { place }),
        Err(error) if error.kind() == rocksdb::ErrorKind::Corruption => {
            Err(ReadError::Damaged { place, detail: error.to_string() })
        }
        Err(error) => Err(ReadError::Store(store_error(reading(column), &error))),
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

#[expect(
    clippy::disallowed_methods,
    reason = "how long the disk takes is measured where it is used"
)]
fn now() -> Instant {
    Instant::now()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
