//! The live queues of this node, each behind its own lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::HashMap;
use leveret_engine::queue::ops::{Keep, Log, OpIndex, Shown};
use leveret_engine::view::Totals;
use leveret_engine::{Effects, Queue, QueueId, QueueKind, QueueMeta, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::journal::Place;
use crate::replicas::CopyPlace;

/// One live queue. Its lock is taken once per batch, and no other queue's lock while it is held.
pub(crate) struct QueueCell {
    pub(crate) id: QueueId,
    pub(crate) queue: Mutex<Queue>,
    /// The earliest deadline that the timers know of, in ms; `u64::MAX` when none. Written under the timers' lock.
    pub(crate) armed: AtomicU64,
    /// Whether it has asked to be deleted, so that it neither asks again nor is looked at until it is.
    pub(crate) leaving: AtomicBool,
    /// Which of its messages are kept on disk, if any.
    pub(crate) keep: Option<Keep>,
    /// Where the journal has it.
    pub(crate) place: Place,
    /// Its copy on this node, if other nodes have copies as well.
    pub(crate) copy: CopyPlace,
}

impl QueueCell {
    fn new(meta: &QueueMeta, keeps: bool, clustered: bool, now: Timestamp) -> Self {
        let mut queue = Queue::new(
            meta.id,
            Arc::clone(&meta.vhost),
            Arc::clone(&meta.name),
            meta.settings.clone(),
            now,
        );
        if clustered && meta.settings.durable {
            queue.let_letters_stay();
        }
        let keep = keep(meta).filter(|_| keeps);
        queue.set_log(kept(keep, OpIndex(1)), now, &mut Effects::default());
        Self {
            id: meta.id,
            queue: Mutex::new(queue),
            armed: AtomicU64::new(u64::MAX),
            leaving: AtomicBool::new(false),
            keep,
            place: Place::default(),
            copy: CopyPlace::default(),
        }
    }
}

/// Which messages of a queue are kept on disk.
fn keep(meta: &QueueMeta) -> Option<Keep> {
    let all = match meta.kind {
        QueueKind::Classic => Keep::Persistent,
        QueueKind::Quorum | QueueKind::Stream => Keep::All,
    };
    meta.settings.durable.then_some(all)
}

/// The log of a queue that keeps `keep`.
pub(crate) fn kept(keep: Option<Keep>, next: OpIndex) -> Log {
    keep.map_or(Log::Memory, |keep| Log::Kept { next, keep, shown: Shown::AtOnce })
}

/// How often queues came and went. Written as they do, read by whoever asks.
#[derive(Default)]
pub(crate) struct Churn {
    declared: AtomicU64,
    created: AtomicU64,
    deleted: AtomicU64,
}

impl Churn {
    pub(crate) fn declared(&self) {
        self.declared.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_to(&self, totals: &mut Totals) {
        totals.queues_declared += self.declared.load(Ordering::Relaxed);
        totals.queues_created += self.created.load(Ordering::Relaxed);
        totals.queues_deleted += self.deleted.load(Ordering::Relaxed);
    }
}

/// All live queues by id. Written when a queue comes or goes, while the topology is locked for writing, so that
/// a route never names a queue that is not here yet.
#[derive(Default)]
pub(crate) struct QueueTable {
    cells: RwLock<HashMap<QueueId, Arc<QueueCell>>>,
    churn: Churn,
    /// Whether what is durable is kept on disk.
    keeps: bool,
    /// Whether there are other nodes.
    clustered: bool,
}

impl QueueTable {
    pub(crate) fn new(keeps: bool, clustered: bool) -> Self {
        Self { keeps, clustered, ..Self::default() }
    }

    pub(crate) fn get(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.cells.read().get(&id).cloned()
    }

    pub(crate) fn add(&self, meta: &QueueMeta, now: Timestamp) -> Arc<QueueCell> {
        self.churn.created.fetch_add(1, Ordering::Relaxed);
        let cell = Arc::new(QueueCell::new(meta, self.keeps, self.clustered, now));
        self.cells.write().insert(meta.id, Arc::clone(&cell));
        cell
    }

    pub(crate) fn remove(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.churn.deleted.fetch_add(1, Ordering::Relaxed);
        self.cells.write().remove(&id)
    }

    pub(crate) fn churn(&self) -> &Churn {
        &self.churn
    }

    pub(crate) fn all(&self) -> Vec<Arc<QueueCell>> {
        self.cells.read().values().cloned().collect()
    }
}
