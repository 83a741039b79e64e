//! The checks of `queue.declare` arguments, in RabbitMQ's order.
// rabbitmq: queue.declare arguments

use super::{hundredths, invalid, max_age_ms};
use crate::error::{ArgumentError, BrokerError, ResourceName};
use crate::limits::{PRIORITY_MAX, STREAM_FILTER_BYTES, STREAM_SEGMENT_BYTES_MAX, TTL_MS_MAX};
use crate::policy::kind_bit;
use crate::settings::{DeadLetterStrategy, Overflow, QueueKind};
use leveret_codec::{Table, Value};

const C: u8 = kind_bit(QueueKind::Classic);
const Q: u8 = kind_bit(QueueKind::Quorum);
const S: u8 = kind_bit(QueueKind::Stream);

/// A check answers with the Erlang term of its complaint.
type Check = fn(&Value, &Table) -> Result<(), String>;

/// Every argument of a declare: its name, the queue types that have it, and its check.
static ARGUMENTS: &[(&str, u8, Check)] = &[
    ("x-expires", C | Q, expires),
    ("x-message-ttl", C | Q, message_ttl),
    ("x-dead-letter-exchange", C | Q, text),
    ("x-dead-letter-routing-key", C | Q, dead_letter_routing_key),
    ("x-dead-letter-strategy", Q, dead_letter_strategy),
    ("x-max-length", C | Q, not_negative),
    ("x-max-length-bytes", C | Q | S, not_negative),
    ("x-max-in-memory-length", Q, not_negative),
    ("x-max-in-memory-bytes", Q, not_negative),
    ("x-max-priority", C, max_priority),
    ("x-overflow", C | Q, overflow),
    // 4.3 takes any mode; there is one way to keep messages.
    ("x-queue-mode", C, anything),
    ("x-queue-version", C, queue_version),
    ("x-single-active-consumer", C | Q, truth),
    ("x-queue-type", C | Q | S, anything),
    ("x-quorum-initial-group-size", Q, positive),
    ("x-max-age", S, max_age),
    ("x-stream-max-segment-size-bytes", S, not_negative),
    ("x-stream-filter-size-bytes", S, not_negative),
    ("x-initial-cluster-size", S, positive),
    ("x-queue-leader-locator", C | Q | S, leader_locator),
    ("x-delivery-limit", Q, anything),
    // 4.3 takes anything here; what makes no sense is as if it were not there.
    ("x-delayed-retry-type", C | Q, anything),
    ("x-delayed-retry-min", C | Q, anything),
    ("x-delayed-retry-max", C | Q, anything),
    // Not RabbitMQ's own.
    ("x-message-deduplication", C | Q, truth),
    ("x-cache-size", C | Q, positive),
    ("x-cache-ttl", C | Q, positive),
    ("x-delayed-retry-multiplier", C | Q, multiplier),
    ("x-delayed-retry-jitter", C | Q, percentage),
    ("x-delayed-retry-limit", C, not_negative),
    ("x-queue-master-locator", C, anything),
];

/// The arguments that a redeclaration must agree in, and the queue types that have them.
pub(crate) static COMPARED: &[(&str, u8)] = &[
    ("x-expires", C | Q),
    ("x-message-ttl", C | Q),
    ("x-dead-letter-exchange", C | Q),
    ("x-dead-letter-routing-key", C | Q),
    ("x-dead-letter-strategy", Q),
    ("x-max-length", C | Q),
    ("x-max-length-bytes", C | Q | S),
    ("x-max-in-memory-length", Q),
    ("x-max-in-memory-bytes", Q),
    ("x-max-priority", C),
    ("x-overflow", C | Q),
    ("x-queue-mode", C),
    ("x-queue-version", C),
    ("x-single-active-consumer", C | Q),
    ("x-quorum-initial-group-size", Q),
    ("x-max-age", S),
    ("x-stream-max-segment-size-bytes", S),
    ("x-stream-filter-size-bytes", S),
    ("x-initial-cluster-size", S),
    ("x-queue-leader-locator", C | Q | S),
    ("x-delivery-limit", Q),
    ("x-message-deduplication", C | Q),
    ("x-cache-size", C | Q),
    ("x-cache-ttl", C | Q),
    ("x-delayed-retry-type", C | Q),
    ("x-delayed-retry-min", C | Q),
    ("x-delayed-retry-max", C | Q),
    ("x-delayed-retry-multiplier", C | Q),
    ("x-delayed-retry-jitter", C | Q),
    ("x-delayed-retry-limit", C),
];

/// An argument that exists, but not for this type of queue, is refused; an unknown one is not.
pub(super) fn applicable(
    table: &Table,
    kind: QueueKind,
    queue: &ResourceName,
) -> Result<(), BrokerError> {
    let foreign = |name: &str| {
        ARGUMENTS.iter().any(|(known, kinds, _)| *known == name && kinds & kind_bit(kind) == 0)
    };
    match table.iter().find(|(name, _)| foreign(name)) {
        None => Ok(()),
        Some((argument, _)) => {
            Err(BrokerError::InvalidArgument(Box::new(ArgumentError::NotForType {
                argument: argument.into(),
                resource: queue.clone(),
                kind,
            })))
        }
    }
}

