//! `/vhost-limits` and `/user-limits`. A negative value is no limit, 0 allows nothing.

use super::{Answer, App, no_content};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use leveret_engine::command::{Command, UserLimit, VhostLimit};
use leveret_engine::topology::Vhost;
use serde_json::{Map, Value, json};

/// The limits of a vhost by their names in the API.
pub(super) fn of_vhost(vhost: &Vhost) -> Map<String, Value> {
    let limits = vhost.limits();
    [("max-connections", limits.connections), ("max-queues", limits.queues)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))))
        .collect()
}

/// A vhost's limit by its name.
pub(super) fn vhost_limit(name: &str) -> Option<VhostLimit> {
    match name {
        "max-connections" => Some(VhostLimit::Connections),
        "max-queues" => Some(VhostLimit::Queues),
        _ => None,
    }
}

/// A user's limit by its name.
pub(super) fn user_limit(name: &str) -> Option<UserLimit> {
    match name {
        "max-connections" => Some(UserLimit::Connections),
        "max-channels" => Some(UserLimit::Channels),
        _ => None,
    }
}

/// RabbitMQ's words for a limit that does not exist.
fn unknown(name: &str, value: &Value, of: &str) -> String {
    format!("Unrecognised terms [{{<<\"{name}\">>,{}}}] in {of}", term(value))
}

/// A value as Erlang writes it.
fn term(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<\"{text}\">>"),
        other => other.to_string(),
    }
}

/// The value of a body; a negative one clears the limit. `Err` has RabbitMQ's words.
fn value(name: &str, value: &Value) -> Result<Option<u64>, String> {
    let number = value
        .as_i64()
        .ok_or_else(|| format!("{name} should be a number, actually was {}", term(value)))?;
    Ok(u64::try_from(number).ok())
}

fn show(vhost: &Vhost) -> Option<Value> {
    let limits = of_vhost(vhost);
    (!limits.is_empty()).then(|| json!({"vhost": &**vhost.name(), "value": limits}))
}

pub(super) async fn vhosts(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    query.reply(app.read(|topology| {
        let visible = topology.vhosts().filter(|vhost| caller.sees(topology, vhost.name()));
        visible.filter_map(show).collect()
    }))
}

pub(super) async fn vhost(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let shown = app.look(&caller, &vhost, |topology| topology.vhost(&vhost).and_then(show))?;
    query.reply(shown.into_iter().collect())
}

pub(super) async fn put_vhost(
    State(app): State<App>,
    Path((vhost, limit)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    fields.need(&["value"])?;
    let there = app.read(|topology| topology.vhost(&vhost).is_some());
    if !there {
        return Err(ApiError::missing("vhost_not_found"));
    }
    let given = fields.0.get("value").unwrap_or(&Value::Null);
    if vhost_limit(&limit).is_none() {
        return Err(ApiError::validation(&unknown(&limit, given, "limits")));
    }
    let value = value(&limit, given).map_err(|reason| ApiError::validation(&reason))?;
    set_vhost(&app, &caller, vhost, &limit, value).await
}

pub(super) async fn clear_vhost(
    State(app): State<App>,
    Path((vhost, limit)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    set_vhost(&app, &caller, vhost, &limit, None).await
}

async fn set_vhost(
    app: &App,
    caller: &Caller,
    vhost: String,
    limit: &str,
    value: Option<u64>,
) -> Answer {
    caller.administrator()?;
    app.look(caller, &vhost, |_| ())?;
    let limit = vhost_limit(limit).ok_or_else(ApiError::not_found)?;
    app.propose.propose(Command::SetVhostLimit { vhost: vhost.into(), limit, value }).await?;
    no_content()
}

pub(super) async fn users(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.administrator()?;
    query.reply(user_limits(&app, |_| true))
}

pub(super) async fn user(
    State(app): State<App>,
    Path(user): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    if app.read(|topology| topology.user(&user).is_none()) {
        return Err(ApiError::not_found());
    }
    query.reply(user_limits(&app, |name| *name == *user))
}

fn user_limits(app: &App, keep: impl Fn(&str) -> bool) -> Vec<Value> {
    app.read(|topology| {
        topology
            .users()
            .filter(|user| keep(&user.name))
            .map(|user| (user.name.clone(), super::users::limits(user)))
            .filter(|(_, limits)| limits.as_object().is_some_and(|limits| !limits.is_empty()))
            .map(|(name, limits)| json!({"user": &*name, "value": limits}))
            .collect()
    })
}

pub(super) async fn put_user(
    State(app): State<App>,
    Path((user, limit)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    fields.need(&["value"])?;
    if app.read(|topology| topology.user(&user).is_none()) {
        return Err(ApiError::bad_value("no_such_user", &user));
    }
    let given = fields.0.get("value").unwrap_or(&Value::Null);
    if user_limit(&limit).is_none() {
        return Err(ApiError::bad_request(unknown(&limit, given, "user-limits")));
    }
    let value = value(&limit, given).map_err(ApiError::bad_request)?;
    set_user(&app, &caller, user, &limit, value).await
}

pub(super) async fn clear_user(
    State(app): State<App>,
    Path((user, limit)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    set_user(&app, &caller, user, &limit, None).await
}

async fn set_user(
    app: &App,
    caller: &Caller,
    user: String,
    limit: &str,
    value: Option<u64>,
) -> Answer {
    caller.administrator()?;
    if app.read(|topology| topology.user(&user).is_none()) {
        return Err(ApiError::not_found());
    }
    let limit = user_limit(limit).ok_or_else(ApiError::not_found)?;
    app.propose.propose(Command::SetUserLimit { user: user.into(), limit, value }).await?;
    no_content()
}
