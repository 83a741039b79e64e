//! The state machine as openraft sees it: applies what is agreed on, and makes snapshots.
#![expect(clippy::result_large_err, reason = "openraft's traits ask for its error by value")]

use std::sync::Arc;

use leveret_store::{MetaSnapshot, MetaStore};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};

use super::shared::{Kept, Refused, Shared};
use super::types::{
    Config, EntryOf, Log, Meta, StorageError, StorageIOError, Stored, Trouble, meta,
    snapshot_header, snapshot_meta,
};
use crate::consensus::bytes;

/// openraft's state machine.
pub(super) struct Machine {
    shared: Arc<Shared>,
    /// Not among what is shared: the store is closed when the thread of the agreement ends, whoever still knows
    /// the agreement.
    store: Arc<dyn MetaStore>,
    last: Option<Log>,
    members: Stored,
}

impl Machine {
    /// The machine as the newest snapshot has it.
    pub(super) fn open(shared: Arc<Shared>, store: Arc<dyn MetaStore>) -> Result<Self, Trouble> {
        let mut machine = Self { shared, store, last: None, members: Stored::default() };
        if let Some(snapshot) = machine.store.snapshot()? {
            machine.follow(&snapshot_meta(&snapshot)?);
            machine.shared.restore(&snapshot.data)?;
        }
        Ok(machine)
    }

    fn follow(&mut self, meta: &Meta) {
        self.last = meta.last_log_id;
        self.members = meta.last_membership.clone();
    }

    fn apply_entry(&mut self, entry: EntryOf) -> Result<(), StorageError> {
        let log = entry.log_id;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(batch) => self
                .shared
                .apply(&batch)
                .map_err(|error| StorageIOError::apply(log, AnyError::new(&error)))?,
            EntryPayload::Membership(members) => {
                self.members = Stored::new(Some(log), members);
            }
        }
        self.last = Some(log);
        Ok(())
    }
}

impl RaftStateMachine<Config> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<Log>, Stored), StorageError> {
        Ok((self.last, self.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = EntryOf> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.shared.somebody().await;
        entries.into_iter().map(|entry| self.apply_entry(entry)).collect()
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.shared.somebody().await;
        Builder {
            shared: Arc::clone(&self.shared),
            store: Arc::clone(&self.store),
            kept: Some(self.shared.state()),
            meta: meta(self.last, self.members.clone()),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        data: Box<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let signature = Some(meta.signature());
        self.shared.somebody().await;
        self.shared
            .restore(&data)
            .and_then(|()| keep(&*self.store, meta, *data))
            .map_err(|error| StorageIOError::write_snapshot(signature, error))?;
        self.follow(meta);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Config>>, StorageError> {
        let read = || -> Result<_, Trouble> {
            let Some(kept) = self.store.snapshot()? else { return Ok(None) };
            Ok(Some(Snapshot { meta: snapshot_meta(&kept)?, snapshot: Box::new(kept.data) }))
        };
        Ok(read().map_err(|error| StorageIOError::read_snapshot(None, error))?)
    }
}

fn keep(store: &dyn MetaStore, meta: &Meta, data: Vec<u8>) -> Result<(), Trouble> {
    let header = snapshot_header(meta.last_log_id, &meta.last_membership)?;
    store.put_snapshot(&MetaSnapshot { header, data })?;
    Ok(())
}

/// A snapshot in the making: of the moment at which it was begun.
pub(super) struct Builder {
    shared: Arc<Shared>,
    store: Arc<dyn MetaStore>,
    kept: Option<Result<Kept, Refused>>,
    meta: Meta,
}

impl RaftSnapshotBuilder<Config> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Config>, StorageError> {
        let signature = || Some(self.meta.signature());
        let kept = self.kept.take().unwrap_or(Err(Refused::Nobody));
        let Kept { state, applied } = kept
            .map_err(|error| StorageIOError::write_snapshot(signature(), AnyError::new(&error)))?;
        let data = bytes::snapshot(&state, &applied)
            .map_err(Trouble::from)
            .map_err(|error| StorageIOError::write_snapshot(signature(), error))?;
        self.shared.note_snapshot(data.len());
        keep(&*self.store, &self.meta, data.clone())
            .map_err(|error| StorageIOError::write_snapshot(signature(), error))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(data) })
    }
}
