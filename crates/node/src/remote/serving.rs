//! What this node, as the leader of a queue, knows of publishers and consumers of other nodes, and of its own publishers
//! to queues with several copies.

use foldhash::HashMap;
use std::sync::Arc;

use leveret_cluster::replication::wire::proxy::Done;
use leveret_cluster::replication::{NodeId, SessionId};
use leveret_engine::seq::RangeSet;
use leveret_engine::{ConsumerId, QueueId, SeqRange, SettleOutcome};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::consumer::{range_of, row};
use crate::queues::QueueCell;

/// Bytes that may be on their way to one consumer of another node: what its connection takes in one call, a few times.
pub(crate) const ROOM_BYTES: u64 = 1024 * 1024;

/// What this node does for others.
#[derive(Default)]
pub(crate) struct Serving {
    sessions: Mutex<HashMap<(QueueId, SessionId), Session>>,
    takers: Mutex<HashMap<ConsumerId, Taker>>,
    /// What other nodes got by `basic.get` and have not settled.
    gets: Mutex<HashMap<(NodeId, QueueId), RangeSet>>,
    /// Who asked for something of a queue that this node did not lead.
    turned_away: Mutex<HashMap<QueueId, SmallVec<[NodeId; 2]>>>,
}

/// The publishes of a session to one queue, since this node leads it.
#[derive(Default)]
struct Session {
    /// The last one that was taken in.
    last: u64,
    /// Those that the queue has not answered.
    open: RangeSet,
    /// Those that it has refused and that the publisher may not know of.
    refused: RangeSet,
}

/// What to do with publishes that may have come before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// How many at the front are known.
    pub(crate) known: u32,
    /// What became of those: the first, how many, and what.
    pub(crate) answers: Vec<(u64, u32, SettleOutcome)>,
}

/// Publishes before these were lost on the way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing;

/// A consumer of another node.
struct Taker {
    node: NodeId,
    cell: Arc<QueueCell>,
    /// How many more bytes may be on their way.
    room: u64,
    /// What was sent and is not settled.
    out: RangeSet,
    /// Whether it was told of something to take when it had no room.
    waiting: bool,
    /// Whether somebody is taking for it.
    busy: bool,
    /// Whether it was told of something to take meanwhile.
    again: bool,
    gone: bool,
}

/// A turn of taking for a consumer of another node.
pub(crate) struct Turn {
    pub(crate) node: NodeId,
    pub(crate) cell: Arc<QueueCell>,
    pub(crate) room: u64,
}

/// Messages that nodes settle: those that were delivered since this node leads, and those before.
#[derive(Default)]
pub(crate) struct Sorted {
    pub(crate) present: Vec<Done>,
    pub(crate) earlier: Vec<Done>,
}

/// What a node leaves behind when the connection to it ends.
#[derive(Default)]
pub(crate) struct Left {
    /// Consumers, their queues and what they had.
    pub(crate) takers: Vec<(ConsumerId, Arc<QueueCell>, Vec<SeqRange>)>,
    /// What it got.
    pub(crate) gets: Vec<(QueueId, Vec<SeqRange>)>,
}

fn ranges(set: &RangeSet) -> Vec<SeqRange> {
    set.iter().map(|row| range_of(&row)).collect()
}

impl Serving {
    /// Takes in `n` publishes from number `first` on; all behind `after` and before `first` are settled. `begin` says
    /// what the queue's log knows of a session that is new here: the last publish, and the last one that is final.
    pub(crate) fn admit(
        &self,
        (queue, session): (QueueId, SessionId),
        (after, first, n): (u64, u64, u32),
        begin: impl FnOnce() -> (u64, u64),
    ) -> Result<Admitted, Missing> {
        let mut sessions = self.sessions.lock();
        let known = sessions.entry((queue, session)).or_insert_with(|| {
            let (last, settled) = begin();
            let mut open = RangeSet::new();
            open.insert(settled + 1..last + 1);
            Session { last, open, refused: RangeSet::new() }
        });
        if after > known.last {
            return Err(Missing);
        }
        known.refused.remove(after + 1..first);
        known.last = known.last.max(first.saturating_sub(1));
        let end = first.saturating_add(u64::from(n));
        let fresh = (known.last + 1).clamp(first, end);
        let mut admitted = Admitted { known: (fresh - first) as u32, answers: Vec::new() };
        let mut at = first;
        while at < fresh {
            let (open_until, open) = known.open.stretch(at..fresh);
            let (refused_until, refused) = known.refused.stretch(at..fresh);
            let until = open_until.min(refused_until);
            if !open {
                let outcome =
                    if refused { SettleOutcome::Rejected } else { SettleOutcome::Accepted };
                admitted.answers.push((at, (until - at) as u32, outcome));
            }
            at = until;
        }
        known.open.insert(fresh..end);
        known.last = known.last.max(end - 1);
        Ok(admitted)
    }

