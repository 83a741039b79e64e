//! One copy of one queue on this node. What both a leader and a mirror have is here; what only one of them does is in
//! `leader` and `mirror`.
//!
//! The copy is the log and how far it is committed. What the ops mean is the queue's business: it applies what is
//! committed, and when its copy begins to lead also what is behind that.

use super::bugs::{Bug, Bugs};
use super::effects::{Ack, Effects, Happened, Message, Stale, Write, WriteWhat};
use super::ids::{Epoch, Incarnation, NodeId, Position, ReplicaId, SessionId};
use super::leader::Leader;
use super::log::{Entry, OpLog, Ticket};
use super::metadata::{LeaderRef, QueueRecord};
use super::mirror::Mirror;
use super::sessions::Sessions;
use leveret_engine::{OpIndex, QueueId, Timestamp};
use std::sync::Arc;

/// How long a mirror may have something to do and get no further before its leader asks to go on without it, in
/// milliseconds. Confirms wait for as long.
pub const ISR_LAG_MS: u64 = 2_000;

/// What was found on disk of a copy.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Its life; that of a copy that was never here is in the record of its queue.
    pub rid: ReplicaId,
    /// The history it belongs to.
    pub lineage: u32,
    /// The last entry that went into its checkpoint.
    pub base: Position,
    /// The last publish of each session up to there.
    pub sessions: Vec<(SessionId, u64)>,
    /// The copy has nothing of what ops up to here have done; 0 is a whole copy.
    pub lacks_upto: OpIndex,
    /// The entries after the base.
    pub entries: Vec<Entry>,
}

/// This copy does not lead: the op has to go to the one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this copy does not lead its queue")]
pub struct NotLeading;

/// One copy of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub(super) queue: QueueId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) rid: ReplicaId,
    pub(super) lineage: u32,
    pub(super) log: OpLog,
    pub(super) sessions: Sessions,
    pub(super) commit: OpIndex,
    pub(super) lacks_upto: OpIndex,
    /// The highest epoch that was heard of: nothing below it is accepted (rule R5).
    pub(super) promised: Epoch,
    /// What is agreed on of the queue, as far as it is known here. Rule R1: a copy does nothing before it knows.
    pub(super) known: Option<Arc<QueueRecord>>,
    pub(super) role: Role,
    pub(super) bugs: Bugs,
}

/// What a copy is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Leader(Leader),
    Mirror(Mirror),
}

