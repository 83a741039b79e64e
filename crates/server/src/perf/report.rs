//! The live line, the closing summary, and its JSON form.

use std::fmt::{self, Display, Write as _};

use serde::Serialize;

use super::latency::Percentiles;
use super::measure::Tick;
use super::options::Plan;

/// The figures of one run. The fields are the keys of `--json`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    pub(super) broker: String,
    pub(super) address: String,
    pub(super) producers: u32,
    pub(super) consumers: u32,
    pub(super) queues: usize,
    pub(super) size_bytes: usize,
    pub(super) rate_per_producer: Option<f64>,
    pub(super) persistent: bool,
    pub(super) durable: bool,
    pub(super) confirms_in_flight: u32,
    pub(super) prefetch: u16,
    pub(super) ack_every: u32,
    pub(super) measured_seconds: f64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) confirmed: u64,
    pub(super) nacked: u64,
    pub(super) sent_per_second: f64,
    pub(super) received_per_second: f64,
    pub(super) confirmed_per_second: f64,
    pub(super) sent_bytes_per_second: f64,
    pub(super) received_bytes_per_second: f64,
    pub(super) latency_us: Option<Percentiles>,
    pub(super) confirm_latency_us: Option<Percentiles>,
    pub(super) send_lag_us: Option<Percentiles>,
    pub(super) out_of_order: u64,
    pub(super) blocked_seconds: f64,
    pub(super) idle_connections: u32,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) interrupted: bool,
    pub(super) notes: Vec<String>,
}

/// One second of a run.
pub(super) fn live_line(plan: &Plan, tick: &Tick) -> String {
    let mut line = format!("{:>5.0} s", tick.elapsed.as_secs_f64());
    // Writing to a String cannot fail.
    if plan.producers > 0 {
        let _ = write!(line, "   sent {:>11}/s", Count(tick.sent));
    }
    if plan.confirms > 0 {
        let _ = write!(line, "   confirmed {:>11}/s", Count(tick.confirmed));
    }
    if plan.consumers > 0 {
        let _ = write!(line, "   received {:>11}/s", Count(tick.received));
    }
    if let Some(latency) = &tick.latency {
        let _ =
            write!(line, "   latency p50 {:>7} p99 {:>7}", Time(latency.p50), Time(latency.p99));
    }
    if let Some(latency) = &tick.confirm_latency {
        let _ =
            write!(line, "   confirm p50 {:>7} p99 {:>7}", Time(latency.p50), Time(latency.p99));
    }
    if plan.idle_connections > 0 {
        let _ = write!(line, "   {} idle connections", plan.idle_connections);
    }
    if tick.n_blocked > 0 {
        let _ = write!(
            line,
            "   BLOCKED by the broker: {} of {} producers",
            tick.n_blocked, plan.producers
        );
    }
    line
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<11} {} at {}", "broker", self.broker, self.address)?;
        writeln!(f, "{:<11} {}", "load", self.load())?;
        let early = if self.interrupted { ", interrupted" } else { "" };
        writeln!(f, "{:<11} {:.1} s{early}", "measured", self.measured_seconds)?;
        if self.producers > 0 {
            rate(f, "sent", self.sent_per_second, Some(self.sent_bytes_per_second), self.sent)?;
        }
        if self.confirms_in_flight > 0 {
            rate(f, "confirmed", self.confirmed_per_second, None, self.confirmed)?;
        }
        if self.nacked > 0 {
            writeln!(f, "{:<11} {} messages", "nacked", Count(self.nacked as f64))?;
        }
        if self.consumers > 0 {
            rate(
                f,
                "received",
                self.received_per_second,
                Some(self.received_bytes_per_second),
                self.received,
            )?;
        }
        let timings = [
            ("latency", &self.latency_us),
            ("confirm", &self.confirm_latency_us),
            ("send lag", &self.send_lag_us),
        ];
        for (name, percentiles) in timings {
            if let Some(percentiles) = percentiles {
                writeln!(f, "{name:<11} {percentiles}")?;
            }
        }
        self.fmt_oddities(f)?;
        if let Some(cpu) = self.cpu_seconds {
            let cores = cpu / self.measured_seconds;
            writeln!(f, "{:<11} {cores:.2} cores used by this load generator", "cpu")?;
        }
        Ok(())
    }
}

