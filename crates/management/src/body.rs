//! Request bodies: read within a bound of size and time, understood as JSON, and taken apart with
//! RabbitMQ's leniency about types and its words about what is missing.

use crate::State;
use crate::error::ApiError;
use crate::json;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use leveret_engine::view::Table;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// How long a client may take to send a body; a large definitions file over a slow line fits.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// The fields of a body. An empty body has none.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) Map<String, Value>);

impl FromRequest<Arc<State>> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, ApiError> {
        let read = to_bytes(request.into_body(), state.body_bytes_max);
        let bytes = tokio::time::timeout(BODY_TIME_MAX, read)
            .await
            .map_err(|_| ApiError::bad_request("The request body took too long"))?
            .map_err(|_| ApiError::bad_request("Exceeded HTTP request body size limit"))?;
        Self::parse(&bytes)
    }
}

impl Fields {
    /// Understands a body as an object.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(ApiError::not_json()),
        }
    }

    /// The value of a field; `null` counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Refuses a body that lacks one of these, and names all that are missing.
    pub(crate) fn need(&self, keys: &[&str]) -> Result<(), ApiError> {
        let missing: Vec<String> = keys
            .iter()
            .filter(|key| !self.0.contains_key(**key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ApiError::bad_request(format!("[{}]", missing.join(","))))
    }

    /// A text that may be absent.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, ApiError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(ApiError::bad_request(format!("{key} is not a string: {other}"))),
        }
    }

    /// A text that must be there.
    pub(crate) fn needed_text(&self, key: &str) -> Result<&str, ApiError> {
        self.need(&[key])?;
        self.text(key)?.ok_or_else(|| ApiError::bad_request(format!("{key} is not a string: null")))
    }

    /// A truth value, which old tools send as a text; absent is false.
    // rabbitmq: rabbitmqadmin v1 sends "true"
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ApiError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(Value::String(text)) => Err(ApiError::bad_value("not_boolean", text)),
            Some(other) => Err(ApiError::bad_value("not_boolean", &other.to_string())),
        }
    }

    /// A number without a fraction, which old tools send as a text.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let wrong =
            |value: &Value| ApiError::bad_request(format!("{key} is not a number: {value}"));
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                text.parse().map(Some).map_err(|_| wrong(&Value::String(text.clone())))
            }
            Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong(value)),
        }
    }

    /// The `arguments`, an object; none if absent.
    pub(crate) fn arguments(&self) -> Result<Table, ApiError> {
        match self.get("arguments") {
            None => Ok(Table::new()),
            Some(Value::Object(fields)) => Ok(json::to_table(fields)),
            // Erlang cannot tell an empty object from an empty list.
            Some(Value::Array(values)) if values.is_empty() => Ok(Table::new()),
            Some(other) => {
                Err(ApiError::bad_request(format!("arguments is not an object: {other}")))
            }
        }
    }

    /// Words, as a list or with commas between them.
    pub(crate) fn words(&self, key: &str) -> Result<Option<Vec<Arc<str>>>, ApiError> {
        let wrong = |value: &Value| ApiError::bad_request(format!("{key} are not words: {value}"));
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Ok(Some(words.map(Arc::from).collect()))
            }
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(Arc::from).ok_or_else(|| wrong(value)))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_empty_body_has_no_fields_and_a_list_is_no_body() {
        assert!(fields("  \n").0.is_empty());
        assert!(Fields::parse(b"[]").is_err());
        assert!(Fields::parse(b"{").is_err());
    }

    #[test]
    fn what_old_tools_send_is_understood() {
        let body = fields(r#"{"a":"true","b":false,"n":"7","m":8,"t":"x, y","l":["z"],"u":null}"#);
        assert!(body.flag("a").unwrap());
        assert!(!body.flag("b").unwrap());
        assert!(!body.flag("absent").unwrap());
        assert_eq!(body.integer("n").unwrap(), Some(7));
        assert_eq!(body.integer("m").unwrap(), Some(8));
        assert_eq!(body.integer("u").unwrap(), None);
        assert_eq!(body.words("t").unwrap().unwrap(), [Arc::from("x"), Arc::from("y")]);
        assert_eq!(body.words("l").unwrap().unwrap(), [Arc::from("z")]);
        for bad in ["t", "m"] {
            assert!(body.flag(bad).is_err());
        }
        assert!(body.integer("t").is_err());
        assert!(body.words("m").is_err());
    }

    #[test]
    fn all_that_is_missing_is_named() {
        let error = fields(r#"{"a":1}"#).need(&["a", "b", "c"]).unwrap_err();
        assert_eq!(error, ApiError::bad_request("[{key_missing,b},{key_missing,c}]"));
    }
}
