//! Frames that are wrong, and content that is cut oddly.

use crate::script::check;

/// Sends lines to an open channel; the connection must end with this close.
#[track_caller]
fn ends(lines: &str, close: &str) {
    let tail = if close.contains("FRAME_ERROR - type") && !close.contains("unknown_frame") {
        // Nothing of what follows is read, not even close-ok.
        "C: connection.close-ok\n+ 2900ms\n+ 100ms\nS: closed"
    } else {
        "C: connection.close-ok\nS: closed"
    };
    check(&format!(
        "C: log in\nC1: channel.open\nS1: channel.open-ok\n{lines}\nS: connection.close {close}\n{tail}"
    ));
}

#[test]
fn unknown_frame_types() {
    ends(
        "C1: frame 4 97 98 99",
        "code=501 text='FRAME_ERROR - type 4, all octets = <<\"abc\">>: unknown_frame'",
    );
    let octets: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    ends(
        &format!("C: frame 9 {}", octets.join(" ")),
        "code=501 text='FRAME_ERROR - type 9, first 16 octets = <<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>: unknown_frame'",
    );
    ends("C1: frame 1", "code=501 text='FRAME_ERROR - type 1, all octets = <<>>: unknown_frame'");
    ends(
        "C: heartbeat body=x",
        "code=501 text='FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame'",
    );
}

#[test]
fn frames_where_they_make_no_sense() {
    ends("C1: heartbeat", "code=505 text='UNEXPECTED_FRAME - type 8, all octets = <<>>'");
    ends("C: body x", "code=505 text='UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>'");
    ends(
        "C1: content size=0",
        "code=505 text='UNEXPECTED_FRAME - expected method frame, got non method frame instead'",
    );
    ends(
        "C1: body x",
        "code=505 text='UNEXPECTED_FRAME - expected method frame, got non method frame instead'",
    );
    ends(
        "C3: content",
        "code=505 text='UNEXPECTED_FRAME - expected method frame, got non method frame instead'",
    );
}

#[test]
fn content_that_does_not_follow_its_method() {
    let header = "code=505 text='UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead' class=60 method=40";
    ends("C1: basic.publish key=q \\\nC1: body x", header);
    ends("C1: basic.publish key=q \\\nC1: basic.qos count=1", header);
    ends("C1: basic.publish key=q \\\nC1: content weight=1", header);
    ends(
        "C1: basic.publish key=q \\\nC1: content class=50",
        "code=505 text='UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead' class=60 method=40",
    );
    let body = "code=505 text='UNEXPECTED_FRAME - expected content body, got non content body frame instead' class=60 method=40";
    ends("C1: basic.publish key=q \\\nC1: content size=5 \\\nC1: content size=5", body);
    ends("C1: basic.publish key=q \\\nC1: content size=5 \\\nC1: channel.close code=200", body);
    ends(
        "C1: basic.publish key=q \\\nC1: content size=3 \\\nC1: body 12345",
        "code=501 text='FRAME_ERROR - content body frame exceeds remaining content size' class=60 method=40",
    );
    ends(
        "C1: basic.publish key=q \\\nC1: content \\\nC1: body ''",
        "code=505 text='UNEXPECTED_FRAME - expected method frame, got non method frame instead'",
    );
    ends(
        "C1: basic.publish key=q \\\nC1: content size=536870913",
        "code=501 text='FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912' class=60 method=40",
    );
}

#[test]
fn streams_that_cannot_be_cut_any_more() {
    check(
        "
        C: log in frame_max=8192
        C1: channel.open
        S1: channel.open-ok
        C1: frame 3 end=no \\
        C1: queue.declare queue=never
        S: connection.close code=501 text='FRAME_ERROR - type 3, all octets = <<>>: {invalid_frame_end_marker,1}'
        C: connection.close-ok
        + 2900ms
        + 100ms
        S: closed
        ",
    );
    check(
        "
        C: log in frame_max=8192
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: publish key=q piece=8192 body=8192*x
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        C1: publish key=q piece=8193 body=8193*x
        S: connection.close code=501 text='FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,8193,8184}'
        + 3s
        S: closed
        ",
    );
}

