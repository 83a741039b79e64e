//! Publishes on their way to the leader of a queue, and their answers.

use std::sync::Arc;

use leveret_cluster::replication::wire::proxy::{Ask, Tell};
use leveret_cluster::replication::{NodeId, SessionId};
use leveret_engine::{Block, ConfirmRun, ConnectionId, Incoming, QueueId, SettleOutcome, Settled};
use smallvec::SmallVec;

use super::publisher::{Outgoing, Publisher, key_of};
use super::serving::Missing;
use super::{Far, first_id, home_of};
use crate::connections::Handle;
use crate::effects::Scope;
use crate::node::Node;
use crate::peers::Leads;
use crate::queues::QueueCell;

/// What is to be done with publishes that wait.
enum Step {
    /// Nothing now.
    Done,
    /// To another node; they are sent already.
    Sent,
    /// To the queue here.
    Here(SmallVec<[Outgoing; 1]>),
}

impl Node {
    /// Publishes to a queue, wherever it is led; `publisher` is none for what no client sent.
    pub(crate) fn hand_in(
        &self,
        cell: &Arc<QueueCell>,
        publisher: Option<&Arc<Handle>>,
        incoming: Incoming,
        scope: &mut Scope<'_>,
    ) {
        if self.is_far(cell.id) {
            return self.publish_far(cell.id, publisher, incoming, scope);
        }
        let now = scope.now;
        self.with_queue(cell, scope, |queue, fx| queue.publish(incoming, now, fx));
    }

    /// Hands publishes to the leader of a queue, now or when there is one.
    pub(crate) fn publish_far(
        &self,
        queue: QueueId,
        publisher: Option<&Arc<Handle>>,
        incoming: Incoming,
        scope: &mut Scope<'_>,
    ) {
        let Some(me) = self.membership() else { return };
        let connection =
            publisher.map_or_else(|| ConnectionId(first_id(me.node)), |handle| handle.id);
        let far = self.remote.far_or_new(queue);
        let refused = {
            let mut state = far.state.lock();
            let state = &mut *state;
            let session = SessionId { incarnation: me.incarnation, channel: connection.0 };
            let known = state.publishers.entry(connection).or_insert_with(|| {
                if let Some(handle) = publisher {
                    handle.note_far(queue);
                }
                Publisher::new(session, publisher.cloned())
            });
            let refused = known.push(incoming);
            if refused.is_none() && !state.waiting.contains(&connection) {
                state.waiting.push_back(connection);
            }
            refused
        };
        if let Some(incoming) = refused {
            let all = 0..incoming.block.len();
            let answers = leveret_engine::queue::effects::answers(
                &incoming.confirms,
                all,
                SettleOutcome::Rejected,
            );
            self.tell_publishers(answers.collect(), scope);
        }
        self.hand_over(&far, scope);
    }

    /// Hands over what waits for the leader of a queue, in its order.
    pub(super) fn hand_over(&self, far: &Far, scope: &mut Scope<'_>) {
        let mut mine = false;
        loop {
            match self.next_step(far, mine) {
                Step::Done => return,
                Step::Sent => {}
                Step::Here(runs) => {
                    mine = true;
                    for run in runs {
                        let mut block = Block::new();
                        block.append_from(&run.block, run.records);
                        let numbers = (run.after, run.first);
                        self.take_in(None, far.id, run.session, numbers, block, scope);
                    }
                }
            }
        }
    }

    /// `mine`: the caller is the one who hands over to the queue here.
    fn next_step(&self, far: &Far, mine: bool) -> Step {
        let mut state = far.state.lock();
        let state = &mut *state;
        if state.sending && !mine {
            return Step::Done;
        }
        state.sending = false;
        let leads = self.leader_of(far.id);
        let there = match leads {
            Leads::Here => None,
            Leads::There(node) if self.remote.is_linked(node) => Some(node),
            _ => return Step::Done,
        };
        let Some(connection) = state.waiting.front().copied() else { return Step::Done };
        let Some(publisher) = state.publishers.get_mut(&connection) else {
            state.waiting.pop_front();
            return Step::Sent;
        };
        let runs = publisher.hand_over();
        if !publisher.has_more() {
            state.waiting.pop_front();
        }
        let Some(node) = there else {
            state.sending = true;
            return Step::Here(runs);
        };
        for Outgoing { session, after, first, block, records } in runs {
            let block = block.pack(records).into();
            self.ask(node, Ask::Publish { queue: far.id, session, after, first, block });
        }
        Step::Sent
    }

