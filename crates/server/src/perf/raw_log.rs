//! `leveret perf --raw-log`: what the disk gives to a program that only appends and syncs, the ceiling of confirmed
//! persistent messages.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use leveret_store::raw_log::{self, Load};
use serde::Serialize;

use super::error::PerfError;
use super::options::PerfArgs;

/// Messages in flight when `--confirms` does not say.
const IN_FLIGHT: u32 = 1000;

/// How long it appends when `--duration` does not say.
const DURATION: Duration = Duration::from_secs(10);

/// Appends between two looks at the clock.
const SLICE: u32 = 20;

/// What the disk did.
#[derive(Debug, Serialize)]
struct Summary {
    size_bytes: usize,
    in_flight: u32,
    measured_seconds: f64,
    messages: u64,
    messages_per_second: f64,
    bytes_per_second: f64,
    sync_us: SyncTimes,
}

#[derive(Debug, Serialize)]
struct SyncTimes {
    p50: f64,
    p99: f64,
    max: f64,
}

/// Appends messages of `--size` bytes to a file in `dir`, `--confirms` of them with each sync, and prints the figures.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
pub(super) fn run(dir: &Path, args: &PerfArgs) -> Result<(), PerfError> {
    let in_flight = if args.confirms > 0 { args.confirms } else { IN_FLIGHT };
    let load = Load { append_bytes: args.size * in_flight as usize, appends: SLICE };
    let limit = args.duration.unwrap_or(DURATION);
    let file = dir.join(format!("leveret-raw-log-{}", std::process::id()));
    let (mut took, mut each) = (Duration::ZERO, Vec::new());
    let start = Instant::now();
    while start.elapsed() < limit {
        let slice = raw_log::run(&file, load)
            .map_err(|error| PerfError::RawLog { dir: dir.to_owned(), error })?;
        took += slice.took;
        each.extend(slice.each);
    }
    each.sort_unstable();
    show(&Summary::of(args.size, in_flight, took, &each), args.json)?;
    Ok(())
}

impl Summary {
    /// `each` is sorted.
    fn of(size: usize, in_flight: u32, took: Duration, each: &[Duration]) -> Self {
        let at = |part: f64| {
            let index = ((each.len() as f64 * part) as usize).min(each.len().saturating_sub(1));
            each.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        let messages = each.len() as u64 * u64::from(in_flight);
        let seconds = took.as_secs_f64();
        let per_second = messages as f64 / seconds;
        Self {
            size_bytes: size,
            in_flight,
            measured_seconds: seconds,
            messages,
            messages_per_second: per_second,
            bytes_per_second: per_second * size as f64,
            sync_us: SyncTimes { p50: at(0.5), p99: at(0.99), max: at(1.0) },
        }
    }
}

fn show(summary: &Summary, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, summary)?;
        return writeln!(out);
    }
    let Summary { size_bytes, in_flight, measured_seconds, sync_us, .. } = summary;
    writeln!(out, "load        {in_flight} x {size_bytes} bytes appended with each fdatasync")?;
    writeln!(out, "measured    {measured_seconds:.1} s")?;
    writeln!(
        out,
        "raw log     {:.0} msg/s   {:.1} MB/s",
        summary.messages_per_second,
        summary.bytes_per_second / 1e6
    )?;
    writeln!(
        out,
        "append+sync p50 {:.0} µs   p99 {:.0} µs   max {:.0} µs",
        sync_us.p50, sync_us.p99, sync_us.max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_follow_from_the_times() {
        let each: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        let summary = Summary::of(10, 7, Duration::from_secs(2), &each);
        assert_eq!(summary.messages, 700);
        assert!((summary.bytes_per_second - 3500.0).abs() < 1e-6);
        assert!((summary.sync_us.p50 - 51.0).abs() < 1e-6, "{summary:?}");
        assert!((summary.sync_us.max - 100.0).abs() < 1e-6, "{summary:?}");
    }
}
