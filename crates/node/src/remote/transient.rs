//! What is not durable, on all nodes: each tells the others of its own queues, and of exchanges and bindings that were
//! made on it. Queues go with their node; exchanges and bindings stay as long as any node does.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_cluster::replication::wire::Frame;
use leveret_cluster::replication::wire::proxy::Transient;
use leveret_cluster::replication::{Incarnation, NodeId};
use leveret_engine::{
    Applied, BindingSpec, Command, Destination, Outcome, QueueDeclare, QueueId, QueueMeta,
    Timestamp, Topology,
};
use parking_lot::Mutex;

use crate::node::Node;
use crate::peers::Leads;

/// Commands of one node that do not fit what is known here yet, at most: such as a binding from an exchange that a third
/// node tells of later.
const UNFIT_MAX: usize = 10_000;

/// What other nodes have told and could not be applied yet.
#[derive(Default)]
pub(super) struct Unfit(Mutex<BTreeMap<NodeId, Vec<Command>>>);

/// The bits of a start that the id of a transient queue has.
fn short(incarnation: Incarnation) -> u32 {
    incarnation.0 as u32 & 0xf_ffff
}

/// Whether a queue that is not durable was made in this start of a node.
fn is_of(queue: QueueId, incarnation: Incarnation) -> bool {
    queue.is_transient() && queue.boot() == short(incarnation)
}

impl Node {
    /// The node that has a queue that is not durable.
    pub(crate) fn home_of_transient(&self, queue: QueueId) -> Leads {
        let Some(me) = self.membership() else { return Leads::Here };
        if is_of(queue, me.incarnation) {
            return Leads::Here;
        }
        let metadata = self.peers.metadata();
        let home = metadata.nodes().find(|(_, node)| is_of(queue, node.incarnation));
        home.map_or(Leads::Nobody, |(node, _)| Leads::There(node))
    }

    /// The queue whose node has to make a change, if that is another one: it is not durable, and itself or its bindings
    /// change.
    pub(crate) fn far_transient(&self, command: &Command) -> Option<QueueId> {
        self.membership()?;
        let (vhost, name) = match command {
            Command::DeleteQueue { vhost, name, .. } => (vhost, name),
            Command::Bind(spec) | Command::Unbind(spec) => match &spec.destination {
                Destination::Queue(name) => (&spec.vhost, name),
                Destination::Exchange(_) => return None,
            },
            _ => return None,
        };
        let queue = self.topology.read().queue(vhost, name).filter(|queue| !queue.durable)?.id;
        (self.home_of_transient(queue) != Leads::Here).then_some(queue)
    }

    /// Tells the other nodes of what has changed here and is not durable. The topology is locked, so that they hear of
    /// changes in their order.
    pub(crate) fn share(&self, command: &Command, applied: &Applied) {
        let Some(me) = self.membership() else { return };
        let commands = applied.to_tell(command, |queue| is_of(queue.id, me.incarnation));
        if commands.is_empty() {
            return;
        }
        for node in self.remote.linked.read().keys() {
            let commands = commands.clone();
            self.send_frame(*node, Frame::Transient(Transient { all: false, commands }));
        }
    }

    /// Tells a node that is newly connected of everything here that is not durable.
    pub(super) fn share_all(&self, node: NodeId) {
        let Some(me) = self.membership() else { return };
        let topology = self.topology.read();
        let commands = topology.transient_commands(|queue| is_of(queue.id, me.incarnation));
        self.send_frame(node, Frame::Transient(Transient { all: true, commands }));
    }

    /// Takes what another node says of what it has.
    pub(crate) fn others_have(&self, from: NodeId, told: Transient, now: Timestamp) {
        let Transient { all, commands } = told;
        let mut unfit = self.remote.unfit.0.lock().remove(&from).unwrap_or_default();
        if all {
            unfit.clear();
            for command in self.outdated(from, &commands) {
                self.follow_other(&command, now);
            }
        }
        unfit.extend(commands);
        // What one command needs may come later in the list, or from another node.
        let mut rest = self.follow_all(unfit, now);
        rest.truncate(UNFIT_MAX);
        if !rest.is_empty() {
            self.remote.unfit.0.lock().insert(from, rest);
        }
        self.retry_unfit(from, now);
    }

