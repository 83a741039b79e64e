//! The log of one queue on one node: its ops in order, the epochs they were written in, and how far the disk is.
//!
//! Old entries leave once they are committed and stored elsewhere (`retire`); what is not committed may be cut off again
//! (`truncate`). Writes to disk are told with a ticket and reported as done in their order.

use super::bugs::Bugs;
use super::ids::{Epoch, Position, SessionId};
use super::shared_bytes;
use leveret_engine::OpIndex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// One op of a queue, or something that is about the log itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// A leader has begun.
    EpochStart,
    /// A change of the queue.
    Op(OpBytes),
    /// A session will not publish any more.
    SessionEnd(SessionId),
}

/// A change of the queue, as the engine has encoded it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpBytes {
    /// Whose publishes they are, if they are publishes.
    pub origin: Option<Origin>,
    /// Whether it need not survive a restart: whoever published it is answered when all copies have received it.
    pub transient: bool,
    /// The op.
    #[serde(with = "shared_bytes")]
    pub bytes: Arc<[u8]>,
}

/// Which publishes of a session an op has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The session.
    pub session: SessionId,
    /// The number of the first, counted per session and queue from 1 on.
    pub first: u64,
    /// How many.
    pub n: u32,
}

impl Origin {
    /// The number of the last one.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.first + self.n as u64 - 1
    }
}

/// The bytes an entry takes on the wire besides its op, about.
const ENTRY_BYTES: usize = 32;

impl Entry {
    /// About how much room it takes, in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match &self.payload {
            Payload::Op(op) => ENTRY_BYTES + op.bytes.len(),
            Payload::EpochStart | Payload::SessionEnd(_) => ENTRY_BYTES,
        }
    }
}

/// One write to the disk. The disk does them in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The log.
///
/// `base.index <= end`, `durable <= end`, and, what its owner sees to, `base.index <= commit`.
#[derive(Clone, Debug, Default)]
pub struct OpLog {
    /// The last entry that is not here any more.
    base: Position,
    entries: VecDeque<Entry>,
    /// The first entry of each epoch among `entries`.
    starts: Vec<(Epoch, OpIndex)>,
    bytes: usize,
    durable: OpIndex,
    /// What is being written: with each ticket, up to where the log is durable once it is done.
    writing: VecDeque<(Ticket, OpIndex)>,
    tickets: u64,
    bugs: Bugs,
}

impl OpLog {
    /// The log as it was found on disk: all of it is durable.
    #[must_use]
    pub fn recovered(base: Position, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut log = Self { base, durable: base.index, ..Self::default() };
        for entry in entries {
            log.append(entry);
        }
        log.durable = log.end().index;
        log
    }

    #[cfg(test)]
    pub(super) fn set_bugs(&mut self, bugs: Bugs) {
        self.bugs = bugs;
    }

    /// The last entry that is not here any more; everything up to it is committed.
    #[must_use]
    pub fn base(&self) -> Position {
        self.base
    }

    /// The last entry.
    #[must_use]
    pub fn end(&self) -> Position {
        let epoch = self.entries.back().map_or(self.base.epoch, |entry| entry.epoch);
        Position { epoch, index: OpIndex(self.base.index.0 + self.entries.len() as u64) }
    }

    /// How far the disk has it.
    #[must_use]
    pub fn durable(&self) -> OpIndex {
        self.durable
    }

    /// Bytes of the entries that are here, about.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// The epoch of an entry, if it is here or the last one that is not.
    #[must_use]
    pub fn epoch_at(&self, index: OpIndex) -> Option<Epoch> {
        if index == self.base.index {
            return Some(self.base.epoch);
        }
        self.get(index).map(|entry| entry.epoch)
    }

    /// Whether the log has this very entry; if so, it is the same log up to there.
    #[must_use]
    pub fn has(&self, position: Position) -> bool {
        self.epoch_at(position.index) == Some(position.epoch)
    }

    /// An entry that is here.
    #[must_use]
    pub fn get(&self, index: OpIndex) -> Option<&Entry> {
        let at = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The entries from `first` on: as many as fit into `bytes_max`, but at least one if there is one.
    #[must_use]
    pub fn slice(&self, first: OpIndex, bytes_max: usize) -> Vec<Entry> {
        let (mut out, mut bytes, mut index) = (Vec::new(), 0, first);
        while let Some(entry) = self.get(index) {
            bytes += entry.byte_len();
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
            index.0 += 1;
        }
        out
    }

    /// All entries that are here.
    pub fn entries(&self) -> impl Iterator<Item = (OpIndex, &Entry)> {
        (self.base.index.0 + 1..).map(OpIndex).zip(&self.entries)
    }

    /// The last entry whose epoch is not above `epoch`: two logs that disagree can agree at or before the lower of
    /// their answers.
    #[must_use]
    pub fn end_of(&self, epoch: Epoch) -> Position {
        let after = self.starts.iter().find(|(start, _)| *start > epoch);
        let index = match after {
            Some((_, first)) => OpIndex(first.0 - 1),
            None => self.end().index,
        };
        Position { epoch: self.epoch_at(index).unwrap_or(self.base.epoch), index }
    }

    /// Adds an entry at the end.
    pub fn append(&mut self, entry: Entry) -> OpIndex {
        let end = self.end();
        debug_assert!(entry.epoch >= end.epoch || self.bugs.any(), "epochs go back in a log");
        let index = OpIndex(end.index.0 + 1);
        if entry.epoch > end.epoch || self.starts.is_empty() {
            self.starts.push((entry.epoch, index));
        }
        self.bytes += entry.byte_len();
        self.entries.push_back(entry);
        index
    }

    /// Cuts off everything from `first` on. It must not be committed.
    pub fn truncate(&mut self, first: OpIndex) {
        let keep = first.0.saturating_sub(self.base.index.0 + 1);
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).min(self.entries.len());
        for entry in self.entries.drain(keep..) {
            self.bytes -= entry.byte_len();
        }
        self.starts.retain(|(_, start)| *start < first);
        let end = self.end().index;
        self.durable = self.durable.min(end);
        // What is being written of it is not what will stand there.
        for (_, upto) in &mut self.writing {
            *upto = (*upto).min(end);
        }
    }

