//! What a broker refuses, as facts with their data. [`BrokerError::explain`] gives RabbitMQ's words
//! for a fact and [`BrokerError::reply_code`] its number; both doors, AMQP and HTTP, use them.
//! Facts about frames and delivery tags are the protocol's own and are not here.

mod arguments;
mod explain;
pub(crate) mod term;

use crate::settings::QueueKind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

pub use arguments::{ArgumentError, Compared, Inequivalent};

/// What kind of thing a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

/// A named thing in a vhost, as error texts show it: `queue 'q' in vhost '/'`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceName {
    /// What it is.
    pub kind: ResourceKind,
    /// The vhost it lives in.
    pub vhost: Arc<str>,
    /// Its name; an empty one is the default exchange.
    pub name: Arc<str>,
}

impl ResourceName {
    /// A queue's name.
    pub fn queue(vhost: &Arc<str>, name: impl Into<Arc<str>>) -> Self {
        Self { kind: ResourceKind::Queue, vhost: vhost.clone(), name: name.into() }
    }

    /// An exchange's name.
    pub fn exchange(vhost: &Arc<str>, name: impl Into<Arc<str>>) -> Self {
        Self { kind: ResourceKind::Exchange, vhost: vhost.clone(), name: name.into() }
    }
}

/// What a user may be allowed to do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// Declare and delete.
    Configure,
    /// Take messages from.
    Read,
    /// Put messages into.
    Write,
}

/// Which connections or channels are counted against a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionLimit {
    /// Connections of the node.
    NodeConnections,
    /// Channels of a user.
    UserChannels(Arc<str>),
    /// Connections of a user.
    UserConnections(Arc<str>),
    /// Connections to a vhost, and who wanted one more.
    VhostConnections {
        /// The vhost that is full.
        vhost: Arc<str>,
        /// Who was refused.
        user: Arc<str>,
    },
}

/// Something that a person manages and that has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordKind {
    /// A global parameter.
    GlobalParameter,
    /// An operator policy.
    OperatorPolicy,
    /// A runtime parameter.
    Parameter,
    /// A permission of a user in a vhost.
    Permission,
    /// A policy.
    Policy,
    /// A topic permission of a user in a vhost.
    TopicPermission,
    /// A user.
    User,
    /// A vhost.
    Vhost,
}

/// Why the broker does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.explain())]
pub enum BrokerError {
    // ---- access -------------------------------------------------------------------------------
    /// The user lacks a permission on a resource.
    AccessRefused {
        /// What was missing.
        permission: Permission,
        /// On what.
        resource: ResourceName,
        /// Who was refused.
        user: Arc<str>,
    },
    /// The user lacks a permission on a topic of an exchange.
    TopicAccessRefused {
        /// Write for a routing key, read for a binding key.
        permission: Permission,
        /// The key.
        topic: Arc<str>,
        /// The exchange.
        exchange: ResourceName,
        /// Who was refused.
        user: Arc<str>,
    },
    /// The user has no permissions at all in the vhost.
    VhostAccessRefused {
        /// Which vhost.
        vhost: Arc<str>,
        /// Who was refused.
        user: Arc<str>,
    },
    /// `connection.open` named a vhost that does not exist.
    VhostNotFound(Arc<str>),
    /// One connection or channel too many.
    ConnectionLimit {
        /// What is full.
        what: ConnectionLimit,
        /// How many are allowed.
        limit: u64,
    },

