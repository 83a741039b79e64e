//! Declaring and deleting exchanges, binding, and where messages go.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

fn delete(name: &str, if_unused: bool) -> Command {
    Command::DeleteExchange { vhost: "/".into(), name: name.into(), if_unused }
}

#[test]
fn a_vhost_starts_with_rabbitmqs_exchanges() {
    let mut topology = topology();
    let vhost = topology.vhost("/").unwrap();
    let mut listed: Vec<_> =
        vhost.exchanges().map(|x| format!("{} {} {}", x.name, x.kind.name(), x.internal)).collect();
    listed.sort();
    assert_eq!(
        listed,
        [
            " direct false",
            "amq.direct direct false",
            "amq.fanout fanout false",
            "amq.headers headers false",
            "amq.match headers false",
            "amq.rabbitmq.event topic true",
            "amq.rabbitmq.trace topic true",
            "amq.topic topic false",
        ]
    );
    topology.exchanges(&[("amq.direct", "direct"), ("amq.match", "headers")]);
    assert_eq!(topology.n_exchanges(), 8);
}

#[test]
fn a_redeclare_must_be_equivalent() {
    let mut topology = topology();
    let arguments = table(&[("foo", Value::Int(1))]);
    topology
        .does(Command::DeclareExchange(ExchangeDeclare { arguments, ..exchange("x", "direct") }));
    let mut refused = |declare| topology.refuses(Command::DeclareExchange(declare));
    let start = "406 inequivalent arg";
    assert_eq!(
        refused(exchange("x", "fanout")),
        format!(
            "{start} 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"
        )
    );
    assert_eq!(
        refused(ExchangeDeclare { durable: false, ..exchange("x", "direct") }),
        format!(
            "{start} 'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'"
        )
    );
    assert_eq!(
        refused(ExchangeDeclare { auto_delete: true, ..exchange("x", "direct") }),
        format!(
            "{start} 'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'"
        )
    );
    assert_eq!(
        refused(ExchangeDeclare { internal: true, ..exchange("x", "direct") }),
        format!(
            "{start} 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"
        )
    );
    let arguments = table(&[("foo", Value::Int(2)), ("bar", "x".into())]);
    topology
        .does(Command::DeclareExchange(ExchangeDeclare { arguments, ..exchange("x", "direct") }));
}

#[test]
fn the_alternate_exchange_is_the_argument_that_counts() {
    let mut topology = topology();
    let with = |name: &str, value: Value| {
        let arguments = table(&[("alternate-exchange", value)]);
        Command::DeclareExchange(ExchangeDeclare { arguments, ..exchange(name, "direct") })
    };
    topology.does(with("x", "ae".into()));
    topology.does(with("x", Value::ByteArray(b"ae".to_vec())));
    let start = "406 inequivalent arg 'alternate-exchange' for exchange";
    assert_eq!(
        topology.refuses(with("x", "other".into())),
        format!("{start} 'x' in vhost '/': received 'other' but current is 'ae'")
    );
    assert_eq!(
        topology.refuses(with("x", Value::Int(5))),
        format!("{start} 'x' in vhost '/': received '5' but current is 'ae'")
    );
    assert_eq!(
        topology.refuses(Command::DeclareExchange(exchange("x", "direct"))),
        format!(
            "{start} 'x' in vhost '/': received none but current is the value 'ae' of type 'longstr'"
        )
    );
    assert_eq!(
        topology.refuses(with("n", Value::Void)),
        "406 invalid type 'void' for arg 'alternate-exchange' in exchange 'n' in vhost '/'"
    );
    topology.does(with("n", "".into()));
}

#[test]
fn names_and_types_are_checked() {
    let mut topology = topology();
    let mut refused = |name, kind| topology.refuses(Command::DeclareExchange(exchange(name, kind)));
    assert_eq!(refused("", "direct"), "403 operation not permitted on the default exchange");
    assert_eq!(refused("x", "nope"), "406 unknown exchange type 'nope'");
    assert_eq!(refused("x", "Direct"), "406 unknown exchange type 'Direct'");
    assert_eq!(refused("x", ""), "406 invalid exchange type ''");
    assert_eq!(
        refused("amq.x", "direct"),
        "403 exchange name 'amq.x' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        topology.refuses(delete("", false)),
        "403 operation not permitted on the default exchange"
    );
    assert_eq!(
        topology.refuses(delete("amq.direct", false)),
        "403 deletion of system exchange 'amq.direct' in vhost '/' not allowed"
    );
}

