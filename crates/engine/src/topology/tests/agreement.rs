//! What is durable depends on what is durable alone: the agreed commands by themselves make it again.

use super::*;
use crate::command::ApplyTo;
use crate::limits::TopologyLimits;
use proptest::prelude::*;
use std::collections::VecDeque;

/// A node whose agreements take their time, and the log of what it agreed on.
struct Node {
    topology: Topology,
    under_way: VecDeque<Command>,
    log: Vec<Command>,
}

impl Node {
    fn new(topology: Topology) -> Self {
        Self { topology, under_way: VecDeque::new(), log: Vec::new() }
    }

    fn propose(&mut self, command: Command) -> Result<Option<Applied>, BrokerError> {
        let applied = self.topology.offer(&command, NOW)?;
        match &applied {
            None => self.under_way.push_back(command),
            Some(applied) => self.follow(applied),
        }
        Ok(applied)
    }

    fn agree(&mut self) -> Option<Result<Applied, BrokerError>> {
        let command = self.under_way.pop_front()?;
        self.log.push(command.clone());
        let result = self.topology.apply_agreed(&command, NOW);
        if let Ok(applied) = &result {
            self.follow(applied);
        }
        Some(result)
    }

    fn follow(&mut self, applied: &Applied) {
        for command in applied.changes.iter().filter_map(Change::consequence) {
            let _ = self.propose(command);
        }
    }

    fn agree_on_all(&mut self) {
        while self.agree().is_some() {}
    }
}

/// The same log on a node that had nothing of its own and other limits.
fn read_again(log: &[Command]) -> Topology {
    let mut topology = Topology::new(TopologyConfig::default());
    for command in log {
        // A command that was refused is refused again.
        let _ = topology.apply_agreed(command, NOW);
    }
    topology
}

fn transient_queue(name: &str) -> QueueDeclare {
    QueueDeclare { durable: false, ..queue(name) }
}

fn node() -> Node {
    let mut node = Node::new(Topology::new(TopologyConfig::default()));
    let password = PasswordHash::new(HashAlgorithm::Sha256, b"guest", [1, 2, 3, 4]);
    for command in default_commands(&"/".into(), &"guest".into(), password, Vec::new()) {
        node.propose(command).unwrap();
        node.agree_on_all();
    }
    node
}

#[test]
fn what_is_transient_is_applied_at_once_and_agreed_on_by_nobody() {
    let mut node = node();
    let before = node.log.len();
    let fanout = ExchangeDeclare { durable: false, ..exchange("x", "fanout") };
    for command in [
        Command::DeclareQueue(transient_queue("t")),
        Command::DeclareQueue(QueueDeclare {
            exclusive_owner: Some(ConnectionId(1)),
            ..queue("e")
        }),
        Command::DeclareExchange(fanout),
        Command::Bind(to_queue("x", "t", "")),
        Command::Bind(to_queue("amq.direct", "e", "k")),
        Command::Unbind(to_queue("x", "t", "")),
        Command::DeleteQueue { vhost: "/".into(), name: "t".into(), id: None },
        Command::DeleteOwned { connection: ConnectionId(1) },
        Command::DeleteExchange { vhost: "/".into(), name: "x".into(), if_unused: true },
    ] {
        assert!(node.propose(command.clone()).unwrap().is_some(), "{command:?}");
    }
    assert_eq!((node.under_way.len(), node.log.len()), (0, before));
}

#[test]
fn durable_and_transient_queues_have_ids_of_their_own() {
    let mut node = node();
    node.propose(Command::DeclareQueue(transient_queue("t"))).unwrap();
    node.propose(Command::DeclareQueue(queue("d"))).unwrap();
    node.agree_on_all();
    let id = |topology: &Topology, name| topology.queue("/", name).unwrap().id;
    assert!(id(&node.topology, "t").is_transient());
    assert_eq!(id(&node.topology, "d"), QueueId(1));
    assert_eq!(id(&read_again(&node.log), "d"), QueueId(1));
}

