//! What the store costs, beside a raw log on the same disk in the same run:
//! `cargo run --release --example store_bench -p leveret-store [FOLDER]`.
//!
//! Each group is written and synced, and what is older than 16 MiB is retired, as a node does with messages that
//! are consumed soon. Wall time is what one writer waits; CPU time is user and system time of the whole process,
//! RocksDB's threads included.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement"
)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use leveret_store::raw_log::{self, Load};
use leveret_store::{
    Batch, Gcn, LATENCY_BOUNDS_MICROS, MessageStore, RocksOptions, RocksStore, StoreId,
};

/// What a message costs in a record besides its body: op, positions, properties, routing key.
const OVERHEAD: usize = 60;
const WINDOW_BYTES: usize = 16 << 20;
const TIME: Duration = Duration::from_secs(2);

fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("leveret-store-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    println!(
        "{:>6} {:>6} | {:>9} {:>10} {:>9} {:>8} {:>8} | {:>9} {:>10} | {:>5}",
        "body",
        "group",
        "syncs/s",
        "msg/s",
        "CPU ns",
        "p50 us",
        "p99 us",
        "raw/s",
        "raw msg/s",
        "ratio"
    );
    for body in [16, 1024] {
        for group in [1, 100, 1000] {
            line(&folder, body, group);
        }
    }
    std::fs::remove_dir_all(&folder).expect("it is there");
}

fn line(folder: &Path, body: usize, group: usize) {
    let bytes = (body + OVERHEAD) * group;
    let measured = store(&folder.join(format!("{body}-{group}")), bytes);
    let appends = u32::try_from(measured.groups.clamp(100, 20_000)).expect("bounded");
    let load = Load { append_bytes: bytes, appends };
    let raw = raw_log::run(&folder.join("raw"), load).expect("the disk works");
    let per_second = measured.groups as f64 / measured.took.as_secs_f64();
    let raw_per_second = f64::from(appends) / raw.took.as_secs_f64();
    let messages = (measured.groups * group as u64) as f64;
    println!(
        "{body:>6} {group:>6} | {per_second:>9.0} {:>10.0} {:>9.0} {:>8} {:>8} | {raw_per_second:>9.0} {:>10.0} | {:>5.2}",
        per_second * group as f64,
        measured.cpu.as_nanos() as f64 / messages,
        measured.p50,
        measured.p99,
        raw_per_second * group as f64,
        per_second / raw_per_second,
    );
}

struct Measured {
    groups: u64,
    took: Duration,
    cpu: Duration,
    p50: u64,
    p99: u64,
}

fn store(path: &Path, bytes: usize) -> Measured {
    let store = RocksStore::open(path, &RocksOptions::new(StoreId(1))).expect("a new store");
    let mut window: VecDeque<Gcn> = VecDeque::new();
    let (cpu, start) = (cpu(), Instant::now());
    let mut groups = 0;
    while start.elapsed() < TIME {
        let retire_upto =
            if window.len() * bytes > WINDOW_BYTES { window.pop_front() } else { None };
        // The capacity leaves room for the checksum, as a node's does.
        let mut record = Vec::with_capacity(bytes + 8);
        record.resize(bytes, groups as u8);
        let batch = Batch { record, retire_upto, ..Batch::default() };
        window.push_back(store.write(batch).expect("the disk works"));
        store.sync().expect("the disk works");
        groups += 1;
    }
    let (took, cpu) = (start.elapsed(), self::cpu() - cpu);
    let syncs = store.figures().sync_micros;
    let quantile = |fraction| syncs.quantile(&LATENCY_BOUNDS_MICROS, fraction).unwrap_or(u64::MAX);
    Measured { groups, took, cpu, p50: quantile(0.5), p99: quantile(0.99) }
}

/// User and system time of this process, from `/proc` in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
