//! Opening: lock, format, the torn end of the log, and what is remembered in memory. What was synced
//! is there afterwards or the store does not open.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use rocksdb::{WriteBatch, WriteOptions};

use super::before;
use super::chunks::Chunks;
use super::columns::Column;
use super::db::{Db, Missing, Scan, store_error};
use super::marker::Marker;
use super::window::Window;
use super::{Counters, RocksOptions, RocksStore, Writer, folder, mark, walk, whole_store};
use crate::keys::number;
use crate::{FORMAT, Gcn, StoreError, StoreId, failpoint};

/// What opening found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// The store was made now.
    pub created: bool,
    /// The last group commit. What was written after it and never synced did not survive.
    pub last: Gcn,
}

pub(super) fn open(path: &Path, options: &RocksOptions) -> Result<RocksStore, StoreError> {
    let lock = folder::lock(path)?;
    let id = match folder::identity(path)? {
        Some(id) => id,
        None => {
            folder::set_identity(path, options.new_id)?;
            options.new_id
        }
    };
    // The marker is made last: without it the making was cut short, and is done again.
    let created = !Marker::exists(path);
    let said = Marker::read(path)?;
    if !created && said.is_none() {
        return Err(StoreError::damaged("the durable marker", "nothing in it can be read"));
    }
    before::settle(path)?;
    let (db, writer) = database(path, options, id, said)?;
    let last = writer.last;
    Ok(RocksStore {
        id,
        folder: path.into(),
        opened: Opened { created, last },
        marker: Mutex::new(Marker::open(path, last)?),
        db,
        writer: Mutex::new(writer),
        written: AtomicU64::new(last.0),
        durable: AtomicU64::new(last.0),
        stopped: OnceLock::new(),
        counters: Counters::new(),
        _lock: lock,
    })
}

/// What a process that was killed had written may be in the page cache only. It is called durable from now on,
/// and later syncs concern later log files.
fn sync_logs(database: &Path) -> Result<(), StoreError> {
    let doing = "syncing the log of the last run";
    let synced = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(database)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                File::open(path)?.sync_all()?;
            }
        }
        Ok(())
    };
    match synced() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::damaged("the database", "its folder is missing"))
        }
        other => other.map_err(|e| StoreError::of_io(doing, &e)),
    }
}

/// Opens the database with what its log holds up to the first damage. If the marker says that more was
/// synced, the database is put back as it was and the store refuses.
fn database(
    path: &Path,
    options: &RocksOptions,
    id: StoreId,
    said: Option<Gcn>,
) -> Result<(Db, Writer), StoreError> {
    let database = folder::database(path);
    let Some(said) = said else {
        let db = Db::open(&database, options, Missing::Make);
        let db = db.map_err(|error| open_error(path, &error))?;
        make(&db, id)?;
        let writer = load(&db, id)?;
        return Ok((db, writer));
    };
    sync_logs(&database)?;
    before::keep(path)?;
    failpoint::pass("open-kept");
    let opened = Db::open(&database, options, Missing::Refuse)
        .map_err(|error| open_error(path, &error))
        .and_then(|db| {
            let writer = load(&db, id)?;
            failpoint::pass("open-opened");
            let short = writer.last < said;
            if short { Err(too_short(writer.last, said)) } else { Ok((db, writer)) }
        });
    match opened {
        Ok(opened) => {
            before::forget(path)?;
            failpoint::pass("open-forgotten");
            Ok(opened)
        }
        Err(error) => before::put_back(path).and(Err(error)),
    }
}

/// The last group commit a database holds.
pub(super) fn last_record(db: &Db) -> Result<Gcn, StoreError> {
    let last = db.last_key(Column::Log)?;
    Ok(Gcn(last.and_then(|last| number(&last)).unwrap_or(0)))
}

fn too_short(found: Gcn, said: Gcn) -> StoreError {
    let detail = format!("it can be read up to group commit {found}, and {said} was synced");
    StoreError::damaged("the commit log", detail)
}

