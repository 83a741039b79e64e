//! RabbitMQ's words and numbers for every [`BrokerError`].

use super::{ArgumentError, BrokerError, ConnectionLimit, Inequivalent, RecordKind, ResourceKind};
use leveret_codec::ReplyCode;

impl BrokerError {
    /// The reply code with which AMQP reports the error.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::AccessRefused { .. }
            | Self::TopicAccessRefused { .. }
            | Self::ExclusiveUse(_)
            | Self::ReservedName(_)
            | Self::SystemExchange(_)
            | Self::DefaultExchange
            | Self::InternalExchange(_) => ReplyCode::ACCESS_REFUSED,
            Self::VhostAccessRefused { .. }
            | Self::VhostNotFound(_)
            | Self::ConnectionLimit { .. } => ReplyCode::NOT_ALLOWED,
            Self::NotFound(_) | Self::NoSuchRecord { .. } | Self::HomeNodeDown { .. } => {
                ReplyCode::NOT_FOUND
            }
            Self::ResourceLocked(_) | Self::GetWithSingleActiveConsumer { .. } => {
                ReplyCode::RESOURCE_LOCKED
            }
            Self::InUse(_)
            | Self::NotEmpty(_)
            | Self::UnknownExchangeType(_)
            | Self::InvalidExchangeType(_)
            | Self::Inequivalent(_)
            | Self::InvalidArgument(_)
            | Self::InvalidProperty { .. }
            | Self::ServerNamed(_)
            | Self::NameTooLong(_)
            | Self::VhostQueueLimit { .. }
            | Self::QueueLimit { .. }
            | Self::ExchangeLimit { .. }
            | Self::BindingLimit { .. }
            | Self::Validation(_)
            | Self::InvalidPattern { .. }
            | Self::RecordLimit { .. }
            | Self::VhostLimit(_)
            | Self::VhostProtected(_) => ReplyCode::PRECONDITION_FAILED,
            Self::DeleteFlag { .. } | Self::GlobalQos(_) | Self::NotImplemented(_) => {
                ReplyCode::NOT_IMPLEMENTED
            }
            Self::Internal(_) => ReplyCode::INTERNAL_ERROR,
            Self::ShuttingDown => ReplyCode::CONNECTION_FORCED,
        }
    }

    /// RabbitMQ's explanation, without the name of the reply code before it.
    #[must_use]
    pub fn explain(&self) -> String {
        match self {
            Self::AccessRefused { permission, resource, user } => {
                format!("{permission} access to {resource} refused for user '{user}'")
            }
            Self::TopicAccessRefused { permission, topic, exchange, user } => format!(
                "{permission} access to topic '{topic}' in {exchange} refused for user '{user}'"
            ),
            Self::VhostAccessRefused { vhost, user } => {
                format!("access to vhost '{vhost}' refused for user '{user}'")
            }
            Self::VhostNotFound(vhost) => format!("vhost {vhost} not found"),
            Self::ConnectionLimit { what, limit } => connection_limit(what, *limit),
            Self::NotFound(resource) => format!("no {resource}"),
            Self::HomeNodeDown { queue, node } => {
                format!("home node '{node}' of durable {queue} is down or inaccessible")
            }
            Self::ResourceLocked(queue) => format!(
                "cannot obtain exclusive access to locked {queue}. It could be originally \
                 declared on another connection or the exclusive property value does not match \
                 that of the original declaration."
            ),
            Self::ExclusiveUse(queue) => format!("{queue} in exclusive use"),
            Self::InUse(resource) => format!("{resource} in use"),
            Self::NotEmpty(queue) => format!("{queue} not empty"),
            Self::ReservedName(resource) => format!(
                "{} name '{}' contains reserved prefix 'amq.*'",
                kind_word(resource.kind),
                resource.name
            ),
            Self::SystemExchange(exchange) => {
                format!("deletion of system {exchange} not allowed")
            }
            Self::DefaultExchange => "operation not permitted on the default exchange".into(),
            Self::InternalExchange(exchange) => {
                format!("cannot publish to internal {exchange}")
            }
            Self::UnknownExchangeType(name) => format!("unknown exchange type '{name}'"),
            Self::InvalidExchangeType(name) => format!("invalid exchange type '{name}'"),
            Self::Inequivalent(difference) => inequivalent(difference),
            Self::InvalidArgument(error) => argument(error),
            Self::InvalidProperty { property, queue } => {
                format!("invalid property '{property}' for {queue}")
            }
            Self::NameTooLong(kind) => format!("{} name too long", kind_word(*kind)),
            Self::ServerNamed(kind) => {
                format!("Cannot declare a server-named queue for type {}", kind.module())
            }
            other => other.explain_limit(),
        }
    }

    fn explain_limit(&self) -> String {
        match self {
            Self::VhostQueueLimit { queue, limit } => format!(
                "cannot declare queue '{}': queue limit in vhost '{}' ({limit}) is reached",
                queue.name, queue.vhost
            ),
            Self::QueueLimit { name, limit } => {
                format!(
                    "cannot declare queue '{name}': queue limit in cluster ({limit}) is reached"
                )
            }
            Self::ExchangeLimit { name, limit } => format!(
                "cannot declare exchange '{name}': exchange limit in cluster ({limit}) is reached"
            ),
            Self::BindingLimit { vhost, limit } => {
                format!(
                    "cannot add a binding: binding limit in vhost '{vhost}' ({limit}) is reached"
                )
            }
            Self::RecordLimit { kind, limit } => {
                format!("cannot add a {}: limit of {limit} is reached", record_word(*kind))
            }
            Self::VhostLimit(limit) => {
                format!("cannot create vhost: vhost limit of {limit} is reached")
            }
            other => other.explain_unsupported(),
        }
    }

    fn explain_unsupported(&self) -> String {
        match self {
            Self::DeleteFlag { queue, flag, kind } => format!(
                "cannot delete {queue}. queue.delete operations with {flag} flag set are not \
                 supported by {} queues",
                kind.name()
            ),
            Self::GetWithSingleActiveConsumer { queue, kind } => format!(
                "cannot obtain access to locked {queue}. basic.get operations are not supported \
                 by <<\"{}\">> queues with single active consumer",
                kind.name()
            ),
            Self::GlobalQos(queue) => format!("{queue} does not support global qos"),
            Self::NotImplemented(text) | Self::Validation(text) => text.to_string(),
            Self::Internal(text) => text.to_string(),
            other => other.explain_record(),
        }
    }

    fn explain_record(&self) -> String {
        match self {
            Self::NoSuchRecord { kind, name } => {
                format!("no such {}: '{name}'", record_word(*kind))
            }
            Self::InvalidPattern { pattern, reason } => {
                format!("Invalid regular expression '{pattern}': {reason}")
            }
            Self::VhostProtected(vhost) => {
                format!("virtual host '{vhost}' is protected from deletion")
            }
            Self::ShuttingDown => "broker forced connection closure with reason 'shutdown'".into(),
            // The callers above took every other variant.
            _ => String::new(),
        }
    }
}

