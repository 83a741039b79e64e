//! What copies need of the store, done by its owner between two groups: queues are made again, and copies are sent to
//! mirrors part by part.
//!
//! A copy that is sent is a checkpoint of the leader's queue with all that it holds in chunks, written here first. The
//! chunks are read one by one as the mirror asks for them. One that is gone by then holds nothing that is not done, and
//! the mirror is told of that by the entries that follow the copy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_cluster::replication::stored::{PartChunk, PartState};
use leveret_cluster::replication::{NodeId, Position, Supply};
use leveret_engine::Timestamp;
use leveret_engine::queue::checkpoint::ChunkMeta;
use leveret_engine::queue::ops::OpIndex;
use leveret_store::{Batch, ChunkIndex, ChunkKey, MessageStore, ReadError, StoreError};

use super::copy::Copy;
use super::records::refill;
use crate::effects::Scope;
use crate::journal::{RecoveryError, Written, take_stock};
use crate::node::Node;
use crate::queues::{QueueCell, kept};

/// Bytes of parts that are read between two groups, about: publishers wait meanwhile.
const PARTS_BYTES: usize = 4 << 20;

/// A copy on its way to a mirror.
#[derive(Debug)]
pub(super) struct Outgoing {
    node: NodeId,
    at: Position,
    snapshot: Snapshot,
}

#[derive(Debug)]
enum Snapshot {
    /// A checkpoint is to be made.
    Wanted,
    /// It is made and waits until what it says is committed.
    Made { number: u64, state: Arc<[u8]> },
    /// It has been written.
    Stored { state: Arc<[u8]> },
    /// It can be sent.
    Listed { state: Arc<[u8]>, chunks: Vec<(ChunkKey, ChunkIndex)> },
}

impl Outgoing {
    pub(super) fn waits(&self) -> bool {
        matches!(self.snapshot, Snapshot::Wanted | Snapshot::Made { .. })
    }
}

/// Why the node has to end.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] RecoveryError),
    /// Going on would lose what was confirmed.
    #[error(transparent)]
    Fatal(#[from] leveret_cluster::replication::Fatal),
}

impl From<StoreError> for CopiesError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl Copy {
    /// Forgets copies that no mirror asks for any more, and begins those that it asks for now; whether there are any.
    fn begin_outgoing(&mut self) -> bool {
        let Self { outgoing, supplies, .. } = self;
        let mut any = false;
        for Supply { node, at, .. } in supplies {
            if !outgoing.iter().any(|it| it.node == *node && it.at == *at) {
                outgoing.retain(|it| it.node != *node);
                outgoing.push(Outgoing { node: *node, at: *at, snapshot: Snapshot::Wanted });
                any = true;
            }
        }
        any
    }

    /// Whether a checkpoint is to be made for a copy.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.outgoing.iter().any(|it| matches!(it.snapshot, Snapshot::Wanted))
    }

    /// The checkpoint has been made.
    pub(crate) fn snapshot_made(&mut self, number: u64, state: &[u8]) {
        for it in self.outgoing.iter_mut().filter(|it| matches!(it.snapshot, Snapshot::Wanted)) {
            it.snapshot = Snapshot::Made { number, state: state.into() };
        }
    }

    /// A checkpoint has been written.
    pub(crate) fn snapshot_stored(&mut self, written: u64) {
        for it in &mut self.outgoing {
            if let Snapshot::Made { number, state } = &it.snapshot
                && *number == written
            {
                it.snapshot = Snapshot::Stored { state: Arc::clone(state) };
            }
        }
    }
}

impl Node {
    /// Makes the checkpoints that are wanted for copies.
    pub(crate) fn take_snapshots(&self, batch: &mut Batch, written: &mut Vec<Written>) {
        let cells = self.replicas.parts.lock().clone();
        for cell in cells {
            self.checkpoint(batch, written, &cell, |queue| {
                let mut place = cell.copy.lock();
                let copy = place.as_mut().filter(|copy| copy.wants_snapshot())?;
                let checkpoint = queue.checkpoint(OpIndex(u64::MAX));
                copy.snapshot_made(checkpoint.number, &checkpoint.state);
                Some(checkpoint)
            });
        }
    }

    /// A checkpoint of a queue has been written: it may be one for a copy.
    pub(crate) fn snapshot_stored(&self, cell: &QueueCell, number: u64) {
        if !cell.copy.is_here() {
            return;
        }
        let _queue = cell.queue.lock();
        if let Some(copy) = cell.copy.lock().as_mut() {
            copy.snapshot_stored(number);
            self.journal.want();
        }
    }

    /// Does what copies need of the store. To be called by its owner between two groups, whenever [`Node::seal`] is; it
    /// costs nothing while there is nothing to do.
    ///
    /// # Errors
    /// [`CopiesError`]; the process has to end.
    pub fn serve_copies(
        &self,
        store: &dyn MessageStore,
        now: Timestamp,
    ) -> Result<(), CopiesError> {
        if !self.journal.take_wanted() {
            return Ok(());
        }
        if let Some(fatal) = *self.replicas.fatal.lock() {
            return Err(fatal.into());
        }
        self.make_again(store, now)?;
        self.serve_parts(store, now)
    }

