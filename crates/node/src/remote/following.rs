//! What follows for clients of this node when a queue is led by another node than before, by none, or is gone, and when a
//! connection to another node comes or goes.

use std::sync::Arc;

use leveret_cluster::replication::wire::proxy::{Ask, Done, Tell};
use leveret_cluster::replication::{Changes, Incarnation, NodeId, SessionId};
use leveret_engine::{QueueId, SeqRange, Settle, Settlement, Timestamp};

use super::consumer::row;
use super::requests::{Question, Wanted, cancelled};
use super::settling::settle_of;
use super::{Consumer, Far, home_of};
use crate::effects::Scope;
use crate::node::Node;
use crate::peers::Leads;

impl Node {
    /// Records of queues have changed, and the copies here do not know yet: of a queue that is led elsewhere from now on
    /// the consumers are led away.
    pub(crate) fn leaders_change(&self, changes: &Changes, now: Timestamp) {
        for queue in changes.touched.iter().filter(|queue| !self.leads(**queue)) {
            let mut scope = Scope::new(now);
            self.move_consumers(*queue, &mut scope);
            self.remote.serving.forget_queue(*queue);
            self.finish(&mut scope);
        }
    }

    /// Records of queues have changed, and the copies here know: whoever works with them goes on with their present
    /// leaders.
    pub(crate) fn leaders_changed(&self, changes: &Changes, now: Timestamp) {
        for queue in &changes.touched {
            self.follow_leader(*queue, now);
        }
    }

    fn follow_leader(&self, queue: QueueId, now: Timestamp) {
        let mut scope = Scope::new(now);
        if let Some(far) = self.remote.far(queue) {
            self.begin_again(&far, &mut scope);
        }
        if self.leads(queue) {
            for node in self.remote.serving.call_back(queue) {
                self.tell_node(node, Tell::Leads { queue });
            }
        }
        self.finish(&mut scope);
    }

    /// Consumers of this node's clients whose queue is led elsewhere from now on.
    fn move_consumers(&self, queue: QueueId, scope: &mut Scope<'_>) {
        let Some(cell) = self.queues.get(queue) else { return };
        let specs = self.with_queue(&cell, scope, |queue, _| queue.dismiss());
        let own = specs.into_iter().filter(|spec| !self.is_foreign(spec.channel.connection.0));
        let moved: Vec<_> = own
            .filter_map(|spec| {
                let handle = self.connections.get(spec.channel.connection)?;
                handle.note_far(queue);
                Some(Arc::new(Consumer::moved(queue, spec, handle)))
            })
            .collect();
        if !moved.is_empty() {
            let far = self.remote.far_or_new(queue);
            let known = moved.into_iter().map(|consumer| (consumer.spec.id, consumer));
            let mut state = far.state.lock();
            state.leads = Some(Leads::Here);
            state.consumers.extend(known);
        }
    }

    /// A queue has another leader, the same one in another reign, or the connection to it is new: publishes that are not
    /// settled, consumers and questions go to it, in this order.
    pub(super) fn begin_again(&self, far: &Far, scope: &mut Scope<'_>) {
        let leads = self.leader_of(far.id);
        let (consumers, late) = {
            let mut state = far.state.lock();
            let state = &mut *state;
            let before = state.leads.replace(leads);
            let mut publishers: Vec<_> = state.publishers.iter_mut().collect();
            publishers.sort_by_key(|(connection, _)| **connection);
            for (connection, publisher) in publishers {
                publisher.begin_again();
                if publisher.has_more() && !state.waiting.contains(connection) {
                    state.waiting.push_back(*connection);
                }
            }
            if leads == Leads::Here {
                let out = state.consumers.values().flat_map(|consumer| consumer.unsettled());
                out.for_each(|range| state.earlier.insert(row(range)));
            } else {
                state.earlier = leveret_engine::seq::RangeSet::new();
            }
            let moved = before.is_some_and(|before| before != leads);
            let mut consumers: Vec<_> = state.consumers.values().cloned().collect();
            consumers.sort_by_key(|consumer| consumer.spec.id);
            consumers.retain(|consumer| !consumer.is_gone());
            // One that its client does not know of yet is answered as any question.
            let leaves = |consumer: &Arc<Consumer>| {
                consumer.is_told()
                    && (leads == Leads::Nobody || (moved && consumer.leaves_on_failover()))
            };
            for consumer in consumers.extract_if(.., |consumer| leaves(consumer)) {
                state.consumers.remove(&consumer.spec.id);
                consumer.leave();
                cancelled(&consumer);
            }
            if leads == Leads::Here {
                state.consumers.clear();
            }
            let late =
                if leads == Leads::Nobody { Vec::new() } else { std::mem::take(&mut state.late) };
            (consumers, late)
        };
        self.settle_late(far.id, leads, late, scope);
        self.hand_over(far, scope);
        self.attach(far.id, leads, consumers, scope);
        self.ask_again(far.id, scope);
    }

