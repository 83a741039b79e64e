//! A leader: it takes ops, sends them to its mirrors, and says what is visible and what is committed.
//!
//! An entry is *visible* when all copies in sync have received it, and *committed* when all have it on disk. In sync are
//! those the agreed record names and, while one is about to be added, that one too (rule R8); one that is about to be
//! removed counts until that is agreed on (rule R9).

use super::bugs::Bug;
use super::effects::{Ack, Alteration, Conflict, Effects, Happened, PartAck, WriteWhat};
use super::ids::{Cfg, Epoch, NodeId, Position, SessionId};
use super::log::{Entry, OpBytes, Origin, Payload};
use super::metadata::{QueueRecord, ReplicaRole, SyncMode};
use super::peer::{Made, Peer, RESEND_AFTER_MS, Voice};
use super::replica::{ISR_LAG_MS, NotLeading, Replica, Role};
use super::sessions::{Admitted, Gap, origin};
use leveret_engine::{OpIndex, Timestamp};
use std::sync::Arc;

/// What a leader knows in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    pub(super) epoch: Epoch,
    /// The entry that begins the epoch. Rule R4: nothing is sent, proposed or committed before it is on disk here.
    pub(super) start: OpIndex,
    pub(super) peers: Vec<Peer>,
    pub(super) pending: Option<Pending>,
    visible: OpIndex,
    /// No message that an op before this one published is there any more, as far as is committed.
    oldest_live: OpIndex,
}

/// A change of the copies in sync that was asked for. Its outcome is unknown until the record changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    alteration: Alteration,
    sent_at: Timestamp,
}

impl Leader {
    /// The states that are being copied.
    pub(super) fn copied_at(&self) -> impl Iterator<Item = OpIndex> + '_ {
        self.peers.iter().filter_map(Peer::copied_at)
    }

    fn peer(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.node == node)
    }

    /// Mirrors that the record does not name any more are forgotten, new ones and those with another life are begun with.
    fn meet(&mut self, record: &QueueRecord, me: NodeId, now: Timestamp) {
        let before = OpIndex(self.start.0 - 1);
        let peers = record.replicas.iter().filter(|replica| replica.node != me).map(|replica| {
            let known =
                self.peers.iter().find(|peer| peer.node == replica.node && peer.rid == replica.rid);
            known.cloned().unwrap_or_else(|| Peer::new(replica.node, replica.rid, before, now))
        });
        self.peers = peers.collect();
    }
}

impl Replica {
    /// Begins to lead.
    pub(super) fn lead(&mut self, record: &Arc<QueueRecord>, now: Timestamp, fx: &mut Effects) {
        let epoch = record.epoch;
        for (index, entry) in self.log.entries() {
            if index > self.commit {
                self.sessions.log(entry);
            }
        }
        self.promised = epoch;
        let start = self.log.append(Entry { epoch, payload: Payload::EpochStart });
        let mut leader = Leader {
            epoch,
            start,
            peers: Vec::new(),
            pending: None,
            visible: self.commit,
            oldest_live: OpIndex(0),
        };
        leader.meet(record, self.node, now);
        self.role = Role::Leader(leader);
        let entries = vec![Entry { epoch, payload: Payload::EpochStart }];
        self.write(WriteWhat::Append { first: start, entries }, fx);
        fx.happened.push(Happened::Leads { epoch, next: OpIndex(start.0 + 1) });
    }

    /// The record has changed, and this copy still leads.
    pub(super) fn follow_record(
        &mut self,
        record: &Arc<QueueRecord>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        // Whatever was asked for, the record has decided.
        leader.pending = leader.pending.filter(|pending| record.cfg <= pending.alteration.cfg);
        leader.meet(record, self.node, now);
        self.send_all(now, fx);
        self.advance(now, fx);
    }

