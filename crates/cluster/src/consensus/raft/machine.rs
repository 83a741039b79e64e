//! The state machine as openraft sees it: applies what is agreed on, and makes snapshots.
//!
//! The state itself is an [`AgreedState`] of this file while the log is read again, and the node's own from
//! then on. It is in memory; the snapshot and the log after it make it again.
#![expect(clippy::result_large_err, reason = "openraft's traits ask for its error by value")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_engine::TopologyConfig;
use leveret_store::{MetaSnapshot, MetaStore};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::types::{
    Config, EntryOf, Log, Meta, StorageError, StorageIOError, Stored, Trouble, meta,
    snapshot_header, snapshot_meta,
};
use crate::consensus::StateMachine;
use crate::consensus::agreed::{AgreedState, Answer, State};
use crate::consensus::bytes::{self, Batch, Origin};
use crate::replication::NodeId;

/// Bytes of log after which a snapshot is made at the earliest. Reading as much again takes less than
/// 100 ms; a snapshot of a large topology waits for as many bytes as the last one had, so that making them
/// never costs more than writing the log.
const SNAPSHOT_AFTER_BYTES: u64 = 4 << 20;

/// What openraft's state machine and the rest of this folder share.
pub(super) struct Shared {
    config: TopologyConfig,
    /// This node, and which start of its process this is.
    me: (u64, u64),
    /// Batches that were proposed here.
    proposed: AtomicU64,
    target: Mutex<Target>,
    /// Told when there is somebody to apply changes again.
    attached: Notify,
    /// The last batch of each node that was applied.
    applied: Mutex<BTreeMap<u64, Origin>>,
    /// Who waits for what comes of the batch that was proposed here last.
    waits: Mutex<Option<(Origin, oneshot::Sender<Vec<Answer>>)>>,
    /// Whether any command has ever been agreed on.
    commanded: AtomicBool,
    /// Bytes of log since the newest snapshot.
    log_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
}

/// Where changes are applied.
enum Target {
    /// While the log is read again.
    Reading(Box<AgreedState>),
    /// Between the two.
    Nobody,
    Machine(Weak<dyn StateMachine>),
    /// The node has ended before it was there.
    Gone,
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
    /// `me` is this node and `start` counts the starts of its process.
    pub(super) fn new(config: TopologyConfig, me: u64, start: u64) -> Self {
        let reading = AgreedState::new(config.clone());
        Self {
            config,
            me: (me, start),
            proposed: AtomicU64::new(0),
            target: Mutex::new(Target::Reading(Box::new(reading))),
            attached: Notify::new(),
            applied: Mutex::default(),
            waits: Mutex::default(),
            commanded: AtomicBool::new(false),
            log_bytes: AtomicU64::new(0),
            snapshot_bytes: AtomicU64::new(0),
        }
    }

    /// The state that the log has made, once it is read. It is given away; nothing is applied until somebody is attached.
    pub(super) fn take_state(&self) -> Option<AgreedState> {
        let mut target = self.target.lock();
        match std::mem::replace(&mut *target, Target::Nobody) {
            Target::Reading(state) => Some(*state),
            other => {
                *target = other;
                None
            }
        }
    }

    /// Names who applies changes from now on.
    pub(super) fn attach(&self, machine: Weak<dyn StateMachine>) {
        *self.target.lock() = Target::Machine(machine);
        self.attached.notify_waiters();
    }

    /// Nobody will be attached any more: what waits for that goes on without.
    pub(super) fn detach(&self) {
        let mut target = self.target.lock();
        if matches!(*target, Target::Nobody) {
            *target = Target::Gone;
        }
        drop(target);
        self.attached.notify_waiters();
    }

    /// Waits while the state is on its way from here to who applies changes from then on.
    async fn somebody(&self) {
        loop {
            let attached = self.attached.notified();
            if !matches!(*self.target.lock(), Target::Nobody) {
                return;
            }
            attached.await;
        }
    }

