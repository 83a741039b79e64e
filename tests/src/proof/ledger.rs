//! What the clients did and what they were told, and what may and must be there after it. It knows no broker: what was
//! found is given to it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::messages::Id;

#[cfg(test)]
mod tests;

/// The queues that are checked.
pub const QUEUES: [&str; 5] = ["left", "right", "work", "dead", "deal"];

/// Where rejected messages come from and go to, as places in [`QUEUES`].
const WORK: usize = 2;
const DEAD: usize = 3;

/// What broke, so many at most of each check.
const TOLD_MAX: usize = 20;

/// What was found in each of [`QUEUES`], from its head on.
pub(super) type Found = [Vec<Id>; QUEUES.len()];

/// The ledger of a series of rounds.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What was there after the last round, in order.
    holds: Found,
    sent: BTreeMap<Id, Sent>,
    settled: HashMap<(usize, Id), Settled>,
    /// In the order in which the broker was told.
    rejected: Vec<Id>,
    /// What clients noticed themselves.
    broken: Vec<String>,
}

#[derive(Debug)]
struct Sent {
    queues: Vec<usize>,
    persistent: bool,
    confirmed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Settled {
    rejected: bool,
    /// A later confirm says that it is on disk.
    durable: bool,
}

impl Ledger {
    /// A message is about to be published to `queues`.
    pub fn send(&mut self, id: Id, queues: &[usize], persistent: bool) {
        let sent = Sent { queues: queues.to_vec(), persistent, confirmed: false };
        self.sent.insert(id, sent);
    }

    /// The broker took responsibility for it.
    pub fn confirm(&mut self, id: Id) {
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.confirmed = true;
        }
    }

    /// An ack or reject is about to be sent.
    pub fn settle(&mut self, queue: usize, id: Id, rejected: bool) {
        self.settled.insert((queue, id), Settled { rejected, durable: false });
        if rejected {
            self.rejected.push(id);
        }
    }

    /// What was settled is on disk.
    pub fn durable(&mut self, queue: usize, ids: &[Id]) {
        for id in ids {
            if let Some(settled) = self.settled.get_mut(&(queue, *id)) {
                settled.durable = true;
            }
        }
    }

    /// Whether it may be delivered from there.
    #[must_use]
    pub fn knows(&self, queue: usize, id: Id) -> bool {
        self.holds[queue].contains(&id)
            || self.sent.get(&id).is_some_and(|sent| sent.queues.contains(&queue))
            || (queue == DEAD && self.settled.get(&(WORK, id)).is_some_and(|s| s.rejected))
    }

    /// What is known to be in a queue since the last round.
    #[must_use]
    pub fn holds(&self, queue: usize) -> &[Id] {
        &self.holds[queue]
    }