    // ---- resources ----------------------------------------------------------------------------
    /// There is no such queue or exchange.
    NotFound(ResourceName),
    /// Another connection owns the queue, or `exclusive` differs from what it was declared with.
    ResourceLocked(ResourceName),
    /// An exclusive consumer is there, or is wanted where there are consumers.
    ExclusiveUse(ResourceName),
    /// `if-unused`, and it is used.
    InUse(ResourceName),
    /// `if-empty`, and it is not.
    NotEmpty(ResourceName),
    /// The name starts with `amq.`, which belongs to the broker.
    ReservedName(ResourceName),
    /// An exchange that belongs to the broker cannot be deleted.
    SystemExchange(ResourceName),
    /// The default exchange cannot be declared, deleted or bound.
    DefaultExchange,
    /// Clients may not publish to an internal exchange.
    InternalExchange(ResourceName),
    /// There is no exchange type of this name.
    UnknownExchangeType(Arc<str>),
    /// The exchange type has no name.
    InvalidExchangeType(Arc<str>),
    /// Redeclared with another attribute or argument.
    Inequivalent(Box<Inequivalent>),
    /// An argument of a declare or bind is wrong.
    InvalidArgument(Box<ArgumentError>),
    /// A queue of this type cannot have the property.
    InvalidProperty {
        /// `non-durable`, `exclusive-owner` or `auto-delete`.
        property: Arc<str>,
        /// The queue.
        queue: ResourceName,
    },
    /// A queue of this type needs a name from its client.
    ServerNamed(QueueKind),
    /// A name longer than a short string.
    NameTooLong(ResourceKind),
    /// The queue limit of the vhost is reached.
    VhostQueueLimit {
        /// The queue that was wanted.
        queue: ResourceName,
        /// How many are allowed.
        limit: u64,
    },
    /// The queue limit of the broker is reached.
    QueueLimit {
        /// The name of the queue that was wanted.
        name: Arc<str>,
        /// How many are allowed.
        limit: u64,
    },
    /// The exchange limit of the broker is reached.
    ExchangeLimit {
        /// The name of the exchange that was wanted.
        name: Arc<str>,
        /// How many are allowed.
        limit: u64,
    },
    /// The binding limit of the vhost is reached.
    BindingLimit {
        /// The vhost.
        vhost: Arc<str>,
        /// How many are allowed.
        limit: u64,
    },

    // ---- what queues of some types do not do --------------------------------------------------
    /// `queue.delete` with a flag that the type does not support.
    DeleteFlag {
        /// The queue.
        queue: ResourceName,
        /// `if-unused` or `if-empty`.
        flag: Arc<str>,
        /// Its type.
        kind: QueueKind,
    },
    /// `basic.get` from a queue with a single active consumer that does not support it.
    GetWithSingleActiveConsumer {
        /// The queue.
        queue: ResourceName,
        /// Its type.
        kind: QueueKind,
    },
    /// `basic.qos` with `global` and a queue that does not support it.
    GlobalQos(ResourceName),
    /// The feature does not exist; the text says which.
    NotImplemented(Arc<str>),

    // ---- what people manage -------------------------------------------------------------------
    /// There is no such vhost, user, policy, ...
    NoSuchRecord {
        /// What was looked for.
        kind: RecordKind,
        /// Its name.
        name: Arc<str>,
    },
    /// The value of a policy, a parameter, a limit or a user is wrong; RabbitMQ's words for it.
    Validation(Arc<str>),
    /// A pattern is not a regular expression.
    InvalidPattern {
        /// As it was written.
        pattern: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// There are too many records of a kind.
    RecordLimit {
        /// Of which kind.
        kind: RecordKind,
        /// How many are allowed.
        limit: u64,
    },
    /// The vhost limit of the broker is reached.
    VhostLimit(u64),
    /// The vhost is protected from deletion.
    VhostProtected(Arc<str>),

    // ---- the node itself ----------------------------------------------------------------------
    /// The node is going away.
    ShuttingDown,
    /// The broker is at fault; the text is for its log.
    Internal(Arc<str>),
    /// No node that has the queue is there.
    HomeNodeDown {
        /// The queue.
        queue: ResourceName,
        /// Where it is.
        node: Arc<str>,
    },
}

/// Why a login was refused. Clients are not told which; logs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No such user, or the password does not fit.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// The user may only log in from this machine.
    #[error("user can only connect via localhost")]
    LoopbackOnly,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResourceKind::Exchange => "exchange",
            ResourceKind::Queue => "queue",
        };
        // rabbitmq: permissions on the default exchange are checked as amq.default, and shown so.
        write!(f, "{kind} '{}' in vhost '{}'", self.name, self.vhost)
    }
}

#[cfg(test)]
mod tests;
