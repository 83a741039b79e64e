//! The API as tools call it, over the router with a real topology behind.

mod messages;
mod redrives;

use crate::fake::{Fake, send};
use crate::{Client, router};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use leveret_engine::view::{Alarm, ChannelView, ConnectionView, ConsumerView, MessageStats};
use leveret_engine::{ChannelKey, ConnectionId, ConsumerId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// Calls as `guest` and expects a status.
async fn expect(
    fake: &Arc<Fake>,
    method: &str,
    path: &str,
    body: Option<Value>,
    status: u16,
) -> Value {
    let reply = fake.call(method, path, body).await;
    assert_eq!(reply.status.as_u16(), status, "{method} {path}: {}", reply.body);
    reply.body
}

async fn add_user(fake: &Arc<Fake>, name: &str, tags: &str) {
    let body = json!({"password": "pw", "tags": tags});
    expect(fake, "PUT", &format!("/api/users/{name}"), Some(body), 201).await;
}

async fn permit(fake: &Arc<Fake>, user: &str, configure: &str) {
    let body = json!({"configure": configure, "write": ".*", "read": ".*"});
    let path = format!("/api/permissions/%2F/{user}");
    expect(fake, "PUT", &path, Some(body), 201).await;
}

// ---- logging in ---------------------------------------------------------------------------------

#[tokio::test]
async fn without_a_good_password_nobody_comes_in() {
    let fake = Fake::new();
    let request = Request::get("/api/overview").body(Body::empty()).unwrap();
    let reply = send(router(fake.state()), request).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Basic realm=\"RabbitMQ Management\"");
    assert_eq!(reply.body, json!({"error": "not_authorized", "reason": "Not_Authorized"}));
    for login in ["guest:wrong", "nobody:guest", "guest"] {
        let reply = fake.call_as(login, "GET", "/api/whoami", None).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{login}");
    }
}

#[tokio::test]
async fn guest_comes_in_from_this_machine_only() {
    let fake = Fake::new();
    for (address, status) in [("10.0.0.9:1", 401), ("[::1]:1", 200), ("[::ffff:127.0.0.1]:1", 200)]
    {
        let request = Request::get("/api/whoami")
            .header(header::AUTHORIZATION, "Basic Z3Vlc3Q6Z3Vlc3Q=")
            .extension(Client::Network(address.parse().unwrap()))
            .body(Body::empty())
            .unwrap();
        let reply = send(router(fake.state()), request).await;
        assert_eq!(reply.status.as_u16(), status, "{address}");
        if status == 401 {
            assert_eq!(reply.body["reason"], "User can only log in via localhost");
        }
    }
}

#[tokio::test]
async fn tags_say_what_a_user_may_do() {
    let fake = Fake::new();
    for (name, tags) in
        [("plain", ""), ("man", "management"), ("pol", "policymaker"), ("mon", "monitoring")]
    {
        add_user(&fake, name, tags).await;
        permit(&fake, name, ".*").await;
    }
    let policy = json!({"pattern": "^q", "definition": {"max-length": 5}});
    for (user, method, path, body, status, reason) in [
        ("plain", "GET", "/api/whoami", None, 401, "Not management user"),
        ("man", "GET", "/api/nodes", None, 401, "Not monitor user"),
        ("man", "GET", "/api/users", None, 401, "Not administrator user"),
        (
            "man",
            "PUT",
            "/api/policies/%2F/p",
            Some(policy.clone()),
            401,
            "User not authorised to access object",
        ),
        ("pol", "PUT", "/api/policies/%2F/p", Some(policy), 201, ""),
        ("mon", "GET", "/api/nodes", None, 200, ""),
        ("mon", "PUT", "/api/vhosts/x", None, 401, "Not administrator user"),
        ("man", "GET", "/api/queues/%2F", None, 200, ""),
    ] {
        let reply = fake.call_as(&format!("{user}:pw"), method, path, body).await;
        assert_eq!(reply.status.as_u16(), status, "{user} {path} {}", reply.body);
        if status == 401 {
            assert_eq!(reply.body, json!({"error": "not_authorised", "reason": reason}));
        }
    }
}

