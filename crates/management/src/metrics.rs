//! The Prometheus endpoint: RabbitMQ's names for what this node counts, written as text. Values are
//! the node's own, so that a sum over nodes is the cluster.

mod objects;
mod page;

use crate::State;
use axum::Router;
use axum::extract::{self, Query};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use leveret_engine::view::{AgreementView, Alarm, MessageStats, StoreView, Totals};
use objects::Wanted;
use page::Page;
use prometheus::TEXT_FORMAT;
use std::sync::Arc;

/// The label of everything that came over AMQP 0-9-1.
const PROTOCOL: [(&str, &str); 1] = [("protocol", "amqp091")];

pub(crate) fn router(state: Arc<State>, path: &str) -> Router {
    let path = path.trim_end_matches('/');
    let whole = if path.is_empty() { "/" } else { path };
    Router::new()
        .route(whole, get(aggregated))
        .route(&format!("{path}/per-object"), get(per_object))
        .route(&format!("{path}/detailed"), get(detailed))
        .route(&format!("{path}/{{registry}}"), get(unknown))
        .with_state(state)
}

type App = extract::State<Arc<State>>;

async fn aggregated(extract::State(state): App) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT_FORMAT)], render(&state, "aggregated"))
}

/// Everything, and of queues, channels and connections each one instead of their sums.
async fn per_object(extract::State(state): App) -> impl IntoResponse {
    let wanted = Wanted { prefix: "rabbitmq_", families: None, vhosts: Vec::new() };
    let mut text = render(&state, "per-object");
    text.push_str(&objects::text(&state, &wanted));
    ([(CONTENT_TYPE, TEXT_FORMAT)], text)
}

/// The groups of figures that the query names, of single objects; without a name none.
async fn detailed(
    extract::State(state): App,
    Query(pairs): Query<Vec<(String, String)>>,
) -> impl IntoResponse {
    let all = |key: &str| {
        let those = pairs.iter().filter(|(name, _)| name == key);
        those.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let wanted = Wanted {
        prefix: "rabbitmq_detailed_",
        families: Some(all("family")),
        vhosts: all("vhost"),
    };
    let mut page = Page::new();
    identity(&state, "detailed", &mut page);
    let mut text = page.text();
    text.push_str(&objects::text(&state, &wanted));
    ([(CONTENT_TYPE, TEXT_FORMAT)], text)
}

// rabbitmq: a registry that there is not
async fn unknown() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "Unknown Registry")
}

/// The figures of the node. Those of queues, channels and connections are left out where single ones follow.
fn render(state: &State, endpoint: &str) -> String {
    let sums = endpoint == "aggregated";
    let totals = state.registry.totals();
    let mut page = Page::new();
    identity(state, endpoint, &mut page);
    objects(&totals, &mut page);
    process(state, &totals, &mut page);
    if sums {
        bytes(&totals, &mut page);
        messages(&totals, &mut page);
        channels(&totals.messages, &mut page);
        page.gauge("channel_consumers", "Consumers on a channel", totals.consumers);
    }
    global(&totals, &mut page);
    publishers(state, &totals, &mut page);
    streams(&mut page);
    if let Some(agreement) = state.node.agreement() {
        self::agreement(&agreement, &mut page);
    }
    if let Some(store) = state.node.store() {
        self::store(&store, &mut page);
    }
    page.text()
}

/// Who publishes, and how large what they publish is.
fn publishers(state: &State, totals: &Totals, page: &mut Page) {
    let channels = state.registry.channels();
    let publishing = channels.iter().filter(|channel| channel.stats.publish > 0).count() as u64;
    let help = "Publishers currently connected";
    page.labelled_gauge("global_publishers", help, &PROTOCOL, publishing);
    let help = "Size of messages received from publishers";
    page.message_sizes(help, PROTOCOL[0].1, &totals.published_sizes, totals.published_bytes);
}