#[test]
fn deleting() {
    let mut topology = topology();
    assert_eq!(topology.does(delete("none", true)).outcome, Outcome::Deleted { existed: false });
    topology.queues(&["q"]);
    topology.exchanges(&[("s", "fanout"), ("d", "fanout")]);
    topology.bind_all(&[to_exchange("s", "d", ""), to_queue("s", "q", "")]);
    topology.does(delete("d", true));
    assert_eq!(topology.refuses(delete("s", true)), "406 exchange 's' in vhost '/' in use");
    assert_eq!(told(&topology.does(delete("s", false))), ["-exchange s"]);
    assert_eq!(topology.vhost("/").unwrap().n_bindings(), 0);
    assert_eq!(topology.n_exchanges(), 8);
}

#[test]
fn the_default_exchange_is_not_bound() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.exchanges(&[("x", "fanout")]);
    let refused = "403 operation not permitted on the default exchange";
    for spec in [to_queue("", "q", "q"), to_exchange("", "x", "k"), to_exchange("x", "", "k")] {
        assert_eq!(topology.refuses(Command::Bind(spec.clone())), refused);
        assert_eq!(topology.refuses(Command::Unbind(spec)), refused);
    }
}

#[test]
fn the_ends_of_a_binding_must_exist() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.exchanges(&[("x", "fanout")]);
    let mut refused = |spec| topology.refuses(Command::Bind(spec));
    assert_eq!(refused(to_queue("x", "none", "")), "404 no queue 'none' in vhost '/'");
    assert_eq!(refused(to_queue("none", "q", "")), "404 no exchange 'none' in vhost '/'");
    assert_eq!(refused(to_queue("none", "none", "")), "404 no exchange 'none' in vhost '/'");
    assert_eq!(refused(to_exchange("x", "none", "")), "404 no exchange 'none' in vhost '/'");
    for spec in [to_queue("x", "none", ""), to_queue("none", "q", ""), to_queue("x", "q", "no")] {
        let outcome = topology.does(Command::Unbind(spec)).outcome;
        assert_eq!(outcome, Outcome::Unbound { existed: false });
    }
}

#[test]
fn bindings_differ_by_arguments() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.exchanges(&[("x", "direct")]);
    let with = |fields: &[(&str, Value)]| BindingSpec {
        arguments: table(fields),
        ..to_queue("x", "q", "k")
    };
    let (a, b) = (("a", Value::Int(1)), ("b", Value::Int(2)));
    topology.bind_all(&[with(&[]), with(&[]), with(&[a.clone(), b.clone()]), with(&[b, a])]);
    assert_eq!(topology.vhost("/").unwrap().bindings_from("x").count(), 2);
    assert_eq!(topology.reached("x", &["k"]), ["q"]);
    topology.does(Command::Unbind(with(&[])));
    assert_eq!(topology.reached("x", &["k"]), ["q"]);
    let wider = with(&[("a", Value::Long(1)), ("b", Value::Int(2))]);
    let outcome = topology.does(Command::Unbind(wider)).outcome;
    assert_eq!(outcome, Outcome::Unbound { existed: false });
    topology.does(Command::Unbind(with(&[("a", Value::Int(1)), ("b", Value::Int(2))])));
    assert!(topology.reached("x", &["k"]).is_empty());
}

#[test]
fn bindings_are_listed() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.declare(QueueDeclare { durable: false, ..queue("t") });
    topology.exchanges(&[("x", "direct"), ("y", "fanout")]);
    let specs = [to_queue("x", "q", "1"), to_queue("x", "t", "2"), to_exchange("x", "y", "3")];
    topology.bind_all(&specs);
    let vhost = topology.vhost("/").unwrap();
    let mut listed: Vec<_> = vhost
        .bindings()
        .map(|b| (b.destination.name().to_string(), b.key.to_vec(), b.durable))
        .collect();
    listed.sort();
    let row = |name: &str, key: &[u8], durable| (name.to_owned(), key.to_vec(), durable);
    assert_eq!(listed, [row("q", b"1", true), row("t", b"2", false), row("y", b"3", true)]);
    assert_eq!(vhost.bindings_to_queue("q").count(), 1);
    assert_eq!(vhost.bindings_to_exchange("y").count(), 1);
    assert_eq!(vhost.bindings_from("y").count(), 0);
    assert_eq!(vhost.bindings_from("none").count(), 0);
}

#[test]
fn auto_delete_exchanges_go_with_their_last_binding() {
    let mut topology = topology();
    topology.queues(&["q"]);
    let auto = |name| ExchangeDeclare { auto_delete: true, ..exchange(name, "fanout") };
    for name in ["a", "b", "c"] {
        topology.does(Command::DeclareExchange(auto(name)));
    }
    topology.bind_all(&[
        to_exchange("a", "b", ""),
        to_exchange("b", "c", ""),
        to_queue("c", "q", ""),
    ]);
    let delete = Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None };
    let applied = topology.does(delete);
    assert_eq!(told(&applied), ["-queue q", "-exchange c", "-exchange b", "-exchange a"]);
    assert_eq!((topology.n_exchanges(), topology.vhost("/").unwrap().n_bindings()), (8, 0));
    // One that never had a binding stays, and being a destination does not count.
    topology.does(Command::DeclareExchange(auto("d")));
    topology.exchanges(&[("s", "fanout")]);
    topology.bind_all(&[to_exchange("s", "d", "")]);
    topology.does(Command::Unbind(to_exchange("s", "d", "")));
    assert!(topology.exchange("/", "d").is_some());
}

