//! Queues, exchanges and bindings: declaring, deleting, and the ways in which they are refused.

use crate::script::check;

/// One line on a fresh channel after `before`; the channel must be closed with this.
#[track_caller]
fn refused(before: &str, line: &str, close: &str) {
    check(&format!("{before}\nC9: {line}\nS9: channel.close {close}"));
}

const Q: &str = "C1: queue.declare queue=q durable\nS1: queue.declare-ok queue=q";
const X: &str = "C1: exchange.declare exchange=x type=direct durable\nS1: exchange.declare-ok";

#[test]
fn declare_a_queue_and_see_it() {
    check(
        "
        C1: queue.declare queue=q durable
        S1: queue.declare-ok queue=q
        C1: publish key=q body=hello content_type=text/plain
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q | content_type=text/plain | hello
        C1: basic.get queue=q no_ack
        S1: basic.get-empty
        ",
    );
}

#[test]
fn server_named_queues() {
    check(
        "
        C1: queue.declare exclusive
        S1: queue.declare-ok queue=amq.gen-AQEBAQEBAQEBAQEBAQEBAQ
        C1: queue.bind exchange=amq.direct
        S1: queue.bind-ok
        C1: publish exchange=amq.direct key=amq.gen-AQEBAQEBAQEBAQEBAQEBAQ body=x
        C1: basic.get no_ack
        S1: basic.get-ok delivery=1 exchange=amq.direct key=amq.gen-AQEBAQEBAQEBAQEBAQEBAQ | | x
        C1: queue.declare queue=amq.gen-AQEBAQEBAQEBAQEBAQEBAQ passive
        S1: queue.declare-ok queue=amq.gen-AQEBAQEBAQEBAQEBAQEBAQ
        ",
    );
}

#[test]
fn an_empty_name_is_the_queue_declared_last_on_the_channel() {
    check(
        "
        C1: queue.declare queue=a
        S1: queue.declare-ok queue=a
        C1: queue.declare queue=b
        S1: queue.declare-ok queue=b
        C1: queue.declare queue=a passive
        S1: queue.declare-ok queue=a
        C1: publish key=a body=x
        C1: queue.purge
        S1: queue.purge-ok messages=1
        C1: basic.consume tag=c no_ack
        S1: basic.consume-ok tag=c
        C1: basic.cancel tag=c
        S1: basic.cancel-ok tag=c
        C1: queue.delete
        S1: queue.delete-ok
        C1: basic.get no_ack
        S1: channel.close code=404 text='NOT_FOUND - no queue 'a' in vhost '/'' class=60 method=70
        ",
    );
    let none = "code=404 text='NOT_FOUND - no previously declared queue'";
    refused("", "basic.get", &format!("{none} class=60 method=70"));
    refused("", "queue.purge", &format!("{none} class=50 method=30"));
    refused("", "queue.bind exchange=amq.direct", &format!("{none} class=50 method=20"));
    refused("", "queue.delete", &format!("{none} class=50 method=40"));
    refused("", "basic.consume tag=c", &format!("{none} class=60 method=20"));
    refused(
        "",
        "queue.declare passive",
        "code=404 text='NOT_FOUND - no queue '' in vhost '/'' class=50 method=10",
    );
}

#[test]
fn what_does_not_exist() {
    let queue = "code=404 text='NOT_FOUND - no queue 'none' in vhost '/''";
    let exchange = "code=404 text='NOT_FOUND - no exchange 'none' in vhost '/''";
    refused("", "queue.declare queue=none passive", &format!("{queue} class=50 method=10"));
    refused("", "queue.purge queue=none", &format!("{queue} class=50 method=30"));
    refused("", "basic.get queue=none", &format!("{queue} class=60 method=70"));
    refused("", "basic.consume queue=none tag=c", &format!("{queue} class=60 method=20"));
    refused(X, "queue.bind queue=none exchange=x", &format!("{queue} class=50 method=20"));
    refused(Q, "queue.bind queue=q exchange=none", &format!("{exchange} class=50 method=20"));
    refused("", "queue.bind queue=none exchange=none", &format!("{exchange} class=50 method=20"));
    refused(
        "",
        "exchange.declare exchange=none type=direct passive",
        &format!("{exchange} class=40 method=10"),
    );
    refused(
        X,
        "exchange.bind destination=none source=x",
        &format!("{exchange} class=40 method=30"),
    );
    refused(
        X,
        "exchange.bind destination=x source=none",
        &format!("{exchange} class=40 method=30"),
    );
}