    /// Lets the entries up to `upto` go: they are committed, and stored elsewhere.
    pub fn retire(&mut self, upto: OpIndex) {
        let upto = upto.min(self.end().index);
        let Some(epoch) = self.epoch_at(upto) else { return };
        let n = upto.0 - self.base.index.0;
        for entry in self.entries.drain(..usize::try_from(n).unwrap_or(usize::MAX)) {
            self.bytes -= entry.byte_len();
        }
        self.base = Position { epoch, index: upto };
        self.durable = self.durable.max(upto);
        let first = self.entries.front().map(|entry| entry.epoch);
        self.starts.retain(|(epoch, _)| first.is_some_and(|first| *epoch >= first));
        if let Some(start) = self.starts.first_mut() {
            start.1 = start.1.max(OpIndex(upto.0 + 1));
        }
    }

    /// Begins again behind `base`: what was before came as a whole. Nothing is durable until it is written.
    pub fn reset(&mut self, base: Position) {
        let (tickets, bugs) = (self.tickets, self.bugs);
        *self = Self { base, tickets, bugs, ..Self::default() };
    }

    /// A write that makes the log durable up to its present end.
    pub fn begin_write(&mut self) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.writing.push_back((ticket, self.end().index));
        ticket
    }

    /// All writes up to this one are on the platter.
    pub fn written(&mut self, upto: Ticket) {
        while let Some((_, index)) = self.writing.pop_front_if(|(ticket, _)| *ticket <= upto) {
            let end = self.end().index;
            self.durable = self.durable.max(index.min(end));
        }
    }

    /// Whether something is still being written.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }
}

/// The numbers of tickets are no part of what a log is.
impl PartialEq for OpLog {
    fn eq(&self, other: &Self) -> bool {
        let upto = |log: &Self| log.writing.iter().map(|(_, index)| *index).collect::<Vec<_>>();
        (self.base, &self.entries, self.durable) == (other.base, &other.entries, other.durable)
            && upto(self) == upto(other)
    }
}

impl Eq for OpLog {}

impl Hash for OpLog {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.base, &self.entries, self.durable).hash(state);
        self.writing.iter().for_each(|(_, index)| index.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(epoch: u64, name: u8) -> Entry {
        let bytes = [name].into();
        let op = OpBytes { origin: None, transient: false, bytes };
        Entry { epoch: Epoch(epoch), payload: Payload::Op(op) }
    }

    fn log(epochs: &[u64]) -> OpLog {
        let entries = epochs.iter().zip(0..).map(|(epoch, name)| entry(*epoch, name));
        OpLog::recovered(Position::default(), entries)
    }

    fn at(epoch: u64, index: u64) -> Position {
        Position { epoch: Epoch(epoch), index: OpIndex(index) }
    }

    #[test]
    fn the_end_of_an_epoch_is_the_last_entry_not_above_it() {
        let log = log(&[1, 1, 3, 3, 5]);
        let ends = [(0, at(0, 0)), (1, at(1, 2)), (2, at(1, 2)), (4, at(3, 4)), (9, at(5, 5))];
        for (epoch, end) in ends {
            assert_eq!(log.end_of(Epoch(epoch)), end);
        }
    }

    #[test]
    fn what_retired_is_known_by_its_last_entry_alone() {
        let mut log = log(&[1, 1, 3, 3, 5]);
        log.retire(OpIndex(3));
        assert_eq!((log.base(), log.end()), (at(3, 3), at(5, 5)));
        assert!(log.has(at(3, 3)) && log.has(at(3, 4)) && !log.has(at(1, 2)));
        assert_eq!(log.end_of(Epoch(3)), at(3, 4));
        assert_eq!(log.end_of(Epoch(2)), at(3, 3));
        log.retire(OpIndex(9));
        assert_eq!((log.base(), log.end(), log.byte_len()), (at(5, 5), at(5, 5), 0));
        assert_eq!(log.end_of(Epoch(9)), at(5, 5));
    }

    #[test]
    fn a_write_of_what_was_cut_off_makes_nothing_durable_that_came_after() {
        let mut log = log(&[1]);
        log.append(entry(1, 8));
        log.append(entry(1, 9));
        let old = log.begin_write();
        log.truncate(OpIndex(3));
        log.append(entry(2, 7));
        let new = log.begin_write();
        log.written(old);
        assert_eq!(log.durable(), OpIndex(2));
        log.written(new);
        assert_eq!(log.durable(), OpIndex(3));
        assert!(!log.is_writing());
    }

    #[test]
    fn a_slice_has_no_more_bytes_than_it_may_but_at_least_one_entry() {
        let log = log(&[1, 1, 1]);
        let one = entry(1, 0).byte_len();
        assert_eq!(log.slice(OpIndex(1), 0).len(), 1);
        assert_eq!(log.slice(OpIndex(1), 2 * one).len(), 2);
        assert_eq!(log.slice(OpIndex(2), 9 * one).len(), 2);
        assert!(log.slice(OpIndex(4), 9 * one).is_empty());
    }
}
