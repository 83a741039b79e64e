//! Figures of single queues, channels, connections and exchanges, for the scrapes that ask for them. Written by hand: ten
//! thousand queues are a hundred thousand lines, and each line is written once.

use crate::State;
use crate::caller::read;
use leveret_engine::queue_meta::QueueMeta;
use leveret_engine::view::{ChannelView, ConnectionView, QueueFigures};
use std::fmt::{Display, Write as _};
use std::sync::Arc;

/// Which figures are wanted, and how they are called.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What names begin with.
    pub(super) prefix: &'static str,
    /// RabbitMQ's names for groups of figures; `None` is all but those of the cluster.
    pub(super) families: Option<Vec<String>>,
    /// Only these vhosts; empty for all.
    pub(super) vhosts: Vec<String>,
}

impl Wanted {
    fn has(&self, family: &str) -> bool {
        self.families.as_ref().is_none_or(|all| all.iter().any(|one| one == family))
    }

    /// What is told of the cluster has to be asked for.
    fn has_of_cluster(&self, family: &str) -> bool {
        self.families.is_some() && self.has(family)
    }

    fn sees(&self, vhost: &str) -> bool {
        self.vhosts.is_empty() || self.vhosts.iter().any(|one| one == vhost)
    }
}

/// A queue and what it holds.
type Queue = (Arc<QueueMeta>, QueueFigures);

/// One figure of an object: its name, whether it only goes up, its help, and how it is read.
type Figure<T> = (&'static str, Kind, &'static str, fn(&T) -> u64);

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

const QUEUE_COARSE: [Figure<Queue>; 3] = [
    ("queue_messages_ready", Kind::Gauge, "Messages ready to be delivered to consumers", |q| {
        q.1.counts.ready
    }),
    (
        "queue_messages_unacked",
        Kind::Gauge,
        "Messages delivered to consumers but not yet acknowledged",
        |q| q.1.counts.unacked,
    ),
    (
        "queue_messages",
        Kind::Gauge,
        "Sum of ready and unacknowledged messages - total queue depth",
        |q| q.1.counts.ready + q.1.counts.unacked,
    ),
];

const QUEUE_CONSUMERS: [Figure<Queue>; 1] =
    [("queue_consumers", Kind::Gauge, "Consumers on a queue", |q| u64::from(q.1.counts.consumers))];

const QUEUE: [Figure<Queue>; 4] = [
    (
        "queue_process_memory_bytes",
        Kind::Gauge,
        "Memory in bytes used by the messages of the queue",
        |q| q.1.memory,
    ),
    (
        "queue_messages_bytes",
        Kind::Gauge,
        "Size in bytes of ready and unacknowledged messages",
        |q| q.1.counts.ready_bytes + q.1.counts.unacked_bytes,
    ),
    ("queue_messages_ready_bytes", Kind::Gauge, "Size in bytes of ready messages", |q| {
        q.1.counts.ready_bytes
    }),
    (
        "queue_messages_unacked_bytes",
        Kind::Gauge,
        "Size in bytes of all unacknowledged messages",
        |q| q.1.counts.unacked_bytes,
    ),
];

const QUEUE_DELIVERY: [Figure<Queue>; 8] = [
    (
        "queue_messages_published_total",
        Kind::Counter,
        "Total number of messages published to queues",
        |q| q.1.stats.published,
    ),
    (
        "queue_get_ack_total",
        Kind::Counter,
        "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        |q| q.1.stats.got,
    ),
    (
        "queue_get_total",
        Kind::Counter,
        "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
        |q| q.1.stats.got_no_ack,
    ),
    (
        "queue_get_empty_total",
        Kind::Counter,
        "Total number of times basic.get operations fetched no message",
        |q| q.1.stats.got_empty,
    ),
    (
        "queue_messages_delivered_ack_total",
        Kind::Counter,
        "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        |q| q.1.stats.delivered,
    ),
    (
        "queue_messages_delivered_total",
        Kind::Counter,
        "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
        |q| q.1.stats.delivered_no_ack,
    ),
    (
        "queue_messages_redelivered_total",
        Kind::Counter,
        "Total number of messages redelivered to consumers",
        |q| q.1.stats.redelivered,
    ),
    (
        "queue_messages_acked_total",
        Kind::Counter,
        "Total number of messages acknowledged by consumers",
        |q| q.1.stats.acked,
    ),
];

