//! The leveret binary: its commands.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod perf;

#[derive(Parser)]
#[command(name = "leveret", version, about = "A message broker that takes RabbitMQ's place")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Perf(Box<perf::PerfArgs>),
}

fn main() -> ExitCode {
    let Command::Perf(args) = Cli::parse().command;
    match perf::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "leveret perf: {error}");
            ExitCode::FAILURE
        }
    }
}
