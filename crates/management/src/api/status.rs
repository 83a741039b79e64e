//! What tools ask of a broker's inside: feature flags, deprecated features, memory by use, the
//! statistics' reset, logging in by form. RabbitMQ's shapes around what there is here.

use super::{Answer, App, no_content, reply};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::list::ListQuery;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::Extensions;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_engine::topology::Topology;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// RabbitMQ 3.13's feature flags for what there is here. They cannot be turned off.
const FEATURE_FLAGS: [&str; 22] = [
    "classic_mirrored_queue_version",
    "classic_queue_type_delivery_support",
    "detailed_queues_endpoint",
    "direct_exchange_routing_v2",
    "drop_unroutable_metric",
    "empty_basic_get_metric",
    "feature_flags_v2",
    "implicit_default_bindings",
    "listener_records_in_ets",
    "maintenance_mode_status",
    "message_containers",
    "quorum_queue",
    "quorum_queue_non_voters",
    "restart_streams",
    "stream_filtering",
    "stream_queue",
    "stream_sac_coordinator_unblock_group",
    "stream_single_active_consumer",
    "stream_update_config_command",
    "tracking_records_in_ets",
    "user_limits",
    "virtual_host_metadata",
];

pub(super) async fn feature_flags(_caller: Caller, query: ListQuery) -> Answer {
    let show = |name: &&str| {
        json!({
            "name": name,
            "desc": "",
            "doc_url": "",
            "state": "enabled",
            "stability": "required",
            "require_level": "hard",
            "experiment_level": "supported",
            "callbacks": [],
            "provided_by": "rabbit",
        })
    };
    query.reply(FEATURE_FLAGS.iter().map(show).collect())
}

pub(super) async fn enable_feature_flag(Path(name): Path<String>, caller: Caller) -> Answer {
    caller.administrator()?;
    if FEATURE_FLAGS.contains(&&*name) {
        return no_content();
    }
    Err(ApiError::bad_request("unsupported"))
}

/// A feature that RabbitMQ deprecates, and whether the topology makes use of it.
struct Deprecated {
    name: &'static str,
    is_used: fn(&Topology) -> bool,
}

/// All of them are permitted: what any RabbitMQ since 3.8 kept is kept.
const DEPRECATED: [Deprecated; 5] = [
    Deprecated { name: "classic_queue_mirroring", is_used: mirrors },
    Deprecated { name: "global_qos", is_used: never },
    Deprecated { name: "management_metrics_collection", is_used: never },
    Deprecated { name: "queue_master_locator", is_used: locates },
    Deprecated { name: "transient_nonexcl_queues", is_used: has_transient },
];

fn never(_: &Topology) -> bool {
    false
}

fn mirrors(topology: &Topology) -> bool {
    topology
        .vhosts()
        .flat_map(|vhost| vhost.policies())
        .any(|policy| policy.definition.iter().any(|(key, _)| &**key == "ha-mode"))
}

fn locates(topology: &Topology) -> bool {
    topology
        .vhosts()
        .flat_map(|vhost| vhost.queues())
        .any(|queue| queue.arguments.contains_key("x-queue-master-locator"))
}

fn has_transient(topology: &Topology) -> bool {
    topology
        .vhosts()
        .flat_map(|vhost| vhost.queues())
        .any(|queue| !queue.durable && queue.exclusive_owner.is_none())
}

fn show_deprecated(feature: &Deprecated) -> Value {
    json!({
        "name": feature.name,
        "state": "permitted",
        "desc": "",
        "deprecation_phase": "permitted_by_default",
        "doc_url": "",
        "provided_by": "rabbit",
    })
}

pub(super) async fn deprecated_features(_caller: Caller, query: ListQuery) -> Answer {
    query.reply(DEPRECATED.iter().map(show_deprecated).collect())
}

pub(super) async fn deprecated_features_used(
    State(app): State<App>,
    _caller: Caller,
    query: ListQuery,
) -> Answer {
    let used = |topology: &Topology| {
        DEPRECATED.iter().filter(|one| (one.is_used)(topology)).map(show_deprecated).collect()
    };
    query.reply(app.read(used))
}

