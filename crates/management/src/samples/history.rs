//! Rates and samples out of one object's history, in RabbitMQ's shape.

use super::Point;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;

/// Samples of one answer, at most: as many as there are rounds, with room for finer steps.
const SAMPLES_SHOWN_MAX: u64 = 1000;

/// Which samples are asked for: how far back, and in which steps, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) age_ms: u64,
    pub(crate) step_ms: u64,
}

/// What is known of an object's past.
pub(crate) struct History<'a> {
    rounds: &'a VecDeque<u64>,
    points: Option<&'a VecDeque<Point>>,
}

impl<'a> History<'a> {
    pub(super) fn new(rounds: &'a VecDeque<u64>, points: Option<&'a VecDeque<Point>>) -> Self {
        Self { rounds, points }
    }

    /// The `*_details` of the value with this index: the rate and, where asked for, samples.
    pub(crate) fn details(&self, index: usize, range: Option<Range>) -> Value {
        let mut fields = Map::new();
        fields.insert("rate".to_owned(), json!(self.rate(index)));
        if let Some(range) = range {
            self.put_samples(index, range, &mut fields);
        }
        Value::Object(fields)
    }

    /// Per second, between the last two rounds.
    fn rate(&self, index: usize) -> f64 {
        let mut rounds = self.rounds.iter().rev();
        let (Some(&last), Some(&before)) = (rounds.next(), rounds.next()) else { return 0.0 };
        match (self.at(last, index), self.at(before, index)) {
            (Some(now), Some(then)) => per_second(now, then, last - before),
            _ => 0.0,
        }
    }

    /// The value as it was; `None` before the object's first sample.
    fn at(&self, time: u64, index: usize) -> Option<u64> {
        let points = self.points?;
        let after = points.partition_point(|point| point.at <= time);
        points.get(after.checked_sub(1)?)?.values.get(index).copied()
    }

    // rabbitmq: rabbit_mgmt_stats format_range: the newest sample first, at multiples of the step
    fn put_samples(&self, index: usize, range: Range, fields: &mut Map<String, Value>) {
        let Some(&last) = self.rounds.back() else { return };
        let newest = last - last % range.step_ms;
        let count = (range.age_ms / range.step_ms).min(SAMPLES_SHOWN_MAX);
        let times = (0..=count).map_while(|n| newest.checked_sub(n * range.step_ms));
        let samples: Vec<(u64, u64)> =
            times.map(|time| (time, self.at(time, index).unwrap_or(0))).collect();
        let sum: f64 = samples.iter().map(|(_, value)| *value as f64).sum();
        fields.insert("avg".to_owned(), json!(sum / samples.len().max(1) as f64));
        if let (Some(&(last, now)), Some(&(first, then))) = (samples.first(), samples.last()) {
            fields.insert("avg_rate".to_owned(), json!(per_second(now, then, last - first)));
        }
        let shown = samples.iter().map(|(time, value)| json!({"sample": value, "timestamp": time}));
        fields.insert("samples".to_owned(), shown.collect());
    }
}

/// Lengths also fall.
fn per_second(now: u64, then: u64, ms: u64) -> f64 {
    if ms == 0 { 0.0 } else { (now as f64 - then as f64) * 1000.0 / ms as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(points: &[(u64, u64)]) -> (VecDeque<u64>, VecDeque<Point>) {
        let rounds = (1..=4).map(|n| n * 5000).collect();
        let point = |(at, value): &(u64, u64)| Point { at: *at, values: Box::new([*value]) };
        (rounds, points.iter().map(point).collect())
    }

    #[test]
    fn the_rate_is_that_of_the_last_two_rounds() {
        for (points, rate) in [
            (&[(5000, 0), (20_000, 50)][..], 10.0),
            (&[(5000, 0), (15_000, 50)], 0.0),
            (&[(5000, 100), (20_000, 50)], -10.0),
            (&[(20_000, 50)], 0.0),
            (&[], 0.0),
        ] {
            let (rounds, points) = history(points);
            let history = History::new(&rounds, Some(&points));
            assert_eq!(history.details(0, None), json!({"rate": rate}));
        }
    }

    #[test]
    fn samples_are_the_values_at_multiples_of_the_step() {
        let (rounds, points) = history(&[(5000, 10), (20_000, 40)]);
        let range = Some(Range { age_ms: 10_000, step_ms: 10_000 });
        let details = History::new(&rounds, Some(&points)).details(0, range);
        let samples =
            json!([{"sample": 40, "timestamp": 20_000}, {"sample": 10, "timestamp": 10_000}]);
        assert_eq!(details["samples"], samples);
        assert_eq!(details["avg"], json!(25.0));
        assert_eq!(details["avg_rate"], json!(3.0));
    }
}
