//! `leveret migrate` between two brokers: definitions, and every message with its address, properties and order.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

use leveret_tests::{Broker, Folder, Management, leveret};
use serde_json::{Value, json};

fn migrate(from: &Broker, to: &Folder) -> Output {
    let management = format!("http://guest:guest@{}", from.management());
    let amqp = format!("amqp://guest:guest@{}", from.amqp());
    let mut command = Command::new(leveret());
    command.args(["migrate", "--from", &management, "--amqp", &amqp]);
    command.arg("--data-dir").arg(to.data()).output().unwrap()
}

fn ask(broker: &Broker, verb: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = Management(broker.management()).request(verb, path, &body);
    assert!(status < 300, "{verb} {path}: {status} {answer}");
    answer
}

fn all(broker: &Broker, queue: &str) -> Vec<Value> {
    let body = json!({"count": 5000, "ackmode": "ack_requeue_true", "encoding": "auto"});
    let got = ask(broker, "POST", &format!("/api/queues/%2F/{queue}/get"), &body);
    let mut got = got.as_array().unwrap().clone();
    for message in &mut got {
        message.as_object_mut().unwrap().remove("redelivered");
    }
    got
}

#[test]
fn everything_of_a_broker_is_taken_over() {
    let (old, new) = (Folder::new("old"), Folder::new("new"));
    let (Some(from), Some(to)) = (old.open(), new.open()) else { return };
    ask(&from, "PUT", "/api/exchanges/%2F/events", &json!({"type": "topic", "durable": true}));
    for queue in ["orders", "mails"] {
        ask(&from, "PUT", &format!("/api/queues/%2F/{queue}"), &json!({"durable": true}));
        let binding = json!({"routing_key": format!("{queue}.*")});
        ask(&from, "POST", &format!("/api/bindings/%2F/e/events/q/{queue}"), &binding);
    }
    for number in 0..700 {
        let properties = json!({"delivery_mode": 2, "message_id": number.to_string(), "headers": {"n": number, "list": [1, "x"]}});
        let message = json!({"properties": properties, "routing_key": "orders.new", "payload": format!("order {number}"), "payload_encoding": "string"});
        ask(&from, "POST", "/api/exchanges/%2F/events/publish", &message);
    }
    // Larger than a frame, and empty.
    for payload in ["x".repeat(300_000), String::new()] {
        let message = json!({"properties": {}, "routing_key": "mails.a", "payload": payload, "payload_encoding": "string"});
        ask(&from, "POST", "/api/exchanges/%2F/events/publish", &message);
    }
    let before = [all(&from, "orders"), all(&from, "mails")];
    assert_eq!([before[0].len(), before[1].len()], [700, 2]);
    let output = migrate(&from, &new);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("orders in /: 700 messages"), "{said}");
    assert_eq!([all(&to, "orders"), all(&to, "mails")], before);
    assert_eq!(all(&from, "orders"), Vec::<Value>::new(), "they are gone from the old broker");
    // Nothing is left to do; a second run does nothing.
    let output = migrate(&from, &new);
    assert!(output.status.success());
    assert_eq!(all(&to, "orders").len(), 700);
    // What is routed here from now on goes the way it went there.
    let message = json!({"properties": {}, "routing_key": "orders.b", "payload": "", "payload_encoding": "string"});
    assert_eq!(
        ask(&to, "POST", "/api/exchanges/%2F/events/publish", &message),
        json!({"routed": true})
    );
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let folder = Folder::new("nothing");
    let Some(_to) = folder.open() else { return };
    let mut command = Command::new(leveret());
    command.args(["migrate", "--from", "http://guest:guest@127.0.0.1:1", "--data-dir"]);
    let output = command.arg(folder.data()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the old broker (--from)") && said.contains("127.0.0.1:1"), "{said}");
}