    /// The queue has answered. Gives back what it had not answered before: the first of each run, and how many.
    pub(crate) fn settled(
        &self,
        key: (QueueId, SessionId),
        (first, n): (u64, u32),
        outcome: SettleOutcome,
    ) -> SmallVec<[(u64, u32); 1]> {
        let mut fresh = SmallVec::new();
        let mut sessions = self.sessions.lock();
        let Some(known) = sessions.get_mut(&key) else { return fresh };
        let (mut at, end) = (first, first + u64::from(n));
        while at < end {
            let (until, open) = known.open.stretch(at..end);
            if open {
                known.open.remove(at..until);
                if outcome == SettleOutcome::Rejected {
                    known.refused.insert(at..until);
                }
                fresh.push((at, (until - at) as u32));
            }
            at = until;
        }
        fresh
    }

    pub(crate) fn end_session(&self, key: (QueueId, SessionId)) {
        self.sessions.lock().remove(&key);
    }

    /// A queue is gone, or is led by another node: what was known of its publishers is of no use.
    pub(crate) fn forget_queue(&self, queue: QueueId) -> Vec<ConsumerId> {
        self.sessions.lock().retain(|(of, _), _| *of != queue);
        self.gets.lock().retain(|(_, of), _| *of != queue);
        let mut takers = self.takers.lock();
        let of_queue = takers.extract_if(|_, taker| taker.cell.id == queue);
        of_queue.map(|(consumer, _)| consumer).collect()
    }

    /// A consumer of another node is about to be added.
    pub(crate) fn add_taker(&self, consumer: ConsumerId, node: NodeId, cell: &Arc<QueueCell>) {
        let taker = Taker {
            node,
            cell: Arc::clone(cell),
            room: ROOM_BYTES,
            out: RangeSet::new(),
            waiting: false,
            busy: false,
            again: false,
            gone: false,
        };
        self.takers.lock().insert(consumer, taker);
    }

    pub(crate) fn drop_taker(&self, consumer: ConsumerId) -> Option<NodeId> {
        self.takers.lock().remove(&consumer).map(|taker| taker.node)
    }

    /// Begins to take for a consumer; `None` if somebody does, or there is no room: then it is done later.
    pub(crate) fn begin(&self, consumer: ConsumerId) -> Option<Turn> {
        let mut takers = self.takers.lock();
        let taker = takers.get_mut(&consumer).filter(|taker| !taker.gone)?;
        if taker.busy {
            taker.again = true;
            return None;
        }
        if taker.room == 0 {
            taker.waiting = true;
            return None;
        }
        taker.busy = true;
        taker.waiting = false;
        Some(Turn { node: taker.node, cell: Arc::clone(&taker.cell), room: taker.room })
    }

    /// Notes what is being sent to a consumer; false if it is gone.
    pub(crate) fn sending(&self, consumer: ConsumerId, range: SeqRange, weight: u64) -> bool {
        let mut takers = self.takers.lock();
        let Some(taker) = takers.get_mut(&consumer) else { return false };
        taker.room = taker.room.saturating_sub(weight);
        taker.out.insert(row(range));
        true
    }

    /// Ends a turn; says whether another is due.
    pub(crate) fn end(&self, consumer: ConsumerId) -> bool {
        let mut takers = self.takers.lock();
        let Some(taker) = takers.get_mut(&consumer) else { return false };
        taker.busy = false;
        std::mem::take(&mut taker.again)
    }

    /// A consumer has been handed some of what is on its way; says whether something waits for that.
    pub(crate) fn more_room(&self, node: NodeId, consumer: ConsumerId, bytes: u64) -> bool {
        let mut takers = self.takers.lock();
        let taker = takers.get_mut(&consumer).filter(|taker| taker.node == node);
        let Some(taker) = taker else { return false };
        taker.room = taker.room.saturating_add(bytes).min(ROOM_BYTES);
        std::mem::take(&mut taker.waiting)
    }

    /// Sorts what a node settles of a queue by whether it was delivered to it since this node leads.
    pub(crate) fn sort(&self, node: NodeId, queue: QueueId, settles: &[Done]) -> Sorted {
        let mut sorted = Sorted::default();
        let (mut takers, mut gets) = (self.takers.lock(), self.gets.lock());
        for done in settles {
            let mut none = RangeSet::new();
            let out = match done.consumer {
                Some(consumer) => {
                    takers.get_mut(&consumer).filter(|taker| taker.node == node).map(|t| &mut t.out)
                }
                None => gets.get_mut(&(node, queue)),
            };
            let out = out.unwrap_or(&mut none);
            let all = row(done.range);
            let mut at = all.start;
            while at < all.end {
                let (end, is_out) = out.stretch(at..all.end);
                let part = Done { range: range_of(&(at..end)), ..*done };
                if is_out {
                    out.remove(at..end);
                    sorted.present.push(part);
                } else {
                    sorted.earlier.push(part);
                }
                at = end;
            }
            if let Some(consumer) = done.consumer
                && takers.get(&consumer).is_some_and(|taker| taker.gone && taker.out.is_empty())
            {
                takers.remove(&consumer);
            }
        }
        sorted
    }

