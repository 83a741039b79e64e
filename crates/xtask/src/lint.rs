//! `cargo xtask lint`: clippy over every target of the workspace.

use crate::checkout::Checkout;
use crate::process;

pub(crate) fn run(checkout: &Checkout) -> anyhow::Result<()> {
    process::show(&mut process::cargo(
        checkout.root(),
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ))?;
    // Tests that need a broker are not among "all targets", so that `cargo test` leaves them out.
    process::show(&mut process::cargo(
        checkout.root(),
        &["clippy", "--workspace", "--test", "interop_lapin", "--", "-D", "warnings"],
    ))
}
