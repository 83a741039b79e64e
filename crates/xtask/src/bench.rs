//! `cargo xtask bench`: the figures of the README, each beside its ceiling in the same run, since machines differ by a
//! factor of two and one machine from hour to hour. It builds the release binary, starts a broker and the null relay of
//! `leveret perf`, runs every row some times, and prints a table.

mod figures;
mod rows;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::checkout::Checkout;
use crate::{process, rocksdb};
use figures::{Round, table};
use rows::{ROWS, Row};
use stage::Stage;

#[derive(Args)]
pub(crate) struct Options {
    /// Groups or words of rows, such as `transient`, `persistent` or `latency`; all rows when none is given.
    words: Vec<String>,
    /// How often every row is run: the table has the median and the extremes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How many seconds each run takes, on either side.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds of rest before each run that writes to the disk: disks that give bursts are slow after one.
    #[arg(long, value_name = "S", default_value_t = 5)]
    rest: u64,
    /// Measure this `leveret` instead of building one.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Where the broker's data folder and the raw log lie, on the disk to be measured; in the build output when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_meant(&options.words)).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|row| format!("{}: {}", row.group, row.name)).collect();
        bail!("no row is called that; there are\n  {}", names.join("\n  "));
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build(checkout)?,
    };
    let dir = match &options.dir {
        Some(dir) => stage::folder_in(dir)?,
        None => checkout.scratch("bench")?,
    };
    let stage = Stage {
        program,
        dir,
        duration: Duration::from_secs(options.seconds),
        rest: Duration::from_secs(options.rest),
    };
    let mut measured: Vec<(&Row, Vec<Round>)> = rows.iter().map(|row| (*row, Vec::new())).collect();
    for round in 1..=options.rounds {
        for (row, rounds) in &mut measured {
            println!("round {round} of {}: {}", options.rounds, row.name);
            let figures = stage.play(row)?;
            println!("  {figures}");
            rounds.push(figures);
        }
    }
    println!("\n{}", table(&measured));
    Ok(())
}

fn build(checkout: &Checkout) -> anyhow::Result<PathBuf> {
    rocksdb::prepare(checkout)?;
    process::show(&mut process::cargo(
        checkout.root(),
        &["build", "--release", "--package", "leveret-server", "--bin", "leveret"],
    ))?;
    Ok(checkout.release_program("leveret"))
}
