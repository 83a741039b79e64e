//! Damaged frames of the protocol between nodes, on a stable toolchain.
//!
//! `cargo run --release -p leveret-cluster --example fuzz_frames -- [SECONDS] [SEED]`: runs for SECONDS (20). It panics
//! where bytes that can be read cannot be written again.

#![expect(clippy::print_stdout, reason = "the counts are the output")]
#![expect(clippy::disallowed_methods, reason = "it runs for a time that its user names")]
#![expect(clippy::expect_used, reason = "it reports by panicking")]

use std::time::{Duration, Instant};

use leveret_cluster::replication::wire::{
    ClusterId, Frame, HEADER_BYTES, Hello, Nonce, Proof, Refused, Side, VERSION, fuzz_frames,
};
use leveret_cluster::replication::{
    Ack, Append, Conflict, Entry, Epoch, Incarnation, Message, NodeId, OpBytes, Origin, Part,
    Payload, Position, ReplicaId, SessionId,
};
use leveret_engine::{OpIndex, QueueId, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Frames between two looks at the clock.
const BATCH: u64 = 1_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u64| match arguments.next() {
        Some(text) => text.parse().expect("SECONDS and SEED are numbers"),
        None => usual,
    };
    let (limit, seed) = (Duration::from_secs(number(20)), number(1));
    let (start, mut n) = (Instant::now(), 0);
    let mut random = StdRng::seed_from_u64(seed);
    let frames: Vec<Vec<u8>> = frames().iter().map(bytes_of).collect();
    while start.elapsed() < limit {
        for _ in 0..BATCH {
            let input = damaged(&frames, &mut random);
            let told = Told(&input);
            fuzz_frames(&input);
            drop(told);
        }
        n += BATCH;
    }
    println!("frames: {n} inputs, seed {seed}");
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

/// A frame or two with some bytes changed, cut or added; mostly with a length and a checksum that are right again, so that
/// what is behind them is reached.
fn damaged(frames: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = frames[random.random_range(0..frames.len())].clone();
    for _ in 0..random.random_range(0..5) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..8) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, random.random()),
            _ => bytes[at] = random.random(),
        }
    }
    if random.random_bool(0.9) && bytes.len() > HEADER_BYTES {
        let n = u32::try_from(bytes.len() - HEADER_BYTES).expect("they are short");
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let (header, payload) = bytes.split_at(HEADER_BYTES);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..HEADER_BYTES - 4]), payload);
        bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    }
    if random.random_bool(0.2) {
        bytes.extend(&frames[random.random_range(0..frames.len())]);
    }
    bytes
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(7, &mut out).expect("it is small");
    out
}

fn frames() -> Vec<Frame> {
    let (caller, called) = (Nonce([1; 32]), Nonce([2; 32]));
    let hello = Hello {
        oldest: VERSION,
        newest: VERSION,
        cluster: ClusterId(9),
        node: NodeId(1),
        incarnation: Incarnation(4),
        name: "rabbit@a".into(),
        now: Timestamp(1_000_000),
        nonce: caller,
    };
    vec![
        Frame::Hello(hello),
        Frame::Proof(Proof::new(b"s", ClusterId(9), Side::Caller, caller, called)),
        Frame::Refused(Refused::Secret { name: "rabbit@b".into() }),
        Frame::Heartbeat { number: 1, incarnation: Incarnation(2), durable: 3 },
        Frame::Heard { number: 1 },
        Frame::Copies(messages()),
        Frame::Agreement(vec![1, 2, 3].into()),
    ]
}

fn messages() -> Vec<Message> {
    let (queue, rid, epoch) = (QueueId(300), ReplicaId(5), Epoch(1 << 40));
    let (leader, node, incarnation) = (NodeId(1), NodeId(2), Incarnation(3));
    let session = SessionId { incarnation, channel: 9 };
    let at = Position { epoch, index: OpIndex(7) };
    let origin = Some(Origin { session, first: 1, n: 3 });
    let op = Payload::Op(OpBytes { origin, transient: true, bytes: [0, 255, 10][..].into() });
    let entries = [Payload::EpochStart, op, Payload::SessionEnd(session)];
    let entries = entries.into_iter().map(|payload| Entry { epoch, payload }).collect();
    let (received, durable, lacks_upto) = (OpIndex(9), OpIndex(8), OpIndex(0));
    let commit = OpIndex(6);
    vec![
        Message::Append(Append { queue, rid, epoch, leader, prev: at, entries, commit }),
        Message::Ack(Ack {
            queue,
            node,
            incarnation,
            rid,
            epoch,
            received,
            durable,
            lacks_upto,
            commit,
        }),
        Message::Conflict(Conflict { queue, node, rid, epoch, prev: at, end: at }),
        Message::Part(Part {
            queue,
            rid,
            epoch,
            leader,
            at,
            part: 1,
            last: true,
            natural: false,
            sessions: vec![(session, 77)],
            state: [1, 2, 3][..].into(),
        }),
    ]
}
