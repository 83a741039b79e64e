//! What a channel's user may do with what is in its vhost: lookups and permission checks in
//! RabbitMQ's order and with its errors.

use std::sync::Arc;

use leveret_engine::{
    BrokerError, Exchange, Passage, Permission, QueueMeta, Resource, ResourceName, Routable,
    Routed, Topology, User, Vhost,
};

use crate::connection::shared::{Context, Shared};

/// The topology through the eyes of one connection.
pub(crate) struct Access<'a> {
    topology: &'a Topology,
    shared: &'a Shared,
}

impl<B> Context<'_, B> {
    pub(crate) fn access<'a>(&'a self, topology: &'a Topology) -> Access<'a> {
        Access { topology, shared: self.shared }
    }
}

impl<'a> Access<'a> {
    pub(crate) fn vhost(&self) -> &'a Arc<str> {
        &self.shared.vhost
    }

    pub(crate) fn user(&self) -> Result<&'a User, BrokerError> {
        let shared = self.shared;
        shared.user.as_deref().ok_or_else(|| BrokerError::VhostAccessRefused {
            vhost: shared.vhost.clone(),
            user: shared.user_name.clone(),
        })
    }

    fn here(&self) -> Option<&'a Vhost> {
        self.topology.vhost(&self.shared.vhost)
    }

    /// Checks a permission on an exchange, which need not exist.
    pub(crate) fn exchange(&self, what: Permission, name: &str) -> Result<(), BrokerError> {
        self.topology.check(self.user()?, self.vhost(), what, Resource::Exchange(name))
    }

    /// Checks a permission on a queue, which need not exist.
    pub(crate) fn queue(&self, what: Permission, name: &str) -> Result<(), BrokerError> {
        self.topology.check(self.user()?, self.vhost(), what, Resource::Queue(name))
    }

    /// Checks a routing key, which matters where the exchange is a topic exchange.
    pub(crate) fn topic(&self, exchange: &str, key: &[u8]) -> Result<(), BrokerError> {
        self.topology.check_topic(self.user()?, self.vhost(), Permission::Write, exchange, key)
    }

    pub(crate) fn find_exchange(&self, name: &str) -> Option<&'a Arc<Exchange>> {
        self.here()?.exchange(name)
    }

    pub(crate) fn find_queue(&self, name: &str) -> Option<&'a Arc<QueueMeta>> {
        self.here()?.queue(name)
    }

    /// A queue that exists and is not another connection's.
    pub(crate) fn usable_queue(&self, name: &str) -> Result<Arc<QueueMeta>, BrokerError> {
        let missing = || BrokerError::NotFound(ResourceName::queue(self.vhost(), name));
        let queue = self.find_queue(name).ok_or_else(missing)?;
        queue.check_owner(self.shared.id)?;
        Ok(queue.clone())
    }

    pub(crate) fn route(
        &self,
        exchange: &str,
        message: &Routable<'_>,
        pass: impl FnMut(&Exchange) -> Passage,
        out: &mut Routed,
    ) {
        if let Some(vhost) = self.here() {
            vhost.route(exchange, message, pass, out);
        }
    }
}
