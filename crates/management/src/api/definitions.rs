//! `/definitions`: the whole topology as one document, and back. An export is a read; how a document comes in is in
//! `definitions/import.rs`.

mod import;

use super::{Answer, App, no_content, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use axum::extract::{Path, State};
use import::Import;
use leveret_engine::command::Destination;
use leveret_engine::topology::{Binding, Topology, Vhost};
use serde_json::{Map, Value, json};

pub(super) async fn export(State(app): State<App>, caller: Caller) -> Answer {
    caller.administrator()?;
    let version = app.node.product_version();
    let cluster = app.node.cluster_name();
    reply(app.read(|topology| whole(topology, version, &cluster)))
}

pub(super) async fn export_vhost(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    let version = app.node.product_version();
    let found = app.read(|topology| {
        topology.vhost(&name).map(|vhost| {
            let mut document = head(version, "single_virtual_host");
            let explanation = format!("Definitions of virtual host '{name}'");
            document.insert("explanation".to_owned(), json!(explanation));
            document.insert("original_vhost_name".to_owned(), json!(name));
            document.extend(facts(vhost));
            objects(topology, &[vhost], &mut document);
            strip_vhost(&mut document);
            document
        })
    });
    reply(Value::Object(found.ok_or_else(|| ApiError::bad_request("vhost_not_found"))?))
}

fn head(version: &str, format: &str) -> Map<String, Value> {
    let Value::Object(head) = json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "RabbitMQ",
        "product_version": version,
        "rabbitmq_definition_format": format,
    }) else {
        return Map::new();
    };
    head
}

fn whole(topology: &Topology, version: &str, cluster: &str) -> Value {
    let mut document = head(version, "cluster");
    let mut put = |key: &str, value: Vec<Value>| {
        document.insert(key.to_owned(), Value::Array(value));
    };
    put("users", topology.users().map(super::users::show).collect());
    put("vhosts", topology.vhosts().map(show_vhost).collect());
    let permissions = topology.permissions().map(|p| super::permissions::show(&p.spec()));
    put("permissions", permissions.collect());
    let topics = topology.vhosts().flat_map(|vhost| vhost.topic_permissions());
    let topics = topics.map(|p| super::permissions::show_topic(&p.spec));
    put("topic_permissions", topics.collect());
    // rabbitmq: global parameters of the broker itself stay at home
    let mut globals = super::parameters::all_globals(topology);
    globals.retain(|global| !global["name"].as_str().is_some_and(|n| n.starts_with("internal")));
    put("global_parameters", globals);
    document.insert("original_cluster_name".to_owned(), json!(cluster));
    let explanation = format!("Definitions of cluster '{cluster}'");
    document.insert("explanation".to_owned(), json!(explanation));
    let vhosts: Vec<&Vhost> = topology.vhosts().collect();
    objects(topology, &vhosts, &mut document);
    Value::Object(document)
}

fn show_vhost(vhost: &Vhost) -> Value {
    let mut shown = facts(vhost);
    shown.insert("name".to_owned(), json!(&**vhost.name()));
    Value::Object(shown)
}

/// What a vhost is, besides its name.
fn facts(vhost: &Vhost) -> Map<String, Value> {
    let info = vhost.info();
    let tags: Vec<&str> = info.tags.iter().map(|tag| &**tag).collect();
    let kind = info.default_queue_type.unwrap_or_default().name();
    let mut facts = Map::new();
    // Older importers read them beside the name.
    let metadata =
        json!({"description": &*info.description, "tags": tags, "default_queue_type": kind});
    facts.insert("description".to_owned(), json!(&*info.description));
    facts.insert("tags".to_owned(), json!(tags));
    facts.insert("metadata".to_owned(), metadata);
    facts.insert("limits".to_owned(), Value::Object(super::limits::of_vhost(vhost)));
    facts
}

