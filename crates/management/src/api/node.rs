//! The broker as a whole: `/overview`, `/nodes`, the cluster's name, the version.

use super::{Answer, App, no_content, reply, stats};
use crate::body::Fields;
use crate::caller::Caller;
use crate::counters;
use crate::list::ListQuery;
use crate::samples::Subject;
use axum::extract::{Path, Query, State};
use leveret_engine::command::Command;
use leveret_engine::exchange::ExchangeKind;
use leveret_engine::view::{Alarm, NodeView, Totals};
use serde::Deserialize;
use serde_json::{Value, json};

/// What stands where RabbitMQ names its Erlang; tools parse a number from its start.
const ERLANG_VERSION: &str = "26.2.5";

/// The limit of Erlang's processes in RabbitMQ; here it is none, and tools divide by it.
const PROCESSES_MAX: u32 = 1 << 20;

/// What RabbitMQ counts of Erlang and of files that are not here; dashboards want the fields.
const ERLANG_COUNTERS: [&str; 21] = [
    "gc_num",
    "gc_bytes_reclaimed",
    "context_switches",
    "io_read_count",
    "io_read_bytes",
    "io_read_avg_time",
    "io_write_count",
    "io_write_bytes",
    "io_write_avg_time",
    "io_sync_count",
    "io_sync_avg_time",
    "io_seek_count",
    "io_seek_avg_time",
    "io_reopen_count",
    "mnesia_ram_tx_count",
    "mnesia_disk_tx_count",
    "msg_store_read_count",
    "msg_store_write_count",
    "queue_index_write_count",
    "queue_index_read_count",
    "queue_index_journal_write_count",
];

/// The global parameter that renames the cluster.
const CLUSTER_NAME: &str = "cluster_name";

pub(super) async fn overview(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    let totals = app.registry.totals();
    let exchanges = app.read(|topology| {
        let visible = topology.vhosts().filter(|vhost| caller.sees(topology, vhost.name()));
        visible.map(|vhost| vhost.exchanges().count()).sum::<usize>()
    });
    let mut overview = json!({
        "management_version": app.node.product_version(),
        "rates_mode": "basic",
        "sample_retention_policies": {"global": [600, 3600, 28800, 86400], "basic": [600, 3600], "detailed": [600]},
        "exchange_types": exchange_types(),
        "product_version": app.node.product_version(),
        "product_name": "RabbitMQ",
        "rabbitmq_version": app.node.product_version(),
        "cluster_name": app.node.cluster_name(),
        "cluster_tags": {},
        "node_tags": {},
        "crypto_lib_version": "",
        "require_definition_json_extension": false,
        "erlang_version": ERLANG_VERSION,
        "erlang_full_version": format!("leveret {}", env!("CARGO_PKG_VERSION")),
        "release_series_support_status": "supported",
        "disable_stats": false,
        "default_queue_type": "classic",
        "is_op_policy_updating_enabled": true,
        "enable_queue_totals": false,
        "message_stats": stats::of_messages(&app, Subject::Node, &totals.messages, &query),
        "churn_rates": churn(&app, &totals, &query),
        "queue_totals": {
            "messages": totals.ready + totals.unacked,
            "messages_ready": totals.ready,
            "messages_unacknowledged": totals.unacked,
        },
        "object_totals": {
            "connections": totals.connections,
            "channels": totals.channels,
            "exchanges": exchanges,
            "queues": totals.queues,
            "consumers": totals.consumers,
        },
        "statistics_db_event_queue": 0,
    });
    stats::put_lengths(&app, &mut overview["queue_totals"], Subject::Node, &query);
    if caller.is_monitor() {
        overview["node"] = json!(app.node.name());
        overview["listeners"] = listeners(&*app.node);
        overview["contexts"] = contexts(&*app.node);
    }
    reply(query.reduce_one(&overview))
}

fn churn(app: &App, totals: &Totals, query: &ListQuery) -> Value {
    let values = counters::churn(totals);
    let fields = counters::CHURN.iter().zip(values);
    let mut churn = fields.map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    stats::put_churn(app, &mut churn, query);
    churn
}

fn exchange_types() -> Vec<Value> {
    ExchangeKind::ALL
        .iter()
        .map(|kind| {
            let name = kind.name();
            json!({"name": name, "description": format!("AMQP {name} exchange, as per the AMQP specification"), "enabled": true})
        })
        .collect()
}

fn listeners(node: &dyn NodeView) -> Value {
    node.listeners()
        .iter()
        .map(|listener| {
            json!({
                "node": node.name(),
                "protocol": &*listener.protocol,
                "ip_address": &*listener.ip,
                "port": listener.port,
                "socket_opts": {"nodelay": true},
            })
        })
        .collect()
}

