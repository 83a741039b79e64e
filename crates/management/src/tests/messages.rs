//! Publishing and getting by hand, and what tools ask of a broker's inside.

use crate::fake::Fake;
use axum::http::StatusCode;
use serde_json::{Value, json};

const PUBLISH: &str = "/api/exchanges/%2F/amq.default/publish";

fn message(key: &str) -> Value {
    json!({"properties": {}, "routing_key": key, "payload": "x", "payload_encoding": "string"})
}

fn with(mut message: Value, key: &str, value: Value) -> Value {
    message[key] = value;
    message
}

async fn reason(fake: &std::sync::Arc<Fake>, path: &str, body: Value) -> (u16, Value) {
    let reply = fake.call("POST", path, Some(body)).await;
    (reply.status.as_u16(), reply.body["reason"].clone())
}

#[tokio::test]
async fn publishing_tells_whether_a_queue_was_reached() {
    let fake = Fake::new();
    for (key, routed) in [("q", true), ("nowhere", false)] {
        let reply = fake.call("POST", PUBLISH, Some(message(key))).await;
        assert_eq!((reply.status, reply.body), (StatusCode::OK, json!({"routed": routed})));
    }
    let full = reason(&fake, PUBLISH, message("full")).await;
    assert_eq!(full, (400, json!("rejected Unable to publish message. Check queue limits.")));
    let missing = reason(&fake, "/api/exchanges/%2F/none/publish", message("q")).await;
    assert_eq!(missing, (404, json!("exchange_not_found")));
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_named() {
    let fake = Fake::new();
    let base64 = |payload: &str| {
        with(with(message("q"), "payload", json!(payload)), "payload_encoding", json!("base64"))
    };
    for (body, expected) in [
        (with(message("q"), "payload", json!(7)), json!("payload_not_string")),
        (base64("!!"), json!(["not_base64", "!!"])),
        (
            with(message("q"), "payload_encoding", json!("utf8")),
            json!(["unsupported_encoding", "utf8"]),
        ),
        (
            with(message("q"), "properties", json!({"priority": "3"})),
            json!(["not_int", "priority"]),
        ),
        (
            with(message("q"), "properties", json!({"content_type": 7})),
            json!(["not_string", "content_type"]),
        ),
        (
            json!({"payload": "x"}),
            json!(
                "[{key_missing,routing_key},{key_missing,properties},{key_missing,payload_encoding}]"
            ),
        ),
    ] {
        assert_eq!(reason(&fake, PUBLISH, body.clone()).await, (400, expected), "{body}");
    }
    assert!(fake.by_hand.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_message_is_shown_as_it_was_published() {
    let fake = Fake::new();
    fake.call("PUT", "/api/queues/%2F/q", Some(json!({"durable": true}))).await;
    let properties = json!({"content_type": "text/plain", "delivery_mode": 2, "priority": 5,
        "timestamp": 7, "headers": {"a": 1, "b": ["x", true]}, "reply_to": "r"});
    fake.call("POST", PUBLISH, Some(with(message("q"), "properties", properties.clone()))).await;
    fake.call("POST", PUBLISH, Some(with(message("q"), "payload", json!("äbc")))).await;
    let get = |encoding: &str| json!({"count": 9, "ackmode": "ack_requeue_true", "encoding": encoding, "truncate": 3});
    let reply = fake.call("POST", "/api/queues/%2F/q/get", Some(get("auto"))).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body[0]["properties"], properties);
    assert_eq!(reply.body[1]["properties"], json!([]));
    assert_eq!(reply.body[1]["payload"], json!("äb"));
    assert_eq!(reply.body[1]["payload_bytes"], json!(4));
    let reply = fake.call("POST", "/api/queues/%2F/q/get", Some(get("base64"))).await;
    assert_eq!(reply.body[1]["payload"], json!("w6Ri"));
    assert_eq!(reply.body[1]["payload_encoding"], json!("base64"));
}

#[tokio::test]
async fn what_is_wrong_with_a_get_is_named() {
    let fake = Fake::new();
    fake.call("PUT", "/api/queues/%2F/q", Some(json!({}))).await;
    let path = "/api/queues/%2F/q/get";
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    let encoding = reason(&fake, path, with(get.clone(), "encoding", json!("utf"))).await;
    assert_eq!(encoding, (400, json!("Unsupported encoding. Please use auto or base64.")));
    let count = reason(&fake, path, with(get.clone(), "count", json!("x"))).await;
    assert_eq!(count, (400, json!(["not_integer", "x"])));
    let (status, mode) = reason(&fake, path, with(get.clone(), "ackmode", json!("bogus"))).await;
    assert_eq!(status, 400);
    assert!(mode.as_str().unwrap().starts_with("Invalid ackmode value: bogus."), "{mode}");
    let missing = reason(&fake, "/api/queues/%2F/none/get", get.clone()).await;
    assert_eq!(missing, (404, json!("queue_not_found")));
    let missing = reason(&fake, "/api/queues/none/q/get", get).await;
    assert_eq!(missing, (404, json!("vhost_not_found")));
}

#[tokio::test]
async fn a_protected_vhost_is_not_deleted() {
    let fake = Fake::new();
    fake.call("PUT", "/api/vhosts/v", None).await;
    let protection = "/api/vhosts/v/deletion/protection";
    assert_eq!(fake.call("POST", protection, None).await.status, StatusCode::NO_CONTENT);
    let refused = fake.call("DELETE", "/api/vhosts/v", None).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(fake.call("DELETE", protection, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(fake.call("DELETE", "/api/vhosts/v", None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn deprecated_features_in_use_are_named() {
    let fake = Fake::new();
    assert_eq!(fake.get("/api/deprecated-features/used").await, json!([]));
    fake.call("PUT", "/api/queues/%2F/q", Some(json!({"durable": false}))).await;
    let policy = json!({"pattern": ".", "definition": {"ha-mode": "all"}});
    fake.call("PUT", "/api/policies/%2F/p", Some(policy)).await;
    let used = fake.get("/api/deprecated-features/used?columns=name").await;
    assert_eq!(
        used,
        json!([{"name": "classic_queue_mirroring"}, {"name": "transient_nonexcl_queues"}])
    );
}

#[tokio::test]
async fn the_inside_of_a_node_is_shown_in_rabbitmqs_shape() {
    let fake = Fake::new();
    let memory = fake.get("/api/nodes/rabbit@test/memory").await;
    assert_eq!(memory["memory"]["total"]["rss"], json!(1000));
    let relative = fake.get("/api/nodes/rabbit@test/memory/relative").await;
    assert_eq!(relative["memory"]["other_system"], json!(100));
    for (method, path, status) in [
        ("GET", "/api/nodes/other/memory", 404),
        ("POST", "/api/rebalance/queues", 204),
        ("POST", "/api/vhosts/%2F/start/rabbit@test", 204),
        ("POST", "/api/vhosts/%2F/start/other", 400),
        ("PUT", "/api/feature-flags/quorum_queue/enable", 204),
        ("PUT", "/api/feature-flags/none/enable", 400),
        ("OPTIONS", "/api/queues", 200),
        ("PATCH", "/api/queues", 405),
    ] {
        assert_eq!(fake.call(method, path, None).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn rates_and_samples_come_from_rounds() {
    let fake = Fake::new();
    fake.call("PUT", "/api/queues/%2F/q", Some(json!({}))).await;
    for (round, n) in [(1, 10), (2, 60)] {
        fake.fill("q", n, n);
        fake.samples.take(&*fake, leveret_engine::Timestamp(round * 5000));
    }
    let queue = fake.get("/api/queues/%2F/q?msg_rates_age=5&msg_rates_incr=5").await;
    let stats = &queue["message_stats"];
    assert_eq!(stats["publish"], 60);
    assert_eq!(stats["publish_details"]["rate"], 10.0);
    assert_eq!(stats["publish_details"]["samples"][1], json!({"sample": 10, "timestamp": 5000}));
    assert_eq!(queue["messages_details"], json!({"rate": 10.0}), "no samples were asked for");
    let overview = fake.get("/api/overview").await;
    assert_eq!(overview["queue_totals"]["messages_details"]["rate"], 10.0);
    fake.call("DELETE", "/api/reset", None).await;
    let queue = fake.get("/api/queues/%2F/q").await;
    assert_eq!(queue["message_stats"]["publish_details"]["rate"], 0.0);
}
