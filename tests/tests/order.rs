//! Order: first in, first out for each channel and queue, whatever is redelivered; what is returned goes
//! back to its place; consumers have their turns.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use leveret_tests::{Broker, Client, Outgoing, PATIENCE, arguments, basic, exchange, queue};

fn publish_numbers(client: &mut Client, queue: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        client.publish_later(1, &Outgoing::number(queue, number));
    }
    client.flush_publishes();
}

/// The numbers of the next `count` messages.
fn numbers(client: &mut Client, count: usize) -> Vec<u64> {
    (0..count).map(|_| client.next_message(1).number()).collect()
}

#[test]
fn each_publisher_is_in_order_for_each_consumer_under_load() {
    const PUBLISHERS: u64 = 4;
    const MESSAGES: u64 = 20_000;
    let broker = Broker::shared();
    let mut control = Client::connect(&broker);
    control.declare(1, "order-load");
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Client::connect(&broker);
            client.prefetch(1, 100);
            client.consume(1, "order-load", "", false);
            std::thread::spawn(move || {
                let mut last = [0; PUBLISHERS as usize];
                let mut seen = Vec::new();
                // A number that no publisher uses says that all have been published and acked.
                loop {
                    let message = client.next_message(1);
                    client.ack(1, message.delivery_tag, false);
                    let number = message.number();
                    if number == u64::MAX {
                        return seen;
                    }
                    let (publisher, n) = ((number >> 32) as usize, number & 0xFFFF_FFFF);
                    assert!(!message.redelivered);
                    assert!(
                        n > last[publisher],
                        "publisher {publisher}: {n} after {}",
                        last[publisher]
                    );
                    last[publisher] = n;
                    seen.push(number);
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = Client::connect(broker);
                client.confirms(1);
                for n in 1..=MESSAGES {
                    client.publish_later(1, &Outgoing::number("order-load", publisher << 32 | n));
                    if n % 500 == 0 {
                        client.flush_publishes();
                        client.all_confirmed(1, n - 499, 500);
                    }
                }
            });
        }
    });
    leveret_tests::eventually("all are taken", PATIENCE * 3, || {
        (control.counts(1, "order-load").0 == 0).then_some(())
    });
    // One for each; who gets both leaves the second to the other.
    for _ in &consumers {
        control.publish(1, &Outgoing::number("order-load", u64::MAX));
    }
    let mut all = BTreeSet::new();
    for consumer in consumers {
        for number in consumer.join().unwrap() {
            assert!(all.insert(number), "{number} came twice");
        }
    }
    assert_eq!(all.len() as u64, PUBLISHERS * MESSAGES);
}

#[test]
fn returned_messages_go_back_to_their_places() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    client.declare(1, "order-return");
    publish_numbers(&mut client, "order-return", 1..=10);
    client.consume(1, "order-return", "first", false);
    let got: Vec<_> = (0..10).map(|_| client.next_message(1)).collect();
    client.call(1, basic::Cancel { consumer_tag: "first".into(), nowait: false });
    // 2, 5 and 9 are done; the others return in an order of their own.
    for n in [2, 5, 9] {
        client.ack(1, got[n - 1].delivery_tag, false);
    }
    for n in [7, 1, 10, 4] {
        client.reject(1, got[n - 1].delivery_tag, true);
    }
    client.nack(1, got[7].delivery_tag, true, true);
    publish_numbers(&mut client, "order-return", 11..=12);
    client.consume(1, "order-return", "second", false);
    let again: Vec<_> = (0..9).map(|_| client.next_message(1)).collect();
    let order: Vec<_> = again.iter().map(|m| (m.number(), m.redelivered)).collect();
    let expected: Vec<_> = [1, 3, 4, 6, 7, 8, 10, 11, 12].iter().map(|&n| (n, n <= 10)).collect();
    assert_eq!(order, expected);
}

