//! Declaring and deleting queues.
// rabbitmq: queue.declare, queue.delete

use super::access::Examined;
use super::vhost::{QueueEntry, Vhost};
use super::{Changes, OwnedQueue, Topology};
use crate::arguments::{
    self, COMPARED, QUEUE_TYPE, compare_flag, compare_table_value, compare_word,
};
use crate::command::{Change, Outcome, QueueDeclare};
use crate::error::{ArgumentError, BrokerError, ResourceKind, ResourceName};
use crate::exchange::delay;
use crate::ids::{ConnectionId, QueueId};
use crate::names;
use crate::policy::{kind_bit, merge};
use crate::queue_meta::QueueMeta;
use crate::settings::{QueueKind, QueueSettings};
use leveret_codec::Value;
use std::sync::Arc;

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

impl QueueDeclare {
    /// The name as error texts show it.
    #[must_use]
    pub fn resource(&self) -> ResourceName {
        ResourceName::queue(&self.vhost, self.name.clone())
    }

    /// Whether the queue would survive a restart: an exclusive one never does.
    #[must_use]
    pub fn effective_durable(&self) -> bool {
        self.durable && self.exclusive_owner.is_none()
    }

    /// Whether the name is one that this client may declare. RabbitMQ looks at it before
    /// permissions.
    ///
    /// # Errors
    /// [`BrokerError::ReservedName`], [`BrokerError::NameTooLong`].
    pub fn check_name(&self) -> Result<(), BrokerError> {
        if self.server_named {
            return names::check_length(ResourceKind::Queue, &self.name);
        }
        names::check(ResourceKind::Queue, &self.vhost, &self.name)
    }
}

impl Vhost {
    /// The type a declare means. Only a durable queue that is neither exclusive nor auto-delete
    /// takes the vhost's default.
    // rabbitmq: default_queue_type
    fn queue_kind(&self, declare: &QueueDeclare) -> Result<QueueKind, BrokerError> {
        let plain = declare.effective_durable() && !declare.auto_delete;
        let default = self.info.default_queue_type.filter(|_| plain).unwrap_or_default();
        arguments::queue_kind(&declare.arguments, default, &declare.resource())
    }

    /// A queue's policies and settings as they are now.
    pub(super) fn with_policies(&self, queue: &QueueMeta) -> QueueMeta {
        if let Some(exchange) = delay::exchange_of(&queue.name) {
            let delays_for = Some(exchange.into());
            let settings =
                QueueSettings { durable: queue.durable, delays_for, ..QueueSettings::default() };
            return QueueMeta { settings, ..queue.clone() };
        }
        let policy = self.policies.for_queue(&queue.name, queue.kind);
        let operator = self.operator_policies.for_queue(&queue.name, queue.kind);
        let applied =
            merge::Applied { policy: policy.map(|p| &**p), operator: operator.map(|p| &**p) };
        let flags = merge::Flags { durable: queue.durable, auto_delete: queue.auto_delete };
        let arguments = arguments::read(&queue.arguments, queue.kind);
        QueueMeta {
            settings: merge::settings(flags, &arguments, applied),
            policy: policy.cloned(),
            operator_policy: operator.cloned(),
            ..queue.clone()
        }
    }

    fn add_queue(&mut self, meta: &Arc<QueueMeta>) {
        let entry = QueueEntry { meta: meta.clone(), incoming: Vec::new() };
        let slot = self.queues.insert(meta.name.clone(), entry) as usize;
        if self.queue_ids.len() <= slot {
            self.queue_ids.resize(slot + 1, QueueId::default());
        }
        if let Some(id) = self.queue_ids.get_mut(slot) {
            *id = meta.id;
        }
    }

    /// Removes a queue and its bindings. Answers with the auto-delete exchanges that went with them.
    pub(super) fn remove_queue(&mut self, meta: &Arc<QueueMeta>, changes: &mut Changes) -> u64 {
        let Some(slot) = self.queues.slot(&*meta.name) else { return 0 };
        let incoming = self.queues.at(slot).map(|e| e.incoming.clone()).unwrap_or_default();
        let mut n = 0;
        changes.push(Change::QueueRemoved(meta.clone()));
        for binding in incoming {
            if let Some(source) = self.remove_binding(binding) {
                n += self.collect_unused(source, changes);
            }
        }
        self.queues.remove(&meta.name);
        n
    }
}

