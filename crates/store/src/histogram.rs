//! Counters in fixed buckets: written by one thread, read by any, no lock and no allocation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the buckets of a latency, in microseconds: 50 µs (a disk with a capacitor) to 10 s (a
/// disk that is about to fail). Each bound is included in its bucket.
pub const LATENCY_BOUNDS_MICROS: [u64; BUCKETS - 1] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000,
    10_000_000,
];

/// Upper bounds of the buckets of a group's size in bytes: 64 B to 64 MiB.
pub const GROUP_BOUNDS_BYTES: [u64; BUCKETS - 1] = [
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    8 << 20,
    16 << 20,
    64 << 20,
];

const BUCKETS: usize = 15;

/// Counts at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Histogram {
    /// How many fell in each bucket (not summed up); the last has no upper bound.
    pub counts: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper bound of the bucket that holds the value at `fraction` (0 to 1) of all values; `None` when
    /// there are none or it is beyond the last bound.
    #[must_use]
    pub fn quantile(&self, bounds: &[u64; BUCKETS - 1], fraction: f64) -> Option<u64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a quantile of a histogram is rough by nature"
        )]
        let rank = fraction * self.count() as f64;
        let mut below = 0;
        for (count, bound) in self.counts.iter().zip(bounds) {
            below += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            if below > 0 && below as f64 >= rank {
                return Some(*bound);
            }
        }
        None
    }
}

/// Where values are counted.
#[derive(Debug)]
pub(crate) struct Recorder {
    bounds: &'static [u64; BUCKETS - 1],
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Recorder {
    pub(crate) const fn new(bounds: &'static [u64; BUCKETS - 1]) -> Self {
        Self { bounds, counts: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    pub(crate) fn get(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|at| self.counts[at].load(Relaxed)),
            sum: self.sum.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket_and_what_is_beyond_in_the_last() {
        let recorder = Recorder::new(&LATENCY_BOUNDS_MICROS);
        for value in [0, 50, 51, 10_000_000, 10_000_001] {
            recorder.add(value);
        }
        let got = recorder.get();
        assert_eq!((got.counts[0], got.counts[1], got.counts[13], got.counts[14]), (2, 1, 1, 1));
        assert_eq!((got.count(), got.sum), (5, 20_000_102));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let recorder = Recorder::new(&LATENCY_BOUNDS_MICROS);
        assert_eq!(recorder.get().quantile(&LATENCY_BOUNDS_MICROS, 0.5), None);
        for _ in 0..99 {
            recorder.add(150);
        }
        recorder.add(700_000);
        let got = recorder.get();
        assert_eq!(got.quantile(&LATENCY_BOUNDS_MICROS, 0.5), Some(200));
        assert_eq!(got.quantile(&LATENCY_BOUNDS_MICROS, 1.0), Some(1_000_000));
    }
}
