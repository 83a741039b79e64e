//! The client connections of this node, as everybody but their own task sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;
use leveret_engine::{ConnectionId, QueueId, Timestamp};
use leveret_protocol::{
    ChannelInfo, Connection, ConnectionCounters, ConnectionInfo, ConnectionState,
};
use parking_lot::{Mutex, RwLock};

use crate::mailbox::Mailbox;
use crate::remote::UNSETTLED_BYTES_MAX;
use crate::views::Endpoints;

/// How old what management shows of a busy connection may be, in milliseconds.
const INFO_AGE_MS: u64 = 1000;

/// What a connection shows to the rest of the node.
pub(crate) struct Handle {
    pub(crate) id: ConnectionId,
    pub(crate) mailbox: Mailbox,
    pub(crate) endpoints: Endpoints,
    /// What it has published to other nodes, or to queues with several copies, and no answer has come for.
    pub(crate) unsettled: Unsettled,
    /// The queues that it works with by way of their leaders.
    far: Mutex<Vec<QueueId>>,
    /// Written by the connection's own task at the end of a turn, read by whoever asks.
    shown: Mutex<Shown>,
}

/// Bytes of messages under way. Written by whoever hands them over or settles them, read by the connection's own task.
#[derive(Default)]
pub(crate) struct Unsettled(AtomicUsize);

impl Unsettled {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes off what is settled; says whether the connection is to be read again.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let before = self.0.fetch_sub(bytes, Ordering::Relaxed);
        before >= UNSETTLED_BYTES_MAX && before - bytes < UNSETTLED_BYTES_MAX
    }

    /// Whether so much is under way that the connection is not to be read.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= UNSETTLED_BYTES_MAX
    }
}

#[derive(Default)]
struct Shown {
    counters: ConnectionCounters,
    bytes_sent: u64,
    shape: Option<Arc<Shape>>,
    state: Option<ConnectionState>,
    /// Whether `shape` is behind, and since when it is as it is.
    stale: bool,
    at: Timestamp,
}

/// What changes seldom.
pub(crate) struct Shape {
    pub(crate) connection: ConnectionInfo,
    pub(crate) channels: Vec<ChannelInfo>,
}

impl Handle {
    pub(crate) fn new(id: ConnectionId, endpoints: Endpoints) -> Self {
        Self {
            id,
            mailbox: Mailbox::default(),
            endpoints,
            unsettled: Unsettled::default(),
            far: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// Notes that it works with a queue by way of its leader.
    pub(crate) fn note_far(&self, queue: QueueId) {
        let mut far = self.far.lock();
        if !far.contains(&queue) {
            far.push(queue);
        }
    }

    /// The queues that it has worked with by way of their leaders.
    pub(crate) fn take_far(&self) -> Vec<QueueId> {
        std::mem::take(&mut self.far.lock())
    }

    /// Ends a turn: counters are copied, and what else management shows if that is due.
    pub(crate) fn refresh(&self, connection: &Connection, bytes_sent: u64, now: Timestamp) {
        let mut shown = self.shown.lock();
        shown.counters = connection.counters();
        shown.bytes_sent = bytes_sent;
        let state = connection.state();
        if shown.state == Some(state) && now.since(shown.at) < INFO_AGE_MS {
            shown.stale = true;
            return;
        }
        let shape = Shape { connection: connection.info(), channels: connection.channel_infos() };
        shown.shape = Some(Arc::new(shape));
        shown.state = Some(state);
        shown.stale = false;
        shown.at = now;
    }

    /// When [`Handle::refresh`] is due although nothing happens: what is shown is behind.
    pub(crate) fn refresh_due(&self) -> Option<Timestamp> {
        let shown = self.shown.lock();
        shown.stale.then(|| shown.at.plus(INFO_AGE_MS))
    }

    /// What the connection has counted, and the bytes sent to it.
    pub(crate) fn counters(&self) -> (ConnectionCounters, u64) {
        let shown = self.shown.lock();
        (shown.counters, shown.bytes_sent)
    }

    /// The connection and its channels, as of its last turns; `None` before the first.
    pub(crate) fn shape(&self) -> Option<Arc<Shape>> {
        self.shown.lock().shape.clone()
    }
}

/// All connections by id.
#[derive(Default)]
pub(crate) struct ConnectionTable {
    handles: RwLock<HashMap<ConnectionId, Arc<Handle>>>,
}

impl ConnectionTable {
    pub(crate) fn add(&self, handle: &Arc<Handle>) {
        self.handles.write().insert(handle.id, Arc::clone(handle));
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.handles.write().remove(&id);
    }

    /// Runs `work` with the connection, if it is still there.
    pub(crate) fn with<R>(&self, id: ConnectionId, work: impl FnOnce(&Handle) -> R) -> Option<R> {
        self.handles.read().get(&id).map(|handle| work(handle))
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Handle>> {
        self.handles.read().get(&id).cloned()
    }

    pub(crate) fn is_there(&self, id: ConnectionId) -> bool {
        self.handles.read().contains_key(&id)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.handles.read().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.handles.read().len()
    }
}
