//! What scenarios are about: methods, arguments, properties, and what the tables of RabbitMQ's extensions
//! hold. It finds them in the steps and answers of a scenario.

use std::collections::BTreeSet;

use leveret_codec::Table;

use super::catalogue::{self, METHODS, Method};
use super::scenario::Scenario;
use super::step::{Deed, Step};
use super::wire::{Argument, Arguments};

/// Something that a scenario may be about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Method(&'static str),
    Argument(&'static str, &'static str),
    Property(&'static str),
    Extension(Family, &'static str),
}

/// Where a name of an extension stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    ExchangeType,
    ExchangeArgument,
    QueueArgument,
    BindingArgument,
    ConsumerArgument,
    Header,
    Policy,
}

impl Family {
    /// All of them, in the order of the page.
    pub(super) const ALL: [Self; 7] = [
        Self::ExchangeType,
        Self::ExchangeArgument,
        Self::QueueArgument,
        Self::BindingArgument,
        Self::ConsumerArgument,
        Self::Header,
        Self::Policy,
    ];

    /// The heading of its table.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::ExchangeType => "Exchange types",
            Self::ExchangeArgument => "Arguments of exchanges",
            Self::QueueArgument => "Arguments of queues",
            Self::BindingArgument => "Arguments of bindings",
            Self::ConsumerArgument => "Arguments of consumers",
            Self::Header => "Headers that mean something",
            Self::Policy => "Keys of policies",
        }
    }

    /// Every name in it.
    // rabbitmq: declare arguments, policy keys
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::ExchangeType => &["direct", "fanout", "topic", "headers", "x-consistent-hash"],
            Self::ExchangeArgument => &["alternate-exchange"],
            Self::QueueArgument => &[
                "x-dead-letter-exchange",
                "x-dead-letter-routing-key",
                "x-dead-letter-strategy",
                "x-delivery-limit",
                "x-expires",
                "x-ha-policy",
                "x-initial-cluster-size",
                "x-max-age",
                "x-max-in-memory-bytes",
                "x-max-in-memory-length",
                "x-max-length",
                "x-max-length-bytes",
                "x-max-priority",
                "x-message-ttl",
                "x-overflow",
                "x-queue-leader-locator",
                "x-queue-master-locator",
                "x-queue-mode",
                "x-queue-type",
                "x-queue-version",
                "x-quorum-initial-group-size",
                "x-single-active-consumer",
                "x-stream-max-segment-size-bytes",
            ],
            Self::BindingArgument => &["x-match"],
            Self::ConsumerArgument => &["x-cancel-on-ha-failover", "x-priority", "x-stream-offset"],
            Self::Header => &[
                "BCC",
                "CC",
                "x-death",
                "x-delivery-count",
                "x-first-death-exchange",
                "x-first-death-queue",
                "x-first-death-reason",
                "x-last-death-exchange",
                "x-last-death-queue",
                "x-last-death-reason",
                "x-stream-offset",
            ],
            Self::Policy => &[
                "alternate-exchange",
                "dead-letter-exchange",
                "dead-letter-routing-key",
                "expires",
                "ha-mode",
                "ha-sync-mode",
                "max-length",
                "max-length-bytes",
                "message-ttl",
                "overflow",
            ],
        }
    }
}

/// Everything that a page of conformance has a row for.
pub(super) fn all() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for method in &METHODS {
        subjects.push(Subject::Method(method.name));
        for (argument, _) in method.arguments().filter(|(name, _)| !catalogue::is_reserved(name)) {
            subjects.push(Subject::Argument(method.name, argument));
        }
    }
    subjects.extend(catalogue::properties().map(|(name, _)| Subject::Property(name)));
    for family in Family::ALL {
        subjects.extend(family.names().iter().map(|name| Subject::Extension(family, name)));
    }
    subjects
}

/// What a scenario is about, by its steps and by what was recorded.
pub(super) fn of(scenario: &Scenario, recorded: &str) -> BTreeSet<Subject> {
    let mut found = BTreeSet::new();
    for (line, step) in &scenario.steps {
        match step {
            Step::Http { path, .. } if path.contains("policies/") => {
                for name in Family::Policy.names() {
                    if line.contains(&format!("\"{name}\":")) {
                        found.insert(Subject::Extension(Family::Policy, name));
                    }
                }
            }
            Step::On { deed, .. } => of_deed(deed, &mut found),
            _ => {}
        }
    }
    recorded.lines().for_each(|line| of_line(line, &mut found));
    found
}

fn of_deed(deed: &Deed, found: &mut BTreeSet<Subject>) {
    let (method, arguments) = match deed {
        Deed::Call { method, arguments } | Deed::Send { method, arguments, .. } => {
            (*method, arguments)
        }
        _ => return,
    };
    found.insert(Subject::Method(method.name));
    for (name, value) in arguments {
        found.insert(Subject::Argument(method.name, name));
        match (table_family(method), value) {
            (Some(family), Argument::Table(table)) => of_table(family, table, found),
            (_, Argument::String(bytes))
                if method.name == "exchange.declare" && *name == "type" =>
            {
                let names = Family::ExchangeType.names().iter();
                let known = names.filter(|known| known.as_bytes() == bytes.as_slice());
                found.extend(known.map(|name| Subject::Extension(Family::ExchangeType, name)));
            }
            _ => {}
        }
    }
    if let Deed::Send { content: Some((properties, _)), .. } = deed {
        of_properties(properties, found);
    }
}

fn of_properties(properties: &Arguments, found: &mut BTreeSet<Subject>) {
    for (name, value) in properties {
        found.insert(Subject::Property(name));
        if let Argument::Table(table) = value {
            of_table(Family::Header, table, found);
        }
    }
}

fn table_family(method: &Method) -> Option<Family> {
    match method.name {
        "exchange.declare" => Some(Family::ExchangeArgument),
        "queue.declare" => Some(Family::QueueArgument),
        "queue.bind" | "exchange.bind" => Some(Family::BindingArgument),
        "basic.consume" => Some(Family::ConsumerArgument),
        _ => None,
    }
}

fn of_table(family: Family, table: &Table, found: &mut BTreeSet<Subject>) {
    let names = family.names().iter().filter(|name| table.contains_key(name));
    found.extend(names.map(|name| Subject::Extension(family, name)));
}

/// What the broker sent: `C1.1< queue.declare-ok queue=q ...`.
fn of_line(line: &str, found: &mut BTreeSet<Subject>) {
    let Some((_, event)) = line.split_once("< ") else { return };
    let name = event.split(' ').next().unwrap_or_default();
    if event.starts_with("confirms: ") {
        for (word, method) in [("ack ", "basic.ack"), ("nack ", "basic.nack")] {
            if event.contains(&format!(" {word}")) {
                found.insert(Subject::Method(method));
            }
        }
    }
    let Some(method) = catalogue::by_name(name) else { return };
    found.insert(Subject::Method(method.name));
    for (argument, _) in method.arguments() {
        let shown = |end: &str| event.contains(&format!(" {argument}{end}"));
        if shown("=") || shown(" ") || event.ends_with(&format!(" {argument}")) {
            found.insert(Subject::Argument(method.name, argument));
        }
    }
    if method.has_content() {
        let headers = Family::Header.names().iter();
        let there = headers.filter(|name| event.contains(&format!("{name}: ")));
        found.extend(there.map(|name| Subject::Extension(Family::Header, name)));
    }
}
