//! Policies applied to what exists.

use super::*;

fn policy(name: &str, pattern: &str, definition: &[(&str, ParameterValue)]) -> PolicySpec {
    PolicySpec {
        vhost: "/".into(),
        name: name.into(),
        pattern: pattern.into(),
        apply_to: crate::command::ApplyTo::All,
        priority: 0,
        definition: definition.iter().map(|(key, value)| ((*key).into(), value.clone())).collect(),
    }
}

#[test]
fn policies_are_applied_live_in_the_order_of_names() {
    let mut topology = topology();
    topology.queues(&["qb", "z", "qa"]);
    let put = |n: i64| Command::PutPolicy(policy("p", "^q", &[("max-length", n.into())]));
    let changes = |applied: &Applied| told(applied).split_off(1);
    assert_eq!(changes(&topology.does(put(1))), ["~queue qa", "~queue qb"]);
    assert_eq!(topology.queue("/", "qa").unwrap().settings.max_length, Some(1));
    assert_eq!(changes(&topology.does(put(1))), [""; 0]);
    assert_eq!(changes(&topology.does(put(2))), ["~queue qa", "~queue qb"]);
    let late = topology.declare(queue("qc"));
    assert_eq!((late.settings.max_length, late.policy.is_some()), (Some(2), true));
    let delete = Command::DeletePolicy { vhost: "/".into(), name: "p".into() };
    assert_eq!(changes(&topology.does(delete)), ["~queue qa", "~queue qb", "~queue qc"]);
    assert_eq!(topology.queue("/", "qa").unwrap().settings.max_length, None);
}

#[test]
fn a_policy_does_not_enter_equivalence() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.does(Command::PutPolicy(policy("p", ".*", &[("max-length", 5.into())])));
    topology.queues(&["q"]);
    let arguments = table(&[("x-max-length", Value::Int(5))]);
    topology.refuses(Command::DeclareQueue(QueueDeclare { arguments, ..queue("q") }));
}

#[test]
fn operator_policies_join_in() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.does(Command::PutPolicy(policy("p", "", &[("max-length", 5.into())])));
    topology.does(Command::PutOperatorPolicy(policy("o", "", &[("max-length", 3.into())])));
    let queue = topology.queue("/", "q").unwrap();
    assert_eq!(queue.settings.max_length, Some(3));
    assert_eq!(queue.operator_policy.as_ref().map(|policy| &*policy.name), Some("o"));
    topology.does(Command::DeleteOperatorPolicy { vhost: "/".into(), name: "o".into() });
    assert_eq!(topology.queue("/", "q").unwrap().settings.max_length, Some(5));
}

#[test]
fn an_alternate_exchange_by_policy() {
    let mut topology = topology();
    topology.queues(&["q"]);
    topology.exchanges(&[("x", "direct"), ("ae", "fanout"), ("ae2", "fanout")]);
    topology.bind_all(&[to_queue("ae", "q", "")]);
    let arguments = table(&[("alternate-exchange", "ae2".into())]);
    let with_argument = ExchangeDeclare { arguments, ..exchange("own", "direct") };
    topology.does(Command::DeclareExchange(with_argument));
    let spec = policy("p", "^(x|own)$", &[("alternate-exchange", "ae".into())]);
    let applied = topology.does(Command::PutPolicy(spec));
    assert_eq!(told(&applied).split_off(1), ["~exchange own", "~exchange x"]);
    assert_eq!(topology.reached("x", &["k"]), ["q"]);
    assert_eq!(topology.reached("own", &["k"]), [""; 0]);
    topology.does(Command::DeletePolicy { vhost: "/".into(), name: "p".into() });
    assert_eq!(topology.reached("x", &["k"]), [""; 0]);
}

#[test]
fn a_bad_policy_changes_nothing() {
    let mut topology = topology();
    let mut refused = |spec| topology.refuses(Command::PutPolicy(spec));
    assert_eq!(refused(policy("p", "", &[])), "406 no policy provided");
    assert!(
        refused(policy("p", "(", &[("max-length", 1.into())])).starts_with("406 Invalid regular")
    );
    assert_eq!(topology.vhost("/").unwrap().policies().count(), 0);
    let delete = Command::DeletePolicy { vhost: "/".into(), name: "p".into() };
    assert_eq!(topology.does(delete).outcome, Outcome::Deleted { existed: false });
}

#[test]
fn parameters_may_be_policies_and_limits() {
    let mut topology = topology();
    topology.queues(&["q"]);
    let parameter = |component: &str, value| Command::PutParameter {
        vhost: "/".into(),
        component: component.into(),
        name: "limits".into(),
        value,
    };
    let object = |fields: &[(&str, ParameterValue)]| {
        ParameterValue::Object(fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
    };
    topology.does(parameter("vhost-limits", object(&[("max-queues", 1.into())])));
    assert_eq!(topology.vhost("/").unwrap().limits().queues, Some(1));
    topology.does(parameter("vhost-limits", object(&[("max-connections", (-1).into())])));
    assert_eq!(topology.vhost("/").unwrap().limits(), VhostLimits::default());
    let policy = object(&[
        ("pattern", "q".into()),
        ("definition", object(&[("max-length", 7.into())])),
        ("priority", 1.into()),
        ("apply-to", "queues".into()),
    ]);
    topology.does(parameter("operator_policy", policy));
    assert_eq!(topology.queue("/", "q").unwrap().settings.max_length, Some(7));
    assert_eq!(topology.refuses(parameter("nope", object(&[]))), "406 component nope not found");
    assert_eq!(
        topology.refuses(parameter("policy", object(&[]))),
        "406 Key \"pattern\" not found in \"limits\""
    );
    topology.does(parameter("shovel", object(&[("src-uri", "amqp://".into())])));
    assert!(topology.vhost("/").unwrap().parameter("shovel", "limits").is_some());
    let delete = Command::DeleteParameter {
        vhost: "/".into(),
        component: "shovel".into(),
        name: "limits".into(),
    };
    assert_eq!(topology.does(delete).outcome, Outcome::Deleted { existed: true });
}
