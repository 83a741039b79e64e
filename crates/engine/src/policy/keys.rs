//! The keys of policies: which exist, which values they take, and which queue types support them.
//! The texts are RabbitMQ's.
// rabbitmq: policy validators

use super::{ALL_KINDS, PolicyOwner, kind_bit};
use crate::arguments::max_age_ms;
use crate::error::BrokerError;
use crate::limits::{STREAM_FILTER_BYTES, STREAM_SEGMENT_BYTES_MAX};
use crate::parameter::ParameterValue;
use crate::settings::QueueKind;
use std::fmt::Write;
use std::sync::Arc;

const C: u8 = kind_bit(QueueKind::Classic);
const Q: u8 = kind_bit(QueueKind::Quorum);
const S: u8 = kind_bit(QueueKind::Stream);

/// One key.
struct Key {
    name: &'static str,
    /// The queue types that support it.
    kinds: u8,
    /// Whether operator policies may have it.
    operator: bool,
    allowed: Allowed,
    /// What follows the value in the error text.
    complaint: &'static str,
}

/// Which values a key takes.
enum Allowed {
    /// An integer that is not below this.
    AtLeast(i64),
    Between(u64, u64),
    OneOf(&'static [&'static str]),
    MaxAge,
    Text,
    /// `always`, `when-synced`, or a truth value for the same.
    Promote,
    /// Checked with the keys it belongs to.
    Anything,
}

const fn key(
    name: &'static str,
    kinds: u8,
    operator: bool,
    allowed: Allowed,
    complaint: &'static str,
) -> Key {
    Key { name, kinds, operator, allowed, complaint }
}

const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders", "min-masters"];

#[rustfmt::skip]
static KEYS: &[Key] = &[
    key("alternate-exchange", ALL_KINDS, false, Allowed::Text, "a valid alternate exchange name"),
    key("consumer-timeout", ALL_KINDS, false, Allowed::AtLeast(0), "a valid consumer timeout"),
    key("consumer-disconnected-timeout", ALL_KINDS, false, Allowed::AtLeast(0), "a valid consumer disconnected timeout"),
    key("dead-letter-exchange", C | Q, false, Allowed::Text, "a valid dead letter exchange name"),
    key("dead-letter-routing-key", C | Q, false, Allowed::Text, "a valid dead letter routing key"),
    key("dead-letter-strategy", C | Q, false, Allowed::OneOf(&["at-most-once", "at-least-once"]), "a valid dead letter strategy"),
    key("delayed-retry-max", ALL_KINDS, true, Allowed::AtLeast(0), "a valid delayed retry maximum"),
    key("delayed-retry-min", ALL_KINDS, true, Allowed::AtLeast(0), "a valid delayed retry minimum"),
    key("delayed-retry-type", ALL_KINDS, true, Allowed::Text, "a valid delayed retry type"),
    key("delivery-limit", Q, true, Allowed::AtLeast(i64::MIN), "a valid delivery limit"),
    key("expires", C | Q, true, Allowed::AtLeast(1), "a valid queue expiry"),
    key("federation-upstream", ALL_KINDS, false, Allowed::Text, "a valid federation upstream name"),
    key("federation-upstream-pattern", ALL_KINDS, false, Allowed::Text, "a valid federation upstream pattern"),
    key("federation-upstream-set", ALL_KINDS, false, Allowed::Text, "a valid federation upstream set name"),
    key("ha-mode", C, true, Allowed::Anything, ""),
    key("ha-params", C, true, Allowed::Anything, ""),
    key("ha-promote-on-failure", C, true, Allowed::Promote, ""),
    key("ha-promote-on-shutdown", C, true, Allowed::Promote, ""),
    key("ha-sync-batch-size", ALL_KINDS, true, Allowed::Anything, ""),
    key("ha-sync-mode", C, true, Allowed::Anything, ""),
    key("initial-cluster-size", S, false, Allowed::AtLeast(1), "a valid cluster size"),
    key("max-age", S, false, Allowed::MaxAge, "a valid max age"),
    key("max-in-memory-bytes", Q, true, Allowed::AtLeast(0), "a valid maximum memory in bytes"),
    key("max-in-memory-length", Q, true, Allowed::AtLeast(0), "a valid maximum memory in bytes"),
    key("max-length", C | Q, true, Allowed::AtLeast(0), "a valid maximum length"),
    key("max-length-bytes", ALL_KINDS, true, Allowed::AtLeast(0), "a valid maximum length in bytes"),
    key("message-ttl", C | Q, true, Allowed::AtLeast(0), "a valid message TTL"),
    key("overflow", C | Q, true, Allowed::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]), "a valid overflow value"),
    key("queue-leader-locator", ALL_KINDS, false, Allowed::OneOf(LOCATORS), "a valid queue leader locator value"),
    key("queue-master-locator", C, false, Allowed::Text, "a valid queue master locator value"),
    key("queue-mode", C, false, Allowed::OneOf(&["default", "lazy"]), "a valid queue-mode value"),
    key("queue-version", ALL_KINDS, true, Allowed::Between(1, 2), "a valid queue version"),
    key("routing-key", ALL_KINDS, false, Allowed::Text, "a valid routing key"),
    key("shards-per-node", ALL_KINDS, false, Allowed::AtLeast(0), "a valid number of shards"),
    key("stream-filter-size-bytes", S, false, Allowed::Between(*STREAM_FILTER_BYTES.start(), *STREAM_FILTER_BYTES.end()), "a valid filter size. Valid range is 16-255"),
    key("stream-max-segment-size-bytes", S, false, Allowed::Between(0, STREAM_SEGMENT_BYTES_MAX), "a valid segment size"),
    key("target-group-size", Q, true, Allowed::AtLeast(1), "a valid target group size"),
];

