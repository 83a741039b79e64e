//! `/queues`: what they are, what they hold, declaring, deleting, purging.

use super::exchanges::Conditions;
use super::{Answer, App, no_content, reply, stats};
use crate::body::Fields;
use crate::caller::Caller;
use crate::counters;
use crate::error::ApiError;
use crate::json;
use crate::list::{ListQuery, Row};
use crate::samples::Subject;
use axum::extract::{Path, Query, State};
use leveret_engine::auth::Resource;
use leveret_engine::command::{Command, QueueDeclare};
use leveret_engine::names::strip;
use leveret_engine::policy::effective_definition;
use leveret_engine::{Permission, QueueCounts};

use leveret_engine::queue_meta::QueueMeta;
use leveret_engine::view::{DeleteOnly, QueueFigures};
use serde_json::{Value, json};
use std::sync::Arc;

/// A queue as lists show it.
fn show(app: &App, queue: &QueueMeta, query: &ListQuery) -> Value {
    let figures = app.registry.queue_figures(queue.id);
    let policies = [&queue.policy, &queue.operator_policy].map(Option::as_deref);
    let mut value = json!({
        "name": &*queue.name,
        "vhost": &*queue.vhost,
        "type": queue.kind.name(),
        "node": app.node.name(),
        "state": if figures.is_some() { "running" } else { "down" },
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.exclusive_owner.is_some(),
        "arguments": json::table(&queue.arguments),
        "policy": policies[0].map(|policy| &*policy.name),
        "operator_policy": policies[1].map(|policy| &*policy.name),
        "effective_policy_definition":
            json::definition(&effective_definition(policies[0], policies[1])),
    });
    put_constants(&mut value);
    if let Some(figures) = figures {
        put_figures(&mut value, &figures);
        let subject = Subject::Queue(queue.id);
        stats::put_lengths(app, &mut value, subject, query);
        let messages = counters::queue_messages(&figures);
        stats::put(&mut value, stats::of_messages(app, subject, &messages, query));
    }
    value
}

/// What tools read and what says nothing here: there is no Erlang process, and no queue that others own.
fn put_constants(value: &mut Value) {
    value["internal"] = json!(false);
    value["internal_owner"] = json!(false);
    value["reductions"] = json!(0);
    value["reductions_details"] = json!({"rate": 0.0});
    value["storage_version"] = json!(2);
}

fn put_figures(value: &mut Value, figures: &QueueFigures) {
    let counts = &figures.counts;
    for (key, n) in [
        ("messages", counts.ready + counts.unacked + counts.dead + counts.delayed),
        ("messages_ready", counts.ready),
        ("messages_unacknowledged", counts.unacked),
        (
            "message_bytes",
            counts.ready_bytes + counts.unacked_bytes + counts.dead_bytes + counts.delayed_bytes,
        ),
        ("message_bytes_ready", counts.ready_bytes),
        ("message_bytes_unacknowledged", counts.unacked_bytes),
        ("messages_dlx", counts.dead),
        ("message_bytes_dlx", counts.dead_bytes),
        ("messages_delayed", counts.delayed),
        ("message_bytes_delayed", counts.delayed_bytes),
        ("consumers", u64::from(counts.consumers)),
        ("memory", figures.memory),
    ] {
        value[key] = json!(n);
    }
    value["exclusive_consumer_tag"] = json!(figures.exclusive_consumer.as_deref());
    value["single_active_consumer_tag"] = json!(figures.single_active_consumer.as_deref());
}

/// Who owns an exclusive queue.
fn put_owner(app: &App, value: &mut Value, queue: &QueueMeta) {
    let Some(owner) = queue.exclusive_owner else { return };
    if let Some(connection) = app.registry.connections().into_iter().find(|c| c.id == owner) {
        value["owner_pid_details"] = super::connections::details(&connection);
    }
}

/// A queue in a list that may be long.
struct QueueRow<'a> {
    app: &'a App,
    queue: &'a QueueMeta,
    query: &'a ListQuery,
}

impl Row for QueueRow<'_> {
    fn name(&self) -> Option<&str> {
        Some(&self.queue.name)
    }

    fn column(&self, column: &str) -> Option<Value> {
        let count = |of: fn(&QueueCounts) -> u64| {
            let figures = self.app.registry.queue_figures(self.queue.id);
            json!(figures.map(|figures| of(&figures.counts)))
        };
        Some(match column {
            "name" => json!(&*self.queue.name),
            "vhost" => json!(&*self.queue.vhost),
            "type" => json!(self.queue.kind.name()),
            "durable" => json!(self.queue.durable),
            "messages" => count(|counts| counts.ready + counts.unacked),
            "messages_ready" => count(|counts| counts.ready),
            "messages_unacknowledged" => count(|counts| counts.unacked),
            "consumers" => count(|counts| counts.consumers.into()),
            _ => return None,
        })
    }

    fn show(&self) -> Value {
        show(self.app, self.queue, self.query)
    }
}

