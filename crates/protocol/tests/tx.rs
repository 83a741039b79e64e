//! Transactions.

use crate::script::check;

#[test]
fn nothing_happens_before_commit() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=old
        C1: tx.select
        S1: tx.select-ok
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q | | old
        C1: basic.ack delivery=1
        C1: publish key=q body=1
        C1: publish key=none mandatory body=2
        holds
        # q: 0 ready, 1 unacked
        C1: tx.commit
        S1: basic.return code=312 text=NO_ROUTE key=none | | 2
        S1: tx.commit-ok
        holds
        # q: 1 ready, 0 unacked
        C1: tx.commit
        S1: tx.commit-ok
        ",
    );
}

#[test]
fn rollback_drops_publishes_and_restores_acks() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=old
        C1: tx.select
        S1: tx.select-ok
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q | | old
        C1: basic.ack delivery=1
        C1: publish key=q body=new
        C1: publish key=none mandatory body=2
        C1: tx.rollback
        S1: tx.rollback-ok
        holds
        # q: 0 ready, 1 unacked
        C1: basic.ack delivery=1
        C1: tx.commit
        S1: tx.commit-ok
        holds
        # q: 0 ready, 0 unacked
        ",
    );
}

#[test]
fn closing_the_channel_is_a_rollback() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=old
        C9: tx.select
        S9: tx.select-ok
        C9: basic.get queue=q
        S9: basic.get-ok delivery=1 key=q | | old
        C9: basic.ack delivery=1
        C9: publish key=q body=new
        C9: channel.close code=200
        S9: channel.close-ok
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 redelivered key=q | | old
        ",
    );
}

#[test]
fn acks_of_a_transaction_are_not_recovered() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=1 \\
        C1: publish key=q body=2
        C1: tx.select
        S1: tx.select-ok
        C1: basic.get queue=q
        S1: basic.get-ok delivery=1 key=q messages=1 | | 1
        C1: basic.get queue=q
        S1: basic.get-ok delivery=2 key=q | | 2
        C1: basic.ack delivery=1
        C1: basic.recover requeue
        S1: basic.recover-ok
        C1: tx.commit
        S1: tx.commit-ok
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=3 redelivered key=q | | 2
        ",
    );
}

#[test]
fn a_queue_that_refuses_fails_the_commit() {
    check(
        "
        C1: queue.declare queue=q arguments={x-max-length=I:1, x-overflow=S:reject-publish}
        S1: queue.declare-ok queue=q
        C1: tx.select
        S1: tx.select-ok
        C1: publish key=q body=1
        C1: tx.commit
        S1: tx.commit-ok
        C1: publish key=q body=2
        C1: tx.commit
        S1: channel.close code=406 text='PRECONDITION_FAILED - partial tx completion' class=90 method=20
        ",
    );
}

#[test]
fn commit_and_rollback_need_select() {
    let error = "code=406 text='PRECONDITION_FAILED - channel is not transactional'";
    check(&format!(
        "C1: tx.commit
S1: channel.close {error} class=90 method=20
C2: tx.rollback
S2: channel.close {error} class=90 method=30
C3: confirm.select
S3: confirm.select-ok
C3: tx.commit
S3: channel.close {error} class=90 method=20
C4: tx.select
S4: tx.select-ok
C4: tx.select
S4: tx.select-ok"
    ));
}

#[test]
fn an_error_in_a_publish_drops_the_transaction() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C9: tx.select
        S9: tx.select-ok
        C9: publish key=q body=1
        C9: publish exchange=none body=2
        S9: channel.close code=404 text='NOT_FOUND - no exchange 'none' in vhost '/'' class=60 method=40
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q
        ",
    );
}

#[test]
fn large_bodies_of_a_transaction_arrive_whole() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: tx.select
        S1: tx.select-ok
        C1: publish key=q body=100000*x
        C1: publish key=q body=small
        C1: tx.commit
        S1: tx.commit-ok
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q messages=1 | | <100000 bytes>
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=2 key=q | | small
        ",
    );
}