#[test]
fn nothing_is_agreed_on_where_nothing_would_change() {
    let mut node = node();
    node.propose(Command::DeclareQueue(queue("d"))).unwrap();
    node.propose(Command::Bind(to_queue("amq.direct", "d", "k"))).unwrap_err();
    node.agree_on_all();
    node.propose(Command::Bind(to_queue("amq.direct", "d", "k"))).unwrap();
    node.agree_on_all();
    let before = node.log.len();
    let again = node.propose(Command::DeclareQueue(queue("d"))).unwrap().unwrap();
    assert!(matches!(again.outcome, Outcome::QueueDeclared { created: false, .. }));
    let again = node.propose(Command::Bind(to_queue("amq.direct", "d", "k"))).unwrap().unwrap();
    assert_eq!(again.outcome, Outcome::Bound { created: false });
    let none =
        node.propose(Command::Unbind(to_queue("amq.direct", "d", "other"))).unwrap().unwrap();
    assert_eq!(none.outcome, Outcome::Unbound { existed: false });
    assert_eq!((node.under_way.len(), node.log.len()), (0, before));
}

#[test]
fn a_durable_queue_under_way_keeps_a_transient_one_of_its_name_out() {
    let mut node = node();
    assert!(node.propose(Command::DeclareQueue(queue("q"))).unwrap().is_none());
    let error = node.propose(Command::DeclareQueue(transient_queue("q"))).unwrap_err();
    assert_eq!(
        error.explain(),
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'"
    );
    node.agree_on_all();
    assert!(node.topology.queue("/", "q").unwrap().durable);
    node.propose(Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None }).unwrap();
    node.agree_on_all();
    node.propose(Command::DeclareQueue(transient_queue("q"))).unwrap().unwrap();
}

#[test]
fn what_others_agreed_on_takes_the_place_of_what_is_here_alone() {
    let mut topology = topology();
    topology.declare(transient_queue("q"));
    let fanout = ExchangeDeclare { durable: false, ..exchange("x", "fanout") };
    topology.does(Command::DeclareExchange(fanout));
    let applied = topology.apply_agreed(&Command::DeclareQueue(queue("q")), NOW).unwrap();
    assert_eq!(told(&applied), ["-queue q", "+queue q"]);
    let declare = Command::DeclareExchange(exchange("x", "topic"));
    let applied = topology.apply_agreed(&declare, NOW).unwrap();
    assert_eq!(told(&applied), ["-exchange x", "+exchange x"]);
}

#[test]
fn queues_under_way_count_against_the_limits() {
    let limits = TopologyLimits { queues: Some(2), ..TopologyLimits::default() };
    let mut node = Node::new(with_config(TopologyConfig { limits, ..TopologyConfig::default() }));
    node.propose(Command::DeclareQueue(queue("a"))).unwrap();
    node.propose(Command::DeclareQueue(transient_queue("b"))).unwrap();
    let error = node.propose(Command::DeclareQueue(queue("c"))).unwrap_err();
    assert_eq!(error, BrokerError::QueueLimit { name: "c".into(), limit: 2 });
    node.agree_on_all();
    assert_eq!(node.topology.n_queues(), 2);
}

#[test]
fn a_durable_auto_delete_exchange_goes_by_agreement_whatever_its_last_binding_was() {
    let mut node = node();
    let x = ExchangeDeclare { auto_delete: true, ..exchange("x", "fanout") };
    for command in [Command::DeclareExchange(x), Command::DeclareQueue(queue("d"))] {
        node.propose(command).unwrap();
        node.agree_on_all();
    }
    node.propose(Command::DeclareQueue(transient_queue("t"))).unwrap();
    node.propose(Command::Bind(to_queue("x", "t", ""))).unwrap();
    node.propose(Command::Bind(to_queue("x", "d", ""))).unwrap();
    node.agree_on_all();
    // The transient binding holds the exchange; for whoever reads the log there is none.
    node.propose(Command::Unbind(to_queue("x", "d", ""))).unwrap();
    node.agree_on_all();
    assert!(node.topology.exchange("/", "x").is_some());
    assert!(read_again(&node.log).exchange("/", "x").is_some());
    node.propose(Command::Unbind(to_queue("x", "t", ""))).unwrap();
    // Nobody can hold on to it any more.
    let error = node.propose(Command::Bind(to_queue("x", "t", ""))).unwrap_err();
    assert!(matches!(error, BrokerError::NotFound(_)));
    node.agree_on_all();
    assert!(node.topology.exchange("/", "x").is_none());
    assert!(read_again(&node.log).exchange("/", "x").is_none());
}

