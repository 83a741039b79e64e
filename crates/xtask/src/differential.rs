//! `cargo xtask differential`: plays recorded scenarios against a broker and compares every
//! answered frame with what RabbitMQ answered. The scenarios lie beside the checkout where there
//! are any; without them there is nothing to run.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use crate::broker::{Address, Broker};
use crate::checkout::Checkout;
use crate::process;

/// Where the scenarios lie, seen from the checkout's root.
const SCENARIOS: &str = "../shared/differential";

/// What must be equal to RabbitMQ in `cargo xtask test`: everything but streams and what counts the deliveries of
/// quorum queues, which do not exist yet.
const REQUIRED: [&str; 11] = [
    "access.*",
    "consume.*",
    "deadletter.*",
    "declare.*",
    "framing.*",
    "handshake.*",
    "mixed.[!qs]*",
    "mixed.qq_[!d]*",
    "policy.*",
    "publish.*",
    "routing.*",
];

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Scenarios to play, for example `consume.*`; may be given several times. All by default.
    #[arg(long, value_name = "GLOB")]
    only: Vec<String>,
    /// Use the broker whose AMQP listener is at HOST:PORT instead of starting one.
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,
    /// The port of that broker's management API.
    #[arg(long, value_name = "PORT", default_value_t = 15672, requires = "against")]
    management_port: u16,
}

impl Options {
    /// What `cargo xtask test` plays.
    pub(crate) fn required() -> Self {
        Self { only: REQUIRED.map(str::to_owned).to_vec(), ..Self::default() }
    }
}

/// The scenarios' folder, if this machine has it.
pub(crate) fn scenarios(checkout: &Checkout) -> Option<PathBuf> {
    let folder = checkout.root().join(SCENARIOS);
    folder.join("run.py").is_file().then_some(folder)
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    let Some(folder) = scenarios(checkout) else {
        bail!("there are no scenarios at {SCENARIOS}");
    };
    let scratch = checkout.scratch("differential")?;
    if let Some(amqp) = &options.against {
        let address = Address::parse(amqp, options.management_port)?;
        return play(&folder, &address, &options.only, &scratch);
    }
    let mut broker = Broker::start(checkout, &scratch)?;
    let address = broker.address().clone();
    let result = play(&folder, &address, &options.only, &scratch);
    broker.check_alive()?;
    result
}

/// Plays the chosen scenarios, one group after the other, and compares each group.
fn play(folder: &Path, address: &Address, only: &[String], out: &Path) -> anyhow::Result<()> {
    let all = ["*".to_owned()];
    let globs = if only.is_empty() { &all[..] } else { only };
    let mut failed = Vec::new();
    for glob in globs {
        let transcript = out.join(format!("{}.json", file_name(glob)));
        process::show(
            process::command("python3")
                .arg(folder.join("run.py"))
                .args(["--amqp", &format!("{}:{}", address.host, address.amqp)])
                .args(["--mgmt", &format!("{}:{}", address.host, address.management)])
                .args(["--only", glob])
                .arg("--out")
                .arg(&transcript),
        )?;
        let compared = process::show(
            process::command("python3")
                .arg(folder.join("compare.py"))
                .arg(folder.join("recorded"))
                .arg(&transcript),
        );
        if compared.is_err() {
            failed.push(glob.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("not as RabbitMQ: {}; the transcripts are in {}", failed.join(" "), out.display());
    }
    Ok(())
}

fn file_name(glob: &str) -> String {
    let name: String = glob.chars().filter(|c| c.is_alphanumeric()).collect();
    if name.is_empty() { "all".to_owned() } else { name }
}
