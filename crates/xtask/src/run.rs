//! `cargo xtask run`: a broker from this checkout, with one command.

use std::os::unix::process::CommandExt;

use anyhow::Context;
use clap::Args;

use crate::checkout::Checkout;
use crate::{process, rocksdb, setup};

#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to `leveret serve`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

const WHAT_NEXT: &str = "
leveret is starting. Unless options or a configuration file say otherwise:
  AMQP 0-9-1        amqp://guest:guest@localhost:5672
  management        http://localhost:15672 (guest / guest)
  Prometheus        http://localhost:15692/metrics
Point any RabbitMQ client at the first address. Ctrl-C stops the broker.
";

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    setup::run(setup::Scope::Run)?;
    rocksdb::prepare(checkout)?;
    process::show(&mut process::cargo(
        checkout.root(),
        &["build", "--release", "--package", "leveret-server", "--bin", "leveret"],
    ))?;
    println!("{WHAT_NEXT}");
    // The broker takes this process's place, so that a signal reaches it and nothing else.
    let error = process::command(checkout.release_program("leveret"))
        .arg("serve")
        .args(&options.args)
        .exec();
    Err(error).context("cannot start leveret")
}
