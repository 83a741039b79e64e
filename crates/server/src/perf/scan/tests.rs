//! The fast scan against the codec: whatever the stream and however it is cut, both see the same
//! deliveries.

use bytes::BytesMut;
use leveret_codec::amqp::{AMQPClass, basic};
use leveret_codec::{put_delivery, put_heartbeat, put_method};

use super::*;

const FRAME_MAX: u32 = 4_096;

#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    Delivery { tag: u64, redelivered: bool, head: Vec<u8> },
    Method,
}

/// Collects, and counts how many deliveries came in runs.
#[derive(Default)]
struct Collect {
    seen: Vec<Seen>,
    in_runs: usize,
}

impl Sink for Collect {
    fn run(&mut self, deliveries: Deliveries<'_>) {
        self.in_runs += deliveries.len();
        for (i, (redelivered, body)) in deliveries.bodies().enumerate() {
            let head = body[..body.len().min(STAMP_BYTES)].to_vec();
            self.seen.push(Seen::Delivery { tag: deliveries.tag(i), redelivered, head });
        }
    }

    fn one(&mut self, tag: u64, redelivered: bool, head: &[u8]) {
        self.seen.push(Seen::Delivery { tag, redelivered, head: head.to_vec() });
    }

    fn method(&mut self, _: Frame<'_>) -> Result<(), PerfError> {
        self.seen.push(Seen::Method);
        Ok(())
    }
}

/// A stream of deliveries and what should be seen of it.
#[derive(Default)]
struct Stream {
    bytes: BytesMut,
    expected: Vec<Seen>,
}

impl Stream {
    fn delivery(
        &mut self,
        consumer: &str,
        redelivered: bool,
        address: &[u8],
        properties: &[u8],
        size: usize,
    ) {
        let tag = self.expected.len() as u64 + 1;
        let body: Vec<u8> = (0..size).map(|i| (i as u64 * 31 + tag) as u8).collect();
        let consumer = consumer.as_bytes();
        put_delivery(
            &mut self.bytes,
            1,
            consumer,
            tag,
            redelivered,
            address,
            properties,
            FRAME_MAX,
            &body,
        );
        let head = body[..size.min(STAMP_BYTES)].to_vec();
        self.expected.push(Seen::Delivery { tag, redelivered, head });
    }

    fn small(&mut self) {
        self.delivery("c0", false, b"\x00\x04perf", &[0, 0], 16);
    }

    fn method(&mut self, channel: u16) {
        let method = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: "c0".into() });
        put_method(&mut self.bytes, channel, &AMQPClass::Basic(method));
        self.expected.push(Seen::Method);
    }

    /// Feeds the stream in pieces of `piece` bytes, the way reads do.
    fn scan(&self, piece: usize) -> Collect {
        let (mut scanner, mut sink) = (Scanner::new(FRAME_MAX), Collect::default());
        let mut unread = Vec::new();
        for part in self.bytes.chunks(piece) {
            unread.extend_from_slice(part);
            let taken = scanner.scan(&unread, &mut sink).unwrap();
            unread.drain(..taken);
        }
        assert!(unread.is_empty(), "{} bytes left with pieces of {piece}", unread.len());
        sink
    }

    fn check(&self) {
        for piece in [1, 7, 64, 78, 100, 1_000, 4_096, 100_000, self.bytes.len()] {
            assert_eq!(self.scan(piece).seen, self.expected, "pieces of {piece}");
        }
    }
}

#[test]
fn equal_deliveries_are_taken_in_runs() {
    let mut stream = Stream::default();
    (0..1_000).for_each(|_| stream.small());
    stream.check();
    let whole = stream.scan(stream.bytes.len());
    assert_eq!(whole.in_runs, 999, "only the first delivery goes the general way");
}

#[test]
fn redelivered_bits_do_not_end_a_run() {
    let mut stream = Stream::default();
    (0..100).for_each(|i| stream.delivery("c0", i % 3 == 0, b"\x00\x01q", &[0, 0], 16));
    stream.check();
    assert_eq!(stream.scan(stream.bytes.len()).in_runs, 99);
}

#[test]
fn queues_with_names_of_one_length_share_a_shape() {
    let mut stream = Stream::default();
    for i in 0..100u8 {
        stream.delivery("c0", false, &[0, 2, b'q', b'0' + i % 10], &[0, 0], 16);
    }
    stream.check();
    assert_eq!(stream.scan(stream.bytes.len()).in_runs, 99);
}

#[test]
fn shapes_may_change_at_any_message() {
    let mut stream = Stream::default();
    for i in 0..300usize {
        match i % 11 {
            0 => stream.delivery("c0", false, b"\x00\x04perf", &[0, 0], i),
            1 => stream.delivery("another", true, b"\x02ex\x02rk", &[0x10, 0, 2], 16),
            2 => stream.delivery("c0", false, b"\x00\x04perf", &[0, 0], 0),
            3 => stream.method(1),
            // The same frame sizes with exchange and key divided differently.
            4 => stream.delivery("c0", false, b"\x01e\x03erf", &[0, 0], 16),
            5 => stream.delivery("c0", false, b"\x00\x04perf", &[0, 0], 10_000),
            _ => stream.small(),
        }
    }
    stream.check();
}

#[test]
fn a_smaller_message_behind_a_larger_shape_is_not_waited_for() {
    let mut stream = Stream::default();
    stream.delivery("c0", false, b"\x00\x01q", &[0, 0], 1_000);
    stream.delivery("c0", false, b"\x00\x01q", &[0, 0], 0);
    stream.delivery("c0", false, b"\x00\x01q", &[0, 0], 10);
    stream.check();
}

#[test]
fn connection_methods_and_heartbeats_may_stand_between_frames_of_a_message() {
    let mut message = Stream::default();
    message.delivery("c0", false, b"\x00\x01q", &[0, 0], 6_000);
    let splitter = Splitter::new(FRAME_MAX);
    let mut stream = Stream::default();
    let mut rest = &message.bytes[..];
    while let Some((_, len)) = splitter.split(rest).unwrap() {
        stream.bytes.extend_from_slice(&rest[..len]);
        put_heartbeat(&mut stream.bytes);
        stream.method(0);
        rest = &rest[len..];
    }
    // The last method stands behind the message.
    stream.expected.insert(3, message.expected[0].clone());
    stream.check();
}

#[test]
fn damage_is_an_error_and_not_a_delivery() {
    let mut stream = Stream::default();
    (0..3).for_each(|_| stream.small());
    let whole = stream.bytes.to_vec();
    let message = whole.len() / 3;
    for at in [message - 1, 2 * message - 1, 3 * message - 1] {
        let mut bytes = whole.clone();
        bytes[at] = 0;
        let mut sink = Collect::default();
        assert!(Scanner::new(FRAME_MAX).scan(&bytes, &mut sink).is_err(), "byte {at}");
    }
    let mut sink = Collect::default();
    let header_first = &whole[message - 46..];
    assert!(Scanner::new(FRAME_MAX).scan(header_first, &mut sink).is_err());
    assert!(sink.seen.is_empty());
}
