//! What a disk keeps of a copy: what stands in group commits and at the head of checkpoints, and what a start makes of
//! both. The bytes are postcard; what is written down has the variants by their number: new ones go to the end.
//!
//! ```text
//!  group commits:  Begins ─ Append ─ Append ─ Truncate ─ Append ─ ...           ─ Ends
//!  checkpoints:                          Head(base) + the queue's state, at or behind base
//! ```
//!
//! A checkpoint is the state of the queue after some op that is committed. The log goes on from its `base`, which may lie
//! before that op: what lies between is in the state already, but for messages that only the log has.

use super::ids::{Position, ReplicaId, SessionId};
use super::log::Entry;
use super::replica::Recovered;
use super::shared_bytes;
use leveret_engine::OpIndex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which life of a copy something belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The copy.
    pub rid: ReplicaId,
    /// The history it belongs to.
    pub lineage: u32,
    /// It has nothing of what ops up to here have done.
    pub lacks_upto: OpIndex,
}

/// What a group commit keeps of one copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// The queue is a copy from here on. What it did before, up to `base`, stands in ops of its own.
    Begins {
        /// The copy.
        life: Life,
        /// The last op before.
        base: Position,
    },
    /// Something of its life has changed.
    Life(Life),
    /// Entries that follow one another.
    Append {
        /// The index of the first.
        first: OpIndex,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Nothing from this entry on counts any more.
    Truncate {
        /// The first that does not.
        first: OpIndex,
    },
    /// The queue has no other copy from here on, and all of the log is done.
    Ends,
}

/// What stands before the queue's state in the checkpoint of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The copy.
    pub life: Life,
    /// Where the log goes on.
    pub base: Position,
    /// The last committed publish of each session.
    pub sessions: Vec<(SessionId, u64)>,
}

/// What one part of a copy on its way to a mirror holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartState {
    /// A chunk of messages.
    Chunk(PartChunk),
    /// A chunk that is gone meanwhile: nothing that was in it is to be told.
    Gone,
    /// The queue's state, with the last part.
    State(#[serde(with = "shared_bytes")] Arc<[u8]>),
}

/// A chunk of messages, as the leader's store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChunk {
    /// The priority level.
    pub priority: u8,
    /// The position of its first message.
    pub first: u64,
    /// The position after its last one.
    pub end: u64,
    /// Messages in it.
    pub n: u32,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// The earliest expiry.
    pub min_expiry: u64,
    /// When the first of them arrived.
    pub first_at: u64,
    /// The flags of the store's index.
    pub flags: u8,
    /// The messages.
    #[serde(with = "shared_bytes")]
    pub data: Arc<[u8]>,
}

/// Bytes that are none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is kept of a copy makes no sense")]
pub struct Unreadable;

/// Appends the bytes of what a group commit keeps of one copy.
pub fn write_kept(kept: &[Kept], out: &mut Vec<u8>) {
    write(kept, out);
}

/// Reads what [`write_kept`] wrote.
///
/// # Errors
/// [`Unreadable`].
pub fn read_kept(bytes: &[u8]) -> Result<Vec<Kept>, Unreadable> {
    match postcard::take_from_bytes(bytes) {
        Ok((kept, [])) => Ok(kept),
        _ => Err(Unreadable),
    }
}

impl Head {
    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        write(self, out);
    }

    /// Reads them, and gives what comes after.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Unreadable> {
        postcard::take_from_bytes(bytes).map_err(|_| Unreadable)
    }
}

impl PartState {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Arc<[u8]> {
        let mut out = Vec::new();
        write(self, &mut out);
        out.into()
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        postcard::from_bytes(bytes).map_err(|_| Unreadable)
    }
}

fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Only a value that does not know its length fails, and none of these is one.
    if let Ok(bytes) = postcard::to_extend(value, std::mem::take(out)) {
        *out = bytes;
    }
}

/// A copy as a start finds it: first its checkpoint, then what the group commits keep, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundCopy {
    head: Head,
    entries: Vec<Entry>,
}