/// Errors of RabbitMQ's stream protocol.
const STREAM_ERRORS: [&str; 17] = [
    "access_refused",
    "authentication_failure",
    "frame_too_large",
    "internal_error",
    "precondition_failed",
    "publisher_does_not_exist",
    "sasl_authentication_failure_loopback",
    "sasl_challenge",
    "sasl_error",
    "sasl_mechanism_not_supported",
    "stream_already_exists",
    "stream_does_not_exist",
    "stream_not_available",
    "subscription_id_already_exists",
    "subscription_id_does_not_exist",
    "unknown_frame",
    "vhost_access_failure",
];

/// The stream protocol is not spoken, so its figures are 0; RabbitMQ's dashboard of streams asks for them.
fn streams(page: &mut Page) {
    for error in STREAM_ERRORS {
        let help = "Total number of errors of the stream protocol";
        page.counter(&format!("global_stream_error_{error}_total"), help, 0);
    }
}

/// Agreement on topology is the one group of Raft that there is.
fn agreement(agreement: &AgreementView, page: &mut Page) {
    page.counter("raft_term_total", "Current Raft term number", agreement.term);
    page.gauge("raft_term", "Current Raft term number", agreement.term);
    // RabbitMQ 4.2 renamed these.
    for (names, help, n) in [
        (
            ["raft_log_snapshot_index", "raft_snapshot_index"],
            "Raft log snapshot index",
            agreement.snapshot,
        ),
        (
            ["raft_log_last_applied_index", "raft_last_applied"],
            "Raft log last applied index",
            agreement.last_applied,
        ),
        (
            ["raft_log_commit_index", "raft_commit_index"],
            "Raft log commit index",
            agreement.last_applied,
        ),
        (
            ["raft_log_last_written_index", "raft_last_written_index"],
            "Raft log last written index",
            agreement.last_written,
        ),
    ] {
        for name in names {
            page.gauge(name, help, n);
        }
    }
    for name in ["raft_entry_commit_latency_seconds", "raft_commit_latency_seconds"] {
        let help = "Time taken for a log entry to be committed";
        page.float(name, help, agreement.commit_latency_seconds);
    }
}

/// What RabbitMQ has no figures for: the store of messages.
fn store(store: &StoreView, page: &mut Page) {
    let name = "leveret_store_sync_seconds";
    page.histogram(name, "How long the disk took to sync a group commit", &store.sync_seconds);
    let name = "leveret_store_group_bytes";
    page.histogram(name, "Bytes written by one group commit", &store.group_bytes);
    for (name, help, n) in [
        ("leveret_store_groups_total", "Group commits written", store.groups),
        ("leveret_store_slow_writes_total", "Writes that were held up", store.slow_writes),
    ] {
        page.counter(name, help, n);
    }
    for (name, help, n) in [
        (
            "leveret_store_window_records",
            "Group commits whose records are still needed",
            store.window_records,
        ),
        ("leveret_store_window_bytes", "Bytes of these records", store.window_bytes),
        ("leveret_store_chunks", "Chunks of messages that outlived their records", store.chunks),
        ("leveret_store_disk_bytes", "Bytes of tables and blobs on disk", store.disk_bytes),
        ("leveret_store_memory_bytes", "Bytes of the store's memory tables", store.memory_bytes),
    ] {
        page.gauge(name, help, n);
    }
}

fn identity(state: &State, endpoint: &str, page: &mut Page) {
    let node = &*state.node;
    page.info(
        "build_info",
        "RabbitMQ & Erlang/OTP version info",
        &[
            ("rabbitmq_version", node.product_version()),
            ("prometheus_plugin_version", node.product_version()),
            ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
            ("erlang_version", "26.2.5"),
            ("product_name", "leveret"),
            ("product_version", env!("CARGO_PKG_VERSION")),
        ],
    );
    // Every panel of RabbitMQ's dashboards multiplies by this one series.
    let cluster = node.cluster_name();
    page.info(
        "identity_info",
        "RabbitMQ node & cluster identity info",
        &[
            ("rabbitmq_node", node.name()),
            ("rabbitmq_cluster", &cluster),
            ("rabbitmq_cluster_permanent_id", &cluster),
            ("rabbitmq_endpoint", endpoint),
        ],
    );
}

