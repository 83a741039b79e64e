//! Direct reply-to.

use crate::script::check;

const ASK: &str = "D1: queue.declare queue=rpc
T1: queue.declare-ok queue=rpc
C1: basic.consume queue=amq.rabbitmq.reply-to tag=rep no_ack
S1: basic.consume-ok tag=rep
C1: publish key=rpc reply_to=amq.rabbitmq.reply-to correlation_id=c1 body=ask
D1: basic.get queue=rpc no_ack
T1: basic.get-ok delivery=1 key=rpc | correlation_id=c1 reply_to=amq.rabbitmq.reply-to.t2-1-1 | ask";

#[test]
fn replies_reach_the_channel_that_asked() {
    check(&format!(
        "{ASK}
D1: confirm.select
T1: confirm.select-ok
D1: queue.declare queue=amq.rabbitmq.reply-to.t2-1-1 passive
T1: queue.declare-ok queue=amq.rabbitmq.reply-to.t2-1-1 consumers=1
D1: queue.declare queue=amq.rabbitmq.reply-to passive
T1: queue.declare-ok queue=amq.rabbitmq.reply-to consumers=1
D1: publish key=amq.rabbitmq.reply-to.t2-1-1 body=one
S1: basic.deliver tag=rep delivery=1 key=amq.rabbitmq.reply-to.t2-1-1 | | one
T1: basic.ack delivery=1
D1: publish key=amq.rabbitmq.reply-to.t2-1-1 mandatory correlation_id=c1 body=two
S1: basic.deliver tag=rep delivery=2 key=amq.rabbitmq.reply-to.t2-1-1 | correlation_id=c1 | two
T1: basic.ack delivery=2
C1: basic.cancel tag=rep
S1: basic.cancel-ok tag=rep
D1: publish key=amq.rabbitmq.reply-to.t2-1-1 mandatory body=three
T1: basic.ack delivery=3
D1: queue.declare queue=amq.rabbitmq.reply-to.t2-1-1 passive
T1: channel.close code=404 text='NOT_FOUND - no queue 'amq.rabbitmq.reply-to.t2-1-1' in vhost '/'' class=50 method=10"
    ));
}

#[test]
fn the_address_dies_with_its_channel() {
    check(&format!(
        "{ASK}
C1: channel.close code=200
S1: channel.close-ok
C1: channel.open
S1: channel.open-ok
C1: basic.consume queue=amq.rabbitmq.reply-to tag=rep no_ack
S1: basic.consume-ok tag=rep
D1: publish key=amq.rabbitmq.reply-to.t2-1-1 body=late
D1: queue.declare queue=amq.rabbitmq.reply-to.t2-1-1 passive
T1: channel.close code=404 text='NOT_FOUND - no queue 'amq.rabbitmq.reply-to.t2-1-1' in vhost '/'' class=50 method=10"
    ));
}

#[test]
fn one_consumer_without_acks_on_each_channel() {
    check(
        "
        C1: basic.consume queue=amq.rabbitmq.reply-to tag=a
        S1: channel.close code=406 text='PRECONDITION_FAILED - reply consumer cannot acknowledge' class=60 method=20
        C2: basic.consume queue=amq.rabbitmq.reply-to tag=a no_ack
        S2: basic.consume-ok tag=a
        C2: basic.consume queue=amq.rabbitmq.reply-to tag=b no_ack
        S2: channel.close code=406 text='PRECONDITION_FAILED - reply consumer already set' class=60 method=20
        C3: publish key=rpc reply_to=amq.rabbitmq.reply-to
        S3: channel.close code=406 text='PRECONDITION_FAILED - fast reply consumer does not exist' class=60 method=40
        ",
    );
}

#[test]
fn the_pseudo_queue_is_no_queue() {
    check(
        "
        C1: queue.bind queue=amq.rabbitmq.reply-to exchange=amq.direct key=k
        S1: channel.close code=404 text='NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'' class=50 method=20
        C2: queue.delete queue=amq.rabbitmq.reply-to
        S2: queue.delete-ok
        C2: queue.unbind queue=amq.rabbitmq.reply-to exchange=amq.direct key=k
        S2: queue.unbind-ok
        C2: basic.get queue=amq.rabbitmq.reply-to
        S2: channel.close code=404 text='NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'' class=60 method=70
        ",
    );
}

#[test]
fn replies_of_a_transaction_wait_for_its_commit() {
    check(&format!(
        "{ASK}
D1: tx.select
T1: tx.select-ok
D1: publish key=amq.rabbitmq.reply-to.t2-1-1 body=one
D1: tx.commit
S1: basic.deliver tag=rep delivery=1 key=amq.rabbitmq.reply-to.t2-1-1 | | one
T1: tx.commit-ok"
    ));
}
