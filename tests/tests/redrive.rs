//! Dead letters back to where they died, and whole queues elsewhere: nothing lost, nothing twice, what fails is named.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};

use leveret_tests::{Broker, Folder, Management, PATIENCE, eventually, leveret};
use serde_json::{Value, json};

fn run(data: &Path, arguments: &[&str]) -> Output {
    Command::new(leveret()).arg("ctl").arg("--data-dir").arg(data).args(arguments).output().unwrap()
}

fn ctl(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct World {
    folder: Folder,
    api: Management,
    _broker: Broker,
}

impl World {
    fn new() -> Option<Self> {
        let folder = Folder::new("redrive");
        let broker = folder.open()?;
        let world = Self { api: Management(broker.management()), folder, _broker: broker };
        for queue in ["jobs", "mails"] {
            let arguments =
                json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"});
            world.declare(queue, arguments);
        }
        world.declare("dead", json!({}));
        world.declare("other", json!({}));
        let (status, _) = world.api.request(
            "PUT",
            "/api/exchanges/%2F/events",
            "{\"type\":\"topic\",\"durable\":true}",
        );
        assert_eq!(status, 201);
        let binding = "{\"routing_key\":\"job.#\"}";
        let (status, _) = world.api.request("POST", "/api/bindings/%2F/e/events/q/jobs", binding);
        assert_eq!(status, 201);
        Some(world)
    }

    fn declare(&self, queue: &str, arguments: Value) {
        let body = json!({"durable": true, "arguments": arguments}).to_string();
        let (status, _) = self.api.request("PUT", &format!("/api/queues/%2F/{queue}"), &body);
        assert_eq!(status, 201, "{queue}");
    }

    fn publish(&self, exchange: &str, key: &str, n: u64) {
        for number in 0..n {
            let body = json!({
                "properties": {"delivery_mode": 2, "message_id": format!("{key}-{number}")},
                "routing_key": key, "payload": format!("{key} {number}"), "payload_encoding": "string",
            });
            let path = format!("/api/exchanges/%2F/{exchange}/publish");
            let (status, answer) = self.api.request("POST", &path, &body.to_string());
            assert_eq!((status, &answer["routed"]), (200, &json!(true)), "{answer}");
        }
    }

    fn get(&self, queue: &str, ackmode: &str) -> Vec<Value> {
        let body = json!({"count": 1000, "ackmode": ackmode, "encoding": "auto"}).to_string();
        let (status, got) =
            self.api.request("POST", &format!("/api/queues/%2F/{queue}/get"), &body);
        assert_eq!(status, 200, "{got}");
        got.as_array().unwrap().clone()
    }

    /// Publishes and rejects.
    fn die(&self, exchange: &str, key: &str, queue: &str, n: u64) {
        self.publish(exchange, key, n);
        assert_eq!(self.get(queue, "reject_requeue_false").len() as u64, n);
    }

    fn ready(&self, queue: &str) -> u64 {
        let listed = ctl(&self.folder.data(), &["list_queues", "-s", "name", "messages_ready"]);
        let line = listed.lines().find_map(|line| line.strip_prefix(&format!("{queue}\t")));
        line.unwrap().parse().unwrap()
    }
}

#[test]
fn dead_letters_go_back_to_where_they_died_with_the_address_they_had() {
    let Some(world) = World::new() else { return };
    world.die("events", "job.big", "jobs", 300);
    world.die("amq.default", "mails", "mails", 2);
    let data = world.folder.data();
    let dry = ctl(&data, &["redrive", "dead", "--dry-run"]);
    assert!(dry.contains("302 of 302 looked at, 302 would be moved"), "{dry}");
    assert_eq!(world.ready("dead"), 302);
    let done = ctl(&data, &["redrive", "dead", "--died-in", "jobs", "--reason", "rejected"]);
    assert!(
        done.starts_with(
            "done: 302 of 302 looked at, 300 moved, 2 do not fit, 0 failed\n  to jobs: 300\n"
        ),
        "{done}"
    );
    assert_eq!((world.ready("dead"), world.ready("jobs"), world.ready("mails")), (2, 300, 0));
    let back = world.get("jobs", "ack_requeue_true");
    assert_eq!(
        (&back[0]["exchange"], &back[0]["routing_key"]),
        (&json!("events"), &json!("job.big"))
    );
    let numbers: Vec<&str> = back.iter().map(|m| m["payload"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..300).map(|n| format!("job.big {n}")).collect();
    assert_eq!(numbers, expected, "in their order");
    // Nothing is that old.
    let old = ctl(&data, &["redrive", "dead", "--older-than", "3600"]);
    assert!(old.contains("0 moved, 2 do not fit"), "{old}");
    let rest = ctl(&data, &["redrive", "dead", "--rate", "1000"]);
    assert!(rest.contains("to mails: 2"), "{rest}");
    assert_eq!(world.ready("dead"), 0);
}

#[test]
fn what_cannot_be_moved_stays_in_its_place_and_is_named() {
    let Some(world) = World::new() else { return };
    world.publish("amq.default", "dead", 1);
    world.die("events", "job.a", "jobs", 2);
    let (status, _) = world.api.request("DELETE", "/api/queues/%2F/jobs", "");
    assert_eq!(status, 204);
    let output = run(&world.folder.data(), &["redrive", "dead"]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("0 moved, 0 do not fit, 3 failed"), "{said}");
    assert!(said.contains("message 1 (dead-0): it is no dead letter"), "{said}");
    assert!(said.contains("message 2 (job.a-0): no queue 'jobs' in vhost '/'"), "{said}");
    assert_eq!(world.ready("dead"), 3);
    // A queue that is full refuses what comes.
    world.declare("jobs", json!({"x-max-length": 1, "x-overflow": "reject-publish"}));
    let output = run(&world.folder.data(), &["redrive", "dead"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("1 moved, 0 do not fit, 2 failed"), "{said}");
    assert!(said.contains("queue 'jobs' refuses messages: it is full"), "{said}");
    assert_eq!((world.ready("dead"), world.ready("jobs")), (2, 1));
}

#[test]
fn a_whole_queue_moves_elsewhere_and_a_move_can_be_cancelled() {
    let Some(world) = World::new() else { return };
    world.publish("events", "job.b", 40);
    let data = world.folder.data();
    let id = ctl(&data, &["redrive", "jobs", "--to", "other", "--rate", "5", "--detach"]);
    let id: u64 = id.trim().parse().unwrap();
    ctl(&data, &["cancel_redrive", &id.to_string()]);
    let done = eventually("the redrive ends", PATIENCE, || {
        let list = ctl(&data, &["list_redrives", "-s", "--formatter", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let all = list.as_array().unwrap();
        all.iter().find(|one| one["id"] == id && one["state"] == "cancelled").cloned()
    });
    let moved = done["moved"].as_u64().unwrap();
    assert!(moved <= 10, "{done}");
    assert_eq!((world.ready("jobs"), world.ready("other")), (40 - moved, moved));
    let rest = ctl(&data, &["redrive", "jobs", "--to", "other"]);
    assert!(rest.starts_with("done: "), "{rest}");
    assert_eq!((world.ready("jobs"), world.ready("other")), (0, 40));
    assert_eq!(world.get("other", "ack_requeue_true")[0]["exchange"], "events");
}

#[test]
fn messages_are_published_and_got_over_the_socket_in_the_data_directory() {
    let Some(world) = World::new() else { return };
    let data = world.folder.data();
    ctl(&data, &["publish", "amq.default", "other", "hello"]);
    let got = ctl(&data, &["get", "other", "--formatter", "json"]);
    assert!(got.contains("hello"), "{got}");
    assert_eq!(world.ready("other"), 1, "looking leaves messages where they are");
}
