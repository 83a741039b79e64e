//! Stamps in message bodies, and the histograms made of them.
//!
//! A stamp is the first 16 bytes of a body: when the message was due to be sent (nanoseconds since
//! the Unix epoch, big endian; 0 = not timed), and its identity (16 bits of run, 16 bits of
//! producer, 32 bits of sequence, which wraps). Due time, not send time: a generator or broker that
//! falls behind makes latency larger, instead of hiding it (coordinated omission).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::options::STAMP_BYTES;

/// Shorter latencies count as this many nanoseconds.
const SHORTEST_NS: u64 = 100;
/// Longer latencies count as this many nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Decimal digits that a histogram keeps, which takes 200 KiB.
const DIGITS: u8 = 3;
/// Decimal digits where there are many histograms, which takes 30 KiB each.
const DIGITS_OF_MANY: u8 = 2;
/// So many threads may have a histogram of full size.
const MANY: usize = 100;

/// Nanoseconds since the Unix epoch that never go backwards: stamps of several processes on one
/// machine compare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    base: Instant,
    base_ns: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { base: Instant::now(), base_ns: since_epoch.as_nanos() as u64 }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.base_ns + self.base.elapsed().as_nanos() as u64
    }
}

/// The head of a timed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) due_ns: u64,
    pub(super) run: u16,
    pub(super) producer: u16,
    pub(super) sequence: u32,
}

impl Stamp {
    pub(super) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&self.due_ns.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.run.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.producer.to_be_bytes());
        bytes[12..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// The stamp of a body; `None` where the body is not timed.
    #[inline]
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let bytes = body.first_chunk::<STAMP_BYTES>()?;
        let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
        let due_ns = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        if due_ns == 0 {
            return None;
        }
        let [r0, r1, p0, p1, s0, s1, s2, s3] = rest;
        Some(Self {
            due_ns,
            run: u16::from_be_bytes([r0, r1]),
            producer: u16::from_be_bytes([p0, p1]),
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }
}

/// A histogram of nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> Self {
        Self(new_histogram(DIGITS))
    }

    /// One of several, a part of a total.
    pub(super) fn one_of(several: usize) -> Self {
        Self(new_histogram(if several > MANY { DIGITS_OF_MANY } else { DIGITS }))
    }

    /// Counts `n` events that took from `due_ns` until `now_ns`.
    #[inline]
    pub(super) fn record(&mut self, due_ns: u64, now_ns: u64, n: u64) {
        self.0.saturating_record_n(now_ns.saturating_sub(due_ns), n);
    }

    /// Moves everything from `other` to here.
    pub(super) fn take_from(&mut self, other: &mut Self) {
        if !other.0.is_empty() {
            // Both have the bounds of `new_histogram`, so that adding cannot fail.
            let _ = self.0.add(&other.0);
            other.0.reset();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.reset();
    }

    /// `None` when nothing was recorded.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        if self.0.is_empty() {
            return None;
        }
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |quantile: f64| us(self.0.value_at_quantile(quantile));
        Some(Percentiles {
            count: self.0.len(),
            mean: self.0.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(self.0.max()),
        })
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants that the crate accepts")]
fn new_histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, digits).expect("valid histogram bounds")
}

/// Latency in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_its_bytes() {
        let stamp =
            Stamp { due_ns: 1_700_000_000_123_456_789, run: 7, producer: 3, sequence: u32::MAX };
        assert_eq!(Stamp::read(&stamp.to_bytes()), Some(stamp));
    }

    #[test]
    fn untimed_and_short_bodies_have_no_stamp() {
        assert_eq!(Stamp::read(&[0; 64]), None);
        assert_eq!(Stamp::read(&[1; 15]), None);
    }

    #[test]
    fn percentiles_are_microseconds_from_due_time() {
        let mut latency = Latency::new();
        assert_eq!(latency.percentiles(), None);
        for i in 1..=100u64 {
            latency.record(1_000_000, 1_000_000 + i * 1_000_000, 1);
        }
        let got = latency.percentiles().unwrap();
        let near = |value: f64, expect: f64| (value - expect).abs() / expect < 0.002;
        assert_eq!(got.count, 100);
        assert!(near(got.p50, 50_000.0) && near(got.p90, 90_000.0), "{got:?}");
        assert!(near(got.p99, 99_000.0) && near(got.max, 100_000.0), "{got:?}");
    }

    #[test]
    fn a_receiver_clock_behind_the_sender_counts_as_no_time_at_all() {
        let mut latency = Latency::new();
        latency.record(10_000, 5_000, 1);
        assert!(latency.percentiles().unwrap().max <= 0.2);
    }

    #[test]
    fn taking_moves_the_counts() {
        for several in [1, 1_000] {
            let (mut total, mut part) = (Latency::new(), Latency::one_of(several));
            part.record(0, 5_000, 3);
            part.record(0, u64::MAX, 1);
            total.take_from(&mut part);
            assert_eq!(total.percentiles().unwrap().count, 4);
            assert_eq!(part.percentiles(), None);
        }
    }
}
