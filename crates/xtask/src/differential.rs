//! `cargo xtask differential`: plays the scenarios of `tests/differential` against a broker and compares every
//! answered frame with what RabbitMQ answered when it was recorded. The work is done by the program
//! `leveret-differential`; this file starts the broker and calls it.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;

use crate::broker::{Address, Broker};
use crate::checkout::Checkout;
use crate::process;

/// The program that plays the scenarios.
const PLAYER: &str = "leveret-differential";

/// RabbitMQs whose answers are recorded: the name of each version, and the variable that says where it is.
const ORACLES: [(&str, &str); 2] =
    [("4.3", "LEVERET_RABBITMQ_4_3"), ("3.10", "LEVERET_RABBITMQ_3_10")];

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Scenarios to play: names, or the start of names with a star, such as `2.03-queues/*`. All by default.
    patterns: Vec<String>,
    /// Use the broker whose AMQP listener is at HOST:PORT instead of starting one.
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,
    /// The port of that broker's management API.
    #[arg(long, value_name = "PORT", default_value_t = 15672, requires = "against")]
    management_port: u16,
    /// Record the answers of RabbitMQ anew. `LEVERET_RABBITMQ_4_3` and `LEVERET_RABBITMQ_3_10` say where they
    /// are: HOST:PORT of AMQP, a comma, the port of the management API. A version that is not there is left.
    #[arg(long, conflicts_with = "against")]
    record: bool,
    /// Record leveret's answers where a scenario says that it differs.
    #[arg(long, conflicts_with = "record")]
    record_own: bool,
    /// Write `docs/conformance.md` and play nothing.
    #[arg(long, conflicts_with_all = ["record", "record_own", "against"])]
    doc: bool,
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    build(checkout)?;
    if options.doc {
        return player(checkout, &["doc"], &[]);
    }
    if options.record {
        return record(checkout, options);
    }
    if let Some(amqp) = &options.against {
        let address = Address::parse(amqp, options.management_port)?;
        return play(checkout, &address, options);
    }
    let scratch = checkout.scratch("differential")?;
    let mut broker = Broker::start(checkout, &scratch)?;
    let address = broker.address().clone();
    let result = play(checkout, &address, options);
    broker.check_alive()?;
    result
}

/// The whole workspace is selected so that dependencies get the same features, and are compiled once, for this
/// and for the tests.
fn build(checkout: &Checkout) -> anyhow::Result<()> {
    process::show(&mut process::cargo(checkout.root(), &["build", "--workspace", "--bin", PLAYER]))
}

fn play(checkout: &Checkout, address: &Address, options: &Options) -> anyhow::Result<()> {
    let verb = if options.record_own { "record-own" } else { "play" };
    let (amqp, management) = addresses(address);
    player(checkout, &[verb, &amqp, &management], &options.patterns)
}

fn record(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    let mut recorded = false;
    for (version, variable) in ORACLES {
        let Ok(place) = std::env::var(variable) else { continue };
        let (amqp, management) =
            place.split_once(',').with_context(|| format!("{variable} is not HOST:PORT,PORT"))?;
        let management = management.parse().with_context(|| format!("{variable}: no port"))?;
        let (amqp, management) = addresses(&Address::parse(amqp, management)?);
        player(checkout, &["record", version, &amqp, &management], &options.patterns)?;
        recorded = true;
    }
    if !recorded {
        bail!("no RabbitMQ to record: set {} or {}", ORACLES[0].1, ORACLES[1].1);
    }
    Ok(())
}

fn addresses(Address { host, amqp, management }: &Address) -> (String, String) {
    (format!("{host}:{amqp}"), format!("{host}:{management}"))
}

fn player(checkout: &Checkout, words: &[&str], patterns: &[String]) -> anyhow::Result<()> {
    let program: &Path = &checkout.dev_program(PLAYER);
    process::show(process::command(program).current_dir(checkout.root()).args(words).args(patterns))
}
