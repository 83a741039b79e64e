//! Moving messages by hand: what is asked for reaches the broker, and what is wrong is named.

use crate::fake::Fake;
use axum::http::StatusCode;
use leveret_engine::Timestamp;
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "/api/leveret/redrives";

async fn with_queues(names: &[&str]) -> Arc<Fake> {
    let fake = Fake::new();
    for name in names {
        fake.call("PUT", &format!("/api/queues/%2F/{name}"), Some(json!({"durable": true}))).await;
    }
    fake
}

#[tokio::test]
async fn a_redrive_is_begun_shown_and_cancelled() {
    let fake = with_queues(&["dead", "jobs"]).await;
    let body = json!({
        "vhost": "/", "queue": "dead", "died_in": "jobs", "reason": "rejected",
        "older_than": 60, "rate": 10, "limit": 5, "dry_run": true,
    });
    let reply = fake.call("POST", PATH, Some(body)).await;
    assert_eq!((reply.status, &reply.body["state"]), (StatusCode::ACCEPTED, &json!("running")));
    let wanted = fake.redrives.lock().unwrap()[0].wanted.clone();
    assert_eq!((&*wanted.user.name, &*wanted.queue), ("guest", "dead"));
    assert_eq!(
        (wanted.died_in.as_deref(), wanted.reason.as_deref()),
        (Some("jobs"), Some("rejected"))
    );
    assert_eq!(wanted.before, Some(Timestamp(1_000_000_000 - 60_000)));
    assert_eq!((wanted.rate, wanted.limit, wanted.dry_run), (Some(10), Some(5), true));
    assert_eq!(fake.call("GET", PATH, None).await.body[0]["id"], 1);
    assert_eq!(fake.call("DELETE", "/api/leveret/redrives/1", None).await.status, 204);
    let one = fake.call("GET", "/api/leveret/redrives/1", None).await;
    assert_eq!(one.body["state"], "cancelled");
    assert_eq!(fake.call("GET", "/api/leveret/redrives/2", None).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_redriven_is_refused() {
    let fake = with_queues(&["dead"]).await;
    for (body, status, reason) in [
        (json!({"queue": "dead"}), 400, "[{key_missing,vhost}]"),
        (json!({"vhost": "/", "queue": "none"}), 404, "queue_not_found"),
        (json!({"vhost": "/", "queue": "dead", "to": "none"}), 404, "queue_not_found"),
        (json!({"vhost": "/", "queue": "dead", "to": "dead"}), 400, "to is the queue itself"),
        (json!({"vhost": "/", "queue": "dead", "rate": 0}), 400, "rate is at least 1, not 0"),
    ] {
        let reply = fake.call("POST", PATH, Some(body.clone())).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["reason"]),
            (status, &json!(reason)),
            "{body}"
        );
    }
    let reply = fake.call("POST", PATH, Some(json!({"vhost": "/", "que": "dead"}))).await;
    assert!(reply.body["reason"].as_str().unwrap().starts_with("there is no field que"));
    assert!(fake.redrives.lock().unwrap().is_empty());
}

#[tokio::test]
async fn messages_are_put_into_a_queue_as_they_are() {
    let fake = with_queues(&["q"]).await;
    let path = "/api/leveret/queues/%2F/q/messages";
    let message =
        json!({"exchange": "x", "routing_key": "k", "properties": "AAA=", "payload": "aGk="});
    let reply = fake.call("POST", path, Some(json!({"messages": [message]}))).await;
    assert_eq!((reply.status, reply.body), (StatusCode::OK, json!({"put": 1})));
    let put = fake.put.lock().unwrap().pop().unwrap();
    assert_eq!((&*put.exchange, &*put.routing_key), (&b"x"[..], &b"k"[..]));
    assert_eq!((&*put.properties, &*put.body), (&[0, 0][..], &b"hi"[..]));
    for messages in [json!(7), json!([{"exchange": "x"}])] {
        let reply = fake.call("POST", path, Some(json!({"messages": messages}))).await;
        assert_eq!(reply.status, 400);
    }
    let none = fake.call("POST", "/api/leveret/queues/%2F/none/messages", Some(json!({}))).await;
    assert_eq!(none.status, 404);
}
