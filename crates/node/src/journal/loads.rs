//! Chunks that queues want back in memory, for whoever reads the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use foldhash::HashMap;
use leveret_cluster::replication::NodeId;
use leveret_engine::queue::checkpoint::ChunkId;
use leveret_engine::{ChannelKey, QueueId, Timestamp};
use leveret_store::ChunkKey;
use parking_lot::Mutex;

use super::retire::chunk_key;
use crate::connections::Handle;
use crate::effects::Scope;
use crate::mailbox::Retry;
use crate::node::Node;
use crate::queues::QueueCell;

/// A chunk to be read.
pub struct Load {
    /// Its name in the store.
    pub key: ChunkKey,
    cell: Arc<QueueCell>,
    id: ChunkId,
}

/// What has been asked for and not been handed out. Bounded by the read-ahead of the queues.
#[derive(Default)]
pub(crate) struct Loads {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    wanted: VecDeque<Load>,
    wakers: Vec<Waker>,
    /// Calls of `basic.get` that wait for their queue to have its head in memory.
    gets: HashMap<QueueId, Vec<WaitingGet>>,
}

enum WaitingGet {
    /// Of a client of this node.
    Client { handle: Arc<Handle>, channel: ChannelKey, no_ack: bool },
    /// Of another node, with the number of its question.
    Node(NodeId, u64),
}

impl Loads {
    /// Notes a `basic.get` that found the head of its queue on disk. The caller holds the queue's lock.
    pub(crate) fn wait(
        &self,
        cell: &QueueCell,
        handle: &Arc<Handle>,
        channel: ChannelKey,
        no_ack: bool,
    ) {
        let get = WaitingGet::Client { handle: Arc::clone(handle), channel, no_ack };
        self.inner.lock().gets.entry(cell.id).or_default().push(get);
    }

    /// The same for another node.
    pub(crate) fn wait_for_node(&self, cell: &QueueCell, node: NodeId, request: u64) {
        let get = WaitingGet::Node(node, request);
        self.inner.lock().gets.entry(cell.id).or_default().push(get);
    }

    /// Has the calls of `basic.get` tried again that waited for a queue; those of other nodes are given back.
    fn retry_gets(&self, cell: &Arc<QueueCell>) -> Vec<(NodeId, u64)> {
        let gets = self.inner.lock().gets.remove(&cell.id);
        let mut of_nodes = Vec::new();
        for get in gets.into_iter().flatten() {
            match get {
                WaitingGet::Client { handle, channel, no_ack } => {
                    handle.mailbox.retry(Retry { queue: Arc::clone(cell), channel, no_ack });
                }
                WaitingGet::Node(node, request) => of_nodes.push((node, request)),
            }
        }
        of_nodes
    }

    /// Asks for chunks of a queue.
    pub(crate) fn ask(&self, cell: &Arc<QueueCell>, ids: &mut Vec<ChunkId>) {
        let Some(slot) = cell.place.slot() else { return ids.clear() };
        let wakers = {
            let mut inner = self.inner.lock();
            let load = |id| Load { key: chunk_key(slot, id), cell: Arc::clone(cell), id };
            inner.wanted.extend(ids.drain(..).map(load));
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Node {
    /// The next chunk to be read; `None` if there is none: then `waker` is woken when there is.
    pub fn next_load(&self, waker: &Waker) -> Option<Load> {
        let mut inner = self.journal.loads.inner.lock();
        let next = inner.wanted.pop_front();
        if next.is_none() && !inner.wakers.iter().any(|known| known.will_wake(waker)) {
            inner.wakers.push(waker.clone());
        }
        next
    }

    /// A chunk has been read; `None` if its bytes are damaged or gone. Says whether its messages are in memory now or
    /// nobody wanted them any more; otherwise those that the queue still had are lost.
    pub fn loaded(&self, load: Load, bytes: Option<&Bytes>, now: Timestamp) -> bool {
        let Load { cell, id, .. } = load;
        let mut scope = Scope::new(now);
        let sound =
            self.with_queue(&cell, &mut scope, |queue, fx| queue.loaded(id, bytes, now, fx));
        for (node, request) in self.journal.loads.retry_gets(&cell) {
            self.asked_get(node, request, &cell, &mut scope);
        }
        self.finish(&mut scope);
        sound
    }
}
