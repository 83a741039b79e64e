//! Errors about arguments of declares and binds, with the values as RabbitMQ prints them.

use super::{ResourceName, term};
use crate::settings::QueueKind;
use leveret_codec::{Value, ValueKind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A redeclaration that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inequivalent {
    /// The attribute or argument.
    pub argument: Arc<str>,
    /// Of what.
    pub resource: ResourceName,
    /// What the client sent.
    pub received: Option<Compared>,
    /// What the resource has.
    pub current: Option<Compared>,
}

/// One side of a comparison, as RabbitMQ prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The value, with quotes around it.
    pub value: Arc<str>,
    /// The name of its type.
    pub kind: Arc<str>,
}

impl Compared {
    /// A table value.
    #[must_use]
    pub fn value(value: &Value) -> Self {
        Self { value: term::quoted(value).into(), kind: value.kind().name().into() }
    }

    /// A flag such as `durable`.
    #[must_use]
    pub fn flag(value: bool) -> Self {
        Self { value: format!("'{value}'").into(), kind: "bool".into() }
    }

    /// A word such as an exchange type.
    #[must_use]
    pub fn word(word: &str) -> Self {
        Self { value: format!("'{word}'").into(), kind: "longstr".into() }
    }
}

/// An argument that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgumentError {
    /// `invalid arg 'x' for queue 'q' in vhost '/': reason`, the reason as an Erlang term.
    Invalid {
        /// Which argument.
        argument: Arc<str>,
        /// Of what.
        resource: ResourceName,
        /// The term.
        reason: Arc<str>,
    },
    /// The argument exists, but not for queues of this type.
    NotForType {
        /// Which argument.
        argument: Arc<str>,
        /// The queue.
        resource: ResourceName,
        /// Its type.
        kind: QueueKind,
    },
    /// An exchange name that is no string.
    WrongType {
        /// The type it has.
        found: Arc<str>,
        /// Which argument.
        argument: Arc<str>,
        /// Of what.
        resource: ResourceName,
    },
    /// `x-match` of another word.
    MatchValue(
        /// As an Erlang term.
        Arc<str>,
    ),
    /// `x-match` that is no string.
    MatchType {
        /// The type it has.
        found: Arc<str>,
        /// As an Erlang term.
        value: Arc<str>,
    },
    /// An argument or binding key that the type of the exchange refuses.
    ExchangeType(
        /// The type's own words.
        Arc<str>,
    ),
}

impl ArgumentError {
    /// A wrong type for an argument that names an exchange.
    #[must_use]
    pub fn wrong_type(found: ValueKind, argument: &str, resource: ResourceName) -> Self {
        Self::WrongType { found: found.name().into(), argument: argument.into(), resource }
    }
}
