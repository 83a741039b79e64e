//! `message_stats` and the `*_details` beside counters and lengths, as RabbitMQ shows them.

use super::App;
use crate::counters::{
    BYTES, CHURN, CHURN_AT, DELIVERED, LENGTHS, LENGTHS_AT, PUBLISHED, messages,
};
use crate::list::ListQuery;
use crate::samples::{History, Range, Subject};
use leveret_engine::view::MessageStats;
use serde_json::{Map, Value, json};

/// The counters of a node, a queue or a channel, with their rates.
// rabbitmq: the whole object is absent until there was activity, then a group appears as a whole
pub(super) fn of_messages(
    app: &App,
    subject: Subject,
    stats: &MessageStats,
    query: &ListQuery,
) -> Map<String, Value> {
    let values = messages(stats);
    let mut shown = Map::new();
    app.samples.with(subject, |history| {
        let (published, delivered) = values.split_at(PUBLISHED.len());
        // A queue confirms and returns nothing; that is told of exchanges and channels.
        let names = if matches!(subject, Subject::Queue(_)) { 1 } else { PUBLISHED.len() };
        let range = query.ranges.messages;
        put_group(
            &mut shown,
            PUBLISHED.get(..names).unwrap_or(&PUBLISHED),
            published,
            (history, 0, range),
        );
        put_group(&mut shown, &DELIVERED, delivered, (history, PUBLISHED.len(), range));
    });
    shown
}

fn put_group(
    shown: &mut Map<String, Value>,
    names: &[&str],
    values: &[u64],
    (history, at, range): (&History<'_>, usize, Option<Range>),
) {
    if values.iter().all(|value| *value == 0) {
        return;
    }
    for (n, (name, value)) in names.iter().zip(values).enumerate() {
        shown.insert((*name).to_owned(), json!(value));
        shown.insert(format!("{name}_details"), history.details(at + n, range));
    }
}

/// Puts `message_stats` into an object, unless nothing has happened.
pub(super) fn put(object: &mut Value, stats: Map<String, Value>) {
    if let (Some(object), false) = (object.as_object_mut(), stats.is_empty()) {
        object.insert("message_stats".to_owned(), Value::Object(stats));
    }
}

/// Puts the details of `messages` and its like beside them.
pub(super) fn put_lengths(app: &App, object: &mut Value, subject: Subject, query: &ListQuery) {
    put_details(app, object, subject, (&LENGTHS, LENGTHS_AT), query.ranges.lengths);
}

/// Puts the details of what comes and goes beside it.
pub(super) fn put_churn(app: &App, object: &mut Value, query: &ListQuery) {
    put_details(app, object, Subject::Node, (&CHURN, CHURN_AT), query.ranges.messages);
}

/// Puts the details of a connection's bytes beside them.
pub(super) fn put_bytes(app: &App, object: &mut Value, subject: Subject, query: &ListQuery) {
    put_details(app, object, subject, (&BYTES, 0), query.ranges.data);
}

fn put_details(
    app: &App,
    object: &mut Value,
    subject: Subject,
    (names, at): (&[&str], usize),
    range: Option<Range>,
) {
    app.samples.with(subject, |history| {
        for (n, name) in names.iter().enumerate() {
            object[format!("{name}_details")] = history.details(at + n, range);
        }
    });
}
