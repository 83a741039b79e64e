//! The topology on this node: commands are applied, and what they changed is acted on before anyone can see it.

mod difference;

use std::sync::Arc;

use leveret_cluster::replication::{Changes, Metadata, NodeId};
use leveret_cluster::{Agreed, Answer, Settled, State, StateMachine};
use leveret_engine::command::{Change, Outcome};
use leveret_engine::notice::Event;
use leveret_engine::notice::changes::of_command;
use leveret_engine::{Applied, BrokerError, Command, QueueMeta, Timestamp, Topology};

use crate::connections::Shape;
use crate::effects::Scope;
use crate::exchanges::Replay;
use crate::node::Node;
use crate::queues::QueueCell;

use self::difference::difference;

/// What is left to do of a command's changes once the topology is unlocked.
enum Aftermath {
    Close(Arc<QueueCell>),
    Reset(Arc<QueueMeta>),
    Disconnect { who: Who, text: String },
    Replay(Replay),
    Tell(Event),
}

/// Where a command comes from.
#[derive(Clone, Copy)]
enum Given {
    /// From this node, which it concerns alone.
    Here,
    /// It is agreed on, and was proposed on this node.
    Agreed(NodeId),
    /// From another node, which it concerns alone.
    Told,
    /// It is agreed on, and its copies are known already.
    Restored,
}

enum Who {
    Vhost(Arc<str>),
    User(Arc<str>),
}

impl StateMachine for Node {
    fn offer(&self, command: &Command, now: Timestamp) -> Option<Settled> {
        self.change(command, Given::Here, now, |topology| topology.offer(command, now).transpose())
    }

    fn apply(&self, agreed: &Agreed, from: NodeId, now: Timestamp) -> Answer {
        match agreed {
            Agreed::Topology(command) => {
                let settled = self.change(command, Given::Agreed(from), now, |topology| {
                    Some(topology.apply_agreed(command, now))
                });
                let gone = || Err(BrokerError::ShuttingDown).into();
                Answer::Topology(settled.unwrap_or_else(gone))
            }
            Agreed::Cluster(command) => {
                let (reply, changes) = self.peers.decide(command, &self.topology.read());
                self.records_changed(&changes, now);
                self.forget_gone(now);
                Answer::Cluster(reply)
            }
        }
    }

    fn snapshot(&self) -> State {
        let commands = self.topology.read().snapshot_commands();
        State { commands, metadata: self.peers.metadata().clone() }
    }

    fn restore(&self, state: &State, now: Timestamp) {
        let changes = self.peers.replace(&state.metadata);
        let present = self.topology.read().snapshot_commands();
        for command in difference(&present, &state.commands) {
            // What does not fit is refused here as it was where the state comes from.
            let _ = self.change(&command, Given::Restored, now, |topology| {
                Some(topology.apply_agreed(&command, now))
            });
        }
        self.records_changed(&changes, now);
    }

    fn with_metadata(&self, look: &mut dyn FnMut(&Metadata)) {
        look(&self.peers.metadata());
    }
}

impl Node {
    /// Applies what another node says of what it has that is not durable; `None` if nothing follows from it.
    pub(crate) fn follow_told(
        &self,
        command: &Command,
        now: Timestamp,
    ) -> Option<Result<Outcome, BrokerError>> {
        let change = |topology: &mut Topology| Some(topology.follow(command, now));
        self.change(command, Given::Told, now, change).map(|settled| settled.outcome)
    }

