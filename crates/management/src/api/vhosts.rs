//! `/vhosts`.

use super::{Answer, App, no_content, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use leveret_engine::command::{Command, VhostSpec};
use leveret_engine::topology::Vhost;
use leveret_engine::{QueueId, QueueKind};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    let rows: Vec<_> = app.read(|topology| {
        let visible = topology.vhosts().filter(|vhost| caller.sees(topology, vhost.name()));
        visible.map(|vhost| row(vhost, app.node.name())).collect()
    });
    query.reply(rows.into_iter().map(|row| with_messages(&app, row)).collect())
}

pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    let row = app.read(|topology| topology.vhost(&name).map(|vhost| row(vhost, app.node.name())));
    let row = row.ok_or_else(ApiError::not_found)?;
    reply(query.reduce_one(&with_messages(&app, row)))
}

/// A vhost and the queues whose messages are to be counted when the topology is no longer held.
type Row = (Value, Vec<QueueId>);

fn row(vhost: &Vhost, node: &str) -> Row {
    let info = vhost.info();
    let kind = info.default_queue_type.unwrap_or_default().name();
    let tags: Vec<&str> = info.tags.iter().map(|tag| &**tag).collect();
    let value = json!({
        "name": &*info.name,
        "description": &*info.description,
        "tags": tags,
        "default_queue_type": kind,
        "metadata": {
            "description": &*info.description,
            "tags": tags,
            "default_queue_type": kind,
        },
        "tracing": info.tracing,
        "protected_from_deletion": info.protected,
        "cluster_state": {node: "running"},
    });
    (value, vhost.queues().map(|queue| queue.id).collect())
}

fn with_messages(app: &App, (mut value, queues): Row) -> Value {
    let (mut ready, mut unacked) = (0, 0);
    for figures in queues.into_iter().filter_map(|id| app.registry.queue_figures(id)) {
        ready += figures.counts.ready;
        unacked += figures.counts.unacked;
    }
    value["messages"] = json!(ready + unacked);
    value["messages_ready"] = json!(ready);
    value["messages_unacknowledged"] = json!(unacked);
    value
}

pub(super) async fn put(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    let before = app.read(|topology| topology.vhost(&name).map(spec));
    let is_new = before.is_none();
    let spec = changed(before.unwrap_or_default(), &name, &fields)?;
    let answer = app.put(Command::PutVhost(spec)).await?;
    if is_new {
        give_creator_access(&app, &caller, &name).await?;
    }
    if fields.get("tracing").is_some() {
        let on = fields.flag("tracing")?;
        app.propose.propose(Command::SetTracing { vhost: name.into(), on }).await?;
    }
    Ok(answer)
}

/// Whoever creates a vhost may use it.
// rabbitmq: rabbit_mgmt_wm_vhost put
async fn give_creator_access(app: &App, caller: &Caller, vhost: &str) -> Result<(), ApiError> {
    if caller.user().operator {
        return Ok(());
    }
    let everything: Arc<str> = ".*".into();
    let permission = leveret_engine::command::PermissionSpec {
        user: caller.name().clone(),
        vhost: vhost.into(),
        configure: everything.clone(),
        write: everything.clone(),
        read: everything,
    };
    app.propose.propose(Command::SetPermission(permission)).await?;
    Ok(())
}

/// A vhost as the command that would make it.
fn spec(vhost: &Vhost) -> VhostSpec {
    let info = vhost.info();
    VhostSpec {
        name: info.name.clone(),
        description: info.description.clone(),
        tags: info.tags.clone(),
        default_queue_type: info.default_queue_type,
        protected: info.protected,
    }
}

/// What a body makes of a vhost: what it does not name stays.
pub(super) fn changed(
    before: VhostSpec,
    name: &str,
    fields: &Fields,
) -> Result<VhostSpec, ApiError> {
    // rabbitmq: metadata is replaced as a whole
    let described = ["description", "tags", "default_queue_type"];
    let replaced = described.iter().any(|key| fields.get(key).is_some());
    let kind =
        match fields.text("default_queue_type")? {
            None | Some("undefined" | "") => before.default_queue_type.filter(|_| !replaced),
            Some(text) => Some(QueueKind::parse(text).ok_or_else(|| {
                ApiError::bad_request(format!("{text} is not a valid queue type"))
            })?),
        };
    let protected = match fields.get("protected_from_deletion") {
        None => before.protected,
        Some(_) => fields.flag("protected_from_deletion")?,
    };
    Ok(VhostSpec {
        name: name.into(),
        description: fields.text("description")?.map_or(before.description, Arc::from),
        tags: match fields.words("tags")? {
            Some(tags) => tags,
            None if replaced => Vec::new(),
            None => before.tags,
        },
        default_queue_type: kind,
        protected,
    })
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    app.remove(Command::DeleteVhost { name: name.into() }).await
}

pub(super) async fn protect(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    set_protected(&app, &caller, &name, true).await
}

pub(super) async fn unprotect(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    set_protected(&app, &caller, &name, false).await
}

async fn set_protected(app: &App, caller: &Caller, name: &str, protected: bool) -> Answer {
    caller.administrator()?;
    let before = app.read(|topology| topology.vhost(name).map(spec));
    let before = before.ok_or_else(|| match protected {
        false => ApiError::not_found(),
        true => ApiError::missing(format!(
            "Cannot enable deletion protection of virtual host '{name}' because it does not exist"
        )),
    })?;
    app.propose.propose(Command::PutVhost(VhostSpec { protected, ..before })).await?;
    no_content()
}