/// What lives in vhosts: parameters, policies, exchanges, queues, bindings.
fn objects(topology: &Topology, vhosts: &[&Vhost], document: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Vec<Value>| {
        document.insert(key.to_owned(), Value::Array(value));
    };
    let parameters = vhosts.iter().flat_map(|vhost| {
        let mut all = super::parameters::of_vhost(topology, vhost.name());
        all.extend(vhost.operator_policies().map(|policy| operator_policy(vhost, policy)));
        all
    });
    put("parameters", parameters.collect());
    let policies = vhosts.iter().flat_map(|vhost| vhost.policies());
    put("policies", policies.map(|policy| super::policies::show(policy)).collect());
    let queues = vhosts.iter().flat_map(|vhost| vhost.queues());
    put(
        "queues",
        queues
            .filter(|queue| queue.exclusive_owner.is_none())
            .map(|queue| {
                json!({
                    "name": &*queue.name,
                    "vhost": &*queue.vhost,
                    "durable": queue.durable,
                    "auto_delete": queue.auto_delete,
                    "arguments": json::table(&queue.shown_arguments()),
                    "type": queue.kind.name(),
                })
            })
            .collect(),
    );
    let exchanges = vhosts.iter().flat_map(|vhost| vhost.exchanges());
    let own = exchanges.filter(|exchange| !is_reserved(&exchange.name) && !exchange.internal);
    put(
        "exchanges",
        own.map(|exchange| {
            json!({
                "name": &*exchange.name,
                "vhost": &*exchange.vhost,
                "type": exchange.kind.name(),
                "durable": exchange.durable,
                "auto_delete": exchange.auto_delete,
                "internal": exchange.internal,
                "arguments": json::table(&exchange.arguments),
            })
        })
        .collect(),
    );
    put("bindings", vhosts.iter().flat_map(|vhost| bindings(vhost)).collect());
}

fn bindings(vhost: &Vhost) -> Vec<Value> {
    let lasting = vhost.bindings().filter(|binding| !leads_to_exclusive(vhost, binding));
    let shown = lasting.map(|binding| {
        let mut shown = super::bindings::show(vhost.name(), &binding);
        if let Some(fields) = shown.as_object_mut() {
            fields.shift_remove("properties_key");
        }
        shown
    });
    shown.collect()
}

fn leads_to_exclusive(vhost: &Vhost, binding: &Binding) -> bool {
    let Destination::Queue(name) = &binding.destination else { return false };
    vhost.queue(name).is_some_and(|queue| queue.exclusive_owner.is_some())
}

fn operator_policy(vhost: &Vhost, policy: &leveret_engine::policy::Policy) -> Value {
    let mut value = super::policies::show(policy);
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("vhost");
        fields.shift_remove("name");
    }
    json!({
        "vhost": &**vhost.name(),
        "component": "operator_policy",
        "name": &*policy.name,
        "value": value,
    })
}

fn is_reserved(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}

/// Entries of a document of one vhost do not name it.
fn strip_vhost(document: &mut Map<String, Value>) {
    for entries in document.values_mut().filter_map(Value::as_array_mut) {
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            entry.shift_remove("vhost");
        }
    }
}

pub(super) async fn import(
    State(app): State<App>,
    caller: Caller,
    fields: Result<Fields, ApiError>,
) -> Answer {
    caller.administrator()?;
    let fields = fields.map_err(unparsed)?;
    Import::new(&app, &caller, None, &fields).run(&fields).await?;
    no_content()
}

/// RabbitMQ's definitions have words of their own for what is no JSON.
fn unparsed(error: ApiError) -> ApiError {
    if error == ApiError::not_json() {
        ApiError::bad_request("failed_to_parse_json")
    } else {
        error
    }
}

/// Takes in a document that the account of the broker's own files has given.
///
/// # Errors
/// What is wrong with it, for the person who wrote it.
pub(crate) async fn import_bytes(app: &App, document: &[u8]) -> Result<(), String> {
    let caller = Caller::trusted();
    let import = async {
        let fields = Fields::parse(document)?;
        Import::new(app, &caller, None, &fields).run(&fields).await
    };
    import.await.map_err(|error: ApiError| error.reason())
}

pub(super) async fn import_vhost(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    fields: Result<Fields, ApiError>,
) -> Answer {
    caller.administrator()?;
    let fields = fields.map_err(unparsed)?;
    app.look(&caller, &vhost, |_| ()).map_err(|error| error.or_missing("vhost_not_found"))?;
    Import::new(&app, &caller, Some(&vhost), &fields).run(&fields).await?;
    no_content()
}