/// Bytes by use. What has no counterpart here is 0; what is counted nowhere is `other_system`.
struct Memory {
    uses: [(&'static str, u64); 25],
    rss: u64,
}

impl Memory {
    fn of(app: &App) -> Self {
        let queues: Vec<_> = app.read(|topology| {
            topology.vhosts().flat_map(|vhost| vhost.queues()).map(|queue| queue.id).collect()
        });
        let figures = queues.into_iter().filter_map(|id| app.registry.queue_figures(id));
        let messages: u64 = figures.map(|figures| figures.memory).sum();
        let store = app.node.store().map_or(0, |store| store.memory_bytes);
        let rss = app.node.resources().memory_used;
        let rest = rss.saturating_sub(messages).saturating_sub(store);
        let uses = [
            ("connection_readers", 0),
            ("connection_writers", 0),
            ("connection_channels", 0),
            ("connection_other", 0),
            ("queue_procs", messages),
            ("stream_queue_procs", 0),
            ("stream_queue_replica_reader_procs", 0),
            ("stream_queue_coordinator_procs", 0),
            ("quorum_queue_procs", 0),
            ("quorum_queue_dlx_procs", 0),
            ("plugins", 0),
            ("metadata_store", 0),
            ("other_proc", 0),
            ("metrics", 0),
            ("mgmt_db", 0),
            ("quorum_ets", 0),
            ("mnesia", 0),
            ("metadata_store_ets", 0),
            ("other_ets", 0),
            ("binary", 0),
            ("msg_index", store),
            ("code", 0),
            ("atom", 0),
            ("other_system", rest),
            ("allocated_unused", 0),
        ];
        Self { uses, rss }
    }

    fn fields(&self, of: impl Fn(u64) -> u64) -> Map<String, Value> {
        let uses = self.uses.iter().map(|(name, bytes)| ((*name).to_owned(), json!(of(*bytes))));
        let mut fields: Map<_, _> = uses.collect();
        fields.insert("reserved_unallocated".to_owned(), json!(0));
        fields
    }
}

/// A node's memory as `/nodes?memory=true` and the like show it.
pub(super) fn memory_of(app: &App) -> Value {
    let memory = Memory::of(app);
    let mut fields = memory.fields(|bytes| bytes);
    let rss = memory.rss;
    fields.insert("strategy".to_owned(), json!("rss"));
    fields.insert("total".to_owned(), json!({"erlang": rss, "rss": rss, "allocated": rss}));
    Value::Object(fields)
}

pub(super) async fn memory(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.monitor()?;
    app.known_node(&name)?;
    reply(json!({"memory": memory_of(&app)}))
}

pub(super) async fn memory_relative(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.monitor()?;
    app.known_node(&name)?;
    let memory = Memory::of(&app);
    let total = memory.rss.max(1);
    // rabbitmq: what is there at all is at least one part of a hundred
    let mut fields = memory.fields(|bytes| (bytes * 100).div_ceil(total).min(100));
    fields.insert("total".to_owned(), json!(100));
    reply(json!({"memory": fields}))
}

/// There is no copy of a queue elsewhere that could be moved.
pub(super) async fn rebalance(caller: Caller) -> Answer {
    caller.administrator()?;
    no_content()
}

/// Forgets the samples; the counters themselves are the broker's and never go down.
pub(super) async fn reset(State(app): State<App>, caller: Caller) -> Answer {
    caller.administrator()?;
    app.samples.reset();
    no_content()
}

pub(super) async fn reset_node(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    app.known_node(&name)?;
    reset(State(app), caller).await
}

pub(super) async fn start_vhost(
    State(app): State<App>,
    Path((vhost, node)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    app.look(&caller, &vhost, |_| ())?;
    if node != app.node.name() {
        return Err(ApiError::bad_request(format!("Unknown node: {node}")));
    }
    // A vhost runs as long as it exists.
    no_content()
}

/// A login as a form has it.
#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

pub(super) async fn login(
    State(app): State<App>,
    extensions: Extensions,
    Form(login): Form<Login>,
) -> Answer {
    let caller = Caller::log_in(&app, &extensions, &login.username, &login.password)?;
    let token = STANDARD.encode(format!("{}:{}", login.username, login.password));
    reply(json!({
        "user": super::users::show_caller(&caller),
        "token": {"type": "basic", "value": token},
    }))
}

/// The page forgets its token by itself; there is nothing to forget here.
pub(super) async fn logout() -> Answer {
    no_content()
}