#[tokio::test]
async fn lists_show_the_vhosts_that_a_user_may_enter() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/vhosts/other", None, 201).await;
    add_user(&fake, "man", "management").await;
    permit(&fake, "man", ".*").await;
    let reply = fake.call_as("man:pw", "GET", "/api/vhosts?columns=name", None).await;
    assert_eq!(reply.body, json!([{"name": "/"}]));
    let reply = fake.call_as("man:pw", "GET", "/api/queues/other", None).await;
    // rabbitmq: it is hidden
    assert_eq!(reply.body, json!({"error": "not_found", "reason": "Not Found"}));
}

// ---- what test suites do first ------------------------------------------------------------------

#[tokio::test]
async fn a_vhost_is_prepared_as_the_differential_test_does() {
    let fake = Fake::new();
    let body = Some(json!({}));
    expect(&fake, "PUT", "/api/vhosts/dx-1", body.clone(), 201).await;
    expect(&fake, "PUT", "/api/vhosts/dx-1", body, 204).await;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    expect(&fake, "PUT", "/api/permissions/dx-1/guest", Some(all.clone()), 204).await;
    add_user(&fake, "dx-u", "").await;
    expect(&fake, "PUT", "/api/users/dx-u", Some(json!({"password": "new", "tags": ""})), 204)
        .await;
    expect(&fake, "PUT", "/api/permissions/dx-1/dx-u", Some(all), 201).await;
    let topic = json!({"exchange": "t", "write": "^a", "read": "^b"});
    expect(&fake, "PUT", "/api/topic-permissions/dx-1/dx-u", Some(topic), 201).await;
    let policy = json!({"pattern": "^q", "definition": {"message-ttl": 100}, "priority": 0, "apply-to": "all"});
    expect(&fake, "PUT", "/api/policies/dx-1/p", Some(policy.clone()), 201).await;
    expect(&fake, "PUT", "/api/policies/dx-1/p", Some(policy.clone()), 204).await;
    expect(&fake, "PUT", "/api/operator-policies/dx-1/p", Some(policy), 201).await;
    expect(&fake, "PUT", "/api/vhost-limits/dx-1/max-queues", Some(json!({"value": 2})), 204).await;
    expect(&fake, "PUT", "/api/user-limits/dx-u/max-connections", Some(json!({"value": 1})), 204)
        .await;
    assert_eq!(
        fake.get("/api/vhost-limits/dx-1").await,
        json!([{"vhost": "dx-1", "value": {"max-queues": 2}}])
    );
    assert_eq!(
        fake.get("/api/user-limits/dx-u").await,
        json!([{"user": "dx-u", "value": {"max-connections": 1}}])
    );
    for path in ["policies/dx-1/p", "operator-policies/dx-1/p", "vhosts/dx-1", "users/dx-u"] {
        expect(&fake, "DELETE", &format!("/api/{path}"), None, 204).await;
        expect(&fake, "DELETE", &format!("/api/{path}"), None, 404).await;
    }
}

#[tokio::test]
async fn a_broker_is_cleaned_as_the_suites_do() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/a%20b%2Fc", Some(json!({"durable": true})), 201).await;
    expect(&fake, "PUT", "/api/exchanges/%2F/e", Some(json!({"type": "topic"})), 201).await;
    assert_eq!(fake.get("/api/queues/%2F?columns=name").await, json!([{"name": "a b/c"}]));
    expect(&fake, "DELETE", "/api/queues/%2F/a%20b%2Fc", None, 204).await;
    for exchange in fake.get("/api/exchanges/%2F").await.as_array().unwrap() {
        let name = exchange["name"].as_str().unwrap();
        if !name.is_empty() && !name.starts_with("amq.") {
            expect(&fake, "DELETE", &format!("/api/exchanges/%2F/{name}"), None, 204).await;
        }
    }
    assert_eq!(fake.get("/api/queues/%2F").await, json!([]));
    assert!(fake.get("/api/exchanges/%2F?columns=name").await.as_array().unwrap().len() >= 7);
}

// ---- queues, exchanges, bindings ----------------------------------------------------------------

