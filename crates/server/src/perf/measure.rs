//! From counters to rates: snapshots of all threads' counters, and the histograms put together.

use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::latency::{Latency, Percentiles};
use super::report::Summary;
use super::shared::Run;

/// Ticks per second of the CPU times in `/proc`, the same on every Linux.
const CPU_TICKS: f64 = 100.0;

/// All counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    at: Instant,
    sent: u64,
    received: u64,
    confirmed: u64,
    nacked: u64,
    cpu_seconds: Option<f64>,
}

impl Snapshot {
    fn take(run: &Run) -> Self {
        Self {
            at: Instant::now(),
            sent: run.produced(|producer| &producer.sent),
            received: run.consumed(|consumer| &consumer.received),
            confirmed: run.produced(|producer| &producer.confirmed),
            nacked: run.produced(|producer| &producer.nacked),
            cpu_seconds: cpu_seconds(),
        }
    }
}

/// What happened since the last live line.
#[derive(Debug)]
pub(super) struct Tick {
    /// Since the run, or its measured part, began.
    pub(super) elapsed: Duration,
    pub(super) sent: f64,
    pub(super) received: f64,
    pub(super) confirmed: f64,
    pub(super) latency: Option<Percentiles>,
    pub(super) confirm_latency: Option<Percentiles>,
    pub(super) n_blocked: usize,
}

/// Measures one run.
pub(super) struct Meter<'r> {
    run: &'r Run,
    start: Snapshot,
    last: Snapshot,
    sent_end: Snapshot,
    received_end: Snapshot,
    latency: Latency,
    confirm_latency: Latency,
    send_lag: Latency,
}

impl<'r> Meter<'r> {
    pub(super) fn new(run: &'r Run) -> Self {
        let now = Snapshot::take(run);
        Self {
            run,
            start: now,
            last: now,
            sent_end: now,
            received_end: now,
            latency: Latency::new(),
            confirm_latency: Latency::new(),
            send_lag: Latency::new(),
        }
    }

    /// Measuring begins now.
    pub(super) fn restart(&mut self) {
        self.run.measure_from_ns.store(self.run.clock.now_ns(), Relaxed);
        self.collect();
        for histogram in [&mut self.latency, &mut self.confirm_latency, &mut self.send_lag] {
            histogram.clear();
        }
        self.start = Snapshot::take(self.run);
        self.last = self.start;
    }

    /// A second, more or less, is over.
    pub(super) fn tick(&mut self) -> Tick {
        let (last, now) = (self.last, Snapshot::take(self.run));
        self.last = now;
        let per_second = |n: u64| n as f64 / (now.at - last.at).as_secs_f64().max(1e-9);
        let (latency, confirm_latency) = self.collect();
        Tick {
            elapsed: now.at - self.start.at,
            sent: per_second(now.sent - last.sent),
            received: per_second(now.received - last.received),
            confirmed: per_second(now.confirmed - last.confirmed),
            latency,
            confirm_latency,
            n_blocked: self.run.n_blocked(),
        }
    }

    /// Moves what the threads have recorded since the last time into the totals, and answers with
    /// its percentiles (delivery, confirm).
    pub(super) fn collect(&mut self) -> (Option<Percentiles>, Option<Percentiles>) {
        let (mut latency, mut confirm_latency) = (Latency::new(), Latency::new());
        for consumer in &self.run.consumers {
            latency.take_from(&mut consumer.latency.lock());
        }
        for producer in &self.run.producers {
            confirm_latency.take_from(&mut producer.confirm_latency.lock());
            self.send_lag.take_from(&mut producer.send_lag.lock());
        }
        let percentiles = (latency.percentiles(), confirm_latency.percentiles());
        self.latency.take_from(&mut latency);
        self.confirm_latency.take_from(&mut confirm_latency);
        percentiles
    }

    /// The measured part of sending is over.
    pub(super) fn end_sending(&mut self) {
        self.sent_end = Snapshot::take(self.run);
    }

    /// The measured part of receiving is over.
    pub(super) fn end_receiving(&mut self) {
        self.received_end = Snapshot::take(self.run);
    }

    /// Changes whenever a message moves.
    pub(super) fn moved(&self) -> u64 {
        self.run.produced(|producer| &producer.sent)
            + self.run.produced(|producer| &producer.confirmed)
            + self.received()
    }

    pub(super) fn received(&self) -> u64 {
        self.run.consumed(|consumer| &consumer.received)
    }

    /// How many deliveries the messages sent so far amount to.
    pub(super) fn expected(&self) -> u64 {
        let sent = self.run.produced(|producer| &producer.sent);
        let refused = self.run.produced(|producer| &producer.nacked);
        (sent - refused.min(sent)) * self.run.plan.copies()
    }

    /// The figures of the run.
    pub(super) fn summary(
        &self,
        broker: String,
        blocked: Duration,
        interrupted: bool,
        notes: Vec<String>,
    ) -> Summary {
        let plan = &self.run.plan;
        let total = Snapshot::take(self.run);
        let (start, sent_end, received_end) = (self.start, self.sent_end, self.received_end);
        let sending = (sent_end.at - start.at).as_secs_f64().max(1e-9);
        let receiving = (received_end.at - start.at).as_secs_f64().max(1e-9);
        let sent_per_second = (sent_end.sent - start.sent) as f64 / sending;
        let received_per_second = (received_end.received - start.received) as f64 / receiving;
        let size = plan.size as f64;
        Summary {
            broker,
            address: plan.uri.address(),
            producers: plan.producers,
            consumers: plan.consumers,
            queues: plan.queues.len(),
            size_bytes: plan.size,
            rate_per_producer: plan.rate,
            persistent: plan.persistent,
            durable: plan.durable,
            confirms_in_flight: plan.confirms,
            prefetch: plan.prefetch,
            ack_every: plan.ack_every,
            measured_seconds: sending.max(receiving),
            sent: total.sent,
            received: total.received,
            confirmed: total.confirmed,
            nacked: total.nacked,
            sent_per_second,
            received_per_second,
            confirmed_per_second: (sent_end.confirmed - start.confirmed) as f64 / sending,
            sent_bytes_per_second: sent_per_second * size,
            received_bytes_per_second: received_per_second * size,
            latency_us: self.latency.percentiles(),
            confirm_latency_us: self.confirm_latency.percentiles(),
            send_lag_us: self.send_lag.percentiles(),
            out_of_order: self.run.consumed(|consumer| &consumer.out_of_order),
            blocked_seconds: blocked.as_secs_f64(),
            idle_connections: plan.idle_connections,
            cpu_seconds: received_end
                .cpu_seconds
                .zip(start.cpu_seconds)
                .map(|(end, start)| end - start),
            interrupted,
            notes,
        }
    }
}

/// User and system time of this process so far.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / CPU_TICKS)
}
