//! Streams over real sockets: what is read stays, many read at once, a kill takes nothing confirmed and moves no
//! offset, and most of a long stream is not in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use leveret_tests::codec::PropertiesWriter;
use leveret_tests::{
    AMQPValue, Broker, Client, Folder, Message, Options, Outgoing, arguments, basic, text,
};

fn declare(client: &mut Client, name: &str) {
    client.declare_durable(1, name, arguments([("x-queue-type", text("stream"))]));
}

fn read(client: &mut Client, channel: u16, name: &str, prefetch: u16, from: AMQPValue) {
    client.open(channel);
    client.prefetch(channel, prefetch);
    let consume = basic::Consume {
        queue: name.into(),
        consumer_tag: format!("c{channel}").into(),
        arguments: arguments([("x-stream-offset", from)]),
        ..basic::Consume::default()
    };
    client.call(channel, consume);
}

fn offset(message: &Message) -> u64 {
    let offset = message.headers().get("x-stream-offset").and_then(|value| value.as_i64());
    offset.unwrap().try_into().unwrap()
}

fn publish(client: &mut Client, name: &str, numbers: std::ops::Range<u64>, size: usize, tag: u64) {
    let count = numbers.end - numbers.start;
    for number in numbers {
        let mut body = vec![number as u8; size.max(8)];
        body[..8].copy_from_slice(&number.to_be_bytes());
        client.publish_later(1, &Outgoing::new("", name, body));
    }
    client.flush_publishes();
    client.all_confirmed(1, tag, count);
}

/// Reads numbers from the channel and acks each.
fn expect(client: &mut Client, channel: u16, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let message = client.next_message(channel);
        assert_eq!((offset(&message), message.number()), (number, number));
        assert!(!message.redelivered);
        client.ack(channel, message.delivery_tag, false);
    }
}

#[test]
fn many_read_one_stream_at_their_own_pace() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    declare(&mut client, "s");
    publish(&mut client, "s", 0..500, 8, 1);
    for reader in 0..8_u16 {
        let from = AMQPValue::LongInt(i32::from(reader) * 50);
        read(&mut client, 10 + reader, "s", 1 + reader * 20, from);
    }
    for reader in (0..8_u16).rev() {
        expect(&mut client, 10 + reader, u64::from(reader) * 50..500);
    }
    publish(&mut client, "s", 500..600, 8, 501);
    for reader in 0..8_u16 {
        expect(&mut client, 10 + reader, 500..600);
    }
    assert_eq!(client.counts(1, "s").0, 600);
}

#[test]
fn kill_takes_nothing_confirmed_and_moves_no_offset() {
    let folder = Folder::new("stream-kill");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    let kept = arguments([
        ("x-queue-type", text("stream")),
        ("x-max-length-bytes", AMQPValue::LongInt(200_000)),
        ("x-stream-max-segment-size-bytes", AMQPValue::LongInt(50_000)),
    ]);
    client.declare_durable(1, "short", kept);
    declare(&mut client, "long");
    publish(&mut client, "short", 0..1_000, 1_000, 1);
    publish(&mut client, "long", 0..1_000, 100, 1_001);
    let left = u64::from(client.counts(1, "short").0);
    assert!((100..=250).contains(&left), "{left} of 1000 are kept");
    // Whether these survive nobody knows; what is read of them does.
    for number in 1_000..3_000 {
        client.publish_later(1, &Outgoing::number("long", number));
    }
    client.flush_publishes();
    let mut reader = Client::connect(&broker);
    read(&mut reader, 2, "long", 1_000, text("first"));
    expect(&mut reader, 2, 0..1_100);
    broker.kill();
    let broker = folder.open().unwrap();
    let mut client = Client::connect(&broker);
    client.confirms(1);
    assert_eq!(u64::from(client.counts(1, "short").0), left);
    read(&mut client, 2, "short", 2_000, text("first"));
    expect(&mut client, 2, 1_000 - left..1_000);
    let there = u64::from(client.counts(1, "long").0);
    assert!((1_100..=3_000).contains(&there), "{there}");
    read(&mut client, 3, "long", 5_000, text("first"));
    expect(&mut client, 3, 0..there);
    publish(&mut client, "long", there..there + 10, 8, 1);
    expect(&mut client, 3, there..there + 10);
}

#[test]
fn long_stream_is_read_from_disk() {
    let options = Options::default().set("LEVERET_RESOURCES_MESSAGE_MEMORY", "8MiB");
    let folder = Folder::new("stream-long");
    let Some(broker) = folder.broker(options) else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    declare(&mut client, "s");
    for part in 0..30 {
        publish(&mut client, "s", part * 1_000..(part + 1) * 1_000, 2_000, part * 1_000 + 1);
    }
    read(&mut client, 2, "s", 500, text("first"));
    read(&mut client, 3, "s", 500, AMQPValue::LongInt(20_000));
    expect(&mut client, 2, 0..10_000);
    expect(&mut client, 3, 20_000..30_000);
    expect(&mut client, 2, 10_000..30_000);
}

#[test]
fn filter_and_time_choose_what_is_read() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    declare(&mut client, "s");
    for number in 0..30_u64 {
        let mut headers = Vec::new();
        let mut writer = leveret_tests::codec::TableWriter::new(&mut headers);
        if number % 3 > 0 {
            writer.string("x-stream-filter-value", ["", "red", "blue"][(number % 3) as usize]);
        }
        let properties =
            PropertiesWriter { headers: Some(&headers), ..PropertiesWriter::default() };
        client.publish_confirmed(1, &Outgoing::number("s", number).with(&properties));
    }
    for (channel, unfiltered) in [(2, false), (3, true)] {
        client.open(channel);
        client.prefetch(channel, 100);
        let consume = basic::Consume {
            queue: "s".into(),
            consumer_tag: format!("c{channel}").into(),
            arguments: arguments([
                ("x-stream-offset", text("1h")),
                ("x-stream-filter", text("red")),
                ("x-stream-match-unfiltered", AMQPValue::Boolean(unfiltered)),
            ]),
            ..basic::Consume::default()
        };
        client.call(channel, consume);
        for number in (0..30).filter(|n| n % 3 == 1 || (unfiltered && n % 3 == 0)) {
            assert_eq!(client.next_message(channel).number(), number);
        }
    }
}
