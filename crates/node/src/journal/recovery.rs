//! Queues from what the store holds of them, before the first client comes.

use std::sync::Arc;

use foldhash::HashMap;
use leveret_cluster::replication::Ticket;
use leveret_cluster::replication::stored::{FoundCopy, Head, Kept, read_kept};
use leveret_engine::queue::checkpoint::{ChunkId, ChunkMeta};
use leveret_engine::queue::ops::OpIndex;
use leveret_engine::queue::ops::encode::decode_ops;
use leveret_engine::queue::recovery::Recovery;
use leveret_engine::{QueueId, Seq, Timestamp};
use leveret_store::{ChunkIndex, ChunkKey, Gcn, MessageStore, Slot, StoreError};

use super::CopyWrite;
use super::copies::is_note;
use super::retire::Ops;
use super::seal::{COPY, ENTRY_HEAD};
use crate::effects::Scope;
use crate::node::Node;
use crate::queues::{QueueCell, kept};
use crate::replicas::ops_of;

/// What stands before a queue's state in its checkpoint: a version and the queue.
const HEAD: usize = 9;
const VERSION: u8 = 1;
/// The queue has other copies: what its log needs comes before its state.
const VERSION_COPY: u8 = 2;
/// A copy that is on its way here; after a crash it is sent again.
const VERSION_INCOMING: u8 = 3;

/// The start of a checkpoint: whose it is.
pub(super) fn head(queue: QueueId) -> Vec<u8> {
    head_of(VERSION, queue)
}

/// The start of the checkpoint of a copy.
pub(super) fn copy_head(queue: QueueId, copy: &Head) -> Vec<u8> {
    let mut head = head_of(VERSION_COPY, queue);
    copy.write(&mut head);
    head
}

/// All there is of the checkpoint of a copy that is on its way.
pub(super) fn incoming_head() -> Vec<u8> {
    head_of(VERSION_INCOMING, QueueId(0))
}

fn head_of(version: u8, queue: QueueId) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.push(version);
    head.extend_from_slice(&queue.0.to_le_bytes());
    head
}

