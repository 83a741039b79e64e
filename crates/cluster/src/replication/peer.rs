//! What a leader knows of one of its mirrors, and what it sends it next.

use super::effects::{Ack, Append, Conflict, Effects, Message, Part, PartAck, Supply};
use super::ids::{Epoch, Incarnation, NodeId, Position, ReplicaId, SessionId};
use super::log::OpLog;
use leveret_engine::{OpIndex, QueueId, Timestamp};
use std::sync::Arc;

/// Bytes of entries in one message, at most, but for its last entry: a frame that is not too large for the peer, and
/// another queue's turn after it.
pub const APPEND_BYTES_MAX: usize = 256 << 10;

/// Entries that are on their way to one mirror of one queue, at most: about what a disk takes in the time that an answer
/// needs. They lie in the log anyway; what is encoded for a connection is that connection's to limit.
pub const WINDOW_ENTRIES_MAX: u64 = 1024;

/// How long a leader waits for an answer before it sends again, in milliseconds. A message is lost only with its
/// connection, so this is long.
pub const RESEND_AFTER_MS: u64 = 500;

/// One mirror, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) rid: ReplicaId,
    /// The start of its node that has answered in this epoch.
    pub(super) incarnation: Option<Incarnation>,
    /// What it has received, as it has said in this epoch.
    pub(super) received: OpIndex,
    /// What it has on disk, as it has said in this epoch.
    pub(super) durable: OpIndex,
    /// What its copy does not go back to.
    pub(super) lacks_upto: OpIndex,
    /// When it last got further, or had nothing to do.
    pub(super) progress_at: Timestamp,
    sent_at: Timestamp,
    /// What it knows to be committed, as it has said in this epoch.
    commit: OpIndex,
    flow: Flow,
}

/// How a mirror is supplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flow {
    /// The leader asks which entry both have; one question at a time.
    Probe { prev: OpIndex, asked: bool },
    /// Everything before `next` was sent.
    Stream { next: OpIndex },
    /// The log does not go back as far: the state at an entry is copied.
    Copy { at: Position, part: u32 },
}

/// What is the same in all messages of a leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    pub(super) queue: QueueId,
    pub(super) epoch: Epoch,
    pub(super) leader: NodeId,
    pub(super) commit: OpIndex,
}

/// A part of a copy that was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) at: Position,
    pub(super) part: u32,
    pub(super) last: bool,
    pub(super) natural: bool,
    pub(super) sessions: Vec<(SessionId, u64)>,
    pub(super) state: Arc<[u8]>,
}

impl Peer {
    /// A mirror of which nothing is known but that it may have what was there before the epoch.
    pub(super) fn new(node: NodeId, rid: ReplicaId, before: OpIndex, now: Timestamp) -> Self {
        Self {
            node,
            rid,
            incarnation: None,
            received: OpIndex(0),
            durable: OpIndex(0),
            lacks_upto: OpIndex(0),
            progress_at: now,
            sent_at: now,
            commit: OpIndex(0),
            flow: Flow::Probe { prev: before, asked: false },
        }
    }

    /// Whether it has everything on disk and knows what is committed.
    pub(super) fn is_level_with(&self, log: &OpLog, commit: OpIndex) -> bool {
        self.durable >= log.end().index && self.commit >= commit && self.copied_at().is_none()
    }

    /// Sends what there is to send. False: what it would have to be sent is not in the log any more, so that it needs a
    /// copy.
    #[must_use]
    pub(super) fn send(
        &mut self,
        voice: Voice,
        log: &OpLog,
        now: Timestamp,
        fx: &mut Effects,
    ) -> bool {
        match self.flow {
            Flow::Copy { .. } | Flow::Probe { asked: true, .. } => true,
            Flow::Probe { prev, .. } => {
                self.flow = Flow::Probe { prev, asked: true };
                self.append(voice, log, prev, now, fx).is_some()
            }
            Flow::Stream { mut next } => {
                while next <= log.end().index && next.0 <= self.received.0 + WINDOW_ENTRIES_MAX {
                    let Some(n) = self.append(voice, log, OpIndex(next.0 - 1), now, fx) else {
                        return false;
                    };
                    next.0 += n;
                }
                self.flow = Flow::Stream { next };
                true
            }
        }
    }

