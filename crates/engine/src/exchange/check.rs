//! What the types of exchanges demand of the arguments of a declare and of their bindings, in
//! RabbitMQ's words.

use super::consistent_hash::{HASH_HEADER, HASH_PROPERTY, HashOn};
use super::{Exchange, ExchangeKind, deduplication, headers, history};
use crate::error::{ArgumentError, BrokerError, term};
use crate::settings::QueueKind;
use leveret_codec::{Table, Value};

const DELAYED_TYPE: &str = "x-delayed-type";

/// A binding that is to be made, as far as a type looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingCheck<'a> {
    /// The binding key.
    pub(crate) key: &'a [u8],
    /// Its arguments.
    pub(crate) arguments: &'a Table,
    /// The type of the queue it leads to; `None` if it leads to an exchange.
    pub(crate) queue: Option<QueueKind>,
}

/// Whether an exchange of this type may be declared with these arguments.
///
/// # Errors
/// [`BrokerError::InvalidArgument`].
pub(crate) fn declare(kind: ExchangeKind, arguments: &Table) -> Result<(), BrokerError> {
    match kind {
        ExchangeKind::ConsistentHash => hash_arguments(arguments),
        ExchangeKind::Deduplication => deduplication_arguments(arguments),
        ExchangeKind::DelayedMessage => declare(behind_delay(arguments)?, arguments),
        ExchangeKind::RecentHistory => history_length(arguments),
        ExchangeKind::Direct
        | ExchangeKind::Fanout
        | ExchangeKind::Headers
        | ExchangeKind::Topic
        | ExchangeKind::LocalRandom
        | ExchangeKind::ModulusHash
        | ExchangeKind::Random => Ok(()),
    }
}

/// Whether this exchange may have this binding.
///
/// # Errors
/// [`BrokerError::InvalidArgument`].
pub(crate) fn binding(exchange: &Exchange, check: BindingCheck<'_>) -> Result<(), BrokerError> {
    let kind = match exchange.kind {
        ExchangeKind::DelayedMessage => behind_delay(&exchange.arguments)?,
        kind => kind,
    };
    binding_of(kind, check)
}

fn binding_of(kind: ExchangeKind, binding: BindingCheck<'_>) -> Result<(), BrokerError> {
    match kind {
        ExchangeKind::ConsistentHash => weight(binding.key),
        ExchangeKind::Headers => headers::check_arguments(binding.arguments),
        ExchangeKind::LocalRandom => local(binding),
        ExchangeKind::Deduplication
        | ExchangeKind::DelayedMessage
        | ExchangeKind::Direct
        | ExchangeKind::Fanout
        | ExchangeKind::RecentHistory
        | ExchangeKind::Topic
        | ExchangeKind::ModulusHash
        | ExchangeKind::Random => Ok(()),
    }
}

fn refused(words: impl Into<String>) -> BrokerError {
    let words: String = words.into();
    BrokerError::InvalidArgument(Box::new(ArgumentError::ExchangeType(words.into())))
}

/// The type that routes for a delayed message exchange with these arguments.
pub(super) fn delayed_kind(arguments: &Table) -> Option<ExchangeKind> {
    let kind = ExchangeKind::parse(arguments.get(DELAYED_TYPE)?.as_str()?)?;
    (kind != ExchangeKind::DelayedMessage).then_some(kind)
}

// rabbitmq: x-delayed-message, validate
fn behind_delay(arguments: &Table) -> Result<ExchangeKind, BrokerError> {
    let name = arguments.get(DELAYED_TYPE).and_then(Value::as_str);
    match name.map(ExchangeKind::parse) {
        Some(Some(kind)) if kind != ExchangeKind::DelayedMessage => Ok(kind),
        Some(None) => Err(BrokerError::UnknownExchangeType(name.unwrap_or_default().into())),
        _ => Err(refused("Invalid argument, 'x-delayed-type' must be an existing exchange type")),
    }
}

// rabbitmq: x-message-deduplication, validate
fn deduplication_arguments(arguments: &Table) -> Result<(), BrokerError> {
    let positive = |value: &Value| deduplication::number(value).is_some_and(|n| n > 0);
    if !arguments.get(deduplication::SIZE).is_some_and(positive) {
        return Err(refused(
            "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0",
        ));
    }
    if !arguments.get(deduplication::TTL).is_none_or(positive) {
        return Err(refused("Invalid argument, 'x-cache-ttl' must be an integer greater than 0"));
    }
    match arguments.get(deduplication::PERSISTENCE).map(Value::as_str) {
        None | Some(Some("disk" | "memory")) => Ok(()),
        Some(_) => Err(refused(
            "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'",
        )),
    }
}

// rabbitmq: x-recent-history, validate
fn history_length(arguments: &Table) -> Result<(), BrokerError> {
    let Some(length) = arguments.get(history::LENGTH) else { return Ok(()) };
    if length.as_i64().is_some_and(|length| length > 0) {
        return Ok(());
    }
    let length = term::plain(length);
    Err(refused(format!(
        "Invalid argument {length}, 'x-recent-history-length' must be a positive integer"
    )))
}

// rabbitmq: x-consistent-hash, validate
fn hash_arguments(arguments: &Table) -> Result<(), BrokerError> {
    let (header, property) = (arguments.get(HASH_HEADER), arguments.get(HASH_PROPERTY));
    for (name, value) in [(HASH_HEADER, header), (HASH_PROPERTY, property)] {
        if value.is_some_and(|value| value.as_str().is_none()) {
            return Err(refused(format!("{name} must be a string")));
        }
    }
    match (header, property.and_then(Value::as_str)) {
        (Some(_), Some(_)) => Err(refused("hash-header and hash-property are mutually exclusive")),
        (None, Some(name)) if HashOn::property(name).is_none() => {
            Err(refused(format!("Unsupported property: {name}")))
        }
        _ => Ok(()),
    }
}

