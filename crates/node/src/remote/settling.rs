//! What clients of this node settle of queues that are led elsewhere, or were until now.

use leveret_cluster::replication::wire::proxy::{Ask, Done, How};
use leveret_engine::{QueueId, Settle, Settlement};

use super::consumer::{range_of, row};
use super::{Far, State};
use crate::effects::Scope;
use crate::node::Node;
use crate::peers::Leads;

/// Ranges that clients have settled of one queue and nobody could be told of, at most: what is beyond is forgotten, and
/// delivered again.
const LATE_MAX: usize = 4096;

pub(super) fn how(settlement: Settlement) -> How {
    match settlement {
        Settlement::Ack => How::Ack,
        Settlement::Requeue => How::Requeue,
        Settlement::RequeueFailed => How::RequeueFailed,
        Settlement::Reject => How::Reject,
        Settlement::RejectFailed => How::RejectFailed,
    }
}

pub(super) fn settle_of(done: &Done) -> Settle {
    let how = match done.how {
        How::Ack => Settlement::Ack,
        How::Requeue => Settlement::Requeue,
        How::RequeueFailed => Settlement::RequeueFailed,
        How::Reject => Settlement::Reject,
        How::RejectFailed => Settlement::RejectFailed,
    };
    Settle { consumer: done.consumer, range: done.range, how }
}

impl State {
    /// Notes that a client has settled a range.
    fn note(&mut self, settle: &Settle) {
        let Some(id) = settle.consumer else { return };
        if self.consumers.get(&id).is_some_and(|consumer| consumer.settled(settle.range)) {
            self.consumers.remove(&id);
        }
    }

    /// Takes out of some settlements what was delivered by another leader than this node.
    fn split_earlier(&mut self, settles: &[Settle]) -> (Vec<Settle>, Vec<Settle>) {
        let (mut present, mut earlier) = (Vec::new(), Vec::new());
        for settle in settles {
            let all = row(settle.range);
            let mut at = all.start;
            while at < all.end {
                let (end, is_earlier) = self.earlier.stretch(at..all.end);
                let part = Settle { range: range_of(&(at..end)), ..*settle };
                if is_earlier {
                    self.earlier.remove(at..end);
                    earlier.push(part);
                } else {
                    present.push(part);
                }
                at = end;
            }
        }
        (present, earlier)
    }
}

impl Node {
    /// Settles messages of a queue that this node does not lead, or did not until now. False: nothing of that kind is
    /// known, and the queue here has to be told.
    pub(crate) fn settle_far(
        &self,
        queue: QueueId,
        settles: &[Settle],
        scope: &mut Scope<'_>,
    ) -> bool {
        if self.membership().is_none() {
            return false;
        }
        let Some(far) = self.remote.far(queue) else {
            return match self.leader_of(queue) {
                Leads::Here => false,
                leads => {
                    self.settle_at(leads, &self.remote.far_or_new(queue), settles);
                    true
                }
            };
        };
        match self.leader_of(queue) {
            Leads::Here => self.settle_here(&far, settles, scope),
            leads => {
                self.settle_at(leads, &far, settles);
                true
            }
        }
    }

    fn settle_at(&self, leads: Leads, far: &Far, settles: &[Settle]) {
        let done = |settle: &Settle| {
            let Settle { consumer, range, how: settlement } = *settle;
            Done { consumer, range, how: how(settlement) }
        };
        let mut state = far.state.lock();
        settles.iter().for_each(|settle| state.note(settle));
        match leads {
            Leads::There(leader) if self.remote.is_linked(leader) => {
                let settles = settles.iter().map(done).collect();
                self.ask(leader, Ask::Settle { queue: far.id, settles });
            }
            _ => {
                let room = LATE_MAX.saturating_sub(state.late.len());
                state.late.extend(settles.iter().take(room).map(done));
            }
        }
    }

    fn settle_here(&self, far: &Far, settles: &[Settle], scope: &mut Scope<'_>) -> bool {
        let (present, earlier) = {
            let mut state = far.state.lock();
            if state.earlier.is_empty() {
                return false;
            }
            state.split_earlier(settles)
        };
        let Some(cell) = self.queues.get(far.id) else { return true };
        let now = scope.now;
        self.with_queue(&cell, scope, |queue, fx| {
            queue.settle(&present, now, fx);
            earlier.iter().for_each(|settle| queue.settle_earlier(settle, fx));
        });
        true
    }
}