impl FoundCopy {
    /// A copy of which there is a checkpoint.
    #[must_use]
    pub fn with_head(head: Head) -> Self {
        Self { head, entries: Vec::new() }
    }

    /// A copy that begins in a group commit.
    #[must_use]
    pub fn beginning(life: Life, base: Position) -> Self {
        Self::with_head(Head { life, base, sessions: Vec::new() })
    }

    /// Takes in what is kept of it; not [`Kept::Ends`].
    pub fn take(&mut self, kept: Kept) {
        match kept {
            Kept::Begins { life, base } if base.index > self.head.base.index => {
                *self = Self::beginning(life, base);
            }
            // The checkpoint is of a later time.
            Kept::Begins { .. } | Kept::Ends => {}
            Kept::Life(life) => self.head.life = life,
            Kept::Append { first, entries } => self.append(first, entries),
            Kept::Truncate { first } => {
                let keep = first.0.saturating_sub(self.head.base.index.0 + 1);
                self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            }
        }
    }

    fn append(&mut self, first: OpIndex, entries: Vec<Entry>) {
        let base = self.head.base.index.0;
        let next = base + self.entries.len() as u64 + 1;
        // What went into the checkpoint before it was retired.
        let known = next.saturating_sub(first.0);
        debug_assert!(first.0 <= next, "a gap in what is kept of a log");
        if next == base + 1 || known == 0 {
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            self.entries.extend(entries.into_iter().skip(known));
        }
    }

    /// Where its log goes on.
    #[must_use]
    pub fn base(&self) -> Position {
        self.head.base
    }

    /// The entries of its log.
    pub fn entries(&self) -> impl Iterator<Item = (OpIndex, &Entry)> {
        (self.head.base.index.0 + 1..).map(OpIndex).zip(&self.entries)
    }

    /// The life it has.
    #[must_use]
    pub fn life(&self) -> Life {
        self.head.life
    }

    /// What a [`Replica`](super::Replica) begins with.
    #[must_use]
    pub fn recovered(self) -> Recovered {
        let Head { life, base, sessions } = self.head;
        let Life { rid, lineage, lacks_upto } = life;
        Recovered { rid, lineage, base, sessions, lacks_upto, entries: self.entries }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::Epoch;
    use super::super::log::Payload;
    use super::*;

    fn at(epoch: u64, index: u64) -> Position {
        Position { epoch: Epoch(epoch), index: OpIndex(index) }
    }

    fn append(epoch: u64, first: u64, n: usize) -> Kept {
        let entry = Entry { epoch: Epoch(epoch), payload: Payload::EpochStart };
        Kept::Append { first: OpIndex(first), entries: vec![entry; n] }
    }

    fn epochs(copy: &FoundCopy) -> Vec<(u64, u64)> {
        copy.entries().map(|(index, entry)| (index.0, entry.epoch.0)).collect()
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut copy = FoundCopy::beginning(Life::default(), at(0, 4));
        for kept in [append(1, 5, 3), Kept::Truncate { first: OpIndex(6) }, append(2, 6, 1)] {
            copy.take(kept);
        }
        assert_eq!(epochs(&copy), [(5, 1), (6, 2)]);
    }

    #[test]
    fn of_a_log_only_what_is_behind_the_checkpoint_counts() {
        let head = Head { base: at(2, 6), ..Head::default() };
        let mut copy = FoundCopy::with_head(head);
        let life = Life { rid: ReplicaId(9), ..Life::default() };
        let kept = [
            Kept::Begins { life, base: at(0, 4) },
            append(1, 5, 3),
            Kept::Truncate { first: OpIndex(6) },
            append(2, 6, 2),
            append(2, 8, 1),
        ];
        let mut bytes = vec![7];
        write_kept(&kept, &mut bytes);
        for kept in read_kept(&bytes[1..]).unwrap() {
            copy.take(kept);
        }
        assert_eq!(epochs(&copy), [(7, 2), (8, 2)]);
        assert_eq!(copy.life(), Life::default());
        assert_eq!(read_kept(&bytes), Err(Unreadable));
    }
}
