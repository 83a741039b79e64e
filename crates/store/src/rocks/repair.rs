//! Repair: everything that can be read and whose checksum is right goes to a new database, which then
//! takes the place of the damaged one. The damaged one is kept and never written to.

use std::path::{Path, PathBuf};

use rocksdb::{DB, WriteBatch};

use super::columns::{self, Column};
use super::db::{Db, Missing, store_error};
use super::inspect::walk_column;
use super::marker::Marker;
use super::open::{carried, last_record, make, open_error};
use super::{CheckReport, RocksOptions, before, folder, mark, one, ref_keys, walk};
use crate::{BodyId, ChunkIndex, ChunkKey, Gcn, Place, Slot, StoreError, StoreId, frame, keys};

/// Bytes that are written to the new database at a time.
const STEP_BYTES: usize = 4 << 20;

/// What a repair did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RepairReport {
    /// What is in the store now; its `damaged` is what was lost.
    pub kept: CheckReport,
    /// The identity the store has now: it may lack what it had confirmed, so it must not be taken for the
    /// one it was.
    pub id: StoreId,
    /// Where the damaged database is.
    pub damaged: PathBuf,
}

/// Repairs the store in `folder`, which must not be open. Needs room for all that is kept. A repair that was
/// cut short is begun again or finished by the next one.
///
/// # Errors
/// `Locked`, `OtherFormat`, the disk's, and `Damaged` when nothing can be read at all.
pub fn repair(folder: &Path, new_id: StoreId) -> Result<RepairReport, StoreError> {
    let _lock = folder::lock(folder)?;
    if folder::identity(folder)?.is_none() {
        return Err(StoreError::damaged("the store", "there is none in this folder"));
    }
    before::settle(folder)?;
    let said = Marker::read(folder)?.unwrap_or_default();
    let (old, new) = (folder::database(folder), folder.join("db.repaired"));
    let (options, doing) = (RocksOptions::new(new_id), "repairing the store");
    let kept = if old.exists() || !new.exists() {
        remove(&new)?;
        let source = open_source(folder, &options)?;
        let target =
            Db::open(&new, &options, Missing::Make).map_err(|error| store_error(doing, &error))?;
        make(&target, new_id)?;
        let mut mending = Mending::new(&source, target);
        mending.copy_all(said)?;
        mending.report
    } else {
        // The last repair got as far as setting the damaged database aside.
        CheckReport::default()
    };
    remove(&folder.join("db.salvage"))?;
    let damaged = set_aside(folder)?;
    std::fs::rename(&new, &old).map_err(|e| StoreError::of_io(doing, &e))?;
    folder::sync_folder(folder)?;
    let (id, last) = identity_inside(&old, &options)?;
    folder::set_identity(folder, id)?;
    Marker::open(folder, last)?;
    Ok(RepairReport { kept: CheckReport { last, ..kept }, id, damaged })
}

/// The damaged database, read-only; or a copy of it, as it is or with a list of files made anew.
fn open_source(folder: &Path, options: &RocksOptions) -> Result<Db, StoreError> {
    let database = folder::database(folder);
    if let Ok(db) = Db::open_read_only(&database, options) {
        return Ok(db);
    }
    let copy = folder.join("db.salvage");
    remove(&copy)?;
    folder::copy(&database, &copy)?;
    if let Ok(db) = Db::open_copy(&copy, options) {
        return Ok(db);
    }
    columns::database(options)
        .and_then(|options| DB::repair(&options, &copy))
        .and_then(|()| Db::open_read_only(&copy, options))
        .map_err(|error| open_error(folder, &error))
}

fn remove(folder: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::of_io("removing an unfinished repair", &error))
        }
        _ => Ok(()),
    }
}

/// Gives the damaged database a name under which nothing looks for it.
fn set_aside(folder: &Path) -> Result<PathBuf, StoreError> {
    let mut n = 1;
    let mut aside = folder.join("db.damaged");
    while aside.exists() {
        n += 1;
        aside = folder.join(format!("db.damaged-{n}"));
    }
    match std::fs::rename(folder::database(folder), &aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::of_io("setting the damaged database aside", &error))
        }
        _ => Ok(aside),
    }
}

