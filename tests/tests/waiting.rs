//! Messages that wait in a queue for something else than a consumer, over real sockets and over a kill: dead letters for
//! their targets, retries and delayed messages for their time; and duplicates that a queue knows after a kill.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use leveret_tests::codec::{PropertiesWriter, TableWriter};
use leveret_tests::{
    AMQPValue, Broker, Client, FieldTable, Folder, Message, Options, Outgoing, PATIENCE, Stopwatch,
    arguments, basic, eventually, exchange, queue, text,
};
use std::time::Duration;

/// A persistent message with one header.
fn with_header(
    exchange: &str,
    key: &str,
    number: u64,
    put: impl FnOnce(&mut TableWriter<'_>),
) -> Outgoing {
    let mut headers = Vec::new();
    put(&mut TableWriter::new(&mut headers));
    let properties = PropertiesWriter {
        headers: Some(&headers),
        delivery_mode: Some(2),
        ..PropertiesWriter::default()
    };
    Outgoing::new(exchange, key, number.to_be_bytes()).with(&properties)
}

fn ready(client: &mut Client, name: &str) -> u32 {
    client.counts(1, name).0
}

fn comes(client: &mut Client, name: &str, n: u32) {
    let what = format!("{n} messages in {name}");
    eventually(&what, PATIENCE, || (ready(client, name) == n).then_some(()));
}

#[test]
fn dead_letters_wait_for_a_target_and_survive_a_kill() {
    let folder = Folder::new("letters");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    let table = arguments([
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]);
    client.declare_durable(1, "work", table);
    for number in 0..5 {
        client.publish_confirmed(1, &Outgoing::number("work", number));
    }
    for _ in 0..3 {
        let message = client.get(1, "work", false).unwrap();
        client.reject(1, message.delivery_tag, false);
    }
    // Its confirm says that what came before it on this channel is on disk.
    client.publish_confirmed(1, &Outgoing::number("work", 5));
    assert_eq!(ready(&mut client, "work"), 3);
    broker.kill();
    let broker = folder.open().unwrap();
    let mut client = Client::connect(&broker);
    assert_eq!(ready(&mut client, "work"), 3, "what was rejected is not ready again");
    client.declare_durable(1, "dead", FieldTable::default());
    comes(&mut client, "dead", 3);
    let numbers: Vec<_> = (0..3).map(|_| client.get(1, "dead", true).unwrap().number()).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn what_failed_comes_again_later_and_later() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    for kind in ["quorum", "classic"] {
        let table = arguments([
            ("x-queue-type", text(kind)),
            ("x-delayed-retry-type", text("failed")),
            ("x-delayed-retry-min", AMQPValue::LongInt(150)),
            ("x-delayed-retry-max", AMQPValue::LongInt(5000)),
        ]);
        client.declare_durable(1, kind, table);
        client.publish(1, &Outgoing::number(kind, 7));
        assert!(client.next_confirm(1).2);
        client.consume(1, kind, kind, false);
        let mut message = client.next_message(1);
        for failures in 1..4 {
            let clock = Stopwatch::start();
            client.reject(1, message.delivery_tag, true);
            message = client.next_message(1);
            let waited = clock.elapsed();
            // The broker's clock counts whole milliseconds, the last of which may be almost over.
            let least = Duration::from_millis(failures * 150 - 1);
            assert!(waited >= least, "{kind}: {waited:?}");
        }
        let count = message.headers().get("x-delivery-count").and_then(|value| value.as_i64());
        assert_eq!((message.number(), count), (7, Some(3)));
        client.ack(1, message.delivery_tag, false);
        let cancel = basic::Cancel { consumer_tag: kind.into(), ..basic::Cancel::default() };
        client.call(1, cancel);
    }
}

fn deduplicated(number: u64, key: &str) -> Outgoing {
    with_header("", "once", number, |headers| headers.string("x-deduplication-header", key))
}

#[test]
fn queue_knows_after_a_kill_what_it_has() {
    let folder = Folder::new("once");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    let table = arguments([("x-message-deduplication", AMQPValue::Boolean(true))]);
    client.declare_durable(1, "once", table);
    for (number, key) in [(0, "a"), (1, "b"), (2, "a")] {
        client.publish_confirmed(1, &deduplicated(number, key));
    }
    assert_eq!(ready(&mut client, "once"), 2);
    broker.kill();
    let broker = folder.open().unwrap();
    let mut client = Client::connect(&broker);
    client.confirms(1);
    client.publish_confirmed(1, &deduplicated(3, "b"));
    client.publish_confirmed(1, &deduplicated(4, "c"));
    let numbers: Vec<_> = (0..3).map(|_| client.get(1, "once", true).unwrap().number()).collect();
    assert_eq!(numbers, [0, 1, 4]);
    client.publish_confirmed(1, &deduplicated(5, "a"));
    assert_eq!(client.get(1, "once", true).unwrap().number(), 5, "a is not there any more");
}

#[test]
fn delayed_messages_survive_a_kill_are_never_early_and_can_be_cancelled() {
    let folder = Folder::new("delayed");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    let declare = exchange::Declare {
        exchange: "later".into(),
        kind: "x-delayed-message".into(),
        durable: true,
        arguments: arguments([("x-delayed-type", text("direct"))]),
        ..exchange::Declare::default()
    };
    client.call(1, declare);
    client.declare_durable(1, "due", FieldTable::default());
    let bind = queue::Bind {
        queue: "due".into(),
        exchange: "later".into(),
        routing_key: "k".into(),
        ..queue::Bind::default()
    };
    client.call(1, bind);
    let clock = Stopwatch::start();
    for (number, delay) in [(1, 1200), (2, 600), (3, 1_000_000)] {
        let message = with_header("later", "k", number, |headers| headers.long("x-delay", delay));
        client.publish_confirmed(1, &message);
    }
    broker.kill();
    let broker = folder.open().unwrap();
    let mut client = Client::connect(&broker);
    client.consume(1, "due", "t", true);
    for (number, delay) in [(2, 600), (1, 1200)] {
        let message: Message = client.next_message(1);
        assert_eq!(message.number(), number);
        // The broker's clock counts whole milliseconds, the last of which may be almost over.
        assert!(clock.elapsed() >= Duration::from_millis(delay - 1), "{number} came early");
    }
    let purge = queue::Purge { queue: "amq.delayed.later".into(), ..queue::Purge::default() };
    assert_eq!(client.call(1, purge).message_count, 1);
}

#[test]
fn event_exchange_tells_of_queues_and_clients() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let mut client = Client::connect(&broker);
    let events = client.declare_own(1);
    let bind = queue::Bind {
        queue: events.as_str().into(),
        exchange: "amq.rabbitmq.event".into(),
        routing_key: "#".into(),
        ..queue::Bind::default()
    };
    client.call(1, bind);
    client.consume(1, &events, "events", true);
    client.open(2);
    let declare = queue::Declare { queue: "told".into(), ..queue::Declare::default() };
    client.call(2, declare);
    let delete = queue::Delete { queue: "told".into(), ..queue::Delete::default() };
    client.call(2, delete);
    Client::connect(&broker).close();
    let wanted = ["queue.created", "queue.deleted", "connection.created", "connection.closed"];
    let mut seen = Vec::new();
    while seen.len() < wanted.len() {
        let message = client.next_message(1);
        if let Some(key) = wanted.iter().find(|key| **key == message.routing_key) {
            if key.starts_with("queue") {
                assert_eq!(message.header_text("name").as_deref(), Some("told"));
                assert_eq!(message.header_text("vhost").as_deref(), Some("/"));
            }
            assert!(message.body.is_empty());
            seen.push(*key);
        }
    }
    assert_eq!(seen, wanted);
}
