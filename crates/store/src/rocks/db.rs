//! RocksDB as this crate uses it: opening, point reads, bounded scans, and its errors turned into ours.

use std::path::Path;

use rocksdb::{ColumnFamily, DB, DBPinnableSlice, DBRawIterator, ErrorKind, ReadOptions};

use super::RocksOptions;
use super::columns::{self, Column};
use crate::StoreError;

/// The database with all its column families.
pub(super) struct Db {
    pub(super) db: DB,
}

/// Whether a database that is not there is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

/// What is shown the entries of a scan.
pub(super) type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Scan, StoreError> + 'a;

/// What the visitor of a scan wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scan {
    GoOn,
    Stop,
}

impl Db {
    pub(super) fn open(
        path: &Path,
        options: &RocksOptions,
        missing: Missing,
    ) -> Result<Self, rocksdb::Error> {
        let mut database = columns::database(options)?;
        database.create_if_missing(missing == Missing::Make);
        database.create_missing_column_families(missing == Missing::Make);
        let db = DB::open_cf_descriptors(&database, path, columns::descriptors(options))?;
        Ok(Self { db })
    }

    /// Opens a copy made for salvage, which may lack log files that the list of files names.
    pub(super) fn open_copy(path: &Path, options: &RocksOptions) -> Result<Self, rocksdb::Error> {
        let mut database = columns::database(options)?;
        database.set_track_and_verify_wals_in_manifest(false);
        let db = DB::open_cf_descriptors(&database, path, columns::descriptors(options))?;
        Ok(Self { db })
    }

    /// Reads what is there, log included, and writes nothing but RocksDB's own notes.
    pub(super) fn open_read_only(
        path: &Path,
        options: &RocksOptions,
    ) -> Result<Self, rocksdb::Error> {
        let database = columns::database(options)?;
        let columns = columns::descriptors(options);
        // The log is not an error: it is what makes the database complete.
        let db = DB::open_cf_descriptors_read_only(&database, path, columns, false)?;
        Ok(Self { db })
    }

    #[expect(clippy::expect_used, reason = "a database opens with all its column families or not")]
    pub(super) fn handle(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column family was opened")
    }

    pub(super) fn get(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        self.db.get_pinned_cf(self.handle(column), key)
    }

    /// An iterator from `lower` to before `upper`; never unbounded, so that it does not walk what was
    /// deleted outside.
    pub(super) fn iterator(
        &self,
        column: Column,
        lower: &[u8],
        upper: Option<&[u8]>,
    ) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        // Scans happen once; what the cache holds is worth more.
        options.fill_cache(false);
        let mut iterator = self.db.raw_iterator_cf_opt(self.handle(column), options);
        iterator.seek(lower);
        iterator
    }

    /// Shows the entries from `lower` to before `upper` in order.
    pub(super) fn scan(
        &self,
        column: Column,
        (lower, upper): (&[u8], Option<&[u8]>),
        each: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        let mut iterator = self.iterator(column, lower, upper);
        while let Some((key, value)) = iterator.item() {
            if each(key, value)? == Scan::Stop {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(|error| store_error(reading(column), &error))
    }

    /// The last key, without looking at any other.
    pub(super) fn last_key(&self, column: Column) -> Result<Option<Vec<u8>>, StoreError> {
        let mut iterator = self.db.raw_iterator_cf(self.handle(column));
        iterator.seek_to_last();
        iterator.status().map_err(|error| store_error(reading(column), &error))?;
        Ok(iterator.key().map(<[u8]>::to_vec))
    }

    /// A number that RocksDB tells of one column.
    pub(super) fn property(&self, column: Column, name: &str) -> u64 {
        let value = self.db.property_int_value_cf(self.handle(column), name);
        value.ok().flatten().unwrap_or(0)
    }
}

pub(super) fn reading(column: Column) -> &'static str {
    match column {
        Column::Default => "reading the store's marks",
        Column::Log => "reading the commit log",
        Column::Chunk => "reading a chunk",
        Column::ChunkIndex => "reading the chunk index",
        Column::Checkpoint => "reading the checkpoints",
        Column::Body => "reading a shared body",
        Column::BodyRef => "reading the references of shared bodies",
    }
}

/// RocksDB's error in our words. It has no code for a full disk, only the system's words.
pub(super) fn store_error(doing: &'static str, error: &rocksdb::Error) -> StoreError {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::IOError if is_full(&detail) => StoreError::DiskFull { doing, detail },
        ErrorKind::Corruption => {
            StoreError::damaged(format_args!("the database ({doing})"), detail)
        }
        _ => StoreError::Io { doing, detail },
    }
}

fn is_full(detail: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "Max allowed space was reached"]
        .iter()
        .any(|words| detail.contains(words))
}
