//! What is durable and not a message is there again after `kill -9`; what is not, is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use leveret_tests::codec::amqp::{basic, exchange, queue};
use leveret_tests::{
    AMQPValue, Client, FieldTable, Folder, Login, Management, Outgoing, arguments, eventually, text,
};
use rustix::process::Signal;
use serde_json::Value;

fn put(http: Management, path: &str, body: &str) {
    let (status, answer) = http.request("PUT", path, body);
    assert!((200..300).contains(&status), "PUT {path}: {status} {answer}");
}

fn delete(http: Management, path: &str) {
    let (status, answer) = http.request("DELETE", path, "");
    assert_eq!(status, 204, "DELETE {path}: {answer}");
}

fn status(http: Management, path: &str) -> u16 {
    http.request("GET", path, "").0
}

fn names(http: Management, path: &str) -> Vec<String> {
    let all = http.get(path);
    let mut names: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .filter(|name| !name.is_empty() && !name.starts_with("amq."))
        .collect();
    names.sort();
    names
}

fn declare(client: &mut Client, name: &str, flags: &str, table: FieldTable) {
    let durable = flags.contains("durable");
    client.call(
        1,
        queue::Declare {
            queue: name.into(),
            durable,
            exclusive: flags.contains("exclusive"),
            auto_delete: flags.contains("auto-delete"),
            arguments: table,
            ..Default::default()
        },
    );
}

fn declare_exchange(client: &mut Client, name: &str, kind: &str, flags: &str) {
    client.call(
        1,
        exchange::Declare {
            exchange: name.into(),
            kind: kind.into(),
            durable: flags.contains("durable"),
            auto_delete: flags.contains("auto-delete"),
            ..Default::default()
        },
    );
}

fn bind(client: &mut Client, source: &str, to: &str, key: &str) {
    client.call(
        1,
        queue::Bind {
            exchange: source.into(),
            queue: to.into(),
            routing_key: key.into(),
            ..Default::default()
        },
    );
}

fn delete_queue(client: &mut Client, name: &str) {
    client.call(1, queue::Delete { queue: name.into(), ..Default::default() });
}

#[test]
fn what_clients_declared_durable_comes_back_and_the_rest_does_not() {
    let folder = Folder::new("amqp");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    declare_exchange(&mut client, "kept-x", "topic", "durable");
    declare_exchange(&mut client, "kept-auto-x", "fanout", "durable auto-delete");
    declare_exchange(&mut client, "lost-x", "direct", "");
    let limits = arguments([("x-max-length", AMQPValue::LongInt(7))]);
    declare(&mut client, "kept", "durable", limits);
    declare(&mut client, "lost", "", Default::default());
    declare(&mut client, "lost-exclusive", "durable exclusive", FieldTable::default());
    declare(&mut client, "deleted", "durable", Default::default());
    for (source, to, key) in [
        ("kept-x", "kept", "a.#"),
        ("kept-x", "lost", "b"),
        ("lost-x", "kept", "c"),
        ("amq.direct", "kept", "d"),
        ("kept-x", "deleted", "e"),
        ("kept-auto-x", "kept", ""),
        ("kept-x", "kept", "unbound"),
    ] {
        bind(&mut client, source, to, key);
    }
    delete_queue(&mut client, "deleted");
    client.call(
        1,
        queue::Unbind {
            exchange: "kept-x".into(),
            queue: "kept".into(),
            routing_key: "unbound".into(),
            ..Default::default()
        },
    );
    broker.kill();

    let broker = folder.open().unwrap();
    let http = Management(broker.management());
    assert_eq!(names(http, "/api/queues"), ["kept"]);
    assert_eq!(names(http, "/api/exchanges"), ["kept-auto-x", "kept-x"]);
    let kept = http.get("/api/queues/%2f/kept");
    assert_eq!(kept["arguments"]["x-max-length"], 7);
    assert_eq!(kept["durable"], true);
    let mut bindings: Vec<_> = http
        .get("/api/queues/%2f/kept/bindings")
        .as_array()
        .unwrap()
        .iter()
        .map(|b| {
            format!("{} {}", b["source"].as_str().unwrap(), b["routing_key"].as_str().unwrap())
        })
        .collect();
    bindings.sort();
    assert_eq!(bindings, [" kept", "amq.direct d", "kept-auto-x ", "kept-x a.#"]);
    // It still routes, and is still what it was declared as.
    let mut client = Client::connect(&broker);
    client.confirms(1);
    client.publish_confirmed(1, &Outgoing::new("kept-x", "a.b", "body"));
    let found = client
        .call(1, queue::Declare { queue: "kept".into(), passive: true, ..Default::default() });
    assert_eq!(found.message_count, 1);
    let refused = client.refused(1, queue::Declare { queue: "kept".into(), ..Default::default() });
    assert_eq!(refused.code, 406, "{refused:?}");
}

