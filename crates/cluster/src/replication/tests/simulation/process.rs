//! One process: it registers, opens its copy, does what the copy wants done, and delivers what it leads.

use super::content::{Content, Op};
use super::disk::{What, Written};
use super::world::{Event, Packet, World, id_of, index_of};
use crate::replication::bugs::Bug;
use crate::replication::{
    ClusterCommand, Effects, Epoch, Handover, Happened, Incarnation, LEASE_MS, Lease, Position,
    Replica, SessionId, Supply, Write, WriteWhat,
};
use leveret_engine::{OpIndex, Timestamp};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Messages that a consumer may have unacked.
const PREFETCH: usize = 6;

/// How long a consumer is not heard of before its messages go to others, in milliseconds.
const CONSUMER_GONE_AFTER: u64 = 2_000;

/// Bytes of one part of a copy.
const PART_BYTES: usize = 60;

/// A process.
#[derive(Default)]
pub(super) struct Process {
    /// Its number, once it has one.
    pub(super) incarnation: Option<Incarnation>,
    /// The agreed state that it has to have seen before it does anything (rule R1).
    reach: Option<usize>,
    /// How much of what is agreed on it has seen.
    pub(super) seen: usize,
    asked_at: Option<u64>,
    pub(super) replica: Option<Replica>,
    /// What the queue held at the beginning of the log.
    checkpoint: Content,
    /// What it held after what is committed.
    pub(super) committed: Content,
    pub(super) leading: Option<Leading>,
    pub(super) lease: Lease,
    beats: u64,
    incoming: Option<(Position, Vec<u8>)>,
    // The clients that are connected to it.
    pub(super) published: u64,
    pub(super) unconfirmed: VecDeque<(u64, u32)>,
    pub(super) sent_to: Option<(usize, Epoch)>,
    pub(super) progress_at: u64,
}

/// A queue that this process leads.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) epoch: Epoch,
    pub(super) content: Content,
    visible: OpIndex,
    deliver_from: Timestamp,
    /// Who has it.
    unacked: BTreeMap<u32, usize>,
    /// What may have been delivered before.
    pub(super) seen: BTreeSet<u32>,
    consumers: BTreeMap<usize, (Incarnation, u64)>,
}

impl Leading {
    fn requeue(&mut self, of: usize) {
        self.unacked.retain(|_, who| *who != of);
    }
}

impl World {
    pub(super) fn start(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_some() {
            return;
        }
        machine.life += 1;
        machine.paused_until = 0;
        machine.process = Some(Process::default());
        let life = machine.life;
        self.at(1, Event::Beat { node, life });
    }

