//! Random commands against a model that keeps lists and routes by looking at all of them.

use super::*;
use crate::exchange::hash;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A step on small sets of names.
#[derive(Clone, Debug)]
enum Step {
    Queue(u8),
    DropQueue(u8),
    Exchange(u8),
    DropExchange(u8),
    Bind(Edge),
    Unbind(Edge),
}

/// From an exchange to a queue or an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    source: u8,
    to_exchange: bool,
    destination: u8,
    key: &'static str,
    header: Option<i32>,
}

const KINDS: [&str; 6] =
    ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-modulus-hash"];
const KEYS: [&str; 7] = ["", "a", "a.b", "#", "*.b", "1", "3"];
/// Two exchanges of every kind.
const EXCHANGES: u8 = 2 * KINDS.len() as u8;
const QUEUES: u8 = 8;

fn kind_of(exchange: u8) -> &'static str {
    KINDS[exchange as usize % KINDS.len()]
}

/// Exchange `n` has a kind, an alternate exchange and an auto-delete flag by its number.
fn declare_of(n: u8) -> ExchangeDeclare {
    let mut declare = exchange(&format!("x{n}"), kind_of(n));
    if let Some(alternate) = alternate_of(n) {
        declare.arguments = table(&[("alternate-exchange", format!("x{alternate}").into())]);
    }
    declare.auto_delete = n % 3 == 2;
    declare
}

fn alternate_of(n: u8) -> Option<u8> {
    n.checked_sub(KINDS.len() as u8)
}

fn spec_of(edge: &Edge) -> BindingSpec {
    let source = format!("x{}", edge.source);
    let mut spec = if edge.to_exchange {
        to_exchange(&source, &format!("x{}", edge.destination), edge.key)
    } else {
        to_queue(&source, &format!("q{}", edge.destination), edge.key)
    };
    if let Some(header) = edge.header {
        spec.arguments = table(&[("h", Value::Int(header))]);
    }
    spec
}

#[derive(Debug, Default)]
struct Model {
    queues: BTreeSet<u8>,
    exchanges: BTreeSet<u8>,
    edges: BTreeSet<Edge>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Queue(n) => drop(self.queues.insert(*n)),
            Step::Exchange(n) => drop(self.exchanges.insert(*n)),
            Step::DropQueue(n) => {
                self.queues.remove(n);
                self.remove_edges(|edge| !edge.to_exchange && edge.destination == *n);
            }
            Step::DropExchange(n) => self.drop_exchange(*n),
            Step::Bind(edge) => {
                let ends = if edge.to_exchange { &self.exchanges } else { &self.queues };
                let weighted = kind_of(edge.source) == "x-consistent-hash";
                if weighted && edge.key.parse::<u8>().is_err() {
                    return;
                }
                if self.exchanges.contains(&edge.source) && ends.contains(&edge.destination) {
                    self.edges.insert(edge.clone());
                }
            }
            Step::Unbind(edge) => self.remove_edges(|known| known == edge),
        }
    }

    fn drop_exchange(&mut self, n: u8) {
        self.exchanges.remove(&n);
        self.edges.retain(|edge| edge.source != n);
        self.remove_edges(|edge| edge.to_exchange && edge.destination == n);
    }

    fn remove_edges(&mut self, gone: impl Fn(&Edge) -> bool) {
        let (removed, kept) = std::mem::take(&mut self.edges).into_iter().partition(|e| gone(e));
        self.edges = kept;
        let removed: BTreeSet<Edge> = removed;
        for source in removed.into_iter().map(|edge| edge.source) {
            let unused = !self.edges.iter().any(|edge| edge.source == source);
            if unused && source % 3 == 2 && self.exchanges.contains(&source) {
                self.drop_exchange(source);
            }
        }
    }

    fn reached(&self, exchange: u8, key: &str, header: Option<i32>) -> Vec<String> {
        let mut reached = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut todo = vec![exchange];
        while let Some(at) = todo.pop() {
            if !self.exchanges.contains(&at) || !seen.insert(at) {
                continue;
            }
            let matched = self.matched(at, key, header);
            if matched.is_empty() {
                todo.extend(alternate_of(at));
            }
            for edge in matched {
                if edge.to_exchange {
                    todo.push(edge.destination);
                } else {
                    reached.insert(format!("q{}", edge.destination));
                }
            }
        }
        reached.into_iter().collect()
    }

    fn matched(&self, at: u8, key: &str, header: Option<i32>) -> Vec<&Edge> {
        let from: Vec<_> = self.edges.iter().filter(|edge| edge.source == at).collect();
        match kind_of(at) {
            "x-consistent-hash" => consistent(&from, key).into_iter().collect(),
            "x-modulus-hash" => modulus(&from, key).into_iter().collect(),
            _ => from.into_iter().filter(|edge| matches(edge, at, key, header)).collect(),
        }
    }
}

