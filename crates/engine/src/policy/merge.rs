//! How a policy, an operator policy and the arguments of a queue become its settings.
// rabbitmq: policy merge strategies

use super::Policy;
use crate::arguments::{QueueArguments, max_age_ms};
use crate::limits::{
    DELAYED_RETRY_MIN_DEFAULT_MS, DELIVERY_LIMIT_DEFAULT, STREAM_SEGMENT_BYTES_DEFAULT, TTL_MS_MAX,
};
use crate::parameter::ParameterValue;
use crate::settings::{
    DeadLetterStrategy, DeadLetterTarget, DelayedRetry, Overflow, QueueKind, QueueSettings,
    RetryKind, StreamSettings,
};
use std::sync::Arc;

/// Keys of which the smaller number counts.
const LIMITS: [&str; 9] = [
    "consumer-timeout",
    "delivery-limit",
    "expires",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "target-group-size",
];

/// The policies that apply to one queue.
#[derive(Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub(crate) policy: Option<&'a Policy>,
    pub(crate) operator: Option<&'a Policy>,
}

impl<'a> Applied<'a> {
    /// The value that counts for a key: of two limits the stricter, of two ways to mirror the one with more copies, of
    /// anything else the operator's.
    pub(crate) fn get(self, key: &str) -> Option<&'a ParameterValue> {
        let user = self.policy.and_then(|policy| policy.get(key));
        let operator = self.operator.and_then(|policy| policy.get(key));
        let (Some(user), Some(operator)) = (user, operator) else { return operator.or(user) };
        if matches!(key, "ha-mode" | "ha-params") {
            return Some(if mirrors(user) > mirrors(operator) { user } else { operator });
        }
        match (user.as_i64(), operator.as_i64()) {
            (Some(a), Some(b)) if LIMITS.contains(&key) && stricter(key, a, b) == a => Some(user),
            _ => Some(operator),
        }
    }

    fn limit(self, key: &str) -> Option<u64> {
        self.get(key)?.as_i64()?.try_into().ok()
    }

    fn text(self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()
    }
}

/// How much a value of `ha-mode` or `ha-params` asks for: `all` is more than `exactly`, and that more than `nodes`, whose
/// params are a list.
// rabbitmq: merge strategy of mirrored queues
fn mirrors(value: &ParameterValue) -> (u8, i64) {
    match (value.as_str(), value.as_i64(), value.as_list()) {
        (Some("all"), ..) => (3, 0),
        (Some("exactly"), ..) => (2, 0),
        (_, Some(n), _) => (2, n),
        (.., Some(nodes)) => (1, i64::try_from(nodes.len()).unwrap_or(i64::MAX)),
        _ => (0, 0),
    }
}

/// Of two limits the one that counts. A negative delivery limit is no limit, and then the larger
/// counts.
fn stricter(key: &str, a: i64, b: i64) -> i64 {
    if key == "delivery-limit" && (a < 0 || b < 0) { a.max(b) } else { a.min(b) }
}

/// The definition that results from a policy and an operator policy, as the HTTP API shows it.
#[must_use]
pub fn effective_definition(
    policy: Option<&Policy>,
    operator: Option<&Policy>,
) -> Vec<(Arc<str>, ParameterValue)> {
    let applied = Applied { policy, operator };
    let mut result = Vec::<(Arc<str>, ParameterValue)>::new();
    for (key, _) in policy.into_iter().chain(operator).flat_map(|policy| &policy.definition) {
        if result.iter().all(|(known, _)| known != key)
            && let Some(value) = applied.get(key)
        {
            result.push((key.clone(), value.clone()));
        }
    }
    result
}

/// Flags of a queue that no policy changes.
#[derive(Clone, Copy)]
pub(crate) struct Flags {
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
}