impl Summary {
    /// `2 producers -> 1 queue -> 1 consumer, 16 B, ...`.
    fn load(&self) -> String {
        let mut load = String::new();
        let plural = |n: u64, what: &str| {
            format!("{} {what}{}", Count(n as f64), if n == 1 { "" } else { "s" })
        };
        if self.producers + self.consumers > 0 {
            let _ = write!(
                load,
                "{} → {} → {}, {} B, {}, {}",
                plural(self.producers.into(), "producer"),
                plural(
                    self.queues as u64,
                    if self.durable { "durable queue" } else { "transient queue" }
                ),
                plural(self.consumers.into(), "consumer"),
                Count(self.size_bytes as f64),
                if self.persistent { "persistent" } else { "transient" },
                match self.ack_every {
                    0 => "automatic acks".to_owned(),
                    n => format!("ack every {n}, prefetch {}", self.prefetch),
                }
            );
        }
        if self.confirms_in_flight > 0 {
            let _ =
                write!(load, ", {} in flight", plural(self.confirms_in_flight.into(), "confirm"));
        }
        if let Some(rate) = self.rate_per_producer {
            let _ = write!(load, ", {rate} msg/s each");
        }
        if self.idle_connections > 0 {
            let separator = if load.is_empty() { "" } else { "; " };
            let _ = write!(
                load,
                "{separator}{}",
                plural(self.idle_connections.into(), "idle connection")
            );
        }
        load
    }

    /// What should not be there, if it is.
    fn fmt_oddities(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.out_of_order > 0 {
            writeln!(f, "{:<11} {} messages", "out of order", Count(self.out_of_order as f64))?;
        }
        if self.blocked_seconds > 0.0 {
            writeln!(
                f,
                "{:<11} {:.1} s by the broker (memory or disk alarm)",
                "blocked", self.blocked_seconds
            )?;
        }
        Ok(())
    }
}

fn rate(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    rate: f64,
    bytes: Option<f64>,
    total: u64,
) -> fmt::Result {
    write!(f, "{name:<11} {:>11} msg/s", Count(rate))?;
    match bytes {
        Some(bytes) => write!(f, "{:>12.1} MB/s", bytes / 1e6)?,
        None => write!(f, "{:>17}", "")?,
    }
    writeln!(f, "{:>16} messages in all", Count(total as f64))
}

impl Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p99.9", self.p999),
            ("max", self.max),
        ];
        for (i, (name, us)) in columns.into_iter().enumerate() {
            let gap = if i == 0 { "" } else { "   " };
            write!(f, "{gap}{name} {:>7}", Time(us))?;
        }
        Ok(())
    }
}

/// Microseconds in the unit that suits them, three digits.
struct Time(f64);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            us if us < 1_000.0 => (us, "µs"),
            us if us < 1_000_000.0 => (us / 1e3, "ms"),
            us => (us / 1e6, "s"),
        };
        let digits = match value {
            v if v < 10.0 => 2,
            v if v < 100.0 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.digits$} {unit}"))
    }
}

/// A whole number with thousands separated.
struct Count(f64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.0}", self.0);
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(Count(0.4).to_string(), "0");
        assert_eq!(Count(999.0).to_string(), "999");
        assert_eq!(Count(9_812_345.2).to_string(), "9,812,345");
        assert_eq!(format!("{:>9}", Count(1000.0)), "    1,000");
        assert_eq!(Time(41.26).to_string(), "41.3 µs");
        assert_eq!(Time(1_234.0).to_string(), "1.23 ms");
        assert_eq!(Time(2_500_000.0).to_string(), "2.50 s");
    }
}
