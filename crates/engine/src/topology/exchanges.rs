//! Declaring and deleting exchanges.

use super::access::Examined;
use super::vhost::{ExchangeEntry, Vhost};
use super::{Changes, Topology};
use crate::arguments::{compare_flag, compare_table_value, compare_word};
use crate::command::{Change, ExchangeDeclare, Outcome, QueueDeclare};
use crate::error::{ArgumentError, BrokerError, ResourceKind, ResourceName};
use crate::exchange::{Exchange, ExchangeKind, Index, check, delay};
use crate::names;
use crate::policy::Policy;
use crate::settings::QueueKind;
use leveret_codec::{Table, Value};
use std::sync::Arc;

pub(super) const ALTERNATE: &str = "alternate-exchange";

/// The predeclared exchanges of every vhost: name, type, internal.
// rabbitmq: predeclared exchanges
pub(super) const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// The exchange type of a name. RabbitMQ looks at it before permissions.
///
/// # Errors
/// [`BrokerError::InvalidExchangeType`] for an empty name, [`BrokerError::UnknownExchangeType`]
/// for one that does not exist.
pub fn exchange_kind(name: &str) -> Result<ExchangeKind, BrokerError> {
    match ExchangeKind::parse(name) {
        Some(kind) => Ok(kind),
        None if name.is_empty() => Err(BrokerError::InvalidExchangeType(name.into())),
        None => Err(BrokerError::UnknownExchangeType(name.into())),
    }
}

/// The exchange that the broker tells of what happens, in the default vhost alone.
// rabbitmq: event exchange plugin
pub(super) const EVENTS: (&str, ExchangeKind, bool) =
    ("amq.rabbitmq.event", ExchangeKind::Topic, true);

/// The vhost that has it.
const EVENTS_VHOST: &str = "/";

/// The predeclared exchanges of a vhost.
pub(super) fn predeclared(
    vhost: &str,
) -> impl Iterator<Item = (&'static str, ExchangeKind, bool)> + use<> {
    let events = (vhost == EVENTS_VHOST).then_some(EVENTS);
    PREDECLARED.into_iter().chain(events)
}

impl Vhost {
    pub(super) fn add_predeclared(&mut self) {
        for (name, kind, internal) in predeclared(&self.info.name) {
            let meta = Exchange {
                vhost: self.info.name.clone(),
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::new(),
                alternate: None,
                policy: None,
                created_by: super::vhosts::INTERNAL_USER.into(),
            };
            self.add_exchange(meta);
        }
    }

    /// Removes an exchange and what goes with it, and says how many exchanges that were.
    fn remove_exchange_of(&mut self, name: &str, changes: &mut Changes) -> u64 {
        let Some(slot) = self.exchanges.slot(name) else { return 0 };
        let waiting = self.exchange(name).filter(|exchange| exchange.kind.delays());
        let waiting = waiting.and_then(|_| self.queue(&delay::queue_name(name))).cloned();
        let mut n = 1;
        if let Some(queue) = waiting {
            n += self.remove_queue(&queue, changes);
        }
        for upstream in self.remove_exchange(slot, changes) {
            n += self.collect_unused(upstream, changes);
        }
        n
    }

    /// Whether an exchange has a binding from it that lasts as long as itself: what is agreed on about
    /// a durable exchange does not depend on what nobody else knows.
    fn is_used(&self, exchange: &str) -> bool {
        let durable = self.exchange(exchange).is_some_and(|exchange| exchange.durable);
        self.bindings_from(exchange).any(|binding| binding.durable || !durable)
    }

    fn add_exchange(&mut self, meta: Exchange) -> Arc<Exchange> {
        let meta = Arc::new(meta);
        let index =
            if meta.is_default() { Index::ByName } else { Index::new(meta.kind, &meta.arguments) };
        let entry = ExchangeEntry {
            meta: meta.clone(),
            index,
            keeps_state: meta.kind.keeps_state(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
        };
        self.exchanges.insert(meta.name.clone(), entry);
        meta
    }
}

/// Where an exchange sends what it has no destination for: the argument counts before the policy.
/// The default exchange is none that messages are passed on to.
// rabbitmq: alternate exchanges; an empty name routes nothing
pub(super) fn alternate(arguments: &Table, policy: Option<&Policy>) -> Option<Arc<str>> {
    let argument = arguments.get(ALTERNATE).and_then(Value::as_str);
    let name = argument.or_else(|| policy?.get(ALTERNATE)?.as_str());
    name.filter(|name| !name.is_empty()).map(Into::into)
}

fn equivalent(exchange: &Exchange, declare: &ExchangeDeclare) -> Result<(), BrokerError> {
    let resource = exchange.resource();
    compare_word("type", &resource, exchange.kind.name(), &declare.kind)?;
    compare_flag("durable", &resource, exchange.durable, declare.durable)?;
    compare_flag("auto_delete", &resource, exchange.auto_delete, declare.auto_delete)?;
    compare_flag("internal", &resource, exchange.internal, declare.internal)?;
    compare_table_value(ALTERNATE, &resource, &exchange.arguments, &declare.arguments)
}

/// Whether clients may delete an exchange of this name.
pub(super) fn check_deletable(vhost: &Arc<str>, name: &Arc<str>) -> Result<(), BrokerError> {
    if name.is_empty() {
        return Err(BrokerError::DefaultExchange);
    }
    if names::is_reserved(name) {
        return Err(BrokerError::SystemExchange(ResourceName::exchange(vhost, name.clone())));
    }
    Ok(())
}

impl Topology {
    /// Whether the exchange exists and is equivalent, or could be made. Permissions, and those for
    /// an alternate exchange, are between this and the command.
    ///
    /// # Errors
    /// [`BrokerError::DefaultExchange`], an unknown type, [`BrokerError::Inequivalent`],
    /// [`BrokerError::ReservedName`], an alternate exchange that is no string.
    // rabbitmq: exchange.declare
    pub fn examine_exchange_declare(
        &self,
        declare: &ExchangeDeclare,
    ) -> Result<Examined<Arc<Exchange>>, BrokerError> {
        if declare.name.is_empty() {
            return Err(BrokerError::DefaultExchange);
        }
        let kind = exchange_kind(&declare.kind)?;
        let vhost = self.known_vhost(&declare.vhost)?;
        if let Some(exchange) = vhost.exchange(&declare.name) {
            equivalent(exchange, declare)?;
            return Ok(Examined::Existing(exchange.clone()));
        }
        names::check(ResourceKind::Exchange, &declare.vhost, &declare.name)?;
        match declare.arguments.get(ALTERNATE) {
            None | Some(Value::LongString(_)) => {
                check::declare(kind, &declare.arguments)?;
                Ok(Examined::Absent)
            }
            Some(other) => {
                let resource = ResourceName::exchange(&declare.vhost, declare.name.clone());
                let error = ArgumentError::wrong_type(other.kind(), ALTERNATE, resource);
                Err(BrokerError::InvalidArgument(Box::new(error)))
            }
        }
    }

