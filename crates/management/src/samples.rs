//! What counters and lengths were in the last minutes, from which rates are made. A round of looks
//! every few seconds over all objects, in bounded memory; a message costs nothing here.

mod history;

pub(crate) use history::{History, Range};

use crate::counters;
use leveret_engine::view::Registry;
use leveret_engine::{ChannelKey, ConnectionId, QueueId, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the server takes a round. RabbitMQ's default interval of statistics.
pub const ROUND_EVERY: Duration = Duration::from_secs(5);

/// Rounds kept: ten minutes, as RabbitMQ's policy `basic` keeps samples of five seconds.
const ROUNDS_KEPT: usize = 121;

/// Samples kept of all objects together; about 150 bytes each. With more objects each keeps less than
/// ten minutes. An object at rest has one sample, however long it is at rest.
const SAMPLES_MAX: usize = 200_000;

/// Objects that are sampled. What is beyond has no rates; two samples of each are about 30 MiB.
const OBJECTS_MAX: usize = 100_000;

/// What has a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The node: its messages, lengths and churn.
    Node,
    /// A queue: its messages and lengths.
    Queue(QueueId),
    /// A channel: its messages.
    Channel(ChannelKey),
    /// A connection: its bytes.
    Connection(ConnectionId),
}

/// The history of everything on this node.
#[derive(Default)]
pub struct Samples(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// When rounds were, in milliseconds, oldest first.
    rounds: VecDeque<u64>,
    series: HashMap<Subject, Series>,
}

/// The samples of one object: one for each round in which something had changed, oldest first.
#[derive(Default)]
struct Series {
    points: VecDeque<Point>,
    /// The last round in which the object was there.
    seen: u64,
}

struct Point {
    at: u64,
    values: Box<[u64]>,
}

impl Samples {
    /// Looks at everything once. Takes each queue's lock for a moment; for the server's timer, on a
    /// thread that may be busy.
    pub fn take(&self, registry: &dyn Registry, now: Timestamp) {
        let rows = look(registry);
        let mut kept = self.lock();
        let Kept { rounds, series } = &mut *kept;
        rounds.push_back(now.0);
        let per_object = (SAMPLES_MAX / rows.len().max(1)).clamp(2, ROUNDS_KEPT);
        while rounds.len() > ROUNDS_KEPT {
            rounds.pop_front();
        }
        for (subject, values) in rows {
            series.entry(subject).or_default().add(now.0, values, per_object);
        }
        series.retain(|_, series| series.seen == now.0);
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        *self.lock() = Kept::default();
    }

    /// Runs `f` with the history of an object; quick, since the next round waits for it.
    pub(crate) fn with<R>(&self, subject: Subject, f: impl FnOnce(&History<'_>) -> R) -> R {
        let kept = self.lock();
        let points = kept.series.get(&subject).map(|series| &series.points);
        f(&History::new(&kept.rounds, points))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked in it left whole samples behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn add(&mut self, at: u64, values: Box<[u64]>, per_object: usize) {
        self.seen = at;
        if self.points.back().is_some_and(|last| last.values == values) {
            return;
        }
        self.points.push_back(Point { at, values });
        while self.points.len() > per_object {
            self.points.pop_front();
        }
    }
}

/// Every object and its values now, at most as many as are sampled: what is beyond is not looked at.
fn look(registry: &dyn Registry) -> Vec<(Subject, Box<[u64]>)> {
    let node = (Subject::Node, counters::of_node(&registry.totals()));
    let mut queues = Vec::new();
    registry.with_topology(&mut |topology| {
        let all = topology.vhosts().flat_map(|v| v.queues()).map(|queue| queue.id);
        queues = all.take(OBJECTS_MAX).collect();
    });
    let queues = queues.into_iter().filter_map(|id| {
        Some((Subject::Queue(id), counters::of_queue(&registry.queue_figures(id)?)))
    });
    let connections = registry.connections().into_iter();
    let connections = connections.map(|c| (Subject::Connection(c.id), counters::of_connection(&c)));
    let channels = registry.channels().into_iter();
    let channels = channels.map(|c| (Subject::Channel(c.key), counters::of_channel(&c)));
    [node].into_iter().chain(queues).chain(connections).chain(channels).take(OBJECTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(series: &mut Series, at: u64, value: u64) {
        series.add(at, Box::new([value]), 3);
    }

    #[test]
    fn an_object_at_rest_has_one_sample_and_a_busy_one_no_more_than_allowed() {
        let mut series = Series::default();
        for at in 0..100 {
            add(&mut series, at, 7);
        }
        assert_eq!(series.points.len(), 1);
        for at in 100..200 {
            add(&mut series, at, at);
        }
        let kept: Vec<u64> = series.points.iter().map(|point| point.at).collect();
        assert_eq!(kept, [197, 198, 199]);
    }
}
