//! Clients that are killed or stopped: what they held comes back, what was theirs goes, and nobody else
//! notices.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use leveret_tests::{Broker, Bystander, Client, Outgoing, PATIENCE, Victim, eventually, queue};
use rustix::process::Signal;

const VICTIM: &str = env!("CARGO_BIN_EXE_leveret-tests-victim");

/// A fresh queue with messages 1 to `count` in it.
fn filled(broker: &Broker, name: &str, count: u64) -> Client {
    let mut client = Client::connect(broker);
    client.confirms(1);
    client.declare(1, name);
    for number in 1..=count {
        client.publish_later(1, &Outgoing::number(name, number));
    }
    client.flush_publishes();
    client.all_confirmed(1, 1, count);
    client
}

#[test]
fn unacked_of_a_killed_client_come_back_in_order_and_redelivered() {
    let broker = Broker::shared();
    let bystander = Bystander::start(&broker);
    let mut client = filled(&broker, "killed-holding", 100);
    let victim = Victim::start(VICTIM, &broker, &["hold", "killed-holding", "100", "0"]);
    assert_eq!(client.counts(1, "killed-holding"), (0, 1));
    client.publish_confirmed(1, &Outgoing::number("killed-holding", 101));
    victim.kill();
    eventually("all are ready again", PATIENCE, || {
        (client.counts(1, "killed-holding") == (101, 0)).then_some(())
    });
    client.consume(1, "killed-holding", "heir", false);
    for number in 1..=101 {
        let message = client.next_message(1);
        assert_eq!(message.number(), number);
        // The victim had no prefetch limit, so the last one was under way to it as well.
        assert!(message.redelivered, "{number}");
        client.ack(1, message.delivery_tag, false);
    }
    bystander.finish();
}

#[test]
fn waiting_consumer_gets_the_unacked_of_a_killed_one() {
    let broker = Broker::shared();
    let mut client = filled(&broker, "killed-for-another", 10);
    let victim = Victim::start(VICTIM, &broker, &["hold", "killed-for-another", "10", "0"]);
    client.consume(1, "killed-for-another", "heir", false);
    victim.kill();
    let numbers: Vec<_> = (0..10)
        .map(|_| {
            let message = client.next_message(1);
            assert!(message.redelivered);
            message.number()
        })
        .collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}

#[test]
fn exclusive_queue_of_a_killed_client_goes() {
    let broker = Broker::shared();
    let bystander = Bystander::start(&broker);
    let victim = Victim::start(VICTIM, &broker, &["own", "killed-owner"]);
    let mut client = Client::connect(&broker);
    let declare = queue::Declare {
        queue: "killed-owner".into(),
        exclusive: true,
        ..queue::Declare::default()
    };
    let refused = client.refused(1, declare.clone());
    assert_eq!(refused.code, 405);
    assert!(
        refused
            .text
            .starts_with("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue")
    );
    victim.kill();
    eventually("the name is free", PATIENCE, || {
        client.open(1);
        let passive = queue::Declare { passive: true, ..declare.clone() };
        (client.refused(1, passive).code == 404).then_some(())
    });
    client.open(1);
    client.call(1, declare);
    bystander.finish();
}

#[test]
fn publisher_killed_on_the_way_leaves_whole_messages_in_order() {
    const BYTES: usize = 5_000;
    let broker = Broker::shared();
    let bystander = Bystander::start(&broker);
    let mut client = filled(&broker, "killed-publishing", 0);
    let deed = ["publish", "killed-publishing", "5000"];
    let mut victim = Victim::start(VICTIM, &broker, &deed);
    let confirmed: u64 = (0..5).map(|_| victim.line().parse().unwrap()).max().unwrap();
    victim.kill();
    client.consume(1, "killed-publishing", "reader", true);
    let mut number = 0_u64;
    while let Some(message) = client.message_within(1, Duration::from_secs(1)) {
        number += 1;
        assert_eq!(message.body.len(), BYTES);
        for piece in message.body.chunks(8) {
            assert_eq!(piece, number.to_be_bytes(), "a piece of message {number}");
        }
    }
    assert!(number >= confirmed, "{confirmed} were confirmed, {number} are there");
    bystander.finish();
}

#[test]
fn transaction_of_a_killed_client_never_happened() {
    let broker = Broker::shared();
    let mut client = filled(&broker, "killed-in-tx", 0);
    let victim = Victim::start(VICTIM, &broker, &["commit", "killed-in-tx"]);
    victim.kill();
    client.publish_confirmed(1, &Outgoing::number("killed-in-tx", 7));
    assert_eq!(client.counts(1, "killed-in-tx").0, 1);
}

#[test]
fn stopped_client_is_given_up_after_its_heartbeat() {
    let broker = Broker::shared();
    let bystander = Bystander::start(&broker);
    let mut client = filled(&broker, "stopped", 3);
    let victim = Victim::start(VICTIM, &broker, &["hold", "stopped", "3", "1"]);
    victim.signal(Signal::STOP);
    // Two intervals without a byte, three at most, and what a busy machine adds.
    client.consume(1, "stopped", "heir", false);
    for number in 1..=3 {
        let message = client.next_message(1);
        assert_eq!((message.number(), message.redelivered), (number, true));
    }
    bystander.finish();
}
