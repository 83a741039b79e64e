//! `/users`, `/whoami` and the hashing of passwords.

use super::{Answer, App, no_content, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use leveret_engine::BrokerError;
use leveret_engine::auth::{HashAlgorithm, PasswordHash, User};
use leveret_engine::command::{Command, UserSpec};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn whoami(caller: Caller) -> Answer {
    reply(show_caller(&caller))
}

/// Who somebody is, as far as it concerns that person.
pub(super) fn show_caller(caller: &Caller) -> Value {
    let user = caller.user();
    json!({"name": &*user.name, "tags": tags(user), "is_internal_user": true})
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    caller.administrator()?;
    query.reply(app.read(|topology| topology.users().map(show).collect()))
}

pub(super) async fn without_permissions(
    State(app): State<App>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    caller.administrator()?;
    query.reply(app.read(|topology| {
        topology
            .users()
            .filter(|user| !topology.permissions().any(|own| own.user == user.name))
            .map(show)
            .collect()
    }))
}

pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    let user = app.read(|topology| topology.user(&name).map(show));
    reply(user.ok_or_else(ApiError::not_found)?)
}

pub(super) async fn put(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    let spec = spec(&app, &name, &fields, HashAlgorithm::default())?;
    app.put(Command::PutUser(spec)).await
}

/// What a body makes a user. Neither password nor hash is a user who cannot log in with one. A hash
/// without an algorithm was made with `hashed_with`.
// rabbitmq: rabbit_auth_backend_internal put_user
pub(super) fn spec(
    app: &App,
    name: &str,
    fields: &Fields,
    hashed_with: HashAlgorithm,
) -> Result<UserSpec, ApiError> {
    if fields.get("tags").is_none() {
        return Err(ApiError::bad_request("tags_not_present"));
    }
    let password = match (fields.text("password")?, fields.text("password_hash")?) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("both_password_and_password_hash_are_provided"));
        }
        (Some(password), None) => Some(hash(app, password)),
        (None, Some("") | None) => None,
        (None, Some(hash)) => {
            let algorithm = algorithm(fields, hashed_with)?;
            let hash = PasswordHash::from_base64(algorithm, hash)
                .map_err(|_| ApiError::bad_value("not_base64", hash))?;
            Some(hash)
        }
    };
    let tags = fields.words("tags")?.unwrap_or_default();
    Ok(UserSpec { name: name.into(), password, tags })
}

fn hash(app: &App, password: &str) -> PasswordHash {
    PasswordHash::new(HashAlgorithm::default(), password.as_bytes(), (app.salt)())
}

fn algorithm(fields: &Fields, default: HashAlgorithm) -> Result<HashAlgorithm, ApiError> {
    let Some(name) = fields.text("hashing_algorithm")? else { return Ok(default) };
    HashAlgorithm::parse(name)
        .ok_or_else(|| ApiError::bad_request(format!("unknown hashing algorithm: {name}")))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    app.remove(Command::DeleteUser { name: name.into() }).await
}

pub(super) async fn bulk_delete(State(app): State<App>, caller: Caller, fields: Fields) -> Answer {
    caller.administrator()?;
    fields.need(&["users"])?;
    for name in fields.words("users")?.unwrap_or_default() {
        match app.propose.propose(Command::DeleteUser { name }).await {
            // rabbitmq: whoever is not there is as good as deleted
            Ok(_) | Err(BrokerError::NoSuchRecord { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    no_content()
}

pub(super) async fn hash_password(
    State(app): State<App>,
    Path(password): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    let hash = hash(&app, &password);
    reply(json!({"ok": hash.to_base64()}))
}

fn tags(user: &User) -> Vec<&str> {
    user.tags.iter().map(|tag| &**tag).collect()
}

/// The limits of a user by their names in the API.
pub(super) fn limits(user: &User) -> Value {
    let mut limits = serde_json::Map::new();
    let all = [("max-connections", user.max_connections), ("max-channels", user.max_channels)];
    for (name, value) in all {
        if let Some(value) = value {
            limits.insert(name.to_owned(), json!(value));
        }
    }
    Value::Object(limits)
}

pub(super) fn show(user: &Arc<User>) -> Value {
    let hash = user.password.as_ref();
    json!({
        "name": &*user.name,
        "password_hash": hash.map_or_else(String::new, PasswordHash::to_base64),
        "hashing_algorithm": hash.map(PasswordHash::algorithm).unwrap_or_default().name(),
        "tags": tags(user),
        "limits": limits(user),
    })
}
