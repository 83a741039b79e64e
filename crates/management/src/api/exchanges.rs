//! `/exchanges`. Declaring and deleting asks for the permissions that AMQP asks for.

use super::{Answer, App, exchange_name, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use crate::list::ListQuery;
use axum::extract::{Path, Query, State};
use leveret_engine::Permission;
use leveret_engine::auth::Resource;
use leveret_engine::command::{Command, ExchangeDeclare};
use leveret_engine::exchange::Exchange;
use leveret_engine::names::strip;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn show(exchange: &Exchange) -> Value {
    let mut value = json!({
        "name": &*exchange.name,
        "vhost": &*exchange.vhost,
        "type": exchange.kind.name(),
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": json::table(&exchange.arguments),
        "user_who_performed_action": &*exchange.created_by,
    });
    if let Some(policy) = &exchange.policy {
        value["policy"] = json!(&*policy.name);
    }
    value
}

fn select(app: &App, keep: impl Fn(&str) -> bool) -> Vec<Value> {
    app.read(|topology| {
        let vhosts = topology.vhosts().filter(|vhost| keep(vhost.name()));
        vhosts.flat_map(|vhost| vhost.exchanges()).map(|exchange| show(exchange)).collect()
    })
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    let items = app.read(|topology| {
        let visible = topology.vhosts().filter(|vhost| caller.sees(topology, vhost.name()));
        visible.flat_map(|vhost| vhost.exchanges()).map(|exchange| show(exchange)).collect()
    });
    query.reply(items)
}

pub(super) async fn list_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    app.look(&caller, &vhost, |_| ())?;
    query.reply(select(&app, |name| *name == *vhost))
}

/// An exchange that the caller sees.
pub(super) fn find(
    app: &App,
    caller: &Caller,
    vhost: &str,
    segment: &str,
) -> Result<Arc<Exchange>, ApiError> {
    let found = app.look(caller, vhost, |topology| {
        topology.vhost(vhost).and_then(|v| v.exchange(exchange_name(segment)).cloned())
    })?;
    found.ok_or_else(ApiError::not_found)
}

pub(super) async fn one(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let exchange = find(&app, &caller, &vhost, &name)?;
    let mut value = show(&exchange);
    for key in ["incoming", "outgoing"] {
        value[key] = json!([]);
    }
    reply(query.reduce_one(&value))
}

/// Reads what a body says of an exchange.
pub(super) fn spec(
    vhost: &str,
    name: &str,
    fields: &Fields,
    durable: bool,
    user: &Arc<str>,
) -> Result<ExchangeDeclare, ApiError> {
    let flag = |key: &str, default| match fields.get(key) {
        None => Ok(default),
        Some(_) => fields.flag(key),
    };
    Ok(ExchangeDeclare {
        vhost: vhost.into(),
        name: strip(name).into(),
        kind: fields.text("type")?.unwrap_or("direct").into(),
        durable: flag("durable", durable)?,
        auto_delete: flag("auto_delete", false)?,
        internal: flag("internal", false)?,
        arguments: fields.arguments()?,
        user: user.clone(),
    })
}

pub(super) async fn put(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    // rabbitmq: by HTTP the defaults are those of the AMQP method
    let declare = spec(&vhost, exchange_name(&name), &fields, false, caller.name())?;
    app.read(|topology| {
        caller.make_in(topology, &vhost)?;
        topology
            .authorise_exchange_declare(caller.user(), &declare)
            .map(drop)
            .map_err(ApiError::from)
    })?;
    app.put(Command::DeclareExchange(declare)).await
}

fn check(app: &App, caller: &Caller, vhost: &str, name: &str) -> Result<(), ApiError> {
    app.read(|topology| {
        caller.look_into(topology, vhost)?;
        let resource = Resource::Exchange(name);
        topology
            .check(caller.user(), vhost, Permission::Configure, resource)
            .map_err(ApiError::from)
    })
}

/// Conditions of a delete in the query.
#[derive(Deserialize)]
pub(super) struct Conditions {
    #[serde(default, rename = "if-unused")]
    pub(super) if_unused: bool,
    #[serde(default, rename = "if-empty")]
    pub(super) if_empty: bool,
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    Query(only): Query<Conditions>,
    caller: Caller,
) -> Answer {
    let exchange = find(&app, &caller, &vhost, &name)?;
    check(&app, &caller, &vhost, &exchange.name)?;
    app.remove(Command::DeleteExchange {
        vhost: exchange.vhost.clone(),
        name: exchange.name.clone(),
        if_unused: only.if_unused,
    })
    .await
}