fn identity_inside(database: &Path, options: &RocksOptions) -> Result<(StoreId, Gcn), StoreError> {
    let db = Db::open_read_only(database, options)
        .map_err(|error| store_error("reading the repaired store", &error))?;
    let id = db.get(Column::Default, mark::ID);
    let id = id.map_err(|error| store_error("reading the repaired store", &error))?;
    let id = id.and_then(|id| Some(u128::from_be_bytes(id.as_ref().try_into().ok()?)));
    match id {
        Some(id) => Ok((StoreId(id), last_record(&db)?)),
        None => Err(StoreError::damaged("the repaired store", "it has no identity")),
    }
}

struct Mending<'a> {
    source: &'a Db,
    target: Db,
    ops: WriteBatch,
    report: CheckReport,
    /// One above the highest slot that is kept.
    slots: u64,
    /// Chunks and bodies that are lost although what names them is not.
    unreadable: u64,
}

impl<'a> Mending<'a> {
    fn new(source: &'a Db, target: Db) -> Self {
        let (ops, report) = (WriteBatch::default(), CheckReport::default());
        Self { source, target, ops, report, slots: 0, unreadable: 0 }
    }

    fn copy_all(&mut self, said: Gcn) -> Result<(), StoreError> {
        let found = last_record(self.source).unwrap_or_default();
        let last = found.max(said);
        if found < said {
            let detail = format!("group commits {} to {said} are not there", found.next());
            self.report.tell("the commit log", detail);
        }
        self.each(Column::Log, Self::record)?;
        if found < last {
            // Numbers that were durable do not come back with other content.
            let name = last.0.to_be_bytes();
            let mut empty = Vec::new();
            frame::seal(&name, &mut empty);
            self.put(Column::Log, &name, &empty)?;
        }
        self.each(Column::Checkpoint, Self::checkpoint)?;
        self.chunks()?;
        self.bodies()?;
        let (retired, slots) = carried(self.source).unwrap_or_default();
        let slots = slots.max(self.slots);
        self.put(Column::Default, mark::RETIRED, &retired.0.to_be_bytes())?;
        self.put(Column::Default, mark::SLOTS, &slots.to_be_bytes())?;
        self.flush()?;
        let synced = self.target.db.flush_wal(true);
        synced.map_err(|error| store_error("repairing the store", &error))
    }

