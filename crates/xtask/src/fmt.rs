//! `cargo xtask fmt`: the code's format, checked or applied.

use clap::Args;

use crate::checkout::Checkout;
use crate::process;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Format the files instead of checking them.
    #[arg(long)]
    fix: bool,
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    let args: &[&str] =
        if options.fix { &["fmt", "--all"] } else { &["fmt", "--all", "--", "--check"] };
    process::show(&mut process::cargo(checkout.root(), args))
}
