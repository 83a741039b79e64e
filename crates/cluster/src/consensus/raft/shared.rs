//! The state that is agreed on, wherever it is: here while the log is read again, and the node's own from then on. It is
//! in memory; the snapshot and the log after it make it again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use leveret_engine::{Timestamp, TopologyConfig};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::types::Trouble;
use crate::consensus::StateMachine;
use crate::consensus::agreed::{AgreedState, Answer, State};
use crate::consensus::bytes::{self, Batch, Origin};
use crate::replication::{Metadata, NodeId};

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
    /// The time of the last change that was applied, in ms.
    last_at: AtomicU64,
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
pub(super) enum Refused {
    #[error("there is no topology to apply commands to")]
    Nobody,
    #[error("applying a command has panicked")]
    Panicked,
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
            last_at: AtomicU64::new(0),
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
    pub(super) async fn somebody(&self) {
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

    pub(super) fn apply(&self, batch: &Batch) -> Result<(), Refused> {
        self.commanded.store(true, Ordering::Relaxed);
        self.log_bytes.fetch_add(batch.bytes().len() as u64, Ordering::Relaxed);
        let origin = batch.origin();
        if !self.is_next(origin) {
            return Ok(());
        }
        let answers = self.answers(batch)?;
        if let Some(last) = batch.changes().last() {
            self.last_at.fetch_max(last.at.0, Ordering::Relaxed);
        }
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

    pub(super) fn state(&self) -> Result<Kept, Refused> {
        let state = match &*self.target.lock() {
            Target::Reading(state) => Some(state.snapshot()),
            _ => None,
        };
        let state = state.or_else(|| self.machine().map(|machine| machine.snapshot()));
        let applied = self.applied.lock().values().copied().collect();
        Ok(Kept { state: state.ok_or(Refused::Nobody)?, applied })
    }

    /// Makes the state that a snapshot is of. A node that runs acts on what is different.
    pub(super) fn restore(&self, data: &[u8]) -> Result<(), Trouble> {
        let (state, applied) = bytes::read_snapshot(data)?;
        let machine = self.machine();
        {
            let mut target = self.target.lock();
            if let Target::Reading(reading) = &mut *target {
                **reading = AgreedState::restored(self.config.clone(), &state);
            }
        }
        if let Some(machine) = machine {
            machine.restore(&state, Timestamp(self.last_at.load(Ordering::Relaxed)));
        }
        *self.applied.lock() = applied.into_iter().map(|origin| (origin.node, origin)).collect();
        // What was proposed here and is in the snapshot is not applied any more: nobody knows what came of it.
        let (me, applied) = (self.me.0, self.applied.lock());
        let upto = applied.get(&me).map_or((0, 0), |last| (last.start, last.number));
        drop(applied);
        self.waits.lock().take_if(|(origin, _)| (origin.start, origin.number) <= upto);
        self.commanded.store(true, Ordering::Relaxed);
        self.note_snapshot(data.len());
        self.log_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// A snapshot of this size was made.
    pub(super) fn note_snapshot(&self, bytes: usize) {
        self.snapshot_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Looks at nodes and copies, while there is somebody who has them.
    pub(super) fn with_metadata<R>(&self, look: impl FnOnce(&Metadata) -> R) -> Option<R> {
        if let Target::Reading(state) = &*self.target.lock() {
            return Some(look(&state.metadata));
        }
        let (mut look, mut seen) = (Some(look), None);
        self.machine()?.with_metadata(&mut |metadata| {
            seen = look.take().map(|look| look(metadata));
        });
        seen
    }
}

/// What a snapshot is made of.
pub(super) struct Kept {
    pub(super) state: State,
    pub(super) applied: Vec<Origin>,
}
