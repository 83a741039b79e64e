//! Declaring, deleting and owning queues.

use super::*;
use crate::topology::Examined;

#[test]
fn a_declare_creates_once() {
    let mut topology = topology();
    let applied = topology.does(Command::DeclareQueue(queue("q")));
    assert_eq!(told(&applied), ["+queue q"]);
    let again = topology.does(Command::DeclareQueue(queue("q")));
    assert!(matches!(again.outcome, Outcome::QueueDeclared { created: false, .. }));
    assert!(again.changes.is_empty());
    assert_eq!(topology.n_queues(), 1);
    assert_eq!(topology.examine_queue_declare(&queue("p")), Ok(Examined::Absent));
}

#[test]
fn a_redeclare_must_be_equivalent() {
    let mut topology = topology();
    let arguments = table(&[("x-max-length", Value::Int(3))]);
    topology.declare(QueueDeclare { arguments, ..queue("q") });
    let mut refused = |declare| topology.refuses(Command::DeclareQueue(declare));
    assert_eq!(
        refused(queue("q")),
        "406 inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but \
         current is the value '3' of type 'signedint'"
    );
    assert_eq!(
        refused(QueueDeclare { durable: false, ..queue("q") }),
        "406 inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current \
         is 'true'"
    );
    assert_eq!(
        refused(QueueDeclare { auto_delete: true, ..queue("q") }),
        "406 inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but \
         current is 'false'"
    );
    let arguments = table(&[("x-max-length", Value::Int(4))]);
    assert_eq!(
        refused(QueueDeclare { arguments, ..queue("q") }),
        "406 inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '4' but current \
         is '3'"
    );
    let arguments = table(&[("x-max-length", Value::Long(3)), ("x-queue-type", "quorum".into())]);
    assert_eq!(
        refused(QueueDeclare { arguments, ..queue("q") }),
        "406 inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but \
         current is 'classic'"
    );
    let arguments = table(&[
        ("foo", Value::Int(1)),
        ("x-max-length", Value::Byte(3)),
        ("x-queue-type", "classic".into()),
        ("x-delivery-limit", Value::Int(9)),
    ]);
    topology.declare(QueueDeclare { arguments, ..queue("q") });
}

#[test]
fn exclusive_queues_belong_to_their_connection() {
    let mut topology = topology();
    let own = |n| QueueDeclare { exclusive_owner: Some(ConnectionId(n)), ..queue("e") };
    let made = topology.declare(own(1));
    assert!(!made.durable && made.id.is_transient());
    assert_eq!(topology.declare(own(1)).id, made.id);
    let locked = "405 cannot obtain exclusive access to locked queue 'e' in vhost '/'. It could be \
                  originally declared on another connection or the exclusive property value does \
                  not match that of the original declaration.";
    assert_eq!(topology.refuses(Command::DeclareQueue(own(2))), locked);
    assert_eq!(topology.refuses(Command::DeclareQueue(queue("e"))), locked);
    assert!(
        made.check_owner(ConnectionId(1)).is_ok() && made.check_owner(ConnectionId(2)).is_err()
    );
}

#[test]
fn what_a_connection_owned_goes_with_it() {
    let mut topology = topology();
    let own = |name, n| QueueDeclare { exclusive_owner: Some(ConnectionId(n)), ..queue(name) };
    for (name, owner) in [("c", 1), ("a", 1), ("b", 2), ("d", 1)] {
        topology.declare(own(name, owner));
    }
    topology.does(Command::DeleteQueue { vhost: "/".into(), name: "d".into(), id: None });
    assert!(topology.owns_queues(ConnectionId(1)));
    let applied = topology.does(Command::DeleteOwned { connection: ConnectionId(1) });
    assert_eq!(told(&applied), ["-queue c", "-queue a"]);
    assert!(!topology.owns_queues(ConnectionId(1)));
    assert_eq!(topology.n_queues(), 1);
    let again = topology.does(Command::DeleteOwned { connection: ConnectionId(1) });
    assert_eq!(again.outcome, Outcome::Deleted { existed: false });
}

#[test]
fn a_delete_by_id_spares_a_later_queue() {
    let mut topology = topology();
    let first = topology.declare(queue("q"));
    let delete = |id| Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id };
    assert_eq!(topology.does(delete(None)).outcome, Outcome::Deleted { existed: true });
    let second = topology.declare(queue("q"));
    assert!(second.id > first.id);
    assert_eq!(topology.does(delete(Some(first.id))).outcome, Outcome::Deleted { existed: false });
    assert_eq!(topology.queue("/", "q").unwrap().id, second.id);
    assert!(topology.queue_by_id(first.id).is_none());
}

#[test]
fn a_queue_of_the_same_name_has_no_bindings() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.bind_all(&[to_queue("amq.fanout", "q", "")]);
    topology.does(Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None });
    topology.queues(&["q"]);
    assert!(topology.reached("amq.fanout", &[""]).is_empty());
    assert_eq!(topology.reached("", &["q"]), ["q"]);
}

