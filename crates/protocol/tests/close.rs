//! Closing channels and connections, from either side.

use crate::script::check;

#[test]
fn after_a_channel_error_everything_but_close_ok_is_dropped() {
    check(
        "
        C2: queue.declare queue=q
        S2: queue.declare-ok queue=q
        C1: queue.declare queue=none passive
        S1: channel.close code=404 text='NOT_FOUND - no queue 'none' in vhost '/'' class=50 method=10
        C1: publish key=q body=lost
        C1: queue.declare queue=also passive
        C2: queue.declare queue=q passive
        S2: queue.declare-ok queue=q
        C1: channel.close-ok
        C1: channel.open
        S1: channel.open-ok
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q
        ",
    );
}

#[test]
fn closes_of_a_channel_may_cross() {
    check(
        "
        C1: queue.declare queue=none passive
        S1: channel.close code=404 text='NOT_FOUND - no queue 'none' in vhost '/'' class=50 method=10
        C1: channel.close code=200
        S1: channel.close-ok
        C1: channel.close-ok
        C1: channel.open
        S1: channel.open-ok
        ",
    );
}

#[test]
fn a_closing_channel_cannot_be_opened() {
    check(
        "
        C1: queue.declare queue=none passive
        S1: channel.close code=404 text='NOT_FOUND - no queue 'none' in vhost '/'' class=50 method=10
        C1: channel.open
        S: connection.close code=504 text='CHANNEL_ERROR - second 'channel.open' seen' class=20 method=10
        ",
    );
}

#[test]
fn a_number_that_was_closed_starts_afresh() {
    check(
        "
        C1: queue.declare queue=q exclusive
        S1: queue.declare-ok queue=q
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish key=q body=x
        S1: basic.ack delivery=1
        C1: basic.consume queue=q tag=t
        S1: basic.consume-ok tag=t
        S1: basic.deliver tag=t delivery=1 key=q | | x
        C1: channel.close code=200
        S1: channel.close-ok
        C1: channel.open
        S1: channel.open-ok
        C1: basic.get
        S1: channel.close code=404 text='NOT_FOUND - no previously declared queue' class=60 method=70
        C1: channel.close-ok
        C1: channel.open
        S1: channel.open-ok
        C1: basic.consume queue=q tag=t
        S1: basic.consume-ok tag=t
        S1: basic.deliver tag=t delivery=1 redelivered key=q | | x
        C1: publish key=q body=y
        S1: basic.deliver tag=t delivery=2 key=q | | y
        ",
    );
}

#[test]
fn closing_a_channel_returns_what_is_unacked_before_close_ok() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1 \\
        C1: publish key=q body=2
        C1: basic.consume queue=q tag=t
        S1: basic.consume-ok tag=t
        S1: basic.deliver tag=t delivery=1 key=q | | 1
        S1: basic.deliver tag=t delivery=2 key=q | | 2
        C1: basic.ack delivery=1
        C1: channel.close code=200 \\
        C2: queue.declare queue=q passive
        S1: channel.close-ok
        S2: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn a_client_that_closes_gets_close_ok_and_closes_the_socket_itself() {
    check(
        "
        C: log in
        C: connection.close code=200
        S: connection.close-ok
        + 29s
        + 1s
        S: closed
        D: log in heartbeat=3
        D: connection.close code=200
        T: connection.close-ok
        + 3s
        T: closed
        ",
    );
}

#[test]
fn exclusive_queues_are_gone_before_close_ok() {
    check(
        "
        C1: queue.declare queue=q exclusive
        S1: queue.declare-ok queue=q
        C: connection.close code=200
        S: connection.close-ok
        D1: queue.declare queue=q exclusive
        T1: queue.declare-ok queue=q
        ",
    );
}

#[test]
fn a_lost_socket_returns_everything() {
    check(
        "
        D1: queue.declare queue=q
        T1: queue.declare-ok queue=q
        D1: publish key=q body=1
        C1: basic.consume queue=q tag=t
        S1: basic.consume-ok tag=t
        S1: basic.deliver tag=t delivery=1 key=q | | 1
        C: gone
        D1: basic.get queue=q no_ack
        T1: basic.get-ok delivery=1 redelivered key=q | | 1
        ",
    );
}

#[test]
fn a_server_that_closed_obeys_nothing_more() {
    check(
        "
        C1: basic.qos size=1
        S: connection.close code=540 text='NOT_IMPLEMENTED - prefetch_size!=0 (1)' class=60 method=10
        C1: queue.declare queue=late
        C: connection.close code=200
        S: connection.close-ok
        D1: queue.declare queue=late passive
        T1: channel.close code=404 text='NOT_FOUND - no queue 'late' in vhost '/'' class=50 method=10
        C: connection.close-ok
        S: closed
        ",
    );
}

#[test]
fn a_client_that_never_answers_close_is_dropped() {
    check(
        "
        C: log in heartbeat=3
        C1: basic.qos size=1
        S: connection.close code=540 text='NOT_IMPLEMENTED - prefetch_size!=0 (1)' class=60 method=10
        + 2900ms
        + 100ms
        S: closed
        D1: basic.qos size=1
        T: connection.close code=540 text='NOT_IMPLEMENTED - prefetch_size!=0 (1)' class=60 method=10
        + 29s
        + 1s
        T: closed
        ",
    );
}

#[test]
fn the_connection_may_close_in_the_middle_of_content() {
    check(
        "
        C1: basic.publish key=q
        C1: content size=5
        C: connection.close code=200
        S: connection.close-ok
        ",
    );
}

#[test]
fn the_node_closes_connections() {
    check(
        "
        C: log in
        D: connect
        force Closed via management plugin
        S: connection.close code=320 text='CONNECTION_FORCED - Closed via management plugin'
        T: closed
        C: connection.close-ok
        S: closed
        E: log in
        force broker forced connection closure with reason 'shutdown'
        U: connection.close code=320 text='CONNECTION_FORCED - broker forced connection closure with reason 'shutdown''
        ",
    );
}

#[test]
fn flow_and_access_are_answered() {
    check(
        "
        C1: channel.flow active
        S1: channel.flow-ok active
        C1: access.request realm=/data active
        S1: access.request-ok ticket=1
        C1: queue.declare ticket=777 queue=q
        S1: queue.declare-ok queue=q
        C1: channel.flow
        S: connection.close code=540 text='NOT_IMPLEMENTED - active=false' class=20 method=20
        ",
    );
}