    fn each(
        &mut self,
        column: Column,
        each: impl Fn(&mut Self, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut report = std::mem::take(&mut self.report);
        let walked = walk_column(self.source, column, &mut report, |report, name, value| {
            std::mem::swap(report, &mut self.report);
            let copied = each(self, name, value);
            std::mem::swap(report, &mut self.report);
            copied
        });
        self.report = report;
        walked
    }

    fn record(&mut self, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some((_, len)) = self.report.note(walk::record(name, value))? else { return Ok(()) };
        self.report.records += 1;
        self.report.record_bytes += len as u64;
        self.put(Column::Log, name, value)
    }

    fn checkpoint(&mut self, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let found = self.report.note(walk::checkpoint(name, value))?;
        let Some((slot, _)) = found else { return Ok(()) };
        self.report.checkpoints += 1;
        self.saw(slot);
        self.put(Column::Checkpoint, name, value)
    }

    /// By the index first: it names each chunk, also one that cannot be read. When it is damaged itself,
    /// the chunks it does not name are found by looking at all.
    fn chunks(&mut self) -> Result<(), StoreError> {
        let before = self.report.n_damaged;
        self.each(Column::ChunkIndex, Self::indexed_chunk)?;
        if self.report.n_damaged - before > self.unreadable {
            self.flush()?;
            self.each(Column::Chunk, Self::found_chunk)?;
        }
        Ok(())
    }

    fn indexed_chunk(&mut self, name: &[u8], index: &[u8]) -> Result<(), StoreError> {
        let found = self.report.note(walk::chunk_index(name, index))?;
        let Some((key, _)) = found else { return Ok(()) };
        let place = Place::Chunk(key);
        let value = one(place, Column::Chunk, self.source.get(Column::Chunk, name));
        let opened = value.and_then(|value| Ok((frame::open_chunk(place, name, &value)?, value)));
        match self.report.note(opened)? {
            Some(((len, index), value)) => self.chunk(&key, len, &index, &value),
            None => {
                self.unreadable += 1;
                Ok(())
            }
        }
    }

    fn found_chunk(&mut self, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Ok(key) = walk::chunk_key(name) else { return Ok(()) };
        let Ok((len, index)) = frame::open_chunk(Place::Chunk(key), name, value) else {
            return Ok(());
        };
        if self.has(Column::ChunkIndex, name)? {
            return Ok(());
        }
        self.chunk(&key, len, &index, value)
    }

    fn chunk(
        &mut self,
        key: &ChunkKey,
        len: usize,
        index: &ChunkIndex,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.report.chunks += 1;
        self.report.chunk_messages += u64::from(index.n);
        self.report.chunk_bytes += len as u64;
        self.saw(key.slot);
        let name = keys::chunk(key);
        self.put(Column::Chunk, &name, value)?;
        self.put(Column::ChunkIndex, &name, &frame::seal_index(&name, index))
    }

    /// Bodies that somebody refers to, with the references. The second order of the references
    /// is looked at only when the first is damaged.
    fn bodies(&mut self) -> Result<(), StoreError> {
        let (before, unreadable) = (self.report.n_damaged, self.unreadable);
        self.each(Column::BodyRef, |mending, name, _| match ref_keys::parse_by_body(name) {
            Some((id, slot)) => mending.body_ref(id, slot),
            None => Ok(()),
        })?;
        if self.report.n_damaged - before == self.unreadable - unreadable {
            return Ok(());
        }
        self.flush()?;
        self.each(Column::BodyRef, |mending, name, _| match ref_keys::parse_by_slot(name) {
            Some((id, slot)) if !mending.has(Column::BodyRef, name)? => mending.body_ref(id, slot),
            _ => Ok(()),
        })
    }

    fn body_ref(&mut self, id: BodyId, slot: Slot) -> Result<(), StoreError> {
        // What is still in the batch is not shown by the target.
        self.flush()?;
        if !self.has(Column::Body, &id.0)? {
            let place = Place::Body(id);
            let value = one(place, Column::Body, self.source.get(Column::Body, &id.0));
            let opened = value.and_then(|value| Ok((frame::open(place, &id.0, &value)?, value)));
            let Some((len, value)) = self.report.note(opened)? else {
                self.unreadable += 1;
                return Ok(());
            };
            self.report.bodies += 1;
            self.report.body_bytes += len as u64;
            self.put(Column::Body, &id.0, &value)?;
        }
        self.report.body_refs += 1;
        self.saw(slot);
        self.put(Column::BodyRef, &ref_keys::by_body(id, slot), &[])?;
        self.put(Column::BodyRef, &ref_keys::by_slot(id, slot), &[])
    }

    fn has(&self, column: Column, name: &[u8]) -> Result<bool, StoreError> {
        let found = self.target.get(column, name);
        Ok(found.map_err(|error| store_error("repairing the store", &error))?.is_some())
    }

    fn saw(&mut self, slot: Slot) {
        self.slots = self.slots.max(slot.0.saturating_add(1));
    }

    fn put(&mut self, column: Column, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.ops.put_cf(self.target.handle(column), name, value);
        if self.ops.size_in_bytes() < STEP_BYTES {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.ops.is_empty() {
            return Ok(());
        }
        let written = self.target.db.write(std::mem::take(&mut self.ops));
        written.map_err(|error| store_error("repairing the store", &error))
    }
}