/// Checks every value.
pub(super) fn values(table: &Table, queue: &ResourceName) -> Result<(), BrokerError> {
    for (name, _, check) in ARGUMENTS {
        if let Some(value) = table.get(name) {
            check(value, table).map_err(|reason| invalid(name, queue, reason))?;
        }
    }
    Ok(())
}

/// What streams check by themselves, after the values.
// rabbitmq: streams, declare
pub(super) fn stream_sizes(table: &Table) -> Result<(), BrokerError> {
    let size = |name: &str| table.get(name).and_then(Value::as_i64).map(i64::unsigned_abs);
    let refused = |text: &str| Err(BrokerError::Validation(text.into()));
    if size("x-stream-max-segment-size-bytes").is_some_and(|n| n > STREAM_SEGMENT_BYTES_MAX) {
        return refused("Exceeded max value for x-stream-max-segment-size-bytes");
    }
    if size("x-stream-filter-size-bytes").is_some_and(|n| !STREAM_FILTER_BYTES.contains(&n)) {
        return refused("Invalid value for x-stream-filter-size-bytes");
    }
    Ok(())
}

fn integer(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("\"expected integer, got {}\"", value.kind().name()))
}

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.kind().name())
}

fn not_negative(value: &Value, _: &Table) -> Result<(), String> {
    match integer(value)? {
        value if value < 0 => Err(format!("{{value_negative,{value}}}")),
        _ => Ok(()),
    }
}

fn positive(value: &Value, table: &Table) -> Result<(), String> {
    if integer(value)? == 0 { Err("{value_zero,0}".into()) } else { not_negative(value, table) }
}

fn message_ttl(value: &Value, table: &Table) -> Result<(), String> {
    not_negative(value, table)?;
    match integer(value)? {
        value if value.unsigned_abs() > TTL_MS_MAX => Err(format!("{{value_too_large,{value}}}")),
        _ => Ok(()),
    }
}

fn expires(value: &Value, table: &Table) -> Result<(), String> {
    positive(value, table)?;
    message_ttl(value, table)
}

fn max_priority(value: &Value, table: &Table) -> Result<(), String> {
    not_negative(value, table)?;
    match integer(value)? {
        value if value.unsigned_abs() > PRIORITY_MAX => {
            Err(format!("{{max_value_exceeded,{value}}}"))
        }
        _ => Ok(()),
    }
}

fn text(value: &Value, _: &Table) -> Result<(), String> {
    value.as_bytes().map(|_| ()).ok_or_else(|| unacceptable(value))
}

fn dead_letter_routing_key(value: &Value, table: &Table) -> Result<(), String> {
    text(value, table)?;
    if table.contains_key("x-dead-letter-exchange") {
        Ok(())
    } else {
        Err("routing_key_but_no_dlx_defined".into())
    }
}

fn word(value: &Value, known: impl Fn(&str) -> bool, complaint: &str) -> Result<(), String> {
    text(value, &Table::new())?;
    if value.as_str().is_some_and(known) { Ok(()) } else { Err(complaint.into()) }
}

fn dead_letter_strategy(value: &Value, _: &Table) -> Result<(), String> {
    word(value, |name| DeadLetterStrategy::parse(name).is_some(), "invalid_dlx_strategy")
}

/// A number of at least 1, with or without a fraction.
fn multiplier(value: &Value, _: &Table) -> Result<(), String> {
    match hundredths(value) {
        Some(100..) => Ok(()),
        _ => Err(format!("{{invalid_multiplier,{}}}", crate::error::term::plain(value))),
    }
}

fn percentage(value: &Value, table: &Table) -> Result<(), String> {
    not_negative(value, table)?;
    match integer(value)? {
        value if value > 100 => Err(format!("{{value_too_large,{value}}}")),
        _ => Ok(()),
    }
}

fn overflow(value: &Value, _: &Table) -> Result<(), String> {
    word(value, |name| Overflow::parse(name).is_some(), "invalid_overflow")
}

fn leader_locator(value: &Value, _: &Table) -> Result<(), String> {
    let known = |name: &str| {
        matches!(name, "client-local" | "balanced" | "random" | "least-leaders" | "min-masters")
    };
    word(value, known, "invalid_queue_locator_arg")
}

fn queue_version(value: &Value, _: &Table) -> Result<(), String> {
    match integer(value)? {
        1 | 2 => Ok(()),
        version => Err(format!("\"unsupported queue version '{version}'\"")),
    }
}

fn truth(value: &Value, _: &Table) -> Result<(), String> {
    value.as_bool().map(|_| ()).ok_or_else(|| unacceptable(value))
}

fn max_age(value: &Value, table: &Table) -> Result<(), String> {
    text(value, table)?;
    if value.as_bytes().and_then(max_age_ms).is_some() {
        Ok(())
    } else {
        Err("invalid_max_age".into())
    }
}

fn anything(_: &Value, _: &Table) -> Result<(), String> {
    Ok(())
}
