//! Hot path. Publish frames encoded once: a buffer of many whole messages of which a producer
//! writes ranges. Per message only the stamp in the body changes.

use std::iter;
use std::ops::Range;

use bytes::BytesMut;
use leveret_codec::{PropertiesWriter, body_frame_head, put_body, put_content_header, put_publish};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use super::error::PerfError;
use super::latency::Stamp;
use super::options::STAMP_BYTES;

/// The most messages in one batch, whatever they weigh: bounds the tables beside the bytes.
const MESSAGES_MAX: usize = 8_192;

/// What the messages of a producer have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publish<'a> {
    pub(super) channel: u16,
    pub(super) exchange: &'a str,
    /// Used in turn; each at most 255 bytes, like the exchange.
    pub(super) routing_keys: &'a [String],
    pub(super) size: usize,
    pub(super) persistent: bool,
    /// Negotiated: the largest frame with head and end.
    pub(super) frame_max: u32,
}

/// Many messages in wire form.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: BytesMut,
    /// Where each message begins, and where the last one ends.
    starts: Vec<usize>,
    /// Where each body begins; empty when bodies are too small for a stamp.
    bodies: Vec<usize>,
}

impl Batch {
    /// As many messages as fit into `target` bytes, in whole rounds over the routing keys; at least
    /// one round.
    pub(super) fn new(publish: &Publish<'_>, target: usize) -> Result<Self, PerfError> {
        let delivery_mode = publish.persistent.then_some(2);
        let properties = PropertiesWriter { delivery_mode, ..Default::default() }.to_bytes()?;
        let mut bodies = Bodies::new(publish.size);
        let mut batch = Self { bytes: BytesMut::new(), starts: vec![0], bodies: Vec::new() };
        batch.push_round(publish, &properties, &mut bodies);
        let round = (batch.bytes.len(), batch.len());
        let rounds = (target / round.0).min(MESSAGES_MAX / round.1).max(1);
        batch.bytes.reserve(round.0 * (rounds - 1));
        for _ in 1..rounds {
            batch.push_round(publish, &properties, &mut bodies);
        }
        Ok(batch)
    }

    /// One message for every routing key.
    fn push_round(&mut self, publish: &Publish<'_>, properties: &[u8], bodies: &mut Bodies) {
        for key in publish.routing_keys {
            let body = bodies.next();
            put_publish(&mut self.bytes, publish.channel, &address(publish.exchange, key), false);
            put_content_header(&mut self.bytes, publish.channel, body.len() as u64, properties);
            if body.len() >= STAMP_BYTES {
                self.bodies.push(self.bytes.len() + body_frame_head(publish.channel, 0).len());
            }
            put_body(&mut self.bytes, publish.channel, publish.frame_max, body);
            self.starts.push(self.bytes.len());
        }
    }

    /// Number of messages.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of messages `first..first + n`.
    pub(super) fn range(&self, first: usize, n: usize) -> Range<usize> {
        self.starts[first]..self.starts[first + n]
    }

    /// How many messages end at or before a byte offset, and where the message that it lies in
    /// ends.
    pub(super) fn whole_before(&self, offset: usize) -> (usize, usize) {
        let after = self.starts.partition_point(|&start| start <= offset);
        if self.starts[after - 1] == offset {
            return (after - 1, offset);
        }
        (after - 1, self.starts[after])
    }

    /// Writes a stamp into a message; nothing when bodies are too small.
    #[inline]
    pub(super) fn stamp(&mut self, message: usize, stamp: Stamp) {
        if let Some(&at) = self.bodies.get(message) {
            self.bytes[at..at + STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
        }
    }

    /// Takes the stamp out of a message again.
    pub(super) fn clear_stamp(&mut self, message: usize) {
        if let Some(&at) = self.bodies.get(message) {
            self.bytes[at..at + 8].fill(0);
        }
    }
}

/// Exchange and routing key, each behind its length byte.
pub(super) fn address(exchange: &str, routing_key: &str) -> Vec<u8> {
    let parts = [exchange, routing_key];
    parts.iter().flat_map(|part| iter::once(part.len() as u8).chain(part.bytes())).collect()
}

/// Bodies without a stamp, each with other bytes that look random: a broker that compresses what it stores has no
/// easier work than with bodies that are compressed already.
struct Bodies {
    random: StdRng,
    body: Vec<u8>,
}

impl Bodies {
    fn new(size: usize) -> Self {
        Self { random: StdRng::seed_from_u64(0), body: vec![0; size] }
    }

