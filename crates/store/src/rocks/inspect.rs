//! Reading everything to say what is there and what is damaged. Changes nothing.

use std::path::Path;

use super::columns::Column;
use super::db::Db;
use super::marker::Marker;
use super::open::{last_record, open_error};
use super::{RocksOptions, before, folder, one, ref_keys, walk};
use crate::{BodyId, Gcn, Place, ReadError, StoreError, StoreId, frame};

/// Damage that is told one by one; beyond it only the number grows.
const TOLD: usize = 1000;

/// Something that cannot be read as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// What it is; a chunk is named by slot, priority and position.
    pub what: String,
    /// What was expected and what was found.
    pub detail: String,
}

/// What a store holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckReport {
    /// The last group commit.
    pub last: Gcn,
    /// Records that are not retired.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// Slots with a checkpoint.
    pub checkpoints: u64,
    /// Chunks.
    pub chunks: u64,
    /// Messages in them, as their indexes say.
    pub chunk_messages: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Shared bodies.
    pub bodies: u64,
    /// Their bytes.
    pub body_bytes: u64,
    /// References to them.
    pub body_refs: u64,
    /// What is damaged, up to a thousand.
    pub damaged: Vec<Damage>,
    /// How much is damaged.
    pub n_damaged: u64,
}

impl CheckReport {
    /// Whether everything could be read as it was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.n_damaged == 0
    }

    pub(super) fn tell(&mut self, what: impl std::fmt::Display, detail: impl Into<String>) {
        self.n_damaged += 1;
        if self.damaged.len() < TOLD {
            self.damaged.push(Damage { what: what.to_string(), detail: detail.into() });
        }
    }

    /// Notes what concerns one thing; the disk's errors end the walk.
    pub(super) fn note<T>(
        &mut self,
        result: Result<T, ReadError>,
    ) -> Result<Option<T>, StoreError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(ReadError::Damaged { place, detail }) => {
                self.tell(place, detail);
                Ok(None)
            }
            Err(ReadError::Missing { place }) => {
                self.tell(place, "it is missing");
                Ok(None)
            }
            Err(ReadError::Store(error)) => Err(error),
        }
    }
}

impl std::fmt::Display for CheckReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "group commits up to {}", self.last)?;
        writeln!(f, "records      {:>10} {:>14} bytes", self.records, self.record_bytes)?;
        writeln!(f, "checkpoints  {:>10}", self.checkpoints)?;
        let (n, messages) = (self.chunks, self.chunk_messages);
        writeln!(f, "chunks       {n:>10} {:>14} bytes, {messages} messages", self.chunk_bytes)?;
        let refs = self.body_refs;
        writeln!(f, "bodies       {:>10} {:>14} bytes, {refs} uses", self.bodies, self.body_bytes)?;
        write!(f, "damaged      {:>10}", self.n_damaged)?;
        for damage in &self.damaged {
            write!(f, "\n  {}: {}", damage.what, damage.detail)?;
        }
        Ok(())
    }
}

/// Checks the store in `folder`, which must not be open. Changes nothing, except
/// that a start that was cut short is undone.
///
/// # Errors
/// `Locked`, `OtherFormat`, the disk's, and `Damaged` when so much is damaged that nothing can be read.
pub fn check(folder: &Path) -> Result<CheckReport, StoreError> {
    let _lock = folder::lock(folder)?;
    if folder::identity(folder)?.is_none() {
        return Err(StoreError::damaged("the store", "there is none in this folder"));
    }
    before::settle(folder)?;
    let said = Marker::read(folder)?;
    let options = RocksOptions::new(StoreId(0));
    let database = folder::database(folder);
    let db = Db::open_read_only(&database, &options);
    inspect(&db.map_err(|error| open_error(folder, &error))?, said)
}

/// Walks everything.
pub(super) fn inspect(db: &Db, said: Option<Gcn>) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport { last: last_record(db)?, ..CheckReport::default() };
    if let Some(said) = said.filter(|said| *said > report.last) {
        let detail = format!("it ends with group commit {}, and {said} was synced", report.last);
        report.tell("the commit log", detail);
    }
    records(db, &mut report)?;
    checkpoints(db, &mut report)?;
    chunks(db, &mut report)?;
    bodies(db, &mut report)?;
    Ok(report)
}

fn records(db: &Db, report: &mut CheckReport) -> Result<(), StoreError> {
    walk_column(db, Column::Log, report, |report, name, value| {
        if let Some((_, len)) = report.note(walk::record(name, value))? {
            report.records += 1;
            report.record_bytes += len as u64;
        }
        Ok(())
    })
}

fn checkpoints(db: &Db, report: &mut CheckReport) -> Result<(), StoreError> {
    walk_column(db, Column::Checkpoint, report, |report, name, value| {
        if report.note(walk::checkpoint(name, value))?.is_some() {
            report.checkpoints += 1;
        }
        Ok(())
    })
}

fn chunks(db: &Db, report: &mut CheckReport) -> Result<(), StoreError> {
    walk_column(db, Column::ChunkIndex, report, |report, name, value| {
        let Some((key, index)) = report.note(walk::chunk_index(name, value))? else {
            return Ok(());
        };
        let place = Place::Chunk(key);
        let data = one(place, Column::Chunk, db.get(Column::Chunk, name));
        let data = data.and_then(|data| frame::open_chunk(place, name, &data));
        if let Some((len, _)) = report.note(data)? {
            report.chunks += 1;
            report.chunk_messages += u64::from(index.n);
            report.chunk_bytes += len as u64;
        }
        Ok(())
    })
}

fn bodies(db: &Db, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut last: Option<BodyId> = None;
    walk_column(db, Column::BodyRef, report, |report, name, _| {
        let Some((id, _)) = ref_keys::parse_by_body(name) else { return Ok(()) };
        report.body_refs += 1;
        if last.replace(id) == Some(id) {
            return Ok(());
        }
        let place = Place::Body(id);
        let data = one(place, Column::Body, db.get(Column::Body, &id.0));
        let len = data.and_then(|data| frame::open(place, &id.0, &data));
        if let Some(len) = report.note(len)? {
            report.bodies += 1;
            report.body_bytes += len as u64;
        }
        Ok(())
    })
}

/// Shows what can be read of a column and notes what cannot.
pub(super) fn walk_column(
    db: &Db,
    column: Column,
    report: &mut CheckReport,
    mut each: impl FnMut(&mut CheckReport, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut failed = Ok(());
    let mut regions = Vec::new();
    let mut show = |name: &[u8], value: &[u8]| {
        if failed.is_ok() {
            failed = each(report, name, value);
        }
    };
    walk::salvage(db, column, &mut show, &mut |detail| regions.push(detail));
    for detail in regions {
        report.tell(format_args!("a part of column {}", column.name()), detail);
    }
    failed
}