/// One edge for each destination, the lowest in order, by the destinations' kinds and names.
fn destinations<'a>(edges: &[&'a Edge]) -> BTreeMap<(bool, String), &'a Edge> {
    let mut out = BTreeMap::new();
    for edge in edges.iter().rev() {
        let name = spec_of(edge).destination.name().to_string();
        out.insert((!edge.to_exchange, name), *edge);
    }
    out
}

fn modulus<'a>(edges: &[&'a Edge], key: &str) -> Option<&'a Edge> {
    let all: Vec<_> = destinations(edges).into_values().collect();
    let hash = hash::of_all([key.as_bytes()]);
    (!all.is_empty()).then(|| all[(hash % all.len() as u64) as usize])
}

fn consistent<'a>(edges: &[&'a Edge], key: &str) -> Option<&'a Edge> {
    let draw = |(is_queue, name): &(bool, String), edge: &Edge| {
        let kind = if *is_queue { "queue" } else { "exchange" };
        let seed = hash::of_all([kind.as_bytes(), name.as_bytes()]);
        let weight: f64 = edge.key.parse().unwrap();
        hash::exponential(hash::pair(hash::of_bytes(key.as_bytes()), seed)) / weight
    };
    let all = destinations(edges).into_iter();
    let drawn = all.map(|(name, edge)| (draw(&name, edge), edge));
    drawn.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, edge)| edge)
}

fn matches(edge: &Edge, exchange: u8, key: &str, header: Option<i32>) -> bool {
    match kind_of(exchange) {
        "direct" => edge.key == key,
        "fanout" => true,
        "topic" => topic(edge.key, key),
        _ => edge.header.is_none() || edge.header == header,
    }
}

fn topic(pattern: &str, key: &str) -> bool {
    match pattern {
        "#" => true,
        "*.b" => key == "a.b",
        other => other == key,
    }
}

fn edge() -> impl Strategy<Value = Edge> {
    let key = prop::sample::select(&KEYS[..]);
    let header = prop::option::of(0..2);
    (0..EXCHANGES, any::<bool>(), 0..QUEUES, key, header).prop_map(
        |(source, to_exchange, destination, key, header)| Edge {
            source,
            to_exchange,
            destination,
            key,
            header,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..QUEUES).prop_map(Step::Queue),
        1 => (0..QUEUES).prop_map(Step::DropQueue),
        3 => (0..EXCHANGES).prop_map(Step::Exchange),
        1 => (0..EXCHANGES).prop_map(Step::DropExchange),
        8 => edge().prop_map(Step::Bind),
        2 => edge().prop_map(Step::Unbind),
    ]
}

fn command(step: &Step) -> Command {
    let vhost: Arc<str> = "/".into();
    match step {
        Step::Queue(n) => Command::DeclareQueue(queue(&format!("q{n}"))),
        Step::DropQueue(n) => {
            Command::DeleteQueue { vhost, name: format!("q{n}").into(), id: None }
        }
        Step::Exchange(n) => Command::DeclareExchange(declare_of(*n)),
        Step::DropExchange(n) => {
            Command::DeleteExchange { vhost, name: format!("x{n}").into(), if_unused: false }
        }
        Step::Bind(edge) => Command::Bind(spec_of(edge)),
        Step::Unbind(edge) => Command::Unbind(spec_of(edge)),
    }
}

fn agree(topology: &Topology, model: &Model) -> Result<(), TestCaseError> {
    let vhost = topology.vhost("/").unwrap();
    prop_assert_eq!(vhost.n_bindings(), model.edges.len());
    prop_assert_eq!(vhost.n_queues(), model.queues.len());
    prop_assert_eq!(vhost.n_exchanges(), model.exchanges.len() + 8);
    for exchange in 0..EXCHANGES {
        for key in ["", "a", "a.b", "c"] {
            for header in [None, Some(0), Some(1)] {
                let headers = header.map(|h| table(&[("h", Value::Int(h))])).unwrap_or_default();
                let found = topology.reached_with(&format!("x{exchange}"), &[key], &headers);
                let expected = model.reached(exchange, key, header);
                prop_assert_eq!(found, expected, "x{} {:?} {:?}", exchange, key, header);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_commands_leave_the_routes_of_the_model(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let (mut topology, mut model) = (topology(), Model::default());
        for step in &steps {
            // A bind between things that are not there is refused, and the model ignores it.
            let _ = topology.apply(&command(step), NOW);
            model.apply(step);
        }
        agree(&topology, &model)?;
        let mut restored = Topology::new(TopologyConfig::default());
        for command in topology.snapshot_commands() {
            restored.does(command);
        }
        agree(&restored, &model)?;
    }
}
