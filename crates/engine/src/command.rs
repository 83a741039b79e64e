//! Commands: the only way the topology changes, and what came of one. They are serialisable, since
//! they travel to the other nodes and stand in logs and snapshots.

mod outcome;

use crate::auth::PasswordHash;
use crate::ids::{ConnectionId, QueueId};
use crate::parameter::ParameterValue;
use crate::settings::QueueKind;
use leveret_codec::Table;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use outcome::{Applied, Change, Outcome};

/// One change of the topology. What is written down has the variants by their number: new ones go to
/// the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    // ---- vhosts -------------------------------------------------------------------------------
    /// Creates a vhost with its predeclared exchanges, or changes its description, tags and default
    /// queue type.
    PutVhost(VhostSpec),
    /// Deletes a vhost with everything in it.
    DeleteVhost {
        /// Which one.
        name: Arc<str>,
    },
    /// Sets or clears one limit of a vhost.
    SetVhostLimit {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which limit.
        limit: VhostLimit,
        /// `None` clears it; 0 allows nothing.
        value: Option<u64>,
    },
    /// Turns the firehose of a vhost on or off.
    SetTracing {
        /// Which vhost.
        vhost: Arc<str>,
        /// On or off.
        on: bool,
    },

    // ---- users --------------------------------------------------------------------------------
    /// Creates a user or replaces its password and tags.
    PutUser(UserSpec),
    /// Deletes a user and its permissions.
    DeleteUser {
        /// Which one.
        name: Arc<str>,
    },
    /// Replaces the tags of a user.
    SetUserTags {
        /// Which user.
        name: Arc<str>,
        /// The new tags.
        tags: Vec<Arc<str>>,
    },
    /// Replaces the password of a user.
    SetUserPassword {
        /// Which user.
        name: Arc<str>,
        /// The new hash; `None` forbids logging in with a password.
        password: Option<PasswordHash>,
    },
    /// Sets or clears one limit of a user.
    SetUserLimit {
        /// Which user.
        user: Arc<str>,
        /// Which limit.
        limit: UserLimit,
        /// `None` clears it; 0 allows nothing.
        value: Option<u64>,
    },
    /// Sets the three patterns of a user in a vhost.
    SetPermission(PermissionSpec),
    /// Takes the user's access to the vhost away.
    ClearPermission {
        /// Which user.
        user: Arc<str>,
        /// Which vhost.
        vhost: Arc<str>,
    },
    /// Sets the topic patterns of a user for one exchange.
    SetTopicPermission(TopicPermissionSpec),
    /// Removes the topic patterns of a user, for one exchange or for all.
    ClearTopicPermission {
        /// Which user.
        user: Arc<str>,
        /// Which vhost.
        vhost: Arc<str>,
        /// Which exchange; `None` is all of them.
        exchange: Option<Arc<str>>,
    },

    // ---- policies and parameters --------------------------------------------------------------
    /// Creates or replaces a policy and applies it to what matches.
    PutPolicy(PolicySpec),
    /// Deletes a policy.
    DeletePolicy {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which policy.
        name: Arc<str>,
    },
    /// Creates or replaces an operator policy.
    PutOperatorPolicy(PolicySpec),
    /// Deletes an operator policy.
    DeleteOperatorPolicy {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which policy.
        name: Arc<str>,
    },
    /// Sets a runtime parameter. The components `policy`, `operator_policy` and `vhost-limits` are
    /// policies and limits.
    PutParameter {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which component.
        component: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// Its value.
        value: ParameterValue,
    },
    /// Removes a runtime parameter.
    DeleteParameter {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which component.
        component: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// Sets a global parameter.
    PutGlobalParameter {
        /// Its name.
        name: Arc<str>,
        /// Its value.
        value: ParameterValue,
    },
    /// Removes a global parameter.
    DeleteGlobalParameter {
        /// Its name.
        name: Arc<str>,
    },

    // ---- exchanges, queues, bindings ----------------------------------------------------------
    /// Creates an exchange, or finds that an equivalent one exists.
    DeclareExchange(ExchangeDeclare),
    /// Deletes an exchange and its bindings.
    DeleteExchange {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which exchange.
        name: Arc<str>,
        /// Only if it is the source of no binding.
        if_unused: bool,
    },
    /// Deletes an auto-delete exchange that has no binding left. The broker's own.
    // rabbitmq: exchange auto_delete
    CollectExchange {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which exchange.
        name: Arc<str>,
    },
    /// Creates a queue, or finds that an equivalent one exists.
    DeclareQueue(QueueDeclare),
    /// Deletes a queue and its bindings. Conditions on messages and consumers are the caller's.
    DeleteQueue {
        /// Which vhost.
        vhost: Arc<str>,
        /// Which queue.
        name: Arc<str>,
        /// Only if it is still this one.
        id: Option<QueueId>,
    },
    /// Deletes the exclusive queues of a connection that ended.
    DeleteOwned {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Adds a binding; one that exists is left alone.
    Bind(BindingSpec),
    /// Removes a binding; one that does not exist is no error.
    Unbind(BindingSpec),

    // ---- snapshots ----------------------------------------------------------------------------
    /// Sets the id of the next durable queue. Only snapshots have it: ids are never given twice.
    SetNextQueue(QueueId),
}

/// What makes a vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostSpec {
    /// Its name; an empty one is legal.
    pub name: Arc<str>,
    /// Free text.
    pub description: Arc<str>,
    /// Free words.
    pub tags: Vec<Arc<str>>,
    /// The type of durable queues declared without one; `None` is classic.
    pub default_queue_type: Option<QueueKind>,
    /// Whether `DeleteVhost` is refused.
    pub protected: bool,
}

