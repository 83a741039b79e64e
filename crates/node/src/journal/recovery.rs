//! Queues from what the store holds of them, before the first client comes.

use std::sync::Arc;

use foldhash::HashMap;
use leveret_engine::queue::checkpoint::{ChunkId, ChunkMeta};
use leveret_engine::queue::ops::OpIndex;
use leveret_engine::queue::ops::encode::decode_ops;
use leveret_engine::queue::recovery::Recovery;
use leveret_engine::{QueueId, Seq, Timestamp};
use leveret_store::{ChunkIndex, ChunkKey, Gcn, MessageStore, Slot, StoreError};

use super::seal::ENTRY_HEAD;
use crate::effects::Scope;
use crate::node::Node;
use crate::queues::{QueueCell, kept};

/// What stands before a queue's state in its checkpoint: a version and the queue.
const HEAD: usize = 9;
const VERSION: u8 = 1;

/// The start of a checkpoint: whose it is.
pub(super) fn head(queue: QueueId) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.push(VERSION);
    head.extend_from_slice(&queue.0.to_le_bytes());
    head
}

fn read_head(bytes: &[u8]) -> Option<(QueueId, &[u8])> {
    let (head, state) = bytes.split_first_chunk::<HEAD>()?;
    let (version, id) = head.split_first()?;
    let id = u64::from_le_bytes(*id.first_chunk()?);
    (*version == VERSION).then_some((QueueId(id), state))
}

/// What a recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Queues with something on disk.
    pub queues: usize,
    /// Messages in them.
    pub messages: u64,
    /// Group commits that were replayed.
    pub records: u64,
    /// Queues on disk that no longer exist: what is left of them goes.
    pub forgotten: usize,
    /// Checkpoints and ops that could not be read although their checksums are right: another version wrote them,
    /// or there is a defect. Messages may come back that were done.
    pub unreadable: Vec<String>,
}

/// Why a recovery did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record has a form that this version does not know.
    #[error("group commit {gcn} cannot be read by this version of leveret: {what}")]
    Record {
        /// Which.
        gcn: Gcn,
        /// What is wrong with it.
        what: String,
    },
}

/// A queue on its way back.
struct Returning {
    cell: Arc<QueueCell>,
    recovery: Recovery,
}

impl Node {
    /// Fills the queues of the topology with what `store` holds of them. To be called once, before anything else
    /// happens to the queues.
    ///
    /// # Errors
    /// When the store cannot be read, or is not of this version.
    pub fn recover(
        &self,
        store: &dyn MessageStore,
        now: Timestamp,
    ) -> Result<Recovered, RecoveryError> {
        let mut report = Recovered::default();
        let mut returning = self.returning(store, &mut report)?;
        for (slot, one) in &mut returning {
            store.chunk_indexes(*slot, &mut |key, index| {
                let (id, meta) = chunk(key, index);
                one.recovery.chunk(id, &meta);
            })?;
        }
        self.replay_records(store, &mut returning, &mut report)?;
        report.queues = returning.len();
        let mut scope = Scope::new(now);
        for Returning { cell, recovery } in returning.into_values() {
            let log = kept(cell.keep, recovery.next_op());
            report.messages += self.with_queue(&cell, &mut scope, |queue, fx| {
                queue.recover(recovery, log, now, fx);
                queue.counts().ready
            });
        }
        // Only now: what has expired may be dead-lettered into any of the others.
        self.finish(&mut scope);
        Ok(report)
    }

    /// The slots whose queues are still there, with their checkpoints. The others are to be dropped.
    fn returning(
        &self,
        store: &dyn MessageStore,
        report: &mut Recovered,
    ) -> Result<HashMap<Slot, Returning>, StoreError> {
        let mut returning = HashMap::default();
        let mut dropped = Vec::new();
        store.checkpoints(&mut |slot, bytes| {
            let found = read_head(bytes).map(|(id, state)| (self.queues.get(id), state));
            let Some((Some(cell), state)) = found.filter(|(cell, _)| is_kept(cell.as_ref())) else {
                dropped.push(slot);
                return;
            };
            cell.place.set_slot(slot);
            let mut recovery = Recovery::default();
            if !state.is_empty()
                && let Err(error) = recovery.checkpoint(state)
            {
                report.unreadable.push(format!("the checkpoint of slot {slot}: {error}"));
            }
            returning.insert(slot, Returning { cell, recovery });
        })?;
        report.forgotten = dropped.len();
        self.journal.drop_slots(dropped);
        Ok(returning)
    }

    fn replay_records(
        &self,
        store: &dyn MessageStore,
        returning: &mut HashMap<Slot, Returning>,
        report: &mut Recovered,
    ) -> Result<(), RecoveryError> {
        let mut failed = None;
        store.records(&mut |gcn, record| {
            report.records += 1;
            let queues = match replay_record(record, returning) {
                Ok(queues) => queues,
                Err(what) => {
                    failed.get_or_insert(RecoveryError::Record { gcn, what });
                    return;
                }
            };
            self.journal.window.lock().add(gcn, record.len() as u64, &queues);
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// Replays the ops of a record; says which queues it holds and the last of their ops.
fn replay_record(
    mut record: &[u8],
    returning: &mut HashMap<Slot, Returning>,
) -> Result<Vec<(Arc<QueueCell>, OpIndex)>, String> {
    let mut queues = Vec::new();
    while !record.is_empty() {
        let (slot, ops, rest) = split_entry(record).ok_or("an entry is cut short")?;
        record = rest;
        // The queue was deleted since.
        let Some(Returning { cell, recovery }) = returning.get_mut(&slot) else { continue };
        let mut last = OpIndex::default();
        for op in decode_ops(ops) {
            let (index, op) = op.map_err(|error| format!("slot {slot}: {error}"))?;
            last = index;
            recovery.replay(index, op);
        }
        queues.push((Arc::clone(cell), last));
    }
    Ok(queues)
}

/// The first entry of a record: slot, ops, and what comes after.
fn split_entry(record: &[u8]) -> Option<(Slot, &[u8], &[u8])> {
    let (head, rest) = record.split_first_chunk::<ENTRY_HEAD>()?;
    let slot = u64::from_le_bytes(*head.first_chunk()?);
    let len = u32::from_le_bytes(*head.last_chunk()?) as usize;
    let (ops, rest) = rest.split_at_checked(len)?;
    Some((Slot(slot), ops, rest))
}

fn is_kept(cell: Option<&Arc<QueueCell>>) -> bool {
    cell.is_some_and(|cell| cell.keep.is_some())
}

/// A descriptor as the engine sees it.
fn chunk(key: ChunkKey, index: ChunkIndex) -> (ChunkId, ChunkMeta) {
    let id = ChunkId { first: Seq::new(key.priority, key.first_seq), gcn: key.gcn.0 };
    let ChunkIndex { n, end_seq: end, bytes, min_expiry, first_at, flags } = index;
    (id, ChunkMeta { n, end, bytes, min_expiry, first_at, flags })
}
