//! `message_stats` as RabbitMQ shows them: only what has ever happened is there.

use leveret_engine::QueueStats;
use leveret_engine::view::MessageStats;
use serde_json::{Map, Value, json};

/// The counters of a node or a channel.
pub(super) fn of_messages(stats: &MessageStats) -> Map<String, Value> {
    collect(&[
        ("publish", stats.publish),
        ("confirm", stats.confirm),
        ("return_unroutable", stats.return_unroutable),
        ("drop_unroutable", stats.drop_unroutable),
        ("get", stats.get),
        ("get_no_ack", stats.get_no_ack),
        ("get_empty", stats.get_empty),
        ("deliver", stats.deliver),
        ("deliver_no_ack", stats.deliver_no_ack),
        ("redeliver", stats.redeliver),
        ("ack", stats.ack),
        ("deliver_get", stats.deliver + stats.deliver_no_ack + stats.get + stats.get_no_ack),
    ])
}

/// The counters of a queue.
pub(super) fn of_queue(stats: &QueueStats) -> Map<String, Value> {
    collect(&[
        ("publish", stats.published),
        ("get", stats.got),
        ("get_no_ack", stats.got_no_ack),
        ("get_empty", stats.got_empty),
        ("deliver", stats.delivered),
        ("deliver_no_ack", stats.delivered_no_ack),
        ("redeliver", stats.redelivered),
        ("ack", stats.acked),
        ("deliver_get", stats.delivered + stats.delivered_no_ack + stats.got + stats.got_no_ack),
    ])
}

/// Puts `message_stats` into an object, unless nothing has happened.
// rabbitmq: the whole object is absent until there was activity
pub(super) fn put(object: &mut Value, stats: Map<String, Value>) {
    if let (Some(object), false) = (object.as_object_mut(), stats.is_empty()) {
        object.insert("message_stats".to_owned(), Value::Object(stats));
    }
}

fn collect(counters: &[(&str, u64)]) -> Map<String, Value> {
    counters
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| ((*name).to_owned(), json!(n)))
        .collect()
}
