//! `/parameters` and `/global-parameters`.

use super::{Answer, App, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use leveret_engine::command::Command;
use leveret_engine::topology::Topology;
use serde_json::{Value, json};

/// The parameters that the caller sees and `keep` keeps.
fn select(app: &App, caller: &Caller, keep: impl Fn(&Value) -> bool) -> Vec<Value> {
    app.read(|topology| {
        topology
            .vhosts()
            .filter(|vhost| caller.sees(topology, vhost.name()))
            .flat_map(|vhost| of_vhost(topology, vhost.name()))
            .filter(|parameter| keep(parameter))
            .collect()
    })
}

/// The parameters of a vhost, limits included, as RabbitMQ keeps them.
pub(super) fn of_vhost(topology: &Topology, name: &str) -> Vec<Value> {
    let Some(vhost) = topology.vhost(name) else { return Vec::new() };
    let show = |component: &str, key: &str, value: Value| json!({"vhost": name, "component": component, "name": key, "value": value});
    let mut all: Vec<Value> = vhost
        .parameters()
        .map(|(component, key, value)| show(component, key, json::parameter(value)))
        .collect();
    let limits = super::limits::of_vhost(vhost);
    if !limits.is_empty() {
        all.push(show("vhost-limits", "limits", Value::Object(limits)));
    }
    all
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.policymaker()?;
    query.reply(select(&app, &caller, |_| true))
}

pub(super) async fn list_of(
    State(app): State<App>,
    Path(component): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.policymaker()?;
    query.reply(select(&app, &caller, |parameter| parameter["component"] == *component))
}

pub(super) async fn list_in(
    State(app): State<App>,
    Path((component, vhost)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    allow(&app, &caller, &vhost)?;
    query.reply(select(&app, &caller, |parameter| {
        parameter["component"] == *component && parameter["vhost"] == *vhost
    }))
}

fn allow(app: &App, caller: &Caller, vhost: &str) -> Result<(), ApiError> {
    app.read(|topology| {
        topology.vhost(vhost).ok_or_else(ApiError::not_found)?;
        caller.policymaker_of(topology, vhost)
    })
}

pub(super) async fn one(
    State(app): State<App>,
    Path((component, vhost, name)): Path<(String, String, String)>,
    caller: Caller,
) -> Answer {
    allow(&app, &caller, &vhost)?;
    let mut found = select(&app, &caller, |parameter| {
        parameter["component"] == *component
            && parameter["vhost"] == *vhost
            && parameter["name"] == *name
    });
    reply(found.pop().ok_or_else(ApiError::not_found)?)
}

pub(super) async fn put(
    State(app): State<App>,
    Path((component, vhost, name)): Path<(String, String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    allow(&app, &caller, &vhost)?;
    fields.need(&["value"])?;
    app.put(Command::PutParameter {
        vhost: vhost.into(),
        component: component.into(),
        name: name.into(),
        value: json::to_parameter(fields.0.get("value").unwrap_or(&Value::Null)),
    })
    .await
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((component, vhost, name)): Path<(String, String, String)>,
    caller: Caller,
) -> Answer {
    allow(&app, &caller, &vhost)?;
    app.remove(Command::DeleteParameter {
        vhost: vhost.into(),
        component: component.into(),
        name: name.into(),
    })
    .await
}

pub(super) fn all_globals(topology: &Topology) -> Vec<Value> {
    topology
        .global_parameters()
        .map(|(name, value)| json!({"name": name, "value": json::parameter(value)}))
        .collect()
}

pub(super) async fn globals(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.policymaker()?;
    query.reply(app.read(all_globals))
}

pub(super) async fn global(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.policymaker()?;
    let all = app.read(all_globals);
    let found = all.into_iter().find(|parameter| parameter["name"] == *name);
    reply(found.ok_or_else(ApiError::not_found)?)
}

pub(super) async fn put_global(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.policymaker()?;
    fields.need(&["value"])?;
    let value = json::to_parameter(fields.0.get("value").unwrap_or(&Value::Null));
    app.put(Command::PutGlobalParameter { name: name.into(), value }).await
}

pub(super) async fn delete_global(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.policymaker()?;
    app.remove(Command::DeleteGlobalParameter { name: name.into() }).await
}
