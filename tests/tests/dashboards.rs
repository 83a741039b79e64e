//! Every series that RabbitMQ's own dashboards query is exported, from the start on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use leveret_tests::series::{exported, metrics};
use leveret_tests::{Broker, Management};
use serde_json::json;

const SERIES: &str = include_str!("../dashboards/series.txt");

#[test]
fn every_series_that_rabbitmqs_dashboards_query_is_there() {
    let broker = Broker::start();
    let shown = exported(&metrics(&broker, "/metrics"));
    let mut missing = Vec::new();
    let mut dashboard = "";
    for line in SERIES.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => dashboard = name,
            None if !shown.contains(line) => missing.push(format!("{dashboard}: {line}")),
            None => {}
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn messages_are_counted_by_size_under_the_bounds_that_the_dashboard_compares() {
    let Some(broker) = Broker::own(&Default::default()) else { return };
    let api = Management(broker.management());
    let (status, _) = api.request("PUT", "/api/queues/%2F/q", "{}");
    assert_eq!(status, 201);
    for bytes in [1, 100, 101, 5_000] {
        let body = json!({
            "properties": {}, "routing_key": "q", "payload": "x".repeat(bytes), "payload_encoding": "string",
        });
        let path = "/api/exchanges/%2F/amq.default/publish";
        assert_eq!(api.request("POST", path, &body.to_string()).0, 200);
    }
    let text = metrics(&broker, "/metrics");
    for line in [
        "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100.0\"} 2",
        "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"1000.0\"} 3",
        "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"1e+06\"} 4",
        "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"+Inf\"} 4",
        "rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"} 5202",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

#[test]
fn single_queues_are_told_to_those_who_ask() {
    let Some(broker) = Broker::own(&Default::default()) else { return };
    let api = Management(broker.management());
    for vhost in ["%2F", "shop"] {
        let (_, _) = api.request("PUT", &format!("/api/vhosts/{vhost}"), "{}");
        let (status, _) = api.request("PUT", &format!("/api/queues/{vhost}/a%22b"), "{}");
        assert_eq!(status, 201);
    }
    let each = metrics(&broker, "/metrics/per-object");
    let line = "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"a\\\"b\"} 0";
    assert!(each.lines().any(|shown| shown == line), "{each}");
    assert!(each.contains("rabbitmq_endpoint=\"per-object\""));
    let path = "/metrics/detailed?family=queue_coarse_metrics&family=vhost_status&vhost=shop";
    let some = metrics(&broker, path);
    assert!(
        some.contains("rabbitmq_detailed_queue_messages{vhost=\"shop\",queue=\"a\\\"b\"} 0\n"),
        "{some}"
    );
    assert!(some.contains("rabbitmq_cluster_vhost_status{vhost=\"shop\"} 1\n"), "{some}");
    assert!(!some.contains("queue_consumers") && !some.contains("vhost=\"/\""), "{some}");
    assert!(!metrics(&broker, "/metrics/detailed").contains("queue_messages"));
}
