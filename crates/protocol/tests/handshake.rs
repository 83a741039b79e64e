//! From the protocol header to open-ok, and every way not to get there.

use leveret_protocol::{ConnectionConfig, Mechanism};

use crate::script::{check, check_with};

const START: &str = "S: connection.start minor=9 properties={capabilities=F{\
authentication_failure_close=t:true, basic.nack=t:true, connection.blocked=t:true, \
consumer_cancel_notify=t:true, consumer_priorities=t:true, direct_reply_to=t:true, \
exchange_exchange_bindings=t:true, per_consumer_qos=t:true, publisher_confirms=t:true}, \
cluster_name=S:leveret, copyright=S:Copyright (c) the leveret authors., \
information=S:Licensed under the Apache License 2.0., platform=S:Rust, product=S:RabbitMQ, \
version=S:3.13.7} mechanisms='PLAIN AMQPLAIN' locales=en_US";

fn config() -> ConnectionConfig {
    ConnectionConfig { platform: "Rust".to_owned(), ..ConnectionConfig::default() }
}

fn start_ok(mechanism: &str, response: &str, capabilities: &str) -> String {
    format!(
        "C: connection.start-ok properties={{capabilities=F{{{capabilities}}}}} \
         mechanism={mechanism} response={response} locale=en_US"
    )
}

/// A login with `response`, and what comes of it.
#[track_caller]
fn login(mechanism: &str, response: &str, capabilities: &str, outcome: &str) {
    let start_ok = start_ok(mechanism, response, capabilities);
    check_with(config(), &format!("C: connect\nC: header\n{START}\n{start_ok}\n{outcome}"));
}

const TELL: &str = "authentication_failure_close=t:true";
const TUNE: &str = "S: connection.tune channel_max=2047 frame_max=131072 heartbeat=60";
const REFUSED: &str = "S: connection.close code=403 text='ACCESS_REFUSED - Login was refused using \
authentication mechanism PLAIN. For details see the broker logfile.'";
const SILENCE: &str = "+ 2900ms\n+ 100ms\nS: closed";

#[test]
fn plain_and_amqplain_log_in() {
    login("PLAIN", "'\\0guest\\0guest'", "", TUNE);
    let table = "'\u{5}LOGINS\\0\\0\\0\u{5}guest\u{8}PASSWORDS\\0\\0\\0\u{5}guest'";
    login("AMQPLAIN", table, "", TUNE);
}

#[test]
fn a_wrong_password_is_told_to_those_who_asked() {
    login(
        "PLAIN",
        "'\\0guest\\0wrong'",
        TELL,
        &format!("{REFUSED}\nC: connection.close-ok\nS: closed"),
    );
    login("PLAIN", "'\\0nobody\\0x'", TELL, &format!("{REFUSED}\n+ 3s\nS: closed"));
    login("PLAIN", "'\\0guest\\0'", TELL, REFUSED);
}

#[test]
fn a_wrong_password_is_silence_for_the_others() {
    login("PLAIN", "'\\0guest\\0wrong'", "", SILENCE);
}

#[test]
fn malformed_responses_and_unknown_mechanisms_are_silence() {
    login("PLAIN", "'\\0guest\\0gue\\0st'", TELL, SILENCE);
    login("PLAIN", "'someone\\0guest\\0guest'", TELL, SILENCE);
    login("NTLM", "x", TELL, SILENCE);
    login("EXTERNAL", "''", TELL, SILENCE);
    login("AMQPLAIN", "'\u{5}LOGINS\\0\\0\\0\u{5}guest'", TELL, SILENCE);
}

#[test]
fn guest_may_not_come_from_elsewhere() {
    let start_ok = start_ok("PLAIN", "'\\0guest\\0guest'", TELL);
    let script = format!("C: connect remote\nC: header\n{START}\n{start_ok}\n{REFUSED}");
    check_with(config(), &script);
}

#[test]
fn external_takes_the_name_in_the_certificate() {
    let mechanisms = vec![Mechanism::External, Mechanism::Plain];
    let config = ConnectionConfig { mechanisms, ..config() };
    let start = START.replace("PLAIN AMQPLAIN", "EXTERNAL PLAIN");
    let start_ok = start_ok("EXTERNAL", "''", "");
    let script = format!(
        "user cn\nC: connect remote certificate=cn\nC: header\n{start}\n{start_ok}\n{TUNE}"
    );
    check_with(config, &script);
}

#[test]
fn other_protocols_get_the_header_and_a_closed_socket() {
    check(
        "
        C: connect
        C: raw 'GET / HTTP'
        S: AMQP [0, 0, 9, 1]
        S: closed
        D: connect
        D: raw AMQP\\0\\0\\0
        T: AMQP [0, 0, 9, 1]
        T: closed
        ",
    );
}

#[test]
fn the_header_may_come_in_pieces() {
    check_with(
        config(),
        &format!("C: connect\nC: raw AMQ\nC: raw P\\0\\0\nC: raw '\u{9}\u{1}'\n{START}"),
    );
}

