//! The arguments of `queue.declare`: which exist, what they take, which queue types have them, and
//! when two declares mean the same. The texts are RabbitMQ's.

mod consume;
mod equivalence;
mod validate;

use crate::error::{ArgumentError, BrokerError, ResourceName};
use crate::settings::{DeadLetterStrategy, Deduplication, Overflow, QueueKind, RetryKind};
use leveret_codec::{Table, Value};
use std::sync::Arc;

pub(crate) use equivalence::{compare_flag, compare_table_value, compare_word};
pub(crate) use validate::COMPARED;

/// The argument that names the type of a queue.
pub(crate) const QUEUE_TYPE: &str = "x-queue-type";

/// What the arguments of a queue say, after validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueArguments {
    pub(crate) kind: QueueKind,
    pub(crate) expires: Option<u64>,
    pub(crate) message_ttl: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) max_priority: Option<u8>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) single_active_consumer: bool,
    pub(crate) dead_letter_exchange: Option<Arc<str>>,
    pub(crate) dead_letter_routing_key: Option<Arc<str>>,
    pub(crate) dead_letter_strategy: Option<DeadLetterStrategy>,
    /// Negative is no limit.
    pub(crate) delivery_limit: Option<i64>,
    pub(crate) consumer_timeout: Option<u64>,
    pub(crate) retry: RetryArguments,
    pub(crate) deduplication: Option<Deduplication>,
    /// Milliseconds.
    pub(crate) max_age: Option<u64>,
    pub(crate) segment_bytes: Option<u64>,
}

/// What arguments say of delayed retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetryArguments {
    /// `None` where nothing is said; `Some(None)` is `disabled`.
    pub(crate) kind: Option<Option<RetryKind>>,
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
    pub(crate) multiplier: Option<u64>,
    pub(crate) jitter: Option<u64>,
    /// How many failed deliveries a classic queue tolerates.
    pub(crate) limit: Option<u64>,
}

/// The type that a declare asks for.
///
/// # Errors
/// [`BrokerError::InvalidArgument`] for a type that does not exist.
pub(crate) fn queue_kind(
    table: &Table,
    default: QueueKind,
    queue: &ResourceName,
) -> Result<QueueKind, BrokerError> {
    let Some(value) = table.get(QUEUE_TYPE) else { return Ok(default) };
    let reason = match value {
        Value::LongString(name) => {
            let name = String::from_utf8_lossy(name);
            match QueueKind::parse(&name) {
                Some(kind) => return Ok(kind),
                None => format!("\"unsupported queue type '{name}'\""),
            }
        }
        other => format!("{{unacceptable_type,{}}}", other.kind().name()),
    };
    Err(invalid(QUEUE_TYPE, queue, reason))
}

/// Checks the arguments of a new queue and reads them.
///
/// # Errors
/// [`BrokerError::InvalidArgument`].
pub(crate) fn parse(
    table: &Table,
    kind: QueueKind,
    queue: &ResourceName,
) -> Result<QueueArguments, BrokerError> {
    if table.is_empty() {
        return Ok(QueueArguments { kind, ..QueueArguments::default() });
    }
    validate::applicable(table, kind, queue)?;
    validate::values(table, queue)?;
    if kind == QueueKind::Stream {
        validate::stream_sizes(table)?;
    }
    Ok(read(table, kind))
}

