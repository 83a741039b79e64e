//! The live queues of this node, each behind its own lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use leveret_engine::view::Totals;
use leveret_engine::{Queue, QueueId, QueueMeta, Timestamp};
use parking_lot::{Mutex, RwLock};

/// One live queue. Its lock is taken once per batch, and no other queue's lock while it is held.
pub(crate) struct QueueCell {
    pub(crate) id: QueueId,
    pub(crate) queue: Mutex<Queue>,
    /// The earliest deadline that the timers know of, in ms; `u64::MAX` when none. Written under the timers' lock.
    pub(crate) armed: AtomicU64,
}

impl QueueCell {
    fn new(meta: &QueueMeta, now: Timestamp) -> Self {
        let queue = Queue::new(
            meta.id,
            Arc::clone(&meta.vhost),
            Arc::clone(&meta.name),
            meta.settings.clone(),
            now,
        );
        Self { id: meta.id, queue: Mutex::new(queue), armed: AtomicU64::new(u64::MAX) }
    }
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
}

impl QueueTable {
    pub(crate) fn get(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.cells.read().get(&id).cloned()
    }

    pub(crate) fn add(&self, meta: &QueueMeta, now: Timestamp) {
        self.churn.created.fetch_add(1, Ordering::Relaxed);
        self.cells.write().insert(meta.id, Arc::new(QueueCell::new(meta, now)));
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