const CHANNEL: [Figure<ChannelView>; 15] = [
    ("channel_consumers", Kind::Gauge, "Consumers on a channel", |c| u64::from(c.consumers)),
    ("channel_messages_unacked", Kind::Gauge, "Delivered but not yet acknowledged messages", |c| {
        c.unacked
    }),
    (
        "channel_messages_unconfirmed",
        Kind::Gauge,
        "Published but not yet confirmed messages",
        |c| c.unconfirmed,
    ),
    (
        "channel_messages_uncommitted",
        Kind::Gauge,
        "Messages received in a transaction but not yet committed",
        |c| c.uncommitted,
    ),
    (
        "channel_acks_uncommitted",
        Kind::Gauge,
        "Message acknowledgements in a transaction not yet committed",
        |c| c.uncommitted_acks,
    ),
    (
        "channel_messages_published_total",
        Kind::Counter,
        "Total number of messages published into an exchange on a channel",
        |c| c.stats.publish,
    ),
    (
        "channel_messages_confirmed_total",
        Kind::Counter,
        "Total number of messages published into an exchange and confirmed on the channel",
        |c| c.stats.confirm,
    ),
    (
        "channel_messages_unroutable_returned_total",
        Kind::Counter,
        "Total number of messages returned to the publisher as unroutable",
        |c| c.stats.return_unroutable,
    ),
    (
        "channel_messages_unroutable_dropped_total",
        Kind::Counter,
        "Total number of messages dropped as unroutable",
        |c| c.stats.drop_unroutable,
    ),
    (
        "channel_get_ack_total",
        Kind::Counter,
        "Total number of messages fetched with basic.get in manual acknowledgement mode",
        |c| c.stats.get,
    ),
    (
        "channel_get_total",
        Kind::Counter,
        "Total number of messages fetched with basic.get in automatic acknowledgement mode",
        |c| c.stats.get_no_ack,
    ),
    (
        "channel_messages_delivered_ack_total",
        Kind::Counter,
        "Total number of messages delivered to consumers in manual acknowledgement mode",
        |c| c.stats.deliver,
    ),
    (
        "channel_messages_delivered_total",
        Kind::Counter,
        "Total number of messages delivered to consumers in automatic acknowledgement mode",
        |c| c.stats.deliver_no_ack,
    ),
    (
        "channel_messages_redelivered_total",
        Kind::Counter,
        "Total number of messages redelivered to consumers",
        |c| c.stats.redeliver,
    ),
    (
        "channel_messages_acked_total",
        Kind::Counter,
        "Total number of messages acknowledged by consumers",
        |c| c.stats.ack,
    ),
];

const CONNECTION_COARSE: [Figure<ConnectionView>; 2] = [
    (
        "connection_incoming_bytes_total",
        Kind::Counter,
        "Total number of bytes received on a connection",
        |c| c.received_bytes,
    ),
    (
        "connection_outgoing_bytes_total",
        Kind::Counter,
        "Total number of bytes sent on a connection",
        |c| c.sent_bytes,
    ),
];

const CONNECTION: [Figure<ConnectionView>; 2] = [
    (
        "connection_incoming_packets_total",
        Kind::Counter,
        "Total number of packets received on a connection",
        |c| c.received_frames,
    ),
    ("connection_channels", Kind::Gauge, "Channels on a connection", |c| u64::from(c.channels)),
];

/// All that is wanted, as lines.
pub(super) fn text(state: &State, wanted: &Wanted) -> String {
    let mut out = Lines { prefix: wanted.prefix, text: String::new() };
    queues(state, wanted, &mut out);
    if wanted.has("channel_metrics") {
        let label = |c: &ChannelView| format!("channel=\"{}.{}\"", c.key.connection, c.key.number);
        out.family(&CHANNEL, &state.registry.channels(), label);
    }
    let connections = state.registry.connections();
    let label = |c: &ConnectionView| {
        format!("connection=\"{} -> {}\"", Escaped(&c.peer), Escaped(&c.local))
    };
    if wanted.has("connection_coarse_metrics") {
        out.family(&CONNECTION_COARSE, &connections, label);
    }
    if wanted.has("connection_metrics") {
        out.family(&CONNECTION, &connections, label);
    }
    cluster(state, wanted, &mut out);
    out.text
}