fn connection_limit(what: &ConnectionLimit, limit: u64) -> String {
    match what {
        ConnectionLimit::NodeConnections => {
            format!("connection refused: node connection limit ({limit}) is reached")
        }
        ConnectionLimit::UserChannels(user) => format!(
            "number of channels opened for user '{user}' has reached the maximum allowed user \
             limit of {limit}"
        ),
        ConnectionLimit::UserConnections(user) => format!(
            "connection refused for user '{user}': user connection limit ({limit}) is reached"
        ),
        ConnectionLimit::VhostConnections { vhost, user } => format!(
            "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is \
             reached"
        ),
    }
}

fn inequivalent(difference: &Inequivalent) -> String {
    let Inequivalent { argument, resource, received, current } = difference;
    let start = format!("inequivalent arg '{argument}' for {resource}: ");
    match (received, current) {
        (Some(received), Some(current)) => {
            format!("{start}received {} but current is {}", received.value, current.value)
        }
        (Some(received), None) => format!(
            "{start}received the value {} of type '{}' but current is none",
            received.value, received.kind
        ),
        (None, Some(current)) => format!(
            "{start}received none but current is the value {} of type '{}'",
            current.value, current.kind
        ),
        (None, None) => format!("{start}received none but current is none"),
    }
}

fn argument(error: &ArgumentError) -> String {
    match error {
        ArgumentError::Invalid { argument, resource, reason } => {
            format!("invalid arg '{argument}' for {resource}: {reason}")
        }
        ArgumentError::NotForType { argument, resource, kind } => {
            format!("invalid arg '{argument}' for {resource} of queue type {}", kind.module())
        }
        ArgumentError::WrongType { found, argument, resource } => {
            format!("invalid type '{found}' for arg '{argument}' in {resource}")
        }
        ArgumentError::MatchValue(value) => format!(
            "Invalid x-match field value {value}; expected all, any, all-with-x, or any-with-x"
        ),
        ArgumentError::MatchType { found, value } => {
            format!("Invalid x-match field type {found} (value {value}); expected longstr")
        }
        ArgumentError::ExchangeType(words) => words.to_string(),
    }
}

fn kind_word(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Exchange => "exchange",
        ResourceKind::Queue => "queue",
    }
}

fn record_word(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::GlobalParameter => "global parameter",
        RecordKind::OperatorPolicy => "operator policy",
        RecordKind::Parameter => "parameter",
        RecordKind::Permission => "permission",
        RecordKind::Policy => "policy",
        RecordKind::TopicPermission => "topic permission",
        RecordKind::User => "user",
        RecordKind::Vhost => "vhost",
    }
}
