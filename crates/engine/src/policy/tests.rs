//! Which policy applies, what its keys may be, and what the settings of a queue become.

use super::*;
use crate::arguments::{self, QueueArguments};
use crate::error::ResourceName;
use crate::settings::{DeadLetterStrategy, Overflow, QueueSettings};
use leveret_codec::{Table, Value};

fn spec(definition: &[(&str, ParameterValue)]) -> PolicySpec {
    PolicySpec {
        vhost: "/".into(),
        name: "p".into(),
        pattern: "".into(),
        apply_to: ApplyTo::All,
        priority: 0,
        definition: definition.iter().map(|(key, value)| ((*key).into(), value.clone())).collect(),
    }
}

fn policy(definition: &[(&str, ParameterValue)]) -> Policy {
    Policy::new(&spec(definition), PolicyOwner::User).unwrap()
}

fn refused(definition: &[(&str, ParameterValue)], owner: PolicyOwner) -> String {
    Policy::new(&spec(definition), owner).unwrap_err().explain()
}

fn n(value: i64) -> ParameterValue {
    value.into()
}

fn settings(
    fields: &[(&str, Value)],
    kind: QueueKind,
    user: Option<&Policy>,
    operator: Option<&Policy>,
) -> QueueSettings {
    let table = Table(fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect());
    let queue = ResourceName::queue(&"/".into(), "q");
    let arguments: QueueArguments = arguments::parse(&table, kind, &queue).unwrap();
    let flags = merge::Flags { durable: true, auto_delete: false };
    merge::settings(flags, &arguments, merge::Applied { policy: user, operator })
}

#[test]
fn keys_and_values_are_checked() {
    let user = |key, value| refused(&[(key, value)], PolicyOwner::User);
    assert_eq!(
        user("foo", "bar".into()),
        "[{<<\"foo\">>,<<\"bar\">>}] are not recognised policy settings"
    );
    assert_eq!(user("message-ttl", "x".into()), "<<\"x\">> is not a valid message TTL");
    assert_eq!(user("message-ttl", n(-1)), "-1 is not a valid message TTL");
    assert_eq!(user("expires", n(0)), "0 is not a valid queue expiry");
    assert_eq!(user("max-length", n(-1)), "-1 is not a valid maximum length");
    assert_eq!(user("dead-letter-exchange", n(5)), "5 is not a valid dead letter exchange name");
    assert_eq!(user("overflow", "drop".into()), "<<\"drop\">> is not a valid overflow value");
    assert_eq!(user("max-age", "1x".into()), "<<\"1x\">> is not a valid max age");
    assert_eq!(refused(&[], PolicyOwner::User), "no policy provided");
    assert_eq!(
        refused(&[("dead-letter-exchange", "x".into())], PolicyOwner::Operator),
        "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings"
    );
    policy(&[("dead-letter-routing-key", "k".into())]);
    policy(&[("delivery-limit", n(-1)), ("queue-mode", "lazy".into()), ("max-age", "7D".into())]);
}

#[test]
fn mirroring_keys_need_one_another() {
    let mode = |mode: &str| ("ha-mode", mode.into());
    for definition in [
        vec![mode("all")],
        vec![mode("all"), ("ha-sync-mode", "automatic".into())],
        vec![mode("exactly"), ("ha-params", n(2)), ("ha-sync-batch-size", n(1))],
        vec![mode("nodes"), ("ha-params", ParameterValue::List(vec!["a@b".into()]))],
        vec![mode("all"), ("ha-promote-on-failure", true.into())],
        vec![mode("all"), ("ha-promote-on-shutdown", "when-synced".into())],
    ] {
        policy(&definition);
    }
    for definition in [
        vec![mode("some")],
        vec![mode("all"), ("ha-params", n(2))],
        vec![mode("exactly")],
        vec![mode("exactly"), ("ha-params", n(0))],
        vec![mode("nodes"), ("ha-params", ParameterValue::List(vec![]))],
        vec![mode("all"), ("ha-sync-mode", "often".into())],
        vec![mode("all"), ("ha-sync-batch-size", n(0))],
    ] {
        refused(&definition, PolicyOwner::User);
    }
    assert_eq!(
        refused(&[("ha-params", n(2))], PolicyOwner::User),
        "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown"
    );
    assert_eq!(
        refused(&[mode("all"), ("ha-promote-on-failure", n(1))], PolicyOwner::User),
        "ha-promote-on-failure must be \"always\" or \"when-synced\", got 1"
    );
}

