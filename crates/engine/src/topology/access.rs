//! Permission checks, in one place: single ones, and those of whole methods in RabbitMQ's order.
// rabbitmq: 7.2 permissions

use super::Topology;
use crate::auth::{Resource, User};
use crate::command::{BindingSpec, Destination, ExchangeDeclare, QueueDeclare};
use crate::error::{BrokerError, Permission, ResourceName};
use crate::exchange::ExchangeKind;
use leveret_codec::Value;
use std::sync::Arc;

/// What a declare would find.
#[derive(Clone, Debug, PartialEq)]
pub enum Examined<T> {
    /// It exists and is equivalent.
    Existing(T),
    /// It does not exist.
    Absent,
}

impl Topology {
    /// Whether the user may do this to the resource.
    ///
    /// # Errors
    /// [`BrokerError::AccessRefused`].
    pub fn check(
        &self,
        user: &User,
        vhost: &str,
        permission: Permission,
        resource: Resource<'_>,
    ) -> Result<(), BrokerError> {
        if user.operator {
            return Ok(());
        }
        let permissions = self.vhost(vhost).and_then(|vhost| vhost.permissions_of(&user.name));
        let name = resource.checked_name();
        if permissions.is_some_and(|permissions| permissions.allows(permission, name)) {
            return Ok(());
        }
        let (kind, vhost) = (resource.kind(), vhost.into());
        let resource = ResourceName { kind, vhost, name: name.into() };
        Err(BrokerError::AccessRefused { permission, resource, user: user.name.clone() })
    }

    /// Whether the user may publish with this routing key to the exchange (`Write`), or bind from it
    /// with this binding key (`Read`). Only topic exchanges have topics, and without a record
    /// everything is allowed.
    ///
    /// # Errors
    /// [`BrokerError::TopicAccessRefused`].
    pub fn check_topic(
        &self,
        user: &User,
        vhost: &str,
        permission: Permission,
        exchange: &str,
        key: &[u8],
    ) -> Result<(), BrokerError> {
        let Some(vhost) = self.vhost(vhost) else { return Ok(()) };
        let Some(record) = vhost.topic_permissions_of(&user.name, exchange) else {
            return Ok(());
        };
        if vhost.exchange(exchange).is_none_or(|exchange| exchange.kind != ExchangeKind::Topic) {
            return Ok(());
        }
        let topic = String::from_utf8_lossy(key);
        if record.allows(permission, &topic, None) {
            return Ok(());
        }
        Err(BrokerError::TopicAccessRefused {
            permission,
            topic: topic.into(),
            exchange: ResourceName::exchange(vhost.name(), exchange),
            user: user.name.clone(),
        })
    }

    /// Whether the user may open the vhost.
    ///
    /// # Errors
    /// [`BrokerError::VhostNotFound`], [`BrokerError::VhostAccessRefused`].
    pub fn check_vhost(&self, user: &User, vhost: &str) -> Result<(), BrokerError> {
        let Some(found) = self.vhost(vhost) else {
            return Err(BrokerError::VhostNotFound(vhost.into()));
        };
        if user.operator || found.permissions_of(&user.name).is_some() {
            return Ok(());
        }
        let (vhost, user) = (vhost.into(), user.name.clone());
        Err(BrokerError::VhostAccessRefused { vhost, user })
    }

    /// All checks of an active `queue.declare` but those of the command itself: name, configure,
    /// equivalence, then read and write for a dead-letter exchange.
    ///
    /// # Errors
    /// The first that fails.
    pub fn authorise_queue_declare(
        &self,
        user: &User,
        declare: &QueueDeclare,
    ) -> Result<Examined<Arc<crate::queue_meta::QueueMeta>>, BrokerError> {
        declare.check_name()?;
        let queue = Resource::Queue(&declare.name);
        self.check(user, &declare.vhost, Permission::Configure, queue)?;
        let examined = self.examine_queue_declare(declare)?;
        let target = declare.arguments.get("x-dead-letter-exchange").and_then(Value::as_str);
        if let (Examined::Absent, Some(target)) = (&examined, target) {
            self.check(user, &declare.vhost, Permission::Read, queue)?;
            let exchange = Resource::Exchange(target);
            self.check(user, &declare.vhost, Permission::Write, exchange)?;
        }
        Ok(examined)
    }

    /// All checks of an active `exchange.declare` but those of the command itself: the default
    /// exchange, the type, configure, equivalence, then read and write for an alternate exchange.
    ///
    /// # Errors
    /// The first that fails.
    pub fn authorise_exchange_declare(
        &self,
        user: &User,
        declare: &ExchangeDeclare,
    ) -> Result<Examined<Arc<crate::exchange::Exchange>>, BrokerError> {
        if declare.name.is_empty() {
            return Err(BrokerError::DefaultExchange);
        }
        super::exchange_kind(&declare.kind)?;
        let exchange = Resource::Exchange(&declare.name);
        self.check(user, &declare.vhost, Permission::Configure, exchange)?;
        let examined = self.examine_exchange_declare(declare)?;
        let target = declare.arguments.get(super::exchanges::ALTERNATE).and_then(Value::as_str);
        if let (Examined::Absent, Some(target)) = (&examined, target) {
            self.check(user, &declare.vhost, Permission::Read, exchange)?;
            let target = Resource::Exchange(target);
            self.check(user, &declare.vhost, Permission::Write, target)?;
        }
        Ok(examined)
    }

    /// The permissions of bind and unbind: write on the destination, read on the source, and for
    /// a topic exchange read on the binding key. The default exchange is refused before.
    ///
    /// # Errors
    /// The first that fails.
    pub fn authorise_bind(&self, user: &User, spec: &BindingSpec) -> Result<(), BrokerError> {
        let destination = match &spec.destination {
            Destination::Exchange(name) => Resource::Exchange(name),
            Destination::Queue(name) => Resource::Queue(name),
        };
        if spec.source.is_empty() || destination == Resource::Exchange("") {
            return Err(BrokerError::DefaultExchange);
        }
        self.check(user, &spec.vhost, Permission::Write, destination)?;
        let source = Resource::Exchange(&spec.source);
        self.check(user, &spec.vhost, Permission::Read, source)?;
        self.check_topic(user, &spec.vhost, Permission::Read, &spec.source, &spec.key)
    }
}
