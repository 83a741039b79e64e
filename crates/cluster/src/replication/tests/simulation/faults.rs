//! What goes wrong, by the seed: processes end or hang, disks are slow, lost or set back, connections break one way or both,
//! operators drain nodes, move leaders and change policies.

use super::world::{Event, World, id_of, index_of};
use crate::replication::{ClusterCommand, StoreMark};
use rand::Rng;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// A disk was lost or set back. Nothing else fails until its node has registered: until then nobody can know of it, and
    /// what is lost with a second fault nobody could keep.
    disk_lost: Option<usize>,
}

/// Something that goes wrong, or is done about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Heal,
    Kill(usize),
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Heal => {
                for (from, to) in self.network.heal() {
                    self.reconnect(from, to);
                }
            }
            Fault::Kill(node) => self.crash(node, usize::MAX),
        }
    }

    pub(super) fn next_fault(&mut self) {
        if !self.is_stormy() {
            return self.calm();
        }
        let pause = self.random.random_range(50..800);
        self.at(pause, Event::NextFault);
        if let Some(node) = self.faults.disk_lost {
            if !self.is_registered(node) {
                return;
            }
            self.faults.disk_lost = None;
            if self.random.random_bool(0.5)
                && let Some(record) = self.agreement.now().queue(self.queue)
                && let Some(leader) = record.leader.map(|leader| index_of(leader.node))
                && leader != node
            {
                // Right when the other copy has nothing.
                self.crash(leader, usize::MAX);
                return self.restart(leader);
            }
        }
        let node = self.random.random_range(0..self.machines.len());
        let other = (node + self.random.random_range(1..self.machines.len())) % self.machines.len();
        match self.random.random_range(0..100) {
            0..10 => {
                self.crash(node, usize::MAX);
                self.restart(node);
            }
            10..20 => self.lose_power(node),
            20..23 => (0..self.machines.len()).for_each(|node| self.lose_power(node)),
            23..33 => {
                let takes = self.random.random_range(300..9_000);
                self.machines[node].paused_until = self.now + takes;
            }
            33..40 => {
                let takes = self.random.random_range(500..6_000);
                self.machines[node].slow_until = self.now + takes;
            }
            40..60 => self.cut(node, other),
            60..66 => self.reconnect(node, other),
            66..76 => (0..self.machines.len()).for_each(|node| self.checkpoint(node)),
            76..82 => self.rolling_restart(node),
            82..88 => self.move_leader(node),
            88..91 => self.change_policy(),
            91..93 => {
                let machine = &self.machines[node];
                let copy = (machine.store, machine.disk.clone());
                self.machines[node].backup = Some(copy);
            }
            _ => self.lose_disk(node),
        }
    }

    /// Everything is well again from now on.
    fn calm(&mut self) {
        self.fault(Fault::Heal);
        for node in 0..self.machines.len() {
            self.machines[node].slow_until = 0;
            self.machines[node].paused_until = self.machines[node].paused_until.min(self.now);
            self.at(1, Event::Starts { node });
        }
    }

    fn restart(&mut self, node: usize) {
        let after = self.random.random_range(20..7_000);
        self.at(after, Event::Starts { node });
    }

    /// Of what was not synced, the first writes may be there.
    fn lose_power(&mut self, node: usize) {
        let kept = self.random.random_range(0..=self.machines[node].disk.n_unsynced());
        self.crash(node, kept);
        self.restart(node);
    }

    fn cut(&mut self, node: usize, other: usize) {
        match self.random.random_range(0..4) {
            0 => self.network.cut(node, other),
            1 => {
                self.network.cut(node, other);
                self.network.cut(other, node);
            }
            _ => {
                for third in (0..self.machines.len()).filter(|third| *third != node) {
                    self.network.cut(node, third);
                    self.network.cut(third, node);
                }
            }
        }
        let after = self.random.random_range(200..8_000);
        self.at(after, Event::Fault(Fault::Heal));
    }

    fn rolling_restart(&mut self, node: usize) {
        self.propose(node, ClusterCommand::Drain { node: id_of(node) });
        self.at(400, Event::Fault(Fault::Kill(node)));
        self.at(900, Event::Starts { node });
    }

    fn move_leader(&mut self, to: usize) {
        let Some(record) = self.agreement.now().queue(self.queue) else { return };
        let (queue, to, epoch) = (self.queue, id_of(to), record.epoch);
        let from = self.random.random_range(0..self.machines.len());
        let command = ClusterCommand::Transfer { queue, to, epoch, stopped: false };
        self.propose(from, command);
    }

    /// A policy that names other copies.
    fn change_policy(&mut self) {
        if self.agreement.leader.is_none() {
            return;
        }
        let applied = match self.random.random_range(0..3) {
            0 => self.queues.set(&[("ha-mode", "all".into())]),
            1 => self.queues.set(&[("ha-mode", "all".into()), ("ha-sync-mode", "manual".into())]),
            _ => self.queues.set(&[("ha-mode", "exactly".into()), ("ha-params", 2.into())]),
        };
        let from = self.operator();
        self.agreement.follow(&applied, from);
    }

    fn is_registered(&self, node: usize) -> bool {
        let state = self.agreement.now();
        let process = self.machines[node].process.as_ref();
        let registered = process.and_then(|process| process.incarnation);
        state.is_live(id_of(node))
            && registered == state.node(id_of(node)).map(|node| node.incarnation)
    }

    /// Whether a node is registered and its copy, if it has one, in sync.
    fn is_whole(&self, node: usize) -> bool {
        let record = self.agreement.now().queue(self.queue).unwrap();
        self.is_registered(node)
            && record.replica(id_of(node)).is_none_or(|replica| replica.is_in_sync())
    }

    /// A disk is replaced by an empty one, or set back to what it was; only while all is well.
    fn lose_disk(&mut self, node: usize) {
        let n = self.machines.len();
        let well = (0..n)
            .all(|node| self.is_whole(node) && self.machines[node].paused_until <= self.now)
            && (0..n).all(|a| (0..n).all(|b| self.network.is_up(a, b)));
        let record = self.agreement.now().queue(self.queue).unwrap();
        if !well || record.in_sync().count() < 2 {
            return;
        }
        // That a disk was set back is seen only by what its node has told of it since.
        let told = self.agreement.last_durable(id_of(node));
        let backup = self.machines[node].backup.take().filter(|(_, disk)| disk.gcn < told);
        self.faults.disk_lost = Some(node);
        self.checker.figures.lost_disks += 1;
        self.crash(node, usize::MAX);
        let machine = &mut self.machines[node];
        match backup {
            Some((store, mut disk)) => {
                disk.crash(0);
                (machine.store, machine.disk) = (store, disk);
            }
            None => {
                machine.store = StoreMark(machine.store.0 + 1);
                machine.disk = super::disk::Disk::default();
            }
        }
        self.restart(node);
    }
}