    /// A consumer of another node is cancelled. What it has stays with its channel.
    pub(crate) fn leave(&self, node: NodeId, consumer: ConsumerId) -> Option<Arc<QueueCell>> {
        let mut takers = self.takers.lock();
        let taker = takers.get_mut(&consumer).filter(|taker| taker.node == node)?;
        taker.gone = true;
        let cell = Arc::clone(&taker.cell);
        if taker.out.is_empty() {
            takers.remove(&consumer);
        }
        Some(cell)
    }

    /// A node has got a message.
    pub(crate) fn got(&self, node: NodeId, queue: QueueId, range: SeqRange) {
        self.gets.lock().entry((node, queue)).or_default().insert(row(range));
    }

    /// The connection to a node has ended.
    pub(crate) fn left(&self, node: NodeId) -> Left {
        let takers =
            self.takers.lock().extract_if(|_, taker| taker.node == node).collect::<Vec<_>>();
        let gets = self.gets.lock().extract_if(|(of, _), _| *of == node).collect::<Vec<_>>();
        Left {
            takers: takers
                .into_iter()
                .map(|(consumer, taker)| (consumer, taker.cell, ranges(&taker.out)))
                .collect(),
            gets: gets.into_iter().map(|((_, queue), out)| (queue, ranges(&out))).collect(),
        }
    }

    /// The sessions of a node's earlier starts will not publish any more.
    pub(crate) fn end_sessions(
        &self,
        ended: impl Fn(SessionId) -> bool,
    ) -> Vec<(QueueId, SessionId)> {
        let mut sessions = self.sessions.lock();
        sessions.extract_if(|(_, session), _| ended(*session)).map(|(key, _)| key).collect()
    }

    /// A node has asked for something of a queue that this node does not lead, as far as it knows.
    pub(crate) fn turn_away(&self, queue: QueueId, node: NodeId) {
        let mut turned_away = self.turned_away.lock();
        let nodes = turned_away.entry(queue).or_default();
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }

    /// Who is to be told that this node leads a queue now.
    pub(crate) fn call_back(&self, queue: QueueId) -> SmallVec<[NodeId; 2]> {
        self.turned_away.lock().remove(&queue).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use leveret_cluster::replication::Incarnation;

    use super::*;

    const KEY: (QueueId, SessionId) =
        (QueueId(1), SessionId { incarnation: Incarnation(1), channel: 7 });

    #[test]
    fn publishes_that_come_again_are_known_and_told_what_became_of_them() {
        let serving = Serving::default();
        let admit = |after, first, n| serving.admit(KEY, (after, first, n), || (0, 0));
        assert_eq!(admit(0, 1, 5), Ok(Admitted::default()));
        let settled = |first, n, outcome| serving.settled(KEY, (first, n), outcome).to_vec();
        assert_eq!(settled(1, 2, SettleOutcome::Accepted), [(1, 2)]);
        assert_eq!(settled(2, 2, SettleOutcome::Rejected), [(3, 1)]);
        let again = admit(0, 1, 6).unwrap();
        assert_eq!(again.known, 5);
        let (taken, refused) = (SettleOutcome::Accepted, SettleOutcome::Rejected);
        assert_eq!(again.answers, [(1, 2, taken), (3, 1, refused)]);
        assert_eq!(admit(7, 8, 1), Err(Missing));
        assert_eq!(admit(4, 9, 1), Ok(Admitted::default()), "5 to 8 are settled");
        assert_eq!(admit(9, 10, 1), Ok(Admitted::default()));
    }

    #[test]
    fn a_new_leader_begins_with_what_the_log_knows() {
        let serving = Serving::default();
        let again = serving.admit(KEY, (0, 1, 4), || (3, 1)).unwrap();
        assert_eq!(again, Admitted { known: 3, answers: vec![(1, 1, SettleOutcome::Accepted)] });
    }

    #[test]
    fn what_was_delivered_by_another_leader_is_told_apart() {
        let serving = Serving::default();
        let range = |first, n| SeqRange { first: leveret_engine::Seq(first), n };
        serving.got(NodeId(2), QueueId(1), range(3, 2));
        let how = leveret_cluster::replication::wire::proxy::How::Ack;
        let done = Done { consumer: None, range: range(2, 3), how };
        let sorted = serving.sort(NodeId(2), QueueId(1), &[done]);
        assert_eq!(sorted.present, [Done { range: range(3, 2), ..done }]);
        assert_eq!(sorted.earlier, [Done { range: range(2, 1), ..done }]);
        let again = serving.sort(NodeId(2), QueueId(1), &[done]);
        assert_eq!(again.earlier, [done]);
    }
}
