//! The state machine as openraft sees it: applies what is agreed on, and makes snapshots.
//!
//! The state itself is a [`Topology`] of this file while the log is read again, and the node's own from
//! then on. It is in memory; the snapshot and the log after it make it again.
#![expect(clippy::result_large_err, reason = "openraft's traits ask for its error by value")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_engine::{BrokerError, Command, Timestamp, Topology, TopologyConfig};
use leveret_store::{MetaSnapshot, MetaStore};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;

use super::types::{
    Config, EntryOf, Log, Meta, StorageError, StorageIOError, Stored, Trouble, meta,
    snapshot_header, snapshot_meta,
};
use crate::consensus::bytes::{self, Batch, Stamped};
use crate::consensus::{Settled, StateMachine};

/// Bytes of log after which a snapshot is made at the earliest. Reading as much again takes less than
/// 100 ms; a snapshot of a large topology waits for as many bytes as the last one had, so that making them
/// never costs more than writing the log.
const SNAPSHOT_AFTER_BYTES: u64 = 4 << 20;

/// What openraft's state machine and the rest of this folder share.
pub(super) struct Shared {
    config: TopologyConfig,
    target: Mutex<Target>,
    /// Whether any command has ever been agreed on.
    commanded: AtomicBool,
    /// Bytes of log since the newest snapshot.
    log_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
}

/// Where commands are applied.
enum Target {
    /// While the log is read again.
    Reading(Box<Topology>),
    /// Between the two.
    Nobody,
    Machine(Weak<dyn StateMachine>),
}

/// What is asked of a machine that cannot do it.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("there is no topology to apply commands to")]
    Nobody,
    #[error("applying a command has panicked")]
    Panicked,
    #[error("a running node does not replace its topology by a snapshot")]
    Running,
}

impl Shared {
    pub(super) fn new(config: TopologyConfig) -> Self {
        let target = Mutex::new(Target::Reading(Box::new(Topology::new(config.clone()))));
        let (log_bytes, snapshot_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { config, target, commanded: AtomicBool::new(false), log_bytes, snapshot_bytes }
    }

    /// The topology that the log has made, once it is read. It is given away.
    pub(super) fn take_topology(&self) -> Option<Topology> {
        match std::mem::replace(&mut *self.target.lock(), Target::Nobody) {
            Target::Reading(topology) => Some(*topology),
            _ => None,
        }
    }

    /// Names who applies commands from now on.
    pub(super) fn attach(&self, machine: Weak<dyn StateMachine>) {
        *self.target.lock() = Target::Machine(machine);
    }

    /// Who applies commands, while there is somebody.
    pub(super) fn machine(&self) -> Option<Arc<dyn StateMachine>> {
        match &*self.target.lock() {
            Target::Machine(machine) => machine.upgrade(),
            _ => None,
        }
    }

    /// Whether any command has ever been agreed on.
    pub(super) fn is_pristine(&self) -> bool {
        !self.commanded.load(Ordering::Relaxed)
    }

    /// Whether the log has grown so long that a snapshot is due. It is said once.
    pub(super) fn snapshot_is_due(&self) -> bool {
        let least = self.snapshot_bytes.load(Ordering::Relaxed).max(SNAPSHOT_AFTER_BYTES);
        let due = self.log_bytes.load(Ordering::Relaxed) >= least;
        if due {
            self.log_bytes.store(0, Ordering::Relaxed);
        }
        due
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Settled>, Refused> {
        self.commanded.store(true, Ordering::Relaxed);
        self.log_bytes.fetch_add(batch.byte_len(), Ordering::Relaxed);
        let commands = batch.commands().iter();
        let machine = match &mut *self.target.lock() {
            Target::Reading(topology) => {
                let apply = |one: &Stamped| topology.apply_agreed(&one.command, one.at).into();
                return Ok(commands.map(apply).collect());
            }
            Target::Nobody => return Err(Refused::Nobody),
            Target::Machine(machine) => machine.upgrade(),
        };
        let Some(machine) = machine else {
            // The node is gone, and everybody who waited with it; the log has the commands.
            return Ok(commands.map(|_| Err(BrokerError::ShuttingDown).into()).collect());
        };
        let apply = || commands.map(|one| machine.apply(&one.command, one.at)).collect();
        // openraft does not notice that the task is gone; whoever waits for it would wait for ever. Nothing of
        // what the panic may have left half done is used again: it ends the node.
        catch_unwind(AssertUnwindSafe(apply)).map_err(|_| Refused::Panicked)
    }

    fn commands(&self) -> Result<Vec<Command>, Refused> {
        if let Target::Reading(topology) = &*self.target.lock() {
            return Ok(topology.snapshot_commands());
        }
        self.machine().map(|machine| machine.snapshot()).ok_or(Refused::Nobody)
    }

    /// Makes the topology that a snapshot is of.
    fn restore(&self, data: &[u8]) -> Result<(), Trouble> {
        let mut topology = Topology::new(self.config.clone());
        bytes::read_snapshot(data, |command| {
            // What was kept was applied before; what is refused now was so then.
            let _ = topology.apply_agreed(command, Timestamp(0));
        })?;
        *self.target.lock() = Target::Reading(Box::new(topology));
        self.commanded.store(true, Ordering::Relaxed);
        self.snapshot_bytes.store(data.len() as u64, Ordering::Relaxed);
        self.log_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }
}

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

    fn apply_entry(&mut self, entry: EntryOf) -> Result<Vec<Settled>, StorageError> {
        let log = entry.log_id;
        let settled = match entry.payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Normal(batch) => self
                .shared
                .apply(&batch)
                .map_err(|error| StorageIOError::apply(log, AnyError::new(&error)))?,
            EntryPayload::Membership(members) => {
                self.members = Stored::new(Some(log), members);
                Vec::new()
            }
        };
        self.last = Some(log);
        Ok(settled)
    }
}

impl RaftStateMachine<Config> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<Log>, Stored), StorageError> {
        Ok((self.last, self.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Settled>>, StorageError>
    where
        I: IntoIterator<Item = EntryOf> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        entries.into_iter().map(|entry| self.apply_entry(entry)).collect()
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            shared: Arc::clone(&self.shared),
            store: Arc::clone(&self.store),
            commands: Some(self.shared.commands()),
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
        if !matches!(&*self.shared.target.lock(), Target::Reading(_)) {
            let error = AnyError::new(&Refused::Running);
            return Err(StorageIOError::write_snapshot(signature, error).into());
        }
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
    commands: Option<Result<Vec<Command>, Refused>>,
    meta: Meta,
}

impl RaftSnapshotBuilder<Config> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Config>, StorageError> {
        let signature = || Some(self.meta.signature());
        let commands = self.commands.take().unwrap_or(Err(Refused::Nobody));
        let commands = commands
            .map_err(|error| StorageIOError::write_snapshot(signature(), AnyError::new(&error)))?;
        let data = bytes::snapshot(&commands)
            .map_err(Trouble::from)
            .map_err(|error| StorageIOError::write_snapshot(signature(), error))?;
        self.shared.snapshot_bytes.store(data.len() as u64, Ordering::Relaxed);
        keep(&*self.store, &self.meta, data.clone())
            .map_err(|error| StorageIOError::write_snapshot(signature(), error))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(data) })
    }
}
