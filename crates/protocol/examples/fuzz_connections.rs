//! Random sessions with random damage against a whole connection, on a stable toolchain.
//!
//! `cargo run --release -p leveret-protocol --example fuzz_connections -- [SECONDS] [SEED]`: runs for
//! SECONDS (20). It panics where an invariant does not hold, and prints the input first.

#![expect(clippy::print_stdout, reason = "the counts are the output")]
#![expect(clippy::disallowed_methods, reason = "it runs for a time that its user names")]
#![expect(clippy::expect_used, reason = "it reports by panicking")]
#![allow(dead_code, reason = "only the writing half of the shared text form is used")]

#[path = "../tests/script/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use leveret_protocol::testing::fuzz_connection;

/// Sessions between two looks at the clock.
const BATCH: u64 = 64;
/// Frames of one session, at most.
const FRAMES_MAX: u64 = 40;

/// Lines of clients that mean something together.
const LINES: &[&str] = &[
    "channel.open",
    "channel.close code=200",
    "channel.close-ok",
    "queue.declare queue=q arguments={x-max-length=I:3, x-dead-letter-exchange=S:}",
    "queue.declare queue=r exclusive",
    "queue.delete queue=q",
    "queue.purge queue=r",
    "queue.bind queue=q exchange=amq.headers arguments={x-match=S:any, a=I:1}",
    "exchange.declare exchange=e type=topic arguments={alternate-exchange=S:e}",
    "basic.qos count=2 global",
    "basic.consume queue=q tag=t",
    "basic.consume queue=amq.rabbitmq.reply-to tag=rep no_ack",
    "basic.cancel tag=t",
    "basic.get queue=q",
    "basic.ack delivery=2 multiple",
    "basic.nack delivery=1 requeue",
    "basic.recover requeue",
    "confirm.select",
    "tx.select",
    "tx.commit",
    "tx.rollback",
    "basic.publish key=q",
    "basic.publish exchange=amq.headers mandatory",
    "connection.close code=200",
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u64| match arguments.next() {
        Some(text) => text.parse().expect("SECONDS and SEED are numbers"),
        None => usual,
    };
    let (limit, seed) = (Duration::from_secs(number(20)), number(1));
    let (start, mut random, mut sessions) = (Instant::now(), Random(seed), 0);
    while start.elapsed() < limit {
        for _ in 0..BATCH {
            let input = session(&mut random);
            let told = Told(&input);
            fuzz_connection(&input);
            drop(told);
        }
        sessions += BATCH;
    }
    println!("connections: {sessions} sessions, seed {seed}");
}

/// Prints its bytes when it is dropped by a panic.
struct Told<'a>(&'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("input: \"{}\"", self.0.escape_ascii());
        }
    }
}

/// Logged in or not, frames in any order, and a few bytes of it damaged.
fn session(random: &mut Random) -> Vec<u8> {
    let mut input = vec![random.below(256) as u8];
    for channel in 1..4 {
        input.extend(method(channel, "channel.open"));
    }
    for _ in 0..random.below(FRAMES_MAX) {
        let channel = random.below(4) as u16;
        match random.below(8) {
            0 => input.extend(content(channel, random)),
            1 => input.extend(wire::frame(3, channel, &[b'x'; 5])),
            _ => input.extend(method(channel, LINES[random.below(LINES.len() as u64) as usize])),
        }
    }
    for _ in 0..random.below(4) {
        let at = random.below(input.len() as u64) as usize;
        input[at] = random.below(256) as u8;
    }
    input
}

fn method(channel: u16, line: &str) -> Vec<u8> {
    wire::frame(1, channel, &wire::method(&wire::words(line)))
}

/// A content header and, mostly, the body it announces.
fn content(channel: u16, random: &mut Random) -> Vec<u8> {
    let size = random.below(6000);
    let properties = wire::properties(&wire::words(
        ["", "x delivery_mode=2", "x headers={CC=A[S:r], BCC=A[S:q]}", "x expiration=1"]
            [random.below(4) as usize],
    ));
    let header = wire::header(60, 0, size, &properties);
    let mut out = wire::frame(2, channel, &header);
    out.extend(wire::frame(3, channel, &vec![b'y'; size as usize]));
    out
}

/// A small generator: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }
}
