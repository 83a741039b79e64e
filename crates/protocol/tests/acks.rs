//! ack, nack, reject and recover.

use crate::script::check;

/// Three messages got from `q`, then `lines`.
#[track_caller]
fn three(lines: &str) {
    check(&format!(
        "C1: queue.declare queue=q
S1: queue.declare-ok queue=q
C1: publish key=q body=1 \\
C1: publish key=q body=2 \\
C1: publish key=q body=3
C1: basic.get queue=q
S1: basic.get-ok delivery=1 key=q messages=2 | | 1
C1: basic.get queue=q
S1: basic.get-ok delivery=2 key=q messages=1 | | 2
C1: basic.get queue=q
S1: basic.get-ok delivery=3 key=q | | 3
{lines}"
    ));
}

/// The close for an unknown tag.
fn unknown(tag: u64, method: u16) -> String {
    format!(
        "S1: channel.close code=406 text='PRECONDITION_FAILED - unknown delivery tag {tag}' class=60 method={method}"
    )
}

#[test]
fn acks_in_any_order() {
    three(
        "C1: basic.ack delivery=2\nC1: basic.ack delivery=1\nC1: basic.ack delivery=3\nholds\n# q: 0 ready, 0 unacked",
    );
    three(
        "C1: basic.ack delivery=1\nC1: basic.ack delivery=3 multiple\nholds\n# q: 0 ready, 0 unacked",
    );
    three("C1: basic.ack multiple\nC1: basic.ack multiple\nholds\n# q: 0 ready, 0 unacked");
}

#[test]
fn unknown_tags() {
    three(&format!("C1: basic.ack delivery=2\nC1: basic.ack delivery=2\n{}", unknown(2, 80)));
    three(&format!(
        "C1: basic.ack delivery=9 multiple\n{}\nholds\n# q: 3 ready, 0 unacked",
        unknown(9, 80)
    ));
    three(&format!("C1: basic.ack\n{}", unknown(0, 80)));
    three(&format!("C1: basic.nack delivery=4 requeue\n{}", unknown(4, 120)));
    three(&format!("C1: basic.reject delivery=4\n{}", unknown(4, 90)));
    three(&format!(
        "C1: basic.ack delivery=1\nC1: basic.ack delivery=2 multiple\nC1: basic.ack delivery=1 multiple\n{}",
        unknown(1, 80)
    ));
}

#[test]
fn tags_of_deliveries_without_ack_are_unknown() {
    check(&format!(
        "C1: queue.declare queue=q
S1: queue.declare-ok queue=q
C1: publish key=q body=1
C1: basic.consume queue=q tag=c no_ack
S1: basic.consume-ok tag=c
S1: basic.deliver tag=c delivery=1 key=q | | 1
C1: basic.ack delivery=1
{}",
        unknown(1, 80)
    ));
}

#[test]
fn returned_messages_go_back_to_their_place() {
    three(
        "C1: basic.nack delivery=2 requeue
C1: publish key=q body=4
C1: basic.reject delivery=1 requeue
C1: basic.get queue=q no_ack
S1: basic.get-ok delivery=4 redelivered key=q messages=2 | | 1
C1: basic.get queue=q no_ack
S1: basic.get-ok delivery=5 redelivered key=q messages=1 | | 2
C1: basic.get queue=q no_ack
S1: basic.get-ok delivery=6 key=q | | 4
C1: basic.nack delivery=3 multiple
holds
# q: 0 ready, 0 unacked",
    );
}

#[test]
fn rejected_messages_are_dead_lettered() {
    check(
        "
        C1: queue.declare queue=d
        S1: queue.declare-ok queue=d
        C1: queue.declare queue=q arguments={x-dead-letter-exchange=S:, x-dead-letter-routing-key=S:d}
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q | | 1
        C1: basic.reject delivery=1
        holds
        # d: 1 ready, 0 unacked
        # q: 0 ready, 0 unacked
        ",
    );
}

#[test]
fn recover_returns_everything() {
    check(&format!(
        "C1: queue.declare queue=q
S1: queue.declare-ok queue=q
C1: publish key=q body=1 \\
C1: publish key=q body=2 \\
C1: publish key=q body=3
C1: basic.consume queue=q tag=c
S1: basic.consume-ok tag=c
S1: basic.deliver tag=c delivery=1 key=q | | 1
S1: basic.deliver tag=c delivery=2 key=q | | 2
S1: basic.deliver tag=c delivery=3 key=q | | 3
C1: basic.ack delivery=2
C1: basic.recover requeue
S1: basic.recover-ok
S1: basic.deliver tag=c delivery=4 redelivered key=q | | 1
S1: basic.deliver tag=c delivery=5 redelivered key=q | | 3
C1: basic.recover-async requeue
S1: basic.deliver tag=c delivery=6 redelivered key=q | | 1
S1: basic.deliver tag=c delivery=7 redelivered key=q | | 3
C1: basic.ack delivery=1
{}",
        unknown(1, 80)
    ));
}

#[test]
fn recover_without_requeue_is_not_implemented() {
    for (line, id) in [("basic.recover", 110), ("basic.recover-async", 100)] {
        check(&format!(
            "C1: {line}\nS: connection.close code=540 text='NOT_IMPLEMENTED - requeue=false' class=60 method={id}"
        ));
    }
}

#[test]
fn acks_for_a_deleted_queue_are_taken() {
    three(
        "C2: queue.delete queue=q
S2: queue.delete-ok
C1: basic.ack delivery=1
C1: basic.nack delivery=2 requeue
C1: basic.recover requeue
S1: basic.recover-ok",
    );
}

#[test]
fn one_ack_may_cover_two_queues() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=r
        S1: queue.declare-ok queue=r
        C1: publish key=q body=1 \\
        C1: publish key=r body=2 \\
        C1: publish key=q body=3
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q messages=1 | | 1
        C1: basic.get queue=r
        S1: basic.get-ok delivery=2 key=r | | 2
        C1: basic.get queue=q
        S1: basic.get-ok delivery=3 key=q | | 3
        C1: basic.ack delivery=2 multiple
        holds
        # q: 0 ready, 1 unacked
        # r: 0 ready, 0 unacked
        ",
    );
}
