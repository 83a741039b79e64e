//! `/bindings`, and the bindings of one queue or exchange. A binding is named by its
//! `properties_key`: its routing key, and a hash of its arguments if it has any.

use super::{Answer, App, no_content, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use crate::list::ListQuery;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leveret_engine::command::{BindingSpec, Command, Destination};
use leveret_engine::topology::{Binding, Topology, Vhost};
use leveret_engine::view::Table;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::sync::Arc;

/// What stays as it is in a properties key.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The properties key of a binding: `~` when it has neither key nor arguments.
// rabbitmq: rabbit_mgmt_format pack_binding_props
fn properties_key(binding: &Binding) -> String {
    let key = String::from_utf8_lossy(&binding.key);
    let quoted = utf8_percent_encode(&key, KEPT).to_string().replace("%20", "+");
    match (quoted.as_str(), binding.arguments.is_empty()) {
        ("", true) => "~".to_owned(),
        (_, true) => quoted,
        (_, false) => format!("{quoted}~{}", arguments_hash(&binding.arguments)),
    }
}

/// 32 bits that stay the same as long as the arguments do (FNV-1a over their JSON).
fn arguments_hash(arguments: &Table) -> String {
    let text = json::table(arguments).to_string();
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    URL_SAFE_NO_PAD.encode(hash.to_be_bytes())
}

/// Whether a path's last segment names the binding. Tools also write the bare key.
fn is_named(binding: &Binding, segment: &str) -> bool {
    properties_key(binding) == segment
        || (binding.arguments.is_empty() && *binding.key == *segment.as_bytes())
}

pub(super) fn show(vhost: &str, binding: &Binding) -> Value {
    let kind = match binding.destination {
        Destination::Exchange(_) => "exchange",
        Destination::Queue(_) => "queue",
    };
    json!({
        "source": &*binding.source,
        "vhost": vhost,
        "destination": &**binding.destination.name(),
        "destination_type": kind,
        "routing_key": String::from_utf8_lossy(&binding.key),
        "arguments": json::table(&binding.arguments),
        "properties_key": properties_key(binding),
    })
}

/// The binding by which the default exchange reaches a queue.
fn implicit(queue: &Arc<str>) -> Binding {
    Binding {
        source: "".into(),
        destination: Destination::Queue(queue.clone()),
        key: queue.as_bytes().into(),
        arguments: Table::new(),
        durable: true,
    }
}

/// All bindings of a vhost, those of the default exchange first.
fn of_vhost(vhost: &Vhost) -> Vec<Binding> {
    vhost.queues().map(|queue| implicit(&queue.name)).chain(vhost.bindings()).collect()
}

/// The bindings that lead somewhere; the default exchange leads to every queue, whether or not there is one.
// rabbitmq: rabbit_binding list_for_destination
fn leading_to(vhost: &Vhost, destination: &Destination) -> Vec<Binding> {
    match destination {
        Destination::Exchange(name) => vhost.bindings_to_exchange(name).collect(),
        Destination::Queue(name) => {
            [implicit(name)].into_iter().chain(vhost.bindings_to_queue(name)).collect()
        }
    }
}

/// Answers with the bindings that `pick` finds in a vhost that the caller sees.
fn reply_with(
    app: &App,
    caller: &Caller,
    vhost: &str,
    query: &ListQuery,
    pick: impl FnOnce(&Vhost) -> Vec<Binding>,
) -> Answer {
    let found = app.look(caller, vhost, |topology| topology.vhost(vhost).map(pick))?;
    let found = found.unwrap_or_default();
    query.reply(found.iter().map(|binding| show(vhost, binding)).collect())
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    let items = app.read(|topology| {
        let mut items = Vec::new();
        for vhost in topology.vhosts().filter(|vhost| caller.sees(topology, vhost.name())) {
            items.extend(of_vhost(vhost).iter().map(|binding| show(vhost.name(), binding)));
        }
        items
    });
    query.reply(items)
}

pub(super) async fn list_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    reply_with(&app, &caller, &vhost, &query, of_vhost)
}

pub(super) async fn from_exchange(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let name = super::exchange_name(&name);
    reply_with(&app, &caller, &vhost, &query, |vhost| match name {
        "" => vhost.queues().map(|queue| implicit(&queue.name)).collect(),
        name => vhost.bindings_from(name).collect(),
    })
}

pub(super) async fn to_exchange(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let destination = Destination::Exchange(super::exchange_name(&name).into());
    reply_with(&app, &caller, &vhost, &query, |vhost| leading_to(vhost, &destination))
}

pub(super) async fn to_queue(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let destination = Destination::Queue(name.into());
    reply_with(&app, &caller, &vhost, &query, |vhost| leading_to(vhost, &destination))
}

/// The two ends of `/bindings/V/e/S/q|e/D`, whether or not they exist.
fn ends(source: &str, kind: &str, destination: &str) -> Result<(String, Destination), ApiError> {
    let destination = match kind {
        "q" => Destination::Queue(destination.into()),
        "e" => Destination::Exchange(super::exchange_name(destination).into()),
        _ => return Err(ApiError::not_found()),
    };
    Ok((super::exchange_name(source).to_owned(), destination))
}