/// The settings of a queue.
pub(crate) fn settings(
    flags: Flags,
    arguments: &QueueArguments,
    applied: Applied<'_>,
) -> QueueSettings {
    let smaller = |argument: Option<u64>, key| match (argument, applied.limit(key)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let max_bytes = smaller(arguments.max_length_bytes, "max-length-bytes");
    let delayed_retry = delayed_retry(arguments, applied).map(Box::new);
    QueueSettings {
        durable: flags.durable,
        auto_delete: flags.auto_delete,
        message_ttl: smaller(arguments.message_ttl, "message-ttl"),
        expires: smaller(arguments.expires, "expires"),
        max_length: smaller(arguments.max_length, "max-length"),
        max_length_bytes: max_bytes.filter(|_| arguments.kind != QueueKind::Stream),
        overflow: overflow(arguments, applied),
        max_priority: arguments.max_priority,
        single_active_consumer: arguments.single_active_consumer,
        quorum_consumers: arguments.kind == QueueKind::Quorum,
        dead_letter: dead_letter(arguments, applied),
        dead_letter_strategy: dead_letter_strategy(arguments, applied),
        counts_deliveries: arguments.kind == QueueKind::Quorum || delayed_retry.is_some(),
        delivery_limit: delivery_limit(arguments, applied),
        consumer_timeout: smaller(arguments.consumer_timeout, "consumer-timeout"),
        delayed_retry,
        deduplication: arguments.deduplication.map(Box::new),
        delays_for: None,
        stream: stream(arguments, applied, max_bytes).map(Box::new),
    }
}

/// The argument counts on classic queues, the policy on quorum queues.
// rabbitmq: overflow of quorum queues
fn overflow(arguments: &QueueArguments, applied: Applied<'_>) -> Overflow {
    let policy = applied.text("overflow").and_then(Overflow::parse);
    let (first, second) = match arguments.kind {
        QueueKind::Quorum => (policy, arguments.overflow),
        QueueKind::Classic | QueueKind::Stream => (arguments.overflow, policy),
    };
    match first.or(second).unwrap_or_default() {
        Overflow::RejectPublishDlx if arguments.kind == QueueKind::Quorum => Overflow::DropHead,
        overflow => overflow,
    }
}

/// A policy counts before the arguments, key by key.
// rabbitmq: quorum queues, delayed retry
fn delayed_retry(arguments: &QueueArguments, applied: Applied<'_>) -> Option<DelayedRetry> {
    if arguments.kind == QueueKind::Stream {
        return None;
    }
    let own = &arguments.retry;
    let kind = match applied.text("delayed-retry-type") {
        Some(name) => RetryKind::parse(name),
        None => own.kind.flatten(),
    };
    let least = |argument: Option<u64>, key| applied.limit(key).or(argument);
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Some(DelayedRetry {
        kind: kind?,
        min: least(own.min, "delayed-retry-min").unwrap_or(DELAYED_RETRY_MIN_DEFAULT_MS),
        max: least(own.max, "delayed-retry-max").unwrap_or(TTL_MS_MAX),
        multiplier: own.multiplier.map_or(0, small),
        jitter: own.jitter.map_or(0, small),
    })
}

/// What a stream keeps: a policy's age and segment size count before the arguments'.
// rabbitmq: retention of streams
fn stream(
    arguments: &QueueArguments,
    applied: Applied<'_>,
    max_bytes: Option<u64>,
) -> Option<StreamSettings> {
    if arguments.kind != QueueKind::Stream {
        return None;
    }
    let max_age = applied.text("max-age").and_then(|age| max_age_ms(age.as_bytes()));
    let segment_bytes = applied.limit("stream-max-segment-size-bytes").or(arguments.segment_bytes);
    Some(StreamSettings {
        max_bytes,
        max_age: max_age.or(arguments.max_age),
        segment_bytes: segment_bytes.unwrap_or(STREAM_SEGMENT_BYTES_DEFAULT),
    })
}

fn dead_letter(arguments: &QueueArguments, applied: Applied<'_>) -> Option<DeadLetterTarget> {
    let text = |key| applied.text(key).map(Into::into);
    let exchange =
        arguments.dead_letter_exchange.clone().or_else(|| text("dead-letter-exchange"))?;
    let routing_key =
        arguments.dead_letter_routing_key.clone().or_else(|| text("dead-letter-routing-key"));
    Some(DeadLetterTarget { exchange, routing_key })
}

fn dead_letter_strategy(arguments: &QueueArguments, applied: Applied<'_>) -> DeadLetterStrategy {
    let policy = applied.text("dead-letter-strategy").and_then(DeadLetterStrategy::parse);
    policy.or(arguments.dead_letter_strategy).unwrap_or_default()
}

fn delivery_limit(arguments: &QueueArguments, applied: Applied<'_>) -> Option<u32> {
    if arguments.kind != QueueKind::Quorum {
        return arguments.retry.limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    }
    let policy = applied.get("delivery-limit").and_then(ParameterValue::as_i64);
    let limit = match (arguments.delivery_limit, policy) {
        (Some(a), Some(b)) => stricter("delivery-limit", a, b),
        (a, b) => a.or(b).unwrap_or_else(|| DELIVERY_LIMIT_DEFAULT.into()),
    };
    if limit < 0 { None } else { Some(u32::try_from(limit).unwrap_or(u32::MAX)) }
}
