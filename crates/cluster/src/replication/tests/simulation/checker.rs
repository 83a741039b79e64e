//! What must hold in every run, by the names that the design gives to the invariants.

use super::content::{Id, Op};
use crate::replication::{Entry, Epoch, SessionId};
use leveret_engine::OpIndex;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that was seen from outside, and what was committed.
#[derive(Debug, Default)]
pub(super) struct Checker {
    published: BTreeMap<Id, (SessionId, u64)>,
    confirmed: BTreeSet<Id>,
    delivered: BTreeMap<Id, u32>,
    /// The last publish of each session that was delivered for the first time.
    first: BTreeMap<SessionId, u64>,
    acked: BTreeSet<Id>,
    log: Vec<Entry>,
    logged: BTreeSet<Id>,
    delivering: Epoch,
    leaders: BTreeMap<Epoch, usize>,
    pub(super) figures: Figures,
    pub(super) violation: Option<String>,
}

/// Figures of a run, so that a run in which nothing happens is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) published: usize,
    pub(super) confirmed: usize,
    pub(super) delivered: usize,
    pub(super) acked: usize,
    pub(super) epochs: usize,
    /// Copies that took the place of what was there.
    pub(super) copies: usize,
    /// Disks that were lost or set back.
    pub(super) lost_disks: usize,
    /// Second and later deliveries.
    pub(super) redelivered: usize,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.published += other.published;
        self.confirmed += other.confirmed;
        self.delivered += other.delivered;
        self.acked += other.acked;
        self.epochs += other.epochs;
        self.copies += other.copies;
        self.lost_disks += other.lost_disks;
        self.redelivered += other.redelivered;
    }
}

impl Checker {
    pub(super) fn broken(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            published: self.published.len(),
            confirmed: self.confirmed.len(),
            delivered: self.delivered.len(),
            acked: self.acked.len(),
            epochs: self.leaders.len(),
            ..self.figures
        }
    }

    pub(super) fn published(&mut self, id: Id, session: SessionId, number: u64) {
        self.published.insert(id, (session, number));
    }

    pub(super) fn confirmed(&mut self, id: Id) {
        self.confirmed.insert(id);
    }

    pub(super) fn leads(&mut self, node: usize, epoch: Epoch) {
        let first = *self.leaders.entry(epoch).or_insert(node);
        if first != node {
            self.broken(|| format!("I1: nodes {first} and {node} lead in epoch {epoch}"));
        }
    }

    pub(super) fn delivered(&mut self, node: usize, epoch: Epoch, id: Id, redelivered: bool) {
        let Some((session, number)) = self.published.get(&id).copied() else {
            return self.broken(|| format!("D2: {id} was never published"));
        };
        if self.acked.contains(&id) {
            self.broken(|| format!("D3: {id} is delivered by node {node} although it was acked"));
        }
        if epoch < self.delivering {
            let later = self.delivering;
            self.broken(|| {
                format!("I10: node {node} delivers in epoch {epoch} after another in {later}")
            });
        }
        self.delivering = epoch;
        let times = self.delivered.entry(id).or_default();
        *times += 1;
        if *times > 1 {
            self.figures.redelivered += 1;
            if !redelivered {
                self.broken(|| format!("D4: {id} is delivered again as if for the first time"));
            }
            return;
        }
        let last = self.first.insert(session, number).unwrap_or_default();
        if number < last {
            self.broken(|| format!("O1: publish {number} of {session:?} comes after {last}"));
        }
    }

    /// A leader has committed an entry.
    pub(super) fn committed(&mut self, node: usize, index: OpIndex, entry: &Entry) {
        let at = usize::try_from(index.0 - 1).unwrap();
        match self.log.get(at) {
            Some(known) if known == entry => return,
            Some(_) => return self.broken(|| format!("I2: node {node} commits another {index:?}")),
            None if at > self.log.len() => {
                return self.broken(|| format!("I3: node {node} commits {index:?} behind a gap"));
            }
            None => self.log.push(entry.clone()),
        }
        match Op::of(entry) {
            Some(Op::Publish(ids)) => {
                for id in ids {
                    if !self.logged.insert(id) {
                        self.broken(|| format!("I8: {id} is in the log twice"));
                    }
                }
            }
            Some(Op::Ack(ids)) => self.acked.extend(ids),
            None => {}
        }
    }

    pub(super) fn committed_entry(&self, index: OpIndex) -> Option<Entry> {
        self.log.get(usize::try_from(index.0 - 1).ok()?).cloned()
    }

    pub(super) fn n_committed(&self) -> OpIndex {
        OpIndex(self.log.len() as u64)
    }

    /// Whether everything that was confirmed has been consumed.
    pub(super) fn is_drained(&self) -> bool {
        self.confirmed.is_subset(&self.acked)
    }

    /// The run is over: nothing is on its way any more.
    pub(super) fn at_end(&mut self) {
        if let Some(lost) = self.confirmed.difference(&self.acked).next().copied() {
            self.broken(|| format!("D1: {lost} was confirmed and is lost"));
        }
    }
}
