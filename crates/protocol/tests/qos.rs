//! basic.qos: prefetch of one consumer and of all.

use crate::script::check;

#[test]
fn a_prefetch_applies_to_later_consumers() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=r
        S1: queue.declare-ok queue=r
        C1: basic.consume queue=q tag=old
        S1: basic.consume-ok tag=old
        C1: basic.qos count=1
        S1: basic.qos-ok
        C1: basic.consume queue=r tag=new
        S1: basic.consume-ok tag=new
        C1: publish key=q body=1 \\
        C1: publish key=q body=2
        S1: basic.deliver tag=old delivery=1 key=q | | 1
        S1: basic.deliver tag=old delivery=2 key=q | | 2
        C1: publish key=r body=3 \\
        C1: publish key=r body=4
        S1: basic.deliver tag=new delivery=3 key=r | | 3
        C1: basic.qos count=0
        S1: basic.qos-ok
        C1: basic.ack delivery=3
        S1: basic.deliver tag=new delivery=4 key=r | | 4
        ",
    );
}

#[test]
fn a_global_prefetch_is_shared_by_the_consumers_of_a_channel() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=r
        S1: queue.declare-ok queue=r
        C1: basic.qos count=2 global
        S1: basic.qos-ok
        C1: basic.consume queue=q tag=a
        S1: basic.consume-ok tag=a
        C1: basic.consume queue=r tag=b
        S1: basic.consume-ok tag=b
        C1: publish key=q body=1 \\
        C1: publish key=q body=2 \\
        C1: publish key=q body=3
        S1: basic.deliver tag=a delivery=1 key=q | | 1
        S1: basic.deliver tag=a delivery=2 key=q | | 2
        C1: basic.ack delivery=1
        S1: basic.deliver tag=a delivery=3 key=q | | 3
        C1: publish key=r body=4
        C1: basic.qos count=4 global
        S1: basic.qos-ok
        S1: basic.deliver tag=b delivery=4 key=r | | 4
        C1: publish key=r body=5 \\
        C1: publish key=r body=6
        S1: basic.deliver tag=b delivery=5 key=r | | 5
        C1: basic.ack delivery=3 multiple
        S1: basic.deliver tag=b delivery=6 key=r | | 6
        ",
    );
}

#[test]
fn credit_given_back_reaches_the_other_queue() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=r
        S1: queue.declare-ok queue=r
        C1: basic.qos count=1 global
        S1: basic.qos-ok
        C1: basic.consume queue=q tag=a
        S1: basic.consume-ok tag=a
        C1: basic.consume queue=r tag=b
        S1: basic.consume-ok tag=b
        C1: publish key=q body=1
        S1: basic.deliver tag=a delivery=1 key=q | | 1
        C1: publish key=r body=2
        C1: basic.ack delivery=1
        S1: basic.deliver tag=b delivery=2 key=r | | 2
        ",
    );
}

#[test]
fn a_global_limit_holds_for_consumers_that_were_there_before() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.consume queue=q tag=a
        S1: basic.consume-ok tag=a
        C1: publish key=q body=1
        S1: basic.deliver tag=a delivery=1 key=q | | 1
        C1: publish key=q body=2
        S1: basic.deliver tag=a delivery=2 key=q | | 2
        C1: basic.qos count=2 global
        S1: basic.qos-ok
        C1: publish key=q body=3
        C1: basic.ack delivery=1
        S1: basic.deliver tag=a delivery=3 key=q | | 3
        ",
    );
}

#[test]
fn get_is_never_limited() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.qos count=1 global
        S1: basic.qos-ok
        C1: publish key=q body=1 \\
        C1: publish key=q body=2
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q messages=1 | | 1
        C1: basic.consume queue=q tag=a
        S1: basic.consume-ok tag=a
        S1: basic.deliver tag=a delivery=2 key=q | | 2
        ",
    );
}

#[test]
fn a_size_is_not_implemented() {
    check(
        "
        C1: basic.qos size=10 count=1 global
        S: connection.close code=540 text='NOT_IMPLEMENTED - prefetch_size!=0 (10)' class=60 method=10
        ",
    );
}

#[test]
fn quorum_queues_refuse_a_global_prefetch() {
    check(
        "
        C1: queue.declare queue=q durable arguments={x-queue-type=S:quorum}
        S1: queue.declare-ok queue=q
        C1: basic.qos count=5 global
        S1: basic.qos-ok
        C1: basic.qos count=0 global
        S1: basic.qos-ok
        C1: basic.consume queue=q tag=c
        S1: basic.consume-ok tag=c
        C1: basic.qos count=5 global
        S1: basic.qos-ok
        C1: basic.consume queue=q tag=d
        S: connection.close code=540 text='NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos' class=60 method=20
        ",
    );
}
