//! Resource alarms: who is told, who is blocked, and what a blocked connection is deaf to.

use crate::script::check;

#[test]
fn only_publishers_are_blocked_and_only_when_they_publish() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        D1: basic.consume queue=q tag=c no_ack
        T1: basic.consume-ok tag=c
        alarm low on memory
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q consumers=1
        C1: publish key=q body=x
        S: connection.blocked reason='low on memory'
        C1: queue.declare queue=q passive
        C: connection.close code=200
        D1: queue.declare queue=q passive
        T1: queue.declare-ok queue=q consumers=1
        alarm clears
        S: connection.unblocked
        S1: queue.declare-ok queue=q consumers=1
        S: connection.close-ok
        T1: basic.deliver tag=c delivery=1 key=q | | x
        ",
    );
}

#[test]
fn an_empty_message_passes_before_the_connection_is_blocked() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        alarm low on disk
        C1: publish key=q \\
        C1: publish key=q
        S: connection.blocked reason='low on disk'
        D1: queue.declare queue=q passive
        T1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn clients_without_the_capability_are_not_told() {
    check(
        "
        C: log in capabilities={}
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        alarm low on memory
        C1: publish key=q body=x
        C1: queue.declare queue=q passive
        alarm clears
        S1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn an_alarm_that_clears_in_time_blocks_nobody() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        alarm low on memory
        alarm clears
        C1: publish key=q body=x
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn a_blocked_client_is_not_expected_to_beat() {
    check(
        "
        C: log in heartbeat=10
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        alarm low on memory
        C1: publish key=q body=x
        S: connection.blocked reason='low on memory'
        + 14s
        S: heartbeat
        + 40s
        S: heartbeat
        S: heartbeat
        S: heartbeat
        S: heartbeat
        S: heartbeat
        S: heartbeat
        S: heartbeat
        S: heartbeat
        alarm clears
        S: connection.unblocked
        + 10s
        S: heartbeat
        + 15s
        S: heartbeat
        S: heartbeat
        S: heartbeat
        + 5s
        S: heartbeat
        S: closed
        ",
    );
}
