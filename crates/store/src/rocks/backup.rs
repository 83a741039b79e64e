//! A copy of a running store, and a store from such a copy.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rocksdb::WriteOptions;
use rocksdb::checkpoint::Checkpoint;

use super::columns::Column;
use super::db::{Db, Missing, store_error};
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
    let draft = draft_of(target)?;
    store.sync()?;
    let said = Gcn(store.durable.load(Ordering::Acquire));
    let made = || -> Result<u64, StoreError> {
        let doing = "making a backup";
        std::fs::create_dir_all(&draft).map_err(|e| StoreError::of_io(doing, &e))?;
        // Memory tables are flushed: with a limit for the log this version of RocksDB would copy the
        // log only.
        Checkpoint::new(&store.db.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder::database(&draft)))
            .map_err(|error| store_error(doing, &error))?;
        folder::set_identity(&draft, store.id)?;
        Marker::open(&draft, said)?;
        finish(&draft, target)?;
        size_of(&folder::database(target)).map_err(|e| StoreError::of_io(doing, &e))
    };
    let bytes = made().inspect_err(|_| discard(&draft))?;
    Ok(BackupReport { at_least: said, bytes })
}

/// Makes the store `target`, which must not exist, from a backup, with an identity of its own, and checks
/// everything in it. The backup is left as it is.
///
/// # Errors
/// `Misuse` when `target` exists; `Locked`, `OtherFormat` and `Damaged` for the backup; the disk's.
/// Then nothing is left at `target`.
pub fn restore(backup: &Path, target: &Path, id: StoreId) -> Result<CheckReport, StoreError> {
    let draft = draft_of(target)?;
    if !backup.exists() {
        return Err(StoreError::Misuse("there is no such backup"));
    }
    let _lock = folder::lock(backup)?;
    if folder::identity(backup)?.is_none() {
        return Err(StoreError::Misuse("there is no backup of a store in this folder"));
    }
    let said = Marker::read(backup)?;
    let made = || -> Result<(), StoreError> {
        let doing = "restoring a backup";
        std::fs::create_dir_all(&draft).map_err(|e| StoreError::of_io(doing, &e))?;
        folder::copy(&folder::database(backup), &folder::database(&draft))?;
        folder::set_identity(&draft, id)?;
        rename_store(&draft, id)?;
        Marker::open(&draft, said.unwrap_or_default())?;
        finish(&draft, target)
    };
    made().inspect_err(|_| discard(&draft))?;
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

/// Where a folder is put together before it gets its name; what an earlier try left there goes.
fn draft_of(target: &Path) -> Result<PathBuf, StoreError> {
    if target.exists() {
        return Err(StoreError::Misuse("the target exists"));
    }
    let Some(name) = target.file_name() else {
        return Err(StoreError::Misuse("the target has no name"));
    };
    let mut name = name.to_owned();
    name.push(".partial");
    let draft = target.with_file_name(name);
    if draft.exists() {
        let gone = std::fs::remove_dir_all(&draft);
        gone.map_err(|e| StoreError::of_io("removing an unfinished copy", &e))?;
    }
    Ok(draft)
}

fn finish(draft: &Path, target: &Path) -> Result<(), StoreError> {
    folder::sync_folder(draft)?;
    std::fs::rename(draft, target).map_err(|e| StoreError::of_io("naming the copy", &e))?;
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => folder::sync_folder(parent),
        _ => folder::sync_folder(Path::new(".")),
    }
}

/// Removes what an error left; that it could not be removed is less than the error that is told.
fn discard(draft: &Path) {
    let _ = std::fs::remove_dir_all(draft);
}

fn size_of(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
