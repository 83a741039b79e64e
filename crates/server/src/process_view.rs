//! What management shows of the process: its name, where it listens, what it uses.

use crate::alarms::{Alarms, Thresholds};
use crate::clock::Clock;
use crate::resources::{self, Readings};
use leveret_cluster::RaftConsensus;
use leveret_engine::Timestamp;
use leveret_engine::view::{
    AgreementView, Alarm, Distribution, ListenerView, NodeView, Registry, Resources, StoreView,
};
use leveret_node::Node;
use leveret_store::{GROUP_BOUNDS_BYTES, Histogram, LATENCY_BOUNDS_MICROS, MessageStore};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The global parameter that renames the cluster.
// rabbitmq: cluster_name
const CLUSTER_NAME: &str = "cluster_name";

/// What does not change while the process runs.
pub(crate) struct ProcessFacts {
    pub(crate) name: String,
    pub(crate) cluster_name: String,
    pub(crate) product_version: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) thresholds: Thresholds,
    pub(crate) connection_max: Option<u64>,
    pub(crate) sockets_total: u64,
    pub(crate) listeners: Vec<ListenerView>,
}

/// The facts, and what the last look at the machine found.
pub(crate) struct ProcessView {
    node: Arc<Node>,
    store: Arc<dyn MessageStore>,
    meta: Arc<RaftConsensus>,
    facts: ProcessFacts,
    clock: Arc<Clock>,
    started: Timestamp,
    last: Mutex<(Readings, Alarms)>,
}

impl ProcessView {
    pub(crate) fn new(
        node: Arc<Node>,
        store: Arc<dyn MessageStore>,
        meta: Arc<RaftConsensus>,
        clock: Arc<Clock>,
        facts: ProcessFacts,
    ) -> Self {
        let started = clock.now();
        Self { node, store, meta, facts, clock, started, last: Mutex::default() }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.facts.data_dir
    }

    pub(crate) fn thresholds(&self) -> Thresholds {
        self.facts.thresholds
    }

    /// Keeps what a look at the machine found.
    pub(crate) fn note(&self, readings: Readings, alarms: Alarms) {
        *self.last.lock() = (readings, alarms);
    }

    pub(crate) fn readings(&self) -> Readings {
        self.last.lock().0
    }
}

impl NodeView for ProcessView {
    fn name(&self) -> &str {
        &self.facts.name
    }

    fn cluster_name(&self) -> String {
        let mut given = None;
        self.node.with_topology(&mut |topology| {
            given = topology
                .global_parameter(CLUSTER_NAME)
                .and_then(|value| value.as_str())
                .map(str::to_owned);
        });
        given.unwrap_or_else(|| self.facts.cluster_name.clone())
    }

    fn store(&self) -> Option<StoreView> {
        let figures = self.store.figures();
        Some(StoreView {
            groups: figures.writes,
            group_bytes: distribution(&figures.group_bytes, &GROUP_BOUNDS_BYTES, 1.0),
            sync_seconds: distribution(&figures.sync_micros, &LATENCY_BOUNDS_MICROS, 1e-6),
            window_records: figures.window_records,
            window_bytes: figures.window_bytes,
            chunks: figures.chunks,
            disk_bytes: figures.disk_bytes,
            memory_bytes: figures.memory_bytes,
            slow_writes: figures.slow_writes,
        })
    }

    fn agreement(&self) -> Option<AgreementView> {
        Some(self.meta.figures())
    }

    fn product_version(&self) -> &str {
        &self.facts.product_version
    }

    fn uptime_ms(&self) -> u64 {
        self.clock.now().since(self.started)
    }

    fn listeners(&self) -> Vec<ListenerView> {
        self.facts.listeners.clone()
    }

    fn alarms(&self) -> Vec<Alarm> {
        let (_, alarms) = *self.last.lock();
        let all = [(Alarm::Disk, alarms.disk), (Alarm::Memory, alarms.memory)];
        all.into_iter().filter(|(_, on)| *on).map(|(alarm, _)| alarm).collect()
    }

    fn resources(&self) -> Resources {
        let readings = self.readings();
        Resources {
            memory_used: readings.memory_used,
            memory_limit: self.facts.thresholds.memory,
            disk_free: readings.disk_free.unwrap_or(0),
            disk_limit: self.facts.thresholds.disk,
            descriptors_used: readings.descriptors_used,
            descriptors_total: resources::descriptor_limit(),
            sockets_total: self.facts.sockets_total,
            processors: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            os_pid: std::process::id(),
        }
    }

    fn connection_max(&self) -> Option<u64> {
        self.facts.connection_max
    }
}

/// The store's counts as Prometheus has them: summed up, in `unit`s.
fn distribution(values: &Histogram, bounds: &[u64], unit: f64) -> Distribution {
    let mut below = 0;
    let buckets = bounds.iter().zip(values.counts).map(|(bound, count)| {
        below += count;
        (*bound as f64 * unit, below)
    });
    Distribution {
        buckets: buckets.collect(),
        count: values.count(),
        sum: values.sum as f64 * unit,
    }
}
