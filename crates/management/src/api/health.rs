//! Health checks: 200 when all is well, 503 with a reason when it is not.

use super::{Answer, App, reply};
use crate::caller::Caller;
use crate::error::ApiError;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use leveret_engine::view::Alarm;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/aliveness-test/{vhost}", get(alive))
        .route("/healthchecks/node", get(node))
        .route("/healthchecks/node/{name}", get(node_named))
        .route("/health/checks/alarms", get(alarms))
        .route("/health/checks/local-alarms", get(alarms))
        .route("/health/checks/port-listener/{port}", get(port))
        .route("/health/checks/protocol-listener/{protocol}", get(protocol))
        .route("/health/checks/virtual-hosts", get(well))
        .route("/health/checks/node-is-quorum-critical", get(single_node))
        .route("/health/checks/node-is-mirror-sync-critical", get(single_node))
        .route("/health/checks/metadata-store/initialized", get(well))
        .route("/health/checks/metadata-store/initialized/with-data", get(well))
        .route("/health/checks/reached-target-cluster-size", get(in_service))
        .route("/health/checks/quorum-queues-without-elected-leaders/all-vhosts", get(well))
        .route(
            "/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
            get(well),
        )
        .route("/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", get(well))
        .route(
            "/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            get(well),
        )
        .route("/health/checks/is-in-service", get(in_service))
        .route("/health/checks/ready-to-serve-clients", get(ready))
        .route("/health/checks/below-node-connection-limit", get(below_limit))
}

fn ok() -> Answer {
    reply(json!({"status": "ok"}))
}

/// A failed check: a reason, and what the check adds to it.
fn failed(reason: &str, more: Value) -> Answer {
    let mut body = json!({"status": "failed", "reason": reason});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    Ok((StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response())
}

async fn well(_caller: Caller) -> Answer {
    ok()
}

async fn in_service() -> Answer {
    ok()
}

async fn single_node(_caller: Caller) -> Answer {
    reply(json!({"status": "ok", "reason": "single node cluster"}))
}

/// A declare, a publish and a get would do no more than what the topology says at once: that the
/// vhost is there and may be used.
async fn alive(State(app): State<App>, Path(vhost): Path<String>, caller: Caller) -> Answer {
    app.read(|topology| caller.look_into(topology, &vhost))?;
    ok()
}

async fn node(State(app): State<App>, _caller: Caller) -> Answer {
    let names = alarm_names(&app);
    if names.is_empty() {
        return ok();
    }
    failed(&format!("resource alarm(s) in effect: {}", names.join(", ")), json!({}))
}

async fn node_named(State(app): State<App>, Path(name): Path<String>, caller: Caller) -> Answer {
    app.known_node(&name)?;
    node(State(app), caller).await
}

fn alarm_names(app: &App) -> Vec<&'static str> {
    app.node
        .alarms()
        .iter()
        .map(|alarm| match alarm {
            Alarm::Disk => "disk",
            Alarm::Memory => "memory",
        })
        .collect()
}

async fn alarms(State(app): State<App>, _caller: Caller) -> Answer {
    let names = alarm_names(&app);
    if names.is_empty() {
        return ok();
    }
    let alarms: Vec<Value> =
        names.iter().map(|name| json!({"node": app.node.name(), "resource": name})).collect();
    failed("There are alarms in effect in the cluster", json!({"alarms": alarms}))
}

async fn port(State(app): State<App>, Path(port): Path<String>, _caller: Caller) -> Answer {
    let port: u16 = port.parse().map_err(|_| ApiError::bad_request("Invalid port"))?;
    let ports: Vec<u16> = app.node.listeners().iter().map(|listener| listener.port).collect();
    if ports.contains(&port) {
        return reply(json!({"status": "ok", "port": port}));
    }
    failed("No active listener", json!({"missing": port, "ports": ports}))
}

async fn protocol(
    State(app): State<App>,
    Path(protocols): Path<String>,
    _caller: Caller,
) -> Answer {
    let listeners = app.node.listeners();
    let wanted: Vec<&str> = protocols.split(',').map(canonical).collect();
    let is_there = |name: &&str| listeners.iter().any(|listener| *listener.protocol == **name);
    let there: Vec<&str> = listeners.iter().map(|listener| &*listener.protocol).collect();
    if wanted.iter().any(is_there) {
        return reply(json!({"status": "ok", "protocols": there}));
    }
    failed("No active listener", json!({"missing": wanted, "protocols": there}))
}

/// RabbitMQ's name of a protocol that has several.
fn canonical(name: &str) -> &str {
    match name {
        "amqp091" | "amqp10" => "amqp",
        "amqps" | "amqp/tls" => "amqp/ssl",
        "prometheus" => "http/prometheus",
        other => other,
    }
}

/// Whether there is still a place for a client.
fn has_place(app: &App) -> bool {
    let connections = app.registry.totals().connections;
    app.node.connection_max().is_none_or(|max| connections < max)
}

async fn below_limit(State(app): State<App>) -> Answer {
    if has_place(&app) {
        return ok();
    }
    failed("node connection limit is reached", json!({}))
}

async fn ready(State(app): State<App>) -> Answer {
    if has_place(&app) { ok() } else { failed("the node does not serve clients", json!({})) }
}