    /// Messages published and confirmed since the last round.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.sent.len(), self.sent.values().filter(|sent| sent.confirmed).count())
    }

    /// A client noticed what must not be.
    pub fn breaks(&mut self, what: String) {
        self.broken.push(what);
    }

    /// What must not be in what was `found` after the restart; nothing when all is well. From then on it is what must be
    /// there.
    pub(super) fn close_round(&mut self, found: Found) -> Vec<String> {
        let mut broken = std::mem::take(&mut self.broken);
        for (queue, found) in found.iter().enumerate() {
            for check in [Self::wrong, Self::missing, Self::disorder] {
                let name = QUEUES[queue];
                let all = check(self, queue, found);
                let more = all.len().saturating_sub(TOLD_MAX);
                let told = all.into_iter().take(TOLD_MAX);
                broken.extend(told.map(|what| format!("queue {name}: {what}")));
                broken.extend((more > 0).then(|| format!("queue {name}: and {more} more")));
            }
        }
        broken.extend(self.misplaced(&found));
        self.sent.clear();
        self.settled.clear();
        self.rejected.clear();
        self.holds = found;
        broken
    }

    /// Whether it was certainly in the queue, before anybody took it.
    fn certain(&self, queue: usize, id: Id) -> bool {
        let told = |sent: &Sent| sent.persistent && sent.confirmed && sent.queues.contains(&queue);
        self.holds[queue].contains(&id) || self.sent.get(&id).is_some_and(told)
    }

    /// What is there and must not be.
    fn wrong(&self, queue: usize, found: &[Id]) -> Vec<String> {
        let mut seen = HashSet::new();
        let wrong = |id: &Id| {
            if !seen.insert(*id) {
                return Some(format!("D2: {id} is there twice"));
            }
            if !self.knows(queue, *id) {
                return Some(format!("D2: {id} was never published to it, or was gone before"));
            }
            if self.sent.get(id).is_some_and(|sent| !sent.persistent) {
                return Some(format!("T2: {id} was transient and is there after the restart"));
            }
            let settled = self.settled.get(&(queue, *id))?;
            settled.durable.then(|| format!("D3: {id} was settled durably and is back"))
        };
        found.iter().filter_map(wrong).collect()
    }

    /// What is not there and must be.
    fn missing(&self, queue: usize, found: &[Id]) -> Vec<String> {
        let found: HashSet<_> = found.iter().collect();
        let held = self.holds[queue].iter();
        let sent = self.sent.keys().filter(|id| self.certain(queue, **id));
        let must = held.chain(sent).filter(|id| !self.settled.contains_key(&(queue, **id)));
        let missing = must.filter(|id| !found.contains(id));
        missing.map(|id| format!("D1: {id} was confirmed, not acked, and is lost")).collect()
    }

    /// The order of what is there: what was there before, then each publisher's in order and without a gap.
    fn disorder(&self, queue: usize, found: &[Id]) -> Vec<String> {
        let places: HashMap<_, _> =
            self.holds[queue].iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let rejected: HashMap<_, _> =
            self.rejected.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let mut last = HashMap::new();
        let mut broken = Vec::new();
        for id in found {
            // Lists of their own: what was there, dead letters, each publisher. The first comes before the others.
            let (list, at) = match places.get(id) {
                Some(at) => (None, *at),
                None if queue == DEAD => (Some(0), rejected.get(id).copied().unwrap_or_default()),
                None => (Some(id.who()), id.0 as usize),
            };
            let before = last.insert(list, at);
            let late = list.is_none() && last.len() > usize::from(last.contains_key(&None));
            if before.is_some_and(|before| before >= at) || late {
                broken.push(format!("O1: {id} is behind what came after it"));
            }
        }
        broken.extend(self.gaps(queue, found));
        broken
    }

    /// Groups reach the disk in order, so what a publisher sent to a queue is there up to some point.
    fn gaps(&self, queue: usize, found: &[Id]) -> Vec<String> {
        let found: HashSet<_> = found.iter().copied().collect();
        let mut newest: HashMap<u32, Id> = HashMap::new();
        for id in &found {
            let newest = newest.entry(id.who()).or_insert(*id);
            *newest = (*newest).max(*id);
        }
        let gap = |(id, sent): (&Id, &Sent)| {
            let expected = sent.persistent
                && !sent.confirmed
                && sent.queues.contains(&queue)
                && !self.settled.contains_key(&(queue, *id));
            let later = newest.get(&id.who()).is_some_and(|newest| newest > id);
            (expected && later && !found.contains(id))
                .then(|| format!("O1: {id} is lost and a later one of the same publisher is there"))
        };
        self.sent.iter().filter_map(gap).collect()
    }

    /// Dead letters that are not in exactly one place.
    fn misplaced(&self, found: &Found) -> Vec<String> {
        let [work, dead] = [WORK, DEAD].map(|queue| found[queue].iter().collect::<HashSet<_>>());
        let misplaced = |id: &Id| {
            let places = usize::from(work.contains(id)) + usize::from(dead.contains(id));
            let durable = self.settled.get(&(WORK, *id)).is_some_and(|settled| settled.durable);
            let gone = self.settled.contains_key(&(DEAD, *id));
            if places > 1 || (places == 0 && self.certain(WORK, *id) && !gone) {
                return Some(format!("D8: {id} was rejected and is in {places} queues"));
            }
            (durable && !gone && !dead.contains(id))
                .then(|| format!("D8: {id} was rejected durably and is not in the other queue"))
        };
        // One that came back and was acked the second time is no dead letter.
        let last_rejected = |id: &&Id| {
            self.settled.get(&(WORK, **id)).is_some_and(|settled| settled.rejected)
                && self.sent.get(id).is_none_or(|sent| sent.persistent)
        };
        self.rejected.iter().filter(last_rejected).filter_map(misplaced).collect()
    }
}
