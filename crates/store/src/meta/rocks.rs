//! The store on disk: a small RocksDB with a column family for each kind of thing.
//!
//! | family | key | value |
//! |---|---|---|
//! | `log` | index, 8 bytes big endian | checksum, entry |
//! | `state` | a name | checksum, value |
//! | `snapshot` | number of the snapshot and of the part, 8 + 4 bytes big endian | checksum, part |
//! | `default` | `format` | 4 bytes little endian |
//!
//! RocksDB has checksums of its own; ours also cover the way from there to the reader, and the key.
//! A marker beside it says how far it was synced, so that a log that ends where power failed is told from
//! one that lost what was answered.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction, ErrorKind, IteratorMode,
    Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{MetaError, MetaKey, MetaSnapshot, MetaStore};
use crate::rocks::marker::Marker;
use crate::{Gcn, StoreError, failpoint};

/// The format of this file's tables.
const FORMAT: u32 = 1;

const LOG: &str = "log";
const STATE: &str = "state";
const SNAPSHOT: &str = "snapshot";
const FORMAT_KEY: &[u8] = b"format";
const STARTS_KEY: &[u8] = b"starts";
const SNAPSHOT_KEY: &[u8] = b"snapshot";

/// Bytes of one part of a snapshot: large enough to cost little, small enough for a block of RocksDB.
const PART_BYTES: usize = 256 << 10;

/// Bytes that a column family gathers in memory before it writes a table. The whole log is little more
/// than this between two snapshots.
const MEMTABLE_BYTES: usize = 2 << 20;

/// Bytes of write-ahead log; beyond it families that are rarely written are flushed, so that old log
/// files can go.
const WAL_BYTES_MAX: u64 = 16 << 20;

/// Synced writes after which the marker is brought up to date: as many at the very end of the log could go
/// unnoticed by it (RocksDB's own checksums still see damage). The marker is one more write to disk.
const MARK_EVERY: u32 = 16;

/// Bytes of checksum before every value.
const CHECKSUM_BYTES: usize = 4;

/// A store in a directory.
pub struct RocksMeta {
    db: DB,
    path: PathBuf,
    starts: u64,
    mark: Mutex<Mark>,
}

/// How far the store was synced, as numbers that RocksDB gives to writes.
struct Mark {
    marker: Marker,
    /// Synced writes that the marker does not know of.
    unmarked: u32,
}