fn objects(totals: &Totals, page: &mut Page) {
    page.gauge("connections", "Connections currently open", totals.connections);
    page.gauge("channels", "Channels currently open", totals.channels);
    page.gauge("consumers", "Consumers currently connected", totals.consumers);
    page.gauge("queues", "Queues available", totals.queues);
    for (name, help, n) in [
        (
            "connections_opened_total",
            "Total number of connections opened",
            totals.connections_opened,
        ),
        (
            "connections_closed_total",
            "Total number of connections closed or terminated",
            totals.connections_closed,
        ),
        ("channels_opened_total", "Total number of channels opened", totals.channels_opened),
        ("channels_closed_total", "Total number of channels closed", totals.channels_closed),
        ("queues_declared_total", "Total number of queues declared", totals.queues_declared),
        ("queues_created_total", "Total number of queues created", totals.queues_created),
        ("queues_deleted_total", "Total number of queues deleted", totals.queues_deleted),
    ] {
        page.counter(name, help, n);
    }
}

fn bytes(totals: &Totals, page: &mut Page) {
    for (name, help, n) in [
        (
            "connection_incoming_bytes_total",
            "Total number of bytes received on connections",
            totals.received_bytes,
        ),
        (
            "connection_outgoing_bytes_total",
            "Total number of bytes sent on connections",
            totals.sent_bytes,
        ),
    ] {
        page.counter(name, help, n);
    }
}

fn process(state: &State, totals: &Totals, page: &mut Page) {
    let resources = state.node.resources();
    for (name, help, n) in [
        ("process_open_fds", "Open file descriptors", resources.descriptors_used),
        ("process_max_fds", "Open file descriptors limit", resources.descriptors_total),
        ("process_open_tcp_sockets", "Open TCP sockets", totals.connections),
        ("process_max_tcp_sockets", "Open TCP sockets limit", resources.sockets_total),
        ("process_resident_memory_bytes", "Memory used in bytes", resources.memory_used),
        ("resident_memory_limit_bytes", "Memory high watermark in bytes", resources.memory_limit),
        ("disk_space_available_bytes", "Disk space available in bytes", resources.disk_free),
        (
            "disk_space_available_limit_bytes",
            "Free disk space low watermark in bytes",
            resources.disk_limit,
        ),
        ("erlang_uptime_seconds", "Node uptime", state.node.uptime_ms() / 1000),
    ] {
        page.gauge(name, help, n);
    }
    let alarms = state.node.alarms();
    for (name, help, alarm) in [
        (
            "alarms_free_disk_space_watermark",
            "is 1 if free disk space watermark alarm is in effect",
            Alarm::Disk,
        ),
        (
            "alarms_memory_used_watermark",
            "is 1 if VM memory watermark alarm is in effect",
            Alarm::Memory,
        ),
    ] {
        page.gauge(name, help, u64::from(alarms.contains(&alarm)));
    }
}

fn messages(totals: &Totals, page: &mut Page) {
    for (name, help, n) in [
        ("queue_messages_ready", "Messages ready to be delivered to consumers", totals.ready),
        (
            "queue_messages_unacked",
            "Messages delivered to consumers but not yet acknowledged",
            totals.unacked,
        ),
        (
            "queue_messages",
            "Sum of ready and unacknowledged messages - total queue depth",
            totals.ready + totals.unacked,
        ),
        ("queue_messages_ready_bytes", "Size in bytes of ready messages", totals.ready_bytes),
        (
            "queue_messages_unacked_bytes",
            "Size in bytes of all unacknowledged messages",
            totals.unacked_bytes,
        ),
        (
            "queue_messages_bytes",
            "Size in bytes of ready and unacknowledged messages",
            totals.ready_bytes + totals.unacked_bytes,
        ),
        ("queue_consumers", "Consumers on a queue", totals.consumers),
    ] {
        page.gauge(name, help, n);
    }
}

