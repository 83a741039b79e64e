//! A snapshot makes the same topology again, but for what is not durable.

use super::*;
use crate::command::{TopicPermissionSpec, UserLimit, VhostLimit};

fn again(topology: &Topology) -> Topology {
    let mut restored = Topology::new(TopologyConfig::default());
    for command in topology.snapshot_commands() {
        restored.does(command);
    }
    restored
}

fn filled() -> Topology {
    let mut topology = topology();
    topology.exchanges(&[("x", "headers"), ("y", "topic")]);
    topology.queues(&["b", "a", "gone"]);
    topology.does(Command::DeleteQueue { vhost: "/".into(), name: "gone".into(), id: None });
    let arguments = table(&[("x-max-length", Value::Int(4)), ("foo", Value::Void)]);
    topology.declare(QueueDeclare { arguments, ..queue("c") });
    let name = crate::names::server_named([9; 16]);
    topology.declare(QueueDeclare { server_named: true, ..queue(&name) });
    let arguments = table(&[("b", Value::Int(1)), ("a", Value::Void)]);
    topology.bind_all(&[
        to_queue("y", "a", "a.#"),
        to_exchange("y", "x", "#"),
        BindingSpec { arguments, ..to_queue("x", "b", "") },
    ]);
    let default_queue_type = Some(QueueKind::Quorum);
    topology.does(Command::PutVhost(VhostSpec {
        name: "/".into(),
        default_queue_type,
        tags: vec!["t".into()],
        ..VhostSpec::default()
    }));
    topology.queues(&["quorum"]);
    topology
}

fn add_records(topology: &mut Topology) {
    topology.does(Command::SetTracing { vhost: "/".into(), on: true });
    let (limit, value) = (VhostLimit::Queues, Some(1));
    topology.does(Command::SetVhostLimit { vhost: "/".into(), limit, value });
    let (limit, value) = (UserLimit::Channels, Some(1));
    topology.does(Command::SetUserLimit { user: "guest".into(), limit, value });
    let spec = PolicySpec {
        vhost: "/".into(),
        name: "p".into(),
        pattern: "^a".into(),
        apply_to: crate::command::ApplyTo::Queues,
        priority: 3,
        definition: vec![("max-length".into(), 9.into())],
    };
    topology.does(Command::PutPolicy(spec.clone()));
    topology.does(Command::PutOperatorPolicy(spec));
    topology.does(Command::PutGlobalParameter { name: "g".into(), value: true.into() });
    topology.does(Command::PutParameter {
        vhost: "/".into(),
        component: "shovel".into(),
        name: "s".into(),
        value: ParameterValue::List(vec![1.into()]),
    });
    topology.does(Command::SetTopicPermission(TopicPermissionSpec {
        user: "guest".into(),
        vhost: "/".into(),
        exchange: "y".into(),
        write: "a".into(),
        read: "b".into(),
    }));
}

#[test]
fn the_durable_part_comes_back_the_same() {
    let mut topology = filled();
    add_records(&mut topology);
    let restored = again(&topology);
    assert_eq!(restored.snapshot_commands(), topology.snapshot_commands());
    let (old, new) = (topology.vhost("/").unwrap(), restored.vhost("/").unwrap());
    for queue in old.queues() {
        assert_eq!(new.queue(&queue.name), Some(queue));
    }
    for exchange in old.exchanges() {
        assert_eq!(new.exchange(&exchange.name), Some(exchange));
    }
    assert_eq!(old.n_bindings(), new.n_bindings());
    assert_eq!(topology.n_exchanges(), restored.n_exchanges());
    let headers = table(&[("a", Value::Int(3)), ("b", Value::Int(1))]);
    for topology in [&topology, &restored] {
        assert_eq!(topology.reached_with("y", &["a.b"], &headers), ["a", "b"]);
    }
}

#[test]
fn ids_are_never_given_twice() {
    let mut topology = topology();
    topology.queues(&["q"]);
    let last = topology.declare(queue("last")).id;
    topology.does(Command::DeleteQueue { vhost: "/".into(), name: "last".into(), id: None });
    assert!(again(&topology).declare(queue("new")).id > last);
}

#[test]
fn what_is_not_durable_stays_out() {
    let mut topology = filled();
    let before = topology.snapshot_commands();
    topology.does(Command::DeclareExchange(ExchangeDeclare {
        durable: false,
        ..exchange("transient", "fanout")
    }));
    topology.declare(QueueDeclare { durable: false, ..queue("t") });
    topology.declare(QueueDeclare { exclusive_owner: Some(ConnectionId(1)), ..queue("e") });
    topology.bind_all(&[
        to_queue("y", "t", "k"),
        to_queue("y", "e", "k"),
        to_queue("transient", "a", ""),
        to_exchange("y", "transient", "#"),
    ]);
    assert_eq!(topology.snapshot_commands(), before);
}

#[test]
fn commands_survive_being_written_down() {
    let mut topology = filled();
    add_records(&mut topology);
    let mut commands = topology.snapshot_commands();
    commands.push(Command::Bind(BindingSpec { key: [0, 255].into(), ..to_queue("x", "b", "") }));
    let text = serde_json::to_string(&commands).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Command>>(&text).unwrap(), commands);
}

#[test]
fn outcomes_and_errors_survive_being_written_down() {
    let mut topology = filled();
    let outcome = topology.does(Command::DeclareQueue(queue("new"))).outcome;
    add_records(&mut topology);
    let text = serde_json::to_string(&outcome).unwrap();
    assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
    let error = topology.apply(&Command::DeclareQueue(queue("amq.x")), NOW).unwrap_err();
    let text = serde_json::to_string(&error).unwrap();
    assert_eq!(serde_json::from_str::<BrokerError>(&text).unwrap(), error);
}

#[test]
fn values_of_parameters_are_plain_json_to_people() {
    let text = r#"{"a":[1,-2.5,null,true],"b":{"c":"d"}}"#;
    let value: ParameterValue = serde_json::from_str(text).unwrap();
    assert_eq!(value.get("b").and_then(|b| b.get("c")).and_then(|c| c.as_str()), Some("d"));
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
}