fn equivalent(
    queue: &QueueMeta,
    declare: &QueueDeclare,
    kind: QueueKind,
) -> Result<(), BrokerError> {
    if queue.exclusive_owner != declare.exclusive_owner {
        return Err(BrokerError::ResourceLocked(queue.resource()));
    }
    let resource = queue.resource();
    compare_flag("durable", &resource, queue.durable, declare.effective_durable())?;
    compare_flag("auto_delete", &resource, queue.auto_delete, declare.auto_delete)?;
    compare_word(QUEUE_TYPE, &resource, queue.kind.name(), kind.name())?;
    if queue.arguments.is_empty() && declare.arguments.is_empty() {
        return Ok(());
    }
    for (argument, kinds) in COMPARED {
        if kinds & kind_bit(queue.kind) != 0 {
            compare_table_value(argument, &resource, &queue.arguments, &declare.arguments)?;
        }
    }
    Ok(())
}

/// What queues of some types cannot be.
// rabbitmq: quorum queues and streams are durable, shared and named by clients
fn check_properties(declare: &QueueDeclare, kind: QueueKind) -> Result<(), BrokerError> {
    if kind == QueueKind::Classic {
        return Ok(());
    }
    if declare.server_named {
        return Err(BrokerError::ServerNamed(kind));
    }
    let wrong = if declare.auto_delete {
        Some("auto-delete")
    } else if declare.exclusive_owner.is_some() {
        Some("exclusive-owner")
    } else if !declare.durable {
        Some("non-durable")
    } else {
        None
    };
    match wrong {
        None => Ok(()),
        Some(property) => {
            let queue = declare.resource();
            Err(BrokerError::InvalidProperty { property: property.into(), queue })
        }
    }
}

impl Topology {
    /// Whether the queue exists and is equivalent, or could be made. Permissions, and those for a
    /// dead-letter exchange, are between this and the command; the other arguments and the limits
    /// are checked by the command.
    ///
    /// # Errors
    /// [`BrokerError::ReservedName`], [`BrokerError::ResourceLocked`], [`BrokerError::Inequivalent`],
    /// a queue type or dead-letter exchange that is none.
    pub fn examine_queue_declare(
        &self,
        declare: &QueueDeclare,
    ) -> Result<Examined<Arc<QueueMeta>>, BrokerError> {
        declare.check_name()?;
        let vhost = self.known_vhost(&declare.vhost)?;
        let kind = vhost.queue_kind(declare)?;
        if let Some(queue) = vhost.queue(&declare.name) {
            equivalent(queue, declare, kind)?;
            return Ok(Examined::Existing(queue.clone()));
        }
        match declare.arguments.get(DEAD_LETTER_EXCHANGE) {
            None | Some(Value::LongString(_)) => Ok(Examined::Absent),
            Some(other) => {
                let (kind, resource) = (other.kind(), declare.resource());
                let error = ArgumentError::wrong_type(kind, DEAD_LETTER_EXCHANGE, resource);
                Err(BrokerError::InvalidArgument(Box::new(error)))
            }
        }
    }

    pub(super) fn declare_queue(
        &mut self,
        declare: &QueueDeclare,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.make_way_for_queue(declare, changes)?;
        let vhost = self.known_vhost(&declare.vhost)?;
        let kind = vhost.queue_kind(declare)?;
        if let Some(queue) = vhost.queue(&declare.name).cloned() {
            equivalent(&queue, declare, kind)?;
            return Ok(Outcome::QueueDeclared { created: false, queue });
        }
        let queue = self.add_queue(declare, kind)?;
        changes.push(Change::QueueAdded(queue.clone()));
        Ok(Outcome::QueueDeclared { created: true, queue })
    }

    /// What is agreed on comes before what is this node's own.
    fn make_way_for_queue(
        &mut self,
        declare: &QueueDeclare,
        changes: &mut Changes,
    ) -> Result<(), BrokerError> {
        let transient =
            self.queue(&declare.vhost, &declare.name).is_some_and(|queue| !queue.durable);
        if declare.effective_durable() && transient {
            self.delete_queue(&declare.vhost, &declare.name, None, changes)?;
        }
        Ok(())
    }