#[test]
fn arguments_that_do_not_decode() {
    ends(
        "C1: frame 1 0 50 0 10 0 0 1 113 0 0 0 0 50 1 107 116 1",
        "code=501 text='FRAME_ERROR - cannot decode <<0,0,1,113,0,0,0,0,50,1,107,116,1>>' class=50 method=10",
    );
    ends(
        "C1: frame 1 0 50 0 10 0 0 2 255 254 0 0 0 0 0",
        "code=501 text='FRAME_ERROR - Malformed UTF-8 in shortstr'",
    );
}

#[test]
fn methods_that_nobody_implements() {
    let unimplemented = "code=503 text='COMMAND_INVALID - unimplemented method'";
    ends("C1: frame 1 0 77 0 10", &format!("{unimplemented} class=77 method=10"));
    ends("C: frame 1 0 10 0 99", &format!("{unimplemented} class=10 method=99"));
    ends("C1: basic.deliver tag=c delivery=1", &format!("{unimplemented} class=60 method=60"));
    ends("C1: connection.close code=200", &format!("{unimplemented} class=10 method=50"));
    ends("C1: channel.close-ok", &format!("{unimplemented} class=20 method=41"));
    ends("C1: basic.cancel-ok tag=c", &format!("{unimplemented} class=60 method=31"));
    ends("C1: queue.declare-ok queue=q", &format!("{unimplemented} class=50 method=11"));
    ends("C1: confirm.select-ok", &format!("{unimplemented} class=85 method=11"));
    ends("C1: exchange.declare-ok", &format!("{unimplemented} class=40 method=11"));
}

#[test]
fn channels_that_are_not_open_or_open_twice() {
    ends(
        "C3: unopened queue.declare queue=q",
        "code=504 text='CHANNEL_ERROR - expected 'channel.open'' class=50 method=10",
    );
    ends(
        "C3: unopened channel.close code=200",
        "code=504 text='CHANNEL_ERROR - expected 'channel.open'' class=20 method=40",
    );
    ends(
        "C1: channel.open",
        "code=504 text='CHANNEL_ERROR - second 'channel.open' seen' class=20 method=10",
    );
    ends(
        "C3: unopened basic.qos count=1",
        "code=504 text='CHANNEL_ERROR - expected 'channel.open'' class=60 method=10",
    );
    ends(
        "C3: frame 1 0 77 0 10",
        "code=503 text='COMMAND_INVALID - unimplemented method' class=77 method=10",
    );
}

#[test]
fn methods_of_channel_0_out_of_turn() {
    let running = "code=504 text='CHANNEL_ERROR - unexpected method in connection state running'";
    ends("C: connection.open vhost=/", &format!("{running} class=10 method=40"));
    ends("C: connection.secure-ok response=x", &format!("{running} class=10 method=21"));
    ends("C: basic.qos count=1", &format!("{running} class=60 method=10"));
}

#[test]
fn bodies_may_be_cut_anywhere() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C1: basic.publish key=q
        C1: content size=4
        C1: body ''
        C1: body ab
        C1: body ''
        C1: body cd
        C1: publish key=q piece=3 body=12345678
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q messages=1 | | abcd
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=2 key=q | | 12345678
        ",
    );
}

#[test]
fn contents_of_two_channels_interleave() {
    check(
        "
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        C2: confirm.select
        S2: confirm.select-ok
        C1: basic.publish key=q
        C2: basic.publish key=q
        C2: content size=2
        C1: content size=2
        C1: body a
        C2: body bb
        S2: basic.ack delivery=1
        C1: body a
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q messages=1 | | bb
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=2 key=q | | aa
        ",
    );
}

#[test]
fn large_bodies_leave_in_frames_of_the_clients_size() {
    check(
        "
        C: log in frame_max=4096
        C1: queue.declare queue=q
        S1: queue.declare-ok queue=q
        D1: publish key=q body=100000*y
        C1: basic.consume queue=q tag=c no_ack
        S1: basic.consume-ok tag=c
        S1: basic.deliver tag=c delivery=1 key=q | | <100000 bytes>
        ",
    );
}