#[tokio::test]
async fn a_queue_shows_what_it_is_and_holds() {
    let fake = Fake::new();
    let body = json!({"durable": "true", "arguments": {"x-max-priority": 5}});
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(body), 201).await;
    let policy = json!({"pattern": "^q", "definition": {"max-length": 9}});
    expect(&fake, "PUT", "/api/policies/%2F/short", Some(policy), 201).await;
    let queue = fake.get("/api/queues/%2F/q").await;
    assert!(queue.get("message_stats").is_none(), "nothing has happened");
    fake.fill("q", 3, 8);
    let queue = fake.get("/api/queues/%2F/q").await;
    for (key, value) in [
        ("name", json!("q")),
        ("vhost", json!("/")),
        ("type", json!("classic")),
        ("durable", json!(true)),
        ("auto_delete", json!(false)),
        ("exclusive", json!(false)),
        ("arguments", json!({"x-max-priority": 5})),
        ("policy", json!("short")),
        ("effective_policy_definition", json!({"max-length": 9})),
        ("node", json!("rabbit@test")),
        ("state", json!("running")),
        ("messages", json!(3)),
        ("messages_ready", json!(3)),
        ("messages_unacknowledged", json!(0)),
        ("message_stats", json!({"publish": 8, "publish_details": {"rate": 0.0}})),
        ("consumer_details", json!([])),
    ] {
        assert_eq!(queue[key], value, "{key}");
    }
}

#[tokio::test]
async fn a_queue_is_refused_in_the_words_of_amqp() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({"durable": true})), 201).await;
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({"durable": true})), 204).await;
    let refused = expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({})), 400).await;
    assert_eq!(
        refused,
        json!({
            "error": "bad_request",
            "reason": "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        })
    );
    let missing = expect(&fake, "GET", "/api/queues/%2F/none", None, 404).await;
    assert_eq!(missing, json!({"error": "Object Not Found", "reason": "Not Found"}));
    expect(&fake, "GET", "/api/queues/none/q", None, 404).await;
    let wrong = json!({"arguments": 7});
    expect(&fake, "PUT", "/api/queues/%2F/w", Some(wrong), 400).await;
}

#[tokio::test]
async fn declaring_needs_the_permissions_of_amqp() {
    let fake = Fake::new();
    add_user(&fake, "man", "management").await;
    permit(&fake, "man", "^mine").await;
    let put = async |path: &str| fake.call_as("man:pw", "PUT", path, Some(json!({}))).await;
    assert_eq!(put("/api/queues/%2F/mine").await.status, StatusCode::CREATED);
    let refused = put("/api/queues/%2F/yours").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.body["reason"], "Access refused.");
    assert_eq!(put("/api/exchanges/%2F/yours").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn queues_are_deleted_on_condition_and_purged() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({})), 201).await;
    fake.fill("q", 3, 3);
    let refused = expect(&fake, "DELETE", "/api/queues/%2F/q?if-empty=true", None, 400).await;
    assert_eq!(refused["reason"], "queue 'q' in vhost '/' not empty");
    expect(&fake, "DELETE", "/api/queues/%2F/q/contents", None, 204).await;
    expect(&fake, "DELETE", "/api/queues/%2F/q?if-empty=true", None, 204).await;
    expect(&fake, "DELETE", "/api/queues/%2F/q", None, 404).await;
}

#[tokio::test]
async fn bindings_are_made_named_and_removed() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({})), 201).await;
    expect(&fake, "PUT", "/api/exchanges/%2F/x", Some(json!({"type": "headers"})), 201).await;
    let path = "/api/bindings/%2F/e/x/q/q";
    let body = json!({"routing_key": "a b", "arguments": {"x-match": "any", "n": 1}});
    let reply = fake.call("POST", path, Some(body)).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let location = reply.headers[header::LOCATION].to_str().unwrap().to_owned();
    let found = fake.get(&location).await;
    assert_eq!(found["routing_key"], "a b");
    assert_eq!(found["arguments"], json!({"x-match": "any", "n": 1}));
    assert_eq!(found["destination_type"], "queue");
    assert_eq!(fake.get(path).await.as_array().unwrap().len(), 1);
    expect(&fake, "POST", path, Some(json!({})), 201).await;
    let keys = fake.get("/api/queues/%2F/q/bindings?columns=source,properties_key").await;
    assert_eq!(keys[0], json!({"source": "", "properties_key": "q"}));
    assert_eq!(keys.as_array().unwrap().len(), 3);
    expect(&fake, "DELETE", &location, None, 204).await;
    expect(&fake, "DELETE", &location, None, 404).await;
    expect(&fake, "DELETE", &format!("{path}/~"), None, 204).await;
    expect(&fake, "POST", "/api/bindings/%2F/e/none/q/q", Some(json!({})), 404).await;
    let implicit = fake.get("/api/exchanges/%2F/amq.default/bindings/source").await;
    assert_eq!(implicit.as_array().unwrap().len(), 1);
}

