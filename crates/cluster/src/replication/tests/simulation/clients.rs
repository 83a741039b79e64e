//! Clients, and what their nodes do for them: publishes are numbered, kept until they are confirmed and sent again; consumers
//! are attached to whoever leads.

use super::content::Op;
use super::world::{Event, Packet, World, id_of, index_of};
use crate::replication::{Admitted, Epoch, Origin, SessionId};
use rand::Rng;

/// Publishes that a client may have unconfirmed.
const WINDOW: usize = 20;

/// How long a node waits for a confirm before it sends again, in milliseconds.
const RESEND_AFTER: u64 = 1_500;

impl World {
    fn session(&self, node: usize) -> Option<SessionId> {
        let incarnation = self.machines[node].process.as_ref()?.incarnation?;
        Some(SessionId { incarnation, channel: 1 })
    }

    /// Who leads, as far as a node knows.
    fn believed_leader(&self, node: usize) -> Option<(usize, Epoch)> {
        let process = self.machines[node].process.as_ref()?;
        let record = self.agreement.state(process.seen).queue(self.queue)?;
        Some((index_of(record.leader?.node), record.epoch))
    }

    pub(super) fn beat_clients(&mut self, node: usize, beats: u64) {
        let (Some(session), Some(leader)) = (self.session(node), self.believed_leader(node)) else {
            return;
        };
        if beats.is_multiple_of(2) {
            let incarnation = session.incarnation;
            self.send(node, leader.0, Packet::Attach { incarnation });
        }
        let now = self.now;
        let Some(process) = &mut self.machines[node].process else { return };
        let waits = !process.unconfirmed.is_empty();
        let overdue = waits && process.progress_at + RESEND_AFTER <= now;
        if process.sent_to != Some(leader) || overdue {
            process.sent_to = Some(leader);
            process.progress_at = now;
            self.resend(node, session, leader.0);
        }
        let room = self.machines[node]
            .process
            .as_ref()
            .is_some_and(|process| process.unconfirmed.len() < WINDOW);
        if self.is_stormy() && room && self.random.random_bool(0.7) {
            self.publish(node, session, leader.0);
        }
    }

    fn publish(&mut self, node: usize, session: SessionId, leader: usize) {
        let n = self.random.random_range(1..4);
        let ids: Vec<u32> = (self.next_id..self.next_id + n).collect();
        self.next_id += n;
        let Some(process) = &mut self.machines[node].process else { return };
        let first = process.published + 1;
        for (id, number) in ids.iter().zip(first..) {
            if process.unconfirmed.is_empty() {
                process.progress_at = self.now;
            }
            process.unconfirmed.push_back((number, *id));
            self.checker.published(*id, session, number);
        }
        process.published += u64::from(n);
        self.send(node, leader, Packet::Publish { session, first, ids, again: false });
    }

    fn resend(&mut self, node: usize, session: SessionId, leader: usize) {
        let Some(process) = &self.machines[node].process else { return };
        let Some((first, _)) = process.unconfirmed.front().copied() else { return };
        // Confirms may come out of order, so there may be holes; they are filled, and known to the leader.
        let mut runs: Vec<(u64, Vec<u32>)> = vec![(first, Vec::new())];
        for (number, id) in &process.unconfirmed {
            match runs.last_mut() {
                Some((from, ids)) if *from + ids.len() as u64 == *number => ids.push(*id),
                _ => runs.push((*number, vec![*id])),
            }
        }
        for (first, ids) in runs {
            self.send(node, leader, Packet::Publish { session, first, ids, again: true });
        }
    }

    pub(super) fn publish_here(
        &mut self,
        node: usize,
        _from: usize,
        session: SessionId,
        first: u64,
        ids: &[u32],
        again: bool,
    ) {
        let n = u32::try_from(ids.len()).unwrap();
        let Some(process) = &self.machines[node].process else { return };
        let (Some(replica), Some(_)) = (&process.replica, &process.leading) else { return };
        let Ok(Admitted { skip, confirmed }) = replica.admit(Origin { session, first, n }) else {
            return;
        };
        if confirmed > 0 {
            self.confirm(node, session, first, confirmed);
        }
        let new = &ids[skip as usize..];
        if new.is_empty() {
            return;
        }
        let origin = Origin { session, first: first + u64::from(skip), n: n - skip };
        let op = Op::publish(new, origin, false);
        let process = self.machines[node].process.as_mut();
        if let Some(leading) = process.and_then(|process| process.leading.as_mut())
            && again
        {
            // An earlier leader may have delivered them before it forgot them.
            leading.seen.extend(new);
        }
        self.append(node, |replica, now, fx| replica.append(op, now, fx).ok());
    }

    pub(super) fn confirmed(&mut self, node: usize, session: SessionId, first: u64, n: u32) {
        if self.session(node) != Some(session) {
            return;
        }
        let now = self.now;
        let Some(process) = &mut self.machines[node].process else { return };
        process.progress_at = now;
        let numbers = first..first + u64::from(n);
        for (number, id) in &process.unconfirmed {
            if numbers.contains(number) {
                self.checker.confirmed(*id);
            }
        }
        process.unconfirmed.retain(|(number, _)| !numbers.contains(number));
    }

    pub(super) fn delivered(&mut self, node: usize, id: u32, from: (usize, Epoch)) {
        let life = self.machines[node].life;
        let takes = match self.random.random_range(0..20) {
            0 => self.random.random_range(1_000..6_000),
            _ => self.random.random_range(5..100),
        };
        self.at(takes, Event::ClientAcks { node, life, id, from });
    }

    /// An ack goes to whoever delivered, unless a later leader is known.
    pub(super) fn client_acks(&mut self, node: usize, id: u32, from: (usize, Epoch)) {
        let later = self.believed_leader(node).filter(|(_, epoch)| *epoch > from.1);
        let (leader, _) = later.unwrap_or(from);
        self.send(node, leader, Packet::Acks { id });
    }

    /// A node that everybody knows, for commands of operators.
    pub(super) fn operator(&self) -> crate::replication::NodeId {
        id_of(0)
    }
}
