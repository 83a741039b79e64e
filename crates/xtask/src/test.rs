//! `cargo xtask test`: every check, in order, with progress and a table at the end.
//! It stops at the first step that fails and names the command that repeats it.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::checkout::Checkout;
use crate::{differential, fmt, fuzz, interop, lint, rocksdb, setup, tidy, unit};

/// One step: the command that runs it alone is `cargo xtask` and its name.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Checkout) -> anyhow::Result<()>,
}

/// Cheap steps come first, so that most mistakes are known within seconds.
const STEPS: [Step; 9] = [
    Step { name: "setup", what: "what the tests need", run: |_| setup::run(setup::Scope::Test) },
    Step {
        name: "fmt",
        what: "the code's format",
        run: |checkout| fmt::run(checkout, &fmt::Options::default()),
    },
    Step { name: "tidy", what: "layers, headers, sizes, paths in docs", run: tidy::run },
    Step { name: "rocksdb", what: "the message store's database", run: rocksdb::prepare },
    Step { name: "lint", what: "clippy", run: lint::run },
    Step {
        name: "unit",
        what: "the Rust tests",
        run: |checkout| unit::run(checkout, &unit::Options::default()),
    },
    Step {
        name: "fuzz",
        what: "mutated bytes through every parser",
        run: |checkout| fuzz::run(checkout, &fuzz::Options::default()),
    },
    Step {
        name: "interop",
        what: "other people's clients",
        run: |checkout| interop::run(checkout, &interop::Options::default()),
    },
    Step {
        name: "differential",
        what: "frame by frame against RabbitMQ",
        run: |checkout| differential::run(checkout, &differential::Options::default()),
    },
];

pub(crate) fn run(checkout: &Checkout) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut rows = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        println!("\n== step {} of {}: {} ({})", index + 1, STEPS.len(), step.name, step.what);
        let began = Instant::now();
        let result = (step.run)(checkout);
        rows.push((step.name, result.is_ok(), began.elapsed()));
        if let Err(error) = result {
            println!("\n{error:#}");
            print_table(&rows, started.elapsed());
            bail!("step {0} failed; `cargo xtask {0}` repeats it alone", step.name);
        }
    }
    print_table(&rows, started.elapsed());
    println!("All steps passed. `cargo xtask run` starts a broker to try by hand.");
    Ok(())
}

fn print_table(rows: &[(&str, bool, Duration)], total: Duration) {
    println!("\n{:<14} {:<7} {:>8}", "step", "result", "time");
    for (name, ok, time) in rows {
        let result = if *ok { "ok" } else { "FAILED" };
        println!("{name:<14} {result:<7} {:>6.1} s", time.as_secs_f64());
    }
    println!("{:<14} {:<7} {:>6.1} s\n", "total", "", total.as_secs_f64());
}