// ---- people, policies, parameters ---------------------------------------------------------------

#[tokio::test]
async fn users_are_shown_with_hashes_and_never_passwords() {
    let fake = Fake::new();
    add_user(&fake, "u", "monitoring, policymaker").await;
    let user = fake.get("/api/users/u").await;
    assert_eq!(user["tags"], json!(["monitoring", "policymaker"]));
    assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_sha256");
    let hash = user["password_hash"].as_str().unwrap();
    let copy = json!({"password_hash": hash, "tags": ["management"]});
    expect(&fake, "PUT", "/api/users/copy", Some(copy), 201).await;
    let reply = fake.call_as("copy:pw", "GET", "/api/whoami", None).await;
    assert_eq!(
        reply.body,
        json!({"name": "copy", "tags": ["management"], "is_internal_user": true})
    );
    for (body, reason) in [
        (json!({"password": "x"}), json!("tags_not_present")),
        (
            json!({"password": "x", "password_hash": "y", "tags": ""}),
            json!("both_password_and_password_hash_are_provided"),
        ),
        (json!({"password_hash": "!", "tags": ""}), json!(["not_base64", "!"])),
    ] {
        let refused = expect(&fake, "PUT", "/api/users/bad", Some(body), 400).await;
        assert_eq!(refused["reason"], reason);
    }
    let gone = json!({"users": ["u", "copy"]});
    expect(&fake, "POST", "/api/users/bulk-delete", Some(gone), 204).await;
    assert_eq!(fake.get("/api/users?columns=name").await, json!([{"name": "guest"}]));
}

#[tokio::test]
async fn policies_are_checked_and_shown() {
    let fake = Fake::new();
    for (body, words) in [
        (json!({"pattern": "^q"}), "[{key_missing,definition}]"),
        (json!({"pattern": "^q", "definition": {"foo": 1}}), "are not recognised policy settings"),
        (json!({"pattern": "(", "definition": {"max-length": 1}}), "("),
        (json!({"pattern": "", "definition": {"max-length": 1}, "apply-to": "cars"}), "cars"),
        (json!({"pattern": "", "definition": 7}), "definition"),
    ] {
        let refused = expect(&fake, "PUT", "/api/policies/%2F/p", Some(body), 400).await;
        assert!(refused["reason"].as_str().unwrap().contains(words), "{refused}");
    }
    let body = json!({"pattern": "^q", "definition": {"ha-mode": "exactly", "ha-params": 2}, "priority": "3", "apply-to": "queues"});
    expect(&fake, "PUT", "/api/policies/%2F/p", Some(body), 201).await;
    assert_eq!(
        fake.get("/api/policies/%2F").await,
        json!([{
            "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues",
            "definition": {"ha-mode": "exactly", "ha-params": 2}, "priority": 3,
        }])
    );
}

#[tokio::test]
async fn parameters_and_the_name_of_the_cluster_are_kept() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/cluster-name", Some(json!({"name": "hares"})), 204).await;
    assert_eq!(fake.get("/api/cluster-name").await, json!({"name": "hares"}));
    let value = json!({"value": {"a": [1, 2.5, null]}});
    expect(&fake, "PUT", "/api/global-parameters/g", Some(value), 201).await;
    let global = fake.get("/api/global-parameters/g").await;
    assert_eq!(global, json!({"name": "g", "value": {"a": [1, 2.5, null]}}));
    expect(&fake, "DELETE", "/api/global-parameters/g", None, 204).await;
    expect(&fake, "GET", "/api/global-parameters/g", None, 404).await;
    expect(&fake, "PUT", "/api/vhost-limits/%2F/max-connections", Some(json!({"value": 4})), 204)
        .await;
    let limits = fake.get("/api/parameters/vhost-limits/%2F").await;
    assert_eq!(limits[0]["value"], json!({"max-connections": 4}));
    expect(&fake, "PUT", "/api/vhost-limits/%2F/max-connections", Some(json!({"value": -1})), 204)
        .await;
    assert_eq!(fake.get("/api/vhost-limits").await, json!([]));
    expect(&fake, "PUT", "/api/vhost-limits/%2F/max-cars", Some(json!({"value": 1})), 400).await;
}