    fn retry_unfit(&self, but: NodeId, now: Timestamp) {
        let others: Vec<_> = {
            let unfit = self.remote.unfit.0.lock();
            unfit.keys().copied().filter(|node| *node != but).collect()
        };
        for node in others {
            let Some(unfit) = self.remote.unfit.0.lock().remove(&node) else { continue };
            let rest = self.follow_all(unfit, now);
            if !rest.is_empty() {
                self.remote.unfit.0.lock().insert(node, rest);
            }
        }
    }

    /// Applies commands in order; gives back those that do not fit.
    fn follow_all(&self, commands: Vec<Command>, now: Timestamp) -> Vec<Command> {
        commands.into_iter().filter(|command| !self.follow_other(command, now)).collect()
    }

    /// Applies what another node has told. False if it does not fit, and might do so later.
    fn follow_other(&self, command: &Command, now: Timestamp) -> bool {
        if let Command::DeclareQueue(declare) = command {
            self.make_way(declare, now);
        }
        let settled = self.follow_told(command, now);
        match (command, settled) {
            // A name that is taken here by another queue.
            (Command::DeclareQueue(declare), Some(Ok(Outcome::QueueDeclared { queue, .. }))) => {
                declare.id == Some(queue.id)
            }
            (Command::DeleteQueue { .. } | Command::Unbind(_), _) => true,
            (Command::DeleteExchange { .. }, _) => true,
            (_, settled) => matches!(settled, Some(Ok(_))),
        }
    }

    /// Two nodes have given a name to a queue at the same time: the one that started first keeps it, as all nodes see it.
    fn make_way(&self, declare: &QueueDeclare, now: Timestamp) {
        let known = self.topology.read().queue(&declare.vhost, &declare.name).cloned();
        let later = known.filter(|known| {
            !known.durable && declare.id.is_some_and(|id| id.is_transient() && id < known.id)
        });
        let Some(known) = later else { return };
        let delete = Self::delete_command(&known);
        if self.home_of_transient(known.id) == Leads::Here {
            // Nobody waits for the outcome.
            let _ = self.propose(delete, now, Box::new(|_| {}));
        } else {
            self.follow_told(&delete, now);
        }
    }

    /// What is known of a node's queues and is not in what it says it has.
    fn outdated(&self, node: NodeId, has: &[Command]) -> Vec<Command> {
        let Some(incarnation) = self.remote.linked.read().get(&node).copied() else {
            return Vec::new();
        };
        let topology = self.topology.read();
        let mut out = gone(&topology, |queue| {
            self.home_of_transient(queue.id) == Leads::There(node)
                && !has.iter().any(|command| {
                    matches!(command, Command::DeclareQueue(has) if has.id == Some(queue.id))
                })
        });
        for vhost in topology.vhosts() {
            let of_node = |name: &Arc<str>| {
                vhost.queue(name).is_some_and(|queue| is_of(queue.id, incarnation))
            };
            let known = vhost.bindings().filter(
                |known| matches!(&known.destination, Destination::Queue(name) if of_node(name)),
            );
            let specs = known.map(|known| BindingSpec {
                vhost: Arc::clone(vhost.name()),
                source: known.source,
                destination: known.destination,
                key: known.key,
                arguments: known.arguments,
            });
            let lost = specs.filter(|spec| !has.contains(&Command::Bind(spec.clone())));
            out.extend(lost.map(Command::Unbind));
        }
        out
    }

    /// Forgets the queues of nodes that are gone, or have started again.
    pub(crate) fn forget_gone(&self, now: Timestamp) {
        if self.membership().is_none() {
            return;
        }
        let commands = {
            let topology = self.topology.read();
            gone(&topology, |queue| match self.home_of_transient(queue.id) {
                Leads::Here => false,
                Leads::There(node) => !self.peers.metadata().is_live(node),
                Leads::Nobody => true,
            })
        };
        for command in commands {
            self.follow_told(&command, now);
        }
    }
}

/// The commands that delete queues that are not durable.
fn gone(topology: &Topology, is_gone: impl Fn(&QueueMeta) -> bool) -> Vec<Command> {
    let queues = topology.vhosts().flat_map(|vhost| vhost.queues());
    let gone = queues.filter(|queue| !queue.durable && is_gone(queue));
    let delete = gone.map(|queue| Command::DeleteQueue {
        vhost: Arc::clone(&queue.vhost),
        name: Arc::clone(&queue.name),
        id: Some(queue.id),
    });
    delete.collect()
}
