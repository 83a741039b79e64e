//! The topology on this node: commands are applied, and what they changed is acted on before anyone can see it.

use std::sync::Arc;

use leveret_cluster::replication::{Changes, NodeId};
use leveret_cluster::{Agreed, Answer, Settled, State, StateMachine};
use leveret_engine::command::{Change, Outcome};
use leveret_engine::notice::Event;
use leveret_engine::notice::changes::of_command;
use leveret_engine::{Applied, BrokerError, Command, QueueMeta, Timestamp, Topology};
use leveret_protocol::Declared;

use crate::connections::Shape;
use crate::effects::Scope;
use crate::exchanges::Replay;
use crate::node::Node;
use crate::ports::told_counts;
use crate::queues::QueueCell;

/// What is left to do of a command's changes once the topology is unlocked.
enum Aftermath {
    Close(Arc<QueueCell>),
    Reset(Arc<QueueMeta>),
    Disconnect { who: Who, text: String },
    Replay(Replay),
    Tell(Event),
}

enum Who {
    Vhost(Arc<str>),
    User(Arc<str>),
}

impl StateMachine for Node {
    fn offer(&self, command: &Command, now: Timestamp) -> Option<Settled> {
        self.change(command, None, now, |topology| topology.offer(command, now).transpose())
    }

    fn apply(&self, agreed: &Agreed, from: NodeId, now: Timestamp) -> Answer {
        match agreed {
            Agreed::Topology(command) => {
                let settled = self.change(command, Some(from), now, |topology| {
                    Some(topology.apply_agreed(command, now))
                });
                let gone = || Err(BrokerError::ShuttingDown).into();
                Answer::Topology(settled.unwrap_or_else(gone))
            }
            Agreed::Cluster(command) => {
                let (reply, changes) = self.peers.decide(command, &self.topology.read());
                self.records_changed(&changes, now);
                Answer::Cluster(reply)
            }
        }
    }

    fn snapshot(&self) -> State {
        let commands = self.topology.read().snapshot_commands();
        State { commands, metadata: self.with_metadata(Clone::clone) }
    }
}

impl Node {
    /// Changes the topology and acts on it: before anyone can see it what must be, the rest at once afterwards. `from` is
    /// the node on which a command was given that is agreed on.
    fn change(
        &self,
        command: &Command,
        from: Option<NodeId>,
        now: Timestamp,
        change: impl FnOnce(&mut Topology) -> Option<Result<Applied, BrokerError>>,
    ) -> Option<Settled> {
        let (settled, aftermath, records) = {
            let mut topology = self.topology.write();
            let applied = change(&mut topology)?;
            let records = match (from, &applied) {
                (Some(from), Ok(applied)) => self.peers.follow(&applied.changes, from),
                _ => Changes::default(),
            };
            let changes = applied.as_ref().map(|applied| applied.changes.clone());
            let changes = changes.unwrap_or_default().into_iter();
            let mut aftermath: Vec<_> =
                changes.filter_map(|change| self.note(change, now)).collect();
            let was_listened = self.watched.is_listened();
            self.watched.follow(&topology);
            if was_listened || self.watched.is_listened() {
                let events = applied.as_ref().map(|applied| of_command(command, applied));
                aftermath.extend(events.unwrap_or_default().into_iter().map(Aftermath::Tell));
            }
            let bound = matches!(&applied, Ok(applied)
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

    /// What a `queue.declare` is answered with.
    pub(crate) fn declared(
        &self,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Declared, BrokerError> {
        let Outcome::QueueDeclared { queue, .. } = outcome else {
            return Err(BrokerError::Internal("a declare was applied as something else".into()));
        };
        self.queues.churn().declared();
        let Some(cell) = self.queues.get(queue.id) else {
            return Ok(Declared { queue, ready: 0, consumers: 0 });
        };
        let mut scope = Scope::new(now);
        let counts = self.with_queue(&cell, &mut scope, |live, _| {
            live.touch(now);
            told_counts(live)
        });
        Ok(Declared { queue, ready: counts.ready, consumers: counts.consumers })
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