// ---- connections --------------------------------------------------------------------------------

fn with_a_client(fake: &Fake) {
    let id = ConnectionId(4);
    let key = ChannelKey { connection: id, number: 1, incarnation: 1 };
    fake.connections.lock().unwrap().push(ConnectionView {
        id,
        peer: "127.0.0.1:5555".into(),
        local: "127.0.0.1:5672".into(),
        tls: None,
        user: "guest".into(),
        vhost: "/".into(),
        mechanism: "PLAIN",
        client_properties: leveret_engine::view::Table::new(),
        user_provided_name: Some("worker".into()),
        state: "running",
        channels: 1,
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
        connected_at: Timestamp(1_700_000_000_000),
        received_bytes: 10,
        sent_bytes: 20,
        received_frames: 2,
    });
    fake.channels.lock().unwrap().push(ChannelView {
        key,
        consumers: 1,
        unacked: 2,
        unconfirmed: 0,
        uncommitted: 0,
        uncommitted_acks: 0,
        prefetch: 10,
        global_prefetch: 0,
        confirm: true,
        transactional: false,
        stats: MessageStats { publish: 3, ..MessageStats::default() },
    });
    fake.consumers.lock().unwrap().push(ConsumerView {
        id: ConsumerId(1),
        channel: key,
        queue: fake.queue_id("q"),
        vhost: "/".into(),
        queue_name: "q".into(),
        tag: "ctag".into(),
        no_ack: false,
        exclusive: false,
        active: true,
        prefetch: 10,
        arguments: leveret_engine::view::Table::new(),
        user: "guest".into(),
    });
}

#[tokio::test]
async fn connections_channels_and_consumers_refer_to_one_another() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({})), 201).await;
    with_a_client(&fake);
    let name = "127.0.0.1:5555 -> 127.0.0.1:5672";
    let path = "/api/connections/127.0.0.1%3A5555%20-%3E%20127.0.0.1%3A5672";
    let connection = fake.get(path).await;
    assert_eq!(connection["name"], name);
    assert_eq!(connection["peer_port"], 5555);
    assert_eq!(connection["user_provided_name"], "worker");
    let channel = fake.get("/api/channels/127.0.0.1%3A5555%20-%3E%20127.0.0.1%3A5672%20(1)").await;
    assert_eq!(channel["connection_details"]["name"], name);
    assert_eq!(channel["message_stats"]["publish"], 3);
    assert_eq!(channel["message_stats"]["publish_details"], json!({"rate": 0.0}));
    assert!(channel["message_stats"].get("deliver").is_none(), "nothing was delivered");
    assert_eq!(channel["consumer_details"][0]["consumer_tag"], "ctag");
    let queue = fake.get("/api/queues/%2F/q").await;
    assert_eq!(queue["consumer_details"][0]["channel_details"]["connection_name"], name);
    assert_eq!(fake.get("/api/consumers/%2F").await.as_array().unwrap().len(), 1);
    assert_eq!(fake.get("/api/vhosts/%2F/connections").await.as_array().unwrap().len(), 1);
    expect(&fake, "DELETE", path, None, 204).await;
    expect(&fake, "DELETE", "/api/connections/nobody", None, 404).await;
    let closed = fake.closed.lock().unwrap().clone();
    assert_eq!(closed, [(ConnectionId(4), "Closed via management plugin".to_owned())]);
}

#[tokio::test]
async fn nobody_sees_or_ends_the_connections_of_others() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({})), 201).await;
    with_a_client(&fake);
    add_user(&fake, "man", "management").await;
    permit(&fake, "man", ".*").await;
    for path in ["/api/connections", "/api/channels", "/api/consumers"] {
        let reply = fake.call_as("man:pw", "GET", path, None).await;
        assert_eq!(reply.body, json!([]), "{path}");
    }
    let path = "/api/connections/127.0.0.1%3A5555%20-%3E%20127.0.0.1%3A5672";
    for method in ["GET", "DELETE"] {
        let reply = fake.call_as("man:pw", method, path, None).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{method}");
    }
    let reply = fake.call_as("man:pw", "DELETE", "/api/connections/username/guest", None).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(fake.closed.lock().unwrap().is_empty());
}