#[test]
fn if_unused_looks_at_transient_bindings_before_it_is_agreed_on() {
    let mut node = node();
    node.propose(Command::DeclareExchange(exchange("x", "fanout"))).unwrap();
    node.agree_on_all();
    node.propose(Command::DeclareQueue(transient_queue("t"))).unwrap();
    node.propose(Command::Bind(to_queue("x", "t", ""))).unwrap();
    let delete = Command::DeleteExchange { vhost: "/".into(), name: "x".into(), if_unused: true };
    assert!(matches!(node.propose(delete), Err(BrokerError::InUse(_))));
}

/// A step on small sets of names.
#[derive(Clone, Debug)]
enum Step {
    Do(Command),
    Agree,
}

fn name(prefix: &'static str) -> impl Strategy<Value = Arc<str>> {
    (0..4).prop_map(move |n| format!("{prefix}{n}").into())
}

fn queue_declare() -> impl Strategy<Value = QueueDeclare> {
    (name("q"), any::<bool>(), any::<bool>(), prop::option::weighted(0.3, 0..2u64)).prop_map(
        |(name, durable, auto_delete, owner)| QueueDeclare {
            durable,
            auto_delete,
            exclusive_owner: owner.map(ConnectionId),
            ..queue(&name)
        },
    )
}

fn exchange_declare() -> impl Strategy<Value = ExchangeDeclare> {
    (name("x"), any::<bool>(), any::<bool>()).prop_map(|(name, durable, auto_delete)| {
        ExchangeDeclare { durable, auto_delete, ..exchange(&name, "fanout") }
    })
}

fn binding() -> impl Strategy<Value = BindingSpec> {
    (name("x"), name("x"), name("q"), any::<bool>()).prop_map(|(source, x, q, to_x)| {
        if to_x { to_exchange(&source, &x, "") } else { to_queue(&source, &q, "") }
    })
}

