//! Ops come back as they were, less what is over; whatever the bytes are, reading them ends well.

use super::*;
use crate::queue::ops::AckRanges;
use crate::record::{Body, NewRecord};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What some ops do, told one message at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Effect {
    /// Position to body.
    published: BTreeMap<Seq, Vec<u8>>,
    done: BTreeSet<Seq>,
}

fn block(bodies: &[(bool, Vec<u8>)]) -> Block {
    let mut block = Block::new();
    for (persistent, body) in bodies {
        let shared = Bytes::from(body.clone());
        block.push(&NewRecord {
            address: b"\x01x\x01k",
            properties: &[0, 0],
            persistent: *persistent,
            priority: 0,
            expires_at: None,
            body: if body.len() > 40 { Body::Shared(&shared) } else { Body::Inline(body) },
        });
    }
    block
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8, Vec<(bool, Vec<u8>)>),
    /// Finishes some of what is there: level, start, length as shares of 64; how.
    Finish(u8, u64, u64, u8),
    Seal,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = |len| prop::collection::vec(any::<u8>(), len);
    let body = prop_oneof![4 => bytes(0..9usize), 1 => bytes(45..50usize)];
    let bodies = prop::collection::vec((prop::bool::weighted(0.7), body), 1..40);
    prop_oneof![
        4 => (0u8..2, bodies).prop_map(|(level, bodies)| Step::Publish(level, bodies)),
        6 => (0u8..2, 0u64..64, 0u64..64, 0u8..3).prop_map(|(level, at, n, how)| Step::Finish(level, at, n, how)),
        1 => Just(Step::Seal),
    ]
}

/// A queue that only counts: where each message was published, and what the disk was told.
#[derive(Default)]
struct Naive {
    ops: Vec<LoggedOp>,
    next: [u64; 2],
    index: u64,
    /// Messages that are there, with body if they are persistent, and whether they were told.
    there: BTreeMap<Seq, (Option<Vec<u8>>, bool)>,
    expected: Effect,
}

impl Naive {
    fn push(&mut self, op: Op, trace: Trace) {
        self.index += 1;
        self.ops.push(LoggedOp { index: OpIndex(self.index), op, trace });
    }

    fn publish(&mut self, level: u8, bodies: &[(bool, Vec<u8>)]) {
        let first = Seq::new(level, self.next[usize::from(level)]);
        for (n, (persistent, body)) in (0..).zip(bodies) {
            self.there.insert(first.plus(n), (persistent.then(|| body.clone()), false));
        }
        self.next[usize::from(level)] += bodies.len() as u64;
        let block = block(bodies);
        let trace = if block.any_persistent() { Trace::Log } else { Trace::None };
        self.push(Op::Publish { first, at: Timestamp(7), block: Arc::new(block) }, trace);
    }

    fn finish(&mut self, level: u8, at: u64, n: u64, how: u8) {
        let next = self.next[usize::from(level)];
        let (start, n) = (at * next / 64, (n * next / 64).min(next - at * next / 64) as u32);
        if n == 0 {
            return;
        }
        let range = SeqRange { first: Seq::new(level, start), n };
        let mut trace = Trace::None;
        for seq in (0..u64::from(n)).map(|n| range.first.plus(n)) {
            if let Some((Some(_), told)) = self.there.remove(&seq) {
                trace = Trace::Log;
                if told {
                    self.expected.done.insert(seq);
                }
            }
        }
        let op = match how {
            0 => Op::Ack(AckRanges::from([range])),
            1 => Op::Drop { range, reason: DropReason::Expired },
            _ => Op::Purge(Box::new([range])),
        };
        self.push(op, trace);
    }

    fn seal(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_ops(&self.ops, &mut bytes);
        self.ops.clear();
        for (seq, (body, told)) in &mut self.there {
            if let Some(body) = body.as_ref().filter(|_| !*told) {
                self.expected.published.insert(*seq, body.clone());
            }
            *told = true;
        }
        bytes
    }
}

fn read(bytes: &[u8], effect: &mut Effect) {
    let mut before = 0;
    for op in decode_ops(bytes) {
        let (index, op) = op.unwrap();
        assert!(index.0 >= before);
        before = index.0;
        match op {
            Op::Publish { first, at, block } => {
                assert_eq!(at, Timestamp(7));
                for record in (0..block.len()).filter(|record| !block.is_hole(*record)) {
                    let body = block.record(record).body().bytes().to_vec();
                    let before = effect.published.insert(first.plus(u64::from(record)), body);
                    assert!(before.is_none(), "published twice");
                }
            }
            Op::Ack(ranges) => ranges.iter().for_each(|range| note_done(*range, effect)),
            Op::Purge(ranges) => ranges.iter().for_each(|range| note_done(*range, effect)),
            Op::Drop { range, reason } => {
                assert_eq!(reason, DropReason::Expired);
                note_done(range, effect);
            }
            Op::Return { .. } | Op::Die { .. } | Op::Delay { .. } | Op::Remember(_) => {}
        }
    }
}

fn note_done(range: SeqRange, effect: &mut Effect) {
    effect.done.extend((0..u64::from(range.n)).map(|n| range.first.plus(n)));
}

