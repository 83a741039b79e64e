//! `/policies` and `/operator-policies`, which differ in who may change them.

use super::{Answer, App, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use leveret_engine::command::{ApplyTo, Command, PolicySpec};
use leveret_engine::policy::Policy;
use leveret_engine::topology::Vhost;
use serde_json::{Value, json};
use std::sync::Arc;

/// Whose policies a path is about.
#[derive(Clone, Copy)]
enum Owner {
    Operator,
    User,
}

impl Owner {
    fn all(self, vhost: &Vhost) -> Vec<Arc<Policy>> {
        match self {
            Self::Operator => vhost.operator_policies().cloned().collect(),
            Self::User => vhost.policies().cloned().collect(),
        }
    }

    fn allow(self, app: &App, caller: &Caller, vhost: &str) -> Result<(), ApiError> {
        app.read(|topology| {
            topology.vhost(vhost).ok_or_else(|| ApiError::missing("vhost_not_found"))?;
            match self {
                Self::Operator => caller.administrator(),
                Self::User => caller.policymaker_of(topology, vhost),
            }
        })
    }
}

/// What is not there is deleted with other words than it is made.
fn exists(app: &App, vhost: &str) -> Result<(), ApiError> {
    app.read(|topology| topology.vhost(vhost).map(drop)).ok_or_else(ApiError::not_found)
}

pub(super) fn show(policy: &Policy) -> Value {
    json!({
        "vhost": &*policy.vhost,
        "name": &*policy.name,
        "pattern": &**policy.pattern.source(),
        "apply-to": policy.apply_to.name(),
        "definition": json::definition(&policy.definition),
        "priority": policy.priority,
    })
}

fn everywhere(app: &App, caller: &Caller, owner: Owner) -> Vec<Value> {
    app.read(|topology| {
        topology
            .vhosts()
            .filter(|vhost| caller.sees(topology, vhost.name()))
            .flat_map(|vhost| owner.all(vhost))
            .map(|policy| show(&policy))
            .collect()
    })
}

fn inside(app: &App, caller: &Caller, vhost: &str, owner: Owner) -> Result<Vec<Value>, ApiError> {
    app.look(caller, vhost, |topology| {
        let policies = topology.vhost(vhost).map(|vhost| owner.all(vhost)).unwrap_or_default();
        policies.iter().map(|policy| show(policy)).collect()
    })
}

fn find(
    app: &App,
    caller: &Caller,
    (vhost, name): &(String, String),
    owner: Owner,
) -> Result<Value, ApiError> {
    let found = inside(app, caller, vhost, owner)?;
    found.into_iter().find(|policy| policy["name"] == **name).ok_or_else(ApiError::not_found)
}

/// Reads what a body says of a policy.
pub(super) fn spec(vhost: &str, name: &str, fields: &Fields) -> Result<PolicySpec, ApiError> {
    fields.need(&["pattern", "definition"])?;
    let definition = match fields.get("definition") {
        Some(Value::Object(definition)) => json::to_definition(definition),
        // Some tools send the definition as text.
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(definition)) => json::to_definition(&definition),
            _ => return Err(ApiError::bad_request("definition is not an object")),
        },
        _ => return Err(ApiError::bad_request("definition is not an object")),
    };
    let apply_to = match fields.text("apply-to")? {
        None => ApplyTo::default(),
        Some(word) => ApplyTo::parse(word).ok_or_else(|| {
            ApiError::validation(&format!(
                "apply-to '{word}' unrecognised; should be one of: 'queues', 'classic_queues',  \
                 'quorum_queues', 'streams', 'exchanges', or 'all'"
            ))
        })?,
    };
    let priority = match fields.get("priority") {
        Some(Value::String(text)) if text.parse::<i64>().is_err() => {
            let reason = format!("priority should be a number, actually was <<\"{text}\">>");
            return Err(ApiError::validation(&reason));
        }
        _ => fields.integer("priority")?.unwrap_or(0),
    };
    Ok(PolicySpec {
        vhost: vhost.into(),
        name: name.into(),
        pattern: fields.needed_text("pattern")?.into(),
        apply_to,
        priority,
        definition,
    })
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    query.reply(everywhere(&app, &caller, Owner::User))
}

pub(super) async fn operator_list(
    State(app): State<App>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    query.reply(everywhere(&app, &caller, Owner::Operator))
}

pub(super) async fn list_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    query.reply(inside(&app, &caller, &vhost, Owner::User)?)
}

pub(super) async fn operator_list_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    query.reply(inside(&app, &caller, &vhost, Owner::Operator)?)
}

pub(super) async fn one(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    reply(find(&app, &caller, &path, Owner::User)?)
}

pub(super) async fn operator_one(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    reply(find(&app, &caller, &path, Owner::Operator)?)
}

pub(super) async fn put(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    Owner::User.allow(&app, &caller, &vhost)?;
    app.put(Command::PutPolicy(spec(&vhost, &name, &fields)?)).await
}

pub(super) async fn operator_put(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    Owner::Operator.allow(&app, &caller, &vhost)?;
    app.put(Command::PutOperatorPolicy(spec(&vhost, &name, &fields)?)).await
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    exists(&app, &vhost)?;
    Owner::User.allow(&app, &caller, &vhost)?;
    app.remove(Command::DeletePolicy { vhost: vhost.into(), name: name.into() }).await
}

pub(super) async fn operator_delete(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    exists(&app, &vhost)?;
    Owner::Operator.allow(&app, &caller, &vhost)?;
    app.remove(Command::DeleteOperatorPolicy { vhost: vhost.into(), name: name.into() }).await
}
