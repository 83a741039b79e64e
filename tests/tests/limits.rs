//! Limits that people set: lengths of queues, frames, memory, and many idle connections.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use leveret_tests::{
    AMQPClass, AMQPValue, Broker, Bystander, Client, Deadline, FieldTable, Login, Options,
    Outgoing, PATIENCE, allow_descriptors, arguments, connection, eventually, pause, queue, text,
};

/// A client with channel 1 in confirm mode and a queue with arguments.
fn with_queue(broker: &Broker, name: &str, arguments: FieldTable) -> Client {
    let mut client = Client::connect(broker);
    client.confirms(1);
    client.declare_with(1, name, arguments);
    client
}

/// Everything that is ready in a queue.
fn contents(client: &mut Client, queue: &str) -> Vec<u64> {
    std::iter::from_fn(|| client.get(1, queue, true).map(|message| message.number())).collect()
}

/// Publishes one message after another and answers with what the broker said of each.
fn publish_each(
    client: &mut Client,
    queue: &str,
    numbers: std::ops::RangeInclusive<u64>,
) -> Vec<bool> {
    numbers
        .map(|number| {
            client.publish(1, &Outgoing::number(queue, number));
            client.next_confirm(1).2
        })
        .collect()
}

#[test]
fn full_queue_drops_its_oldest() {
    let broker = Broker::shared();
    let limit = arguments([("x-max-length", 3.into())]);
    let mut client = with_queue(&broker, "limit-drop", limit);
    assert_eq!(publish_each(&mut client, "limit-drop", 1..=5), [true; 5]);
    assert_eq!(client.counts(1, "limit-drop").0, 3);
    assert_eq!(contents(&mut client, "limit-drop"), [3, 4, 5]);
}

#[test]
fn full_queue_drops_by_bytes() {
    let broker = Broker::shared();
    let limit = arguments([("x-max-length-bytes", 20.into())]);
    let mut client = with_queue(&broker, "limit-bytes", limit);
    assert_eq!(publish_each(&mut client, "limit-bytes", 1..=5), [true; 5]);
    // Bodies of eight bytes each: two fit.
    assert_eq!(contents(&mut client, "limit-bytes"), [4, 5]);
}

#[test]
fn full_queue_refuses_and_takes_again_when_there_is_room() {
    let broker = Broker::shared();
    let limit = [("x-max-length", 2.into()), ("x-overflow", text("reject-publish"))];
    let mut client = with_queue(&broker, "limit-reject", arguments(limit));
    assert_eq!(publish_each(&mut client, "limit-reject", 1..=2), [true; 2]);
    assert_eq!(publish_each(&mut client, "limit-reject", 3..=4), [false; 2]);
    assert_eq!(client.get(1, "limit-reject", true).unwrap().number(), 1);
    assert_eq!(publish_each(&mut client, "limit-reject", 5..=5), [true]);
    assert_eq!(contents(&mut client, "limit-reject"), [2, 5]);
}

#[test]
fn what_a_full_queue_refuses_is_dead_lettered_where_asked() {
    let broker = Broker::shared();
    let mut client = with_queue(&broker, "limit-dead", FieldTable::default());
    let limit = [
        ("x-max-length", 1.into()),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("limit-dead")),
    ];
    client.declare_with(1, "limit-reject-dlx", arguments(limit));
    assert_eq!(publish_each(&mut client, "limit-reject-dlx", 1..=3), [true, false, false]);
    assert_eq!(contents(&mut client, "limit-reject-dlx"), [1]);
    eventually("both are dead-lettered", PATIENCE, || {
        (client.counts(1, "limit-dead").0 == 2).then_some(())
    });
    let dead = client.get(1, "limit-dead", true).unwrap();
    assert_eq!(dead.header_text("x-first-death-reason").as_deref(), Some("maxlen"));
    assert_eq!(dead.header_text("x-first-death-queue").as_deref(), Some("limit-reject-dlx"));
}

#[test]
fn unacked_messages_do_not_count_for_the_length() {
    let broker = Broker::shared();
    let limit = arguments([("x-max-length", 2.into())]);
    let mut client = with_queue(&broker, "limit-unacked", limit);
    client.open(2);
    publish_each(&mut client, "limit-unacked", 1..=2);
    let held: Vec<_> = (0..2).map(|_| client.get(2, "limit-unacked", false).unwrap()).collect();
    publish_each(&mut client, "limit-unacked", 3..=4);
    assert_eq!(client.counts(1, "limit-unacked").0, 2);
    // Both come back to the front and push themselves out again.
    client.nack(2, held[1].delivery_tag, true, true);
    client.close_channel(2);
    eventually("two are left", PATIENCE, || {
        (client.counts(1, "limit-unacked").0 == 2).then_some(())
    });
    assert_eq!(contents(&mut client, "limit-unacked"), [3, 4]);
}