    fn next(&mut self) -> &[u8] {
        let from = if self.body.len() >= STAMP_BYTES { STAMP_BYTES } else { 0 };
        self.random.fill_bytes(&mut self.body[from..]);
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::{FrameKind, Method, Splitter, decode_content_header, decode_method};

    use super::*;

    fn keys(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("key-{i}")).collect()
    }

    fn publish(keys: &[String], size: usize) -> Publish<'_> {
        Publish {
            channel: 3,
            exchange: "x",
            routing_keys: keys,
            size,
            persistent: true,
            frame_max: 4_096,
        }
    }

    /// Reads a batch back with the general decoder: (routing key, body) of every message.
    fn read_back(batch: &Batch) -> Vec<(String, Vec<u8>)> {
        let splitter = Splitter::new(4_096 - 8);
        let (mut rest, mut out) = (batch.bytes(), Vec::<(String, Vec<u8>)>::new());
        while let Some((frame, len)) = splitter.split(rest).unwrap() {
            assert_eq!(frame.channel, 3);
            match frame.kind {
                FrameKind::METHOD => match decode_method(frame.payload).unwrap() {
                    Method::Publish(publish) => {
                        assert_eq!(publish.exchange, b"x");
                        out.push((
                            String::from_utf8(publish.routing_key.to_vec()).unwrap(),
                            Vec::new(),
                        ));
                    }
                    other => panic!("{other:?}"),
                },
                FrameKind::HEADER => {
                    let header = decode_content_header(frame.payload).unwrap();
                    assert_eq!(header.properties, [0x10, 0, 2]);
                }
                _ => out.last_mut().unwrap().1.extend_from_slice(frame.payload),
            }
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
        out
    }

    #[test]
    fn every_message_is_whole_and_keys_take_turns() {
        for size in [0, 1, 16, 100, 4_088, 4_089, 20_000] {
            let keys = keys(3);
            let batch = Batch::new(&publish(&keys, size), 50_000).unwrap();
            let got = read_back(&batch);
            assert_eq!(got.len(), batch.len());
            assert_eq!(got.len() % 3, 0);
            if size > STAMP_BYTES {
                assert_ne!(got[0].1, got[1].1, "no two bodies are alike");
            }
            for (i, (key, body)) in got.iter().enumerate() {
                assert_eq!((key.as_str(), body.len()), (keys[i % 3].as_str(), size));
            }
        }
    }

    #[test]
    fn a_stamp_lands_in_its_body_alone() {
        let keys = keys(1);
        let mut batch = Batch::new(&publish(&keys, 64), 1_000).unwrap();
        let stamp = Stamp { due_ns: 5, run: 1, producer: 2, sequence: 3 };
        batch.stamp(2, stamp);
        let stamps: Vec<_> = read_back(&batch).iter().map(|(_, body)| Stamp::read(body)).collect();
        assert_eq!(stamps[2], Some(stamp));
        assert_eq!(stamps.iter().flatten().count(), 1);
        batch.clear_stamp(2);
        assert!(read_back(&batch).iter().all(|(_, body)| Stamp::read(body).is_none()));
    }

    #[test]
    fn bodies_below_the_stamp_are_left_alone() {
        let keys = keys(1);
        let mut batch = Batch::new(&publish(&keys, 15), 1_000).unwrap();
        let before = batch.bytes().to_vec();
        batch.stamp(0, Stamp { due_ns: 5, run: 1, producer: 2, sequence: 3 });
        assert_eq!(batch.bytes(), before);
    }

    #[test]
    fn offsets_map_to_messages() {
        let keys = keys(1);
        let batch = Batch::new(&publish(&keys, 64), 1_000).unwrap();
        let one = batch.range(0, 1).end;
        assert_eq!(batch.whole_before(0), (0, 0));
        assert_eq!(batch.whole_before(1), (0, one));
        assert_eq!(batch.whole_before(one), (1, one));
        assert_eq!(batch.whole_before(2 * one + 5), (2, 3 * one));
        let all = batch.bytes().len();
        assert_eq!(batch.whole_before(all), (batch.len(), all));
    }
}