#[test]
fn unacked_of_a_closed_channel_go_back_before_those_that_waited() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    client.open(2);
    client.declare(1, "order-close");
    publish_numbers(&mut client, "order-close", 1..=6);
    client.prefetch(2, 4);
    client.consume(2, "order-close", "", false);
    let tags: Vec<_> = (0..4).map(|_| client.next_message(2).delivery_tag).collect();
    client.ack(2, tags[1], false);
    client.close_channel(2);
    client.consume(1, "order-close", "", true);
    let again: Vec<_> = (0..5)
        .map(|_| {
            let message = client.next_message(1);
            // The ack made room for 5, which may have been on its way when the channel closed.
            let n = message.number();
            assert!(n == 5 || message.redelivered == (n < 5), "{n}");
            n
        })
        .collect();
    assert_eq!(again, [1, 3, 4, 5, 6]);
}

#[test]
fn order_holds_while_a_third_is_returned_again_and_again() {
    const MESSAGES: u64 = 3_000;
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    client.declare(1, "order-churn");
    publish_numbers(&mut client, "order-churn", 1..=MESSAGES);
    client.prefetch(1, 1);
    client.consume(1, "order-churn", "", false);
    let mut expected = 1;
    let mut returned = false;
    while expected <= MESSAGES {
        let message = client.next_message(1);
        assert_eq!((message.number(), message.redelivered), (expected, returned));
        if expected % 3 == 0 && !returned {
            client.reject(1, message.delivery_tag, true);
            returned = true;
        } else {
            client.ack(1, message.delivery_tag, false);
            expected += 1;
            returned = false;
        }
    }
}

#[test]
fn two_consumers_take_turns_message_by_message() {
    let broker = Broker::shared();
    let mut publisher = Client::connect(&broker);
    publisher.confirms(1);
    publisher.declare(1, "order-turns");
    let mut consumers: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Client::connect(&broker);
            client.consume(1, "order-turns", "", false);
            client
        })
        .collect();
    // All at once, and one by one.
    publish_numbers(&mut publisher, "order-turns", 1..=50);
    publisher.all_confirmed(1, 1, 50);
    for number in 51..=100 {
        publisher.publish_confirmed(1, &Outgoing::number("order-turns", number));
    }
    let first = numbers(&mut consumers[0], 50);
    let second = numbers(&mut consumers[1], 50);
    assert_eq!(first, (1..=100).step_by(2).collect::<Vec<_>>());
    assert_eq!(second, (2..=100).step_by(2).collect::<Vec<_>>());
}

#[test]
fn consumer_of_higher_priority_comes_first_as_long_as_it_has_credit() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    client.declare(1, "order-priority");
    client.prefetch(1, 3);
    let consume = |tag: &str, priority: i32| basic::Consume {
        queue: "order-priority".into(),
        consumer_tag: tag.into(),
        arguments: arguments([("x-priority", priority.into())]),
        ..basic::Consume::default()
    };
    client.call(1, consume("low", 1));
    client.call(1, consume("high", 10));
    publish_numbers(&mut client, "order-priority", 1..=5);
    let mut got: Vec<_> = (0..5)
        .map(|_| {
            let message = client.next_message(1);
            (message.number(), message.consumer_tag)
        })
        .collect();
    got.sort();
    let expected = [(1, "high"), (2, "high"), (3, "high"), (4, "low"), (5, "low")];
    assert_eq!(got, expected.map(|(n, tag)| (n, tag.to_owned())));
}

#[test]
fn one_publish_reaches_each_queue_once_and_in_order() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    let fanout = exchange::Declare {
        exchange: "order-fanout".into(),
        kind: "fanout".into(),
        ..exchange::Declare::default()
    };
    client.call(1, fanout);
    let queues: Vec<_> = (0..5).map(|_| client.declare_own(1)).collect();
    for name in &queues {
        for key in ["", "again"] {
            let bind = queue::Bind {
                queue: name.as_str().into(),
                exchange: "order-fanout".into(),
                routing_key: key.into(),
                ..queue::Bind::default()
            };
            client.call(1, bind);
        }
    }
    client.confirms(1);
    for number in 1..=1_000_u64 {
        client.publish_later(1, &Outgoing::new("order-fanout", "", number.to_be_bytes()));
    }
    client.flush_publishes();
    client.all_confirmed(1, 1, 1_000);
    for name in &queues {
        assert_eq!(client.counts(1, name).0, 1_000);
        client.consume(1, name, name, true);
        assert_eq!(numbers(&mut client, 1_000), (1..=1_000).collect::<Vec<_>>());
    }
}
