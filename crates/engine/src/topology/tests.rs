//! The state machine: commands and what comes of them, rule by rule.

mod access;
mod agreement;
mod declare;
mod exchanges;
mod model;
mod policies;
mod records;
mod snapshot;

use super::*;
use crate::auth::{HashAlgorithm, PasswordHash};
use crate::command::{
    Applied, BindingSpec, Destination, ExchangeDeclare, PermissionSpec, PolicySpec, QueueDeclare,
    UserSpec, VhostLimit, VhostSpec,
};
use crate::exchange::Passage;
use crate::queue_meta::QueueMeta;
use crate::router::{Routable, Routed};
use crate::settings::{QueueKind, StreamSettings};
use crate::time::Timestamp;
use leveret_codec::{Table, Value};

const NOW: Timestamp = Timestamp(1);

/// A topology with a vhost `/` and the user `guest` who may do everything.
fn topology() -> Topology {
    with_config(TopologyConfig::default())
}

fn with_config(config: TopologyConfig) -> Topology {
    let mut topology = Topology::new(config);
    let password = PasswordHash::new(HashAlgorithm::Sha256, b"guest", [1, 2, 3, 4]);
    let tags = vec!["administrator".into()];
    for command in default_commands(&"/".into(), &"guest".into(), password, tags) {
        topology.apply(&command, NOW).unwrap();
    }
    topology
}

fn queue(name: &str) -> QueueDeclare {
    QueueDeclare {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Table::new(),
        user: "guest".into(),
        id: None,
    }
}

fn exchange(name: &str, kind: &str) -> ExchangeDeclare {
    ExchangeDeclare {
        vhost: "/".into(),
        name: name.into(),
        kind: kind.into(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::new(),
        user: "guest".into(),
    }
}

fn table(fields: &[(&str, Value)]) -> Table {
    Table(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn to_queue(source: &str, queue: &str, key: &str) -> BindingSpec {
    BindingSpec {
        vhost: "/".into(),
        source: source.into(),
        destination: Destination::Queue(queue.into()),
        key: key.as_bytes().into(),
        arguments: Table::new(),
    }
}

fn to_exchange(source: &str, exchange: &str, key: &str) -> BindingSpec {
    let destination = Destination::Exchange(exchange.into());
    BindingSpec { destination, ..to_queue(source, "", key) }
}

impl Topology {
    #[track_caller]
    fn does(&mut self, command: Command) -> Applied {
        self.apply(&command, NOW).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    #[track_caller]
    fn refuses(&mut self, command: Command) -> String {
        let before = self.routing_version.load(Ordering::Relaxed);
        let error = self.apply(&command, NOW).unwrap_err();
        assert_eq!(self.routing_version.load(Ordering::Relaxed), before);
        format!("{} {}", error.reply_code().0, error.explain())
    }

    #[track_caller]
    fn declare(&mut self, declare: QueueDeclare) -> Arc<QueueMeta> {
        match self.does(Command::DeclareQueue(declare)).outcome {
            Outcome::QueueDeclared { queue, .. } => queue,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn queues(&mut self, names: &[&str]) {
        for name in names {
            self.declare(queue(name));
        }
    }

    #[track_caller]
    fn exchanges(&mut self, declares: &[(&str, &str)]) {
        for (name, kind) in declares {
            self.does(Command::DeclareExchange(exchange(name, kind)));
        }
    }

    #[track_caller]
    fn bind_all(&mut self, specs: &[BindingSpec]) {
        for spec in specs {
            self.does(Command::Bind(spec.clone()));
        }
    }

    /// The names of the queues that a message reaches, sorted.
    fn reached(&self, exchange: &str, keys: &[&str]) -> Vec<String> {
        self.reached_with(exchange, keys, &Table::new())
    }

    fn reached_with(&self, exchange: &str, keys: &[&str], headers: &Table) -> Vec<String> {
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let bytes = headers.to_bytes();
        let headers = Some(leveret_codec::TableView::new(&bytes));
        let (vhost, mut out) = (self.vhost("/").unwrap(), Routed::new(0));
        let message = Routable { headers, ..Routable::by_keys(&keys) };
        vhost.route(exchange, &message, |_| Passage::Route, &mut out);
        let mut names: Vec<_> = vhost.routed(&out).map(|queue| queue.name.to_string()).collect();
        let by_id: Vec<_> =
            out.queues().iter().map(|id| self.queue_by_id(*id).unwrap().name.to_string()).collect();
        assert_eq!(names, by_id);
        names.sort();
        names
    }
}

/// The names of changes, for comparing.
fn told(applied: &Applied) -> Vec<String> {
    applied
        .changes
        .iter()
        .map(|change| match change {
            Change::QueueAdded(queue) => format!("+queue {}", queue.name),
            Change::QueueRemoved(queue) => format!("-queue {}", queue.name),
            Change::QueueChanged(queue) => format!("~queue {}", queue.name),
            Change::ExchangeAdded(exchange) => format!("+exchange {}", exchange.name),
            Change::ExchangeRemoved(exchange) => format!("-exchange {}", exchange.name),
            Change::ExchangeChanged(exchange) => format!("~exchange {}", exchange.name),
            other => format!("{other:?}"),
        })
        .collect()
}
