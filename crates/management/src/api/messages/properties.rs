//! Message properties between JSON and the bytes in which messages carry them.

use crate::body::Fields;
use crate::error::ApiError;
use crate::json;
use leveret_engine::view::{Properties, PropertiesWriter, Table};
use serde_json::{Map, Value, json};

/// The properties as JSON; those that are not set are absent.
// rabbitmq: no properties at all are an empty list
pub(super) fn show(bytes: &[u8]) -> Value {
    let properties = Properties::new(bytes);
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    for (key, text) in [
        ("type", properties.type_()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
        ("message_id", properties.message_id()),
        ("expiration", properties.expiration()),
        ("reply_to", properties.reply_to()),
        ("correlation_id", properties.correlation_id()),
        ("content_encoding", properties.content_encoding()),
        ("content_type", properties.content_type()),
    ] {
        if let Some(text) = text {
            put(key, json!(String::from_utf8_lossy(text)));
        }
    }
    for (key, number) in [
        ("timestamp", properties.timestamp()),
        ("priority", properties.priority().map(u64::from)),
        ("delivery_mode", properties.delivery_mode().map(u64::from)),
    ] {
        if let Some(number) = number {
            put(key, json!(number));
        }
    }
    if let Some(headers) = properties.headers() {
        put("headers", Table::try_from(headers).map_or(Value::Null, |table| json::table(&table)));
    }
    if fields.is_empty() { json!([]) } else { Value::Object(fields) }
}

/// The property bytes of what a body asks for; names that are no property are passed over.
pub(super) fn read(fields: &Fields) -> Result<Vec<u8>, ApiError> {
    let given = match fields.get("properties") {
        Some(Value::Object(given)) => given,
        // Erlang cannot tell an empty object from an empty list, and shows the latter.
        Some(Value::Array(values)) if values.is_empty() => &Map::new(),
        _ => return Err(ApiError::bad_request("properties is not an object")),
    };
    let text = |key| text(given, key);
    let headers = match given.get("headers") {
        None | Some(Value::Null) => None,
        Some(Value::Object(headers)) => {
            let table = json::to_table(headers);
            table.check().map_err(|error| ApiError::bad_request(error.to_string()))?;
            Some(table.to_bytes())
        }
        Some(Value::Array(values)) if values.is_empty() => Some(Vec::new()),
        Some(_) => return Err(ApiError::bad_value("not_a_table", "headers")),
    };
    let writer = PropertiesWriter {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers.as_deref(),
        delivery_mode: number(given, "delivery_mode")?,
        priority: number(given, "priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number(given, "timestamp")?,
        type_: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    };
    writer.to_bytes().map_err(|error| ApiError::bad_request(error.to_string()))
}

fn text<'a>(given: &'a Map<String, Value>, key: &str) -> Result<Option<&'a [u8]>, ApiError> {
    match given.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_bytes())),
        Some(_) => Err(ApiError::bad_value("not_string", key)),
    }
}

fn number<N: TryFrom<u64>>(given: &Map<String, Value>, key: &str) -> Result<Option<N>, ApiError> {
    let number = match given.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_u64().and_then(|number| N::try_from(number).ok()),
    };
    number.map(Some).ok_or_else(|| ApiError::bad_value("not_int", key))
}
