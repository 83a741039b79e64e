//! A disk for one queue, as the node and the store keep it: records, chunks, the newest checkpoint.
//! What was not written is lost in a crash.

use super::support::{number_of, queue};
use crate::ids::Seq;
use crate::queue::Queue;
use crate::queue::checkpoint::{Checkpoint, ChunkId, ChunkMeta};
use crate::queue::effects::Effects;
use crate::queue::ops::encode::{decode_ops, encode_ops};
use crate::queue::ops::{Keep, Log, LoggedOp, OpIndex, Shown};
use crate::queue::recovery::Recovery;
use crate::settings::QueueSettings;
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// Emitted and not written yet.
    open: Vec<LoggedOp>,
    /// Checkpoints that go into the next batch.
    waiting: Vec<Checkpoint>,
    gcn: u64,
    /// By group commit: the last op in it, and the bytes.
    records: BTreeMap<u64, (OpIndex, Vec<u8>)>,
    pub(super) chunks: BTreeMap<ChunkId, (ChunkMeta, Bytes)>,
    state: Option<Vec<u8>>,
    /// Whether records stay although no queue needs them, as those of a window do.
    pub(super) keeps_records: bool,
}

impl Disk {
    pub(super) fn emitted(&mut self, ops: &mut Vec<LoggedOp>) {
        self.open.append(ops);
    }

    pub(super) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.waiting.push(checkpoint);
    }

    /// Writes everything as one batch. Says which checkpoints were in it.
    pub(super) fn seal(&mut self) -> (Vec<u64>, u64) {
        self.gcn += 1;
        let mut bytes = Vec::new();
        encode_ops(&self.open, &mut bytes);
        let last = self.open.last().map(|logged| logged.index);
        self.open.clear();
        if !bytes.is_empty() {
            self.records.insert(self.gcn, (last.unwrap(), bytes));
        }
        let mut numbers = Vec::new();
        for checkpoint in std::mem::take(&mut self.waiting) {
            for chunk in checkpoint.chunks {
                let id = ChunkId { first: chunk.first, gcn: self.gcn };
                let before = self.chunks.insert(id, (chunk.meta, chunk.data.into()));
                assert!(before.is_none(), "a key is written once");
            }
            for id in checkpoint.dropped {
                assert!(self.chunks.remove(&id).is_some(), "{id:?} is dropped twice");
            }
            self.state = Some(checkpoint.state);
            let keeps = self.keeps_records;
            self.records.retain(|_, (last, _)| keeps || *last > checkpoint.retires);
            numbers.push(checkpoint.number);
        }
        (numbers, self.gcn)
    }

    /// Forgets what was not written.
    pub(super) fn crash(&mut self) {
        self.open.clear();
        self.waiting.clear();
    }

    pub(super) fn n_records(&self) -> usize {
        self.records.len()
    }

    pub(super) fn recovery(&self) -> Recovery {
        let mut recovery = Recovery::default();
        if let Some(state) = &self.state {
            recovery.checkpoint(state).unwrap();
        }
        self.recovery_without_checkpoint(recovery)
    }

    pub(super) fn recovery_without_checkpoint(&self, mut recovery: Recovery) -> Recovery {
        // As the store's keys are sorted.
        let mut ids: Vec<_> = self.chunks.keys().copied().collect();
        ids.sort_by_key(|id| (255 - id.first.level(), id.first.index(), id.gcn));
        for id in ids {
            recovery.chunk(id, &self.chunks[&id].0);
        }
        for (_, bytes) in self.records.values() {
            for op in decode_ops(bytes) {
                let (index, op) = op.unwrap();
                recovery.replay(index, op);
            }
        }
        recovery
    }

    pub(super) fn recover(
        &self,
        settings: QueueSettings,
        keep: Keep,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Queue {
        let mut queue = queue(settings);
        let recovery = self.recovery();
        let log = Log::Kept { next: recovery.next_op(), keep, shown: Shown::AtOnce };
        queue.recover(recovery, log, now, fx);
        queue
    }

    /// Answers what the queue asked for, until it asks for nothing.
    pub(super) fn answer_loads(&self, queue: &mut Queue, now: Timestamp, fx: &mut Effects) {
        while !fx.loads.is_empty() {
            for id in std::mem::take(&mut fx.loads) {
                let (_, data) = &self.chunks[&id];
                assert!(queue.loaded(id, Some(data), now, fx), "a chunk is read as it was written");
            }
        }
    }
}

/// Brings all that is away into memory.
pub(super) fn load_all(queue: &mut Queue, disk: &Disk, now: Timestamp, fx: &mut Effects) {
    for at in 0..queue.levels.len() {
        let firsts: Vec<_> = queue.levels[at].slots().map(|slot| slot.first()).collect();
        for first in firsts {
            queue.levels[at].request(first, 1, &mut fx.loads);
        }
    }
    disk.answer_loads(queue, now, fx);
}

/// All live messages: position, number in the body, expiry.
pub(super) fn contents(queue: &Queue) -> Vec<(Seq, u64, Option<Timestamp>)> {
    let mut all = Vec::new();
    for level in &queue.levels {
        for range in level.live_ranges().iter() {
            for piece in level.pieces(range) {
                all.extend(piece.records().map(|record| {
                    let at = piece.start + u64::from(record - piece.first);
                    let expires = piece.block.expires_at(record);
                    (Seq::new(level.priority, at), number_of(piece.block, record), expires)
                }));
            }
        }
    }
    all
}
