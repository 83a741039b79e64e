//! Answers that come later: what is held back behind them, and what is not.

use crate::script::check;

#[test]
fn frames_wait_behind_a_call_in_their_order() {
    check(
        "
        C1: confirm.select
        S1: confirm.select-ok
        node defers
        C1: queue.declare queue=q
        C1: publish key=q body=1
        C1: queue.declare queue=q passive
        C1: basic.qos count=1
        node answers 1
        S1: queue.declare-ok queue=q
        S1: basic.ack delivery=1
        node answers 1
        S1: queue.declare-ok queue=q messages=1
        S1: basic.qos-ok
        ",
    );
}

#[test]
fn other_channels_do_not_wait() {
    check(
        "
        C2: confirm.select
        S2: confirm.select-ok
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        node defers
        C1: queue.purge queue=q
        C2: publish key=q body=1
        S2: basic.ack delivery=1
        C2: basic.qos count=3
        S2: basic.qos-ok
        node answers
        S1: queue.purge-ok messages=1
        ",
    );
}

#[test]
fn a_channel_opens_late() {
    check(
        "
        C: log in
        node defers
        C1: channel.open \\
        C1: confirm.select
        node prompt
        node answers
        S1: channel.open-ok
        S1: confirm.select-ok
        ",
    );
}

#[test]
fn a_connection_opens_late() {
    check(
        "
        node defers
        C: log in
        node prompt
        node answers
        S: connection.open-ok
        C1: channel.open
        S1: channel.open-ok
        ",
    );
}

#[test]
fn an_error_that_comes_late_drops_what_was_held() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C2: queue.declare queue=other
        S2: queue.declare-ok queue=other
        node defers
        C1: queue.delete queue=q if_empty
        C1: publish key=other body=lost
        C2: publish key=q body=x
        node answers
        S1: channel.close code=406 text='PRECONDITION_FAILED - queue 'q' in vhost '/' not empty' class=50 method=40
        holds
        # q: 1 ready, 0 unacked
        # other: 0 ready, 0 unacked
        ",
    );
}

#[test]
fn consume_ok_comes_before_the_deliveries() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1
        node defers
        C1: basic.consume queue=q tag=c
        C1: publish key=q body=2
        node answers
        S1: basic.consume-ok tag=c
        S1: basic.deliver tag=c delivery=1 key=q | | 1
        S1: basic.deliver tag=c delivery=2 key=q | | 2
        ",
    );
}

#[test]
fn a_get_whose_channel_is_gone_loses_nothing() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1
        node defers
        C2: basic.get queue=q
        C1: queue.declare queue=none passive
        S1: channel.close code=404 text='NOT_FOUND - no queue 'none' in vhost '/'' class=50 method=10
        force bye
        S: connection.close code=320 text='CONNECTION_FORCED - bye'
        node answers
        holds
        # q: 1 ready, 0 unacked
        ",
    );
}

#[test]
fn a_consumer_whose_channel_is_gone_is_cancelled() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        node defers
        C2: basic.consume queue=q tag=c
        force bye
        S: connection.close code=320 text='CONNECTION_FORCED - bye'
        node answers
        node prompt
        D1: publish key=q body=1
        D1: queue.declare queue=q passive
        T1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn close_ok_waits_until_the_consumers_are_gone() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=c
        S1: basic.consume-ok tag=c
        node defers
        C1: channel.close code=200
        node answers
        S1: channel.close-ok
        C1: channel.open
        node answers
        S1: channel.open-ok
        ",
    );
}

#[test]
fn close_ok_waits_until_the_exclusive_queues_are_gone() {
    check(
        "
        C1: queue.declare queue=q exclusive
        S1: queue.declare-ok queue=q
        node defers
        C: connection.close code=200
        node answers
        S: connection.close-ok
        holds
        ",
    );
}

#[test]
fn commits_hold_back_what_follows() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: tx.select
        S1: tx.select-ok
        C1: publish key=q body=1 \\
        C1: tx.commit \\
        C1: publish key=q body=2 \\
        C1: tx.rollback \\
        C1: queue.declare queue=q passive
        S1: tx.commit-ok
        S1: tx.rollback-ok
        S1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn too_much_behind_a_call_is_not_read() {
    let mut script = "C1: queue.declare queue=q\nS1: queue.declare-ok queue=q\nnode defers\nC1: queue.declare queue=q passive".to_owned();
    for _ in 0..9 {
        script += "\nC1: publish key=q body=100000*x";
    }
    script += "\nC2: channel.open\nnode prompt\nnode answers\nS1: queue.declare-ok queue=q\nS2: channel.open-ok\nC2: queue.declare queue=q passive\nS2: queue.declare-ok queue=q messages=9";
    check(&script);
}
