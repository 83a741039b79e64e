//! What a user without permissions is refused, and which check comes first.

use crate::script::check;

/// The user `u` sends a line on a vhost with queue `q` and topic exchanges `x` and `y`.
#[track_caller]
fn refused(permissions: &str, line: &str, close: &str) {
    check(&format!(
        "user u
permit u {permissions}
D1: queue.declare queue=q
T1: queue.declare-ok queue=q
D1: exchange.declare exchange=x type=topic
T1: exchange.declare-ok
D1: exchange.declare exchange=y type=topic
T1: exchange.declare-ok
C: log in user=u
C1: {line}
S1: channel.close code=403 text='ACCESS_REFUSED - {close}"
    ));
}

#[test]
fn a_user_without_permissions() {
    for (line, what, ids) in [
        ("queue.declare queue=n", "configure access to queue 'n'", "class=50 method=10"),
        ("queue.declare queue=q", "configure access to queue 'q'", "class=50 method=10"),
        ("queue.delete queue=none", "configure access to queue 'none'", "class=50 method=40"),
        ("queue.bind queue=q exchange=x key=z", "write access to queue 'q'", "class=50 method=20"),
        ("queue.unbind queue=q exchange=x", "write access to queue 'q'", "class=50 method=50"),
        ("queue.purge queue=q", "read access to queue 'q'", "class=50 method=30"),
        ("basic.get queue=none", "read access to queue 'none'", "class=60 method=70"),
        ("basic.consume queue=q tag=c", "read access to queue 'q'", "class=60 method=20"),
        (
            "exchange.declare exchange=n type=direct",
            "configure access to exchange 'n'",
            "class=40 method=10",
        ),
        (
            "exchange.delete exchange=none",
            "configure access to exchange 'none'",
            "class=40 method=20",
        ),
        (
            "exchange.bind destination=y source=x",
            "write access to exchange 'y'",
            "class=40 method=30",
        ),
        (
            "exchange.unbind destination=y source=x",
            "write access to exchange 'y'",
            "class=40 method=40",
        ),
        ("publish exchange=none", "write access to exchange 'none'", "class=60 method=40"),
        ("publish key=q", "write access to exchange 'amq.default'", "class=60 method=40"),
    ] {
        refused("'' '' ''", line, &format!("{what} in vhost '/' refused for user 'u'' {ids}"));
    }
}

#[test]
fn passive_declares_need_no_permission() {
    check(
        "
        user u
        permit u '' '' ''
        D1: queue.declare queue=q
        T1: queue.declare-ok queue=q
        C: log in user=u
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q
        C1: exchange.declare exchange=amq.direct type=direct passive
        S1: exchange.declare-ok
        C1: basic.consume queue=amq.rabbitmq.reply-to tag=c no_ack
        S1: basic.consume-ok tag=c
        C1: basic.cancel tag=c
        S1: basic.cancel-ok tag=c
        ",
    );
}

#[test]
fn both_ends_of_a_binding_are_checked() {
    refused(
        "'' ^q$ ''",
        "queue.bind queue=q exchange=x",
        "read access to exchange 'x' in vhost '/' refused for user 'u'' class=50 method=20",
    );
    refused(
        "'' ^y$ ''",
        "exchange.bind destination=y source=x",
        "read access to exchange 'x' in vhost '/' refused for user 'u'' class=40 method=30",
    );
}

#[test]
fn dead_letter_and_alternate_exchanges_are_checked() {
    refused(
        "n '' ''",
        "queue.declare queue=n arguments={x-dead-letter-exchange=S:x}",
        "read access to queue 'n' in vhost '/' refused for user 'u'' class=50 method=10",
    );
    refused(
        "n '' n",
        "queue.declare queue=n arguments={x-dead-letter-exchange=S:x}",
        "write access to exchange 'x' in vhost '/' refused for user 'u'' class=50 method=10",
    );
    refused(
        "n '' n",
        "exchange.declare exchange=n type=direct arguments={alternate-exchange=S:x}",
        "write access to exchange 'x' in vhost '/' refused for user 'u'' class=40 method=10",
    );
}

#[test]
fn topics_are_checked_on_publish_and_bind() {
    for (line, close) in [
        (
            "publish exchange=x key=z",
            "write access to topic 'z' in exchange 'x' in vhost '/' refused for user 'u'' class=60 method=40",
        ),
        (
            "publish exchange=x key=a headers={CC=A[S:z]}",
            "write access to topic 'z' in exchange 'x' in vhost '/' refused for user 'u'' class=60 method=40",
        ),
        (
            "queue.bind queue=q exchange=x key=#",
            "read access to topic '#' in exchange 'x' in vhost '/' refused for user 'u'' class=50 method=20",
        ),
        (
            "queue.unbind queue=q exchange=x key=z",
            "read access to topic 'z' in exchange 'x' in vhost '/' refused for user 'u'' class=50 method=50",
        ),
        (
            "exchange.bind destination=y source=x key=#",
            "read access to topic '#' in exchange 'x' in vhost '/' refused for user 'u'' class=40 method=30",
        ),
    ] {
        check(&format!(
            "user u
permit u topic x ^a ^b
D1: exchange.declare exchange=x type=topic
T1: exchange.declare-ok
D1: exchange.declare exchange=y type=topic
T1: exchange.declare-ok
D1: queue.declare queue=q
T1: queue.declare-ok queue=q
C: log in user=u
C1: publish exchange=x key=a.1
C1: queue.bind queue=q exchange=x key=b.#
S1: queue.bind-ok
C1: {line}
S1: channel.close code=403 text='ACCESS_REFUSED - {close}"
        ));
    }
}

#[test]
fn a_permission_that_is_taken_away_holds_for_known_routes_too() {
    check(
        "
        user u
        D1: queue.declare queue=q
        T1: queue.declare-ok queue=q
        C: log in user=u
        C1: publish key=q
        C1: publish key=q
        permit u '' '' ''
        C1: publish key=q
        S1: channel.close code=403 text='ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'' class=60 method=40
        D1: queue.declare queue=q passive
        T1: queue.declare-ok queue=q messages=2
        ",
    );
}

#[test]
fn the_exchange_type_is_looked_at_before_permissions() {
    check(
        "
        user u
        permit u '' '' ''
        C: log in user=u
        C1: exchange.declare exchange=n type=nonsense
        S1: channel.close code=406 text='PRECONDITION_FAILED - unknown exchange type 'nonsense'' class=40 method=10
        C2: queue.declare queue=amq.x
        S2: channel.close code=403 text='ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'' class=50 method=10
        ",
    );
}