#[test]
fn auto_delete_exchanges_in_a_circle() {
    let mut topology = topology();
    topology.queues(&["q"]);
    for name in ["a", "b"] {
        let declare = ExchangeDeclare { auto_delete: true, ..exchange(name, "fanout") };
        topology.does(Command::DeclareExchange(declare));
    }
    topology.bind_all(&[
        to_exchange("a", "b", ""),
        to_exchange("b", "a", ""),
        to_queue("b", "q", ""),
    ]);
    topology.does(Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None });
    assert!(topology.exchange("/", "a").is_some() && topology.exchange("/", "b").is_some());
    assert_eq!(told(&topology.does(delete("a", false))), ["-exchange a", "-exchange b"]);
}

#[test]
fn an_exchange_bound_to_itself() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.exchanges(&[("x", "fanout")]);
    topology.bind_all(&[to_exchange("x", "x", ""), to_queue("x", "q", "")]);
    assert_eq!(topology.reached("x", &[""]), ["q"]);
    topology.does(delete("x", false));
    assert_eq!(topology.vhost("/").unwrap().n_bindings(), 0);
}

#[test]
fn each_queue_gets_one_copy() {
    let mut topology = topology();
    topology.queues(&["q", "r"]);
    topology.exchanges(&[("x", "direct"), ("y", "topic")]);
    topology.bind_all(&[
        to_queue("x", "q", "a"),
        to_queue("x", "q", "b"),
        to_queue("x", "r", "b"),
        to_exchange("x", "y", "a"),
        to_queue("y", "q", "#"),
        to_queue("y", "r", "*"),
        to_exchange("y", "x", "#"),
    ]);
    assert_eq!(topology.reached("x", &["a"]), ["q", "r"]);
    assert_eq!(topology.reached("x", &["a", "b", "a"]), ["q", "r"]);
    assert_eq!(topology.reached("x", &["c"]), [""; 0]);
    assert_eq!(topology.reached("", &["q", "r", "q", "none"]), ["q", "r"]);
    assert_eq!(topology.reached("none", &["a"]), [""; 0]);
}

#[test]
fn the_alternate_exchange_takes_what_finds_nothing() {
    let mut topology = topology();
    topology.queues(&["q", "lost"]);
    let alternate = |name: &str, kind, to: &str| {
        let arguments = table(&[("alternate-exchange", to.into())]);
        Command::DeclareExchange(ExchangeDeclare { arguments, ..exchange(name, kind) })
    };
    topology.does(alternate("x", "direct", "y"));
    topology.does(alternate("y", "headers", "ae"));
    topology.exchanges(&[("ae", "fanout"), ("hole", "fanout")]);
    topology.bind_all(&[
        to_queue("x", "q", "k"),
        to_queue("ae", "lost", ""),
        to_exchange("x", "hole", "h"),
    ]);
    assert_eq!(topology.reached("x", &["k"]), ["q"]);
    assert_eq!(topology.reached("x", &["other"]), ["lost"]);
    // A bound exchange that drops everything is a destination all the same.
    assert_eq!(topology.reached("x", &["h"]), [""; 0]);
    topology.does(delete("ae", false));
    assert_eq!(topology.reached("x", &["other"]), [""; 0]);
    topology.does(alternate("loop", "direct", "loop"));
    assert_eq!(topology.reached("loop", &["k"]), [""; 0]);
    topology.does(alternate("empty", "fanout", ""));
    assert_eq!(topology.reached("empty", &["q"]), [""; 0]);
}

#[test]
fn routes_by_headers_are_not_to_be_cached() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.exchanges(&[("x", "direct")]);
    topology.bind_all(&[to_exchange("x", "amq.headers", "h"), to_queue("x", "q", "k")]);
    let (vhost, mut out) = (topology.vhost("/").unwrap(), Routed::new(0));
    let mut by_key_alone = |key: &[u8]| {
        vhost.route("x", &Routable::by_keys(&[key]), |_| Passage::Route, &mut out);
        out.by_key_alone()
    };
    assert_eq!([by_key_alone(b"k"), by_key_alone(b"h"), by_key_alone(b"n")], [true, false, true]);
}

