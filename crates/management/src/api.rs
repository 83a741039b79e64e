//! Every path of the API and the handler behind it. What a resource looks like is in its file.

mod bindings;
mod connections;
mod definitions;
mod exchanges;
mod health;
mod limits;
mod messages;
mod node;
mod parameters;
mod permissions;
mod policies;
mod queue_actions;
mod queues;
mod redrives;
mod stats;
mod status;
mod users;
mod vhosts;

use crate::State;
use crate::audit;
use crate::caller::{Caller, read};
use crate::error::ApiError;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use leveret_engine::command::{Command, Outcome};
use leveret_engine::names::DEFAULT_EXCHANGE_ALIAS;
use leveret_engine::topology::Topology;
use std::sync::Arc;

/// The state as handlers get it.
type App = Arc<State>;

/// What handlers answer with.
type Answer = Result<Response, ApiError>;

pub(crate) use definitions::import_bytes as import_definitions;

pub(crate) fn router(state: App) -> Router {
    let api = Router::new()
        .merge(broker_routes())
        .merge(object_routes())
        .merge(people_routes())
        .merge(policy_routes())
        .merge(own_routes())
        .merge(health::routes())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .fallback(async || ApiError::not_found())
        .layer(from_fn(options))
        .with_state(state);
    // Outside of the nest, where a path is still whole.
    Router::new().nest("/api", api).layer(from_fn(audit::log))
}

/// Answers OPTIONS with the methods of the path, which a wrong method is told as well.
async fn options(request: Request, next: Next) -> Response {
    let asked = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if asked && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        *response.status_mut() = StatusCode::OK;
    }
    response
}

fn broker_routes() -> Router<App> {
    Router::new()
        .route("/overview", get(node::overview))
        .route("/nodes", get(node::list))
        .route("/nodes/{name}", get(node::one))
        .route("/nodes/{name}/memory", get(status::memory))
        .route("/nodes/{name}/memory/relative", get(status::memory_relative))
        .route("/feature-flags", get(status::feature_flags))
        .route("/feature-flags/{name}/enable", put(status::enable_feature_flag))
        .route("/deprecated-features", get(status::deprecated_features))
        .route("/deprecated-features/used", get(status::deprecated_features_used))
        .route("/reset", delete(status::reset))
        .route("/reset/{name}", delete(status::reset_node))
        .route("/rebalance/queues", post(status::rebalance))
        .route("/login", post(status::login).delete(status::logout))
        .route("/cluster-name", get(node::cluster_name).put(node::put_cluster_name))
        .route("/version", get(node::version))
        .route("/extensions", get(node::extensions))
        .route("/whoami", get(users::whoami))
        .route("/auth/hash_password/{password}", get(users::hash_password))
        .route("/definitions", get(definitions::export).post(definitions::import))
        .route("/all-configuration", get(definitions::export).post(definitions::import))
        .route(
            "/definitions/{vhost}",
            get(definitions::export_vhost).post(definitions::import_vhost),
        )
        .route("/connections", get(connections::list))
        .route("/connections/{name}", get(connections::one).delete(connections::close))
        .route("/connections/{name}/channels", get(connections::channels_of))
        .route(
            "/connections/username/{user}",
            get(connections::of_user).delete(connections::close_of_user),
        )
        .route("/channels", get(connections::channels))
        .route("/channels/{name}", get(connections::channel))
        .route("/consumers", get(connections::consumers))
        .route("/consumers/{vhost}", get(connections::consumers_in))
}

fn object_routes() -> Router<App> {
    Router::new()
        .route("/vhosts", get(vhosts::list))
        .route("/vhosts/{vhost}", get(vhosts::one).put(vhosts::put).delete(vhosts::delete))
        .route("/vhosts/{vhost}/start/{node}", post(status::start_vhost))
        .route(
            "/vhosts/{vhost}/deletion/protection",
            post(vhosts::protect).delete(vhosts::unprotect),
        )
        .route("/vhosts/{vhost}/permissions", get(permissions::of_vhost))
        .route("/vhosts/{vhost}/topic-permissions", get(permissions::topics_of_vhost))
        .route("/vhosts/{vhost}/connections", get(connections::list_in))
        .route("/vhosts/{vhost}/channels", get(connections::channels_in))
        .route("/exchanges", get(exchanges::list))
        .route("/exchanges/{vhost}", get(exchanges::list_in))
        .route(
            "/exchanges/{vhost}/{name}",
            get(exchanges::one).put(exchanges::put).delete(exchanges::delete),
        )
        .route("/exchanges/{vhost}/{name}/publish", post(messages::publish))
        .route("/exchanges/{vhost}/{name}/bindings/source", get(bindings::from_exchange))
        .route("/exchanges/{vhost}/{name}/bindings/destination", get(bindings::to_exchange))
        .route("/queues", get(queues::list))
        .route("/queues/detailed", get(queues::list))
        .route("/queues/{vhost}", get(queues::list_in))
        .route("/queues/{vhost}/{name}", get(queues::one).put(queues::put).delete(queues::delete))
        .route("/queues/{vhost}/{name}/bindings", get(bindings::to_queue))
        .route("/queues/{vhost}/{name}/get", post(messages::get))
        .route("/queues/{vhost}/{name}/actions", post(queue_actions::act))
        .route("/queues/{vhost}/{name}/contents", delete(queues::purge))
        .route("/bindings", get(bindings::list))
        .route("/bindings/{vhost}", get(bindings::list_in))
        .route(
            "/bindings/{vhost}/e/{source}/{kind}/{destination}",
            get(bindings::between).post(bindings::post),
        )
        .route(
            "/bindings/{vhost}/e/{source}/{kind}/{destination}/{properties}",
            get(bindings::one).delete(bindings::delete),
        )
}