    pub(super) fn declare_exchange(
        &mut self,
        declare: &ExchangeDeclare,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.make_way_for_exchange(declare, changes)?;
        if let Some(exchange) = self.known_vhost(&declare.vhost)?.exchange(&declare.name) {
            equivalent(exchange, declare)?;
            return Ok(Outcome::ExchangeDeclared { created: false });
        }
        let kind = exchange_kind(&declare.kind)?;
        let vhost = self.vhost_mut(&declare.vhost)?;
        let policy = vhost.policies.for_exchange(&declare.name).cloned();
        let meta = vhost.add_exchange(Exchange {
            vhost: vhost.info.name.clone(),
            name: declare.name.clone(),
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments.clone(),
            alternate: alternate(&declare.arguments, policy.as_deref()),
            policy,
            created_by: declare.user.clone(),
        });
        self.n_exchanges += 1;
        if kind.delays() {
            self.add_delay_queue(declare, changes)?;
        }
        changes.push(Change::ExchangeAdded(meta));
        Ok(Outcome::ExchangeDeclared { created: true })
    }

    /// Makes the queue in which a delayed message exchange keeps what waits, unless a snapshot has
    /// it already.
    fn add_delay_queue(
        &mut self,
        declare: &ExchangeDeclare,
        changes: &mut Changes,
    ) -> Result<(), BrokerError> {
        let name = delay::queue_name(&declare.name);
        if self.queue(&declare.vhost, &name).is_some() {
            return Ok(());
        }
        let queue = QueueDeclare {
            vhost: declare.vhost.clone(),
            name: name.into(),
            server_named: true,
            durable: declare.durable,
            exclusive_owner: None,
            auto_delete: false,
            arguments: Table::new(),
            user: declare.user.clone(),
            id: None,
        };
        let queue = self.add_queue(&queue, QueueKind::Classic)?;
        changes.push(Change::QueueAdded(queue));
        Ok(())
    }

    /// What is agreed on comes before what is this node's own.
    fn make_way_for_exchange(
        &mut self,
        declare: &ExchangeDeclare,
        changes: &mut Changes,
    ) -> Result<(), BrokerError> {
        let vhost = self.vhost_mut(&declare.vhost)?;
        let transient = vhost.exchange(&declare.name).is_some_and(|exchange| !exchange.durable);
        if declare.durable && transient {
            let n = vhost.remove_exchange_of(&declare.name, changes);
            self.n_exchanges -= n;
        }
        Ok(())
    }

    // rabbitmq: exchange.delete; a missing exchange is no error
    pub(super) fn delete_exchange(
        &mut self,
        vhost: &Arc<str>,
        name: &Arc<str>,
        if_unused: bool,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        check_deletable(vhost, name)?;
        let vhost = self.vhost_mut(vhost)?;
        if if_unused && vhost.is_used(name) {
            let exchange = ResourceName::exchange(&vhost.info.name, name.clone());
            return Err(BrokerError::InUse(exchange));
        }
        let n = vhost.remove_exchange_of(name, changes);
        self.n_exchanges -= n;
        Ok(Outcome::Deleted { existed: n > 0 })
    }

    pub(super) fn collect_exchange(
        &mut self,
        vhost: &Arc<str>,
        name: &Arc<str>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let vhost = self.vhost_mut(vhost)?;
        let collectable = |exchange: &Arc<Exchange>| exchange.durable && exchange.auto_delete;
        if !vhost.exchange(name).is_some_and(collectable) || vhost.is_used(name) {
            return Ok(Outcome::Deleted { existed: false });
        }
        let n = vhost.remove_exchange_of(name, changes);
        self.n_exchanges -= n;
        Ok(Outcome::Deleted { existed: n > 0 })
    }
}
