//! The durable part of a topology as the commands that make it again.

use super::Topology;
use super::exchanges::predeclared;
use super::vhost::Vhost;
use crate::auth::User;
use crate::command::{
    BindingSpec, Command, ExchangeDeclare, QueueDeclare, UserLimit, UserSpec, VhostLimit, VhostSpec,
};
use crate::exchange::{Exchange, delay};
use crate::ids::QueueId;
use crate::names;
use crate::queue_meta::QueueMeta;
use std::sync::Arc;

impl Topology {
    /// The commands that make the durable part again, in an order in which they succeed: applied to
    /// an empty topology they give one that is the same but for what was not durable.
    #[must_use]
    pub fn snapshot_commands(&self) -> Vec<Command> {
        let mut out = Vec::new();
        for user in self.users.values() {
            user.snapshot(&mut out);
        }
        for (name, value) in &self.global_parameters {
            out.push(Command::PutGlobalParameter { name: name.clone(), value: value.clone() });
        }
        for vhost in self.vhosts.values() {
            vhost.snapshot(&mut out);
        }
        out.push(Command::SetNextQueue(QueueId(self.ids.durable)));
        out
    }
}

impl User {
    fn snapshot(&self, out: &mut Vec<Command>) {
        out.push(Command::PutUser(UserSpec {
            name: self.name.clone(),
            password: self.password.clone(),
            tags: self.tags.clone(),
        }));
        let limits = [
            (UserLimit::Channels, self.max_channels),
            (UserLimit::Connections, self.max_connections),
        ];
        for (limit, value) in limits {
            if value.is_some() {
                out.push(Command::SetUserLimit { user: self.name.clone(), limit, value });
            }
        }
    }
}

impl Vhost {
    fn snapshot(&self, out: &mut Vec<Command>) {
        self.snapshot_info(out);
        self.snapshot_records(out);
        self.snapshot_exchanges(out);
        self.snapshot_queues(out);
        self.snapshot_bindings(out);
        // After the queues: the default does not change what was declared before it was set.
        if self.info.default_queue_type.is_some() {
            out.push(Command::PutVhost(self.spec()));
        }
        // After the queues: a limit that is lower than what exists does not remove it.
        let limits = [
            (VhostLimit::Connections, self.limits.connections),
            (VhostLimit::Queues, self.limits.queues),
        ];
        for (limit, value) in limits {
            if value.is_some() {
                out.push(Command::SetVhostLimit { vhost: self.info.name.clone(), limit, value });
            }
        }
    }

    fn spec(&self) -> VhostSpec {
        VhostSpec {
            name: self.info.name.clone(),
            description: self.info.description.clone(),
            tags: self.info.tags.clone(),
            default_queue_type: self.info.default_queue_type,
            protected: self.info.protected,
        }
    }

    fn snapshot_info(&self, out: &mut Vec<Command>) {
        out.push(Command::PutVhost(VhostSpec { default_queue_type: None, ..self.spec() }));
        if self.info.tracing {
            out.push(Command::SetTracing { vhost: self.info.name.clone(), on: true });
        }
    }

    fn snapshot_records(&self, out: &mut Vec<Command>) {
        out.extend(self.permissions().map(|record| Command::SetPermission(record.spec())));
        out.extend(
            self.topic_permissions().map(|record| Command::SetTopicPermission(record.spec.clone())),
        );
        out.extend(self.policies().map(|policy| Command::PutPolicy(policy.spec())));
        out.extend(
            self.operator_policies().map(|policy| Command::PutOperatorPolicy(policy.spec())),
        );
        out.extend(self.parameters().map(|(component, name, value)| Command::PutParameter {
            vhost: self.info.name.clone(),
            component: component.clone(),
            name: name.clone(),
            value: value.clone(),
        }));
    }

    fn snapshot_exchanges(&self, out: &mut Vec<Command>) {
        let predeclared =
            |name: &str| predeclared(&self.info.name).any(|(known, ..)| known == name);
        for slot in self.exchanges.sorted_slots() {
            let Some(entry) = self.exchanges.at(slot) else { continue };
            let exchange = &entry.meta;
            if !exchange.durable || predeclared(&exchange.name) {
                continue;
            }
            // Before its exchange, which would make another.
            if let Some(queue) = self.queue(&delay::queue_name(&exchange.name)) {
                out.push(declare(queue));
            }
            out.push(declare_exchange(exchange));
        }
    }

    fn snapshot_queues(&self, out: &mut Vec<Command>) {
        for slot in self.queues.sorted_slots() {
            let Some(entry) = self.queues.at(slot) else { continue };
            let queue = &entry.meta;
            if queue.durable && queue.settings.delays_for.is_none() {
                out.push(declare(queue));
            }
        }
    }

    fn snapshot_bindings(&self, out: &mut Vec<Command>) {
        let mut bindings: Vec<_> = self.bindings().filter(|binding| binding.durable).collect();
        bindings.sort_by_cached_key(|binding| {
            let arguments: Arc<[u8]> = binding.arguments.to_bytes().into();
            (binding.source.clone(), binding.destination.clone(), binding.key.clone(), arguments)
        });
        out.extend(bindings.into_iter().map(|binding| {
            Command::Bind(BindingSpec {
                vhost: self.info.name.clone(),
                source: binding.source,
                destination: binding.destination,
                key: binding.key,
                arguments: binding.arguments,
            })
        }));
    }
}

/// The command that makes an exchange again.
pub(super) fn declare_exchange(exchange: &Exchange) -> Command {
    Command::DeclareExchange(ExchangeDeclare {
        vhost: exchange.vhost.clone(),
        name: exchange.name.clone(),
        kind: exchange.kind.name().into(),
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
        user: exchange.created_by.clone(),
    })
}

/// The command that makes a queue again.
pub(super) fn declare(queue: &QueueMeta) -> Command {
    Command::DeclareQueue(QueueDeclare {
        vhost: queue.vhost.clone(),
        name: queue.name.clone(),
        server_named: names::is_reserved(&queue.name),
        durable: queue.durable,
        exclusive_owner: queue.exclusive_owner,
        auto_delete: queue.auto_delete,
        arguments: queue.arguments.clone(),
        user: queue.created_by.clone(),
        id: Some(queue.id),
    })
}