#[test]
fn an_auto_delete_exchange_that_went_stays_away() {
    let folder = Folder::new("auto-delete");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    declare_exchange(&mut client, "x", "fanout", "durable auto-delete");
    // The last binding is one that no restart would bring back.
    declare(&mut client, "own", "exclusive", Default::default());
    bind(&mut client, "x", "own", "");
    delete_queue(&mut client, "own");
    let passive = exchange::Declare { exchange: "x".into(), passive: true, ..Default::default() };
    let refused = client.refused(1, passive);
    assert_eq!(refused.code, 404, "{refused:?}");
    broker.kill();
    let broker = folder.open().unwrap();
    assert_eq!(names(Management(broker.management()), "/api/exchanges"), [""; 0]);
}

#[test]
fn an_auto_delete_queue_that_went_with_its_consumer_stays_away() {
    let folder = Folder::new("auto-delete-queue");
    let Some(broker) = folder.open() else { return };
    let http = Management(broker.management());
    let mut client = Client::connect(&broker);
    declare(&mut client, "q", "durable auto-delete", Default::default());
    client.consume(1, "q", "tag", true);
    client.call(1, basic::Cancel { consumer_tag: "tag".into(), ..Default::default() });
    eventually("the queue goes", leveret_tests::PATIENCE, || {
        (status(http, "/api/queues/%2f/q") == 404).then_some(())
    });
    broker.kill();
    let broker = folder.open().unwrap();
    assert_eq!(names(Management(broker.management()), "/api/queues"), [""; 0]);
}

