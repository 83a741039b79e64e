//! A mirror: it takes what its leader sends, in order, and says how far it is.

use super::bugs::Bug;
use super::effects::{
    Append, Conflict, Effects, Fatal, Happened, Message, Part, PartAck, Stale, WriteWhat,
};
use super::ids::{Epoch, NodeId, Position, ReplicaId};
use super::log::Entry;
use super::replica::{Replica, Role};
use super::sessions::Sessions;
use leveret_engine::OpIndex;

/// What a mirror knows in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mirror {
    /// Who leads, as it has said itself.
    pub(super) leader: Option<NodeId>,
    /// Up to here the log is the leader's.
    pub(super) matched: OpIndex,
    /// A copy on its way: of which state, and its next part.
    incoming: Option<(Position, u32)>,
}

impl Replica {
    /// Whether to take what a leader sends. Rules R1 and R5.
    fn heed(&mut self, rid: ReplicaId, epoch: Epoch, leader: NodeId, fx: &mut Effects) -> bool {
        if self.known.is_none() && !self.bugs.has(Bug::ActsUnregistered) || rid != self.rid {
            return false;
        }
        if epoch < self.promised && !self.bugs.has(Bug::AcceptsLowerEpochs) {
            let stale = Stale { queue: self.queue, promised: self.promised };
            fx.sends.push((leader, Message::Stale(stale)));
            return false;
        }
        if self.leads() == Some(epoch) {
            return false;
        }
        if epoch != self.promised {
            self.promise(epoch, fx);
        }
        if let Role::Mirror(mirror) = &mut self.role {
            mirror.leader = Some(leader);
        }
        true
    }

    pub(super) fn on_append(&mut self, append: Append, fx: &mut Effects) {
        let Append { rid, epoch, leader, prev, entries, commit, .. } = append;
        if !self.heed(rid, epoch, leader, fx) {
            return;
        }
        if !self.matches(prev) {
            let (queue, node, rid) = (self.queue, self.node, self.rid);
            let end = self.log.end_of(prev.epoch);
            let conflict = Conflict { queue, node, rid, epoch, prev, end };
            return fx.sends.push((leader, Message::Conflict(conflict)));
        }
        let last = OpIndex(prev.index.0 + entries.len() as u64);
        if let Err(fatal) = self.take(prev.index, entries, fx) {
            fx.fatal = Some(fatal);
            return;
        }
        let Role::Mirror(mirror) = &mut self.role else { return };
        mirror.matched = mirror.matched.max(last);
        let commit = commit.min(mirror.matched);
        self.mirror_commit(commit, fx);
        self.ack(fx);
    }

    /// Rule R6: whether the log is the leader's up to here. What has been retired is committed, and so it is.
    fn matches(&self, prev: Position) -> bool {
        let blind = self.bugs.has(Bug::SkipsLogMatching) && prev.index <= self.log.end().index;
        blind || prev.index < self.log.base().index || self.log.has(prev)
    }

    /// Takes the entries behind `prev`: those that are here already are left, and what differs is cut off first.
    fn take(&mut self, prev: OpIndex, entries: Vec<Entry>, fx: &mut Effects) -> Result<(), Fatal> {
        let blind = self.bugs.has(Bug::SkipsLogMatching);
        let indexes = (prev.0 + 1..).map(OpIndex);
        let new = indexes.zip(entries).skip_while(|(index, entry)| {
            *index <= self.log.base().index
                || match self.log.epoch_at(*index) {
                    Some(epoch) => epoch == entry.epoch || blind,
                    None => false,
                }
        });
        let (indexes, new): (Vec<_>, Vec<_>) = new.unzip();
        let Some(first) = indexes.first().copied() else { return Ok(()) };
        if first <= self.log.end().index {
            if first <= self.commit && !self.bugs.any() {
                let (queue, epoch) = (self.queue, self.promised);
                return Err(Fatal::CommittedEntryDiffers { queue, epoch, index: first });
            }
            self.log.truncate(first);
            self.write(WriteWhat::Truncate { first }, fx);
        }
        for entry in &new {
            self.log.append(entry.clone());
        }
        self.write(WriteWhat::Append { first, entries: new }, fx);
        Ok(())
    }

    /// What is committed is applied.
    fn mirror_commit(&mut self, commit: OpIndex, fx: &mut Effects) {
        if commit <= self.commit {
            return;
        }
        for index in self.commit.0 + 1..=commit.0 {
            if let Some(entry) = self.log.get(OpIndex(index)) {
                self.sessions.commit(entry);
            }
        }
        self.commit = commit;
        fx.happened.push(Happened::Committed(commit));
    }

    pub(super) fn on_part(&mut self, part: Part, fx: &mut Effects) {
        if !self.heed(part.rid, part.epoch, part.leader, fx) {
            return;
        }
        let (at, natural) = (part.at, part.natural);
        let whole = self.lacks_upto == OpIndex(0) && at.index <= self.commit;
        let Role::Mirror(mirror) = &mut self.role else { return };
        // A copy that was taken already, or that has nothing that is not here.
        if whole || natural && self.log.base() == at && mirror.incoming.is_none() {
            mirror.matched = mirror.matched.max(at.index);
            mirror.incoming = None;
            return self.ack(fx);
        }
        let next = mirror.incoming.filter(|(of, _)| *of == at).map_or(0, |(_, next)| next);
        if part.part == next {
            mirror.incoming = Some((at, next + 1));
            let last = part.last.then(|| part.sessions.clone());
            fx.happened.push(Happened::Received(part));
            if let Some(sessions) = last {
                return self.replace(at, &sessions, natural, fx);
            }
        }
        let Role::Mirror(mirror) = &self.role else { return };
        let next = mirror.incoming.map_or(0, |(_, next)| next);
        let (queue, node, rid, epoch) = (self.queue, self.node, self.rid, self.promised);
        let (Some(leader), ack) = (mirror.leader, PartAck { queue, node, rid, epoch, at, next })
        else {
            return;
        };
        fx.sends.push((leader, Message::PartAck(ack)));
    }

    /// The copy is complete: it takes the place of all that was here.
    fn replace(
        &mut self,
        at: Position,
        sessions: &[(super::SessionId, u64)],
        natural: bool,
        fx: &mut Effects,
    ) {
        self.log.reset(at);
        self.write(WriteWhat::Replace { base: at }, fx);
        self.sessions = Sessions::restored(sessions);
        if self.bugs.has(Bug::LosesSessions) {
            self.sessions = Sessions::default();
        }
        self.commit = at.index;
        self.lacks_upto = if natural { at.index } else { OpIndex(0) };
        if let Role::Mirror(mirror) = &mut self.role {
            mirror.matched = at.index;
            mirror.incoming = None;
        }
        fx.happened.push(Happened::Committed(at.index));
        self.ack(fx);
    }
}