impl RocksMeta {
    /// Opens the store in `path`, or makes it.
    ///
    /// # Errors
    /// When the directory cannot be used, its content is damaged or of another format.
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let options = database_options();
        let family = |name: &str| ColumnFamilyDescriptor::new(name, family_options());
        let families = [LOG, STATE, SNAPSHOT].map(family);
        std::fs::create_dir_all(path).map_err(|error| io(path, &error))?;
        let said = Marker::read(path).map_err(|error| of_marker(path, &error))?;
        let db = DB::open_cf_descriptors(&options, path, families)
            .map_err(|error| translate(path, &error))?;
        // What is read again has been written to tables by now, and those are synced.
        let reached = Gcn(db.latest_sequence_number());
        if said.is_some_and(|said| reached < said) {
            return Err(MetaError::Short { path: path.to_owned() });
        }
        let marker = Marker::open(path, reached).map_err(|error| of_marker(path, &error))?;
        let mark = Mutex::new(Mark { marker, unmarked: 0 });
        let mut meta = Self { db, path: path.to_owned(), starts: 0, mark };
        meta.check_format()?;
        meta.starts = meta.count_start()?;
        Ok(meta)
    }

    /// Makes a copy in `target`, which must not exist, of what is here now, while others read and write. A
    /// store is opened from the copy as from any folder.
    ///
    /// # Errors
    /// When the disk refuses. What was begun is then left for the caller to remove.
    pub fn backup(&self, target: &Path) -> Result<(), MetaError> {
        // Nothing is synced meanwhile, so the copy has at least what the marker says.
        let _mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = Gcn(self.db.latest_sequence_number());
        let copied = Checkpoint::new(&self.db).and_then(|c| c.create_checkpoint(target));
        self.failed(copied)?;
        Marker::open(target, reached).map_err(|error| of_marker(target, &error))?;
        Ok(())
    }

    fn check_format(&self) -> Result<(), MetaError> {
        match self.failed(self.db.get(FORMAT_KEY))? {
            None => {
                let mut batch = WriteBatch::default();
                batch.put(FORMAT_KEY, FORMAT.to_le_bytes());
                self.write_synced(batch)
            }
            Some(bytes) => {
                let found = bytes.try_into().map(u32::from_le_bytes);
                let found = found.map_err(|_| self.damaged("the format is no number"))?;
                if found == FORMAT {
                    return Ok(());
                }
                Err(MetaError::Format { path: self.path.clone(), found, known: FORMAT })
            }
        }
    }

    #[cfg(test)]
    pub(super) fn set_format(&self, format: u32) {
        self.db.put(FORMAT_KEY, format.to_le_bytes()).unwrap();
    }

    fn count_start(&self) -> Result<u64, MetaError> {
        let before = match self.read_state(STARTS_KEY)? {
            None => 0,
            Some(bytes) => {
                let number = bytes.try_into().map(u64::from_le_bytes);
                number.map_err(|_| self.damaged("the number of starts is none"))?
            }
        };
        self.write_state(STARTS_KEY, &(before + 1).to_le_bytes())?;
        Ok(before + 1)
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily, MetaError> {
        self.db.cf_handle(name).ok_or_else(|| self.damaged(&format!("{name} is missing")))
    }

    fn read_state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let found = self.failed(self.db.get_cf(self.family(STATE)?, key))?;
        found.map(|bytes| self.checked(key, bytes)).transpose()
    }

    fn write_state(&self, key: &[u8], value: &[u8]) -> Result<(), MetaError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(STATE)?, key, with_checksum(key, value));
        self.write_synced(batch)
    }

    /// Writes what the next synced write makes durable.
    fn write(&self, batch: WriteBatch) -> Result<(), MetaError> {
        self.failed(self.db.write_opt(batch, &WriteOptions::default()))
    }

    /// Writes, and waits until it and everything before it is on the platter.
    fn write_synced(&self, batch: WriteBatch) -> Result<(), MetaError> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.failed(self.db.write_opt(batch, &options))?;
        failpoint::pass("after-meta");
        mark.unmarked += 1;
        if mark.unmarked < MARK_EVERY {
            return Ok(());
        }
        mark.unmarked = 0;
        let reached = Gcn(self.db.latest_sequence_number());
        mark.marker.settle(reached).map_err(|error| of_marker(&self.path, &error))
    }

    /// The value behind its checksum.
    fn checked(&self, key: &[u8], mut value: Vec<u8>) -> Result<Vec<u8>, MetaError> {
        let (sum, bytes) = value.split_first_chunk().ok_or_else(|| self.damaged_at(key))?;
        if u32::from_le_bytes(*sum) != checksum(key, bytes) {
            return Err(self.damaged_at(key));
        }
        value.drain(..CHECKSUM_BYTES);
        Ok(value)
    }

    fn damaged_at(&self, key: &[u8]) -> MetaError {
        self.damaged(&format!("the checksum of {} is wrong", key.escape_ascii()))
    }

    fn damaged(&self, what: &str) -> MetaError {
        MetaError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }

    fn failed<T>(&self, result: Result<T, rocksdb::Error>) -> Result<T, MetaError> {
        result.map_err(|error| translate(&self.path, &error))
    }

    /// The number of the newest snapshot, of its parts, and its header.
    fn snapshot_entry(&self) -> Result<Option<(u64, u32, Vec<u8>)>, MetaError> {
        let Some(bytes) = self.read_state(SNAPSHOT_KEY)? else { return Ok(None) };
        let split = bytes.split_first_chunk::<8>().and_then(|(number, rest)| {
            let (parts, header) = rest.split_first_chunk::<4>()?;
            Some((u64::from_le_bytes(*number), u32::from_le_bytes(*parts), header.to_vec()))
        });
        split.map(Some).ok_or_else(|| self.damaged("the entry of the snapshot is too short"))
    }
}

impl MetaStore for RocksMeta {
    fn append(&self, first: u64, entries: &[&[u8]]) -> Result<(), MetaError> {
        let (log, mut batch) = (self.family(LOG)?, WriteBatch::default());
        for (index, entry) in (first..).zip(entries) {
            let key = index.to_be_bytes();
            batch.put_cf(log, key, with_checksum(&key, entry));
        }
        self.write_synced(batch)
    }

    fn truncate(&self, from: u64) -> Result<(), MetaError> {
        let (log, mut batch) = (self.family(LOG)?, WriteBatch::default());
        batch.delete_range_cf(log, from.to_be_bytes(), u64::MAX.to_be_bytes());
        self.write(batch)
    }

    fn purge(&self, upto: u64, mark: &[u8]) -> Result<(), MetaError> {
        let (log, state, mut batch) =
            (self.family(LOG)?, self.family(STATE)?, WriteBatch::default());
        let key = name(MetaKey::Purged);
        batch.put_cf(state, key, with_checksum(key, mark));
        batch.delete_range_cf(log, 0_u64.to_be_bytes(), upto.saturating_add(1).to_be_bytes());
        self.write(batch)
    }

