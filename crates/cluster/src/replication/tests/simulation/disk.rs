//! A disk: what was synced stays, what was not may be lost from some write on.

use super::content::Content;
use crate::replication::{Entry, Position, Recovered, ReplicaId, SessionId, Ticket, WriteWhat};
use leveret_engine::OpIndex;
use std::collections::VecDeque;

/// One copy of the queue on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// Group commits so far.
    pub(super) gcn: u64,
    rid: ReplicaId,
    lineage: u32,
    lacks_upto: OpIndex,
    base: Position,
    sessions: Vec<(SessionId, u64)>,
    content: Content,
    entries: Vec<Entry>,
    tail: VecDeque<Written>,
    /// How many writes of the tail are in the sync that is under way.
    syncing: usize,
}

/// A write, and what else it tells.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) ticket: Option<Ticket>,
    pub(super) rid: ReplicaId,
    pub(super) lineage: u32,
    pub(super) lacks_upto: OpIndex,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Log(WriteWhat),
    /// Everything up to an entry, as one.
    Checkpoint {
        base: Position,
        content: Content,
        sessions: Vec<(SessionId, u64)>,
    },
    /// The same, and nothing of the log before it counts.
    Replace {
        base: Position,
        content: Content,
        sessions: Vec<(SessionId, u64)>,
    },
}

impl Disk {
    pub(super) fn write(&mut self, write: Written) {
        self.tail.push_back(write);
    }

    /// Begins a sync of all that was written, if none is under way and there is something to sync.
    pub(super) fn begin_sync(&mut self) -> bool {
        if self.syncing > 0 || self.tail.is_empty() {
            return false;
        }
        self.syncing = self.tail.len();
        true
    }

    /// The sync is done: the last ticket that it covers.
    pub(super) fn end_sync(&mut self) -> Option<Ticket> {
        let n = std::mem::take(&mut self.syncing);
        let tickets = (0..n).filter_map(|_| self.apply_first());
        let last = tickets.last();
        self.gcn += 1;
        last
    }

    /// The process is gone, and of what was not synced the first `kept` writes are left.
    pub(super) fn crash(&mut self, kept: usize) {
        let kept = kept.min(self.tail.len());
        for _ in 0..kept {
            self.apply_first();
        }
        self.gcn += u64::from(kept > 0);
        self.tail.clear();
        self.syncing = 0;
    }

    /// The copy is deleted.
    pub(super) fn delete_copy(&mut self) {
        *self = Self { gcn: self.gcn, ..Self::default() };
    }

    pub(super) fn n_unsynced(&self) -> usize {
        self.tail.len()
    }

    fn apply_first(&mut self) -> Option<Ticket> {
        let write = self.tail.pop_front()?;
        (self.rid, self.lineage, self.lacks_upto) = (write.rid, write.lineage, write.lacks_upto);
        match write.what {
            What::Log(WriteWhat::Append { first, entries }) => {
                let next = self.base.index.0 + self.entries.len() as u64 + 1;
                assert_eq!(first.0, next, "a gap on disk");
                self.entries.extend(entries);
            }
            What::Log(WriteWhat::Truncate { first }) => {
                self.entries.truncate(usize::try_from(first.0 - 1 - self.base.index.0).unwrap());
            }
            What::Log(WriteWhat::Replace { .. }) => unreachable!("told with its content"),
            What::Checkpoint { base, content, sessions } => {
                let n = usize::try_from(base.index.0 - self.base.index.0).unwrap();
                self.entries.drain(..n);
                (self.base, self.content, self.sessions) = (base, content, sessions);
            }
            What::Replace { base, content, sessions } => {
                self.entries.clear();
                (self.base, self.content, self.sessions) = (base, content, sessions);
            }
        }
        write.ticket
    }

    /// What a process finds.
    pub(super) fn recovered(&self) -> (Recovered, Content) {
        let recovered = Recovered {
            rid: self.rid,
            lineage: self.lineage,
            base: self.base,
            sessions: self.sessions.clone(),
            lacks_upto: self.lacks_upto,
            entries: self.entries.clone(),
        };
        (recovered, self.content.clone())
    }

    /// Whether these entries, of which the first has this index, are on it or went into its checkpoint.
    pub(super) fn holds(&self, upto: OpIndex, entry_at: impl Fn(OpIndex) -> Option<Entry>) -> bool {
        (self.base.index.0 + 1..=upto.0).map(OpIndex).all(|index| {
            let at = usize::try_from(index.0 - self.base.index.0 - 1).unwrap();
            self.entries.get(at).cloned() == entry_at(index)
        })
    }
}
