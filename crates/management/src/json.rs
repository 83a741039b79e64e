//! JSON and the broker's own values: argument tables, parameter values, names.

use leveret_engine::parameter::ParameterValue;
use leveret_engine::view::{Table, Value as Field};
use serde_json::{Map, Number, Value, json};
use std::sync::Arc;

/// A table as JSON. Types that JSON does not have become the nearest one, as in RabbitMQ.
pub(crate) fn table(table: &Table) -> Value {
    let fields = table.iter().map(|(key, value)| (key.to_owned(), field(value)));
    Value::Object(fields.collect())
}

fn field(value: &Field) -> Value {
    match value {
        Field::Bool(v) => json!(v),
        Field::Byte(v) => json!(v),
        Field::UnsignedByte(v) => json!(v),
        Field::Short(v) => json!(v),
        Field::UnsignedShort(v) => json!(v),
        Field::Int(v) => json!(v),
        Field::UnsignedInt(v) => json!(v),
        Field::Long(v) | Field::LongUpper(v) => json!(v),
        Field::Float(v) => float(f64::from(*v)),
        Field::Double(v) => float(*v),
        Field::Decimal { scale, value } => float(f64::from(*value) / 10f64.powi(i32::from(*scale))),
        Field::LongString(v) | Field::ByteArray(v) => json!(String::from_utf8_lossy(v)),
        Field::Array(values) => Value::Array(values.iter().map(field).collect()),
        Field::Timestamp(v) => json!(v),
        Field::Table(inner) => table(inner),
        Field::Void => Value::Null,
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// JSON as a table: whole numbers are long, texts are long strings.
// rabbitmq: rabbit_mgmt_util args
pub(crate) fn to_table(fields: &Map<String, Value>) -> Table {
    Table(fields.iter().map(|(key, value)| (key.clone(), to_field(value))).collect())
}

fn to_field(value: &Value) -> Field {
    match value {
        Value::Null => Field::Void,
        Value::Bool(v) => Field::Bool(*v),
        Value::Number(n) => {
            n.as_i64().map_or_else(|| Field::Double(n.as_f64().unwrap_or_default()), Field::Long)
        }
        Value::String(text) => Field::LongString(text.clone().into_bytes()),
        Value::Array(values) => Field::Array(values.iter().map(to_field).collect()),
        Value::Object(fields) => Field::Table(to_table(fields)),
    }
}

/// A parameter's value as JSON.
pub(crate) fn parameter(value: &ParameterValue) -> Value {
    match value {
        ParameterValue::Null => Value::Null,
        ParameterValue::Bool(v) => json!(v),
        ParameterValue::Integer(v) => json!(v),
        ParameterValue::Float(v) => float(*v),
        ParameterValue::String(text) => json!(text),
        ParameterValue::List(values) => Value::Array(values.iter().map(parameter).collect()),
        ParameterValue::Object(fields) => definition(fields),
    }
}

/// The settings of a policy as JSON.
pub(crate) fn definition(fields: &[(Arc<str>, ParameterValue)]) -> Value {
    let fields = fields.iter().map(|(key, value)| (key.to_string(), parameter(value)));
    Value::Object(fields.collect())
}

/// JSON as a parameter's value.
pub(crate) fn to_parameter(value: &Value) -> ParameterValue {
    match value {
        Value::Null => ParameterValue::Null,
        Value::Bool(v) => ParameterValue::Bool(*v),
        Value::Number(n) => n.as_i64().map_or_else(
            || ParameterValue::Float(n.as_f64().unwrap_or_default()),
            ParameterValue::Integer,
        ),
        Value::String(text) => ParameterValue::String(text.as_str().into()),
        Value::Array(values) => ParameterValue::List(values.iter().map(to_parameter).collect()),
        Value::Object(fields) => ParameterValue::Object(to_definition(fields)),
    }
}

/// JSON as the settings of a policy.
pub(crate) fn to_definition(fields: &Map<String, Value>) -> Vec<(Arc<str>, ParameterValue)> {
    fields.iter().map(|(key, value)| (key.as_str().into(), to_parameter(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_what_json_can_say() {
        let value = json!({"i": -5, "big": 9_000_000_000_i64, "f": 1.5, "s": "ü", "b": true,
                           "n": null, "l": [1, "x", {"y": 2}], "t": {"k": "v"}});
        let Value::Object(fields) = &value else { unreachable!() };
        assert_eq!(table(&to_table(fields)), value);
        assert_eq!(to_table(fields).get("i"), Some(&Field::Long(-5)));
        assert_eq!(to_table(fields).get("s"), Some(&Field::LongString("ü".into())));
        assert_eq!(parameter(&to_parameter(&value)), value);
    }

    #[test]
    fn types_without_json_become_the_nearest() {
        let of = |field_value| field(&field_value);
        assert_eq!(of(Field::Decimal { scale: 2, value: 275 }), json!(2.75));
        assert_eq!(of(Field::Timestamp(7)), json!(7));
        assert_eq!(of(Field::Double(f64::NAN)), Value::Null);
        assert_eq!(of(Field::ByteArray(vec![b'a'])), json!("a"));
    }
}