    fn make_again(&self, store: &dyn MessageStore, now: Timestamp) -> Result<(), CopiesError> {
        let next = self.replicas.next_group.load(Ordering::Acquire);
        let due: Vec<_> = {
            let mut again = self.replicas.again.lock();
            let due = again.extract_if(|_, (_, group)| *group < next);
            due.map(|(_, (cell, _))| cell).collect()
        };
        if !self.replicas.again.lock().is_empty() {
            self.journal.want();
        }
        if due.is_empty() {
            return Ok(());
        }
        let find = |slot, id| {
            let cell = due.iter().find(|cell| cell.id == id)?;
            (cell.place.slot() == Some(slot)).then(|| Arc::clone(cell))
        };
        let stock = take_stock(store, &find, &mut |_, _, _| {})?;
        for found in stock.queues.into_values() {
            let cell = Arc::clone(&found.cell);
            let (recovery, copy) = found.finish(false);
            let Some((_, applied)) = copy else { continue };
            let mut scope = Scope::new(now);
            self.with_queue(&cell, &mut scope, |queue, fx| {
                let mut place = cell.copy.lock();
                // It may have changed once more.
                let again = self.replicas.again.lock().contains_key(&cell.id);
                let Some(copy) = place.as_mut().filter(|_| !again) else { return };
                queue.begin_again(kept(cell.keep, OpIndex(1)), now, fx);
                refill(&cell, queue, recovery, applied, now, fx);
                copy.made(queue, applied, now, fx);
                copy.deliver(queue, self.replicas.lease_until(), now, fx);
            });
            self.finish(&mut scope);
        }
        Ok(())
    }

    fn serve_parts(&self, store: &dyn MessageStore, now: Timestamp) -> Result<(), CopiesError> {
        let cells = std::mem::take(&mut *self.replicas.parts.lock());
        let mut room = PARTS_BYTES;
        for cell in cells {
            let supplies = {
                let _queue = cell.queue.lock();
                let mut place = cell.copy.lock();
                let Some(copy) = place.as_mut() else { continue };
                if copy.begin_outgoing() {
                    self.journal.want_checkpoints();
                }
                std::mem::take(&mut copy.supplies)
            };
            let mut left = Vec::new();
            for supply in supplies {
                if room == 0 || !self.serve(store, &cell, supply, &mut room, now)? {
                    left.push(supply);
                }
            }
            if left.is_empty() {
                continue;
            }
            let _queue = cell.queue.lock();
            if let Some(copy) = cell.copy.lock().as_mut() {
                copy.want_parts(left);
                if room == 0 {
                    self.journal.want();
                }
                self.replicas.parts.lock().push(Arc::clone(&cell));
            }
        }
        Ok(())
    }

    /// Serves a part; false if it has to wait.
    fn serve(
        &self,
        store: &dyn MessageStore,
        cell: &Arc<QueueCell>,
        supply: Supply,
        room: &mut usize,
        now: Timestamp,
    ) -> Result<bool, CopiesError> {
        let Some(slot) = cell.place.slot() else { return Ok(false) };
        let found = {
            let _queue = cell.queue.lock();
            let mut place = cell.copy.lock();
            let Some(copy) = place.as_mut() else { return Ok(true) };
            let own = |it: &&mut Outgoing| it.node == supply.node && it.at == supply.at;
            let Some(outgoing) = copy.outgoing.iter_mut().find(own) else { return Ok(true) };
            if let Snapshot::Stored { state } = &outgoing.snapshot {
                let mut chunks = Vec::new();
                store.chunk_indexes(slot, &mut |key, index| {
                    // What no restart brings back is not in a copy either.
                    if index.flags & ChunkMeta::TRANSIENT == 0 {
                        chunks.push((key, index));
                    }
                })?;
                outgoing.snapshot = Snapshot::Listed { state: Arc::clone(state), chunks };
            }
            let Snapshot::Listed { state, chunks } = &outgoing.snapshot else { return Ok(false) };
            chunks.get(supply.part as usize).copied().ok_or_else(|| Arc::clone(state))
        };
        let (state, last) = match found {
            Ok((key, index)) => (read_part(store, &key, index)?, false),
            Err(state) => (PartState::State(state), true),
        };
        let bytes = state.to_bytes();
        *room = room.saturating_sub(bytes.len());
        let mut scope = Scope::new(now);
        self.with_copy(cell, &mut scope, |replica, now, fx| {
            replica.supply(supply, bytes, last, now, fx);
        });
        self.finish(&mut scope);
        Ok(true)
    }
}

fn read_part(
    store: &dyn MessageStore,
    key: &ChunkKey,
    index: ChunkIndex,
) -> Result<PartState, CopiesError> {
    let data = match store.read_chunk(key) {
        Ok(data) => data,
        Err(ReadError::Store(error)) => return Err(error.into()),
        // What is damaged is lost here too, and the queue says so when it comes to it.
        Err(ReadError::Missing { .. } | ReadError::Damaged { .. }) => return Ok(PartState::Gone),
    };
    let ChunkIndex { n, end_seq: end, bytes, min_expiry, first_at, flags } = index;
    let (priority, first) = (key.priority, key.first_seq);
    let data = Arc::from(&data[..]);
    let chunk = PartChunk { priority, first, end, n, bytes, min_expiry, first_at, flags, data };
    Ok(PartState::Chunk(chunk))
}