    fn read(&self, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, MetaError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(until.to_be_bytes());
        options.set_iterate_lower_bound(from.to_be_bytes());
        let (log, start) = (self.family(LOG)?, from.to_be_bytes());
        let mode = IteratorMode::From(&start, Direction::Forward);
        let entries = self.db.iterator_cf_opt(log, options, mode);
        entries.map(|entry| self.log_entry(self.failed(entry)?)).collect()
    }

    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, MetaError> {
        let mut entries = self.db.iterator_cf(self.family(LOG)?, IteratorMode::End);
        entries.next().map(|entry| self.log_entry(self.failed(entry)?)).transpose()
    }

    fn put(&self, key: MetaKey, value: &[u8]) -> Result<(), MetaError> {
        self.write_state(name(key), value)
    }

    fn get(&self, key: MetaKey) -> Result<Option<Vec<u8>>, MetaError> {
        self.read_state(name(key))
    }

    fn put_snapshot(&self, snapshot: &MetaSnapshot) -> Result<(), MetaError> {
        let number = self.snapshot_entry()?.map_or(1, |(number, ..)| number + 1);
        let family = self.family(SNAPSHOT)?;
        let mut n_parts: u32 = 0;
        for part in snapshot.data.chunks(PART_BYTES) {
            let key = part_key(number, n_parts);
            self.failed(self.db.put_cf(family, key, with_checksum(&key, part)))?;
            n_parts += 1;
        }
        let entry = [&number.to_le_bytes()[..], &n_parts.to_le_bytes(), &snapshot.header].concat();
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(STATE)?, SNAPSHOT_KEY, with_checksum(SNAPSHOT_KEY, &entry));
        batch.delete_range_cf(family, part_key(0, 0), part_key(number, 0));
        // The write-ahead log is one: what is synced here has the parts before it.
        self.write_synced(batch)
    }

    fn snapshot(&self) -> Result<Option<MetaSnapshot>, MetaError> {
        let Some((number, n_parts, header)) = self.snapshot_entry()? else { return Ok(None) };
        let (family, mut data) = (self.family(SNAPSHOT)?, Vec::new());
        for part in 0..n_parts {
            let key = part_key(number, part);
            let bytes = self.failed(self.db.get_cf(family, key))?;
            let bytes = bytes.ok_or_else(|| self.damaged("a part of the snapshot is missing"))?;
            data.extend(self.checked(&key, bytes)?);
        }
        Ok(Some(MetaSnapshot { header, data }))
    }

    fn starts(&self) -> u64 {
        self.starts
    }
}

impl RocksMeta {
    fn log_entry(&self, (key, value): (Box<[u8]>, Box<[u8]>)) -> Result<(u64, Vec<u8>), MetaError> {
        let index = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes);
        let index = index.map_err(|_| self.damaged_at(&key))?;
        Ok((index, self.checked(&key, value.into_vec())?))
    }
}

impl Drop for RocksMeta {
    fn drop(&mut self) {
        let mark = self.mark.get_mut().unwrap_or_else(PoisonError::into_inner);
        let reached = Gcn(self.db.latest_sequence_number());
        if self.db.flush_wal(true).is_ok() {
            // The marker may lag; that is what it is for.
            let _ = mark.marker.settle(reached);
        }
    }
}

impl std::fmt::Debug for RocksMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksMeta").field("path", &self.path).finish_non_exhaustive()
    }
}

const fn name(key: MetaKey) -> &'static [u8] {
    match key {
        MetaKey::Vote => b"vote",
        MetaKey::Purged => b"purged",
    }
}

fn part_key(number: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn with_checksum(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKSUM_BYTES + value.len());
    out.extend(checksum(key, value).to_le_bytes());
    out.extend(value);
    out
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    // What is read is a prefix: the disk may have written the pages of an unsynced end in any order.
    // Whether the prefix is long enough, the marker says.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    // A flush is all there ever is to do.
    options.set_max_background_jobs(1);
    options.set_paranoid_checks(true);
    // RocksDB's own notes: little of it, and none of its periodic figures.
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(2);
    // Names and commands are text; the figures are small either way.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options
}

fn io(path: &Path, error: &std::io::Error) -> MetaError {
    MetaError::Io { path: path.to_owned(), reason: error.to_string() }
}

fn of_marker(path: &Path, error: &StoreError) -> MetaError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error {
        StoreError::DiskFull { .. } => MetaError::Full { path, reason },
        _ => MetaError::Io { path, reason },
    }
}

/// Whose fault it is, from what RocksDB says.
fn translate(path: &Path, error: &rocksdb::Error) -> MetaError {
    let (path, text) = (path.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::Corruption => MetaError::Damaged { path, what: text },
        _ if text.contains("No space left") => MetaError::Full { path, reason: text },
        _ => MetaError::Io { path, reason: text },
    }
}