pub(super) async fn between(
    State(app): State<App>,
    Path((vhost, source, kind, destination)): Path<(String, String, String, String)>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let (source, destination) = ends(&source, &kind, &destination)?;
    reply_with(&app, &caller, &vhost, &query, |vhost| {
        let mut all = leading_to(vhost, &destination);
        all.retain(|binding| *binding.source == *source);
        all
    })
}

pub(super) async fn post(
    State(app): State<App>,
    Path((vhost, source, kind, destination)): Path<(String, String, String, String)>,
    uri: Uri,
    caller: Caller,
    fields: Fields,
) -> Answer {
    let (source, destination) = ends(&source, &kind, &destination)?;
    let binding = Binding {
        source: source.into(),
        destination,
        key: fields.text("routing_key")?.unwrap_or_default().as_bytes().into(),
        arguments: sorted(fields.arguments()?),
        durable: false,
    };
    let key = properties_key(&binding);
    let spec = spec(&vhost, binding);
    allow(&app, &caller, &spec)?;
    app.propose.propose(Command::Bind(spec)).await?;
    let segment = utf8_percent_encode(&key, NON_ALPHANUMERIC);
    // The path of a nested router is without the prefix.
    let location = HeaderValue::from_str(&format!("/api{}/{segment}", uri.path()))
        .map_err(|_| ApiError::bad_request("the path cannot be repeated in a header"))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// The order in which the topology keeps arguments, so that their hash is the same.
fn sorted(mut arguments: Table) -> Table {
    arguments.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    arguments
}

fn spec(vhost: &str, binding: Binding) -> BindingSpec {
    BindingSpec {
        vhost: vhost.into(),
        source: binding.source,
        destination: binding.destination,
        key: binding.key,
        arguments: binding.arguments,
    }
}

/// Binding and unbinding ask for what AMQP asks for.
fn allow(app: &App, caller: &Caller, spec: &BindingSpec) -> Result<(), ApiError> {
    app.read(|topology| {
        caller.make_in(topology, &spec.vhost)?;
        topology.authorise_bind(caller.user(), spec)?;
        there(topology, spec)
    })
}

/// Refuses to bind what does not exist, in RabbitMQ's words.
fn there(topology: &Topology, spec: &BindingSpec) -> Result<(), ApiError> {
    let vhost = &spec.vhost;
    let exchange = |name: &str| match topology.vhost(vhost).and_then(|vhost| vhost.exchange(name)) {
        Some(_) => Ok(()),
        None => Err(ApiError::missing(format!("no exchange '{name}' in vhost '{vhost}'"))),
    };
    exchange(&spec.source)?;
    match &spec.destination {
        Destination::Exchange(name) => exchange(name),
        Destination::Queue(name) if topology.queue(vhost, name).is_none() => {
            Err(ApiError::missing(format!("no queue '{name}' in vhost '{vhost}'")))
        }
        Destination::Queue(_) => Ok(()),
    }
}

/// `/bindings/V/e/S/q|e/D/PROPERTIES`.
type OneBinding = (String, String, String, String, String);

fn find(
    app: &App,
    caller: &Caller,
    (vhost, source, kind, destination, properties): &OneBinding,
) -> Result<Binding, ApiError> {
    let (source, destination) = ends(source, kind, destination)?;
    let found = app.look(caller, vhost, |topology| {
        leading_to(topology.vhost(vhost)?, &destination)
            .into_iter()
            .find(|binding| *binding.source == *source && is_named(binding, properties))
    })?;
    found.ok_or_else(ApiError::not_found)
}

pub(super) async fn one(
    State(app): State<App>,
    Path(path): Path<OneBinding>,
    caller: Caller,
) -> Answer {
    reply(show(&path.0, &find(&app, &caller, &path)?))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(path): Path<OneBinding>,
    caller: Caller,
) -> Answer {
    let spec = spec(&path.0, find(&app, &caller, &path)?);
    allow(&app, &caller, &spec)?;
    app.propose.propose(Command::Unbind(spec)).await?;
    no_content()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(key: &str, arguments: Value) -> Binding {
        let Value::Object(fields) = &arguments else { unreachable!() };
        Binding {
            source: "x".into(),
            destination: Destination::Queue("q".into()),
            key: key.as_bytes().into(),
            arguments: json::to_table(fields),
            durable: true,
        }
    }

    #[test]
    fn properties_keys_are_those_of_rabbitmq() {
        for (key, shown) in [
            ("", "~"),
            ("a.b", "a.b"),
            ("a.#", "a.%23"),
            ("a b/c", "a+b%2Fc"),
            ("til~de", "til%7Ede"),
        ] {
            assert_eq!(properties_key(&binding(key, json!({}))), shown);
        }
    }

    #[test]
    fn arguments_make_a_key_of_their_own_that_stays() {
        let one = properties_key(&binding("k", json!({"x-match": "all"})));
        assert!(one.starts_with("k~") && one.len() == 8, "{one}");
        assert_eq!(one, properties_key(&binding("k", json!({"x-match": "all"}))));
        assert_ne!(one, properties_key(&binding("k", json!({"x-match": "any"}))));
    }

    #[test]
    fn a_bare_key_names_a_binding_without_arguments() {
        assert!(is_named(&binding("a.#", json!({})), "a.#"));
        assert!(is_named(&binding("a.#", json!({})), "a.%23"));
        assert!(!is_named(&binding("a.#", json!({"n": 1})), "a.#"));
    }
}