    /// Who applies changes, while there is somebody.
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

    /// What the next batch that is proposed here begins with, and where what comes of it is told.
    pub(super) fn expect(&self) -> (Origin, oneshot::Receiver<Vec<Answer>>) {
        let (node, start) = self.me;
        let number = self.proposed.fetch_add(1, Ordering::Relaxed) + 1;
        let origin = Origin { node, start, number };
        let (tell, told) = oneshot::channel();
        *self.waits.lock() = Some((origin, tell));
        (origin, told)
    }

    fn apply(&self, batch: &Batch) -> Result<(), Refused> {
        self.commanded.store(true, Ordering::Relaxed);
        self.log_bytes.fetch_add(batch.bytes().len() as u64, Ordering::Relaxed);
        let origin = batch.origin();
        if !self.is_next(origin) {
            return Ok(());
        }
        let answers = self.answers(batch)?;
        let waits = self.waits.lock().take_if(|(waited, _)| *waited == origin);
        if let Some((_, tell)) = waits {
            // Who waited may have given up.
            let _ = tell.send(answers);
        }
        Ok(())
    }

    /// Whether a batch has not been applied yet, and none after it.
    fn is_next(&self, origin: Origin) -> bool {
        if origin.number == 0 {
            return true;
        }
        let mut applied = self.applied.lock();
        let last = applied.entry(origin.node).or_default();
        let next = (origin.start, origin.number) > (last.start, last.number);
        if next {
            *last = origin;
        }
        next
    }

    fn answers(&self, batch: &Batch) -> Result<Vec<Answer>, Refused> {
        let from = NodeId(batch.origin().node.max(1));
        let changes = batch.changes().iter();
        let machine = match &mut *self.target.lock() {
            Target::Reading(state) => {
                return Ok(changes.map(|one| state.apply(&one.change, from, one.at)).collect());
            }
            Target::Nobody => return Err(Refused::Nobody),
            Target::Machine(machine) => machine.upgrade(),
            Target::Gone => None,
        };
        let Some(machine) = machine else {
            // The node is gone, and everybody who waited with it; the log has the changes.
            return Ok(Vec::new());
        };
        let apply = || changes.map(|one| machine.apply(&one.change, from, one.at)).collect();
        // openraft does not notice that the task is gone; whoever waits for it would wait for ever. Nothing of
        // what the panic may have left half done is used again: it ends the node.
        catch_unwind(AssertUnwindSafe(apply)).map_err(|_| Refused::Panicked)
    }

    fn state(&self) -> Result<Kept, Refused> {
        let state = match &*self.target.lock() {
            Target::Reading(state) => Some(state.snapshot()),
            _ => None,
        };
        let state = state.or_else(|| self.machine().map(|machine| machine.snapshot()));
        let applied = self.applied.lock().values().copied().collect();
        Ok(Kept { state: state.ok_or(Refused::Nobody)?, applied })
    }

    /// Makes the state that a snapshot is of.
    fn restore(&self, data: &[u8]) -> Result<(), Trouble> {
        let (state, applied) = bytes::read_snapshot(data)?;
        let state = AgreedState::restored(self.config.clone(), &state);
        *self.target.lock() = Target::Reading(Box::new(state));
        *self.applied.lock() = applied.into_iter().map(|origin| (origin.node, origin)).collect();
        self.commanded.store(true, Ordering::Relaxed);
        self.snapshot_bytes.store(data.len() as u64, Ordering::Relaxed);
        self.log_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// What a snapshot is made of.
struct Kept {
    state: State,
    applied: Vec<Origin>,
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
        self.shared.snapshot_bytes.store(data.len() as u64, Ordering::Relaxed);
        keep(&*self.store, &self.meta, data.clone())
            .map_err(|error| StorageIOError::write_snapshot(signature(), error))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(data) })
    }
}
