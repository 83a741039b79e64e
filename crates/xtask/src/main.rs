//! `cargo xtask`: every development command of leveret, one file per command.
//! What CI checks is `cargo xtask test`; each of its steps can be run alone.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a development command talks to the person who ran it")]
#![allow(
    clippy::disallowed_methods,
    reason = "development commands wait for processes and measure how long they take"
)]

mod bench;
mod broker;
mod checkout;
mod differential;
mod fmt;
mod fuzz;
mod interop;
mod lint;
mod process;
mod rocksdb;
mod run;
mod setup;
mod tally;
mod test;
mod tidy;
mod unit;

use std::process::ExitCode;

use checkout::Checkout;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The development commands of leveret")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what the tests need and install it, or name the command that does.
    Setup,
    /// Compile RocksDB, once for all profiles, if that has not been done.
    Rocksdb,
    /// Build the release binary and run a broker with the default settings.
    Run(run::Options),
    /// Every check, in order: what CI runs.
    Test,
    /// Check that the code is formatted.
    Fmt(fmt::Options),
    /// Clippy over every crate and test, warnings are errors.
    Lint,
    /// Check the rules that no compiler checks: layers, headers, sizes, paths named in docs.
    Tidy,
    /// The Rust tests: unit, property, simulation and black-box, then the documentation's examples.
    Unit(unit::Options),
    /// Feed every parser mutated bytes for a short while.
    Fuzz(fuzz::Options),
    /// Run other people's clients against a broker.
    Interop(interop::Options),
    /// Compare every answered frame with what RabbitMQ answered.
    Differential(differential::Options),
    /// Measure the release binary beside its ceilings and print the table of figures.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    let checkout = Checkout::find()?;
    let compiles = matches!(
        command,
        Command::Lint
            | Command::Unit(_)
            | Command::Fuzz(_)
            | Command::Interop(_)
            | Command::Differential(_)
    );
    if compiles {
        rocksdb::prepare(&checkout)?;
    }
    match command {
        Command::Setup => setup::run(setup::Scope::Test),
        Command::Rocksdb => rocksdb::prepare(&checkout),
        Command::Run(options) => run::run(&checkout, &options),
        Command::Test => test::run(&checkout),
        Command::Fmt(options) => fmt::run(&checkout, &options),
        Command::Lint => lint::run(&checkout),
        Command::Tidy => tidy::run(&checkout),
        Command::Unit(options) => unit::run(&checkout, &options),
        Command::Fuzz(options) => fuzz::run(&checkout, &options),
        Command::Interop(options) => interop::run(&checkout, &options),
        Command::Differential(options) => differential::run(&checkout, &options),
        Command::Bench(options) => bench::run(&checkout, &options),
    }
}
