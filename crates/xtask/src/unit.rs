//! `cargo xtask unit`: the Rust tests, with cargo-nextest where it is installed.

use clap::Args;

use crate::checkout::Checkout;
use crate::process;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Passed on to the test runner, for example a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    let runner: &[&str] = if process::output_of("cargo", &["nextest", "--version"]).is_some() {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        // Documentation examples are left to the second command in both cases.
        &["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]
    };
    // The black-box tests run the binary and preload the library, which no test runner builds for them.
    let binary = ["build", "--workspace", "--bin", "leveret"];
    process::show(&mut process::cargo(checkout.root(), &binary))?;
    let preloaded = ["build", "--package", "leveret-power-loss"];
    process::show(&mut process::cargo(checkout.root(), &preloaded))?;
    process::show(process::cargo(checkout.root(), runner).args(&options.args))?;
    if options.args.is_empty() {
        process::show(&mut process::cargo(checkout.root(), &["test", "--workspace", "--doc"]))?;
    }
    Ok(())
}