/// What can be limited in a vhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VhostLimit {
    /// `max-connections`.
    Connections,
    /// `max-queues`.
    Queues,
}

/// What makes a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The name.
    pub name: Arc<str>,
    /// `None` forbids logging in with a password.
    pub password: Option<PasswordHash>,
    /// `administrator`, `monitoring`, ...
    pub tags: Vec<Arc<str>>,
}

/// What can be limited for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserLimit {
    /// `max-channels`.
    Channels,
    /// `max-connections`.
    Connections,
}

/// The patterns of a user in a vhost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionSpec {
    /// Which user.
    pub user: Arc<str>,
    /// Which vhost.
    pub vhost: Arc<str>,
    /// Names it may declare and delete.
    pub configure: Arc<str>,
    /// Names it may publish to and bind.
    pub write: Arc<str>,
    /// Names it may consume from and bind from.
    pub read: Arc<str>,
}

/// The topic patterns of a user for one exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPermissionSpec {
    /// Which user.
    pub user: Arc<str>,
    /// Which vhost.
    pub vhost: Arc<str>,
    /// Which exchange.
    pub exchange: Arc<str>,
    /// Routing keys it may publish with.
    pub write: Arc<str>,
    /// Binding keys it may bind with.
    pub read: Arc<str>,
}

/// What a policy or an operator policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Which vhost.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The names it applies to.
    pub pattern: Arc<str>,
    /// What it applies to.
    pub apply_to: ApplyTo,
    /// The highest one that matches applies.
    pub priority: i64,
    /// The settings, in the order they were given.
    pub definition: Vec<(Arc<str>, ParameterValue)>,
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Classic queues.
    ClassicQueues,
    /// Exchanges.
    Exchanges,
    /// Queues of every type.
    Queues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
}

/// What makes an exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeDeclare {
    /// Which vhost.
    pub vhost: Arc<str>,
    /// The name, without line breaks ([`crate::names::strip`]).
    pub name: Arc<str>,
    /// The type by its name on the wire.
    pub kind: Arc<str>,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only bindings reach it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: Table,
    /// Who declares it.
    pub user: Arc<str>,
}

/// What makes a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueDeclare {
    /// Which vhost.
    pub vhost: Arc<str>,
    /// The name, without line breaks; for a server-named queue the generated one
    /// ([`crate::names::server_named`]).
    pub name: Arc<str>,
    /// Whether the client gave no name, so that `amq.` is allowed.
    pub server_named: bool,
    /// Whether it survives a restart; an exclusive queue never does.
    pub durable: bool,
    /// The connection that alone may use it.
    pub exclusive_owner: Option<ConnectionId>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Table,
    /// Who declares it.
    pub user: Arc<str>,
    /// The id it already has. Only snapshots have it.
    pub id: Option<QueueId>,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// To an exchange.
    Exchange(Arc<str>),
    /// To a queue.
    Queue(Arc<str>),
}

/// A binding. All five fields are its identity, the arguments sorted by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindingSpec {
    /// Which vhost.
    pub vhost: Arc<str>,
    /// The exchange messages come from.
    pub source: Arc<str>,
    /// Where they go.
    pub destination: Destination,
    /// The binding key, as bytes.
    pub key: Arc<[u8]>,
    /// The arguments, which a headers exchange matches.
    pub arguments: Table,
}

impl Destination {
    /// The name of the queue or exchange.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Exchange(name) | Self::Queue(name) => name,
        }
    }
}
