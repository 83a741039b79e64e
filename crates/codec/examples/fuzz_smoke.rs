//! Random mutations of golden frames against every fuzzing entry point, on a stable toolchain.
//!
//! `cargo run --release -p leveret-codec --example fuzz_smoke -- [SECONDS] [SEED]`: each target runs for
//! SECONDS (20). It panics where a target finds a violation, and prints the input first.

#![expect(clippy::print_stdout, reason = "the counts are the output")]
#![expect(clippy::disallowed_methods, reason = "it runs for a time that its user names")]
#![expect(clippy::expect_used, reason = "it reports by panicking")]

#[path = "../tests/golden/files.rs"]
mod files;

use std::time::{Duration, Instant};

use leveret_codec::fuzzing::{fuzz_properties, fuzz_stream, fuzz_table};
use leveret_codec::{
    FrameKind, Method, Properties, ProtocolHeader, Splitter, decode_content_header, decode_method,
};

/// Inputs between two looks at the clock.
const BATCH: u64 = 256;
/// Inputs stay below this, as a frame would.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Bytes that mean something somewhere: lengths, type letters, ends, frame kinds.
const TELLING: &[u8] = b"\x00\x01\x02\x03\x08\x3C\x7F\x80\xCE\xFFtbBsuIilLfdDSATFVxUZ";

/// A fuzzing entry point.
type Target = fn(&[u8]);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().expect("SECONDS and SEED are numbers"),
        None => default,
    };
    let (limit, seed) = (Duration::from_secs(number(20)), number(1));
    let corpora = corpora();
    let targets: [(&str, Target); 3] =
        [("stream", fuzz_stream), ("table", fuzz_table), ("properties", fuzz_properties)];
    for ((name, target), corpus) in targets.into_iter().zip(&corpora) {
        let executions = run(target, corpus, limit, seed);
        println!("{name}: {executions} executions from {} inputs, seed {seed}", corpus.len());
    }
}

fn run(target: Target, corpus: &[Vec<u8>], limit: Duration, seed: u64) -> u64 {
    let start = Instant::now();
    let mut random = Random(seed);
    let mut executions = 0;
    corpus.iter().for_each(|input| execute(target, input));
    while start.elapsed() < limit {
        for _ in 0..BATCH {
            execute(target, &mutated(corpus, &mut random));
        }
        executions += BATCH;
    }
    executions
}

fn execute(target: Target, input: &[u8]) {
    let told = Told(input);
    target(input);
    drop(told);
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

/// Streams, tables and properties of the golden frames.
fn corpora() -> [Vec<Vec<u8>>; 3] {
    let [mut streams, mut tables, mut properties] = [const { Vec::new() }; 3];
    for golden in files::load() {
        let supported = ProtocolHeader::recognise(&golden.bytes) == Some(ProtocolHeader::Supported);
        let skipped = if supported { ProtocolHeader::LEN } else { 0 };
        let mut rest = &golden.bytes[skipped..];
        while let Ok(Some((frame, used))) = Splitter::new(0).split(rest) {
            streams.push([&[2, 40], &rest[..used]].concat());
            if frame.kind == FrameKind::HEADER {
                let header = decode_content_header(frame.payload).expect("a golden header");
                properties.push(header.properties.to_vec());
                let headers = Properties::new(header.properties).headers();
                tables.extend(headers.map(|headers| headers.as_bytes().to_vec()));
            }
            if let Ok(Method::Publish(_)) = decode_method(frame.payload) {
                streams.push([&[3, 7], rest].concat());
            }
            rest = &rest[used..];
        }
    }
    let all = [streams, tables, properties];
    assert!(all.iter().all(|corpus| corpus.len() > 3), "the golden frames lack something");
    all
}

/// One input of the corpus with up to eight changes.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        let until = (at + 1 + random.below(12)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = TELLING[random.below(TELLING.len())],
            2 => input.insert(at, TELLING[random.below(TELLING.len())]),
            3 if at < until => drop(input.drain(at..until)),
            4 if at < until => {
                let again = input[at..until].repeat(1 + random.below(40));
                input.splice(at..at, again);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => nest(&mut input, at, random),
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// Wraps what follows `at` into a table or array field.
fn nest(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let content = input.split_off(at);
    for _ in 0..=random.below(80) {
        input.extend(if random.below(2) == 0 { &b"\x00F"[..] } else { b"A" });
        input.extend((content.len() as u32).to_be_bytes());
    }
    input.extend(content);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not zero.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