fn contexts(node: &dyn NodeView) -> Value {
    node.listeners()
        .iter()
        .filter_map(|listener| {
            let description = match &*listener.protocol {
                "http" | "https" => "RabbitMQ Management",
                "http/prometheus" => "RabbitMQ Prometheus",
                _ => return None,
            };
            Some(json!({
                "node": node.name(),
                "description": description,
                "path": "/",
                "ip": &*listener.ip,
                "port": listener.port.to_string(),
                "cowboy_opts": "",
                "ssl_opts": [],
            }))
        })
        .collect()
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.monitor()?;
    query.reply(vec![node(&app, &query)])
}

pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    query: ListQuery,
    Query(memory): Query<WithMemory>,
) -> Answer {
    caller.monitor()?;
    app.known_node(&name)?;
    let mut shown = node(&app, &query);
    put_store(&mut shown, &*app.node);
    if memory.memory.as_deref() == Some("true") {
        shown["memory"] = super::status::memory_of(&app);
    }
    reply(query.reduce_one(&shown))
}

/// Whether a node is to be shown with what its memory is used for.
#[derive(Deserialize)]
pub(super) struct WithMemory {
    memory: Option<String>,
}

/// The message store, which RabbitMQ has no fields for.
fn put_store(value: &mut Value, node: &dyn NodeView) {
    let Some(store) = node.store() else { return };
    let syncs = store.sync_seconds.count.max(1) as f64;
    value["leveret_store"] = json!({
        "groups": store.groups,
        "sync_micros_mean": (store.sync_seconds.sum * 1e6 / syncs).round() as u64,
        "window_records": store.window_records,
        "window_bytes": store.window_bytes,
        "chunks": store.chunks,
        "disk_bytes": store.disk_bytes,
        "memory_bytes": store.memory_bytes,
        "slow_writes": store.slow_writes,
    });
}

fn node(app: &App, query: &ListQuery) -> Value {
    let node = &*app.node;
    let totals = &app.registry.totals();
    let resources = node.resources();
    let alarms = node.alarms();
    let mut value = json!({
        "name": node.name(),
        "type": "disc",
        "running": true,
        "being_drained": false,
        "os_pid": resources.os_pid.to_string(),
        "fd_total": resources.descriptors_total,
        "fd_used": resources.descriptors_used,
        "sockets_total": resources.sockets_total,
        "sockets_used": totals.connections,
        "mem_limit": resources.memory_limit,
        "mem_used": resources.memory_used,
        "mem_alarm": alarms.contains(&Alarm::Memory),
        "mem_calculation_strategy": "rss",
        "disk_free": resources.disk_free,
        "disk_free_limit": resources.disk_limit,
        "disk_free_alarm": alarms.contains(&Alarm::Disk),
        "rates_mode": "basic",
        "uptime": node.uptime_ms(),
        "run_queue": 0,
        "processors": resources.processors,
        "exchange_types": exchange_types(),
        "auth_mechanisms": [
            {"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
            {"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
        ],
        "applications": [{"name": "rabbit", "description": "leveret", "version": node.product_version()}],
        "contexts": contexts(node),
        "log_files": [],
        "config_files": [],
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_prometheus"],
        "partitions": [],
        "cluster_links": [],
        "net_ticktime": 60,
        "metrics_gc_queue_length": {},
        "ra_open_file_metrics": {"ra_log_wal": 0, "ra_log_segment_writer": 0},
        "rabbitmq_version": node.product_version(),
        "erlang_version": ERLANG_VERSION,
        "erlang_full_version": format!("leveret {}", env!("CARGO_PKG_VERSION")),
        "crypto_lib_version": "",
        // What RabbitMQ has a process for, and the broker itself.
        "proc_used": 1 + totals.connections + totals.channels + totals.queues,
        "proc_total": PROCESSES_MAX,
    });
    for name in ERLANG_COUNTERS {
        value[name] = json!(0);
        value[format!("{name}_details")] = json!({"rate": 0.0});
    }
    for name in ["mem_used", "fd_used", "sockets_used", "disk_free", "proc_used"] {
        value[format!("{name}_details")] = json!({"rate": 0.0});
    }
    if let (Some(value), Value::Object(churn)) = (value.as_object_mut(), churn(app, totals, query))
    {
        value.extend(churn);
    }
    value
}

pub(super) async fn cluster_name(State(app): State<App>, _caller: Caller) -> Answer {
    reply(json!({"name": app.node.cluster_name()}))
}

pub(super) async fn put_cluster_name(
    State(app): State<App>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    let value = fields.needed_text("name")?.into();
    app.propose.propose(Command::PutGlobalParameter { name: CLUSTER_NAME.into(), value }).await?;
    no_content()
}

pub(super) async fn version(State(app): State<App>) -> String {
    app.node.product_version().to_owned()
}

pub(super) async fn extensions(_caller: Caller) -> Answer {
    reply(json!([{"javascript": "dispatcher.js"}]))
}