    /// Takes in publishes as the leader: from a node, or `None` from this one.
    pub(super) fn take_in(
        &self,
        from: Option<NodeId>,
        queue: QueueId,
        session: SessionId,
        (after, first): (u64, u64),
        mut block: Block,
        scope: &mut Scope<'_>,
    ) {
        let n = block.len();
        let Some(cell) = self.queues.get(queue) else {
            let outcome = SettleOutcome::Accepted;
            return self.answer_session((queue, session), (first, n), outcome, scope);
        };
        let key = (queue, session);
        let begin = || self.known_publishes(queue, session);
        let admitted = match self.remote.serving.admit(key, (after, first, n), begin) {
            Ok(admitted) => admitted,
            Err(Missing) => {
                if let Some(node) = from {
                    self.tell_node(node, Tell::Missing { queue, session });
                }
                return;
            }
        };
        for (first, n, outcome) in admitted.answers {
            self.answer_session(key, (first, n), outcome, scope);
        }
        if admitted.known == n {
            return;
        }
        if admitted.known > 0 {
            let all = std::mem::take(&mut block);
            block.append_from(&all, admitted.known..n);
        }
        let first = first + u64::from(admitted.known);
        let confirm = ConfirmRun {
            first_record: 0,
            n: block.len(),
            channel: key_of(session),
            first_tag: first,
        };
        let incoming = Incoming { block, confirms: SmallVec::from_iter([confirm]) };
        let now = scope.now;
        self.with_queue(&cell, scope, |queue, fx| queue.publish(incoming, now, fx));
    }

    /// What the log of a queue knows of a session: its last publish, and the last one that is final.
    fn known_publishes(&self, _queue: QueueId, _session: SessionId) -> (u64, u64) {
        (0, 0)
    }

    /// A queue that this node leads has answered publishes of a session.
    pub(crate) fn session_settled(
        &self,
        queue: QueueId,
        session: SessionId,
        settled: &Settled,
        scope: &mut Scope<'_>,
    ) {
        let Settled { first_tag, n, outcome, .. } = *settled;
        if !self.leads(queue) {
            // What it says is for its next leader to say.
            return;
        }
        let key = (queue, session);
        for numbers in self.remote.serving.settled(key, (first_tag, n), outcome) {
            self.answer_session(key, numbers, outcome, scope);
        }
    }

    /// Tells the node of a session what became of its publishes.
    fn answer_session(
        &self,
        (queue, session): (QueueId, SessionId),
        (first, n): (u64, u32),
        outcome: SettleOutcome,
        scope: &mut Scope<'_>,
    ) {
        let home = home_of(session.channel);
        if self.membership().is_some_and(|me| me.node == home) {
            return self.publishes_settled(queue, session, (first, n), outcome, scope);
        }
        let taken = outcome == SettleOutcome::Accepted;
        self.tell_node(home, Tell::Settled { queue, session, first, n, taken });
    }

    /// The leader has answered publishes of a client of this node.
    pub(super) fn publishes_settled(
        &self,
        queue: QueueId,
        session: SessionId,
        (first, n): (u64, u32),
        outcome: SettleOutcome,
        scope: &mut Scope<'_>,
    ) {
        let Some(far) = self.remote.far(queue) else { return };
        let mut told = Vec::new();
        let ended = {
            let mut state = far.state.lock();
            let connection = ConnectionId(session.channel);
            let publisher = state.publishers.get_mut(&connection);
            let Some(publisher) = publisher.filter(|known| known.session == session) else {
                return;
            };
            publisher.settle(first, n, outcome, &mut told);
            let ended = publisher.ended && publisher.is_done();
            if ended {
                state.publishers.remove(&connection);
            }
            ended
        };
        self.tell_publishers(told, scope);
        if ended {
            self.end_session_at_leader(queue, session);
        }
    }

    fn end_session_at_leader(&self, queue: QueueId, session: SessionId) {
        match self.linked_leader(queue) {
            Some(leader) => self.ask(leader, Ask::EndSession { queue, session }),
            None => self.remote.serving.end_session((queue, session)),
        }
    }

    /// Tells clients of this node, and letters, what became of their publishes.
    pub(super) fn tell_publishers(&self, told: Vec<Settled>, scope: &mut Scope<'_>) {
        for settled in told {
            self.tell_publisher(settled, scope);
        }
    }

    /// A connection of this node is gone: what it has published is still to arrive, and then its sessions end.
    pub(crate) fn leave_far(&self, handle: &Handle) {
        if self.membership().is_none() {
            return;
        }
        for queue in handle.take_far() {
            let Some(far) = self.remote.far(queue) else { continue };
            let done = {
                let mut state = far.state.lock();
                let Some(publisher) = state.publishers.get_mut(&handle.id) else { continue };
                publisher.ended = true;
                let done = publisher.is_done().then_some(publisher.session);
                if done.is_some() {
                    state.publishers.remove(&handle.id);
                }
                done
            };
            if let Some(session) = done {
                self.end_session_at_leader(queue, session);
            }
        }
    }
}
