//! Exchange types beyond the four of the specification.

use crate::script::check;

#[test]
fn a_consistent_hash_exchange_has_weights_for_keys() {
    check(
        "
        C1: queue.declare queue=a
        S1: queue.declare-ok queue=a
        C1: queue.declare queue=b
        S1: queue.declare-ok queue=b
        C1: exchange.declare exchange=h type=x-consistent-hash
        S1: exchange.declare-ok
        C1: queue.bind queue=a exchange=h key=1
        S1: queue.bind-ok
        C1: queue.bind queue=b exchange=h key=1
        S1: queue.bind-ok
        C1: publish exchange=h key=one mandatory body=1
        C1: publish exchange=h key=one mandatory body=2
        C1: publish exchange=h key=two mandatory body=3
        C1: publish exchange=h key=three mandatory body=4
        C1: publish exchange=h key=four mandatory body=5
        C1: publish exchange=h key=five mandatory body=6
        C1: queue.unbind queue=a exchange=h key=1
        S1: queue.unbind-ok
        C1: queue.unbind queue=b exchange=h key=1
        S1: queue.unbind-ok
        C1: publish exchange=h key=one mandatory body=7
        S1: basic.return code=312 text=NO_ROUTE exchange=h key=one | | 7
        holds
        # a: 3 ready, 0 unacked
        # b: 3 ready, 0 unacked
        C1: queue.bind queue=a exchange=h key=x
        S1: channel.close code=406 text='PRECONDITION_FAILED - The binding key must be an integer: <<\"x\">>' class=50 method=20
        ",
    );
    check(
        "
        C1: exchange.declare exchange=h type=x-consistent-hash arguments={hash-header=S:a, hash-property=S:message_id}
        S1: channel.close code=406 text='PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive' class=40 method=10
        ",
    );
}

#[test]
fn a_recent_history_exchange_tells_a_new_binding_what_was() {
    check(
        "
        C1: exchange.declare exchange=h type=x-recent-history arguments={x-recent-history-length=I:2}
        S1: exchange.declare-ok
        C1: publish exchange=h key=k body=1
        C1: publish exchange=h key=k headers={x=I:1} expiration=1000 body=2
        C1: publish exchange=h key=k headers={x-recent-history-no-store=t:true} body=3
        C1: publish exchange=h key=k body=4
        + 5s
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.bind queue=q exchange=h
        S1: queue.bind-ok
        C1: queue.bind queue=q exchange=h
        S1: queue.bind-ok
        C1: publish exchange=h key=k body=5
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 exchange=h key=k messages=2 | headers={x=I:1} expiration=1000 | 2
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=2 exchange=h key=k messages=1 | | 4
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=3 exchange=h key=k | | 5
        C1: basic.get queue=q no_ack
        S1: basic.get-empty
        ",
    );
}

#[test]
fn a_history_reaches_queues_behind_an_exchange() {
    check(
        "
        C1: exchange.declare exchange=h type=x-recent-history
        S1: exchange.declare-ok
        C1: publish exchange=h key=q body=1
        C1: publish exchange=h key=none body=2
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.bind queue=q exchange=amq.direct key=q
        S1: queue.bind-ok
        C1: exchange.bind source=h destination=amq.direct
        S1: exchange.bind-ok
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 exchange=h key=q | | 1
        C1: basic.get queue=q no_ack
        S1: basic.get-empty
        ",
    );
}

#[test]
fn a_deduplication_exchange_lets_a_header_pass_once() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: exchange.declare exchange=d type=x-message-deduplication arguments={x-cache-size=I:10, x-cache-ttl=I:5000}
        S1: exchange.declare-ok
        C1: queue.bind queue=q exchange=d
        S1: queue.bind-ok
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish exchange=d headers={x-deduplication-header=S:a} mandatory body=1
        S1: basic.ack delivery=1
        C1: publish exchange=d headers={x-deduplication-header=S:a} mandatory body=2
        S1: basic.return code=312 text=NO_ROUTE exchange=d | headers={x-deduplication-header=S:a} | 2
        S1: basic.ack delivery=2
        C1: publish exchange=d mandatory body=3
        S1: basic.ack delivery=3
        C1: publish exchange=d mandatory body=4
        S1: basic.ack delivery=4
        + 5s
        C1: publish exchange=d headers={x-deduplication-header=S:a} mandatory body=5
        S1: basic.ack delivery=5
        holds
        # q: 4 ready, 0 unacked
        ",
    );
    check(
        "
        C1: exchange.declare exchange=d type=x-message-deduplication
        S1: channel.close code=406 text='PRECONDITION_FAILED - Missing or invalid argument, 'x-cache-size' must be an integer greater than 0' class=40 method=10
        ",
    );
}