/// A database that is there and cannot be opened has lost something, unless the system says otherwise.
pub(super) fn open_error(path: &Path, error: &rocksdb::Error) -> StoreError {
    const OF_THE_SYSTEM: [&str; 4] =
        ["Input/output error", "Permission denied", "Too many open files", "Read-only file system"];
    let detail = error.to_string();
    if detail.contains("lock hold by current process") || detail.contains("While lock file") {
        return StoreError::Locked { path: path.into(), pid: None };
    }
    match store_error("opening the database", error) {
        StoreError::Io { .. } if !OF_THE_SYSTEM.iter().any(|words| detail.contains(words)) => {
            StoreError::damaged("the database", detail)
        }
        other => other,
    }
}

/// The marks of a new store, or of one whose making was cut short.
pub(super) fn make(db: &Db, id: StoreId) -> Result<(), StoreError> {
    if marked(db, mark::FORMAT)?.is_some() {
        return Ok(());
    }
    let column = db.handle(Column::Default);
    let mut marks = WriteBatch::default();
    marks.put_cf(column, mark::FORMAT, FORMAT.to_be_bytes());
    marks.put_cf(column, mark::ID, id.0.to_be_bytes());
    let mut durably = WriteOptions::default();
    durably.set_sync(true);
    let made = db.db.write_opt(marks, &durably);
    made.map_err(|error| store_error("making the store", &error))
}

fn load(db: &Db, id: StoreId) -> Result<Writer, StoreError> {
    let damaged = |detail: &str| StoreError::damaged("the database's own format mark", detail);
    if marked(db, mark::FORMAT)?.as_deref() != Some(&FORMAT.to_be_bytes()) {
        return Err(damaged("it says another format than the format file"));
    }
    if marked(db, mark::ID)?.as_deref() != Some(&id.0.to_be_bytes()) {
        return Err(damaged("it has another identity than the format file"));
    }
    let number_at = |name| Ok(marked(db, name)?.and_then(|bytes| number(&bytes)).unwrap_or(0));
    let retired = Gcn(number_at(mark::RETIRED)?);
    let slot_mark = number_at(mark::SLOTS)?;
    let window = load_window(db, retired)?;
    let mut has_refs = false;
    db.scan(Column::BodyRef, (&[], None), &mut |_, _| {
        has_refs = true;
        Ok(Scan::Stop)
    })?;
    Ok(Writer {
        last: window.last().unwrap_or(retired),
        retired,
        next_slot: slot_mark,
        slot_mark,
        window,
        chunks: load_chunks(db)?,
        has_refs,
    })
}

fn marked(db: &Db, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let value = db.get(Column::Default, name);
    let value = value.map_err(|error| store_error("reading the store's marks", &error))?;
    Ok(value.map(|value| value.to_vec()))
}

/// Reads every record, so that a damaged one is found now and not when it is replayed.
fn load_window(db: &Db, retired: Gcn) -> Result<Window, StoreError> {
    let mut window = Window::default();
    let first = retired.next().0.to_be_bytes();
    db.scan(Column::Log, (&first, None), &mut |name, value| {
        let (gcn, _) = walk::record(name, value).map_err(whole_store)?;
        window.push(gcn, value.len());
        Ok(Scan::GoOn)
    })?;
    Ok(window)
}

fn load_chunks(db: &Db) -> Result<Chunks, StoreError> {
    let mut chunks = Chunks::default();
    db.scan(Column::ChunkIndex, (&[], None), &mut |name, value| {
        let (key, _) = walk::chunk_index(name, value).map_err(whole_store)?;
        chunks.add(&key);
        Ok(Scan::GoOn)
    })?;
    Ok(chunks)
}

/// Reads the marks that a repair carries over: retired records and reserved slots.
pub(super) fn carried(db: &Db) -> Result<(Gcn, u64), StoreError> {
    let number_at = |name| Ok(marked(db, name)?.and_then(|bytes| number(&bytes)).unwrap_or(0));
    Ok((Gcn(number_at(mark::RETIRED)?), number_at(mark::SLOTS)?))
}