/// Reads arguments that were checked when the queue was declared.
pub(crate) fn read(table: &Table, kind: QueueKind) -> QueueArguments {
    let unsigned = |key| table.get(key).and_then(Value::as_i64).and_then(|v| u64::try_from(v).ok());
    let text = |key| table.get(key).and_then(Value::as_str);
    let priority = unsigned("x-max-priority").and_then(|value| u8::try_from(value).ok());
    QueueArguments {
        kind,
        expires: unsigned("x-expires"),
        message_ttl: unsigned("x-message-ttl"),
        max_length: unsigned("x-max-length"),
        max_length_bytes: unsigned("x-max-length-bytes"),
        // Zero levels are a queue without priorities.
        max_priority: priority.filter(|&value| value > 0),
        overflow: text("x-overflow").and_then(Overflow::parse),
        single_active_consumer: table
            .get("x-single-active-consumer")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        dead_letter_exchange: text("x-dead-letter-exchange").map(Into::into),
        dead_letter_routing_key: text("x-dead-letter-routing-key").map(Into::into),
        dead_letter_strategy: text("x-dead-letter-strategy").and_then(DeadLetterStrategy::parse),
        delivery_limit: table.get("x-delivery-limit").and_then(Value::as_i64),
        consumer_timeout: unsigned("x-consumer-timeout"),
        retry: RetryArguments {
            kind: text("x-delayed-retry-type").map(RetryKind::parse),
            min: unsigned("x-delayed-retry-min"),
            max: unsigned("x-delayed-retry-max"),
            multiplier: table.get("x-delayed-retry-multiplier").and_then(hundredths),
            jitter: unsigned("x-delayed-retry-jitter"),
            limit: unsigned("x-delayed-retry-limit"),
        },
        deduplication: deduplication(table),
        max_age: text("x-max-age").and_then(|age| max_age_ms(age.as_bytes())),
        segment_bytes: unsigned("x-stream-max-segment-size-bytes"),
    }
}

/// What a queue is to remember of deduplication headers.
// rabbitmq: x-message-deduplication (community plugin)
fn deduplication(table: &Table) -> Option<Deduplication> {
    table.get("x-message-deduplication").and_then(Value::as_bool).filter(|wanted| *wanted)?;
    let unsigned = |key| table.get(key).and_then(Value::as_i64).and_then(|v| u64::try_from(v).ok());
    Some(Deduplication { ttl: unsigned("x-cache-ttl"), size: unsigned("x-cache-size") })
}

/// A number that may have a fraction, in hundredths.
fn hundredths(value: &Value) -> Option<u64> {
    let hundredths = match value {
        Value::Float(value) => f64::from(*value) * 100.0,
        Value::Double(value) => *value * 100.0,
        other => return u64::try_from(other.as_i64()?).ok()?.checked_mul(100),
    };
    (0.0..=1e9).contains(&hundredths).then_some(hundredths as u64)
}

/// The milliseconds of an age such as `7D`: years, months of 30 days, days, hours, minutes, seconds.
/// More than fits is as much as fits.
// rabbitmq: x-max-age
#[must_use]
pub(crate) fn max_age_ms(text: &[u8]) -> Option<u64> {
    let (unit, digits) = text.split_last()?;
    let seconds: u64 = match unit {
        b'Y' => 365 * 24 * 60 * 60,
        b'M' => 30 * 24 * 60 * 60,
        b'D' => 24 * 60 * 60,
        b'h' => 60 * 60,
        b'm' => 60,
        b's' => 1,
        _ => return None,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits
        .iter()
        .fold(0_u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(n.saturating_mul(seconds * 1000))
}

pub(crate) fn invalid(
    argument: &str,
    resource: &ResourceName,
    reason: impl Into<Arc<str>>,
) -> BrokerError {
    BrokerError::InvalidArgument(Box::new(ArgumentError::Invalid {
        argument: argument.into(),
        resource: resource.clone(),
        reason: reason.into(),
    }))
}

impl Overflow {
    /// RabbitMQ's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DropHead => "drop-head",
            Self::RejectPublish => "reject-publish",
            Self::RejectPublishDlx => "reject-publish-dlx",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::DropHead, Self::RejectPublish, Self::RejectPublishDlx]
            .into_iter()
            .find(|value| value.name() == name)
    }
}

impl DeadLetterStrategy {
    /// RabbitMQ's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::AtMostOnce, Self::AtLeastOnce].into_iter().find(|value| value.name() == name)
    }
}

#[cfg(test)]
mod tests;