// rabbitmq: x-consistent-hash, validate_binding: Erlang's `list_to_integer`
fn weight(key: &[u8]) -> Result<(), BrokerError> {
    let (negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        let key = term::binary(key);
        return Err(refused(format!("The binding key must be an integer: {key}")));
    }
    if negative || digits.iter().all(|digit| *digit == b'0') {
        return Err(refused("The binding key must be greater than 0"));
    }
    Ok(())
}

// rabbitmq: x-local-random, validate_binding
fn local(binding: BindingCheck<'_>) -> Result<(), BrokerError> {
    if !binding.key.is_empty() {
        let key = String::from_utf8_lossy(binding.key);
        return Err(refused(format!("Non empty binding '{key}' key not permitted")));
    }
    match binding.queue {
        Some(QueueKind::Classic) => Ok(()),
        Some(other) => {
            let module = other.module();
            Err(refused(format!("Queue type {module} not valid for this exchange type")))
        }
        None => Err(refused("Destination not found")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(result: Result<(), BrokerError>) -> String {
        result.map_or_else(|error| error.explain(), |()| "fine".into())
    }

    fn text(value: &str) -> Value {
        Value::LongString(value.into())
    }

    #[test]
    fn a_consistent_hash_exchange_hashes_one_thing() {
        let declare = |fields: &[(&str, Value)]| {
            let table = Table(fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect());
            says(declare(ExchangeKind::ConsistentHash, &table))
        };
        assert_eq!(declare(&[]), "fine");
        assert_eq!(declare(&[("hash-header", text("h"))]), "fine");
        for property in ["message_id", "correlation_id", "timestamp"] {
            assert_eq!(declare(&[("hash-property", text(property))]), "fine");
        }
        assert_eq!(declare(&[("hash-property", text("app_id"))]), "Unsupported property: app_id");
        let both = [("hash-header", text("h")), ("hash-property", text("message_id"))];
        assert_eq!(declare(&both), "hash-header and hash-property are mutually exclusive");
        assert_eq!(declare(&[("hash-header", Value::Int(1))]), "hash-header must be a string");
    }

    #[test]
    fn weights_are_positive_integers() {
        for key in ["1", "20", "+3", "007", "99999999999999999999999999"] {
            assert_eq!(says(weight(key.as_bytes())), "fine", "{key}");
        }
        for key in ["0", "-1", "-0", "000"] {
            assert_eq!(says(weight(key.as_bytes())), "The binding key must be greater than 0");
        }
        let integer = |key: &str| says(weight(key.as_bytes()));
        assert_eq!(integer("abc"), "The binding key must be an integer: <<\"abc\">>");
        assert_eq!(integer("1.5"), "The binding key must be an integer: <<\"1.5\">>");
        assert_eq!(integer(""), "The binding key must be an integer: <<>>");
        assert_eq!(integer("-"), "The binding key must be an integer: <<\"-\">>");
    }

    #[test]
    fn a_delayed_exchange_needs_another_type_behind_it() {
        let declare = |kind: Option<Value>| {
            let fields = kind.into_iter().map(|kind| (DELAYED_TYPE.to_owned(), kind)).collect();
            says(declare(ExchangeKind::DelayedMessage, &Table(fields)))
        };
        for kind in ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random"] {
            assert_eq!(declare(Some(text(kind))), "fine");
        }
        let refused = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
        assert_eq!(declare(None), refused);
        assert_eq!(declare(Some(Value::Int(1))), refused);
        assert_eq!(declare(Some(text("x-delayed-message"))), refused);
        assert_eq!(declare(Some(text("none"))), "unknown exchange type 'none'");
    }

    #[test]
    fn sizes_and_lengths_are_positive() {
        let one = |kind, name: &str, value| says(declare(kind, &Table(vec![(name.into(), value)])));
        let history = |value| one(ExchangeKind::RecentHistory, history::LENGTH, value);
        assert_eq!(history(Value::Long(5)), "fine");
        let refused = "'x-recent-history-length' must be a positive integer";
        assert_eq!(history(Value::Int(0)), format!("Invalid argument 0, {refused}"));
        assert_eq!(history(text("5")), format!("Invalid argument <<\"5\">>, {refused}"));
        let size = |value| one(ExchangeKind::Deduplication, deduplication::SIZE, value);
        assert_eq!(size(Value::Int(1)), "fine");
        assert_eq!(size(text("10")), "fine");
        for value in [Value::Int(0), text("ten")] {
            assert!(size(value).ends_with("'x-cache-size' must be an integer greater than 0"));
        }
        assert!(says(declare(ExchangeKind::Deduplication, &Table::new())).starts_with("Missing"));
    }

    #[test]
    fn a_local_random_exchange_leads_to_classic_queues() {
        let check = |key: &str, queue| {
            let (key, arguments) = (key.as_bytes(), &Table::new());
            says(binding_of(ExchangeKind::LocalRandom, BindingCheck { key, arguments, queue }))
        };
        assert_eq!(check("", Some(QueueKind::Classic)), "fine");
        assert_eq!(check("a", Some(QueueKind::Classic)), "Non empty binding 'a' key not permitted");
        assert_eq!(
            check("", Some(QueueKind::Quorum)),
            "Queue type rabbit_quorum_queue not valid for this exchange type"
        );
        assert_eq!(check("", None), "Destination not found");
    }
}
