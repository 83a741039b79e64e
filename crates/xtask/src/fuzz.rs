//! `cargo xtask fuzz`: a short run of mutated bytes through every parser, on the stable toolchain.

use clap::Args;

use crate::checkout::Checkout;
use crate::process;

/// The programs, each an example of the crate whose parsers it feeds. Their one argument is the
/// number of seconds.
const PROGRAMS: [&str; 3] = ["fuzz_smoke", "fuzz_connections", "fuzz_frames"];

#[derive(Args)]
pub(crate) struct Options {
    /// How long each program runs.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 20 }
    }
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    for program in PROGRAMS {
        process::show(&mut process::cargo(
            checkout.root(),
            &["build", "--workspace", "--example", program],
        ))?;
        let path = checkout.dev_program("examples").join(program);
        process::show(process::command(path).arg(options.seconds.to_string()))?;
    }
    Ok(())
}