#[test]
fn the_handshake_has_ten_seconds() {
    let script = format!("C: connect\nC: header\n{START}\n+ 9s\n+ 900ms\n+ 100ms\nS: closed");
    check_with(config(), &script);
}

#[test]
fn methods_out_of_turn_are_silence_before_tuning() {
    let wrong = "C: connection.tune-ok frame_max=131072";
    check_with(config(), &format!("C: connect\nC: header\n{START}\n{wrong}\n{SILENCE}"));
    let close = format!("{TUNE}\nC: connection.close code=200\n{SILENCE}");
    login("PLAIN", "'\\0guest\\0guest'", "", &close);
    login(
        "PLAIN",
        "'\\0guest\\0guest'",
        "",
        &format!("{TUNE}\nC1: unopened channel.open\n{SILENCE}"),
    );
}

#[test]
fn a_start_ok_beyond_the_first_frame_size_is_silence() {
    let big = "C: connection.start-ok properties={big=S:9000*x} mechanism=PLAIN response=x";
    check_with(config(), &format!("C: connect\nC: header\n{START}\n{big}\n{SILENCE}"));
}

#[test]
fn tune_ok_out_of_range_is_silence() {
    for tune_ok in [
        "channel_max=2047 frame_max=100",
        "channel_max=2047 frame_max=4095",
        "channel_max=2047 frame_max=131073",
        "channel_max=2047",
        "channel_max=2048 frame_max=131072",
        "frame_max=131072",
    ] {
        let outcome = format!("{TUNE}\nC: connection.tune-ok {tune_ok}\n{SILENCE}");
        login("PLAIN", "'\\0guest\\0guest'", "", &outcome);
    }
}

#[test]
fn small_frames_and_long_heartbeats_are_fine() {
    let outcome = format!(
        "{TUNE}\nC: connection.tune-ok channel_max=1 frame_max=4096 heartbeat=600\n\
         C: connection.open vhost=/\nS: connection.open-ok"
    );
    login("PLAIN", "'\\0guest\\0guest'", "", &outcome);
}

#[test]
fn methods_and_frames_out_of_turn_are_told_before_open() {
    let tuned = format!("{TUNE}\nC: connection.tune-ok channel_max=9 frame_max=131072\n");
    let close = "C: connection.close code=200\nS: connection.close code=504 \
                 text='CHANNEL_ERROR - unexpected method in connection state opening' class=10 method=50";
    login("PLAIN", "'\\0guest\\0guest'", "", &format!("{tuned}{close}"));
    let frame = "C1: unopened channel.open\nS: connection.close code=505 \
                 text='UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>'";
    login("PLAIN", "'\\0guest\\0guest'", "", &format!("{tuned}{frame}"));
}

#[test]
fn everything_may_be_written_at_once() {
    let start_ok = start_ok("PLAIN", "'\\0guest\\0guest'", "");
    check_with(
        config(),
        &format!(
            "C: connect
C: header \\
{start_ok} \\
C: connection.tune-ok channel_max=10 frame_max=131072 \\
C: connection.open vhost=/ \\
C5: unopened channel.open
{START}
{TUNE}
S: connection.open-ok
S5: channel.open-ok"
        ),
    );
}

#[test]
fn a_vhost_is_taken_as_it_is_named() {
    check(
        "
        C: log in vhost=nope
        S: connection.close code=530 text='NOT_ALLOWED - vhost nope not found' class=10 method=40
        D: log in vhost=''
        T: connection.close code=530 text='NOT_ALLOWED - vhost  not found' class=10 method=40
        ",
    );
}

#[test]
fn opening_needs_a_permission_on_the_vhost() {
    check(
        "
        user u
        permit u '' '' ''
        C: log in user=u
        C1: confirm.select
        S1: confirm.select-ok
        ",
    );
}

#[test]
fn connections_are_limited_by_vhost_and_by_user() {
    check(
        "
        limit vhost-connections / 1
        C1: confirm.select
        S1: confirm.select-ok
        D: log in
        T: connection.close code=530 text='NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached' class=10 method=40
        C: gone
        E1: confirm.select
        U1: confirm.select-ok
        ",
    );
    check(
        "
        limit user-connections guest 1
        C1: confirm.select
        S1: confirm.select-ok
        D: log in
        T: connection.close code=530 text='NOT_ALLOWED - connection refused for user 'guest': user connection limit (1) is reached' class=10 method=40
        ",
    );
}

#[test]
fn channels_are_limited_by_user_and_by_tuning() {
    check(
        "
        limit user-channels guest 1
        C1: channel.open
        S1: channel.open-ok
        C1: channel.close code=200
        S1: channel.close-ok
        C2: channel.open
        S2: channel.open-ok
        C3: channel.open
        S: connection.close code=530 text='NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 1'
        ",
    );
    check(
        "
        C: log in channel_max=2
        C2: channel.open
        S2: channel.open-ok
        C60000: channel.open
        S60000: channel.open-ok
        C1: channel.open
        S: connection.close code=530 text='NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)'
        ",
    );
}

#[test]
fn a_secret_may_be_renewed() {
    check(
        "
        C: log in
        C: connection.update-secret secret=new reason=old
        S: connection.update-secret-ok
        ",
    );
}
