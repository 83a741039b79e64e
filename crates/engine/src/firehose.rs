//! The firehose: copies of what is published and delivered in a vhost whose tracing is on, for its exchange
//! `amq.rabbitmq.trace`. Who sees a message tells what is known of it; routing the copy is somebody else's.
// rabbitmq: rabbit_trace

use leveret_codec::{
    ArrayWriter, Properties, PropertiesWriter, SHORT_STRING_MAX, TableWriter, ValueView,
};

use crate::block::Block;
use crate::record::{NewRecord, Record};

/// The exchange that the copies are published to. What is in it already is not copied again.
pub const EXCHANGE: &str = "amq.rabbitmq.trace";

/// What is known of a message that is seen.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The node where it is seen.
    pub node: &'a str,
    /// The vhost.
    pub vhost: &'a str,
    /// The client's connection by its name, `peer -> broker`.
    pub connection: &'a str,
    /// The channel's number.
    pub channel: u16,
    /// The client's user.
    pub user: &'a str,
    /// What happens to it.
    pub event: Event<'a>,
}

/// What happens to a message that is seen.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It was published and routed to these queues.
    Published(&'a [&'a str]),
    /// It is handed to a client.
    Delivered {
        /// From this queue.
        queue: &'a str,
        /// Whether it was delivered before.
        redelivered: bool,
    },
}

/// A copy of a message and the key that it is to be routed by.
#[derive(Debug)]
pub struct Copy {
    /// `publish.` and the exchange, or `deliver.` and the queue.
    pub routing_key: Vec<u8>,
    /// Its one record: the body as it was, and in the headers what is known.
    pub block: Block,
}

impl Copy {
    /// The copy of a message; none of what is a copy itself, and where a name is so long that there is no such key.
    #[must_use]
    pub fn of(record: &Record<'_>, seen: &Sighting<'_>) -> Option<Self> {
        let (way, place) = match seen.event {
            Event::Published(_) => (&b"publish."[..], record.exchange()),
            Event::Delivered { queue, .. } => (&b"deliver."[..], queue.as_bytes()),
        };
        let routing_key = [way, place].concat();
        if record.exchange() == EXCHANGE.as_bytes() || routing_key.len() > SHORT_STRING_MAX {
            return None;
        }
        let mut address = Vec::with_capacity(EXCHANGE.len() + routing_key.len() + 2);
        for name in [EXCHANGE.as_bytes(), &routing_key] {
            address.push(name.len() as u8);
            address.extend_from_slice(name);
        }
        let mut headers = Vec::new();
        write_headers(&mut TableWriter::new(&mut headers), record, seen);
        let properties = PropertiesWriter { headers: Some(&headers), ..Default::default() };
        let copy = NewRecord {
            address: &address,
            properties: &properties.to_bytes().ok()?,
            persistent: false,
            priority: 0,
            expires_at: None,
            body: record.body(),
        };
        let mut block = Block::with_capacity(copy.stored_len(), 1);
        block.push(&copy);
        Some(Self { routing_key, block })
    }
}

/// In the order of their names, as RabbitMQ has them.
fn write_headers(table: &mut TableWriter<'_>, record: &Record<'_>, seen: &Sighting<'_>) {
    table.value("channel", ValueView::Int(seen.channel.into()));
    table.string("connection", seen.connection);
    table.string("exchange_name", record.exchange());
    table.string("node", seen.node);
    table.table("properties", |table| write_properties(table, record.properties()));
    if let Event::Delivered { redelivered, .. } = seen.event {
        table.value("redelivered", ValueView::Int(redelivered.into()));
    }
    if let Event::Published(queues) = seen.event {
        table.array("routed_queues", |array| write_strings(array, queues.iter().copied()));
    }
    table.array("routing_keys", |array| write_strings(array, record.routing_keys()));
    table.string("user", seen.user);
    table.string("vhost", seen.vhost);
}

fn write_strings(array: &mut ArrayWriter<'_>, texts: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    texts.into_iter().for_each(|text| array.string(text));
}

/// Those that are there, last first, numbers in 32 bits as RabbitMQ has them.
fn write_properties(table: &mut TableWriter<'_>, properties: &[u8]) {
    let all = Properties::new(properties);
    let text = |table: &mut TableWriter<'_>, key: &str, value: Option<&[u8]>| {
        if let Some(value) = value {
            table.string(key, value);
        }
    };
    let number = |table: &mut TableWriter<'_>, key: &str, value: Option<u64>| {
        if let Some(value) = value {
            table.value(key, ValueView::Int(value as u32 as i32));
        }
    };
    text(table, "cluster_id", all.cluster_id());
    text(table, "app_id", all.app_id());
    text(table, "user_id", all.user_id());
    text(table, "type", all.type_());
    number(table, "timestamp", all.timestamp());
    text(table, "message_id", all.message_id());
    text(table, "expiration", all.expiration());
    text(table, "reply_to", all.reply_to());
    text(table, "correlation_id", all.correlation_id());
    number(table, "priority", all.priority().map(u64::from));
    number(table, "delivery_mode", all.delivery_mode().map(u64::from));
    if let Some(headers) = all.headers() {
        table.value("headers", ValueView::Table(headers));
    }
    text(table, "content_encoding", all.content_encoding());
    text(table, "content_type", all.content_type());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Body;

    fn seen(exchange: &str, event: Event<'_>) -> Option<Copy> {
        let address = [&[exchange.len() as u8], exchange.as_bytes(), b"\x03key"].concat();
        let mut block = Block::new();
        block.push(&NewRecord {
            address: &address,
            properties: &[0, 0],
            persistent: true,
            priority: 3,
            expires_at: None,
            body: Body::Inline(b"body"),
        });
        let (node, vhost, connection, user) = ("n@h", "/", "a -> b", "guest");
        Copy::of(&block.record(0), &Sighting { node, vhost, connection, channel: 7, user, event })
    }

    #[test]
    fn the_copy_says_where_it_was_seen_and_is_a_plain_message() {
        let copy = seen("x", Event::Published(&["q", "r"])).expect("a copy");
        assert_eq!(copy.routing_key, b"publish.x");
        let record = copy.block.record(0);
        assert_eq!(
            (record.exchange(), record.routing_key()),
            (EXCHANGE.as_bytes(), &b"publish.x"[..])
        );
        assert_eq!(
            (record.body().bytes(), record.persistent(), record.priority()),
            (&b"body"[..], false, 0)
        );
        let headers = Properties::new(record.properties()).headers().expect("headers");
        assert_eq!(headers.get("exchange_name").and_then(ValueView::as_bytes), Some(&b"x"[..]));
        assert_eq!(headers.get("channel"), Some(ValueView::Int(7)));
        assert!(headers.get("redelivered").is_none());
    }

    #[test]
    fn copies_are_not_copied_and_neither_is_what_has_no_key() {
        assert!(seen(EXCHANGE, Event::Published(&[])).is_none());
        assert!(seen(&"x".repeat(255), Event::Published(&[])).is_none());
        let delivered = Event::Delivered { queue: "q", redelivered: true };
        assert_eq!(seen("", delivered).expect("a copy").routing_key, b"deliver.q");
    }
}
