//! What a node keeps besides messages: the log of what was agreed on, the values that agreement needs,
//! and the newest snapshot of what the log has made. The bytes are opaque here.
//!
//! Small and rarely written; it has a database of its own so that it never waits behind messages.

mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;

use std::path::PathBuf;

pub use memory::MemoryMeta;
#[cfg(feature = "rocksdb")]
pub use rocks::RocksMeta;

/// A value that agreement keeps besides its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaKey {
    /// Whom this node has voted for.
    Vote,
    /// The last entry that was removed from the front of the log.
    Purged,
}

/// The newest snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaSnapshot {
    /// What it is a snapshot of.
    pub header: Vec<u8>,
    /// The state.
    pub data: Vec<u8>,
}

/// Why something was not kept or not found again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// There is no room for it.
    #[error("the disk of {} is full ({reason})", path.display())]
    Full {
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The system refuses to read or write.
    #[error("cannot read or write {}: {reason}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// What is there is not what was written.
    #[error(
        "{} is damaged ({what}); it holds vhosts, users and queues, and starting without them would \
         lose them: restore it from a copy",
        path.display()
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It ends before what was synced.
    #[error(
        "{} ends before what was synced to it: the vhosts, users and queues that were declared last are \
         missing. Restore it from a copy, or remove the file `durable` in it to go on without them",
        path.display()
    )]
    Short {
        /// Where.
        path: PathBuf,
    },
    /// It was written by another version.
    #[error("{} has the format {found}, and this leveret knows {known}", path.display())]
    Format {
        /// Where.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The one format that is known.
        known: u32,
    },
}

/// The place where agreement keeps its log, vote and snapshot.
///
/// # Contract
/// - What `append`, `put` and `put_snapshot` were given is on the platter when they return, and what
///   is read is what was written, or an error.
/// - The indexes of the log are dense: `append` goes on where the log ends.
/// - After an error of a writing method nothing more may be written: the caller ends.
/// - Every method may block for as long as the disk takes.
pub trait MetaStore: Send + Sync {
    /// Appends entries, the first of which has index `first`.
    ///
    /// # Errors
    /// When the disk refuses.
    fn append(&self, first: u64, entries: &[&[u8]]) -> Result<(), MetaError>;

    /// Removes the entries from index `from` on. It is durable with the next `append`.
    ///
    /// # Errors
    /// When the disk refuses.
    fn truncate(&self, from: u64) -> Result<(), MetaError>;

    /// Removes the entries up to index `upto` and keeps `mark` as [`MetaKey::Purged`], both or none.
    ///
    /// # Errors
    /// When the disk refuses.
    fn purge(&self, upto: u64, mark: &[u8]) -> Result<(), MetaError>;

    /// The entries of `from..until` that there are, in order.
    ///
    /// # Errors
    /// When the disk refuses, or an entry is damaged.
    fn read(&self, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, MetaError>;

    /// The last entry.
    ///
    /// # Errors
    /// As [`MetaStore::read`].
    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, MetaError>;

    /// Keeps a value in place of the one before.
    ///
    /// # Errors
    /// When the disk refuses.
    fn put(&self, key: MetaKey, value: &[u8]) -> Result<(), MetaError>;

    /// A value.
    ///
    /// # Errors
    /// When the disk refuses, or the value is damaged.
    fn get(&self, key: MetaKey) -> Result<Option<Vec<u8>>, MetaError>;

    /// Keeps a snapshot in place of the one before; until then that one stays.
    ///
    /// # Errors
    /// When the disk refuses.
    fn put_snapshot(&self, snapshot: &MetaSnapshot) -> Result<(), MetaError>;

    /// The newest snapshot.
    ///
    /// # Errors
    /// When the disk refuses, or the snapshot is damaged.
    fn snapshot(&self) -> Result<Option<MetaSnapshot>, MetaError>;

    /// Which opening of the store this is, from 1 on.
    fn starts(&self) -> u64;
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests;