impl Replica {
    /// The copy of a queue on a node that was started as `incarnation`.
    #[must_use]
    pub fn new(
        queue: QueueId,
        node: NodeId,
        incarnation: Incarnation,
        recovered: Recovered,
    ) -> Self {
        let Recovered { rid, lineage, base, sessions, lacks_upto, entries } = recovered;
        let log = OpLog::recovered(base, entries);
        Self {
            queue,
            node,
            incarnation,
            rid,
            lineage,
            promised: log.end().epoch,
            log,
            sessions: Sessions::restored(&sessions),
            commit: base.index,
            lacks_upto,
            known: None,
            role: Role::Mirror(Mirror::default()),
            bugs: Bugs::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn set_bugs(&mut self, bugs: Bugs) {
        self.bugs = bugs;
        self.log.set_bugs(bugs);
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &OpLog {
        &self.log
    }

    /// How far it is committed, as far as this copy knows.
    #[must_use]
    pub fn commit(&self) -> OpIndex {
        self.commit
    }

    /// The epoch in which it leads, if it does.
    #[must_use]
    pub fn leads(&self) -> Option<Epoch> {
        if let Role::Leader(leader) = &self.role { Some(leader.epoch) } else { None }
    }

    /// The life of this copy.
    #[must_use]
    pub fn rid(&self) -> ReplicaId {
        self.rid
    }

    /// The history it belongs to (rule R13).
    #[must_use]
    pub fn lineage(&self) -> u32 {
        self.lineage
    }

    /// It has nothing of what ops up to here have done; 0 is a whole copy.
    #[must_use]
    pub fn lacks_upto(&self) -> OpIndex {
        self.lacks_upto
    }

    /// The last committed publish of each session, for a checkpoint.
    #[must_use]
    pub fn sessions(&self) -> Vec<(SessionId, u64)> {
        self.sessions.committed()
    }

    /// The last publish of a session that is in the log, and the last that is committed; 0 if there is none. Of a leader.
    #[must_use]
    pub fn known_of(&self, session: SessionId) -> (u64, u64) {
        self.sessions.known(session)
    }

    /// Takes what is agreed on of the queue. `registered` is the start of this node that is agreed on: rule R1, a process
    /// that is not the registered one acts on nothing.
    pub fn learn(
        &mut self,
        record: &Arc<QueueRecord>,
        registered: Incarnation,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let unregistered = registered != self.incarnation
            && !self.bugs.has(Bug::ActsUnregistered)
            && !self.bugs.has(Bug::LeadsAfterRestart);
        let older = self.known.as_ref().is_some_and(|known| known.cfg > record.cfg);
        let Some(mine) = record.replica(self.node).filter(|_| !unregistered && !older) else {
            return;
        };
        if mine.rid != self.rid {
            self.begin_again(mine.rid, record.lineage, fx);
        }
        if mine.is_in_sync() {
            self.lacks_upto = OpIndex(0);
        }
        if self.leads().is_some_and(|epoch| epoch < record.epoch) {
            self.step_down(fx);
        }
        if self.leads().is_none() && self.promised < record.epoch {
            // Rule R5: the agreed state fences as much as a leader's message does.
            if !self.bugs.has(Bug::ActsUnregistered) {
                self.promise(record.epoch, fx);
            }
        }
        self.known = Some(record.clone());
        let me = LeaderRef { node: self.node, incarnation: self.incarnation };
        let elected = record.leader == Some(me) && self.promised <= record.epoch;
        if elected && self.leads() != Some(record.epoch) {
            self.lead(record, now, fx);
        } else if self.leads().is_some() {
            self.follow_record(record, now, fx);
        }
    }

    /// Everything up to this write is on the platter.
    pub fn written(&mut self, upto: Ticket, now: Timestamp, fx: &mut Effects) {
        let before = self.log.durable();
        self.log.written(upto);
        match &self.role {
            Role::Leader(_) => self.leader_written(now, fx),
            Role::Mirror(_) if self.log.durable() > before => self.ack(fx),
            Role::Mirror(_) => {}
        }
    }

    /// Takes a message of another copy. One that is stale, or for another life of this copy, changes nothing.
    pub fn receive(&mut self, message: Message, now: Timestamp, fx: &mut Effects) {
        match message {
            Message::Append(append) => self.on_append(append, fx),
            Message::Part(part) => self.on_part(part, fx),
            Message::Ack(ack) => self.on_ack(&ack, now, fx),
            Message::Conflict(conflict) => self.on_conflict(&conflict, now, fx),
            Message::PartAck(ack) => self.on_part_ack(&ack, now, fx),
            Message::Stale(stale) => self.on_stale(&stale, fx),
        }
    }

    /// Lets entries go that are committed and stored elsewhere; not those that a copy under way needs. Answers with what
    /// is left.
    pub fn retire(&mut self, upto: OpIndex) -> OpIndex {
        let mut upto = upto.min(self.commit);
        if let Role::Leader(leader) = &self.role {
            upto = leader.copied_at().fold(upto, OpIndex::min);
        }
        if upto > self.log.base().index {
            self.log.retire(upto);
        }
        self.log.base().index
    }

    /// Somebody knows of a later epoch.
    fn on_stale(&mut self, stale: &Stale, fx: &mut Effects) {
        if self.leads().is_some_and(|epoch| epoch < stale.promised) {
            self.promise(stale.promised, fx);
        }
    }

    /// From now on nothing below this epoch is accepted.
    pub(super) fn promise(&mut self, epoch: Epoch, fx: &mut Effects) {
        self.step_down(fx);
        self.promised = epoch;
        self.role = Role::Mirror(Mirror::default());
    }

    fn step_down(&mut self, fx: &mut Effects) {
        if self.leads().is_some() {
            self.role = Role::Mirror(Mirror::default());
            self.sessions.forget_uncommitted();
            fx.happened.push(Happened::Deposed);
        }
    }

    /// The copy has a new life: what it held is not a part of it.
    fn begin_again(&mut self, rid: ReplicaId, lineage: u32, fx: &mut Effects) {
        self.step_down(fx);
        if lineage > self.lineage && self.rid != ReplicaId::default() {
            // Rule R13: set aside, so that an operator may look at it.
            fx.happened.push(Happened::Quarantined { rid: self.rid });
        }
        (self.rid, self.lineage) = (rid, lineage);
        if self.log.end() != Position::default() {
            self.log.reset(Position::default());
            self.write(WriteWhat::Replace { base: Position::default() }, fx);
        }
        self.sessions = Sessions::default();
        self.commit = OpIndex(0);
        self.lacks_upto = OpIndex(0);
        self.role = Role::Mirror(Mirror::default());
    }

    pub(super) fn write(&mut self, what: WriteWhat, fx: &mut Effects) {
        let ticket = self.log.begin_write();
        fx.writes.push(Write { ticket, what });
    }

    /// Says how far this mirror is. Rule R7: on disk is only what the disk has said so of.
    pub(super) fn ack(&self, fx: &mut Effects) {
        let Role::Mirror(mirror) = &self.role else { return };
        let Some(leader) = mirror.leader.filter(|_| mirror.matched > OpIndex(0)) else { return };
        let received = mirror.matched;
        let early = self.bugs.has(Bug::AcksBeforeSynced);
        let durable = if early { received } else { received.min(self.log.durable()) };
        let ack = Ack {
            queue: self.queue,
            node: self.node,
            incarnation: self.incarnation,
            rid: self.rid,
            epoch: self.promised,
            received,
            durable,
            lacks_upto: self.lacks_upto,
            commit: self.commit,
        };
        fx.sends.push((leader, Message::Ack(ack)));
    }
}
