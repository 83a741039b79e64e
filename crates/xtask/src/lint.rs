//! `cargo xtask lint`: clippy over every target of the workspace.

use crate::checkout::Checkout;
use crate::process;

pub(crate) fn run(checkout: &Checkout) -> anyhow::Result<()> {
    process::show(&mut process::cargo(
        checkout.root(),
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ))
}
