//! What is not durable, between nodes: each node has its own, tells the others of it, and forgets theirs when they are
//! gone.

use super::snapshot::{declare, declare_exchange};
use super::{QueueIds, Topology};
use crate::command::{Applied, BindingSpec, Change, Command, Destination, Outcome};
use crate::error::BrokerError;
use crate::queue_meta::QueueMeta;
use crate::time::Timestamp;

impl Topology {
    /// Gives transient queues ids that no other node gives: `boot` counts the starts of all nodes.
    pub fn number_transient(&mut self, boot: u32) {
        self.ids.transient = QueueIds::new(boot).transient;
    }

    /// Applies what another node says of what it has that is not durable.
    ///
    /// # Errors
    /// When it does not fit what is here, such as a name that is taken.
    pub fn follow(&mut self, command: &Command, now: Timestamp) -> Result<Applied, BrokerError> {
        self.carry_out(command, now)
    }

    /// The commands that make everything again that is not durable: exchanges, then queues that `own` says are this node's,
    /// then bindings, but for those of other nodes' queues.
    #[must_use]
    pub fn transient_commands(&self, own: impl Fn(&QueueMeta) -> bool) -> Vec<Command> {
        let mut out = Vec::new();
        for vhost in self.vhosts.values() {
            let exchanges = vhost.exchanges().filter(|exchange| !exchange.durable);
            out.extend(exchanges.map(|exchange| declare_exchange(exchange)));
            let queues = vhost.queues().filter(|queue| !queue.durable && own(queue));
            out.extend(queues.map(|queue| declare(queue)));
            let is_told = |to: &Destination| match to {
                Destination::Exchange(_) => true,
                Destination::Queue(name) => {
                    vhost.queue(name).is_some_and(|queue| queue.durable || own(queue))
                }
            };
            let bindings = vhost.bindings();
            let bindings = bindings.filter(|known| !known.durable && is_told(&known.destination));
            out.extend(bindings.map(|binding| {
                Command::Bind(BindingSpec {
                    vhost: vhost.name().clone(),
                    source: binding.source,
                    destination: binding.destination,
                    key: binding.key,
                    arguments: binding.arguments,
                })
            }));
        }
        out
    }
}

impl Applied {
    /// What other nodes have to be told of a command that was [offered](Topology::offer) and applied at once. `own` says which queues are this
    /// node's.
    #[must_use]
    pub fn to_tell(&self, command: &Command, own: impl Fn(&QueueMeta) -> bool) -> Vec<Command> {
        let mut out = Vec::new();
        for change in &self.changes {
            match change {
                Change::ExchangeAdded(exchange) if !exchange.durable => {
                    out.push(declare_exchange(exchange));
                }
                Change::ExchangeRemoved(exchange) if !exchange.durable => {
                    let (vhost, name) = (exchange.vhost.clone(), exchange.name.clone());
                    out.push(Command::DeleteExchange { vhost, name, if_unused: false });
                }
                Change::QueueAdded(queue) if !queue.durable && own(queue) => {
                    out.push(declare(queue));
                }
                Change::QueueRemoved(queue) if !queue.durable && own(queue) => {
                    let (vhost, name) = (queue.vhost.clone(), queue.name.clone());
                    out.push(Command::DeleteQueue { vhost, name, id: Some(queue.id) });
                }
                _ => {}
            }
        }
        let bound = matches!(
            self.outcome,
            Outcome::Bound { created: true } | Outcome::Unbound { existed: true }
        );
        if bound {
            out.push(command.clone());
        }
        out
    }
}