#[test]
fn every_change_of_routes_shows_in_the_version() {
    let mut topology = topology();
    let version = topology.routing_version();
    let mut last = version.load(Ordering::Relaxed);
    let mut moved = |topology: &mut Topology, command| {
        topology.does(command);
        let now = version.load(Ordering::Relaxed);
        std::mem::replace(&mut last, now) != now
    };
    assert!(moved(&mut topology, Command::DeclareQueue(queue("q"))));
    assert!(!moved(&mut topology, Command::DeclareQueue(queue("q"))));
    assert!(moved(&mut topology, Command::DeclareExchange(exchange("x", "direct"))));
    assert!(!moved(&mut topology, Command::DeclareExchange(exchange("x", "direct"))));
    assert!(moved(&mut topology, Command::Bind(to_queue("x", "q", "k"))));
    assert!(!moved(&mut topology, Command::Bind(to_queue("x", "q", "k"))));
    assert!(moved(&mut topology, Command::Unbind(to_queue("x", "q", "k"))));
    assert!(!moved(&mut topology, Command::Unbind(to_queue("x", "q", "k"))));
    let clear = Command::ClearPermission { user: "guest".into(), vhost: "/".into() };
    assert!(moved(&mut topology, clear));
    assert!(moved(&mut topology, delete("x", false)));
}

#[test]
fn a_hash_exchange_has_one_destination_for_every_key() {
    let mut topology = topology();
    topology.exchanges(&[("hash", "x-consistent-hash"), ("mod", "x-modulus-hash")]);
    topology.queues(&["q0", "q1", "q2", "q3"]);
    for n in 0..4 {
        let queue = format!("q{n}");
        topology.bind_all(&[to_queue("hash", &queue, "1"), to_queue("mod", &queue, "")]);
    }
    for exchange in ["hash", "mod"] {
        let keys: Vec<_> = (0..100).map(|n| format!("key-{n}")).collect();
        let of_key = |key: &String| {
            let reached = topology.reached(exchange, &[key]);
            assert_eq!(reached.len(), 1, "{exchange} {key}");
            reached
        };
        let reached: BTreeSet<_> = keys.iter().flat_map(of_key).collect();
        assert_eq!(reached.len(), 4, "{exchange}");
    }
    let (vhost, mut out) = (topology.vhost("/").unwrap(), Routed::new(0));
    for (exchange, by_key) in [("hash", true), ("mod", true)] {
        vhost.route(exchange, &Routable::by_keys(&[b"k"]), |_| Passage::Route, &mut out);
        assert_eq!(out.by_key_alone(), by_key, "{exchange}");
    }
}

#[test]
fn a_random_exchange_has_one_destination_for_every_message() {
    let mut topology = topology();
    topology.exchanges(&[("any", "x-random"), ("local", "x-local-random"), ("next", "x-random")]);
    topology.queues(&["q0", "q1"]);
    for queue in ["q0", "q1"] {
        topology.bind_all(&[
            to_queue("any", queue, "x"),
            to_queue("local", queue, ""),
            to_queue("next", queue, ""),
        ]);
    }
    let (vhost, mut out) = (topology.vhost("/").unwrap(), Routed::new(5));
    for exchange in ["any", "local"] {
        let mut counts = BTreeMap::<_, u32>::new();
        for _ in 0..200 {
            vhost.route(exchange, &Routable::by_keys(&[b"k"]), |_| Passage::Route, &mut out);
            assert_eq!(out.queues().len(), 1);
            assert!(!out.by_key_alone());
            *counts.entry(out.queues()[0]).or_default() += 1;
        }
        assert!(counts.len() == 2 && counts.values().all(|n| *n > 60), "{exchange} {counts:?}");
    }
}

#[test]
fn types_refuse_arguments_and_bindings_that_they_cannot_use() {
    let mut topology = topology();
    let arguments = table(&[("hash-property", "app_id".into())]);
    let declare = ExchangeDeclare { arguments, ..exchange("x", "x-consistent-hash") };
    let refused = topology.refuses(Command::DeclareExchange(declare));
    assert_eq!(refused, "406 Unsupported property: app_id");
    topology.exchanges(&[("hash", "x-consistent-hash"), ("local", "x-local-random")]);
    topology.queues(&["q"]);
    let mut bind = |spec| topology.refuses(Command::Bind(spec));
    assert_eq!(
        bind(to_queue("hash", "q", "a")),
        "406 The binding key must be an integer: <<\"a\">>"
    );
    assert_eq!(bind(to_queue("hash", "q", "0")), "406 The binding key must be greater than 0");
    assert_eq!(bind(to_queue("local", "q", "a")), "406 Non empty binding 'a' key not permitted");
    assert_eq!(bind(to_exchange("local", "hash", "")), "406 Destination not found");
}