// ---- the broker ---------------------------------------------------------------------------------

#[tokio::test]
async fn overview_and_nodes_have_what_tools_read() {
    let fake = Fake::new();
    let overview = fake.get("/api/overview").await;
    assert_eq!(overview["rabbitmq_version"], "3.13.7");
    assert_eq!(overview["node"], "rabbit@test");
    assert_eq!(overview["object_totals"]["exchanges"], 8);
    assert_eq!(overview["listeners"][0]["port"], 5672);
    assert_eq!(overview["message_stats"]["deliver_get"], 7);
    let node = fake.get("/api/nodes/rabbit@test").await;
    assert_eq!(node["os_pid"], "7", "a text, as RabbitMQ");
    assert_eq!(node["running"], true);
    assert_eq!(fake.get("/api/nodes?columns=name").await, json!([{"name": "rabbit@test"}]));
    expect(&fake, "GET", "/api/nodes/other", None, 404).await;
}

#[tokio::test]
async fn health_checks_fail_with_503_and_a_reason() {
    let fake = Fake::new();
    for path in [
        "health/checks/alarms",
        "health/checks/local-alarms",
        "health/checks/virtual-hosts",
        "health/checks/node-is-quorum-critical",
        "health/checks/port-listener/5672",
        "health/checks/protocol-listener/amqp091",
        "healthchecks/node",
        "aliveness-test/%2F",
    ] {
        assert_eq!(fake.get(&format!("/api/{path}")).await["status"], "ok", "{path}");
    }
    let missing = expect(&fake, "GET", "/api/health/checks/port-listener/1", None, 503).await;
    assert_eq!(missing["missing"], 1);
    expect(&fake, "GET", "/api/health/checks/protocol-listener/mqtt", None, 503).await;
    fake.alarms.lock().unwrap().push(Alarm::Memory);
    let failed = expect(&fake, "GET", "/api/health/checks/alarms", None, 503).await;
    assert_eq!(failed["alarms"], json!([{"node": "rabbit@test", "resource": "memory"}]));
    *fake.connection_max.lock().unwrap() = Some(0);
    let request = Request::get("/api/health/checks/ready-to-serve-clients");
    let reply = send(router(fake.state()), request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "and no password is asked for");
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_json() {
    let fake = Fake::new();
    expect(&fake, "GET", "/api/nothing", None, 404).await;
    let refused = expect(&fake, "PATCH", "/api/queues", None, 405).await;
    assert_eq!(refused, Value::Null, "RabbitMQ answers a wrong method without a body");
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let fake = Fake::new();
    let big = json!({"description": "x".repeat(20_000)});
    let refused = expect(&fake, "PUT", "/api/vhosts/big", Some(big), 400).await;
    assert_eq!(refused["reason"], "Exceeded HTTP request body size limit");
    let refused = expect(&fake, "PUT", "/api/vhosts/big", Some(json!([1])), 400).await;
    assert_eq!(refused, json!({"error": "bad_request", "reason": "not_json"}));
}

// ---- definitions --------------------------------------------------------------------------------

#[tokio::test]
async fn definitions_go_out_and_come_in_again() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/vhosts/v", Some(json!({"description": "d", "tags": "a,b"})), 201)
        .await;
    add_user(&fake, "u", "management").await;
    permit(&fake, "u", "^u").await;
    expect(
        &fake,
        "PUT",
        "/api/queues/%2F/q",
        Some(json!({"durable": true, "arguments": {"x-max-length": 3}})),
        201,
    )
    .await;
    expect(
        &fake,
        "PUT",
        "/api/exchanges/%2F/x",
        Some(json!({"type": "topic", "durable": true})),
        201,
    )
    .await;
    expect(&fake, "POST", "/api/bindings/%2F/e/x/q/q", Some(json!({"routing_key": "a.#"})), 201)
        .await;
    let policy = json!({"pattern": "^q", "definition": {"max-length": 5}});
    expect(&fake, "PUT", "/api/policies/%2F/p", Some(policy.clone()), 201).await;
    expect(&fake, "PUT", "/api/operator-policies/%2F/o", Some(policy), 201).await;
    expect(&fake, "PUT", "/api/vhost-limits/v/max-queues", Some(json!({"value": 7})), 204).await;
    let exported = fake.get("/api/definitions").await;
    let fresh = Fake::new();
    expect(&fresh, "POST", "/api/definitions", Some(exported.clone()), 204).await;
    assert_eq!(fresh.get("/api/definitions").await, exported);
    expect(&fresh, "POST", "/api/definitions", Some(exported.clone()), 204).await;
    assert_eq!(fresh.get("/api/definitions").await, exported, "a second import changes nothing");
    let of_vhost = fake.get("/api/definitions/%2F").await;
    assert_eq!(of_vhost["queues"][0].get("vhost"), None);
    assert!(of_vhost.get("users").is_none());
    expect(&fake, "POST", "/api/definitions/v", Some(of_vhost), 204).await;
    assert_eq!(fake.get("/api/bindings/v/e/x/q/q").await[0]["routing_key"], "a.#");
}