fn other_command() -> impl Strategy<Value = Command> {
    let vhost: Arc<str> = "/".into();
    let (of_queue, of_exchange, of_limit) = (vhost.clone(), vhost.clone(), vhost.clone());
    prop_oneof![
        name("q").prop_map(move |name| {
            Command::DeleteQueue { vhost: of_queue.clone(), name, id: None }
        }),
        (name("x"), any::<bool>()).prop_map(move |(name, if_unused)| {
            Command::DeleteExchange { vhost: of_exchange.clone(), name, if_unused }
        }),
        (0..2u64).prop_map(|n| Command::DeleteOwned { connection: ConnectionId(n) }),
        prop::option::of(2..5u64).prop_map(move |value| Command::SetVhostLimit {
            vhost: of_limit.clone(),
            limit: VhostLimit::Queues,
            value,
        }),
        prop::option::of(Just(QueueKind::Quorum)).prop_map(|default_queue_type| {
            let spec = VhostSpec { name: "/".into(), default_queue_type, ..VhostSpec::default() };
            Command::PutVhost(spec)
        }),
        (0..9i64).prop_map(|n| Command::PutPolicy(PolicySpec {
            vhost: "/".into(),
            name: "p".into(),
            pattern: "1$".into(),
            apply_to: ApplyTo::All,
            priority: 0,
            definition: vec![("max-length".into(), n.into())],
        })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let command = prop_oneof![
        4 => queue_declare().prop_map(Command::DeclareQueue),
        3 => exchange_declare().prop_map(Command::DeclareExchange),
        5 => binding().prop_map(Command::Bind),
        3 => binding().prop_map(Command::Unbind),
        3 => other_command(),
    ];
    prop_oneof![3 => command.prop_map(Step::Do), 2 => Just(Step::Agree)]
}

/// Exchanges that nothing holds and nobody has collected.
fn forgotten(topology: &Topology) -> Vec<Arc<str>> {
    let vhost = topology.vhost("/").unwrap();
    let was_bound = |name: &str| name.starts_with('x');
    vhost
        .exchanges()
        .filter(|exchange| exchange.auto_delete && was_bound(&exchange.name))
        .filter(|exchange| vhost.bindings_from(&exchange.name).next().is_none())
        .map(|exchange| exchange.name.clone())
        .collect()
}

proptest! {
    #[test]
    fn the_log_alone_makes_the_durable_part_again(steps in prop::collection::vec(step(), 1..120)) {
        let mut node = node();
        let limits = TopologyLimits { queues: Some(5), exchanges: Some(10), ..TopologyLimits::default() };
        node.topology.config.limits = limits;
        for step in steps {
            match step {
                Step::Do(command) => drop(node.propose(command)),
                Step::Agree => drop(node.agree()),
            }
        }
        node.agree_on_all();
        let again = read_again(&node.log);
        prop_assert_eq!(node.topology.snapshot_commands(), again.snapshot_commands());
        prop_assert!(node.topology.sought.is_empty());
        let restored = read_again(&node.topology.snapshot_commands());
        prop_assert_eq!(restored.snapshot_commands(), again.snapshot_commands());
    }

    #[test]
    fn every_auto_delete_exchange_goes_with_its_last_binding(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut node = node();
        let mut bound = std::collections::BTreeSet::new();
        for step in steps {
            let Step::Do(command) = step else { continue };
            let source = if let Command::Bind(spec) = &command { Some(spec.source.clone()) } else { None };
            let done = node.propose(command).is_ok();
            node.agree_on_all();
            if let (true, Some(source)) = (done, source) {
                bound.insert(source);
            }
            let gone = |name: &Arc<str>| node.topology.exchange("/", name).is_none();
            bound.retain(|name| !gone(name));
            let left: Vec<_> =
                forgotten(&node.topology).into_iter().filter(|name| bound.contains(name)).collect();
            prop_assert!(left.is_empty(), "{left:?} have lost their bindings");
        }
    }
}

#[test]
fn what_is_not_durable_is_told_to_another_node_and_made_there() {
    let (mut one, mut other) = (node(), node());
    one.topology.number_transient(3);
    other.topology.number_transient(4);
    let commands = [
        Command::DeclareExchange(ExchangeDeclare { durable: false, ..exchange("x", "fanout") }),
        Command::DeclareQueue(transient_queue("t")),
        Command::Bind(BindingSpec {
            vhost: "/".into(),
            source: "x".into(),
            destination: Destination::Queue("t".into()),
            key: b"k".as_slice().into(),
            arguments: Table::default(),
        }),
    ];
    let mut told = Vec::new();
    for command in &commands {
        let applied = one.propose(command.clone()).unwrap().unwrap();
        told.extend(applied.to_tell(command, |queue| queue.id.boot() == 3));
    }
    assert_eq!(told.len(), 3);
    let all =
        |topology: &Topology, boot| topology.transient_commands(|queue| queue.id.boot() == boot);
    assert_eq!(all(&one.topology, 3), told);
    for command in &told {
        other.topology.follow(command, NOW).unwrap();
    }
    let theirs = other.topology.queue("/", "t").unwrap();
    assert_eq!(theirs.id, one.topology.queue("/", "t").unwrap().id);
    // Its queue and what is bound to it are the first node's to tell of.
    assert_eq!(all(&other.topology, 4), told[..1]);
    let own = other.propose(Command::DeclareQueue(transient_queue("u"))).unwrap().unwrap();
    assert_eq!(own.to_tell(&told[1], |queue| queue.id.boot() == 4).len(), 1);
}
