//! The order of counters in samples, and RabbitMQ's names for them. Names and values stand in the same
//! order; a history knows its values by their index.

use leveret_engine::view::{ChannelView, ConnectionView, MessageStats, QueueFigures, Totals};

/// Counters of what is published.
pub(crate) const PUBLISHED: [&str; 4] =
    ["publish", "confirm", "return_unroutable", "drop_unroutable"];

/// Counters of what is delivered.
pub(crate) const DELIVERED: [&str; 8] = [
    "get",
    "get_no_ack",
    "deliver",
    "deliver_no_ack",
    "redeliver",
    "ack",
    "deliver_get",
    "get_empty",
];

/// Counters of what comes and goes on the node.
pub(crate) const CHURN: [&str; 7] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];

/// Lengths of queues.
pub(crate) const LENGTHS: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];

/// Bytes of connections.
pub(crate) const BYTES: [&str; 2] = ["recv_oct", "send_oct"];

/// Where the lengths of a node or a queue begin.
pub(crate) const LENGTHS_AT: usize = PUBLISHED.len() + DELIVERED.len();

/// Where the churn of a node begins.
pub(crate) const CHURN_AT: usize = LENGTHS_AT + LENGTHS.len();

/// Published, then delivered.
pub(crate) fn messages(stats: &MessageStats) -> [u64; LENGTHS_AT] {
    [
        stats.publish,
        stats.confirm,
        stats.return_unroutable,
        stats.drop_unroutable,
        stats.get,
        stats.get_no_ack,
        stats.deliver,
        stats.deliver_no_ack,
        stats.redeliver,
        stats.ack,
        stats.deliver + stats.deliver_no_ack + stats.get + stats.get_no_ack,
        stats.get_empty,
    ]
}

/// A queue's counters as those of messages; what queues do not count is 0.
pub(crate) fn queue_messages(figures: &QueueFigures) -> MessageStats {
    let stats = &figures.stats;
    MessageStats {
        publish: stats.published,
        get: stats.got,
        get_no_ack: stats.got_no_ack,
        get_empty: stats.got_empty,
        deliver: stats.delivered,
        deliver_no_ack: stats.delivered_no_ack,
        redeliver: stats.redelivered,
        ack: stats.acked,
        ..MessageStats::default()
    }
}

fn lengths(ready: u64, unacked: u64) -> [u64; 3] {
    [ready + unacked, ready, unacked]
}

/// What came and went.
pub(crate) fn churn(totals: &Totals) -> [u64; 7] {
    [
        totals.connections_opened,
        totals.connections_closed,
        totals.channels_opened,
        totals.channels_closed,
        totals.queues_declared,
        totals.queues_created,
        totals.queues_deleted,
    ]
}

pub(crate) fn of_node(totals: &Totals) -> Box<[u64]> {
    let lengths = lengths(totals.ready, totals.unacked);
    [&messages(&totals.messages)[..], &lengths, &churn(totals)].concat().into()
}

pub(crate) fn of_queue(figures: &QueueFigures) -> Box<[u64]> {
    let counts = &figures.counts;
    let messages = messages(&queue_messages(figures));
    [&messages[..], &lengths(counts.ready, counts.unacked)].concat().into()
}

pub(crate) fn of_channel(channel: &ChannelView) -> Box<[u64]> {
    messages(&channel.stats).into()
}

pub(crate) fn of_connection(connection: &ConnectionView) -> Box<[u64]> {
    [connection.received_bytes, connection.sent_bytes].into()
}