#[test]
fn what_people_set_comes_back_and_what_they_deleted_does_not() {
    let folder = Folder::new("http");
    let Some(broker) = folder.open() else { return };
    let http = Management(broker.management());
    for (path, body) in [
        ("/api/vhosts/kept", r#"{"description":"d","tags":"a,b"}"#),
        ("/api/vhosts/deleted", "{}"),
        ("/api/users/kept", r#"{"password":"secret","tags":"monitoring"}"#),
        ("/api/users/deleted", r#"{"password":"secret","tags":""}"#),
        ("/api/permissions/kept/kept", r#"{"configure":"^a","write":".*","read":".*"}"#),
        ("/api/vhost-limits/kept/max-queues", r#"{"value":5}"#),
        ("/api/user-limits/kept/max-channels", r#"{"value":9}"#),
        (
            "/api/policies/%2f/p",
            r#"{"pattern":"^q","definition":{"max-length":3},"apply-to":"queues","priority":2}"#,
        ),
        ("/api/global-parameters/g", r#"{"value":{"deep":[1,2.5,null]}}"#),
        ("/api/queues/kept/a", r#"{"durable":true}"#),
        ("/api/queues/kept/t", r#"{"durable":false}"#),
        ("/api/queues/%2f/q", r#"{"durable":true}"#),
        ("/api/exchanges/%2f/x", r#"{"type":"headers","durable":true}"#),
    ] {
        put(http, path, body);
    }
    let (created, _) = http.request(
        "POST",
        "/api/bindings/%2f/e/x/q/q",
        r#"{"routing_key":"k","arguments":{"x-match":"all","n":1}}"#,
    );
    assert_eq!(created, 201);
    delete(http, "/api/vhosts/deleted");
    delete(http, "/api/users/deleted");
    let shown = [
        "/api/vhosts/kept",
        "/api/policies",
        "/api/global-parameters",
        "/api/permissions/kept/kept",
    ];
    let without_figures = |mut value: Value| {
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|key, _| {
                !key.contains("messages") && !key.ends_with("oct") && !key.ends_with("details")
            });
        }
        value
    };
    let before = shown.map(|path| without_figures(http.get(path)));
    broker.kill();

    let broker = folder.open().unwrap();
    let http = Management(broker.management());
    assert_eq!(shown.map(|path| without_figures(http.get(path))), before);
    for path in ["/api/vhosts/deleted", "/api/users/deleted", "/api/queues/kept/t"] {
        assert_eq!(status(http, path), 404, "{path}");
    }
    let user = http.get("/api/users/kept");
    assert_eq!(
        (&user["tags"][0], &user["limits"]["max-channels"]),
        (&"monitoring".into(), &9.into())
    );
    assert_eq!(http.get("/api/vhost-limits/kept")[0]["value"]["max-queues"], 5);
    assert_eq!(http.get("/api/queues/%2f/q")["policy"], "p");
    let bindings = http.get("/api/bindings/%2f/e/x/q/q");
    assert_eq!(bindings[0]["arguments"]["n"], 1);
    // The password still fits, and the permission holds.
    let response = b"\0kept\0secret".to_vec();
    let login = Login { response, vhost: "kept", ..Login::default() };
    let mut client = Client::login(broker.amqp(), &login);
    client.open(1);
    declare(&mut client, "also", "durable", Default::default());
    let refused = client
        .refused(1, queue::Declare { queue: "b".into(), durable: true, ..Default::default() });
    assert_eq!(refused.code, 403, "{refused:?}");
}

#[test]
fn the_default_user_is_made_once() {
    let folder = Folder::new("guest");
    let Some(broker) = folder.open() else { return };
    let http = Management(broker.management());
    put(http, "/api/users/admin", r#"{"password":"secret","tags":"administrator"}"#);
    delete(http, "/api/users/guest");
    broker.kill();
    let broker = folder.open().unwrap();
    assert_eq!(status(Management(broker.management()), "/api/overview"), 401);
}

#[test]
fn every_declare_that_was_answered_is_there_however_many_clients_there_are() {
    const CLIENTS: usize = 32;
    const EACH: usize = 20;
    let folder = Folder::new("many");
    let Some(broker) = folder.open() else { return };
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = Client::connect(broker);
                for m in 0..EACH {
                    declare(&mut client, &format!("q-{n}-{m}"), "durable", Default::default());
                    bind(&mut client, "amq.topic", &format!("q-{n}-{m}"), "k");
                    if m % 2 == 1 {
                        delete_queue(&mut client, &format!("q-{n}-{m}"));
                    }
                }
            });
        }
    });
    broker.kill();
    let broker = folder.open().unwrap();
    let names = names(Management(broker.management()), "/api/queues");
    assert_eq!(names.len(), CLIENTS * EACH / 2);
    assert!(names.iter().all(|name| name.ends_with(['0', '2', '4', '6', '8'])));
    // And again, from what the first restart left.
    broker.kill();
    let broker = folder.open().unwrap();
    let found = self::names(Management(broker.management()), "/api/queues");
    assert_eq!(found, names);
}

#[test]
fn a_graceful_end_keeps_the_same() {
    let folder = Folder::new("graceful");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    declare(&mut client, "kept", "durable", arguments([("x-queue-mode", text("lazy"))]));
    broker.signal(Signal::TERM);
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    let broker = folder.open().unwrap();
    assert_eq!(names(Management(broker.management()), "/api/queues"), ["kept"]);
}
