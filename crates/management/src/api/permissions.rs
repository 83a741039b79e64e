//! `/permissions` and `/topic-permissions`: of everybody, of a vhost, of a user.

use super::{Answer, App, put_reply, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use leveret_engine::auth::Permissions;
use leveret_engine::command::{Command, PermissionSpec, TopicPermissionSpec};
use serde_json::{Value, json};

pub(super) fn show(spec: &PermissionSpec) -> Value {
    json!({
        "user": &*spec.user,
        "vhost": &*spec.vhost,
        "configure": &*spec.configure,
        "write": &*spec.write,
        "read": &*spec.read,
    })
}

pub(super) fn show_topic(spec: &TopicPermissionSpec) -> Value {
    json!({
        "user": &*spec.user,
        "vhost": &*spec.vhost,
        "exchange": &*spec.exchange,
        "write": &*spec.write,
        "read": &*spec.read,
    })
}

fn select(app: &App, keep: impl Fn(&Permissions) -> bool) -> Vec<Value> {
    app.read(|topology| {
        topology.permissions().filter(|p| keep(p)).map(|p| show(&p.spec())).collect()
    })
}

fn select_topics(app: &App, keep: impl Fn(&TopicPermissionSpec) -> bool) -> Vec<Value> {
    app.read(|topology| {
        let all = topology.vhosts().flat_map(|vhost| vhost.topic_permissions());
        let all = all.map(|permission| &permission.spec);
        all.filter(|spec| keep(spec)).map(show_topic).collect()
    })
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.administrator()?;
    query.reply(select(&app, |_| true))
}

pub(super) async fn of_vhost(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    app.look(&caller, &vhost, |_| ())?;
    query.reply(select(&app, |p| *p.vhost == *vhost))
}

pub(super) async fn of_user(
    State(app): State<App>,
    Path(user): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    user_exists(&app, &user)?;
    query.reply(select(&app, |p| *p.user == *user))
}

fn both_exist(app: &App, vhost: &str, user: &str) -> Result<(), ApiError> {
    let both =
        app.read(|topology| topology.vhost(vhost).is_some() && topology.user(user).is_some());
    if both { Ok(()) } else { Err(ApiError::bad_request("vhost_or_user_not_found")) }
}

fn user_exists(app: &App, user: &str) -> Result<(), ApiError> {
    let there = app.read(|topology| topology.user(user).is_some());
    if there { Ok(()) } else { Err(ApiError::not_found()) }
}

pub(super) async fn one(
    State(app): State<App>,
    Path((vhost, user)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    let found =
        app.read(|topology| topology.vhost(&vhost)?.permissions_of(&user).map(|p| show(&p.spec())));
    reply(found.ok_or_else(ApiError::not_found)?)
}

pub(super) async fn put(
    State(app): State<App>,
    Path((vhost, user)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    fields.need(&["configure", "write", "read"])?;
    both_exist(&app, &vhost, &user)?;
    let spec = PermissionSpec {
        user: user.into(),
        vhost: vhost.into(),
        configure: fields.needed_text("configure")?.into(),
        write: fields.needed_text("write")?.into(),
        read: fields.needed_text("read")?.into(),
    };
    app.put(Command::SetPermission(spec)).await
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((vhost, user)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    app.remove(Command::ClearPermission { user: user.into(), vhost: vhost.into() }).await
}

pub(super) async fn topics(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.administrator()?;
    query.reply(select_topics(&app, |_| true))
}

pub(super) async fn topics_of_vhost(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    app.look(&caller, &vhost, |_| ())?;
    query.reply(select_topics(&app, |spec| *spec.vhost == *vhost))
}

pub(super) async fn topics_of_user(
    State(app): State<App>,
    Path(user): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    user_exists(&app, &user)?;
    query.reply(select_topics(&app, |spec| *spec.user == *user))
}

pub(super) async fn topics_of(
    State(app): State<App>,
    Path((vhost, user)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    let found = select_topics(&app, |spec| *spec.user == *user && *spec.vhost == *vhost);
    if found.is_empty() {
        return Err(ApiError::not_found());
    }
    query.reply(found)
}

/// All of the user's topic permissions in the vhost: the exchange in the path narrows nothing.
// rabbitmq: rabbit_mgmt_wm_topic_permission
pub(super) async fn topic(
    State(app): State<App>,
    Path((vhost, user, _exchange)): Path<(String, String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    topics_of(State(app), Path((vhost, user)), caller, query).await
}

pub(super) async fn put_topic(
    State(app): State<App>,
    Path((vhost, user)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    fields.need(&["exchange", "write", "read"])?;
    both_exist(&app, &vhost, &user)?;
    // rabbitmq: 204 as soon as the user has any topic permission in the vhost
    let had = !select_topics(&app, |spec| *spec.user == *user && *spec.vhost == *vhost).is_empty();
    let spec = TopicPermissionSpec {
        user: user.into(),
        vhost: vhost.into(),
        exchange: fields.needed_text("exchange")?.into(),
        write: fields.needed_text("write")?.into(),
        read: fields.needed_text("read")?.into(),
    };
    app.propose.propose(Command::SetTopicPermission(spec)).await?;
    put_reply(!had)
}

pub(super) async fn delete_topics(
    State(app): State<App>,
    Path((vhost, user)): Path<(String, String)>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    clear_topics(&app, vhost, user, None).await
}

pub(super) async fn delete_topic(
    State(app): State<App>,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    clear_topics(&app, vhost, user, Some(exchange)).await
}

async fn clear_topics(app: &App, vhost: String, user: String, exchange: Option<String>) -> Answer {
    let command = Command::ClearTopicPermission {
        user: user.into(),
        vhost: vhost.into(),
        exchange: exchange.map(Into::into),
    };
    app.remove(command).await
}
