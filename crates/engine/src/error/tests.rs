//! The texts clients match on, word for word.

use super::*;
use leveret_codec::{ReplyCode, Value};

fn queue() -> ResourceName {
    ResourceName::queue(&"/".into(), "q")
}

fn exchange(name: &str) -> ResourceName {
    ResourceName::exchange(&"/".into(), name)
}

#[track_caller]
fn check(error: &BrokerError, code: ReplyCode, text: &str) {
    assert_eq!(error.explain(), text);
    assert_eq!(error.reply_code(), code);
    assert!(size_of::<BrokerError>() <= 96, "errors travel in every result");
}

#[test]
fn access() {
    check(
        &BrokerError::AccessRefused {
            permission: Permission::Configure,
            resource: queue(),
            user: "u".into(),
        },
        ReplyCode::ACCESS_REFUSED,
        "configure access to queue 'q' in vhost '/' refused for user 'u'",
    );
    check(
        &BrokerError::TopicAccessRefused {
            permission: Permission::Read,
            topic: "#".into(),
            exchange: exchange("t"),
            user: "u".into(),
        },
        ReplyCode::ACCESS_REFUSED,
        "read access to topic '#' in exchange 't' in vhost '/' refused for user 'u'",
    );
    check(
        &BrokerError::VhostAccessRefused { vhost: "v".into(), user: "u".into() },
        ReplyCode::NOT_ALLOWED,
        "access to vhost 'v' refused for user 'u'",
    );
    check(
        &BrokerError::VhostNotFound("nope".into()),
        ReplyCode::NOT_ALLOWED,
        "vhost nope not found",
    );
}

#[test]
fn limits() {
    let cases = [
        (
            ConnectionLimit::NodeConnections,
            "connection refused: node connection limit (1) is reached",
        ),
        (
            ConnectionLimit::UserConnections("u".into()),
            "connection refused for user 'u': user connection limit (1) is reached",
        ),
        (
            ConnectionLimit::UserChannels("u".into()),
            "number of channels opened for user 'u' has reached the maximum allowed user limit of 1",
        ),
        (
            ConnectionLimit::VhostConnections { vhost: "v".into(), user: "u".into() },
            "access to vhost 'v' refused for user 'u': connection limit (1) is reached",
        ),
    ];
    for (what, text) in cases {
        check(&BrokerError::ConnectionLimit { what, limit: 1 }, ReplyCode::NOT_ALLOWED, text);
    }
    check(
        &BrokerError::VhostQueueLimit { queue: queue(), limit: 2 },
        ReplyCode::PRECONDITION_FAILED,
        "cannot declare queue 'q': queue limit in vhost '/' (2) is reached",
    );
}

#[test]
fn resources() {
    check(&BrokerError::NotFound(queue()), ReplyCode::NOT_FOUND, "no queue 'q' in vhost '/'");
    check(
        &BrokerError::HomeNodeDown { queue: queue(), node: "rabbit@n1".into() },
        ReplyCode::NOT_FOUND,
        "home node 'rabbit@n1' of durable queue 'q' in vhost '/' is down or inaccessible",
    );
    check(
        &BrokerError::ResourceLocked(queue()),
        ReplyCode::RESOURCE_LOCKED,
        "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of \
         the original declaration.",
    );
    check(
        &BrokerError::ReservedName(exchange("amq.x")),
        ReplyCode::ACCESS_REFUSED,
        "exchange name 'amq.x' contains reserved prefix 'amq.*'",
    );
    check(
        &BrokerError::SystemExchange(exchange("amq.direct")),
        ReplyCode::ACCESS_REFUSED,
        "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    );
    check(
        &BrokerError::InternalExchange(exchange("i")),
        ReplyCode::ACCESS_REFUSED,
        "cannot publish to internal exchange 'i' in vhost '/'",
    );
    check(
        &BrokerError::UnknownExchangeType("nope".into()),
        ReplyCode::PRECONDITION_FAILED,
        "unknown exchange type 'nope'",
    );
}

#[test]
fn comparisons() {
    let error = |received, current| {
        BrokerError::Inequivalent(Box::new(Inequivalent {
            argument: "x-max-length".into(),
            resource: queue(),
            received,
            current,
        }))
    };
    let three = || Some(Compared::value(&Value::Int(3)));
    check(
        &error(three(), None),
        ReplyCode::PRECONDITION_FAILED,
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received the value '3' of \
         type 'signedint' but current is none",
    );
    check(
        &error(None, three()),
        ReplyCode::PRECONDITION_FAILED,
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is \
         the value '3' of type 'signedint'",
    );
    check(
        &error(Some(Compared::flag(true)), Some(Compared::flag(false))),
        ReplyCode::PRECONDITION_FAILED,
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received 'true' but current \
         is 'false'",
    );
}

#[test]
fn unsupported() {
    check(
        &BrokerError::DeleteFlag {
            queue: queue(),
            flag: "if-empty".into(),
            kind: QueueKind::Quorum,
        },
        ReplyCode::NOT_IMPLEMENTED,
        "cannot delete queue 'q' in vhost '/'. queue.delete operations with if-empty flag set are \
         not supported by quorum queues",
    );
    check(
        &BrokerError::ServerNamed(QueueKind::Quorum),
        ReplyCode::PRECONDITION_FAILED,
        "Cannot declare a server-named queue for type rabbit_quorum_queue",
    );
}