#[tokio::test]
async fn a_definitions_file_of_old_is_understood() {
    let fake = Fake::new();
    // The md5 hash of "test12" with the salt 0a0b0c0d, as RabbitMQ 3.5 wrote it.
    let file = json!({
        "rabbit_version": "3.5.7",
        "users": [{"name": "old", "password_hash": "CgsMDXHUUmtzTrdH7IrTlZAL3bg=", "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "old", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "queues": [{"name": "q", "vhost": "/", "auto_delete": false, "arguments": {}}],
        "parameters": [], "policies": [], "exchanges": [{"name": "amq.direct", "vhost": "/", "type": "fanout"}],
    });
    expect(&fake, "POST", "/api/definitions", Some(file), 204).await;
    let user = fake.get("/api/users/old").await;
    assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_md5");
    let reply = fake.call_as("old:test12", "GET", "/api/whoami", None).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(fake.get("/api/queues/%2F/q").await["durable"], true, "the default of a file");
    for (file, words) in [
        (json!({"users": [{"name": "x", "tags": ""}]}), "neither a password"),
        (json!({"queues": [{"name": "x"}]}), "does not name its vhost"),
        (json!({"queues": 7}), "not a list"),
    ] {
        let refused = expect(&fake, "POST", "/api/definitions", Some(file), 400).await;
        assert!(refused["reason"].as_str().unwrap().contains(words), "{refused}");
    }
}

// ---- Prometheus ---------------------------------------------------------------------------------

#[tokio::test]
async fn metrics_have_rabbitmqs_names() {
    let fake = Fake::new();
    expect(&fake, "PUT", "/api/queues/%2F/q", Some(json!({})), 201).await;
    fake.fill("q", 4, 4);
    fake.alarms.lock().unwrap().push(Alarm::Disk);
    let text = fake.metrics().await;
    for line in [
        "rabbitmq_identity_info{rabbitmq_cluster=\"rabbit@test\",rabbitmq_cluster_permanent_id=\"rabbit@test\",rabbitmq_endpoint=\"aggregated\",rabbitmq_node=\"rabbit@test\"} 1",
        "rabbitmq_queues 1",
        "rabbitmq_queue_messages_ready 4",
        "rabbitmq_connections_opened_total 5",
        "rabbitmq_channel_messages_published_total 10",
        "rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 10",
        "rabbitmq_global_messages_routed_total{protocol=\"amqp091\"} 9",
        "rabbitmq_global_messages_delivered_consume_auto_ack_total{protocol=\"amqp091\"} 7",
        "rabbitmq_alarms_free_disk_space_watermark 1",
        "rabbitmq_alarms_memory_used_watermark 0",
        "rabbitmq_erlang_uptime_seconds 61",
        "# TYPE rabbitmq_connections_opened_total counter",
        "# TYPE rabbitmq_queues gauge",
        "# TYPE leveret_store_sync_seconds histogram",
        "leveret_store_sync_seconds_bucket{le=\"0.1\"} 5",
        "leveret_store_sync_seconds_bucket{le=\"+Inf\"} 6",
        "leveret_store_sync_seconds_sum 0.5",
        "leveret_store_window_bytes 1234",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert_eq!(text.matches("rabbitmq_identity_info{").count(), 1);
    assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    assert!(text.contains("rabbitmq_build_info{"), "{text}");
}
