//! A copy of a running store, and a store from such a copy.

use std::path::Path;
use std::sync::atomic::Ordering;

use rocksdb::WriteOptions;
use rocksdb::checkpoint::Checkpoint;

use super::columns::Column;
use super::db::{Db, Missing, store_error};
use super::draft::Draft;
use super::marker::Marker;
use super::open::open_error;
use super::{CheckReport, RocksOptions, RocksStore, folder, inspect, mark};
use crate::{Gcn, MessageStore, StoreError, StoreId};

/// A backup that was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackupReport {
    /// It holds at least everything up to this group commit.
    pub at_least: Gcn,
    /// Bytes of its files; those linked take no room of their own until the store drops them.
    pub bytes: u64,
}

pub(super) fn backup(store: &RocksStore, target: &Path) -> Result<BackupReport, StoreError> {
    let draft = Draft::of(target)?;
    store.sync()?;
    let said = Gcn(store.durable.load(Ordering::Acquire));
    let doing = "making a backup";
    // Memory tables are flushed: with a limit for the log this version of RocksDB would copy the
    // log only.
    Checkpoint::new(&store.db.db)
        .and_then(|checkpoint| checkpoint.create_checkpoint(folder::database(draft.path())))
        .map_err(|error| store_error(doing, &error))?;
    folder::set_identity(draft.path(), store.id)?;
    Marker::open(draft.path(), said)?;
    draft.finish()?;
    let bytes = size_of(&folder::database(target)).map_err(|e| StoreError::of_io(doing, &e))?;
    Ok(BackupReport { at_least: said, bytes })
}

/// Makes the store `target`, which must not exist, from a backup, with an identity of its own, and checks
/// everything in it. The backup is left as it is.
///
/// # Errors
/// `Misuse` when `target` exists; `Locked`, `OtherFormat` and `Damaged` for the backup; the disk's.
/// Then nothing is left at `target`.
pub fn restore(backup: &Path, target: &Path, id: StoreId) -> Result<CheckReport, StoreError> {
    let draft = Draft::of(target)?;
    if !backup.exists() {
        return Err(StoreError::Misuse("there is no such backup"));
    }
    let _lock = folder::lock(backup)?;
    if folder::identity(backup)?.is_none() {
        return Err(StoreError::Misuse("there is no backup of a store in this folder"));
    }
    let said = Marker::read(backup)?;
    folder::copy(&folder::database(backup), &folder::database(draft.path()))?;
    folder::set_identity(draft.path(), id)?;
    rename_store(draft.path(), id)?;
    Marker::open(draft.path(), said.unwrap_or_default())?;
    draft.finish()?;
    inspect::check(target)
}

/// Gives the database in `folder` another identity.
fn rename_store(folder: &Path, id: StoreId) -> Result<(), StoreError> {
    let options = RocksOptions::new(id);
    let database = folder::database(folder);
    let db = Db::open(&database, &options, Missing::Refuse)
        .map_err(|error| open_error(folder, &error))?;
    let mut durably = WriteOptions::default();
    durably.set_sync(true);
    let column = db.handle(Column::Default);
    let put = db.db.put_cf_opt(column, mark::ID, id.0.to_be_bytes(), &durably);
    put.map_err(|error| store_error("restoring a backup", &error))
}

fn size_of(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
