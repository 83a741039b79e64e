//! What routing and changing the topology cost: `cargo run --release -p leveret-engine --example
//! route_bench`. Times are CPU time per call.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use leveret_codec::{Table, TableView, Value};
use leveret_engine::command::VhostSpec;
use leveret_engine::{
    BindingSpec, Command, ConnectionId, Destination, Passage, QueueDeclare, Routable, Routed,
    Timestamp, Topology, TopologyConfig,
};
use std::hint::black_box;

const NOW: Timestamp = Timestamp(0);

fn topology() -> Topology {
    let mut topology = Topology::new(TopologyConfig::default());
    let spec = VhostSpec { name: "/".into(), ..VhostSpec::default() };
    apply(&mut topology, &Command::PutVhost(spec));
    topology
}

fn apply(topology: &mut Topology, command: &Command) {
    if let Err(error) = topology.apply(command, NOW) {
        eprintln!("{command:?}: {error}");
        std::process::exit(1);
    }
}

fn queue(name: String, owner: Option<u64>) -> QueueDeclare {
    QueueDeclare {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: owner.is_none(),
        exclusive_owner: owner.map(ConnectionId),
        auto_delete: false,
        arguments: Table::new(),
        user: "guest".into(),
        id: None,
    }
}

fn declare_queues(topology: &mut Topology, n: usize) {
    for i in 0..n {
        apply(topology, &Command::DeclareQueue(queue(format!("queue-{i}"), None)));
    }
}

fn bind(topology: &mut Topology, exchange: &str, i: usize, key: &str, arguments: Table) {
    apply(
        topology,
        &Command::Bind(BindingSpec {
            vhost: "/".into(),
            source: exchange.into(),
            destination: Destination::Queue(format!("queue-{i}").into()),
            key: key.as_bytes().into(),
            arguments,
        }),
    );
}

/// CPU time of this thread, which other programs on the machine do not count into.
fn cpu_ns() -> u64 {
    number_in("/proc/thread-self/schedstat", 0)
}

fn number_in(path: &str, position: usize) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split(' ').nth(position).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Nanoseconds per call, over as many rounds as the kernel's accounting needs to be exact.
fn time(n: usize, mut call: impl FnMut(usize)) -> f64 {
    let (start, mut calls) = (cpu_ns(), 0);
    while cpu_ns() - start < 300_000_000 {
        (0..n).for_each(&mut call);
        calls += n;
    }
    (cpu_ns() - start) as f64 / calls as f64
}

fn time_routes(topology: &Topology, name: &str, exchange: &str, messages: &[(String, Vec<u8>)]) {
    let Some(vhost) = topology.vhost("/") else { return };
    let (mut out, mut reached, mut calls) = (Routed::new(0), 0, 0);
    let ns = time(messages.len(), |i| {
        let Some((key, headers)) = messages.get(i) else { return };
        let headers = Some(TableView::new(headers));
        let keys: &[&[u8]] = &[key.as_bytes()];
        let message = Routable { headers, ..Routable::by_keys(keys) };
        vhost.route(exchange, &message, |_| Passage::Route, &mut out);
        reached += black_box(&out).queues().len();
        calls += 1;
    });
    let per_message = reached as f64 / f64::from(calls);
    println!("{name:<52} {ns:>9.0} ns   {per_message:>8.2} queues");
}

fn keys(n: usize, key: impl Fn(usize) -> String) -> Vec<(String, Vec<u8>)> {
    (0..n).map(|i| (key(i.wrapping_mul(7919) % n), Vec::new())).collect()
}

fn direct_and_default() {
    let mut topology = topology();
    declare_queues(&mut topology, 10_000);
    for i in 0..10_000 {
        bind(&mut topology, "amq.direct", i, &format!("key-{i}"), Table::new());
    }
    let messages = keys(10_000, |i| format!("queue-{i}"));
    time_routes(&topology, "default exchange, 10,000 queues", "", &messages);
    let messages = keys(10_000, |i| format!("key-{i}"));
    time_routes(&topology, "direct, 10,000 bindings", "amq.direct", &messages);
}

fn fanout() {
    let mut topology = topology();
    declare_queues(&mut topology, 1000);
    for n in [10, 1000] {
        for i in 0..n {
            bind(&mut topology, "amq.fanout", i, "", Table::new());
        }
        let messages = keys(1000, |_| String::new());
        time_routes(&topology, &format!("fanout, {n} bindings"), "amq.fanout", &messages);
    }
}

