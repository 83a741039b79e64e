//! Backups: a copy of a data directory that is made while the broker runs, and a data directory from such a copy.
//!
//! A backup is a directory with the two stores of a data directory, `messages` and `meta`. Messages are copied first:
//! a queue that is declared in between is then there and empty, and one that is deleted in between leaves messages
//! that the restored broker removes as those of a deleted queue. The other way round a queue's messages would come
//! back without their queue.

use crate::data_dir::DataDir;
use crate::server::{MESSAGES, META};
use anyhow::Context as _;
use leveret_store::{
    CheckReport, Draft, MetaError, RocksMeta, RocksStore, StoreError, StoreId, restore,
};
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
    #[error(transparent)]
    Store(#[from] StoreError),
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
        let draft = Draft::of(target)?;
        let report = self.messages.backup(&draft.path().join(MESSAGES))?;
        self.meta.backup(&draft.path().join(META))?;
        draft.finish()?;
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
    let restored = restore(&from.join(MESSAGES), &messages, id)
        .context("the messages cannot be restored")
        .and_then(|report| {
            // Metadata last: a directory without it is no broker's, and a broker that finds messages only would
            // remove them.
            let copied = Draft::of(&meta).and_then(|draft| {
                draft.copy_from(&from.join(META))?;
                draft.finish()
            });
            copied.context("the metadata cannot be copied")?;
            Ok(report)
        });
    restored.inspect_err(|_| {
        // That they could not be removed is less than the error that is told.
        let _gone = fs::remove_dir_all(&messages);
    })
}