    fn settle_late(&self, queue: QueueId, leads: Leads, late: Vec<Done>, scope: &mut Scope<'_>) {
        if late.is_empty() {
            return;
        }
        match (leads, self.queues.get(queue)) {
            (Leads::There(leader), _) if self.remote.is_linked(leader) => {
                self.ask(leader, Ask::Settle { queue, settles: late });
            }
            (Leads::Here, Some(cell)) => self.with_queue(&cell, scope, |queue, fx| {
                late.iter().for_each(|done| queue.settle_earlier(&settle_of(done), fx));
            }),
            _ => {
                if let Some(far) = self.remote.far(queue) {
                    far.state.lock().late = late;
                }
            }
        }
    }

    /// Makes consumers known to the leader of their queue.
    fn attach(
        &self,
        queue: QueueId,
        leads: Leads,
        consumers: Vec<Arc<Consumer>>,
        scope: &mut Scope<'_>,
    ) {
        let asked = self.remote.requests.consumers(queue);
        for consumer in consumers {
            consumer.attach(None);
            if asked.contains(&consumer.spec.id) {
                // It is about to be asked again.
                continue;
            }
            match leads {
                Leads::There(_) => {
                    let (channel, handle) = (consumer.spec.channel, Arc::clone(&consumer.handle));
                    let wanted = Wanted::Consuming { consumer, channel };
                    self.question(Question { queue, handle: Some(handle), wanted });
                }
                Leads::Here => {
                    let Some(cell) = self.queues.get(queue) else { continue };
                    let (spec, now) = (consumer.local_spec(), scope.now);
                    let taken =
                        self.with_queue(&cell, scope, |queue, fx| queue.consume(spec, now, fx));
                    if taken.is_err() {
                        cancelled(&consumer);
                    }
                }
                Leads::Nobody => {}
            }
        }
    }

    /// A queue was deleted.
    pub(crate) fn far_queue_gone(&self, queue: QueueId, now: Timestamp) {
        if self.membership().is_none() {
            return;
        }
        let mut scope = Scope::new(now);
        self.remote.serving.forget_queue(queue);
        self.answer_gone(queue, now);
        let far = self.remote.far.write().remove(&queue);
        if let Some(far) = far {
            let (mut told, consumers) = (Vec::new(), {
                let mut state = far.state.lock();
                std::mem::take(&mut state.consumers)
            });
            for publisher in far.state.lock().publishers.values_mut() {
                publisher.settle_all(&mut told);
            }
            self.tell_publishers(told, &mut scope);
            for consumer in consumers.into_values().filter(|consumer| !consumer.is_gone()) {
                consumer.leave();
                cancelled(&consumer);
            }
        }
        self.finish(&mut scope);
    }

    /// A node is connected, as this start of it.
    pub(crate) fn link_up(&self, node: NodeId, incarnation: Incarnation, now: Timestamp) {
        let was = self.remote.linked.write().insert(node, incarnation);
        let mut scope = Scope::new(now);
        if was.is_some() {
            self.take_leave(node, &mut scope);
        }
        self.share_all(node);
        let earlier = |session: SessionId| {
            home_of(session.channel) == node && session.incarnation != incarnation
        };
        self.remote.serving.end_sessions(earlier);
        for far in self.remote.all_far() {
            if self.leader_of(far.id) == Leads::There(node) {
                self.begin_again(&far, &mut scope);
            }
        }
        self.finish(&mut scope);
    }

    /// The connection to a node has ended.
    pub(crate) fn link_down(&self, node: NodeId, now: Timestamp) {
        self.remote.linked.write().remove(&node);
        let mut scope = Scope::new(now);
        self.take_leave(node, &mut scope);
        for far in self.remote.all_far() {
            let mut state = far.state.lock();
            state.consumers.values().for_each(|consumer| {
                if consumer.attached_to() == Some(node) {
                    consumer.attach(None);
                }
            });
            if state.is_idle() {
                state.waiting.clear();
            }
        }
        self.finish(&mut scope);
    }

    /// What clients of a node had goes back to the queues here.
    pub(super) fn take_leave(&self, node: NodeId, scope: &mut Scope<'_>) {
        let left = self.remote.serving.left(node);
        let now = scope.now;
        let back = |consumer, ranges: Vec<SeqRange>| -> Vec<Settle> {
            let how = Settlement::RequeueFailed;
            ranges.into_iter().map(|range| Settle { consumer, range, how }).collect()
        };
        for (consumer, cell, ranges) in left.takers {
            self.with_queue(&cell, scope, |queue, fx| {
                queue.settle(&back(Some(consumer), ranges), now, fx);
                queue.cancel(consumer, now, fx);
            });
        }
        for (queue, ranges) in left.gets {
            let Some(cell) = self.queues.get(queue) else { continue };
            self.with_queue(&cell, scope, |queue, fx| {
                queue.settle(&back(None, ranges), now, fx);
            });
        }
    }
}