#[test]
fn a_policy_applies_to_a_queue_type_as_a_whole() {
    let applies = |policy: &Policy| {
        [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream]
            .map(|kind| policy.applies_to_queue("q", kind))
    };
    assert_eq!(applies(&policy(&[("max-length", n(1))])), [true, true, false]);
    assert_eq!(
        applies(&policy(&[("max-length", n(1)), ("delivery-limit", n(3))])),
        [false, true, false]
    );
    assert_eq!(
        applies(&policy(&[("max-length", n(1)), ("ha-mode", "all".into())])),
        [true, false, false]
    );
    assert_eq!(applies(&policy(&[("queue-version", n(2))])), [true, true, true]);
    assert_eq!(applies(&policy(&[("max-age", "1D".into())])), [false, false, true]);
}

#[test]
fn apply_to_narrows() {
    let with = |apply_to| {
        let spec = PolicySpec { apply_to, ..spec(&[("max-length-bytes", n(1))]) };
        let policy = Policy::new(&spec, PolicyOwner::User).unwrap();
        let kinds = [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];
        (kinds.map(|kind| policy.applies_to_queue("q", kind)), policy.applies_to_exchange("x"))
    };
    assert_eq!(with(ApplyTo::All), ([true; 3], true));
    assert_eq!(with(ApplyTo::Queues), ([true; 3], false));
    assert_eq!(with(ApplyTo::Exchanges), ([false; 3], true));
    assert_eq!(with(ApplyTo::QuorumQueues), ([false, true, false], false));
    assert_eq!(ApplyTo::parse("streams"), Some(ApplyTo::Streams));
    assert_eq!(ApplyTo::parse("other"), None);
}

#[test]
fn the_highest_priority_that_applies_counts() {
    let mut set = PolicySet::default();
    let mut put = |name: &str, priority, definition: &[(&str, ParameterValue)]| {
        let spec = PolicySpec { name: name.into(), priority, ..spec(definition) };
        set.put(Policy::new(&spec, PolicyOwner::User).unwrap())
    };
    assert!(put("low", 1, &[("max-length", n(2))]));
    assert!(put("high", 5, &[("max-length", n(1)), ("delivery-limit", n(3))]));
    assert!(put("also-low", 1, &[("max-length", n(3))]));
    assert!(!put("low", 1, &[("max-length", n(4))]));
    let name = |set: &PolicySet, kind| set.for_queue("q", kind).map(|policy| policy.name.clone());
    assert_eq!(name(&set, QueueKind::Quorum).as_deref(), Some("high"));
    assert_eq!(name(&set, QueueKind::Classic).as_deref(), Some("also-low"));
    assert!(set.remove("high") && !set.remove("high"));
    assert_eq!(name(&set, QueueKind::Quorum).as_deref(), Some("also-low"));
    assert_eq!(name(&set, QueueKind::Stream), None);
}

#[test]
fn of_limits_the_smallest_counts() {
    let user = policy(&[("max-length", n(10)), ("message-ttl", n(50))]);
    let spec = spec(&[("max-length", n(20)), ("message-ttl", n(40)), ("expires", n(7))]);
    let operator = Policy::new(&spec, PolicyOwner::Operator).unwrap();
    let arguments = [("x-max-length", Value::Int(15)), ("x-expires", Value::Int(9))];
    let settings = settings(&arguments, QueueKind::Classic, Some(&user), Some(&operator));
    assert_eq!(settings.max_length, Some(10));
    assert_eq!(settings.message_ttl, Some(40));
    assert_eq!(settings.expires, Some(7));
    assert_eq!(settings.max_length_bytes, None);
    let definition = effective_definition(Some(&user), Some(&operator));
    let expected: Vec<(Arc<str>, _)> =
        vec![("max-length".into(), n(10)), ("message-ttl".into(), n(40)), ("expires".into(), n(7))];
    assert_eq!(definition, expected);
}

#[test]
fn dead_letter_arguments_count_before_policies() {
    let user =
        policy(&[("dead-letter-exchange", "px".into()), ("dead-letter-routing-key", "pk".into())]);
    let argument = [("x-dead-letter-exchange", Value::from("ax"))];
    let target = |arguments: &[(&str, Value)], user| {
        let target = settings(arguments, QueueKind::Classic, user, None).dead_letter?;
        Some((target.exchange.to_string(), target.routing_key.map(|key| key.to_string())))
    };
    assert_eq!(target(&[], Some(&user)), Some(("px".into(), Some("pk".into()))));
    assert_eq!(target(&argument, Some(&user)), Some(("ax".into(), Some("pk".into()))));
    assert_eq!(target(&argument, None), Some(("ax".into(), None)));
    assert_eq!(target(&[], None), None);
}