#[test]
fn deleting_and_unbinding_what_does_not_exist_is_fine() {
    check(
        "
        C1: queue.delete queue=none if_unused if_empty
        S1: queue.delete-ok
        C1: exchange.delete exchange=none if_unused
        S1: exchange.delete-ok
        C1: queue.unbind queue=none exchange=none
        S1: queue.unbind-ok
        C1: exchange.declare exchange=x type=fanout
        S1: exchange.declare-ok
        C1: exchange.unbind destination=none source=x
        S1: exchange.unbind-ok
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.unbind queue=q exchange=x key=nothere
        S1: queue.unbind-ok
        ",
    );
}

#[test]
fn names_that_belong_to_the_broker() {
    let queue = "code=403 text='ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'' class=50 method=10";
    refused("", "queue.declare queue=amq.x", queue);
    let exchange = "code=403 text='ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'' class=40 method=10";
    refused("", "exchange.declare exchange=amq.x type=direct", exchange);
    let system = "code=403 text='ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed' class=40 method=20";
    refused("", "exchange.delete exchange=amq.direct", system);
    let default =
        "code=403 text='ACCESS_REFUSED - operation not permitted on the default exchange'";
    refused("", "exchange.declare type=direct", &format!("{default} class=40 method=10"));
    refused("", "exchange.declare type=direct passive", &format!("{default} class=40 method=10"));
    refused("", "exchange.delete", &format!("{default} class=40 method=20"));
    refused(Q, "queue.bind queue=q key=k", &format!("{default} class=50 method=20"));
    refused(Q, "queue.unbind queue=q key=q", &format!("{default} class=50 method=50"));
    refused(X, "exchange.bind destination=x", &format!("{default} class=40 method=30"));
    refused(X, "exchange.bind source=x", &format!("{default} class=40 method=30"));
    refused(X, "exchange.unbind destination=x", &format!("{default} class=40 method=40"));
    refused(X, "exchange.unbind source=x", &format!("{default} class=40 method=40"));
}

#[test]
fn redeclaring_differently() {
    let text = |arg: &str, what: &str| {
        format!("code=406 text='PRECONDITION_FAILED - inequivalent arg '{arg}' for {what}")
    };
    refused(
        Q,
        "queue.declare queue=q",
        &format!(
            "{}: received 'false' but current is 'true'' class=50 method=10",
            text("durable", "queue 'q' in vhost '/'")
        ),
    );
    refused(
        Q,
        "queue.declare queue=q durable arguments={x-max-length=I:5}",
        &format!(
            "{}: received the value '5' of type 'signedint' but current is none' class=50 method=10",
            text("x-max-length", "queue 'q' in vhost '/'")
        ),
    );
    refused(
        X,
        "exchange.declare exchange=x type=fanout durable",
        &format!(
            "{}: received 'fanout' but current is 'direct'' class=40 method=10",
            text("type", "exchange 'x' in vhost '/'")
        ),
    );
    check(
        "
        C1: exchange.declare exchange=amq.topic type=topic durable
        S1: exchange.declare-ok
        C1: queue.declare queue=q durable arguments={x-foreign=S:1}
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=q durable
        S1: queue.declare-ok queue=q
        ",
    );
}

#[test]
fn arguments_and_types_that_are_wrong() {
    refused(
        "",
        "queue.declare queue=q arguments={x-message-ttl=S:10}",
        "code=406 text='PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost '/': \"expected integer, got longstr\"' class=50 method=10",
    );
    refused(
        "",
        "queue.declare queue=q arguments={x-dead-letter-exchange=I:5}",
        "code=406 text='PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'' class=50 method=10",
    );
    refused(
        "",
        "exchange.declare exchange=x type=nope",
        "code=406 text='PRECONDITION_FAILED - unknown exchange type 'nope'' class=40 method=10",
    );
    refused(
        "",
        "exchange.declare exchange=x",
        "code=406 text='PRECONDITION_FAILED - invalid exchange type ''' class=40 method=10",
    );
    refused(
        "",
        "queue.declare durable arguments={x-queue-type=S:quorum}",
        "code=406 text='PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue' class=50 method=10",
    );
}

