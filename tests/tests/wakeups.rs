//! The hunt for lost wake-ups: short bursts with silence between them, where a consumer that is not woken
//! would wait for ever. Every message has a limit far above what it needs and far below for ever.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use leveret_tests::codec::PropertiesWriter;
use leveret_tests::{Broker, Client, Outgoing, queue};

/// How long a message may take. A lost wake-up shows as this and nothing else.
const LIMIT: Duration = Duration::from_secs(4);

fn connect(broker: &Broker) -> Client {
    let mut client = Client::connect(broker);
    client.set_patience(LIMIT);
    client
}

#[test]
fn one_consumer_with_prefetch_1_is_woken_each_time() {
    let broker = Broker::shared();
    let mut publisher = connect(&broker);
    publisher.declare(1, "wake-one");
    let mut consumer = connect(&broker);
    consumer.prefetch(1, 1);
    consumer.consume(1, "wake-one", "", false);
    let mut number = 0;
    for round in 0..6_000_u64 {
        let burst = round % 3 + 1;
        for _ in 0..burst {
            number += 1;
            publisher.publish_later(1, &Outgoing::number("wake-one", number));
        }
        publisher.flush_publishes();
        for _ in 0..burst {
            let message = consumer.next_message(1);
            consumer.ack(1, message.delivery_tag, false);
        }
    }
}

#[test]
fn two_consumers_with_prefetch_1_are_woken_each_time() {
    const ROUNDS: u64 = 6_000;
    let broker = Broker::shared();
    let mut publisher = connect(&broker);
    publisher.declare(1, "wake-two");
    let (tell, told) = sync_channel(16);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut consumer = connect(&broker);
            consumer.prefetch(1, 1);
            consumer.consume(1, "wake-two", "", false);
            let (tell, stop) = (tell.clone(), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Whoever has nothing looks now and then whether all is over.
                    let wait = Duration::from_millis(200);
                    if let Some(message) = consumer.message_within(1, wait) {
                        consumer.ack(1, message.delivery_tag, false);
                        tell.send(message.number()).unwrap();
                    }
                }
            });
        }
        let mut number = 0;
        let mut arrived = BTreeSet::new();
        for round in 0..ROUNDS {
            let burst = round % 3 + 1;
            for _ in 0..burst {
                number += 1;
                publisher.publish_later(1, &Outgoing::number("wake-two", number));
            }
            publisher.flush_publishes();
            for _ in 0..burst {
                let came = told.recv_timeout(LIMIT);
                if came.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                let came = came.unwrap_or_else(|_| panic!("round {round} of {burst} got stuck"));
                assert!(arrived.insert(came), "{came} came twice");
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(arrived.len() as u64, number);
    });
}

#[test]
fn several_pairs_at_once_are_woken_each_time() {
    let broker = Broker::shared();
    std::thread::scope(|scope| {
        for pair in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                let queue = format!("wake-pair-{pair}");
                let mut publisher = connect(broker);
                publisher.declare(1, &queue);
                let mut consumer = connect(broker);
                consumer.prefetch(1, 1);
                consumer.consume(1, &queue, "", false);
                for number in 0..3_000 {
                    publisher.publish(1, &Outgoing::number(&queue, number));
                    let message = consumer.next_message(1);
                    assert_eq!(message.number(), number);
                    consumer.ack(1, message.delivery_tag, false);
                }
            });
        }
    });
}

#[test]
fn publisher_and_consumer_on_one_connection_are_woken_each_time() {
    let broker = Broker::shared();
    let mut client = connect(&broker);
    client.open(2);
    client.declare(1, "wake-self");
    client.prefetch(2, 1);
    client.consume(2, "wake-self", "", false);
    let mut number = 0;
    for round in 0..4_000_u64 {
        let burst = round % 3 + 1;
        for _ in 0..burst {
            number += 1;
            client.publish_later(1, &Outgoing::number("wake-self", number));
        }
        client.flush_publishes();
        for n in 0..burst {
            let message = client.next_message(2);
            assert_eq!(message.number(), number - burst + n + 1);
            client.ack(2, message.delivery_tag, false);
        }
    }
}