fn topic() {
    let mut topology = topology();
    declare_queues(&mut topology, 1000);
    let words = |i: usize| (i % 100, i / 100 % 100, i / 10_000, i % 7);
    for i in 0..100_000 {
        let (a, b, c, d) = words(i);
        let pattern = match i % 50 {
            0 => format!("area-{a}.*.room-{b}.kind-{c}"),
            1 => format!("area-{a}.floor-{b}.kind-{c}.#"),
            _ => format!("area-{a}.floor-{b}.room-{c}.kind-{d}"),
        };
        bind(&mut topology, "amq.topic", i % 1000, &pattern, Table::new());
    }
    let messages = keys(100_000, |i| {
        let (a, b, c, d) = words(i);
        format!("area-{a}.floor-{b}.room-{c}.kind-{d}")
    });
    time_routes(&topology, "topic, 100,000 bindings, few wildcards", "amq.topic", &messages);
    for i in 0..1000 {
        let (a, b, _, d) = words(i);
        bind(&mut topology, "amq.topic", i, &format!("#.room-{b}.kind-{d}"), Table::new());
        bind(&mut topology, "amq.topic", i, &format!("area-{a}.*.*.kind-{d}"), Table::new());
    }
    time_routes(&topology, "topic, 102,000 bindings, # at the front", "amq.topic", &messages);
}

/// A trie of 100,000 patterns, each with wildcards.
fn wildcards() {
    let mut topology = topology();
    declare_queues(&mut topology, 1000);
    for i in 0..100_000 {
        let (a, b, c) = (i % 100, i / 100 % 100, i / 10_000);
        let pattern = format!("area-{a}.floor-{b}.*.kind-{c}.#");
        bind(&mut topology, "amq.topic", i % 1000, &pattern, Table::new());
    }
    let messages = keys(100_000, |i| {
        format!("area-{}.floor-{}.room.kind-{}.x", i % 100, i / 100 % 100, i / 10_000)
    });
    time_routes(&topology, "topic, 100,000 bindings, all with wildcards", "amq.topic", &messages);
}

fn headers() {
    let mut topology = topology();
    declare_queues(&mut topology, 1000);
    let arguments = |i: usize| {
        let fields: [(String, Value); 2] = [
            ("type".into(), format!("type-{}", i % 10).as_str().into()),
            ("tenant".into(), Value::Long(i as i64)),
        ];
        Table(fields.into())
    };
    for i in 0..1000 {
        bind(&mut topology, "amq.headers", i, "", arguments(i));
    }
    let messages: Vec<_> = (0..1000).map(|i| (String::new(), arguments(i).to_bytes())).collect();
    time_routes(&topology, "headers, 1,000 bindings of two arguments", "amq.headers", &messages);
    let same = || Table(vec![("a".into(), "1".into()), ("b".into(), "2".into())]);
    for i in 0..1000 {
        bind(&mut topology, "amq.match", i, "", same());
    }
    let messages: Vec<_> = (0..1000).map(|_| (String::new(), same().to_bytes())).collect();
    time_routes(&topology, "headers, 1,000 bindings that all match", "amq.match", &messages);
}

fn changes() {
    let mut topology = topology();
    declare_queues(&mut topology, 100_000);
    let ns = time(20_000, |i| {
        let name = format!("temporary-{i}");
        apply(&mut topology, &Command::DeclareQueue(queue(name.clone(), Some(1))));
        let destination = Destination::Queue(name.as_str().into());
        let binding = BindingSpec {
            vhost: "/".into(),
            source: "amq.topic".into(),
            destination,
            key: name.as_bytes().into(),
            arguments: Table::new(),
        };
        apply(&mut topology, &Command::Bind(binding));
        let delete = Command::DeleteQueue { vhost: "/".into(), name: name.into(), id: None };
        apply(&mut topology, &delete);
    });
    println!("{:<52} {ns:>9.0} ns", "declare, bind and delete among 100,000 queues");
    for i in 0..100_000 {
        bind(&mut topology, "amq.fanout", i, "", Table::new());
    }
    let binding = |i: usize| BindingSpec {
        vhost: "/".into(),
        source: "amq.fanout".into(),
        destination: Destination::Queue(format!("queue-{i}").into()),
        key: [].into(),
        arguments: Table::new(),
    };
    let ns = time(20_000, |i| {
        apply(&mut topology, &Command::Unbind(binding(i)));
        apply(&mut topology, &Command::Bind(binding(i)));
    });
    println!("{:<52} {ns:>9.0} ns", "unbind and bind among 100,000 of a fanout");
}

fn resident_bytes() -> u64 {
    number_in("/proc/self/statm", 1) * 4096
}

fn memory() {
    let before = resident_bytes();
    let mut topology = topology();
    declare_queues(&mut topology, 100_000);
    let queues = resident_bytes();
    for i in 0..100_000 {
        bind(&mut topology, "amq.topic", i, &format!("area.{i}.*"), Table::new());
    }
    let bindings = resident_bytes();
    let each = |bytes: u64| bytes / 100_000;
    println!("{:<52} {:>9} bytes", "a queue", each(queues - before));
    println!("{:<52} {:>9} bytes", "a topic binding", each(bindings - queues));
}

fn main() {
    memory();
    direct_and_default();
    fanout();
    topic();
    wildcards();
    headers();
    changes();
}