    /// Whether the arguments and properties of a queue that is not there yet fit together.
    pub(super) fn check_new_queue(&self, declare: &QueueDeclare) -> Result<(), BrokerError> {
        let kind = self.known_vhost(&declare.vhost)?.queue_kind(declare)?;
        arguments::parse(&declare.arguments, kind, &declare.resource())?;
        check_properties(declare, kind)
    }

    /// Whether there may be one more queue, those counted that are about to be there.
    pub(super) fn check_queue_limits(&self, declare: &QueueDeclare) -> Result<(), BrokerError> {
        let vhost = self.known_vhost(&declare.vhost)?;
        match (vhost.limits.queues, self.config.limits.queues) {
            (Some(limit), _)
                if vhost.queues.len() as u64 + self.sought.queues(Some(vhost)) >= limit =>
            {
                Err(BrokerError::VhostQueueLimit { queue: declare.resource(), limit })
            }
            (_, Some(limit)) if self.n_queues() + self.sought.queues(None) >= limit => {
                Err(BrokerError::QueueLimit { name: declare.name.clone(), limit })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add_queue(
        &mut self,
        declare: &QueueDeclare,
        kind: QueueKind,
    ) -> Result<Arc<QueueMeta>, BrokerError> {
        let durable = declare.effective_durable();
        let id = match declare.id {
            Some(id) => id,
            None => self.ids.take(durable),
        };
        self.ids.restored(id);
        let vhost = self.vhost_mut(&declare.vhost)?;
        let mut arguments = declare.arguments.clone();
        // rabbitmq: a default type is written into the arguments
        if kind != QueueKind::default() && !arguments.contains_key(QUEUE_TYPE) {
            arguments.insert(QUEUE_TYPE, kind.name());
        }
        let queue = QueueMeta {
            id,
            vhost: vhost.info.name.clone(),
            name: declare.name.clone(),
            durable,
            auto_delete: declare.auto_delete,
            kind,
            exclusive_owner: declare.exclusive_owner,
            arguments,
            settings: QueueSettings::default(),
            policy: None,
            operator_policy: None,
            created_by: declare.user.clone(),
        };
        let queue = Arc::new(vhost.with_policies(&queue));
        vhost.add_queue(&queue);
        if let Some(owner) = queue.exclusive_owner {
            let owned = OwnedQueue { vhost: queue.vhost.clone(), name: queue.name.clone() };
            self.owned.entry(owner).or_default().insert(queue.id, owned);
        }
        Ok(queue)
    }

    pub(super) fn delete_queue(
        &mut self,
        vhost: &str,
        name: &str,
        id: Option<QueueId>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let vhost = self.vhost_mut(vhost)?;
        let queue = vhost.queue(name).filter(|queue| id.is_none_or(|id| id == queue.id)).cloned();
        let Some(queue) = queue else { return Ok(Outcome::Deleted { existed: false }) };
        let n = vhost.remove_queue(&queue, changes);
        self.n_exchanges -= n;
        self.disown(&queue);
        Ok(Outcome::Deleted { existed: true })
    }

    pub(super) fn disown(&mut self, queue: &QueueMeta) {
        let Some(owner) = queue.exclusive_owner else { return };
        let Some(owned) = self.owned.get_mut(&owner) else { return };
        owned.remove(&queue.id);
        if owned.is_empty() {
            self.owned.remove(&owner);
        }
    }

    /// Whether a connection has exclusive queues, so that [`crate::command::Command::DeleteOwned`]
    /// is due when it ends.
    #[must_use]
    pub fn owns_queues(&self, connection: ConnectionId) -> bool {
        self.owned.contains_key(&connection)
    }

    pub(super) fn delete_owned(
        &mut self,
        connection: ConnectionId,
        changes: &mut Changes,
    ) -> Outcome {
        let Some(owned) = self.owned.remove(&connection) else {
            return Outcome::Deleted { existed: false };
        };
        for (id, OwnedQueue { vhost, name }) in owned {
            // The vhost exists: deleting it would have disowned the queue.
            let _ = self.delete_queue(&vhost, &name, Some(id), changes);
        }
        Outcome::Deleted { existed: true }
    }
}
