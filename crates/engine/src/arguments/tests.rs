//! The arguments of `queue.declare`, value by value, as RabbitMQ 4.3 answered.

use super::*;
use crate::settings::QueueKind::{Classic, Quorum, Stream};
use leveret_codec::Table;

fn queue() -> ResourceName {
    ResourceName::queue(&"v".into(), "q")
}

fn table(fields: Vec<(&str, Value)>) -> Table {
    Table(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn outcome(table: &Table, default: QueueKind) -> Result<QueueArguments, String> {
    let kind = queue_kind(table, default, &queue()).map_err(|error| error.explain())?;
    parse(table, kind, &queue()).map_err(|error| error.explain())
}

#[track_caller]
fn accepts(kind: QueueKind, argument: &str, value: impl Into<Value>) {
    assert_eq!(outcome(&table(vec![(argument, value.into())]), kind).err(), None);
}

#[track_caller]
fn refuses(kind: QueueKind, argument: &str, value: impl Into<Value>, reason: &str) {
    let text = format!("invalid arg '{argument}' for queue 'q' in vhost 'v': {reason}");
    assert_eq!(outcome(&table(vec![(argument, value.into())]), kind), Err(text));
}

#[track_caller]
fn foreign(kind: QueueKind, argument: &str) {
    let text = format!(
        "invalid arg '{argument}' for queue 'q' in vhost 'v' of queue type {}",
        kind.module()
    );
    assert_eq!(outcome(&table(vec![(argument, Value::Int(1))]), kind), Err(text));
}

#[test]
fn expires() {
    refuses(Classic, "x-expires", 0, "{value_zero,0}");
    refuses(Classic, "x-expires", -1, "{value_negative,-1}");
    refuses(Classic, "x-expires", 1.5, "\"expected integer, got double\"");
    refuses(Classic, "x-expires", "10", "\"expected integer, got longstr\"");
    refuses(Classic, "x-expires", true, "\"expected integer, got bool\"");
    refuses(Classic, "x-expires", 315_360_000_001_i64, "{value_too_large,315360000001}");
    refuses(Classic, "x-expires", 1_i64 << 62, "{value_too_large,4611686018427387904}");
    accepts(Classic, "x-expires", 1);
}

#[test]
fn message_ttl() {
    refuses(Classic, "x-message-ttl", -1, "{value_negative,-1}");
    accepts(Classic, "x-message-ttl", 315_360_000_000_i64);
    refuses(Classic, "x-message-ttl", 315_360_000_001_i64, "{value_too_large,315360000001}");
    let timestamp = "\"expected integer, got timestamp\"";
    refuses(Classic, "x-message-ttl", Value::Timestamp(5), timestamp);
    accepts(Classic, "x-message-ttl", Value::UnsignedByte(200));
    accepts(Classic, "x-message-ttl", Value::UnsignedInt(7));
    accepts(Classic, "x-message-ttl", 0);
}

#[test]
fn lengths() {
    for argument in ["x-max-length", "x-max-length-bytes"] {
        refuses(Classic, argument, -1, "{value_negative,-1}");
        refuses(Classic, argument, "5", "\"expected integer, got longstr\"");
        refuses(Classic, argument, Value::Float(2.0), "\"expected integer, got float\"");
        refuses(Classic, argument, Value::Void, "\"expected integer, got void\"");
        let decimal = Value::Decimal { scale: 0, value: 5 };
        refuses(Classic, argument, decimal, "\"expected integer, got decimal\"");
        accepts(Classic, argument, 0);
        accepts(Classic, argument, 1_i64 << 62);
    }
}

#[test]
fn max_priority() {
    refuses(Classic, "x-max-priority", -1, "{value_negative,-1}");
    refuses(Classic, "x-max-priority", 256, "{max_value_exceeded,256}");
    refuses(Classic, "x-max-priority", "5", "\"expected integer, got longstr\"");
    foreign(Quorum, "x-max-priority");
    let priority = |value: i32| {
        outcome(&table(vec![("x-max-priority", value.into())]), Classic).unwrap().max_priority
    };
    assert_eq!([priority(0), priority(1), priority(255)], [None, Some(1), Some(255)]);
}

#[test]
fn words() {
    for word in ["drop-head", "reject-publish", "reject-publish-dlx"] {
        accepts(Classic, "x-overflow", word);
    }
    refuses(Classic, "x-overflow", "drop-tail", "invalid_overflow");
    refuses(Classic, "x-overflow", "", "invalid_overflow");
    refuses(Classic, "x-overflow", 5, "{unacceptable_type,signedint}");
    let bytes = Value::ByteArray(b"drop-head".to_vec());
    refuses(Classic, "x-overflow", bytes, "{unacceptable_type,binary}");
    accepts(Classic, "x-queue-mode", "lazy");
    accepts(Classic, "x-queue-mode", 7);
    foreign(Quorum, "x-queue-mode");
    accepts(Classic, "x-queue-leader-locator", "balanced");
    refuses(Classic, "x-queue-leader-locator", "nope", "invalid_queue_locator_arg");
    refuses(Classic, "x-queue-leader-locator", 3, "{unacceptable_type,signedint}");
    accepts(Classic, "x-queue-master-locator", "min-masters");
    accepts(Quorum, "x-dead-letter-strategy", "at-least-once");
    refuses(Quorum, "x-dead-letter-strategy", "x", "invalid_dlx_strategy");
    foreign(Classic, "x-dead-letter-strategy");
}

#[test]
fn version_and_flags() {
    accepts(Classic, "x-queue-version", 1);
    refuses(Classic, "x-queue-version", 9, "\"unsupported queue version '9'\"");
    refuses(Classic, "x-queue-version", "2", "\"expected integer, got longstr\"");
    foreign(Quorum, "x-queue-version");
    accepts(Classic, "x-single-active-consumer", false);
    refuses(Classic, "x-single-active-consumer", "true", "{unacceptable_type,longstr}");
    refuses(Classic, "x-single-active-consumer", 1, "{unacceptable_type,signedint}");
}

#[test]
fn queue_types() {
    for (name, kind) in
        [("classic", Classic), ("", Classic), ("quorum", Quorum), ("stream", Stream)]
    {
        let table = table(vec![("x-queue-type", name.into())]);
        assert_eq!(outcome(&table, Quorum).unwrap().kind, kind);
    }
    assert_eq!(outcome(&Table::new(), Quorum).unwrap().kind, Quorum);
    refuses(Classic, "x-queue-type", "nope", "\"unsupported queue type 'nope'\"");
    refuses(Classic, "x-queue-type", "Classic", "\"unsupported queue type 'Classic'\"");
    refuses(Classic, "x-queue-type", 5, "{unacceptable_type,signedint}");
    refuses(Classic, "x-queue-type", true, "{unacceptable_type,bool}");
}

#[test]
fn dead_letter_keys_need_an_exchange() {
    let key = "x-dead-letter-routing-key";
    refuses(Classic, key, "k", "routing_key_but_no_dlx_defined");
    refuses(Classic, key, 5, "{unacceptable_type,signedint}");
    let both = table(vec![(key, "k".into()), ("x-dead-letter-exchange", "".into())]);
    let arguments = outcome(&both, Classic).unwrap();
    assert_eq!(arguments.dead_letter_exchange.as_deref(), Some(""));
    assert_eq!(arguments.dead_letter_routing_key.as_deref(), Some("k"));
}

#[test]
fn types_have_arguments_of_their_own() {
    for argument in [
        "x-max-age",
        "x-delivery-limit",
        "x-quorum-initial-group-size",
        "x-max-in-memory-length",
        "x-stream-max-segment-size-bytes",
    ] {
        foreign(Classic, argument);
    }
    foreign(Quorum, "x-max-age");
    foreign(Stream, "x-message-ttl");
    refuses(Quorum, "x-quorum-initial-group-size", 0, "{value_zero,0}");
    accepts(Quorum, "x-delivery-limit", "x");
    accepts(Stream, "x-max-age", "7D");
    refuses(Stream, "x-max-age", "soon", "invalid_max_age");
    // Unknown names, and what 3.10 did not know for classic queues.
    for argument in ["x-ha-policy", "x-cancel-on-ha-failover", "x-consumer-timeout", "foo"] {
        accepts(Classic, argument, "all");
    }
}

#[test]
fn the_first_of_repeated_names_counts() {
    let twice = |a, b| {
        let fields = vec![("x-max-length", Value::Int(a)), ("x-max-length", Value::Int(b))];
        outcome(&table(fields), Classic)
    };
    assert_eq!(twice(1, -3).unwrap().max_length, Some(1));
    assert!(twice(-1, 3).is_err());
}

#[test]
fn of_several_bad_arguments_rabbitmqs_first_is_named() {
    let fields = vec![("x-max-length", Value::Int(-1)), ("x-message-ttl", Value::Int(-2))];
    let error = outcome(&table(fields), Classic).unwrap_err();
    assert!(error.contains("'x-message-ttl'"), "{error}");
}

#[test]
fn values_are_compared_by_what_they_say() {
    let (text, bytes) = (Value::from("ae"), Value::ByteArray(b"ae".to_vec()));
    assert!(equivalence::same_value(&Value::Int(10), &Value::Long(10)));
    assert!(equivalence::same_value(&Value::Byte(10), &Value::UnsignedInt(10)));
    assert!(equivalence::same_value(&text, &bytes));
    assert!(!equivalence::same_value(&Value::Int(5), &"5".into()));
    assert!(!equivalence::same_value(&Value::Int(1), &Value::Double(1.0)));
    assert!(!equivalence::same_value(&Value::Bool(true), &Value::Int(1)));
}
