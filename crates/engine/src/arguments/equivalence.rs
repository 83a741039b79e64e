//! When a redeclaration means the same as what exists, and RabbitMQ's words when it does not.
// rabbitmq: rabbit_misc assert_args_equivalence

use crate::error::{BrokerError, Compared, Inequivalent, ResourceName};
use leveret_codec::{Table, Value};

/// Whether two values count as equal in a redeclaration: integers of any width, strings and byte
/// arrays of the same bytes.
pub(crate) fn same_value(a: &Value, b: &Value) -> bool {
    match (whole_number(a), whole_number(b)) {
        (Some(a), Some(b)) => return a == b,
        (Some(_), None) | (None, Some(_)) => return false,
        (None, None) => {}
    }
    match (a, b) {
        (
            Value::LongString(a) | Value::ByteArray(a),
            Value::LongString(b) | Value::ByteArray(b),
        ) => a == b,
        (Value::Float(_) | Value::Double(_), Value::Float(_) | Value::Double(_)) => {
            real(a) == real(b)
        }
        (a, b) => a == b,
    }
}

fn whole_number(value: &Value) -> Option<i128> {
    match value {
        Value::Timestamp(value) => Some((*value).into()),
        other => other.as_i64().map(Into::into),
    }
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some((*value).into()),
        Value::Double(value) => Some(*value),
        _ => None,
    }
}

/// Compares one argument of what exists with a redeclaration.
pub(crate) fn compare_table_value(
    argument: &str,
    resource: &ResourceName,
    current: &Table,
    received: &Table,
) -> Result<(), BrokerError> {
    let (current, received) = (current.get(argument), received.get(argument));
    match (current, received) {
        (None, None) => Ok(()),
        (Some(current), Some(received)) if same_value(current, received) => Ok(()),
        _ => {
            differs(argument, resource, received.map(Compared::value), current.map(Compared::value))
        }
    }
}

/// Compares a flag.
pub(crate) fn compare_flag(
    argument: &str,
    resource: &ResourceName,
    current: bool,
    received: bool,
) -> Result<(), BrokerError> {
    if current == received {
        return Ok(());
    }
    let (received, current) = (Compared::flag(received), Compared::flag(current));
    differs(argument, resource, Some(received), Some(current))
}

/// Compares a word.
pub(crate) fn compare_word(
    argument: &str,
    resource: &ResourceName,
    current: &str,
    received: &str,
) -> Result<(), BrokerError> {
    if current == received {
        return Ok(());
    }
    let (received, current) = (Compared::word(received), Compared::word(current));
    differs(argument, resource, Some(received), Some(current))
}

fn differs(
    argument: &str,
    resource: &ResourceName,
    received: Option<Compared>,
    current: Option<Compared>,
) -> Result<(), BrokerError> {
    Err(BrokerError::Inequivalent(Box::new(Inequivalent {
        argument: argument.into(),
        resource: resource.clone(),
        received,
        current,
    })))
}
