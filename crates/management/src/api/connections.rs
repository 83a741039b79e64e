//! `/connections`, `/channels` and `/consumers`: what clients are doing now. Whoever does not
//! monitor sees their own.

use super::{Answer, App, no_content, reply, stats};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use crate::list::ListQuery;
use crate::samples::Subject;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use leveret_engine::ConnectionId;
use leveret_engine::view::{ChannelView, ConnectionView, ConsumerView};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What the client is told when nobody gave a reason.
const CLOSE_REASON: &str = "Closed via management plugin";

/// The header that gives one.
const REASON_HEADER: &str = "x-reason";

fn name(connection: &ConnectionView) -> String {
    format!("{} -> {}", connection.peer, connection.local)
}

/// Host and port of an address as people read it.
fn host_and_port(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or(0))
}

/// How other objects refer to a connection.
pub(super) fn details(connection: &ConnectionView) -> Value {
    let (host, port) = host_and_port(&connection.peer);
    json!({"name": name(connection), "peer_host": host, "peer_port": port})
}

fn show(app: &App, connection: &ConnectionView, query: &ListQuery) -> Value {
    let (peer_host, peer_port) = host_and_port(&connection.peer);
    let (host, port) = host_and_port(&connection.local);
    let mut value = json!({
        "name": name(connection),
        "node": app.node.name(),
        "vhost": &*connection.vhost,
        "user": &*connection.user,
        "user_who_performed_action": &*connection.user,
        "protocol": "AMQP 0-9-1",
        "auth_mechanism": connection.mechanism,
        "type": "network",
        "state": connection.state,
        "channels": connection.channels,
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat,
        "connected_at": connection.connected_at.0,
        "host": host,
        "port": port,
        "peer_host": peer_host,
        "peer_port": peer_port,
        "ssl": connection.tls.is_some(),
        "client_properties": json::table(&connection.client_properties),
        "recv_oct": connection.received_bytes,
        "send_oct": connection.sent_bytes,
        "recv_cnt": connection.received_frames,
        "send_cnt": 0,
        "send_pend": 0,
        "garbage_collection": {},
        "reductions": 0,
        "reductions_details": {"rate": 0.0},
        "ssl_protocol": "",
        "ssl_key_exchange": "",
        "ssl_cipher": "",
        "ssl_hash": "",
        "peer_cert_subject": "",
        "peer_cert_issuer": "",
        "peer_cert_validity": "",
        "peer_cert_serial_number": "",
    });
    stats::put_bytes(app, &mut value, Subject::Connection(connection.id), query);
    if let Some(given) = &connection.user_provided_name {
        value["user_provided_name"] = json!(&**given);
    }
    if let Some(tls) = &connection.tls {
        value["ssl_protocol"] = json!(&*tls.protocol);
        value["ssl_cipher"] = json!(&*tls.cipher);
        value["peer_cert_subject"] = json!(tls.peer_cert_subject.as_deref());
        value["peer_cert_issuer"] = json!(tls.peer_cert_issuer.as_deref());
        value["peer_cert_validity"] = json!(tls.peer_cert_validity.as_deref());
    }
    value
}

/// The connections that the caller sees, in the order they came.
fn visible(app: &App, caller: &Caller) -> Vec<ConnectionView> {
    let mut connections = app.registry.connections();
    if !caller.is_monitor() {
        connections.retain(|connection| connection.user == *caller.name());
    }
    connections.sort_by_key(|connection| connection.id);
    connections
}

pub(super) async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    query.reply(visible(&app, &caller).iter().map(|c| show(&app, c, &query)).collect())
}

pub(super) async fn list_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    app.look(&caller, &vhost, |_| ())?;
    let connections = visible(&app, &caller);
    let inside = connections.iter().filter(|connection| *connection.vhost == *vhost);
    query.reply(inside.map(|c| show(&app, c, &query)).collect())
}

fn find(app: &App, caller: &Caller, wanted: &str) -> Result<ConnectionView, ApiError> {
    let connection = app.registry.connections().into_iter().find(|c| name(c) == wanted);
    let connection = connection.ok_or_else(ApiError::not_found)?;
    if caller.is_monitor() || connection.user == *caller.name() {
        return Ok(connection);
    }
    Err(ApiError::not_allowed("User not authorised to access object"))
}

pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let connection = find(&app, &caller, &name)?;
    reply(query.reduce_one(&show(&app, &connection, &query)))
}

fn reason(headers: &HeaderMap) -> &str {
    headers.get(REASON_HEADER).and_then(|value| value.to_str().ok()).unwrap_or(CLOSE_REASON)
}

/// Only the user itself and administrators may end a connection.
fn may_close(caller: &Caller, user: &str) -> Result<(), ApiError> {
    if **caller.name() == *user { Ok(()) } else { caller.administrator() }
}

pub(super) async fn close(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    caller: Caller,
) -> Answer {
    let connection = find(&app, &caller, &name)?;
    may_close(&caller, &connection.user)?;
    if app.propose.close_connection(connection.id, reason(&headers)) {
        return no_content();
    }
    Err(ApiError::not_found())
}

pub(super) async fn of_user(
    State(app): State<App>,
    Path(user): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    if !caller.is_monitor() {
        may_close(&caller, &user)?;
    }
    let connections = visible(&app, &caller);
    let own = connections.iter().filter(|connection| *connection.user == *user);
    query.reply(own.map(|connection| show(&app, connection, &query)).collect())
}

pub(super) async fn close_of_user(
    State(app): State<App>,
    Path(user): Path<String>,
    headers: HeaderMap,
    caller: Caller,
) -> Answer {
    may_close(&caller, &user)?;
    for connection in app.registry.connections() {
        if *connection.user == *user {
            // One that is gone by itself meanwhile is what was asked for.
            app.propose.close_connection(connection.id, reason(&headers));
        }
    }
    no_content()
}

