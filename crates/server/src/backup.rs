//! Backups: a copy of a data directory that is made while the broker runs, and a data directory from such a copy.
//!
//! A backup is a directory with the two stores of a data directory, `messages` and `meta`. Messages are copied first:
//! a queue that is declared in between is then there and empty, and one that is deleted in between leaves messages
//! that the restored broker removes as those of a deleted queue. The other way round a queue's messages would come
//! back without their queue.

use crate::data_dir::DataDir;
use crate::server::{MESSAGES, META};
use anyhow::Context as _;
use leveret_store::{CheckReport, MetaError, RocksMeta, RocksStore, StoreError, StoreId, restore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a running broker makes backups from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) messages: Arc<RocksStore>,
    pub(crate) meta: Arc<RocksMeta>,
}

/// Why there is no backup. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{} exists; a backup goes into a directory of its own", .0.display())]
    Exists(PathBuf),
    #[error("{} is not an absolute path", .0.display())]
    Relative(PathBuf),
    #[error("cannot make {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Messages(#[from] StoreError),
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl Sources {
    /// Makes the backup `target`, which must not exist, and returns its bytes. Files that do not change any more
    /// are linked, not copied, where the file system can.
    ///
    /// # Errors
    /// When there is something at `target` or the disk refuses.
    pub(crate) fn backup(&self, target: &Path) -> Result<u64, BackupError> {
        if !target.is_absolute() {
            return Err(BackupError::Relative(target.to_owned()));
        }
        if target.exists() {
            return Err(BackupError::Exists(target.to_owned()));
        }
        let draft = draft_of(target);
        let made = self.make(&draft, target);
        if made.is_err() {
            // What could not be removed is less than the error that is told.
            let _gone = fs::remove_dir_all(&draft);
        }
        made
    }

    fn make(&self, draft: &Path, target: &Path) -> Result<u64, BackupError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| BackupError::Io { path, source }
        };
        if draft.exists() {
            fs::remove_dir_all(draft).map_err(io(draft))?;
        }
        fs::create_dir_all(draft).map_err(io(draft))?;
        let report = self.messages.backup(&draft.join(MESSAGES))?;
        self.meta.backup(&draft.join(META))?;
        finish(draft, target).map_err(io(target))?;
        Ok(report.bytes)
    }
}

/// Makes the data directory `target` from a backup, and checks every message in it. It must not hold a broker's
/// data yet.
///
/// # Errors
/// When `from` is no backup, `target` is in use or holds data, or the disk refuses. Nothing is left at `target` then.
pub(crate) fn restore_to(from: &Path, target: &Path, id: StoreId) -> anyhow::Result<CheckReport> {
    if !from.join(MESSAGES).is_dir() || !from.join(META).is_dir() {
        anyhow::bail!("{} is not a backup; name one that `leveret backup` made", from.display());
    }
    let dir = DataDir::take(target)?;
    let (messages, meta) = (dir.path().join(MESSAGES), dir.path().join(META));
    if let Some(there) = [&messages, &meta].into_iter().find(|part| part.exists()) {
        anyhow::bail!(
            "{} is there already; restore into a new directory, then start the broker with it",
            there.display()
        );
    }
    // Metadata last: a directory without it is no broker's, and a broker that finds messages only would remove them.
    let draft = draft_of(&meta);
    let restored = restore(&from.join(MESSAGES), &messages, id)
        .context("the messages cannot be restored")
        .and_then(|report| {
            copy(&from.join(META), &draft).context("the metadata cannot be copied")?;
            finish(&draft, &meta).context("the metadata cannot be put in its place")?;
            Ok(report)
        });
    restored.inspect_err(|_| {
        for part in [&draft, &messages] {
            let _gone = fs::remove_dir_all(part);
        }
    })
}

/// Where a directory is put together before it gets its name.
fn draft_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    target.with_file_name(name)
}

/// Gives the finished directory its name, durably.
fn finish(draft: &Path, target: &Path) -> std::io::Result<()> {
    fs::File::open(draft)?.sync_all()?;
    fs::rename(draft, target)?;
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Copies the files of a directory, and waits until they are on disk.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        fs::File::open(&copy)?.sync_all()?;
    }
    Ok(())
}