#[test]
fn queue_of_length_0_passes_messages_on_but_keeps_none() {
    let broker = Broker::shared();
    let limit = arguments([("x-max-length", 0.into())]);
    let mut client = with_queue(&broker, "limit-none", limit);
    assert_eq!(publish_each(&mut client, "limit-none", 1..=2), [true; 2]);
    assert_eq!(client.counts(1, "limit-none").0, 0);
    client.consume(1, "limit-none", "", true);
    client.publish(1, &Outgoing::number("limit-none", 3));
    assert_eq!(client.next_message(1).number(), 3);
}

#[test]
fn large_bodies_pass_through_small_frames_both_ways() {
    let broker = Broker::shared();
    // RabbitMQ 4.1 and later take nothing below 8192.
    let small = if broker.is_own() { 4096 } else { 8192 };
    let login = Login { frame_max: small, ..Login::default() };
    let mut narrow = Client::login(broker.amqp(), &login);
    narrow.open(1);
    narrow.confirms(1);
    let queue = narrow.declare_own(1);
    let payload = small as usize - 8;
    for size in [0, 1, payload - 1, payload, payload + 1, 2 * payload, 1_000_000, 5_000_001] {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        narrow.publish_confirmed(1, &Outgoing::new("", &queue, body.clone()));
        // The client's splitter refuses frames that are larger than agreed.
        assert!(narrow.get(1, &queue, true).unwrap().body == body, "{size} bytes");
    }
    drop(narrow);
}

#[test]
fn body_published_in_large_frames_is_delivered_in_small_ones() {
    let broker = Broker::shared();
    let mut wide = Client::connect(&broker);
    wide.declare(1, "limit-frames");
    let login = Login { frame_max: 8192, ..Login::default() };
    let mut narrow = Client::login(broker.amqp(), &login);
    narrow.open(1);
    narrow.consume(1, "limit-frames", "", true);
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 253) as u8).collect();
    wide.publish(1, &Outgoing::new("", "limit-frames", body.clone()));
    assert!(narrow.next_message(1).body == body);
}

#[test]
fn memory_alarm_blocks_publishers_and_nobody_else() {
    let options = Options::default()
        .set("LEVERET_RESOURCES_VM_MEMORY_HIGH_WATERMARK", "1MB")
        .set("LEVERET_RESOURCES_MONITOR_INTERVAL", "100");
    let Some(broker) = Broker::own(&options) else { return };
    let mut publisher = Client::connect(&broker);
    let queue = publisher.declare_own(1);
    // What a client that does not publish does goes on.
    let mut other = Client::connect(&broker);
    eventually("the alarm is on", PATIENCE, || {
        publisher.publish(1, &Outgoing::number(&queue, 1));
        let blocked = publisher.next_event(Duration::from_millis(300))?;
        let leveret_tests::Event::Method { channel: 0, method } = blocked else { return None };
        let reason = "low on memory".into();
        let expected = connection::AMQPMethod::Blocked(connection::Blocked { reason });
        assert_eq!(method, AMQPClass::Connection(expected));
        Some(())
    });
    other.declare_own(1);
    // The publisher is not read any more.
    publisher.set_patience(Duration::from_millis(500));
    let call = queue::Declare { exclusive: true, ..queue::Declare::default() };
    publisher.send(1, call);
    assert_eq!(publisher.next_event(Duration::from_millis(500)), None);
    // One that does not know connection.blocked is held back without a word.
    let login = Login { capable: false, ..Login::default() };
    let mut old = Client::login(broker.amqp(), &login);
    old.open(1);
    old.publish(1, &Outgoing::number(&queue, 2));
    old.send(1, queue::Declare { exclusive: true, ..queue::Declare::default() });
    assert_eq!(old.next_event(Duration::from_millis(500)), None);
}

