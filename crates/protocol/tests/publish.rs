//! basic.publish: routing, returns, and what is wrong with a message.

use leveret_protocol::ConnectionConfig;

use crate::script::{check, check_with};

/// A publish on a fresh channel; the channel must be closed with this 406.
#[track_caller]
fn refused(line: &str, text: &str) {
    check(&format!(
        "C1: queue.declare queue=q
S1: queue.declare-ok queue=q
C9: publish key=q {line}
S9: channel.close code=406 text='PRECONDITION_FAILED - {text}' class=60 method=40
C1: queue.declare queue=q passive
S1: queue.declare-ok queue=q"
    ));
}

#[test]
fn messages_keep_their_bytes() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q headers={k=I:1, z=S:a, k=S:two, L=L:5} delivery_mode=2 priority=7 correlation_id=c expiration=60000 message_id=m timestamp=5 type=t app_id=a cluster_id=u body=x
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q | headers={k=I:1, z=S:a, k=S:two, L=L:5} delivery_mode=2 priority=7 correlation_id=c expiration=60000 message_id=m timestamp=5 type=t app_id=a cluster_id=u | x
        ",
    );
}

#[test]
fn mandatory_messages_come_back_before_their_confirm() {
    check(
        "
        C1: confirm.select
        S1: confirm.select-ok
        C1: publish key=none mandatory content_type=x body=m
        S1: basic.return code=312 text=NO_ROUTE key=none | content_type=x | m
        S1: basic.ack delivery=1
        C1: publish key=none mandatory
        S1: basic.return code=312 text=NO_ROUTE key=none | | ''
        S1: basic.ack delivery=2
        C1: publish key=none body=m
        S1: basic.ack delivery=3
        ",
    );
}

#[test]
fn routes_follow_the_topology() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish exchange=amq.direct key=k mandatory body=1
        S1: basic.return code=312 text=NO_ROUTE exchange=amq.direct key=k | | 1
        C1: queue.bind queue=q exchange=amq.direct key=k
        S1: queue.bind-ok
        C1: publish exchange=amq.direct key=k mandatory body=2
        C1: publish exchange=amq.direct key=k mandatory body=3
        C1: queue.unbind queue=q exchange=amq.direct key=k
        S1: queue.unbind-ok
        C1: publish exchange=amq.direct key=k mandatory body=4
        S1: basic.return code=312 text=NO_ROUTE exchange=amq.direct key=k | | 4
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=2
        ",
    );
}

#[test]
fn headers_exchanges_are_not_routed_by_address() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.bind queue=q exchange=amq.headers arguments={x-match=S:any, p=I:1}
        S1: queue.bind-ok
        C1: publish exchange=amq.headers mandatory headers={p=I:1} body=1
        C1: publish exchange=amq.headers mandatory headers={p=I:2} body=2
        S1: basic.return code=312 text=NO_ROUTE exchange=amq.headers | headers={p=I:2} | 2
        C1: publish exchange=amq.headers mandatory headers={p=I:1} body=3
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=2
        ",
    );
}

#[test]
fn cc_is_kept_and_bcc_is_stripped() {
    check(
        "
        C1: queue.declare queue=a
        S1: queue.declare-ok queue=a
        C1: queue.declare queue=b
        S1: queue.declare-ok queue=b
        C1: publish key=none mandatory headers={CC=A[S:a], x=I:1, BCC=A[S:b]} body=m
        C1: basic.get queue=a no_ack
        S1: basic.get-ok delivery=1 key=none | headers={CC=A[S:a], x=I:1} | m
        C1: basic.get queue=b no_ack
        S1: basic.get-ok delivery=2 key=none | headers={CC=A[S:a], x=I:1} | m
        C1: publish key=none mandatory headers={BCC=A[S:nobody]} body=m
        S1: basic.return code=312 text=NO_ROUTE key=none | headers={} | m
        C1: publish key=a headers={CC=A[S:a, I:5]} body=once
        C1: basic.get queue=a no_ack
        S1: basic.get-ok delivery=3 key=a | headers={CC=A[S:a, I:5]} | once
        C1: basic.get queue=a no_ack
        S1: basic.get-empty
        C1: publish key=a body=plain
        C1: publish key=a headers={CC=A[S:b]} body=both
        C1: basic.get queue=b no_ack
        S1: basic.get-ok delivery=4 key=a | headers={CC=A[S:b]} | both
        ",
    );
}

#[test]
fn messages_that_are_wrong() {
    refused("expiration=abc", "invalid expiration 'abc': no_integer");
    refused("expiration=10s", "invalid expiration '10s': {leftover_string,\"s\"}");
    refused("expiration=-1", "invalid expiration '-1': {value_negative,-1}");
    refused(
        "expiration=315360000001",
        "invalid expiration '315360000001': {value_too_large,315360000001}",
    );
    refused("headers={CC=S:a}", "invalid message: {unacceptable_type_in_header,\"CC\",longstr}");
    refused(
        "headers={BCC=I:1}",
        "invalid message: {unacceptable_type_in_header,\"BCC\",signedint}",
    );
    refused("user_id=x", "user_id property set to 'x' but authenticated user was 'guest'");
    refused("reply_to=amq.rabbitmq.reply-to", "fast reply consumer does not exist");
}

#[test]
fn the_users_own_name_is_a_fine_user_id() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q user_id=guest body=x
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q | user_id=guest | x
        ",
    );
}

#[test]
fn immediate_is_not_implemented() {
    check(
        "
        C1: publish key=q immediate
        S: connection.close code=540 text='NOT_IMPLEMENTED - immediate=true' class=60 method=40
        ",
    );
}

#[test]
fn bodies_over_the_configured_size_close_the_channel() {
    let config = ConnectionConfig { max_message_size: 10, ..ConnectionConfig::default() };
    check_with(
        config,
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q body=0123456789
        C1: publish key=q body=01234567890
        S1: channel.close code=406 text='PRECONDITION_FAILED - message size 11 is larger than configured max size 10' class=60 method=40
        C1: channel.close-ok
        C1: channel.open
        S1: channel.open-ok
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn exchanges_that_cannot_be_published_to() {
    check(
        "
        C1: publish exchange=none key=k
        S1: channel.close code=404 text='NOT_FOUND - no exchange 'none' in vhost '/'' class=60 method=40
        C2: exchange.declare exchange=i type=fanout internal
        S2: exchange.declare-ok
        C2: publish exchange=i key=k
        S2: channel.close code=403 text='ACCESS_REFUSED - cannot publish to internal exchange 'i' in vhost '/'' class=60 method=40
        ",
    );
}

#[test]
fn earlier_publishes_of_a_channel_survive_its_error() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C9: publish key=q body=1 \\
        C9: publish exchange=none body=2 \\
        C9: publish key=q body=3
        S9: channel.close code=404 text='NOT_FOUND - no exchange 'none' in vhost '/'' class=60 method=40
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        ",
    );
}

#[test]
fn an_expired_message_is_not_delivered() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q expiration=1000 body=1
        + 999ms
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        + 1ms
        C1: basic.get queue=q
        S1: basic.get-empty
        ",
    );
}

#[test]
fn keys_need_not_be_text() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: queue.bind queue=q exchange=amq.fanout
        S1: queue.bind-ok
        C1: frame 1 0 60 0 40 0 0 10 97 109 113 46 102 97 110 111 117 116 2 255 254 0
        C1: content
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 exchange=amq.fanout key=\u{fffd}\u{fffd} | | ''
        ",
    );
}
