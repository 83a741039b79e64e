//! What came of a command: the answer for who sent it, and the changes the node must act on.

use crate::exchange::Exchange;
use crate::queue_meta::QueueMeta;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An applied command.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The answer.
    pub outcome: Outcome,
    /// What the node must act on, in order. Empty when nothing changed.
    pub changes: Vec<Change>,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The record was created or replaced.
    Put {
        /// Whether there was none before.
        created: bool,
    },
    /// The record is gone.
    Deleted {
        /// Whether there was one.
        existed: bool,
    },
    /// The exchange exists.
    ExchangeDeclared {
        /// Whether the command made it.
        created: bool,
    },
    /// The queue exists.
    QueueDeclared {
        /// Whether the command made it.
        created: bool,
        /// The queue.
        queue: Arc<QueueMeta>,
    },
    /// The binding exists.
    Bound {
        /// Whether the command made it.
        created: bool,
    },
    /// The binding is gone.
    Unbound {
        /// Whether there was one.
        existed: bool,
    },
}

/// Something that the command changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// A vhost with its predeclared exchanges; [`Change::ExchangeAdded`] is not said for those.
    VhostAdded(Arc<str>),
    /// A vhost; its queues and exchanges were announced before. Its connections are to be closed.
    VhostRemoved(Arc<str>),
    /// The limits, metadata or tracing of a vhost.
    VhostChanged(Arc<str>),
    /// A user.
    UserAdded(Arc<str>),
    /// A user. Its connections are to be closed.
    UserRemoved(Arc<str>),
    /// The password, tags or limits of a user.
    UserChanged(Arc<str>),
    /// What a user may do in a vhost.
    PermissionChanged {
        /// Which user.
        user: Arc<str>,
        /// Which vhost.
        vhost: Arc<str>,
    },
    /// A policy, operator policy or parameter of a vhost.
    ParametersChanged {
        /// Which vhost; `None` is a global parameter.
        vhost: Option<Arc<str>>,
    },
    /// A queue, with its effective settings.
    QueueAdded(Arc<QueueMeta>),
    /// A queue.
    QueueRemoved(Arc<QueueMeta>),
    /// A queue that another policy applies to now.
    QueueChanged(Arc<QueueMeta>),
    /// An exchange.
    ExchangeAdded(Arc<Exchange>),
    /// An exchange.
    ExchangeRemoved(Arc<Exchange>),
    /// An exchange that another policy applies to now.
    ExchangeChanged(Arc<Exchange>),
    /// A durable auto-delete exchange that has lost its last binding: [`Change::consequence`].
    ExchangeUnused(Arc<Exchange>),
}