proptest! {
    #[test]
    fn what_is_left_is_what_the_disk_has_to_know(steps in prop::collection::vec(step(), 1..40)) {
        let mut naive = Naive::default();
        let mut effect = Effect::default();
        for step in steps.iter().chain([&Step::Seal]) {
            match step {
                Step::Publish(level, bodies) => naive.publish(*level, bodies),
                Step::Finish(level, at, n, how) => naive.finish(*level, *at, *n, *how),
                Step::Seal => {
                    let bytes = naive.seal();
                    let before = effect.done.len() + effect.published.len();
                    read(&bytes, &mut effect);
                    let after = effect.done.len() + effect.published.len();
                    prop_assert!(bytes.is_empty() || after >= before);
                }
            }
        }
        prop_assert_eq!(&effect.published, &naive.expected.published);
        // More may be told to be done than was told to be there, but nothing that still is.
        prop_assert!(effect.done.is_superset(&naive.expected.done));
        prop_assert!(naive.there.keys().all(|seq| !effect.done.contains(seq)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = vec![VERSION];
        versioned.extend_from_slice(&bytes);
        prop_assert!(decode_ops(&bytes).take(1000).count() < 1000);
        prop_assert!(decode_ops(&versioned).take(1000).count() < 1000);
    }

    #[test]
    fn damaged_bytes_are_read_or_refused(
        steps in prop::collection::vec(step(), 1..10),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut naive = Naive::default();
        for step in &steps {
            match step {
                Step::Publish(level, bodies) => naive.publish(*level, bodies),
                Step::Finish(level, at, n, how) => naive.finish(*level, *at, *n, *how),
                Step::Seal => {}
            }
        }
        let mut bytes = naive.seal();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = value;
            if cut {
                bytes.truncate(at);
            }
        }
        for (_, op) in decode_ops(&bytes).map_while(Result::ok) {
            if let Op::Publish { block, .. } = op {
                let n: usize = (0..block.len()).map(|at| block.record(at).body().len()).sum();
                prop_assert!(n <= bytes.len());
            }
        }
    }
}

fn logged(index: u64, op: Op, trace: Trace) -> LoggedOp {
    LoggedOp { index: OpIndex(index), op, trace }
}

fn publish(first: u64, n: usize, persistent: bool) -> Op {
    let bodies = vec![(persistent, b"body".to_vec()); n];
    Op::Publish { first: Seq(first), at: Timestamp(1), block: Arc::new(block(&bodies)) }
}

fn ack(first: u64, n: u32) -> Op {
    Op::Ack(AckRanges::from([SeqRange { first: Seq(first), n }]))
}

fn encoded(ops: &[LoggedOp]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_ops(ops, &mut bytes);
    bytes
}

#[test]
fn message_that_is_acknowledged_in_its_group_leaves_nothing() {
    let ops = [
        logged(1, publish(0, 3, true), Trace::Log),
        logged(2, publish(3, 3, false), Trace::None),
        logged(3, ack(0, 2), Trace::Log),
        logged(4, ack(2, 4), Trace::Log),
    ];
    assert!(encoded(&ops).is_empty());
    assert!(encoded(&ops[1..2]).is_empty(), "transient messages are not written");
}

#[test]
fn ack_of_a_message_in_a_chunk_is_written_even_if_its_publishing_is_not() {
    let ops = [logged(1, publish(0, 2, true), Trace::Log), logged(2, ack(0, 2), Trace::Chunk)];
    let bytes = encoded(&ops);
    let read: Vec<_> = decode_ops(&bytes).map(Result::unwrap).collect();
    assert!(matches!(&read[..], [(OpIndex(2), Op::Ack(ranges))] if ranges[0].n == 2));
}

#[test]
fn ack_that_goes_beyond_its_group_is_cut_to_what_was_written_before() {
    let ops = [logged(8, publish(5, 2, true), Trace::Log), logged(9, ack(3, 4), Trace::Log)];
    let bytes = encoded(&ops);
    let read: Vec<_> = decode_ops(&bytes).map(Result::unwrap).collect();
    let [(OpIndex(9), Op::Ack(ranges))] = &read[..] else { panic!("{read:?}") };
    assert_eq!(ranges[..], [SeqRange { first: Seq(3), n: 2 }]);
}

#[test]
fn small_persistent_message_costs_few_bytes_beside_its_record() {
    let bytes = encoded(&[logged(100_000, publish(1 << 20, 1, true), Trace::Log)]);
    assert!(bytes.len() < 24 + 4 + 2 + 4 + 24, "{} bytes", bytes.len());
}

#[test]
fn returns_come_back_with_what_they_count() {
    let range = SeqRange { first: Seq(3), n: 2 };
    let returned = |failed| Op::Return { range, failed };
    let ops = [logged(8, returned(false), Trace::Log), logged(9, returned(true), Trace::Chunk)];
    let bytes = encoded(&ops);
    let read: Vec<_> = decode_ops(&bytes).map(Result::unwrap).collect();
    let [
        (OpIndex(8), Op::Return { range: a, failed: false }),
        (OpIndex(9), Op::Return { range: b, failed: true }),
    ] = &read[..]
    else {
        panic!("{read:?}")
    };
    assert_eq!((*a, *b), (range, range));
}