    /// Rule R4: the start of the epoch is on disk.
    fn is_active(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if self.log.durable() >= leader.start)
    }

    pub(super) fn leader_written(&mut self, now: Timestamp, fx: &mut Effects) {
        self.send_all(now, fx);
        self.advance(now, fx);
    }

    /// Whether publishes that come again are known.
    ///
    /// # Errors
    /// [`Gap`] when those before them are missing.
    pub fn admit(&self, origin: Origin) -> Result<Admitted, Gap> {
        let all = Admitted { skip: 0, confirmed: 0 };
        if self.bugs.has(Bug::AppendsResentPublishes) {
            return Ok(all);
        }
        let admitted = self.sessions.admit(origin);
        if self.bugs.has(Bug::AcceptsGaps) { Ok(admitted.unwrap_or(all)) } else { admitted }
    }

    /// Takes an op of the queue. Its publishes must have been [admitted](Replica::admit).
    ///
    /// # Errors
    /// [`NotLeading`].
    pub fn append(
        &mut self,
        op: OpBytes,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<OpIndex, NotLeading> {
        self.append_payload(Payload::Op(op), now, fx)
    }

    /// A session has ended: its publishes will not come again.
    ///
    /// # Errors
    /// [`NotLeading`].
    pub fn end_session(
        &mut self,
        session: SessionId,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<OpIndex, NotLeading> {
        self.append_payload(Payload::SessionEnd(session), now, fx)
    }

    fn append_payload(
        &mut self,
        payload: Payload,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<OpIndex, NotLeading> {
        let Role::Leader(leader) = &mut self.role else { return Err(NotLeading) };
        for peer in &mut leader.peers {
            if peer.durable >= self.log.end().index {
                // It has had nothing to do until now.
                peer.progress_at = now;
            }
        }
        let entry = Entry { epoch: leader.epoch, payload };
        self.sessions.log(&entry);
        let index = self.log.append(entry.clone());
        self.write(WriteWhat::Append { first: index, entries: vec![entry] }, fx);
        self.send_all(now, fx);
        self.advance(now, fx);
        Ok(index)
    }

    fn send_all(&mut self, now: Timestamp, fx: &mut Effects) {
        let nodes: Vec<_> = match &self.role {
            Role::Leader(leader) => leader.peers.iter().map(|peer| peer.node).collect(),
            Role::Mirror(_) => return,
        };
        nodes.into_iter().for_each(|node| self.send_to(node, now, fx));
    }

    /// Sends a mirror what it lacks.
    fn send_to(&mut self, node: NodeId, now: Timestamp, fx: &mut Effects) {
        if !self.is_active() {
            return;
        }
        let voice = self.voice();
        let natural = self.is_natural(node);
        let copies = self
            .known
            .as_ref()
            .and_then(|record| record.replica(node))
            .is_some_and(|replica| replica.role == ReplicaRole::Learner(SyncMode::Copy));
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peer(node) else { return };
        // A mirror that took only what is new is to have everything now.
        let lacks = copies && peer.lacks_upto > OpIndex(0) && peer.copied_at().is_none();
        if !lacks && peer.send(voice, &self.log, now, fx) {
            return;
        }
        let Some(epoch) = self.log.epoch_at(self.commit) else { return };
        let at = Position { epoch, index: self.commit };
        peer.begin_copy(at, now);
        if natural {
            let sessions = self.sessions.committed();
            let state = [].into();
            let made = Made { at, part: 0, last: true, natural, sessions, state };
            peer.send_part(voice, made, now, fx);
        } else {
            peer.want_part(now, fx);
        }
    }

    fn voice(&self) -> Voice {
        let epoch = self.leads().unwrap_or_default();
        Voice { queue: self.queue, epoch, leader: self.node, commit: self.commit }
    }

    /// Whether a mirror gets only what is new.
    fn is_natural(&self, node: NodeId) -> bool {
        let record = self.known.as_ref().and_then(|record| record.replica(node));
        record.is_some_and(|replica| replica.role == ReplicaRole::Learner(SyncMode::Natural))
    }

    /// A part that was asked for ([`Effects::supplies`]): `state` is for the mirror's store and queue.
    pub fn supply(
        &mut self,
        supply: super::Supply,
        state: Arc<[u8]>,
        last: bool,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let super::Supply { node, at, part } = supply;
        let voice = self.voice();
        // Of publishes after `at` the entries tell, which follow.
        let sessions = if last { self.sessions_at(at.index) } else { Vec::new() };
        let Role::Leader(leader) = &mut self.role else { return };
        let made = Made { at, part, last, natural: false, sessions, state };
        if let Some(peer) = leader.peer(node) {
            peer.send_part(voice, made, now, fx);
        }
    }

    /// The sessions as they were at an entry that is still here: later publishes are in later entries.
    fn sessions_at(&self, at: OpIndex) -> Vec<(SessionId, u64)> {
        let later = |session: SessionId| {
            let after = self.log.entries().filter(|(index, _)| *index > at);
            let firsts = after.filter_map(|(_, entry)| origin(entry));
            firsts.filter(|origin| origin.session == session).map(|origin| origin.first).min()
        };
        let committed = self.sessions.committed().into_iter();
        committed.map(|(session, last)| (session, later(session).map_or(last, |n| n - 1))).collect()
    }

    pub(super) fn on_ack(&mut self, ack: &Ack, now: Timestamp, fx: &mut Effects) {
        if self.leads() != Some(ack.epoch) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.peer(ack.node).is_some_and(|peer| peer.acked(ack, now)) {
            self.send_to(ack.node, now, fx);
            self.advance(now, fx);
        }
    }

    pub(super) fn on_conflict(&mut self, conflict: &Conflict, now: Timestamp, fx: &mut Effects) {
        if self.leads() != Some(conflict.epoch) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let log = &self.log;
        if leader.peer(conflict.node).is_some_and(|peer| peer.conflicted(conflict, log)) {
            self.send_to(conflict.node, now, fx);
        }
    }

    pub(super) fn on_part_ack(&mut self, ack: &PartAck, now: Timestamp, fx: &mut Effects) {
        if self.leads() != Some(ack.epoch) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(peer) = leader.peer(ack.node)
            && peer.part_acked(ack, now)
        {
            peer.want_part(now, fx);
        }
    }

    /// The connection to a node is new: what was sent over the old one may be lost.
    pub fn reconnected(&mut self, node: NodeId, now: Timestamp, fx: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peer(node) else { return };
        peer.rewind();
        self.repeat(node, now, fx);
    }

    /// Sends again what was not answered.
    fn repeat(&mut self, node: NodeId, now: Timestamp, fx: &mut Effects) {
        let natural = self.is_natural(node);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peer(node) else { return };
        if peer.copied_at().is_some() && natural {
            // The one part of such a copy is made anew.
            *peer = Peer::new(node, peer.rid, OpIndex(0), now);
        }
        if peer.copied_at().is_some() {
            peer.want_part(now, fx);
        } else {
            self.send_to(node, now, fx);
        }
    }

    /// No message that an op before `index` published is there any more, as far as is committed: mirrors that got only
    /// what is newer may be in sync.
    pub fn set_oldest_live(&mut self, index: OpIndex, now: Timestamp, fx: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.oldest_live = index;
        self.advance(now, fx);
    }

    /// Looks after mirrors that do not answer. Due at [`Replica::next_deadline`].
    pub fn tick(&mut self, now: Timestamp, fx: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(pending) = &mut leader.pending
            && pending.sent_at.plus(RESEND_AFTER_MS) <= now
        {
            // The same again: it counts once (rule R11).
            pending.sent_at = now;
            fx.alterations.push(pending.alteration);
        }
        let (log, commit) = (&self.log, self.commit);
        let late = |peer: &&mut Peer| !peer.is_level_with(log, commit) && peer.resend_at() <= now;
        let mut due = Vec::new();
        for peer in leader.peers.iter_mut().filter(late) {
            peer.rewind();
            due.push(peer.node);
        }
        due.into_iter().for_each(|node| self.repeat(node, now, fx));
        let Role::Leader(leader) = &self.role else { return };
        let mut counted = leader.peers.iter().filter(|peer| self.counts(peer.node));
        let laggard = counted.find(|peer| self.lags(peer, now));
        if let Some(node) = laggard.map(|peer| peer.node) {
            self.evict(node, now, fx);
        }
    }

    /// When to look after the mirrors again; never while all of them have everything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let Role::Leader(leader) = &self.role else { return None };
        if !self.is_active() {
            return None;
        }
        let late = leader.peers.iter().filter(|peer| !peer.is_level_with(&self.log, self.commit));
        // A mirror that is not in sync, or about to be taken out, is only sent things again.
        let evict = |peer: &Peer| {
            let due = peer.progress_at.plus(ISR_LAG_MS);
            (leader.pending.is_none() && self.counts(peer.node)).then_some(due)
        };
        let resend = late.flat_map(|peer| [Some(peer.resend_at()), evict(peer)]).flatten();
        let pending = leader.pending.map(|pending| pending.sent_at.plus(RESEND_AFTER_MS));
        resend.chain(pending).min()
    }

    /// Whether a mirror has something to do and gets no further.
    fn lags(&self, peer: &Peer, now: Timestamp) -> bool {
        peer.durable < self.log.end().index && peer.progress_at.plus(ISR_LAG_MS) <= now
    }

    /// Whether the record has a node's copy in sync.
    fn counts(&self, node: NodeId) -> bool {
        self.known.as_ref().is_some_and(|record| record.is_in_sync(node))
    }

    /// Asks to go on without a mirror. Rule R9: it counts until that is agreed on.
    pub fn evict(&mut self, node: NodeId, now: Timestamp, fx: &mut Effects) {
        if node != self.node && self.counts(node) {
            self.ask(node, false, now, fx);
            if self.bugs.has(Bug::ShrinksBeforeAgreed) {
                self.advance(now, fx);
            }
        }
    }

    /// Asks for a change of the copies in sync; one at a time.
    fn ask(&mut self, node: NodeId, in_sync: bool, now: Timestamp, fx: &mut Effects) {
        let active = self.is_active();
        let Some(cfg) = self.known.as_ref().map(|record| record.cfg) else { return };
        let Role::Leader(leader) = &mut self.role else { return };
        if !active || leader.pending.is_some() {
            return;
        }
        let epoch = leader.epoch;
        let Some(peer) = leader.peer(node) else { return };
        let alteration = Alteration {
            queue: self.queue,
            leader: self.node,
            incarnation: self.incarnation,
            epoch,
            cfg,
            node,
            in_sync,
            node_incarnation: peer.incarnation.unwrap_or_default(),
            rid: peer.rid,
        };
        leader.pending = Some(Pending { alteration, sent_at: now });
        fx.alterations.push(alteration);
    }

    /// Rule R10: a mirror may be in sync when it has on disk all that is committed and the start of this epoch, as its
    /// present process has said in this epoch, and holds every message that is still there.
    fn may_join(&self, leader: &Leader, peer: &Peer, now: Timestamp) -> bool {
        if self.bugs.has(Bug::JoinsUnconditionally) {
            return true;
        }
        // It would be taken out again at once.
        if self.lags(peer, now) {
            return false;
        }
        let short = self.bugs.has(Bug::JoinsWithoutEpochStart);
        let least = if short { self.commit } else { self.commit.max(leader.start) };
        let whole = peer.lacks_upto == OpIndex(0)
            || leader.oldest_live > peer.lacks_upto
            || self.bugs.has(Bug::JoinsIncomplete);
        peer.incarnation.is_some() && peer.durable >= least && whole && peer.copied_at().is_none()
    }

    /// Moves what is visible and what is committed on, and asks to add mirrors that have caught up.
    pub(super) fn advance(&mut self, now: Timestamp, fx: &mut Effects) {
        if !self.is_active() {
            return;
        }
        if let Some((visible, commit)) = self.agreed_upto() {
            self.show(visible, fx);
            self.commit_upto(commit, fx);
        }
        let Role::Leader(leader) = &self.role else { return };
        if leader.pending.is_none() {
            let joins = |peer: &&Peer| !self.counts(peer.node) && self.may_join(leader, peer, now);
            if let Some(node) = leader.peers.iter().find(joins).map(|peer| peer.node) {
                self.ask(node, true, now, fx);
            }
        }
    }

    /// Up to where all copies that count have received the log, and up to where they have it on disk; `None` if there are
    /// too few of them.
    fn agreed_upto(&self) -> Option<(OpIndex, OpIndex)> {
        let (Role::Leader(leader), Some(record)) = (&self.role, &self.known) else { return None };
        let too_few = record.in_sync().count() < record.min_in_sync as usize;
        if too_few || !record.is_in_sync(self.node) {
            return None;
        }
        let early = self.bugs.has(Bug::AcksBeforeSynced);
        let end = self.log.end().index;
        let own = if early { end } else { self.log.durable() };
        let (mut visible, mut commit) = (end, own);
        for peer in &leader.peers {
            if self.is_counted(leader, record, peer.node) && !self.bugs.has(Bug::ConfirmsAlone) {
                visible = visible.min(peer.received);
                commit = commit.min(peer.durable);
            }
        }
        Some((visible, commit))
    }

    /// Rules R8 and R9.
    fn is_counted(&self, leader: &Leader, record: &QueueRecord, node: NodeId) -> bool {
        let asked = leader.pending.map(|pending| pending.alteration);
        let asked = asked.filter(|alteration| alteration.node == node);
        match asked {
            Some(adds) if adds.in_sync => !self.bugs.has(Bug::IgnoresAdditions),
            Some(_) if self.bugs.has(Bug::ShrinksBeforeAgreed) => false,
            _ => record.is_in_sync(node),
        }
    }

    fn show(&mut self, visible: OpIndex, fx: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        if visible <= leader.visible {
            return;
        }
        let from = leader.visible;
        leader.visible = visible;
        for index in from.0 + 1..=visible.0 {
            if let Some(Payload::Op(op)) = self.log.get(OpIndex(index)).map(|entry| &entry.payload)
                && op.transient
                && let Some(origin) = op.origin
            {
                fx.confirm(origin);
            }
        }
        fx.happened.push(Happened::Visible(visible));
    }

    fn commit_upto(&mut self, commit: OpIndex, fx: &mut Effects) {
        if commit <= self.commit {
            return;
        }
        for index in self.commit.0 + 1..=commit.0 {
            let Some(entry) = self.log.get(OpIndex(index)) else { continue };
            self.sessions.commit(entry);
            if let Payload::Op(op) = &entry.payload
                && !op.transient
                && let Some(origin) = op.origin
            {
                fx.confirm(origin);
            }
        }
        self.commit = commit;
        fx.happened.push(Happened::Committed(commit));
    }

    /// The record that this copy knows, for whoever has to say who leads.
    #[must_use]
    pub fn record(&self) -> Option<&Arc<QueueRecord>> {
        self.known.as_ref()
    }

    /// The number of the record that this copy knows.
    #[must_use]
    pub fn cfg(&self) -> Option<Cfg> {
        self.known.as_ref().map(|record| record.cfg)
    }
}

impl Effects {
    /// Publishes are safe; those that follow one another are told together.
    fn confirm(&mut self, origin: Origin) {
        let Origin { session, first, n } = origin;
        if let Some(Happened::Confirmed { session: last, first: from, n: so_far }) =
            self.happened.last_mut()
            && *last == session
            && *from + u64::from(*so_far) == first
        {
            *so_far += n;
            return;
        }
        self.happened.push(Happened::Confirmed { session, first, n });
    }
}