#[test]
fn publishers_go_on_when_the_memory_alarm_clears() {
    const BODY: usize = 64 * 1024;
    const MESSAGES: u64 = 2_400;
    let options = Options::default()
        .set("LEVERET_RESOURCES_VM_MEMORY_HIGH_WATERMARK", "80MB")
        .set("LEVERET_RESOURCES_MONITOR_INTERVAL", "50");
    let Some(broker) = Broker::own(&options) else { return };
    let mut control = Client::connect(&broker);
    control.declare(1, "limit-alarm");
    let message = Outgoing::new("", "limit-alarm", vec![7; BODY]);
    std::thread::scope(|scope| {
        // One is told that it is blocked and one is not; both go on afterwards, acked to the last.
        let publishers: Vec<_> = [true, false]
            .into_iter()
            .map(|capable| {
                let login = Login { capable, ..Login::default() };
                let mut client = Client::login(broker.amqp(), &login);
                client.open(1);
                client.confirms(1);
                client.set_patience(Duration::from_secs(40));
                let message = &message;
                scope.spawn(move || {
                    for _ in 0..MESSAGES / 2 {
                        client.publish(1, message);
                    }
                    client.all_confirmed(1, 1, MESSAGES / 2);
                })
            })
            .collect();
        // Twice what fits has to go through: whoever fills the memory waits until it is emptied.
        let deadline = Deadline::after(Duration::from_secs(40));
        let mut purges = 0;
        let mut before = u32::MAX;
        while !publishers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            pause(Duration::from_millis(300));
            assert!(!deadline.is_over(), "stuck after {purges} purges");
            let ready = control.counts(1, "limit-alarm").0;
            if ready == before && ready > 0 {
                control.call(1, queue::Purge { queue: "limit-alarm".into(), nowait: false });
                purges += 1;
            }
            before = ready;
        }
        assert!(purges > 0, "nobody was ever blocked");
    });
}

#[test]
fn two_thousand_idle_connections_work_when_they_are_used() {
    const CONNECTIONS: usize = 2_000;
    allow_descriptors();
    let broker = Broker::start();
    let bystander = Bystander::start(&broker);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(&broker)).collect();
    let queues: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let queue = client.declare_own(1);
            client.consume(1, &queue, "", true);
            queue
        })
        .collect();
    // Each writes to another one, and each gets what was written to it.
    for (n, client) in clients.iter_mut().enumerate() {
        let to = &queues[(n + 777) % CONNECTIONS];
        client.publish(1, &Outgoing::number(to, n as u64));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let from = (n + CONNECTIONS - 777) % CONNECTIONS;
        assert_eq!(client.next_message(1).number(), from as u64);
    }
    bystander.finish();
}

#[test]
fn prefetch_bounds_what_is_unacked() {
    let broker = Broker::shared();
    let mut client = with_queue(&broker, "limit-prefetch", FieldTable::default());
    client.open(2);
    client.prefetch(2, 7);
    client.consume(2, "limit-prefetch", "", false);
    publish_each(&mut client, "limit-prefetch", 1..=20);
    let first: Vec<_> = (0..7).map(|_| client.next_message(2)).collect();
    assert!(client.message_within(2, Duration::from_millis(300)).is_none());
    assert_eq!(client.counts(1, "limit-prefetch").0, 13);
    client.ack(2, first[2].delivery_tag, true);
    let more: Vec<_> = (0..3).map(|_| client.next_message(2).number()).collect();
    assert_eq!(more, [8, 9, 10]);
    assert!(client.message_within(2, Duration::from_millis(300)).is_none());
}

#[test]
fn prefetch_shared_by_a_channel_bounds_its_consumers_together() {
    let broker = Broker::shared();
    let mut client = with_queue(&broker, "limit-shared", FieldTable::default());
    client.open(2);
    let shared = leveret_tests::basic::Qos { prefetch_count: 5, global: true };
    client.call(2, shared);
    client.consume(2, "limit-shared", "a", false);
    client.consume(2, "limit-shared", "b", false);
    publish_each(&mut client, "limit-shared", 1..=20);
    let first: Vec<_> = (0..5).map(|_| client.next_message(2)).collect();
    assert!(client.message_within(2, Duration::from_millis(300)).is_none());
    client.ack(2, first[4].delivery_tag, true);
    for _ in 0..5 {
        let _ = client.next_message(2);
    }
    assert!(client.message_within(2, Duration::from_millis(300)).is_none());
}

#[test]
fn bad_limits_are_named() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    let mut refused = |pairs: [(&str, AMQPValue); 1]| {
        let declare = queue::Declare {
            queue: "limit-bad".into(),
            exclusive: true,
            arguments: arguments(pairs),
            ..queue::Declare::default()
        };
        let closed = client.refused(1, declare);
        client.open(1);
        (closed.code, closed.text)
    };
    let argument = |name: &str, term: &str| {
        let text = format!(
            "PRECONDITION_FAILED - invalid arg '{name}' for queue 'limit-bad' in vhost '/': {term}"
        );
        (406, text)
    };
    let negative = refused([("x-max-length", (-1).into())]);
    assert_eq!(negative, argument("x-max-length", "{value_negative,-1}"));
    let overflow = refused([("x-overflow", text("burst"))]);
    assert_eq!(overflow, argument("x-overflow", "invalid_overflow"));
    let zero = refused([("x-expires", 0.into())]);
    assert_eq!(zero, argument("x-expires", "{value_zero,0}"));
}