#[test]
fn overflow_of_classic_and_quorum_queues() {
    let user = policy(&[("overflow", "reject-publish".into())]);
    let argument = [("x-overflow", Value::from("drop-head"))];
    let overflow = |kind| settings(&argument, kind, Some(&user), None).overflow;
    assert_eq!(overflow(QueueKind::Classic), Overflow::DropHead);
    assert_eq!(overflow(QueueKind::Quorum), Overflow::RejectPublish);
    let dlx = [("x-overflow", Value::from("reject-publish-dlx"))];
    let overflow = |kind| settings(&dlx, kind, None, None).overflow;
    assert_eq!(overflow(QueueKind::Classic), Overflow::RejectPublishDlx);
    assert_eq!(overflow(QueueKind::Quorum), Overflow::DropHead);
}

#[test]
fn delivery_limits() {
    let limit = |argument: Option<Value>, user: Option<i64>| {
        let user = user.map(|limit| policy(&[("delivery-limit", n(limit))]));
        let arguments: Vec<_> =
            argument.map(|value| ("x-delivery-limit", value)).into_iter().collect();
        settings(&arguments, QueueKind::Quorum, user.as_ref(), None).delivery_limit
    };
    assert_eq!(limit(None, None), Some(20));
    assert_eq!(limit(Some(Value::Int(3)), Some(5)), Some(3));
    assert_eq!(limit(Some(Value::Int(-1)), None), None);
    assert_eq!(limit(Some(Value::Int(-1)), Some(5)), Some(5));
    assert_eq!(limit(Some("x".into()), None), Some(20));
    let classic = settings(&[], QueueKind::Classic, None, None);
    assert_eq!((classic.counts_deliveries, classic.delivery_limit), (false, None));
    assert!(settings(&[], QueueKind::Quorum, None, None).counts_deliveries);
}

#[test]
fn quorum_queues_may_dead_letter_at_least_once() {
    let user = policy(&[("dead-letter-strategy", "at-least-once".into())]);
    let strategy = settings(&[], QueueKind::Quorum, Some(&user), None).dead_letter_strategy;
    assert_eq!(strategy, DeadLetterStrategy::AtLeastOnce);
}

// rabbitmq: merge strategy of mirrored queues
#[test]
fn of_two_ways_to_mirror_the_one_with_more_copies_counts() {
    let all = || vec![("ha-mode", "all".into())];
    let exactly = |copies| vec![("ha-mode", "exactly".into()), ("ha-params", n(copies))];
    let nodes = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).into()).collect();
        vec![("ha-mode", "nodes".into()), ("ha-params", ParameterValue::List(names))]
    };
    let merged = |user: Vec<(&str, ParameterValue)>, operator: Vec<(&str, ParameterValue)>| {
        let operator = Policy::new(&spec(&operator), PolicyOwner::Operator).unwrap();
        let definition = effective_definition(Some(&policy(&user)), Some(&operator));
        let get = |key: &str| definition.iter().find(|(k, _)| &**k == key).map(|(_, v)| v.clone());
        (get("ha-mode").unwrap(), get("ha-params"))
    };
    assert_eq!(merged(all(), exactly(2)).0, "all".into());
    assert_eq!(merged(exactly(2), all()).0, "all".into());
    assert_eq!(merged(exactly(3), exactly(2)), ("exactly".into(), Some(n(3))));
    assert_eq!(merged(nodes(&["a", "b", "c"]), exactly(2)), ("exactly".into(), Some(n(2))));
    let two = Some(nodes(&["a", "b"])[1].1.clone());
    assert_eq!(merged(nodes(&["a", "b"]), nodes(&["c"])), ("nodes".into(), two));
    let sync = |mode: &'static str| [all(), vec![("ha-sync-mode", mode.into())]].concat();
    let operator = Policy::new(&spec(&sync("manual")), PolicyOwner::Operator).unwrap();
    let definition = effective_definition(Some(&policy(&sync("automatic"))), Some(&operator));
    assert!(definition.contains(&("ha-sync-mode".into(), "manual".into())));
}