fn queues(state: &State, wanted: &Wanted, out: &mut Lines) {
    let families: [(&str, &[Figure<Queue>]); 4] = [
        ("queue_coarse_metrics", &QUEUE_COARSE),
        ("queue_consumer_count", &QUEUE_CONSUMERS),
        ("queue_metrics", &QUEUE),
        ("queue_delivery_metrics", &QUEUE_DELIVERY),
    ];
    if !families.iter().any(|(name, _)| wanted.has(name)) {
        return;
    }
    let all: Vec<Arc<QueueMeta>> = read(&*state.registry, |topology| {
        let vhosts = topology.vhosts().filter(|vhost| wanted.sees(vhost.name()));
        vhosts.flat_map(|vhost| vhost.queues().cloned()).collect()
    });
    let figures = |queue: Arc<QueueMeta>| {
        let figures = state.registry.queue_figures(queue.id)?;
        Some((queue, figures))
    };
    let all: Vec<Queue> = all.into_iter().filter_map(figures).collect();
    let label = |(queue, _): &Queue| {
        format!("vhost=\"{}\",queue=\"{}\"", Escaped(&queue.vhost), Escaped(&queue.name))
    };
    let labels: Vec<String> = all.iter().map(label).collect();
    for (name, figures) in families {
        if wanted.has(name) {
            out.labelled(figures, &all, &labels);
        }
    }
    // rabbitmq: queue_consumers is told once, by whichever group comes first
    out.head("queue_info", Kind::Gauge, "Metadata information about a queue");
    for ((queue, _), label) in all.iter().zip(&labels) {
        let kind = queue.kind.name();
        let more = format!("{label},queue_type=\"rabbit_{kind}_queue\",membership=\"leader\"");
        out.line("queue_info", &more, 1);
    }
}

/// What is told of the whole cluster, under names of its own.
fn cluster(state: &State, wanted: &Wanted, out: &mut Lines) {
    let prefix = std::mem::replace(&mut out.prefix, "rabbitmq_cluster_");
    let (vhosts, bindings) =
        (wanted.has_of_cluster("vhost_status"), wanted.has_of_cluster("exchange_bindings"));
    let names = wanted.has_of_cluster("exchange_names");
    read(&*state.registry, |topology| {
        if vhosts {
            out.head("vhost_status", Kind::Gauge, "Whether a given vhost is running");
            for vhost in topology.vhosts().filter(|vhost| wanted.sees(vhost.name())) {
                out.line("vhost_status", &format!("vhost=\"{}\"", Escaped(vhost.name())), 1);
            }
        }
        for (name, help, on) in [
            ("exchange_bindings", "Number of bindings for an exchange", bindings),
            ("exchange_name", "Enumerates exchanges without any additional info", names),
        ] {
            if !on {
                continue;
            }
            out.head(name, Kind::Gauge, help);
            for vhost in topology.vhosts().filter(|vhost| wanted.sees(vhost.name())) {
                for exchange in vhost.exchanges() {
                    let label = format!(
                        "vhost=\"{}\",exchange=\"{}\"",
                        Escaped(vhost.name()),
                        Escaped(&exchange.name)
                    );
                    match name {
                        "exchange_bindings" => {
                            let kind = exchange.kind.name();
                            let n = vhost.bindings_from(&exchange.name).count() as u64;
                            out.line(name, &format!("{label},type=\"{kind}\""), n);
                        }
                        _ => out.line(name, &label, 1),
                    }
                }
            }
        }
    });
    out.prefix = prefix;
}

/// Lines of the exposition format.
struct Lines {
    prefix: &'static str,
    text: String,
}

impl Lines {
    fn family<T>(&mut self, figures: &[Figure<T>], objects: &[T], label: impl Fn(&T) -> String) {
        let labels: Vec<String> = objects.iter().map(label).collect();
        self.labelled(figures, objects, &labels);
    }

    fn labelled<T>(&mut self, figures: &[Figure<T>], objects: &[T], labels: &[String]) {
        for (name, kind, help, read) in figures {
            self.head(name, *kind, help);
            for (object, label) in objects.iter().zip(labels) {
                self.line(name, label, read(object));
            }
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let prefix = self.prefix;
        let _infallible =
            writeln!(self.text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}");
    }

    fn line(&mut self, name: &str, label: &str, value: u64) {
        let _infallible = writeln!(self.text, "{}{name}{{{label}}} {value}", self.prefix);
    }
}

/// The value of a label.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
