//! Heartbeats in both directions.

use crate::script::{check, check_but_heartbeats};

#[test]
fn the_server_beats_when_it_has_nothing_to_say() {
    check(
        "
        C: log in heartbeat=10
        # What was said when it opened counts for the first half interval.
        + 6s
        C: heartbeat
        + 5s
        S: heartbeat
        C: heartbeat
        + 4s
        S: heartbeat
        C1: channel.open
        S1: channel.open-ok
        + 6s
        C: heartbeat
        + 4s
        S: heartbeat
        ",
    );
}

#[test]
fn a_silent_client_is_dropped_without_a_frame() {
    check(
        "
        C: log in heartbeat=1
        + 1s
        S: heartbeat
        + 1s
        S: heartbeat
        S: heartbeat
        + 1s
        S: heartbeat
        S: closed
        ",
    );
}

#[test]
fn any_bytes_count_as_life() {
    check(
        "
        C: log in heartbeat=600
        + 600s
        S: heartbeat
        C1: channel.open
        S1: channel.open-ok
        + 600s
        S: heartbeat
        C: heartbeat
        + 600s
        S: heartbeat
        S: heartbeat
        ",
    );
}

#[test]
fn without_heartbeats_silence_is_fine() {
    check(
        "
        C: log in heartbeat=0
        + 100000s
        C1: channel.open
        S1: channel.open-ok
        ",
    );
}

#[test]
fn a_frame_that_trickles_in_is_life() {
    let mut script = "C: log in heartbeat=1\nC1: channel.open\nS1: channel.open-ok".to_owned();
    let frame = [1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 20, 1, 0xCE_u8];
    for byte in &frame[..12] {
        script += &format!("\nC: octet {byte}\n+ 900ms");
    }
    script += "\nC: octet 206\nS1: channel.flow-ok active";
    check_but_heartbeats(&script);
}