#[test]
fn deleting_with_conditions() {
    let used = "C1: queue.declare queue=q\nS1: queue.declare-ok queue=q\nC1: basic.consume queue=q tag=c\nS1: basic.consume-ok tag=c";
    refused(
        used,
        "queue.delete queue=q if_unused",
        "code=406 text='PRECONDITION_FAILED - queue 'q' in vhost '/' in use' class=50 method=40",
    );
    let full = format!("{Q}\nC1: publish key=q body=x");
    refused(
        &full,
        "queue.delete queue=q if_empty",
        "code=406 text='PRECONDITION_FAILED - queue 'q' in vhost '/' not empty' class=50 method=40",
    );
    let bound = format!("{Q}\n{X}\nC1: queue.bind queue=q exchange=x\nS1: queue.bind-ok");
    refused(
        &bound,
        "exchange.delete exchange=x if_unused",
        "code=406 text='PRECONDITION_FAILED - exchange 'x' in vhost '/' in use' class=40 method=20",
    );
    check(&format!("{full}\nC1: queue.delete queue=q\nS1: queue.delete-ok messages=1"));
}

#[test]
fn quorum_queues_are_deleted_without_conditions() {
    for flag in ["if-unused", "if-empty"] {
        check(&format!(
            "C1: queue.declare queue=q durable arguments={{x-queue-type=S:quorum}}
S1: queue.declare-ok queue=q
C1: queue.delete queue=q {}
S: connection.close code=540 text='NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations with {flag} flag set are not supported by quorum queues' class=50 method=40",
            flag.replace('-', "_")
        ));
    }
}

#[test]
fn exclusive_queues_are_locked_for_other_connections() {
    let locked = "code=405 text='RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.'";
    let mut script = "C1: queue.declare queue=q exclusive
S1: queue.declare-ok queue=q
C1: queue.bind queue=q exchange=amq.fanout
S1: queue.bind-ok
D1: queue.unbind queue=q exchange=amq.direct
T1: queue.unbind-ok"
        .to_owned();
    for (channel, (line, ids)) in (2..).zip([
        ("queue.declare queue=q exclusive", "class=50 method=10"),
        ("queue.declare queue=q passive", "class=50 method=10"),
        ("queue.bind queue=q exchange=amq.direct", "class=50 method=20"),
        ("queue.unbind queue=q exchange=amq.fanout", "class=50 method=50"),
        ("queue.purge queue=q", "class=50 method=30"),
        ("queue.delete queue=q", "class=50 method=40"),
        ("basic.get queue=q", "class=60 method=70"),
        ("basic.consume queue=q tag=c", "class=60 method=20"),
    ]) {
        script += &format!("\nD{channel}: {line}\nT{channel}: channel.close {locked} {ids}");
    }
    check(&script);
}

#[test]
fn the_queue_limit_of_a_vhost() {
    refused(
        &format!("limit vhost-queues / 1\n{Q}"),
        "queue.declare queue=r",
        "code=406 text='PRECONDITION_FAILED - cannot declare queue 'r': queue limit in vhost '/' (1) is reached' class=50 method=10",
    );
}

#[test]
fn line_breaks_are_cut_from_names() {
    check(
        "
        C1: queue.declare queue=a\u{d}b
        S1: queue.declare-ok queue=ab
        C1: exchange.declare exchange=x\u{d} type=fanout
        S1: exchange.declare-ok
        C1: exchange.declare exchange=x type=fanout passive
        S1: exchange.declare-ok
        ",
    );
}

#[test]
fn nowait_is_answered_by_nothing_but_errors() {
    check(
        "
        C1: queue.declare queue=q nowait
        C1: exchange.declare exchange=x type=fanout nowait
        C1: exchange.declare exchange=y type=fanout nowait
        C1: queue.bind queue=q exchange=y nowait
        C1: exchange.bind destination=y source=x nowait
        C1: publish exchange=x body=m
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        C1: queue.purge queue=q nowait
        C1: exchange.unbind destination=y source=x nowait
        C1: basic.consume queue=q tag=c nowait
        C1: basic.cancel tag=c nowait
        C1: confirm.select nowait
        C1: publish key=none
        S1: basic.ack delivery=1
        C1: queue.delete queue=q nowait
        C1: exchange.delete exchange=x nowait
        C1: exchange.declare exchange=x type=fanout passive nowait
        S1: channel.close code=404 text='NOT_FOUND - no exchange 'x' in vhost '/'' class=40 method=10
        ",
    );
}

#[test]
fn a_deleted_queue_loses_its_bindings() {
    check(
        "
        C1: confirm.select
        S1: confirm.select-ok
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.bind queue=q exchange=amq.fanout
        S1: queue.bind-ok
        C1: publish exchange=amq.fanout mandatory body=1
        S1: basic.ack delivery=1
        C1: queue.delete queue=q
        S1: queue.delete-ok messages=1
        C1: publish exchange=amq.fanout mandatory body=2
        S1: basic.return code=312 text=NO_ROUTE exchange=amq.fanout | | 2
        S1: basic.ack delivery=2
        ",
    );
}