#[test]
fn a_delayed_message_has_no_queue_until_its_time_has_come() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: exchange.declare exchange=d type=x-delayed-message arguments={x-delayed-type=S:direct}
        S1: exchange.declare-ok
        C1: queue.bind queue=q exchange=d key=k
        S1: queue.bind-ok
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish exchange=d key=k headers={x-delay=I:3000} mandatory body=late
        S1: basic.return code=312 text=NO_ROUTE exchange=d key=k | headers={x-delay=I:3000} | late
        S1: basic.ack delivery=1
        C1: publish exchange=d key=k headers={x-delay=I:2000, a=S:b} delivery_mode=2 expiration=9000 body=soon
        S1: basic.ack delivery=2
        C1: publish exchange=d key=k mandatory body=now
        S1: basic.ack delivery=3
        C1: publish exchange=d key=other headers={x-delay=I:0} mandatory body=lost
        S1: basic.return code=312 text=NO_ROUTE exchange=d key=other | headers={x-delay=I:0} | lost
        S1: basic.ack delivery=4
        C1: basic.consume queue=q tag=t no_ack
        S1: basic.consume-ok tag=t
        S1: basic.deliver tag=t delivery=1 exchange=d key=k | | now
        + 1s
        + 1s
        S1: basic.deliver tag=t delivery=2 exchange=d key=k | headers={x-delay=I:-2000, a=S:b} delivery_mode=2 expiration=9000 | soon
        + 1s
        S1: basic.deliver tag=t delivery=3 exchange=d key=k | headers={x-delay=I:-3000} | late
        ",
    );
}

#[test]
fn delayed_messages_go_with_their_exchange() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: exchange.declare exchange=d type=x-delayed-message arguments={x-delayed-type=S:fanout}
        S1: exchange.declare-ok
        C1: publish exchange=d headers={x-delay=I:1000} body=gone
        C1: exchange.delete exchange=d
        S1: exchange.delete-ok
        C1: exchange.declare exchange=d type=x-delayed-message arguments={x-delayed-type=S:fanout}
        S1: exchange.declare-ok
        C1: queue.bind queue=q exchange=d
        S1: queue.bind-ok
        + 2s
        holds
        # q: 0 ready, 0 unacked
        C1: exchange.declare exchange=e type=x-delayed-message
        S1: channel.close code=406 text='PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type' class=40 method=10
        ",
    );
}

#[test]
fn a_delayed_message_with_cc_reaches_every_key_and_not_the_alternate_exchange() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.declare queue=unrouted
        S1: queue.declare-ok queue=unrouted
        C1: queue.bind queue=unrouted exchange=amq.fanout
        S1: queue.bind-ok
        C1: exchange.declare exchange=d type=x-delayed-message arguments={x-delayed-type=S:topic, alternate-exchange=S:amq.fanout}
        S1: exchange.declare-ok
        C1: queue.bind queue=q exchange=d key=a.*
        S1: queue.bind-ok
        C1: publish exchange=d key=x headers={CC=A[S:y], BCC=A[S:a.b], x-delay=I:1000} body=1
        C1: publish exchange=d key=z headers={x-delay=I:1000} body=2
        holds
        # q: 0 ready, 0 unacked
        # unrouted: 0 ready, 0 unacked
        + 1s
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 exchange=d key=x | headers={CC=A[S:y], x-delay=I:-1000} | 1
        C1: basic.get queue=unrouted no_ack
        S1: basic.get-ok delivery=2 exchange=d key=z | headers={x-delay=I:-1000} | 2
        ",
    );
}
