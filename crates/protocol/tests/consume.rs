//! Consumers: starting, being served, ending; and basic.get.

use leveret_protocol::ConnectionConfig;

use crate::script::{check, check_with};

#[test]
fn consumers_take_turns() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=a no_ack
        S1: basic.consume-ok tag=a
        C1: basic.consume queue=q tag=b no_ack
        S1: basic.consume-ok tag=b
        C1: publish key=q body=1
        S1: basic.deliver tag=a delivery=1 key=q | | 1
        C1: publish key=q body=2
        S1: basic.deliver tag=b delivery=2 key=q | | 2
        C1: publish key=q body=3
        S1: basic.deliver tag=a delivery=3 key=q | | 3
        ",
    );
}

#[test]
fn tags_are_unique_on_their_channel() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q
        S1: basic.consume-ok tag=amq.ctag-AQEBAQEBAQEBAQEBAQEBAQ
        C1: basic.consume queue=q tag=t
        S1: basic.consume-ok tag=t
        C2: basic.consume queue=q tag=t
        S2: basic.consume-ok tag=t
        C1: basic.cancel tag=t
        S1: basic.cancel-ok tag=t
        C1: basic.consume queue=q tag=t
        S1: basic.consume-ok tag=t
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q consumers=3
        C1: basic.consume queue=q tag=t
        S: connection.close code=530 text='NOT_ALLOWED - attempt to reuse consumer tag 't'' class=60 method=20
        ",
    );
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let in_use = "code=403 text='ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use' class=60 method=20";
    check(&format!(
        "C1: queue.declare queue=q
S1: queue.declare-ok queue=q
C1: basic.consume queue=q tag=x exclusive
S1: basic.consume-ok tag=x
C2: basic.consume queue=q tag=y
S2: channel.close {in_use}
C3: basic.consume queue=q tag=z exclusive
S3: channel.close {in_use}
C1: basic.cancel tag=x
S1: basic.cancel-ok tag=x
C4: basic.consume queue=q tag=y
S4: basic.consume-ok tag=y
C5: basic.consume queue=q tag=z exclusive
S5: channel.close {in_use}"
    ));
}

#[test]
fn a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1
        C1: basic.consume queue=q tag=c
        S1: basic.consume-ok tag=c
        S1: basic.deliver tag=c delivery=1 key=q | | 1
        C1: basic.cancel tag=c
        S1: basic.cancel-ok tag=c
        C1: publish key=q body=2
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        C1: basic.ack delivery=1
        holds
        # q: 1 ready, 0 unacked
        C1: basic.cancel tag=none
        S1: basic.cancel-ok tag=none
        ",
    );
}

#[test]
fn consumers_of_a_deleted_queue_are_told_if_they_want_to_know() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1
        C1: basic.consume queue=q tag=c
        S1: basic.consume-ok tag=c
        S1: basic.deliver tag=c delivery=1 key=q | | 1
        D: log in capabilities={}
        D1: basic.consume queue=q tag=d
        T1: basic.consume-ok tag=d
        D2: queue.delete queue=q
        S1: basic.cancel tag=c nowait
        T2: queue.delete-ok
        C1: basic.ack delivery=1
        C1: basic.consume queue=amq.rabbitmq.reply-to tag=c no_ack
        S1: basic.consume-ok tag=c
        ",
    );
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    check(
        "
        C1: queue.declare queue=q auto_delete
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=c
        S1: basic.consume-ok tag=c
        C1: basic.cancel tag=c
        S1: basic.cancel-ok tag=c
        C1: queue.declare queue=q passive
        S1: channel.close code=404 text='NOT_FOUND - no queue 'q' in vhost '/'' class=50 method=10
        ",
    );
}

#[test]
fn priorities_must_be_numbers() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=lo
        S1: basic.consume-ok tag=lo
        C1: basic.consume queue=q tag=hi arguments={x-priority=I:5}
        S1: basic.consume-ok tag=hi
        C1: publish key=q body=1
        S1: basic.deliver tag=hi delivery=1 key=q | | 1
        C1: basic.consume queue=q tag=bad arguments={x-priority=S:5}
        S1: channel.close code=406 text='PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\"' class=60 method=20
        ",
    );
}

#[test]
fn consumers_of_a_channel_may_be_limited() {
    let config =
        ConnectionConfig { consumer_max_per_channel: Some(1), ..ConnectionConfig::default() };
    check_with(
        config,
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=a
        S1: basic.consume-ok tag=a
        C1: basic.consume queue=q tag=b
        S: connection.close code=530 text='NOT_ALLOWED - reached maximum (1) of consumers per channel' class=60 method=20
        ",
    );
}

#[test]
fn get_counts_what_is_left() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1 \\
        C1: publish key=q body=2 \\
        C1: publish key=q body=3
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q messages=2 | | 1
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=2 key=q messages=1 | | 2
        C1: basic.get queue=q
        S1: basic.get-ok delivery=3 key=q | | 3
        C1: basic.get queue=q
        S1: basic.get-empty
        C1: basic.ack delivery=3 multiple
        holds
        # q: 0 ready, 0 unacked
        ",
    );
}

#[test]
fn quorum_queues_with_a_single_active_consumer_refuse_get() {
    check(
        "
        C1: queue.declare queue=q durable arguments={x-queue-type=S:quorum, x-single-active-consumer=t:true}
        S1: queue.declare-ok queue=q
        C1: basic.get queue=q
        S1: channel.close code=405 text='RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are not supported by <<\"quorum\">> queues with single active consumer' class=60 method=70
        ",
    );
}

#[test]
fn deliveries_that_stay_unacked_too_long_close_the_channel() {
    check(
        "
        C1: queue.declare queue=q durable arguments={x-queue-type=S:quorum}
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=c
        S1: basic.consume-ok tag=c
        C1: publish key=q body=1
        S1: basic.deliver tag=c delivery=1 key=q | | 1
        + 1799s
        C1: basic.qos count=1
        S1: basic.qos-ok
        + 121s
        S1: channel.close code=406 text='PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms. This timeout value can be configured, see consumers doc guide to learn more'
        holds
        # q: 1 ready, 0 unacked
        ",
    );
}
