//! The log and the vote: openraft's storage over ours.
//!
//! An entry is on the platter when `append` returns. openraft waits for that before it goes on, so that
//! there would be nothing to gain from a thread that writes behind it; what shares one write is gathered
//! before (`proposals`).

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use leveret_store::{MetaKey, MetaStore};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;

use super::types::{
    Config, EntryOf, Log, StorageError, StorageIOError, Trouble, Vote, ballot, entry_bytes, log_id,
    place, read_entry, vote,
};
use crate::consensus::bytes;

/// Entries that are kept in memory for openraft, which reads what it has just written to apply it.
const RECENT_MAX: usize = 16;

/// The log of a node. A clone is the same log.
#[derive(Clone)]
pub(super) struct LogStore {
    store: Arc<dyn MetaStore>,
    recent: Arc<Mutex<Recent>>,
}

/// The last entries that were appended, without a hole.
#[derive(Default)]
struct Recent(VecDeque<EntryOf>);

impl Recent {
    fn push(&mut self, entry: EntryOf) {
        let follows = |last: &EntryOf| last.log_id.index + 1 == entry.log_id.index;
        if !self.0.back().is_none_or(follows) {
            self.0.clear();
        }
        if self.0.len() == RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// The entries of `from..until`, if all of them are here.
    fn range(&self, from: u64, until: u64) -> Option<Vec<EntryOf>> {
        let first = self.0.front()?.log_id.index;
        let (start, end) = (from.checked_sub(first)? as usize, until.checked_sub(first)? as usize);
        (start < end && end <= self.0.len()).then(|| self.0.range(start..end).cloned().collect())
    }
}

impl LogStore {
    pub(super) fn new(store: Arc<dyn MetaStore>) -> Self {
        Self { store, recent: Arc::default() }
    }

    fn write(&self, entries: &[EntryOf]) -> Result<(), Trouble> {
        let Some(first) = entries.first() else { return Ok(()) };
        let bytes = entries.iter().map(entry_bytes).collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        Ok(self.store.append(first.log_id.index, &bytes)?)
    }

    fn read(&self, from: u64, until: u64) -> Result<Vec<EntryOf>, Trouble> {
        if let Some(entries) = self.recent.lock().range(from, until) {
            return Ok(entries);
        }
        self.store.read(from, until)?.iter().map(|(_, bytes)| read_entry(bytes)).collect()
    }

    pub(super) fn state(&self) -> Result<LogState<Config>, Trouble> {
        let purged = self.store.get(MetaKey::Purged)?;
        let purged = purged.map(|bytes| bytes::read_value(&bytes)).transpose()?.map(log_id);
        let last = self.store.last()?.map(|(_, bytes)| read_entry(&bytes)).transpose()?;
        let last = last.map(|entry| entry.log_id).or(purged);
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }
}

impl RaftLogReader<Config> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at + 1,
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(at) => at + 1,
            Bound::Excluded(at) => *at,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.read(from, until).map_err(StorageIOError::read_logs)?)
    }
}

impl RaftLogStorage<Config> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Config>, StorageError> {
        Ok(self.state().map_err(StorageIOError::read_logs)?)
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let save = || -> Result<(), Trouble> {
            Ok(self.store.put(MetaKey::Vote, &bytes::value(&ballot(vote))?)?)
        };
        Ok(save().map_err(StorageIOError::write_vote)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let read = || -> Result<Option<Vote>, Trouble> {
            let kept = self.store.get(MetaKey::Vote)?;
            Ok(kept.map(|bytes| bytes::read_value(&bytes)).transpose()?.map(vote))
        };
        Ok(read().map_err(StorageIOError::read_vote)?)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        flushed: LogFlushed<Config>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = EntryOf> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        self.write(&entries).map_err(StorageIOError::write_logs)?;
        let mut recent = self.recent.lock();
        entries.into_iter().for_each(|entry| recent.push(entry));
        drop(recent);
        flushed.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log: Log) -> Result<(), StorageError> {
        self.recent.lock().0.clear();
        let done = self.store.truncate(log.index).map_err(Trouble::from);
        Ok(done.map_err(StorageIOError::write_logs)?)
    }

    async fn purge(&mut self, log: Log) -> Result<(), StorageError> {
        self.recent.lock().0.retain(|entry| entry.log_id.index > log.index);
        let purge = || -> Result<(), Trouble> {
            Ok(self.store.purge(log.index, &bytes::value(&place(&log))?)?)
        };
        Ok(purge().map_err(StorageIOError::write_logs)?)
    }
}