/// A channel's name: its connection's and its number.
fn channel_name(connection: &ConnectionView, number: u16) -> String {
    format!("{} ({number})", name(connection))
}

fn show_channel(
    app: &App,
    connection: &ConnectionView,
    channel: &ChannelView,
    query: &ListQuery,
) -> Value {
    let mut value = json!({
        "name": channel_name(connection, channel.key.number),
        "number": channel.key.number,
        "node": app.node.name(),
        "vhost": &*connection.vhost,
        "user": &*connection.user,
        "user_who_performed_action": &*connection.user,
        "connection_details": details(connection),
        "state": "running",
        "pending_raft_commands": 0,
        "cached_segments": 0,
        "garbage_collection": {},
        "reductions": 0,
        "reductions_details": {"rate": 0.0},
        "transactional": channel.transactional,
        "confirm": channel.confirm,
        "consumer_count": channel.consumers,
        "messages_unacknowledged": channel.unacked,
        "messages_unconfirmed": channel.unconfirmed,
        "messages_uncommitted": channel.uncommitted,
        "acks_uncommitted": channel.uncommitted_acks,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
    });
    let messages = stats::of_messages(app, Subject::Channel(channel.key), &channel.stats, query);
    stats::put(&mut value, messages);
    value
}

/// The channels of these connections, in order.
fn channels_on(app: &App, connections: &[ConnectionView], query: &ListQuery) -> Vec<Value> {
    let by_id: HashMap<ConnectionId, &ConnectionView> =
        connections.iter().map(|connection| (connection.id, connection)).collect();
    let mut channels = app.registry.channels();
    channels.sort_by_key(|channel| channel.key);
    let shown = channels.iter().filter_map(|channel| {
        by_id
            .get(&channel.key.connection)
            .map(|connection| show_channel(app, connection, channel, query))
    });
    shown.collect()
}

pub(super) async fn channels(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    query.reply(channels_on(&app, &visible(&app, &caller), &query))
}

pub(super) async fn channels_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    app.look(&caller, &vhost, |_| ())?;
    let mut connections = visible(&app, &caller);
    connections.retain(|connection| *connection.vhost == *vhost);
    query.reply(channels_on(&app, &connections, &query))
}

pub(super) async fn channels_of(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let connection = find(&app, &caller, &name)?;
    query.reply(channels_on(&app, &[connection], &query))
}

pub(super) async fn channel(
    State(app): State<App>,
    Path(wanted): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    let (connection, _) = wanted.rsplit_once(" (").ok_or_else(ApiError::not_found)?;
    let connection = find(&app, &caller, connection)?;
    let all = channels_on(&app, std::slice::from_ref(&connection), &query);
    let mut value = all
        .into_iter()
        .find(|channel| channel["name"] == *wanted)
        .ok_or_else(ApiError::not_found)?;
    let number = value["number"].clone();
    value["consumer_details"] = show_consumers(&app, |consumer| {
        consumer.channel.connection == connection.id && number == consumer.channel.number
    })
    .into();
    reply(query.reduce_one(&value))
}

/// The consumers that `keep` keeps.
pub(super) fn show_consumers(app: &App, keep: impl Fn(&ConsumerView) -> bool) -> Vec<Value> {
    let mut consumers = app.registry.consumers();
    consumers.retain(|consumer| keep(consumer));
    consumers.sort_by_key(|consumer| consumer.id);
    let connections: HashMap<ConnectionId, ConnectionView> =
        app.registry.connections().into_iter().map(|c| (c.id, c)).collect();
    consumers
        .iter()
        .map(|consumer| show_consumer(app, consumer, connections.get(&consumer.channel.connection)))
        .collect()
}

fn show_consumer(app: &App, consumer: &ConsumerView, connection: Option<&ConnectionView>) -> Value {
    let number = consumer.channel.number;
    let channel_details = connection.map_or_else(
        || json!({}),
        |connection| {
            let (host, port) = host_and_port(&connection.peer);
            json!({
                "name": channel_name(connection, number),
                "number": number,
                "node": app.node.name(),
                "connection_name": name(connection),
                "peer_host": host,
                "peer_port": port,
                "user": &*connection.user,
            })
        },
    );
    json!({
        "consumer_tag": &*consumer.tag,
        "ack_required": !consumer.no_ack,
        "active": consumer.active,
        "activity_status": activity(consumer),
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "arguments": json::table(&consumer.arguments),
        "queue": {"name": &*consumer.queue_name, "vhost": &*consumer.vhost},
        "channel_details": channel_details,
    })
}

fn activity(consumer: &ConsumerView) -> &'static str {
    if consumer.active { "up" } else { "waiting" }
}

pub(super) async fn consumers(State(app): State<App>, caller: Caller, query: ListQuery) -> Answer {
    let own = caller.name().clone();
    let everything = caller.is_monitor();
    query.reply(show_consumers(&app, |consumer| everything || consumer.user == own))
}

pub(super) async fn consumers_in(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    query: ListQuery,
) -> Answer {
    app.look(&caller, &vhost, |_| ())?;
    let own = caller.name().clone();
    let everything = caller.is_monitor();
    query.reply(show_consumers(&app, |consumer| {
        *consumer.vhost == *vhost && (everything || consumer.user == own)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_in_both_families() {
        assert_eq!(host_and_port("127.0.0.1:5555"), ("127.0.0.1".to_owned(), 5555));
        assert_eq!(host_and_port("[::1]:5672"), ("::1".to_owned(), 5672));
        assert_eq!(host_and_port("?"), ("?".to_owned(), 0));
    }
}