#[test]
fn names_of_the_broker_are_reserved() {
    let mut topology = topology();
    let name = crate::names::server_named([7; 16]);
    assert_eq!(
        topology.refuses(Command::DeclareQueue(queue(&name))),
        format!("403 queue name '{name}' contains reserved prefix 'amq.*'")
    );
    let made = topology.declare(QueueDeclare { server_named: true, ..queue(&name) });
    assert_eq!(*made.name, *name);
    // Even its own client cannot declare it again by name.
    assert!(topology.examine_queue_declare(&queue(&name)).is_err());
}

#[test]
fn limits_of_queues() {
    let mut topology = topology();
    let limit =
        |value| Command::SetVhostLimit { vhost: "/".into(), limit: VhostLimit::Queues, value };
    topology.does(limit(Some(2)));
    topology.queues(&["q1"]);
    topology.declare(QueueDeclare { exclusive_owner: Some(ConnectionId(1)), ..queue("e") });
    topology.queues(&["q1"]);
    assert_eq!(
        topology.refuses(Command::DeclareQueue(queue("q2"))),
        "406 cannot declare queue 'q2': queue limit in vhost '/' (2) is reached"
    );
    topology.does(limit(None));
    topology.queues(&["q2"]);

    let limits = TopologyLimits { queues: Some(1), ..TopologyLimits::default() };
    let mut topology = with_config(TopologyConfig { limits, ..TopologyConfig::default() });
    topology.queues(&["q1"]);
    assert_eq!(
        topology.refuses(Command::DeclareQueue(queue("q2"))),
        "406 cannot declare queue 'q2': queue limit in cluster (1) is reached"
    );
}

#[test]
fn quorum_queues_are_durable_shared_and_named() {
    let mut topology = topology();
    let quorum =
        || QueueDeclare { arguments: table(&[("x-queue-type", "quorum".into())]), ..queue("k") };
    let mut refused = |declare| topology.refuses(Command::DeclareQueue(declare));
    assert_eq!(
        refused(QueueDeclare { durable: false, ..quorum() }),
        "406 invalid property 'non-durable' for queue 'k' in vhost '/'"
    );
    assert_eq!(
        refused(QueueDeclare { auto_delete: true, ..quorum() }),
        "406 invalid property 'auto-delete' for queue 'k' in vhost '/'"
    );
    assert_eq!(
        refused(QueueDeclare { exclusive_owner: Some(ConnectionId(1)), ..quorum() }),
        "406 invalid property 'exclusive-owner' for queue 'k' in vhost '/'"
    );
    assert_eq!(
        refused(QueueDeclare { server_named: true, ..quorum() }),
        "406 Cannot declare a server-named queue for type rabbit_quorum_queue"
    );
    let made = topology.declare(quorum());
    assert_eq!(made.kind, QueueKind::Quorum);
    assert_eq!(made.settings.delivery_limit, Some(20));
}

#[test]
fn streams_are_made_and_keep_as_long_as_they_say() {
    let stream = |fields: &[(&str, Value)]| {
        let mut arguments = table(fields);
        arguments.insert("x-queue-type", "stream");
        Command::DeclareQueue(QueueDeclare { arguments, ..queue("s") })
    };
    let mut topology = topology();
    assert_eq!(
        topology.refuses(stream(&[("x-max-age", "x".into())])),
        "406 invalid arg 'x-max-age' for queue 's' in vhost '/': invalid_max_age"
    );
    topology.does(stream(&[
        ("x-max-length-bytes", Value::Long(1_000_000)),
        ("x-max-age", "2h".into()),
        ("x-stream-max-segment-size-bytes", Value::Int(1000)),
    ]));
    let made = topology.queue("/", "s").unwrap().settings.clone();
    let kept = StreamSettings {
        max_bytes: Some(1_000_000),
        max_age: Some(7_200_000),
        segment_bytes: 1000,
    };
    assert_eq!((made.stream, made.max_length_bytes), (Some(Box::new(kept)), None));
}

#[test]
fn the_vhosts_default_type_is_for_plain_queues() {
    let mut topology = topology();
    let default_queue_type = Some(QueueKind::Quorum);
    let spec = VhostSpec { name: "/".into(), default_queue_type, ..VhostSpec::default() };
    topology.does(Command::PutVhost(spec));
    let plain = topology.declare(queue("plain"));
    assert_eq!(plain.kind, QueueKind::Quorum);
    assert_eq!(plain.arguments, table(&[("x-queue-type", "quorum".into())]));
    topology.queues(&["plain"]);
    let transient = topology.declare(QueueDeclare { durable: false, ..queue("transient") });
    let auto_delete = topology.declare(QueueDeclare { auto_delete: true, ..queue("ad") });
    let arguments = table(&[("x-queue-type", "classic".into())]);
    let explicit = topology.declare(QueueDeclare { arguments, ..queue("explicit") });
    for queue in [transient, auto_delete, explicit] {
        assert_eq!(queue.kind, QueueKind::Classic);
    }
}

#[test]
fn a_dead_letter_exchange_is_text() {
    let mut topology = topology();
    let arguments = table(&[("x-dead-letter-exchange", Value::Int(5))]);
    assert_eq!(
        topology.refuses(Command::DeclareQueue(QueueDeclare { arguments, ..queue("q") })),
        "406 invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'"
    );
}

#[test]
fn a_queue_costs_little() {
    assert!(size_of::<QueueMeta>() <= 360, "{}", size_of::<QueueMeta>());
}