    /// Sends the entries after `prev`, and says how many; `None` if the log does not go back there.
    fn append(
        &mut self,
        voice: Voice,
        log: &OpLog,
        prev: OpIndex,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Option<u64> {
        let before = Position { epoch: log.epoch_at(prev)?, index: prev };
        let entries = log.slice(OpIndex(prev.0 + 1), APPEND_BYTES_MAX);
        let n = entries.len() as u64;
        let Voice { queue, epoch, leader, commit } = voice;
        let rid = self.rid;
        self.sent_at = now;
        let append = Append { queue, rid, epoch, leader, prev: before, entries, commit };
        fx.sends.push((self.node, Message::Append(append)));
        Some(n)
    }

    /// Takes what the mirror says of itself. Rule R7: not what an earlier start of its node has said. False: it says
    /// nothing that counts.
    pub(super) fn acked(&mut self, ack: &Ack, now: Timestamp) -> bool {
        let known = self.incarnation.unwrap_or_default();
        if ack.rid != self.rid || ack.incarnation < known {
            return false;
        }
        if ack.incarnation > known {
            self.incarnation = Some(ack.incarnation);
            (self.received, self.durable) = (ack.received, ack.durable);
            self.progress_at = now;
            self.flow = Flow::Stream { next: OpIndex(ack.received.0 + 1) };
        }
        if ack.received > self.received || ack.durable > self.durable {
            self.received = self.received.max(ack.received);
            self.durable = self.durable.max(ack.durable);
            self.progress_at = now;
        }
        (self.lacks_upto, self.commit) = (ack.lacks_upto, ack.commit);
        let after = OpIndex(self.received.0 + 1);
        self.flow = match self.flow {
            Flow::Copy { at, .. } if ack.received < at.index => self.flow,
            Flow::Stream { next } => Flow::Stream { next: next.max(after) },
            Flow::Copy { .. } | Flow::Probe { .. } => Flow::Stream { next: after },
        };
        true
    }

    /// The mirror lacks what comes before: the leader goes back to where both may agree.
    pub(super) fn conflicted(&mut self, conflict: &Conflict, log: &OpLog) -> bool {
        if conflict.rid != self.rid {
            return false;
        }
        match self.flow {
            Flow::Probe { prev, asked: true } if prev == conflict.prev.index => {
                let ours = log.end_of(conflict.end.epoch).index;
                let both = conflict.end.index.min(ours).min(OpIndex(prev.0.saturating_sub(1)));
                self.flow = Flow::Probe { prev: both, asked: false };
                true
            }
            // Something was lost on the way.
            Flow::Stream { next } if (self.received..next).contains(&conflict.prev.index) => {
                self.rewind();
                true
            }
            _ => false,
        }
    }

    /// The connection is new, or an answer is overdue: what was sent may be lost.
    pub(super) fn rewind(&mut self) {
        self.flow = match self.flow {
            Flow::Probe { prev, .. } => Flow::Probe { prev, asked: false },
            Flow::Stream { .. } => Flow::Probe { prev: self.received, asked: false },
            copy @ Flow::Copy { .. } => copy,
        };
    }

    /// Begins to copy the state after `at`.
    pub(super) fn begin_copy(&mut self, at: Position, now: Timestamp) {
        self.flow = Flow::Copy { at, part: 0 };
        (self.sent_at, self.progress_at) = (now, now);
    }

    /// Asks for the part that is due.
    pub(super) fn want_part(&mut self, now: Timestamp, fx: &mut Effects) {
        if let Flow::Copy { at, part } = self.flow {
            self.sent_at = now;
            fx.supplies.push(Supply { node: self.node, at, part });
        }
    }

    /// Sends a part of the copy, if it is the one that is due.
    pub(super) fn send_part(&mut self, voice: Voice, made: Made, now: Timestamp, fx: &mut Effects) {
        let Made { at, part, last, natural, sessions, state } = made;
        if self.flow != (Flow::Copy { at, part }) {
            return;
        }
        self.sent_at = now;
        let Voice { queue, epoch, leader, .. } = voice;
        let rid = self.rid;
        let part = Part { queue, rid, epoch, leader, at, part, last, natural, sessions, state };
        fx.sends.push((self.node, Message::Part(part)));
    }

    /// A part has arrived. False: it is none that is under way.
    pub(super) fn part_acked(&mut self, ack: &PartAck, now: Timestamp) -> bool {
        match &mut self.flow {
            Flow::Copy { at, part } if *at == ack.at && ack.next <= *part + 1 => {
                *part = ack.next;
                (self.sent_at, self.progress_at) = (now, now);
                ack.rid == self.rid
            }
            _ => false,
        }
    }

    /// The state that is being copied: the log behind it must stay.
    pub(super) fn copied_at(&self) -> Option<OpIndex> {
        if let Flow::Copy { at, .. } = self.flow { Some(at.index) } else { None }
    }

    /// When it is time to look after it again.
    pub(super) fn resend_at(&self) -> Timestamp {
        self.sent_at.plus(RESEND_AFTER_MS)
    }
}