type Definition = [(Arc<str>, ParameterValue)];

/// The queue types that support every key of a definition.
pub(super) fn supporting_kinds(definition: &Definition) -> u8 {
    definition
        .iter()
        .filter_map(|(name, _)| find(name))
        .fold(ALL_KINDS, |kinds, key| kinds & key.kinds)
}

/// Checks the keys and values of a definition.
pub(super) fn validate(definition: &Definition, owner: PolicyOwner) -> Result<(), BrokerError> {
    if definition.is_empty() {
        return Err(refused("no policy provided".into()));
    }
    let known =
        |name: &str| find(name).is_some_and(|key| key.operator || owner == PolicyOwner::User);
    let unknown: Vec<_> = definition.iter().filter(|(name, _)| !known(name)).collect();
    if !unknown.is_empty() {
        let mut text = String::from("[");
        for (i, (name, value)) in unknown.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(text, "{comma}{{{},{}}}", term_text(name), term(value));
        }
        text.push_str("] are not recognised policy settings");
        return Err(refused(text));
    }
    for (name, value) in definition {
        if let Some(key) = find(name) {
            key.check(value)?;
        }
    }
    validate_ha(definition)
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Key {
    fn check(&self, value: &ParameterValue) -> Result<(), BrokerError> {
        let fine = match self.allowed {
            Allowed::AtLeast(least) => value.as_i64().is_some_and(|value| value >= least),
            Allowed::Between(low, high) => value
                .as_i64()
                .and_then(|value| u64::try_from(value).ok())
                .is_some_and(|value| (low..=high).contains(&value)),
            Allowed::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Allowed::MaxAge => value.as_str().and_then(|age| max_age_ms(age.as_bytes())).is_some(),
            Allowed::Text => value.as_str().is_some(),
            Allowed::Promote => {
                if !is_promote(value) {
                    return Err(refused(format!(
                        "{} must be \"always\" or \"when-synced\", got {}",
                        self.name,
                        term(value)
                    )));
                }
                true
            }
            Allowed::Anything => true,
        };
        if fine {
            Ok(())
        } else {
            Err(refused(format!("{} is not {}", term(value), self.complaint)))
        }
    }
}

// A truth value is accepted as well: true is always.
fn is_promote(value: &ParameterValue) -> bool {
    value.as_bool().is_some() || matches!(value.as_str(), Some("always" | "when-synced"))
}

fn validate_ha(definition: &Definition) -> Result<(), BrokerError> {
    let get = |key: &str| definition.iter().find(|(name, _)| &**name == key).map(|(_, v)| v);
    let Some(mode) = get("ha-mode") else {
        let needs_mode = |name: &str| name.starts_with("ha-");
        if definition.iter().any(|(name, _)| needs_mode(name)) {
            return Err(refused(
                "ha-mode must be specified to specify ha-params, ha-sync-mode or \
                 ha-promote-on-shutdown"
                    .into(),
            ));
        }
        return Ok(());
    };
    validate_ha_params(mode, get("ha-params"))?;
    if let Some(value) = get("ha-sync-mode")
        && !matches!(value.as_str(), Some("automatic" | "manual"))
    {
        let text = format!("ha-sync-mode must be \"manual\" or \"automatic\", got {}", term(value));
        return Err(refused(text));
    }
    if let Some(value) = get("ha-sync-batch-size")
        && value.as_i64().is_none_or(|size| size < 1)
    {
        let text =
            format!("ha-sync-batch-size takes an integer greater than 0, {} given", term(value));
        return Err(refused(text));
    }
    Ok(())
}

fn validate_ha_params(
    mode: &ParameterValue,
    params: Option<&ParameterValue>,
) -> Result<(), BrokerError> {
    let given = params.map_or_else(|| "none".to_owned(), term);
    let text = match mode.as_str() {
        Some("all") if params.is_none() => return Ok(()),
        Some("all") => format!("ha-mode=\"all\" does not take parameters, got {given}"),
        Some("exactly") => {
            if params.and_then(ParameterValue::as_i64).is_some_and(|n| n >= 1) {
                return Ok(());
            }
            format!("ha-mode=\"exactly\" takes an integer, {given} given")
        }
        Some("nodes") => {
            let names = params.and_then(ParameterValue::as_list).unwrap_or_default();
            if !names.is_empty() && names.iter().all(|name| name.as_str().is_some()) {
                return Ok(());
            }
            format!("ha-mode=\"nodes\" takes a non-empty list of strings, {given} given")
        }
        _ => format!("{} is not a valid ha-mode value", term(mode)),
    };
    Err(refused(text))
}

fn refused(text: String) -> BrokerError {
    BrokerError::Validation(text.into())
}

fn term_text(text: &str) -> String {
    crate::error::term::binary(text.as_bytes())
}

/// A value as Erlang prints it.
pub(crate) fn term(value: &ParameterValue) -> String {
    match value {
        ParameterValue::Null => "null".into(),
        ParameterValue::Bool(value) => value.to_string(),
        ParameterValue::Integer(value) => value.to_string(),
        ParameterValue::Float(value) => format!("{value:?}"),
        ParameterValue::String(text) => term_text(text),
        ParameterValue::List(values) => {
            let values: Vec<_> = values.iter().map(term).collect();
            format!("[{}]", values.join(","))
        }
        ParameterValue::Object(fields) => {
            let field = |(key, value): &(Arc<str>, ParameterValue)| {
                format!("{} => {}", term_text(key), term(value))
            };
            let fields: Vec<_> = fields.iter().map(field).collect();
            format!("#{{{}}}", fields.join(","))
        }
    }
}