fn reply_list(app: &App, queues: &[Arc<QueueMeta>], query: &ListQuery) -> Answer {
    query.reply(queues.iter().map(|queue| QueueRow { app, queue, query }).collect())
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    let queues: Vec<Arc<QueueMeta>> = app.read(|topology| {
        let visible = topology.vhosts().filter(|vhost| caller.sees(topology, vhost.name()));
        visible.flat_map(|vhost| vhost.queues()).cloned().collect()
    });
    reply_list(&app, &queues, &query)
}

pub(super) async fn list_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let queues: Vec<Arc<QueueMeta>> = app.look(&caller, &vhost, |topology| {
        topology.vhost(&vhost).into_iter().flat_map(|v| v.queues()).cloned().collect()
    })?;
    reply_list(&app, &queues, &query)
}

/// A queue that the caller sees.
pub(super) fn find(
    app: &App,
    caller: &Caller,
    vhost: &str,
    name: &str,
) -> Result<Arc<QueueMeta>, ApiError> {
    let found = app.look(caller, vhost, |topology| {
        topology.vhost(vhost).and_then(|v| v.queue(name).cloned())
    })?;
    found.ok_or_else(ApiError::not_found)
}

pub(super) async fn one(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let queue = find(&app, &caller, &vhost, &name)?;
    let mut value = show(&app, &queue, &query);
    put_owner(&app, &mut value, &queue);
    for key in ["incoming", "deliveries"] {
        value[key] = json!([]);
    }
    value["garbage_collection"] = json!({});
    value["consumer_details"] =
        super::connections::show_consumers(&app, |consumer| consumer.queue == queue.id).into();
    reply(query.reduce_one(&value))
}

/// Reads what a body says of a queue.
pub(super) fn spec(
    vhost: &str,
    name: &str,
    fields: &Fields,
    durable: bool,
    user: &Arc<str>,
) -> Result<QueueDeclare, ApiError> {
    let durable = match fields.get("durable") {
        None => durable,
        Some(_) => fields.flag("durable")?,
    };
    Ok(QueueDeclare {
        vhost: vhost.into(),
        name: strip(name).into(),
        server_named: false,
        durable,
        exclusive_owner: None,
        auto_delete: fields.flag("auto_delete")?,
        arguments: fields.arguments()?,
        user: user.clone(),
        id: None,
    })
}

pub(super) async fn put(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    // rabbitmq: by HTTP the defaults are those of the AMQP method
    let declare = spec(&vhost, &name, &fields, false, caller.name())?;
    app.read(|topology| {
        caller.make_in(topology, &vhost)?;
        topology.authorise_queue_declare(caller.user(), &declare).map(drop).map_err(ApiError::from)
    })?;
    app.put(Command::DeclareQueue(declare)).await
}

fn check(
    app: &App,
    caller: &Caller,
    vhost: &str,
    name: &str,
    permission: Permission,
) -> Result<(), ApiError> {
    app.read(|topology| {
        caller.look_into(topology, vhost)?;
        topology
            .check(caller.user(), vhost, permission, Resource::Queue(name))
            .map_err(ApiError::from)
    })
}

/// An exclusive queue belongs to its connection; no one else may touch it.
fn check_not_exclusive(queue: &QueueMeta) -> Result<(), ApiError> {
    if queue.exclusive_owner.is_none() {
        return Ok(());
    }
    Err(leveret_engine::BrokerError::ResourceLocked(queue.resource()).into())
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    Query(only): Query<Conditions>,
    caller: Caller,
) -> Answer {
    let queue = find(&app, &caller, &vhost, &name)?;
    check(&app, &caller, &vhost, &name, Permission::Configure)?;
    check_not_exclusive(&queue)?;
    let only = DeleteOnly { if_unused: only.if_unused, if_empty: only.if_empty };
    app.propose.delete_queue(&vhost, &name, only).await?;
    no_content()
}

pub(super) async fn purge(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    let queue = find(&app, &caller, &vhost, &name)?;
    check(&app, &caller, &vhost, &name, Permission::Read)?;
    check_not_exclusive(&queue)?;
    app.propose.purge_queue(&vhost, &name).await?;
    no_content()
}