    /// A process ends, and some writes that were not synced with it.
    pub(super) fn crash(&mut self, node: usize, kept: usize) {
        let machine = &mut self.machines[node];
        if machine.process.take().is_some() {
            machine.disk.crash(kept);
        }
        for other in (0..self.machines.len()).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                self.network.reset(from, to);
            }
            self.disconnected(other, node);
        }
    }

    pub(super) fn registered(
        &mut self,
        node: usize,
        life: u32,
        incarnation: Incarnation,
        index: usize,
    ) {
        let machine = &mut self.machines[node];
        let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) else {
            return;
        };
        if process.incarnation.is_some() {
            return;
        }
        process.incarnation = Some(incarnation);
        process.reach = Some(index);
        self.learn(node, index);
    }

    /// More of what is agreed on is known.
    pub(super) fn learn(&mut self, node: usize, index: usize) {
        let queue = self.queue;
        let Some(process) = &mut self.machines[node].process else { return };
        process.seen = process.seen.max(index);
        let Some(incarnation) = process.incarnation else { return };
        if process.reach.is_none_or(|reach| process.seen < reach) {
            return;
        }
        let state = self.agreement.state(process.seen);
        let registered = state.node(id_of(node)).map(|node| node.incarnation).unwrap_or_default();
        if registered > incarnation {
            // Another process has taken its place, or a second request for a number was granted: it starts again.
            self.crash(node, usize::MAX);
            return self.at(100, Event::Starts { node });
        }
        let Some(record) = state.queue(queue) else { return };
        if record.replica(id_of(node)).is_none() {
            let machine = &mut self.machines[node];
            machine.disk.delete_copy();
            if let Some(process) = &mut machine.process {
                (process.replica, process.leading) = (None, None);
            }
            return;
        }
        let record = Arc::new(record.clone());
        if process.replica.is_none() {
            self.open(node, incarnation);
        }
        self.with_replica(node, |replica, now, fx| replica.learn(&record, registered, now, fx));
    }

    fn open(&mut self, node: usize, incarnation: Incarnation) {
        let (recovered, content) = self.machines[node].disk.recovered();
        let mut replica = Replica::new(self.queue, id_of(node), incarnation, recovered);
        replica.set_bugs(self.bugs);
        let Some(process) = &mut self.machines[node].process else { return };
        (process.checkpoint, process.committed) = (content.clone(), content);
        process.replica = Some(replica);
    }

    /// Lets a copy work, and does what it wants done.
    pub(super) fn with_replica(
        &mut self,
        node: usize,
        work: impl FnOnce(&mut Replica, Timestamp, &mut Effects),
    ) {
        let now = self.clock(node);
        let process = self.machines[node].process.as_mut();
        let Some(replica) = process.and_then(|process| process.replica.as_mut()) else { return };
        let mut fx = Effects::default();
        work(replica, now, &mut fx);
        self.carry_out(node, fx);
    }

    fn carry_out(&mut self, node: usize, fx: Effects) {
        if let Some(fatal) = fx.fatal {
            return self.checker.broken(|| format!("node {node}: {fatal}"));
        }
        for happened in &fx.happened {
            self.receive_part(node, happened);
        }
        for write in fx.writes {
            self.write(node, write);
        }
        self.sync(node);
        for happened in fx.happened {
            self.note(node, happened);
        }
        for (to, message) in fx.sends {
            self.send(node, index_of(to), Packet::Copy(message));
        }
        for alteration in fx.alterations {
            self.propose(node, ClusterCommand::Alter(alteration));
        }
        for supply in fx.supplies {
            self.supply(node, supply);
        }
        self.deliver(node);
    }

    fn receive_part(&mut self, node: usize, happened: &Happened) {
        let (Some(process), Happened::Received(part)) =
            (&mut self.machines[node].process, happened)
        else {
            return;
        };
        if part.part == 0 {
            process.incoming = Some((part.at, Vec::new()));
        }
        if let Some((_, bytes)) = &mut process.incoming {
            bytes.extend_from_slice(&part.state);
        }
    }

    fn write(&mut self, node: usize, write: Write) {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else { return };
        let Some(replica) = &process.replica else { return };
        let what = match write.what {
            WriteWhat::Replace { base } => {
                let incoming = process.incoming.take().filter(|(at, _)| *at == base);
                let bytes = incoming.map(|(_, bytes)| bytes).unwrap_or_default();
                let content = Content::from_bytes(base.index, &bytes);
                process.checkpoint = content.clone();
                process.committed = content.clone();
                self.checker.figures.copies += 1;
                What::Replace { base, content, sessions: replica.sessions() }
            }
            other => What::Log(other),
        };
        machine.disk.write(Written {
            ticket: Some(write.ticket),
            rid: replica.rid(),
            lineage: replica.lineage(),
            lacks_upto: replica.lacks_upto(),
            what,
        });
    }

    fn sync(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() || !machine.disk.begin_sync() {
            return;
        }
        let slow = machine.slow_until > self.now;
        let takes = if slow { 300..3_000 } else { 1..9 };
        let life = machine.life;
        let takes = self.random.random_range(takes);
        self.at(takes, Event::Synced { node, life });
    }

    pub(super) fn synced(&mut self, node: usize) {
        let ticket = self.machines[node].disk.end_sync();
        if let Some(ticket) = ticket {
            self.with_replica(node, |replica, now, fx| replica.written(ticket, now, fx));
        }
        self.sync(node);
    }

    fn note(&mut self, node: usize, happened: Happened) {
        if let Err(why) = self.try_note(node, happened) {
            self.checker.broken(|| format!("I6: node {node}: {why}"));
        }
    }

    fn try_note(&mut self, node: usize, happened: Happened) -> Result<(), String> {
        let now = self.clock(node);
        let Some(process) = &mut self.machines[node].process else { return Ok(()) };
        let Some(replica) = &process.replica else { return Ok(()) };
        match happened {
            Happened::Leads { epoch, next } => {
                let mut content = process.committed.clone();
                content.follow(replica.log(), OpIndex(next.0 - 1))?;
                let handover = replica.record().map(|record| record.handover);
                let wait =
                    if handover == Some(Handover::LeaseMayRun) { LEASE_MS * 11 / 10 } else { 0 };
                process.leading = Some(Leading {
                    epoch,
                    visible: replica.commit(),
                    deliver_from: now.plus(wait),
                    unacked: BTreeMap::new(),
                    seen: content.messages().map(|(_, id)| id).collect(),
                    content,
                    consumers: BTreeMap::new(),
                });
                self.checker.leads(node, epoch);
            }
            Happened::Deposed => process.leading = None,
            Happened::Visible(upto) => {
                if let Some(leading) = &mut process.leading {
                    leading.visible = upto;
                }
            }
            Happened::Committed(upto) => {
                let first = process.committed.applied.0 + 1;
                process.committed.follow(replica.log(), upto)?;
                for index in (first..=upto.0).map(OpIndex).filter(|_| replica.leads().is_some()) {
                    if let Some(entry) = replica.log().get(index) {
                        self.checker.committed(node, index, entry);
                    }
                }
                let oldest = process.committed.oldest_live();
                if replica.leads().is_some() {
                    self.with_replica(node, |replica, now, fx| {
                        replica.set_oldest_live(oldest, now, fx);
                    });
                }
            }
            Happened::Confirmed { session, first, n } => self.confirm(node, session, first, n),
            Happened::Received(_) | Happened::Quarantined { .. } => {}
        }
        Ok(())
    }

    pub(super) fn confirm(&mut self, node: usize, session: SessionId, first: u64, n: u32) {
        let of = |machine: &super::world::Machine| {
            machine.process.as_ref().and_then(|process| process.incarnation)
        };
        let to = self.machines.iter().position(|it| of(it) == Some(session.incarnation));
        if let Some(to) = to {
            self.send(node, to, Packet::Confirmed { session, first, n });
        }
    }

    /// A part of a copy: what the queue held at the beginning of the log, and the ops up to there.
    fn supply(&mut self, node: usize, supply: Supply) {
        let Some(process) = &self.machines[node].process else { return };
        let Some(replica) = &process.replica else { return };
        let mut content = process.checkpoint.clone();
        if let Err(why) = content.follow(replica.log(), supply.at.index) {
            return self.checker.broken(|| format!("I6: node {node}: {why}"));
        }
        let bytes = content.to_bytes();
        let from = (supply.part as usize * PART_BYTES).min(bytes.len());
        let to = (from + PART_BYTES).min(bytes.len());
        let state: Arc<[u8]> = bytes[from..to].into();
        let last = to == bytes.len();
        let now = self.clock(node);
        let process = self.machines[node].process.as_mut();
        let Some(replica) = process.and_then(|process| process.replica.as_mut()) else { return };
        let mut fx = Effects::default();
        replica.supply(supply, state, last, now, &mut fx);
        for (to, message) in fx.sends {
            self.send(node, index_of(to), Packet::Copy(message));
        }
    }

    /// What is committed goes into a checkpoint, and the log before it goes.
    pub(super) fn checkpoint(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else { return };
        let Some(replica) = &mut process.replica else { return };
        let commit = replica.commit();
        if commit != process.committed.applied || replica.log().durable() < commit {
            return;
        }
        let sessions = replica.sessions();
        let before = replica.log().base().index;
        if replica.retire(commit) != commit || commit == before {
            // A copy under way needs some of it; then nothing is checkpointed at all.
            let base = replica.log().base();
            let kept = process.checkpoint.clone();
            process.checkpoint =
                if base.index == before { kept } else { process.committed.clone() };
            return;
        }
        let (base, content) = (replica.log().base(), process.committed.clone());
        process.checkpoint = content.clone();
        machine.disk.write(Written {
            ticket: None,
            rid: replica.rid(),
            lineage: replica.lineage(),
            lacks_upto: replica.lacks_upto(),
            what: What::Checkpoint { base, content, sessions },
        });
        self.sync(node);
    }

    /// What a process does from time to time.
    pub(super) fn beat(&mut self, node: usize) {
        let life = self.machines[node].life;
        let (gcn, store) = (self.machines[node].disk.gcn, self.machines[node].store);
        let now = self.clock(node);
        let Some(process) = &mut self.machines[node].process else { return };
        process.beats += 1;
        let beats = process.beats;
        if let Some(incarnation) = process.incarnation {
            if beats.is_multiple_of(5) {
                let number = process.lease.sent(now);
                if let Some(leader) = self.agreement.leader {
                    let beat = Packet::Heartbeat { number, incarnation, durable: gcn };
                    self.send(node, leader, beat);
                }
            }
            let due = |replica: &Replica| replica.next_deadline().is_some_and(|at| at <= now);
            let process = self.machines[node].process.as_ref();
            if process.and_then(|process| process.replica.as_ref()).is_some_and(due) {
                self.with_replica(node, Replica::tick);
            }
            self.forget_consumers(node);
            self.beat_clients(node, beats);
        } else if process.asked_at.is_none_or(|at| at + 1_500 <= self.now)
            && let Some(leader) = self.agreement.leader
        {
            process.asked_at = Some(self.now);
            self.send(node, leader, Packet::Register { life, store, durable: gcn });
        }
        self.deliver(node);
        self.at(100, Event::Beat { node, life });
    }

    pub(super) fn disconnected(&mut self, node: usize, from: usize) {
        let process = self.machines[node].process.as_mut();
        if let Some(process) = process {
            process.sent_to = process.sent_to.filter(|(leader, _)| *leader != from);
            if let Some(leading) = &mut process.leading {
                leading.consumers.remove(&from);
                leading.requeue(from);
            }
        }
    }

    fn forget_consumers(&mut self, node: usize) {
        let now = self.now;
        let process = self.machines[node].process.as_mut();
        let Some(leading) = process.and_then(|process| process.leading.as_mut()) else { return };
        let gone: Vec<_> = leading
            .consumers
            .extract_if(.., |_, (_, heard)| *heard + CONSUMER_GONE_AFTER <= now)
            .collect();
        gone.into_iter().for_each(|(who, _)| leading.requeue(who));
    }

    pub(super) fn attach_here(&mut self, node: usize, from: usize, incarnation: Incarnation) {
        let now = self.now;
        let process = self.machines[node].process.as_mut();
        let Some(leading) = process.and_then(|process| process.leading.as_mut()) else { return };
        let before = leading.consumers.insert(from, (incarnation, now));
        if before.is_some_and(|(before, _)| before != incarnation) {
            leading.requeue(from);
        }
        self.deliver(node);
    }

    /// Delivers what is visible to consumers that have room. Rule R14: with a lease only.
    pub(super) fn deliver(&mut self, node: usize) {
        let now = self.clock(node);
        let anyway = self.bugs.has(Bug::DeliversWithoutLease);
        let Some(process) = &mut self.machines[node].process else { return };
        let lease = process.lease.is_valid(now);
        let Some(leading) = &mut process.leading else { return };
        if !anyway && (!lease || now < leading.deliver_from) {
            return;
        }
        let mut out = Vec::new();
        for (index, id) in leading.content.messages() {
            if index > leading.visible || leading.unacked.contains_key(&id) {
                continue;
            }
            let has = |who: &usize| leading.unacked.values().filter(|it| *it == who).count();
            let Some(who) = leading.consumers.keys().copied().min_by_key(has) else { break };
            if has(&who) >= PREFETCH {
                break;
            }
            leading.unacked.insert(id, who);
            out.push((who, id, !leading.seen.insert(id)));
        }
        let epoch = leading.epoch;
        for (who, id, redelivered) in out {
            self.checker.delivered(node, epoch, id, redelivered);
            self.send(node, who, Packet::Deliver { id, epoch });
        }
    }

    pub(super) fn acks_here(&mut self, node: usize, id: u32) {
        let process = self.machines[node].process.as_mut();
        let Some(leading) = process.and_then(|process| process.leading.as_mut()) else { return };
        // An ack of a delivery by an earlier leader counts as well.
        if !leading.content.has(id) {
            return;
        }
        leading.unacked.remove(&id);
        self.append(node, |replica, now, fx| replica.append(Op::ack(&[id]), now, fx).ok());
    }

    /// Appends an op at a leader, and applies it there.
    pub(super) fn append(
        &mut self,
        node: usize,
        work: impl FnOnce(&mut Replica, Timestamp, &mut Effects) -> Option<OpIndex>,
    ) {
        let now = self.clock(node);
        let Some(process) = &mut self.machines[node].process else { return };
        let (Some(replica), Some(leading)) = (&mut process.replica, &mut process.leading) else {
            return;
        };
        let mut fx = Effects::default();
        if let Some(index) = work(replica, now, &mut fx)
            && let Some(entry) = replica.log().get(index)
            && let Err(why) = leading.content.apply(index, entry)
        {
            return self.checker.broken(|| format!("I6: node {node}: {why}"));
        }
        self.carry_out(node, fx);
    }
}
