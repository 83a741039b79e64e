//! Publisher confirms.

use crate::script::check;

#[test]
fn numbering_starts_with_confirm_select() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=unnumbered
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish key=q body=1
        S1: basic.ack delivery=1
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish key=none
        S1: basic.ack delivery=2
        C1: publish key=q delivery_mode=2 body=3
        S1: basic.ack delivery=3
        ",
    );
}

#[test]
fn confirms_of_a_batch_are_one_ack() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=r
        S1: queue.declare-ok queue=r
        C1: queue.bind queue=q exchange=amq.fanout
        S1: queue.bind-ok
        C1: queue.bind queue=r exchange=amq.fanout
        S1: queue.bind-ok
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish key=q \\
        C1: publish key=none \\
        C1: publish exchange=amq.fanout \\
        C1: publish key=r
        S1: basic.ack delivery=4 multiple
        ",
    );
}

#[test]
fn a_full_queue_refuses() {
    check(
        "
        C1: queue.declare queue=q arguments={x-max-length=I:1, x-overflow=S:reject-publish}
        S1: queue.declare-ok queue=q
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish key=q body=1 \\
        C1: publish key=q body=2 \\
        C1: publish key=none body=3
        S1: basic.ack delivery=1
        S1: basic.ack delivery=3
        S1: basic.nack delivery=2
        ",
    );
}

#[test]
fn channels_confirm_for_themselves() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: confirm.select
        S1: confirm.select-ok
        C2: confirm.select
        S2: confirm.select-ok
        C1: publish key=q \\
        C2: publish key=q \\
        C1: publish key=q
        S2: basic.ack delivery=1
        S1: basic.ack delivery=2 multiple
        ",
    );
}

#[test]
fn confirms_and_transactions_exclude_each_other() {
    check(
        "
        C1: confirm.select
        S1: confirm.select-ok
        C1: tx.select
        S1: channel.close code=406 text='PRECONDITION_FAILED - cannot switch from confirm to tx mode' class=90 method=10
        C2: tx.select
        S2: tx.select-ok
        C2: confirm.select
        S2: channel.close code=406 text='PRECONDITION_FAILED - cannot switch from tx to confirm mode' class=85 method=10
        ",
    );
}

#[test]
fn a_message_that_closed_the_channel_is_not_confirmed() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C9: confirm.select
        S9: confirm.select-ok
        C9: publish exchange=none key=q
        S9: channel.close code=404 text='NOT_FOUND - no exchange 'none' in vhost '/'' class=60 method=40
        ",
    );
}
