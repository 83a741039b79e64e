//! `/leveret/redrives`: moving messages from one queue to others, dead letters back to where they died. RabbitMQ has
//! nothing like it; its web page moves whole queues by shovel.

use super::{Answer, App, no_content, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_engine::Timestamp;
use leveret_engine::auth::Resource;
use leveret_engine::error::Permission;
use leveret_engine::limits::NAME_BYTES_MAX;
use leveret_engine::view::{PutMessage, Redrive, RedriveFailure, RedriveState, RedriveView};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) async fn list(State(app): State<App>, caller: Caller) -> Answer {
    caller.policymaker()?;
    let all = app.propose.redrives();
    let seen = all.iter().filter(|view| sees(&app, &caller, view));
    reply(seen.map(show).collect())
}

pub(super) async fn one(State(app): State<App>, Path(id): Path<u64>, caller: Caller) -> Answer {
    caller.policymaker()?;
    let all = app.propose.redrives();
    let view = all.iter().find(|view| view.id == id && sees(&app, &caller, view));
    reply(show(view.ok_or_else(ApiError::not_found)?))
}

pub(super) async fn cancel(State(app): State<App>, Path(id): Path<u64>, caller: Caller) -> Answer {
    caller.policymaker()?;
    let all = app.propose.redrives();
    let found = all.iter().any(|view| view.id == id && sees(&app, &caller, view));
    if !found || !app.propose.cancel_redrive(id) {
        return Err(ApiError::not_found());
    }
    no_content()
}

fn sees(app: &App, caller: &Caller, view: &RedriveView) -> bool {
    app.read(|topology| caller.policymaker_of(topology, &view.wanted.vhost).is_ok())
}

pub(super) async fn begin(State(app): State<App>, caller: Caller, fields: Fields) -> Answer {
    caller.policymaker()?;
    let wanted = wanted(&app, &caller, &fields)?;
    let id = app.propose.redrive(wanted).ok_or_else(|| {
        ApiError::bad_request("too many redrives are under way: wait for one to end, or cancel it")
    })?;
    let all = app.propose.redrives();
    let view = all.iter().find(|view| view.id == id).map_or(Value::Null, show);
    Ok((StatusCode::ACCEPTED, axum::Json(view)).into_response())
}

const FIELDS: [&str; 9] =
    ["vhost", "queue", "to", "died_in", "reason", "older_than", "rate", "limit", "dry_run"];

fn wanted(app: &App, caller: &Caller, fields: &Fields) -> Result<Redrive, ApiError> {
    if let Some(unknown) = fields.0.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let reason = format!("there is no field {unknown}; there are {}", FIELDS.join(", "));
        return Err(ApiError::bad_request(reason));
    }
    let (vhost, queue) = (fields.needed_text("vhost")?, fields.needed_text("queue")?);
    let to = fields.text("to")?;
    app.read(|topology| {
        caller.policymaker_of(topology, vhost)?;
        caller.look_into(topology, vhost)?;
        for name in [Some(queue), to].into_iter().flatten() {
            if topology.queue(vhost, name).is_none() {
                return Err(ApiError::not_found().or_missing("queue_not_found"));
            }
        }
        // What goes to a queue by hand goes through the default exchange.
        let write = topology.check(caller.user(), vhost, Permission::Write, Resource::Exchange(""));
        let read = topology.check(caller.user(), vhost, Permission::Read, Resource::Queue(queue));
        write.and(read).map_err(ApiError::from)
    })?;
    if to == Some(queue) {
        return Err(ApiError::bad_request("to is the queue itself"));
    }
    let positive = |key: &str| match fields.integer(key)? {
        None => Ok(None),
        Some(n @ 1..) => Ok(Some(n as u64)),
        Some(n) => Err(ApiError::bad_request(format!("{key} is at least 1, not {n}"))),
    };
    let older = positive("older_than")?;
    let now = app.propose.now();
    let text = |key: &str| Ok::<_, ApiError>(fields.text(key)?.map(Arc::from));
    Ok(Redrive {
        user: Arc::clone(caller.user()),
        vhost: vhost.into(),
        queue: queue.into(),
        to: to.map(Arc::from),
        died_in: text("died_in")?,
        reason: text("reason")?,
        before: older.map(|seconds| Timestamp(now.0.saturating_sub(seconds.saturating_mul(1000)))),
        rate: positive("rate")?.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        limit: positive("limit")?,
        dry_run: fields.flag("dry_run")?,
    })
}

fn show(view: &RedriveView) -> Value {
    let (state, error) = match &view.state {
        RedriveState::Running => ("running", None),
        RedriveState::Done => ("done", None),
        RedriveState::Cancelled => ("cancelled", None),
        RedriveState::Failed(reason) => ("failed", Some(reason)),
    };
    let wanted = &view.wanted;
    let targets: Map<String, Value> =
        view.moved.iter().map(|(queue, n)| (queue.to_string(), json!(n))).collect();
    json!({
        "id": view.id,
        "vhost": &*wanted.vhost,
        "queue": &*wanted.queue,
        "to": wanted.to.as_deref(),
        "died_in": wanted.died_in.as_deref(),
        "reason": wanted.reason.as_deref(),
        "before": wanted.before.map(|at| at.0),
        "rate": wanted.rate,
        "limit": wanted.limit,
        "dry_run": wanted.dry_run,
        "user": &*wanted.user.name,
        "state": state,
        "error": error,
        "started": view.started.0,
        "ended": view.ended.map(|at| at.0),
        "total": view.total,
        "looked": view.looked,
        "passed": view.passed,
        "moved": view.moved.values().sum::<u64>(),
        "moved_to": targets,
        "failed": view.failed,
        "failures": view.failures.iter().map(show_failure).collect::<Vec<_>>(),
    })
}

fn show_failure(failure: &RedriveFailure) -> Value {
    json!({
        "position": failure.position,
        "message_id": failure.message_id,
        "queue": failure.queue.as_deref(),
        "reason": failure.reason,
    })
}

/// Puts messages into a queue as they are: with the exchange and the key that they once came with. For moving in from
/// another broker.
pub(super) async fn put(
    State(app): State<App>,
    Path((vhost, queue)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    super::queues::find(&app, &caller, &vhost, &queue)
        .map_err(|error| error.or_missing("queue_not_found"))?;
    let Some(Value::Array(entries)) = fields.get("messages") else {
        return Err(ApiError::bad_request("messages is not a list"));
    };
    let messages = entries.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let n = messages.len();
    let put = app.propose.put(&vhost, &queue, messages).await;
    put.map_err(|refused| ApiError::bad_request(refused.text))?;
    reply(json!({"put": n}))
}

fn message(entry: &Value) -> Result<PutMessage, ApiError> {
    let wrong = || {
        ApiError::bad_request(
            "a message has exchange, routing_key, and in base64 properties and payload",
        )
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).ok_or_else(wrong);
    let bytes = |key: &str| STANDARD.decode(text(key)?).map_err(|_| wrong());
    let (exchange, routing_key) = (text("exchange")?, text("routing_key")?);
    if exchange.len() > NAME_BYTES_MAX || routing_key.len() > NAME_BYTES_MAX {
        return Err(ApiError::bad_request("exchange and routing_key have 255 bytes at most"));
    }
    Ok(PutMessage {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        properties: bytes("properties")?,
        body: bytes("payload")?,
    })
}