fn channels(stats: &MessageStats, page: &mut Page) {
    for (name, help, n) in [
        (
            "channel_messages_published_total",
            "Total number of messages published into an exchange on a channel",
            stats.publish,
        ),
        (
            "channel_messages_confirmed_total",
            "Total number of messages published into an exchange and confirmed on the channel",
            stats.confirm,
        ),
        (
            "channel_messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the \
             publisher as unroutable",
            stats.return_unroutable,
        ),
        (
            "channel_messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as \
             unroutable",
            stats.drop_unroutable,
        ),
        (
            "channel_get_ack_total",
            "Total number of messages fetched with basic.get in manual acknowledgement mode",
            stats.get,
        ),
        (
            "channel_get_total",
            "Total number of messages fetched with basic.get in automatic acknowledgement mode",
            stats.get_no_ack,
        ),
        (
            "channel_get_empty_total",
            "Total number of times basic.get operations fetched no message",
            stats.get_empty,
        ),
        (
            "channel_messages_delivered_ack_total",
            "Total number of messages delivered to consumers in manual acknowledgement mode",
            stats.deliver,
        ),
        (
            "channel_messages_delivered_total",
            "Total number of messages delivered to consumers in automatic acknowledgement mode",
            stats.deliver_no_ack,
        ),
        (
            "channel_messages_redelivered_total",
            "Total number of messages redelivered to consumers",
            stats.redeliver,
        ),
        (
            "channel_messages_acked_total",
            "Total number of messages acknowledged by consumers",
            stats.ack,
        ),
    ] {
        page.counter(name, help, n);
    }
}

fn global(totals: &Totals, page: &mut Page) {
    let stats = &totals.messages;
    let unroutable = stats.drop_unroutable + stats.return_unroutable;
    let delivered = stats.deliver + stats.deliver_no_ack + stats.get + stats.get_no_ack;
    for (name, help, n) in [
        ("received", "Total number of messages received from publishers", stats.publish),
        (
            "routed",
            "Total number of messages routed to queues or streams",
            stats.publish.saturating_sub(unroutable),
        ),
        (
            "unroutable_dropped",
            "Total number of messages published as non-mandatory and dropped as unroutable",
            stats.drop_unroutable,
        ),
        (
            "unroutable_returned",
            "Total number of messages published as mandatory and returned as unroutable",
            stats.return_unroutable,
        ),
        // Counted when they are answered, which is a moment later.
        (
            "received_confirm",
            "Total number of messages received from publishers using confirms",
            stats.confirm,
        ),
        ("confirmed", "Total number of messages confirmed to publishers", stats.confirm),
        ("delivered", "Total number of messages delivered to consumers", delivered),
        (
            "delivered_consume_manual_ack",
            "Total number of messages delivered to consumers using basic.consume with manual \
             acknowledgment",
            stats.deliver,
        ),
        (
            "delivered_consume_auto_ack",
            "Total number of messages delivered to consumers using basic.consume with automatic \
             acknowledgment",
            stats.deliver_no_ack,
        ),
        (
            "delivered_get_manual_ack",
            "Total number of messages delivered to consumers using basic.get with manual \
             acknowledgment",
            stats.get,
        ),
        (
            "delivered_get_auto_ack",
            "Total number of messages delivered to consumers using basic.get with automatic \
             acknowledgment",
            stats.get_no_ack,
        ),
        (
            "get_empty",
            "Total number of times basic.get operations fetched no message",
            stats.get_empty,
        ),
        ("redelivered", "Total number of messages redelivered to consumers", stats.redeliver),
        ("acknowledged", "Total number of message acknowledgements received", stats.ack),
    ] {
        page.labelled_counter(&format!("global_messages_{name}_total"), help, &PROTOCOL, n);
    }
    page.labelled_gauge(
        "global_consumers",
        "Consumers currently connected",
        &PROTOCOL,
        totals.consumers,
    );
}