    /// Changes the topology and acts on it: before anyone can see it what must be, the rest at once afterwards.
    fn change(
        &self,
        command: &Command,
        given: Given,
        now: Timestamp,
        change: impl FnOnce(&mut Topology) -> Option<Result<Applied, BrokerError>>,
    ) -> Option<Settled> {
        let (settled, aftermath, records) = {
            let mut topology = self.topology.write();
            let applied = change(&mut topology)?;
            let records = match (given, &applied) {
                (Given::Agreed(from), Ok(applied)) => self.peers.follow(&applied.changes, from),
                (Given::Here, Ok(applied)) => {
                    self.share(command, applied);
                    Changes::default()
                }
                _ => Changes::default(),
            };
            // What follows of it on one node alone.
            let is_own = match given {
                Given::Here => true,
                Given::Agreed(from) => self.membership().is_none_or(|me| me.node == from),
                Given::Told | Given::Restored => false,
            };
            let changes = applied.as_ref().map(|applied| applied.changes.clone());
            let changes = changes.unwrap_or_default().into_iter();
            let mut aftermath: Vec<_> =
                changes.filter_map(|change| self.note(change, now)).collect();
            let was_listened = self.watched.is_listened();
            self.watched.follow(&topology);
            if is_own && (was_listened || self.watched.is_listened()) {
                let events = applied.as_ref().map(|applied| of_command(command, applied));
                aftermath.extend(events.unwrap_or_default().into_iter().map(Aftermath::Tell));
            }
            let bound = is_own
                && matches!(&applied, Ok(applied)
                if matches!(applied.outcome, Outcome::Bound { created: true }));
            if bound && let Command::Bind(spec) = command {
                aftermath.extend(self.replay_of(&topology, spec).map(Aftermath::Replay));
            }
            (Settled::from(applied), aftermath, records)
        };
        self.records_changed(&records, now);
        for rest in aftermath {
            self.follow_up(rest, now);
        }
        Some(settled)
    }

    /// Makes the queues that the topology begins with, and watches their deadlines.
    pub(crate) fn open_queues(&self, now: Timestamp) {
        let topology = self.topology.read();
        self.watched.follow(&topology);
        for exchange in topology.vhosts().flat_map(|vhost| vhost.exchanges()) {
            self.exchanges.add(exchange);
        }
        for queue in topology.vhosts().flat_map(|vhost| vhost.queues()) {
            let cell = self.queues.add(queue, now);
            let deadline = cell.queue.lock().next_deadline();
            self.timers.arm(cell.id, &cell.armed, deadline);
        }
    }

    /// Does what must be done before anyone sees the change: the topology is locked.
    fn note(&self, change: Change, now: Timestamp) -> Option<Aftermath> {
        match change {
            Change::QueueAdded(queue) => {
                self.queues.add(&queue, now);
                None
            }
            Change::QueueRemoved(queue) => {
                let cell = self.queues.remove(queue.id)?;
                self.journal.forget(&cell);
                Some(Aftermath::Close(cell))
            }
            Change::QueueChanged(queue) => Some(Aftermath::Reset(queue)),
            Change::ExchangeAdded(exchange) => {
                self.exchanges.add(&exchange);
                None
            }
            Change::ExchangeRemoved(exchange) => {
                self.exchanges.remove(&exchange);
                None
            }
            Change::VhostRemoved(name) => {
                let text = format!("vhost '{name}' is deleted");
                Some(Aftermath::Disconnect { who: Who::Vhost(name), text })
            }
            Change::UserRemoved(name) => {
                let text = format!("user '{name}' is deleted");
                Some(Aftermath::Disconnect { who: Who::User(name), text })
            }
            _ => None,
        }
    }

    fn follow_up(&self, rest: Aftermath, now: Timestamp) {
        let mut scope = Scope::new(now);
        match rest {
            Aftermath::Close(cell) => {
                self.far_queue_gone(cell.id, now);
                self.with_queue(&cell, &mut scope, |queue, fx| queue.close(now, fx));
            }
            Aftermath::Reset(meta) => {
                if let Some(cell) = self.queues.get(meta.id) {
                    let settings = meta.settings.clone();
                    self.with_queue(&cell, &mut scope, |queue, fx| {
                        queue.set_settings(settings, now, fx);
                    });
                }
            }
            Aftermath::Tell(event) => self.tell(event, &mut scope),
            Aftermath::Replay(replay) => self.replay(&replay, &mut scope),
            Aftermath::Disconnect { who, text } => {
                self.close_where(&text, |shape| match &who {
                    Who::Vhost(name) => shape.connection.vhost == *name,
                    Who::User(name) => shape.connection.user == *name,
                });
            }
        }
        self.finish(&mut scope);
    }

    /// Closes the connections that `chosen` names: 320 with `text`.
    pub(crate) fn close_where(&self, text: &str, chosen: impl Fn(&Shape) -> bool) {
        for handle in self.connections.all() {
            if handle.shape().is_some_and(|shape| chosen(&shape)) {
                handle.mailbox.post(leveret_protocol::Event::forced_close(text));
            }
        }
    }
}