/// Whose a checkpoint is, its copy if there are others, and the state.
fn read_head(bytes: &[u8]) -> Option<(QueueId, Option<Head>, &[u8])> {
    let (head, state) = bytes.split_first_chunk::<HEAD>()?;
    let (version, id) = head.split_first()?;
    let id = QueueId(u64::from_le_bytes(*id.first_chunk()?));
    match *version {
        VERSION => Some((id, None, state)),
        VERSION_COPY => {
            let (copy, state) = Head::read(state).ok()?;
            Some((id, Some(copy), state))
        }
        _ => None,
    }
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

/// A queue as the store has it.
pub(crate) struct FoundQueue {
    pub(crate) cell: Arc<QueueCell>,
    recovery: Recovery,
    copy: Option<FoundCopy>,
    /// The op at which its copy began.
    began: OpIndex,
}

/// A copy as the store has it, and the op up to which its queue has been made again.
pub(crate) type CopyUpto = Option<(FoundCopy, OpIndex)>;

impl FoundQueue {
    /// What makes the queue again. Of a copy only what is known to be committed is in that, what its checkpoint includes; if
    /// this node is `alone`, all of its log.
    pub(crate) fn finish(mut self, alone: bool) -> (Recovery, CopyUpto) {
        let Some(copy) = self.copy.take() else { return (self.recovery, None) };
        if alone {
            self.replay_log(&copy, OpIndex(u64::MAX));
            return (self.recovery, None);
        }
        let applied = self.recovery.included().max(copy.base().index).max(self.began);
        self.replay_log(&copy, applied);
        (self.recovery, Some((copy, applied)))
    }

    fn replay_log(&mut self, copy: &FoundCopy, upto: OpIndex) {
        for (index, entry) in copy.entries().take_while(|(index, _)| *index <= upto) {
            self.recovery.saw(index);
            for (index, op) in ops_of(entry) {
                self.recovery.replay(index, op);
            }
        }
    }

    fn take(&mut self, kept: Kept) {
        match kept {
            Kept::Begins { life, base } if self.copy.is_none() => {
                self.began = base.index;
                self.copy = Some(FoundCopy::beginning(life, base));
            }
            Kept::Ends => {
                if let Some(copy) = self.copy.take() {
                    self.replay_log(&copy, OpIndex(u64::MAX));
                }
            }
            kept => {
                if let Some(copy) = &mut self.copy {
                    copy.take(kept);
                }
            }
        }
    }

    /// Takes in an entry of a record; says up to which op it goes.
    fn replay(&mut self, bytes: &[u8]) -> Result<OpIndex, String> {
        let mut last = OpIndex::default();
        let Some(kept) = bytes.strip_prefix(&[COPY]) else {
            for op in decode_ops(bytes) {
                let (index, op) = op.map_err(|error| error.to_string())?;
                last = index;
                self.recovery.replay(index, op);
            }
            return Ok(last);
        };
        for kept in read_kept(kept).map_err(|error| error.to_string())? {
            if let Kept::Append { first, entries } = &kept {
                last = last.max(OpIndex(first.0 + entries.len() as u64 - 1));
            }
            if is_note(&kept) {
                self.cell.place.count_note();
            }
            self.take(kept);
        }
        Ok(last)
    }
}

/// The queues that a store has.
#[derive(Default)]
pub(crate) struct Stock {
    pub(crate) queues: HashMap<Slot, FoundQueue>,
    /// Slots of queues that are not there any more.
    dropped: Vec<Slot>,
    unreadable: Vec<String>,
}

/// Reads what a store has of the queues that `find` knows. Each record is told, with what it has of them.
pub(crate) fn take_stock(
    store: &dyn MessageStore,
    find: &dyn Fn(Slot, QueueId) -> Option<Arc<QueueCell>>,
    each_record: &mut dyn FnMut(Gcn, u64, Vec<Ops>),
) -> Result<Stock, RecoveryError> {
    let mut stock = Stock::default();
    store.checkpoints(&mut |slot, bytes| {
        let found =
            read_head(bytes).and_then(|(id, copy, state)| Some((find(slot, id)?, copy, state)));
        let Some((cell, copy, state)) = found else { return stock.dropped.push(slot) };
        let mut recovery = Recovery::default();
        if !state.is_empty()
            && let Err(error) = recovery.checkpoint(state)
        {
            stock.unreadable.push(format!("the checkpoint of slot {slot}: {error}"));
        }
        let copy = copy.map(FoundCopy::with_head);
        stock.queues.insert(slot, FoundQueue { cell, recovery, copy, began: OpIndex(0) });
    })?;
    for (slot, one) in &mut stock.queues {
        store.chunk_indexes(*slot, &mut |key, index| {
            let (id, meta) = chunk(key, index);
            one.recovery.chunk(id, &meta);
        })?;
    }
    let mut failed = None;
    store.records(&mut |gcn, record| match replay_record(record, &mut stock.queues) {
        Ok(queues) => each_record(gcn, record.len() as u64, queues),
        Err(what) => {
            failed.get_or_insert(RecoveryError::Record { gcn, what });
        }
    })?;
    failed.map_or(Ok(stock), Err)
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
        let find = |slot, id| {
            let cell = self.queues.get(id).filter(|cell| cell.keep.is_some())?;
            cell.place.set_slot(slot);
            Some(cell)
        };
        let mut report = Recovered::default();
        let stock = take_stock(store, &find, &mut |gcn, bytes, queues| {
            report.records += 1;
            self.journal.window.lock().add(gcn, bytes, queues);
        })?;
        report.unreadable = stock.unreadable;
        report.forgotten = stock.dropped.len();
        self.journal.drop_slots(stock.dropped);
        report.queues = stock.queues.len();
        let mut scope = Scope::new(now);
        for found in stock.queues.into_values() {
            report.messages += self.come_back(found, &mut scope);
        }
        // Only now: what has expired may be dead-lettered into any of the others.
        self.finish(&mut scope);
        self.learn_all(now);
        Ok(report)
    }

    /// Makes a queue again; says how many messages are in it.
    fn come_back(&self, found: FoundQueue, scope: &mut Scope<'_>) -> u64 {
        let (cell, now) = (Arc::clone(&found.cell), scope.now);
        let was_copy = found.copy.is_some();
        let (recovery, copy) = found.finish(self.membership().is_none());
        if let Some(copy) = copy {
            return self.copy_found(&cell, recovery, copy, scope);
        }
        let log = kept(cell.keep, recovery.next_op());
        if was_copy {
            let end = (OpIndex(recovery.next_op().0 - 1), Ticket::default());
            self.journal.keep(&cell, vec![CopyWrite::Kept(Kept::Ends)], end, false);
        }
        self.with_queue(&cell, scope, |queue, fx| {
            queue.recover(recovery, log, now, fx);
            queue.counts().ready
        })
    }
}

/// Replays what a record has of each queue; says what that is.
fn replay_record(
    mut record: &[u8],
    queues: &mut HashMap<Slot, FoundQueue>,
) -> Result<Vec<Ops>, String> {
    let mut all = Vec::new();
    while !record.is_empty() {
        let (slot, ops, rest) = split_entry(record).ok_or("an entry is cut short")?;
        record = rest;
        // The queue was deleted since.
        let Some(found) = queues.get_mut(&slot) else { continue };
        let last = found.replay(ops).map_err(|error| format!("slot {slot}: {error}"))?;
        let place = &found.cell.place;
        let (life, notes) = (place.life(), place.notes());
        all.push(Ops { cell: Arc::clone(&found.cell), life, last, notes });
    }
    Ok(all)
}

/// The first entry of a record: slot, ops, and what comes after.
fn split_entry(record: &[u8]) -> Option<(Slot, &[u8], &[u8])> {
    let (head, rest) = record.split_first_chunk::<ENTRY_HEAD>()?;
    let slot = u64::from_le_bytes(*head.first_chunk()?);
    let len = u32::from_le_bytes(*head.last_chunk()?) as usize;
    let (ops, rest) = rest.split_at_checked(len)?;
    Some((Slot(slot), ops, rest))
}

/// A descriptor as the engine sees it.
fn chunk(key: ChunkKey, index: ChunkIndex) -> (ChunkId, ChunkMeta) {
    let id = ChunkId { first: Seq::new(key.priority, key.first_seq), gcn: key.gcn.0 };
    let ChunkIndex { n, end_seq: end, bytes, min_expiry, first_at, flags } = index;
    (id, ChunkMeta { n, end, bytes, min_expiry, first_at, flags })
}