#[test]
fn confirms_come_for_every_single_publish() {
    let broker = Broker::shared();
    let mut client = connect(&broker);
    client.confirms(1);
    let queue = client.declare_own(1);
    for number in 0..6_000 {
        client.publish_confirmed(1, &Outgoing::number(&queue, number));
    }
    assert_eq!(client.counts(1, &queue).0, 6_000);
}

#[test]
fn calls_go_there_and_back_20000_times() {
    const ROUNDS: u64 = 20_000;
    let broker = Broker::shared();
    let mut server = connect(&broker);
    server.declare(1, "wake-calls");
    server.consume(1, "wake-calls", "", true);
    let serving = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            let call = server.next_message(1);
            let reply_to = call.properties().reply_to().map(<[u8]>::to_vec).unwrap_or_default();
            let reply_to = String::from_utf8(reply_to).unwrap();
            server.publish(1, &Outgoing::new("", &reply_to, call.body));
        }
    });
    let mut caller = connect(&broker);
    let own = caller.declare_own(1);
    caller.consume(1, &own, "", true);
    let properties =
        PropertiesWriter { reply_to: Some(own.as_bytes()), ..PropertiesWriter::default() };
    let mut call = Outgoing::new("", "wake-calls", "").with(&properties);
    for number in 0..ROUNDS {
        call.set_body(&number.to_be_bytes());
        caller.publish(1, &call);
        assert_eq!(caller.next_message(1).number(), number);
    }
    serving.join().unwrap();
}

#[test]
fn consumer_that_joins_late_and_leaves_at_once_loses_nothing() {
    let broker = Broker::shared();
    let mut publisher = connect(&broker);
    publisher.declare(1, "wake-join");
    let mut consumer = connect(&broker);
    for number in 0..1_000 {
        // Publish and consume race; the message is there before, between or after.
        publisher.publish(1, &Outgoing::number("wake-join", number));
        let tag = format!("c{number}");
        consumer.consume(1, "wake-join", &tag, false);
        let message = consumer.next_message(1);
        assert_eq!(message.number(), number);
        consumer.ack(1, message.delivery_tag, false);
        let cancel =
            leveret_tests::basic::Cancel { consumer_tag: tag.as_str().into(), nowait: false };
        consumer.call(1, cancel);
    }
    let gone = queue::Delete { queue: "wake-join".into(), if_empty: true, ..Default::default() };
    publisher.call(1, gone);
}

#[test]
fn requeued_message_wakes_the_other_consumer() {
    let broker = Broker::shared();
    let mut first = connect(&broker);
    first.declare(1, "wake-requeue");
    first.prefetch(1, 1);
    first.consume(1, "wake-requeue", "", false);
    first.publish(1, &Outgoing::number("wake-requeue", 0));
    let mut held = first.next_message(1);
    let mut second = connect(&broker);
    second.prefetch(1, 1);
    second.consume(1, "wake-requeue", "", false);
    for round in 0..2_000 {
        // Whoever holds it gives it back; it must reach one of the two, the other one if turns are kept.
        let (holder, other) =
            if round % 2 == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        holder.reject(1, held.delivery_tag, true);
        held = other.next_message(1);
        assert!(held.redelivered);
    }
}

#[test]
fn whole_sessions_are_answered_each_time() {
    const SESSIONS: u64 = 700;
    let broker = Broker::shared();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let broker = &broker;
            scope.spawn(move || {
                for number in 0..SESSIONS {
                    let mut client = connect(broker);
                    client.confirms(1);
                    let queue = client.declare_own(1);
                    let bind = queue::Bind {
                        queue: queue.as_str().into(),
                        exchange: "amq.direct".into(),
                        routing_key: queue.as_str().into(),
                        ..queue::Bind::default()
                    };
                    client.call(1, bind);
                    client.open(2);
                    client.consume(2, &queue, "", false);
                    let body = number.to_be_bytes();
                    client.publish_confirmed(1, &Outgoing::new("amq.direct", &queue, body));
                    let message = client.next_message(2);
                    assert_eq!(message.number(), number);
                    client.ack(2, message.delivery_tag, false);
                    client.close_channel(2);
                    client.close();
                }
            });
        }
    });
}