fn people_routes() -> Router<App> {
    Router::new()
        .route("/users", get(users::list))
        .route("/users/without-permissions", get(users::without_permissions))
        .route("/users/bulk-delete", post(users::bulk_delete))
        .route("/users/{user}", get(users::one).put(users::put).delete(users::delete))
        .route("/users/{user}/permissions", get(permissions::of_user))
        .route("/users/{user}/topic-permissions", get(permissions::topics_of_user))
        .route("/permissions", get(permissions::list))
        .route(
            "/permissions/{vhost}/{user}",
            get(permissions::one).put(permissions::put).delete(permissions::delete),
        )
        .route("/topic-permissions", get(permissions::topics))
        .route(
            "/topic-permissions/{vhost}/{user}",
            get(permissions::topics_of)
                .put(permissions::put_topic)
                .delete(permissions::delete_topics),
        )
        .route(
            "/topic-permissions/{vhost}/{user}/{exchange}",
            get(permissions::topic).delete(permissions::delete_topic),
        )
        .route("/vhost-limits", get(limits::vhosts))
        .route("/vhost-limits/{vhost}", get(limits::vhost))
        .route("/vhost-limits/{vhost}/{limit}", put(limits::put_vhost).delete(limits::clear_vhost))
        .route("/user-limits", get(limits::users))
        .route("/user-limits/{user}", get(limits::user))
        .route("/user-limits/{user}/{limit}", put(limits::put_user).delete(limits::clear_user))
}

fn policy_routes() -> Router<App> {
    Router::new()
        .route("/policies", get(policies::list))
        .route("/policies/{vhost}", get(policies::list_in))
        .route(
            "/policies/{vhost}/{name}",
            get(policies::one).put(policies::put).delete(policies::delete),
        )
        .route("/operator-policies", get(policies::operator_list))
        .route("/operator-policies/{vhost}", get(policies::operator_list_in))
        .route(
            "/operator-policies/{vhost}/{name}",
            get(policies::operator_one)
                .put(policies::operator_put)
                .delete(policies::operator_delete),
        )
        .route("/parameters", get(parameters::list))
        .route("/parameters/{component}", get(parameters::list_of))
        .route("/parameters/{component}/{vhost}", get(parameters::list_in))
        .route(
            "/parameters/{component}/{vhost}/{name}",
            get(parameters::one).put(parameters::put).delete(parameters::delete),
        )
        .route("/global-parameters", get(parameters::globals))
        .route(
            "/global-parameters/{name}",
            get(parameters::global).put(parameters::put_global).delete(parameters::delete_global),
        )
}

/// What RabbitMQ does not have.
fn own_routes() -> Router<App> {
    Router::new()
        .route("/leveret/redrives", get(redrives::list).post(redrives::begin))
        .route("/leveret/redrives/{id}", get(redrives::one).delete(redrives::cancel))
        .route("/leveret/queues/{vhost}/{name}/messages", post(redrives::put))
}

/// Answers with a JSON value.
fn reply(value: serde_json::Value) -> Answer {
    Ok(axum::Json(value).into_response())
}

/// 201 for what was created, 204 for what was there.
fn put_reply(created: bool) -> Answer {
    let status = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok(status.into_response())
}

fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl State {
    /// Runs `f` with the topology.
    fn read<R>(&self, f: impl FnOnce(&Topology) -> R) -> R {
        read(&*self.registry, f)
    }

    /// Refuses the name of another node than this one.
    fn known_node(&self, name: &str) -> Result<(), ApiError> {
        if name == self.node.name() { Ok(()) } else { Err(ApiError::not_found()) }
    }

    /// Runs `f` with the topology once the caller is known to see the vhost's objects.
    fn look<R>(
        &self,
        caller: &Caller,
        vhost: &str,
        f: impl FnOnce(&Topology) -> R,
    ) -> Result<R, ApiError> {
        self.read(|topology| caller.look_into(topology, vhost).map(|()| f(topology)))
    }

    /// Applies a command that puts a record, and says whether it was created.
    async fn put(&self, command: Command) -> Answer {
        let created = match self.propose.propose(command).await? {
            Outcome::Put { created }
            | Outcome::ExchangeDeclared { created }
            | Outcome::QueueDeclared { created, .. }
            | Outcome::Bound { created } => created,
            Outcome::Done | Outcome::Deleted { .. } | Outcome::Unbound { .. } => false,
        };
        put_reply(created)
    }

    /// Applies a command that deletes a record; 404 when there was none.
    async fn remove(&self, command: Command) -> Answer {
        match self.propose.propose(command).await? {
            Outcome::Deleted { existed: false } | Outcome::Unbound { existed: false } => {
                Err(ApiError::not_found())
            }
            _ => no_content(),
        }
    }
}

/// The name of an exchange as a path has it.
fn exchange_name(segment: &str) -> &str {
    if segment == DEFAULT_EXCHANGE_ALIAS { "" } else { segment }
}
