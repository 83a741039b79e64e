//! The database as it was before it was opened, so that an open that turns out to lose something can be undone.
//! Files that RocksDB never changes are linked; the rest is small and copied.

use std::path::{Path, PathBuf};

use super::folder::{database, sync_folder};
use crate::{StoreError, failpoint};

/// A whole copy. When it is there at a start, the last start got no further than opening.
fn kept(folder: &Path) -> PathBuf {
    folder.join("db.before")
}

/// A copy that is being made or removed.
fn unfinished(folder: &Path) -> PathBuf {
    folder.join("db.before.part")
}

/// Undoes an open that was cut short.
pub(super) fn settle(folder: &Path) -> Result<(), StoreError> {
    if kept(folder).exists() {
        put_back(folder)?;
    }
    remove(&unfinished(folder))
}

pub(super) fn keep(folder: &Path) -> Result<(), StoreError> {
    let part = unfinished(folder);
    let made = || -> std::io::Result<()> {
        std::fs::create_dir(&part)?;
        for entry in std::fs::read_dir(database(folder))? {
            let from = entry?.path();
            let Some(name) = from.file_name() else { continue };
            let to = part.join(name);
            let never_changed = ["sst", "blob", "log"]
                .iter()
                .any(|wanted| from.extension().is_some_and(|extension| extension == *wanted));
            if !never_changed || std::fs::hard_link(&from, &to).is_err() {
                std::fs::copy(&from, &to)?;
                std::fs::File::open(&to)?.sync_all()?;
            }
        }
        Ok(())
    };
    made().map_err(|e| StoreError::of_io("keeping the database as it is", &e))?;
    sync_folder(&part)?;
    rename(&part, &kept(folder))?;
    sync_folder(folder)
}

/// From here on the opened database counts.
pub(super) fn forget(folder: &Path) -> Result<(), StoreError> {
    rename(&kept(folder), &unfinished(folder))?;
    // Durable before anything is written: a copy that came back would undo what follows.
    sync_folder(folder)?;
    failpoint::pass("open-renamed");
    remove(&unfinished(folder))
}

/// The database is what it was before it was opened.
pub(super) fn put_back(folder: &Path) -> Result<(), StoreError> {
    remove(&database(folder))?;
    rename(&kept(folder), &database(folder))?;
    sync_folder(folder)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to).map_err(|e| StoreError::of_io("naming the database", &e))
}

fn remove(folder: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::of_io("removing a copy of the database", &error))
        }
        _ => Ok(()),
    }
}
