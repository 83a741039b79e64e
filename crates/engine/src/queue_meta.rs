//! What the topology knows of a queue. Immutable: a change of policy makes a new one.

use crate::error::{BrokerError, ResourceName};
use crate::ids::{ConnectionId, QueueId};
use crate::policy::Policy;
use crate::settings::{QueueKind, QueueSettings};
use leveret_codec::{Table, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A queue without its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueMeta {
    /// Its identity on this node; a queue declared again under the same name has another.
    pub id: QueueId,
    /// The vhost it is in.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it survives a restart; never for an exclusive queue.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its type.
    pub kind: QueueKind,
    /// The connection that alone may use it.
    pub exclusive_owner: Option<ConnectionId>,
    /// The arguments it was declared with.
    pub arguments: Table,
    /// Arguments and policies merged.
    pub settings: QueueSettings,
    /// The policy that applies.
    pub policy: Option<Arc<Policy>>,
    /// The operator policy that applies.
    pub operator_policy: Option<Arc<Policy>>,
    /// Who declared it.
    pub created_by: Arc<str>,
}

impl QueueMeta {
    /// The name as error texts show it.
    #[must_use]
    pub fn resource(&self) -> ResourceName {
        ResourceName::queue(&self.vhost, self.name.clone())
    }

    /// Whether `connection` may use the queue.
    ///
    /// # Errors
    /// [`BrokerError::ResourceLocked`] when it belongs to another connection.
    // rabbitmq: exclusive queues answer 405 to everybody else
    pub fn check_owner(&self, connection: ConnectionId) -> Result<(), BrokerError> {
        match self.exclusive_owner {
            Some(owner) if owner != connection => Err(BrokerError::ResourceLocked(self.resource())),
            _ => Ok(()),
        }
    }

    /// The arguments with `x-queue-type`, which RabbitMQ 4 shows for every queue.
    #[must_use]
    pub fn shown_arguments(&self) -> Table {
        let mut table = self.arguments.clone();
        if !table.contains_key(crate::arguments::QUEUE_TYPE) {
            let name = Value::LongString(self.kind.name().as_bytes().to_vec());
            table.0.push((crate::arguments::QUEUE_TYPE.into(), name));
        }
        table
    }
}
