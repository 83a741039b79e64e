//! What is measured: each row is a run of `leveret perf` and what it is compared with.

/// One row of the table.
pub(super) struct Row {
    /// Rows that are measured for the same reason.
    pub(super) group: &'static str,
    /// What the table calls it.
    pub(super) name: &'static str,
    /// What is run.
    pub(super) work: Work,
    /// What at least is wanted, as people read it.
    pub(super) wanted: &'static str,
}

/// Options of `leveret perf`, separated by blanks.
pub(super) type Load = &'static str;

/// What is run for a row, and which of its figures count.
pub(super) enum Work {
    /// The rate of `load` as a share of the ceiling's.
    Rate { load: Load, per_second: &'static str, ceiling: Ceiling },
    /// The latency of `load` as a multiple of the ceiling's, median and 99th percentile.
    Latency { load: Load, field: &'static str, ceiling: Ceiling },
    /// Fills a queue, and measures how fast it is emptied; the same with `ceiling`.
    Drain { fill: Load, ceiling: Load, messages: u64 },
    /// Memory of the broker while this many connections do nothing.
    Idle { connections: u32 },
}

/// What a figure stands beside.
pub(super) enum Ceiling {
    /// The same load on the null relay.
    Relay,
    /// Another load on the same broker.
    Broker(Load),
    /// The same bytes appended to a file and synced, this many messages at once.
    RawLog { size: &'static str, in_flight: &'static str },
}

/// Where a run of `leveret perf --json` has its figures.
pub(super) const SENT: &str = "sent_per_second";
const RECEIVED: &str = "received_per_second";
const CONFIRMED: &str = "confirmed_per_second";
const LATENCY: &str = "latency_us";
const CONFIRM_LATENCY: &str = "confirm_latency_us";

const fn relayed(name: &'static str, load: Load, wanted: &'static str) -> Row {
    let work = Work::Rate { load, per_second: RECEIVED, ceiling: Ceiling::Relay };
    Row { group: "transient", name, work, wanted }
}

const fn confirmed(
    name: &'static str,
    load: Load,
    in_flight: &'static str,
    wanted: &'static str,
) -> Row {
    let ceiling = Ceiling::RawLog { size: "1k", in_flight };
    let work = Work::Rate { load, per_second: CONFIRMED, ceiling };
    Row { group: "persistent", name, work, wanted }
}

const fn beside_transient(
    name: &'static str,
    load: Load,
    per_second: &'static str,
    transient: Load,
    wanted: &'static str,
) -> Row {
    let work = Work::Rate { load, per_second, ceiling: Ceiling::Broker(transient) };
    Row { group: "persistent", name, work, wanted }
}

/// All rows.
pub(super) const ROWS: &[Row] = &[
    relayed("16 B, auto-ack", "--size 16", "0.40"),
    relayed("1 KiB, auto-ack", "--size 1k", "0.50"),
    relayed("16 KiB, auto-ack", "--size 16k", "0.50"),
    Row {
        group: "transient",
        name: "16 B, manual ack, prefetch 1,000, ack every 100",
        work: Work::Rate {
            load: "--size 16 --prefetch 1000 --ack-every 100",
            per_second: RECEIVED,
            ceiling: Ceiling::Broker("--size 16"),
        },
        wanted: "0.7 of auto-ack",
    },
    Row {
        group: "latency",
        name: "latency at 5,000/s",
        work: Work::Latency {
            load: "--size 16 --rate 5000",
            field: LATENCY,
            ceiling: Ceiling::Relay,
        },
        wanted: "p50 1.5, p99 2",
    },
    Row {
        group: "memory",
        name: "1,000 idle connections",
        work: Work::Idle { connections: 1000 },
        wanted: "40 MB",
    },
    confirmed(
        "1 KiB, 1,000 confirms in flight, no consumer",
        "--size 1k --persistent --durable --confirms 1000 --consumers 0",
        "1000",
        "0.6",
    ),
    confirmed(
        "same, with a consumer that acks every 100",
        "--size 1k --persistent --durable --confirms 1000 --ack-every 100",
        "1000",
        "0.6",
    ),
    confirmed(
        "same, 100 in flight",
        "--size 1k --persistent --durable --confirms 100 --ack-every 100",
        "100",
        "0.5",
    ),
    Row {
        group: "persistent",
        name: "same, 1 in flight",
        work: Work::Latency {
            load: "--size 1k --persistent --durable --confirms 1 --ack-every 100",
            field: CONFIRM_LATENCY,
            ceiling: Ceiling::RawLog { size: "1k", in_flight: "1" },
        },
        wanted: "p50 one sync + 120 µs",
    },
    beside_transient(
        "16 B, no confirm, no consumer",
        "--size 16 --persistent --durable --consumers 0",
        SENT,
        "--size 16 --durable --consumers 0",
        "0.4 of transient",
    ),
    Row {
        group: "persistent",
        name: "then drain them",
        work: Work::Drain {
            fill: "--size 16 --persistent --durable",
            ceiling: "--size 16 --durable",
            messages: 10_000_000,
        },
        wanted: "0.5 of transient",
    },
    beside_transient(
        "16 B, no confirm, auto-ack",
        "--size 16 --persistent --durable",
        RECEIVED,
        "--size 16 --durable",
        "0.6 of transient",
    ),
    beside_transient(
        "1 KiB, no confirm, auto-ack",
        "--size 1k --persistent --durable",
        RECEIVED,
        "--size 1k --durable",
        "0.6 of transient",
    ),
    Row {
        group: "persistent",
        name: "confirmed latency at 1,000/s",
        work: Work::Latency {
            load: "--size 1k --persistent --durable --rate 1000 --confirms 1000",
            field: CONFIRM_LATENCY,
            ceiling: Ceiling::RawLog { size: "1k", in_flight: "1" },
        },
        wanted: "p50 1.5, p99 3",
    },
];

impl Row {
    /// Whether the words of the command line mean it.
    pub(super) fn is_meant(&self, words: &[String]) -> bool {
        words.is_empty()
            || words.iter().any(|word| self.group == word || self.name.contains(word.as_str()))
    }

    /// Whether it writes to the disk.
    pub(super) fn is_stored(&self) -> bool {
        self.group == "persistent"
    }
}
