//! What the broker occupies: little for idle connections, and nothing for messages that are gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use leveret_tests::{
    Broker, Client, Deadline, Login, Options, Outgoing, PATIENCE, allow_descriptors, eventually,
    pause, queue,
};

/// MiB that 1,000 idle connections and the broker itself may occupy together, without the program's code: with the
/// 17 MiB of it that a release build has in memory it is 40.
const IDLE_LIMIT_MIB: u64 = 23;

#[test]
fn a_thousand_idle_connections_fit_into_40_mib_with_the_program() {
    allow_descriptors();
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let memory = broker.memory().unwrap();
    let login = Login::default();
    let mut clients: Vec<_> = (0..1_000)
        .map(|_| {
            let mut client = Client::login(broker.amqp(), &login);
            client.open(1);
            client
        })
        .collect();
    let kib = memory.now_kib();
    eprintln!(
        "measured: {:.1} MiB with 1,000 idle connections, {:.1} MiB before them, {:.1} KiB for each",
        kib as f64 / 1024.0,
        memory.base_kib() as f64 / 1024.0,
        kib.saturating_sub(memory.base_kib()) as f64 / 1000.0
    );
    let own = memory.own_kib();
    assert!(own <= IDLE_LIMIT_MIB * 1024, "{own} KiB");
    // They are alive, and they give back what they used.
    for client in &mut clients {
        client.declare_own(1);
    }
}

#[test]
fn memory_returns_after_a_million_messages() {
    const MESSAGES: u64 = 1_000_000;
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let mut publisher = Client::connect(&broker);
    publisher.declare(1, "million");
    let mut consumer = Client::connect(&broker);
    let memory = broker.memory().unwrap();
    let message = Outgoing::new("", "million", vec![1; 100]);
    // Half goes through, half waits in the queue and is taken afterwards.
    let publish = |publisher: &mut Client, count: u64| {
        for _ in 0..count {
            publisher.publish_later(1, &message);
        }
        publisher.flush_publishes();
    };
    publish(&mut publisher, MESSAGES / 2);
    eventually("half of them wait", PATIENCE * 3, || {
        (u64::from(consumer.counts(1, "million").0) == MESSAGES / 2).then_some(())
    });
    let full = memory.now_kib();
    consumer.consume(1, "million", "", true);
    let reading = std::thread::spawn(move || {
        consumer.drain(1, MESSAGES, Duration::from_secs(60));
        consumer
    });
    publish(&mut publisher, MESSAGES / 2);
    let consumer = reading.join().unwrap();
    assert_eq!(publisher.counts(1, "million").0, 0);
    drop(consumer);
    // The allocator gives pages back with a delay.
    let limit = memory.base_kib() + 24 * 1024;
    let deadline = Deadline::after(Duration::from_secs(15));
    while memory.now_kib() > limit && !deadline.is_over() {
        pause(Duration::from_millis(50));
    }
    let after = memory.now_kib();
    eprintln!(
        "measured: {:.1} MiB before, {:.1} MiB with 500,000 waiting messages, {:.1} MiB after",
        memory.base_kib() as f64 / 1024.0,
        full as f64 / 1024.0,
        after as f64 / 1024.0
    );
    assert!(full > memory.base_kib() + 40 * 1024, "the messages were in memory");
    assert!(after <= limit, "{after} KiB after all messages are gone");
}

#[test]
fn memory_returns_after_connections_channels_and_queues_are_gone() {
    allow_descriptors();
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let round = || {
        let mut clients: Vec<_> = (0..200).map(|_| Client::connect(&broker)).collect();
        for client in &mut clients {
            for channel in 2..=20 {
                client.open(channel);
                let queue = client.declare_own(channel);
                client.publish(channel, &Outgoing::new("", &queue, vec![3; 1_000]));
                client.consume(channel, &queue, "", false);
                let _ = client.next_message(channel);
            }
        }
    };
    // What the first round leaves behind is the allocator's stock.
    round();
    let memory = broker.memory().unwrap();
    for _ in 0..6 {
        round();
    }
    let limit = memory.base_kib() + 24 * 1024;
    let after = eventually("the memory is back", Duration::from_secs(15), || {
        Some(memory.now_kib()).filter(|kib| *kib <= limit)
    });
    eprintln!("measured: {} KiB after one round, {after} KiB after seven", memory.base_kib());
    let mut client = Client::connect(&broker);
    client.call(1, queue::Declare { exclusive: true, ..queue::Declare::default() });
}
