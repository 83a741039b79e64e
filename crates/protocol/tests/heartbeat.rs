//! Heartbeats in both directions.

use crate::script::check;

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
