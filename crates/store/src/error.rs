//! What can go wrong, by whose fault it is: the disk's, the machine's, the caller's. One function per
//! foreign error type turns it into these.

use std::path::PathBuf;

use crate::{BodyId, ChunkKey, Gcn, Slot};

/// Why the store refused or failed. After `DiskFull` and `Io` of a write or sync the store answers
/// `Stopped` to every later write: a page the kernel dropped is never written by trying again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// No room for what was to be written. Nothing of it is there after a restart.
    #[error("the disk is full ({doing}): {detail}")]
    DiskFull {
        /// What the store was doing, for a person.
        doing: &'static str,
        /// The system's words.
        detail: String,
    },
    /// The disk or the file system failed.
    #[error("the disk failed ({doing}): {detail}")]
    Io {
        /// What the store was doing, for a person.
        doing: &'static str,
        /// The system's words.
        detail: String,
    },
    /// What was synced is not there any more as it was written, and it is not one chunk or body that
    /// could be isolated.
    #[error(
        "{what} is damaged: {detail}; the store does not start with it, since messages could be lost \
         without a word. Restore a backup, or run `leveret repair`, which keeps what can be read and \
         says what is lost"
    )]
    Damaged {
        /// What is damaged, for a person.
        what: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// The folder was written by another version of the format.
    #[error(
        "{path} has store format {found}, and this version reads format {}: use the version of leveret \
         that wrote it",
        crate::FORMAT
    )]
    OtherFormat {
        /// The folder.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
    /// Another process has the folder open.
    #[error("{path} is in use by another process{}", of_pid(*.pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Which process, where it could be read.
        pid: Option<u32>,
    },
    /// An earlier write or sync failed; nothing is written after that until the process restarts.
    #[error("nothing is written any more, since an earlier write failed: {first}")]
    Stopped {
        /// The earlier failure.
        first: String,
    },
    /// The caller broke the contract; nothing was written.
    #[error("wrong use of the store: {0}")]
    Misuse(&'static str),
}

fn of_pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Where something is in the store, for errors and reports.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The record of a group commit.
    Record(Gcn),
    /// The checkpoint of a slot.
    Checkpoint(Slot),
    /// The data of a chunk.
    Chunk(ChunkKey),
    /// The index entry of a chunk.
    ChunkIndex(ChunkKey),
    /// A shared body.
    Body(BodyId),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(gcn) => write!(f, "the record of group commit {gcn}"),
            Self::Checkpoint(slot) => write!(f, "the checkpoint of slot {slot}"),
            Self::Chunk(key) => write!(f, "the chunk of {key}"),
            Self::ChunkIndex(key) => write!(f, "the chunk index of {key}"),
            Self::Body(id) => write!(f, "the shared body {id}"),
        }
    }
}

/// Why something could not be read. `Damaged` concerns this one thing; `Store` concerns the disk.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// It is there and it is not what was written.
    #[error("{place} is damaged: {detail}")]
    Damaged {
        /// What is damaged; a chunk names slot, priority and first position.
        place: Place,
        /// What was expected and what was found.
        detail: String,
    },
    /// It was never written, or it was dropped.
    #[error("{place} is not in the store")]
    Missing {
        /// What was asked for.
        place: Place,
    },
    /// The disk failed; it says nothing about the data.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// The error of a system call on a file of ours.
    pub(crate) fn of_io(doing: &'static str, error: &std::io::Error) -> Self {
        let detail = error.to_string();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { doing, detail }
            }
            _ => Self::Io { doing, detail },
        }
    }

    /// The damage of something that cannot be isolated.
    pub(crate) fn damaged(what: impl std::fmt::Display, detail: impl Into<String>) -> Self {
        Self::Damaged { what: what.to_string(), detail: detail.into() }
    }
}
