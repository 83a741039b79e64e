//! `/queues/V/Q/get` and `/exchanges/V/X/publish`: looking at messages and publishing them by hand.

use super::{Answer, App, exchange_name, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_engine::limits::NAME_BYTES_MAX;
use leveret_engine::view::{HandGet, HandGot, HandPublish, HandPublished, HandSettle};
use serde_json::{Value, json};
use std::sync::Arc;

mod properties;

/// How payloads are to be shown.
#[derive(Clone, Copy)]
enum Encoding {
    /// As text where they are text.
    Auto,
    Base64,
}

pub(super) async fn get(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    enter(&app, &caller, &vhost)?;
    let queue = super::queues::find(&app, &caller, &vhost, &name)
        .map_err(|error| error.or_missing("queue_not_found"))?;
    fields.need(&["ackmode", "count", "encoding"])?;
    let settle = settle(fields.needed_text("ackmode")?)?;
    // rabbitmq: a negative number never becomes zero on the way down, so the whole queue is got
    let count = needed_integer(&fields, "count")?.try_into().unwrap_or(u64::MAX);
    let encoding = encoding(fields.needed_text("encoding")?)?;
    let keep_bytes = match fields.get("truncate") {
        None => usize::MAX,
        Some(_) => needed_integer(&fields, "truncate")?.try_into().unwrap_or(0),
    };
    let wanted = HandGet {
        user: Arc::clone(caller.user()),
        vhost: Arc::clone(&queue.vhost),
        queue: Arc::clone(&queue.name),
        count,
        settle,
        keep_bytes,
    };
    let got = app.propose.get(wanted).await.map_err(|refused| match refused.code {
        403 => ApiError::not_allowed(refused.text),
        _ => ApiError::bad_request(refused.text),
    })?;
    reply(got.iter().map(|message| show(message, encoding)).collect())
}

/// Getting and publishing take permissions in the vhost, whatever the tags.
fn enter(app: &App, caller: &Caller, vhost: &str) -> Result<(), ApiError> {
    app.read(|topology| caller.make_in(topology, vhost))
}

fn settle(word: &str) -> Result<HandSettle, ApiError> {
    Ok(match word {
        "ack_requeue_true" => HandSettle::Return,
        "ack_requeue_false" => HandSettle::Ack,
        "reject_requeue_true" => HandSettle::RejectAndReturn,
        "reject_requeue_false" => HandSettle::Reject,
        other => {
            return Err(ApiError::bad_request(format!(
                "Invalid ackmode value: {other}. Valid values are: ack_requeue_true, \
                 ack_requeue_false, reject_requeue_true, reject_requeue_false"
            )));
        }
    })
}

fn encoding(word: &str) -> Result<Encoding, ApiError> {
    match word {
        "auto" => Ok(Encoding::Auto),
        "base64" => Ok(Encoding::Base64),
        _ => Err(ApiError::bad_request("Unsupported encoding. Please use auto or base64.")),
    }
}

fn needed_integer(fields: &Fields, key: &str) -> Result<i64, ApiError> {
    let text = match fields.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "null".to_owned(),
    };
    text.parse().map_err(|_| ApiError::bad_value("not_integer", &text))
}

fn show(message: &HandGot, encoding: Encoding) -> Value {
    let text = match encoding {
        Encoding::Auto => str::from_utf8(&message.body).ok(),
        Encoding::Base64 => None,
    };
    let (payload, encoding) = match text {
        Some(text) => (text.to_owned(), "string"),
        None => (STANDARD.encode(&message.body), "base64"),
    };
    json!({
        "payload_bytes": message.body_bytes,
        "redelivered": message.redelivered,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "message_count": message.message_count,
        "properties": properties::show(&message.properties),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

pub(super) async fn publish(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    enter(&app, &caller, &vhost)?;
    let exchange = super::exchanges::find(&app, &caller, &vhost, exchange_name(&name))
        .map_err(|error| error.or_missing("exchange_not_found"))?;
    fields.need(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let routing_key = fields.needed_text("routing_key")?;
    if routing_key.len() > NAME_BYTES_MAX {
        return Err(ApiError::bad_request("routing key is too long"));
    }
    let message = HandPublish {
        user: Arc::clone(caller.user()),
        vhost: Arc::clone(&exchange.vhost),
        exchange: Arc::clone(&exchange.name),
        routing_key: routing_key.into(),
        body: payload(&fields)?,
        properties: properties::read(&fields)?,
    };
    let published = app.propose.publish(message).await.map_err(|refused| {
        // rabbitmq: rabbit_mgmt_wm_exchange_publish bad
        ApiError::bad_request(format!("{} {}", refused.code, refused.text))
    })?;
    match published {
        HandPublished::Routed => reply(json!({"routed": true})),
        HandPublished::Unroutable => reply(json!({"routed": false})),
        HandPublished::Rejected => {
            let reason = "rejected Unable to publish message. Check queue limits.";
            Err(ApiError::bad_request(reason))
        }
    }
}

fn payload(fields: &Fields) -> Result<Vec<u8>, ApiError> {
    let Some(Value::String(payload)) = fields.get("payload") else {
        return Err(ApiError::bad_request("payload_not_string"));
    };
    match fields.needed_text("payload_encoding")? {
        "string" => Ok(payload.clone().into_bytes()),
        "base64" => {
            STANDARD.decode(payload).map_err(|_| ApiError::bad_value("not_base64", payload))
        }
        other => Err(ApiError::bad_value("unsupported_encoding", other)),
    }
}
