//! `cargo xtask interop`: other people's clients, each a folder of `interop-tests/` with a program
//! `run`, against a broker that is started for it or named by the caller.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;

use crate::broker::{Address, Broker};
use crate::checkout::Checkout;
use crate::process::{self, Ended};
use crate::tally::Tally;

/// How long `run prepare` may take: it downloads packages or compiles once.
const PREPARE_LIMIT: Duration = Duration::from_mins(20);

/// How long one folder's tests may take. The slowest needs under a minute on an idle machine.
const RUN_LIMIT: Duration = Duration::from_mins(3);

/// How many lines of a failed program's log are shown.
const LOG_LINES: usize = 80;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Folders of `interop-tests/`; all of them when none is named.
    names: Vec<String>,
    /// Use the broker whose AMQP listener is at HOST:PORT instead of starting one.
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,
    /// The port of that broker's management API.
    #[arg(long, value_name = "PORT", default_value_t = 15672, requires = "against")]
    management_port: u16,
}

pub(crate) fn run(checkout: &Checkout, options: &Options) -> anyhow::Result<()> {
    let programs = choose(&checkout.root().join("interop-tests"), &options.names)?;
    let scratch = checkout.scratch("interop")?;
    prepare(&programs, &scratch)?;
    let mut broker = match &options.against {
        Some(_) => None,
        None => Some(Broker::start(checkout, &scratch)?),
    };
    let address = match (&broker, &options.against) {
        (Some(broker), _) => broker.address().clone(),
        (None, Some(amqp)) => Address::parse(amqp, options.management_port)?,
        (None, None) => bail!("neither a broker to start nor one to use"),
    };
    let (sum, failed) = run_all(&programs, &address, &scratch)?;
    println!("{sum}");
    if let Some(broker) = &mut broker {
        broker.check_alive()?;
    }
    if !failed.is_empty() {
        bail!("failed: {}; the logs are in {}", failed.join(", "), scratch.display());
    }
    Ok(())
}

/// One folder of `interop-tests/`.
struct Program {
    name: String,
    run: PathBuf,
}

fn choose(folder: &Path, names: &[String]) -> anyhow::Result<Vec<Program>> {
    let mut programs = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let run = path.join("run");
        if let (true, Some(name)) = (run.is_file(), path.file_name()) {
            programs.push(Program { name: name.to_string_lossy().into_owned(), run });
        }
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(unknown) = names.iter().find(|name| programs.iter().all(|p| p.name != **name)) {
        let known: Vec<_> = programs.iter().map(|program| program.name.as_str()).collect();
        bail!("there is no interop test `{unknown}`; there are: {}", known.join(", "));
    }
    programs.retain(|program| names.is_empty() || names.contains(&program.name));
    if programs.is_empty() {
        bail!("{} holds no test", folder.display());
    }
    Ok(programs)
}

/// Lets every program fetch what it needs, so that its own time limit covers its tests alone.
fn prepare(programs: &[Program], scratch: &Path) -> anyhow::Result<()> {
    for program in programs {
        println!("preparing {}", program.name);
        let log = scratch.join(format!("{}.prepare.log", program.name));
        let ended =
            process::logged(process::command(&program.run).arg("prepare"), &log, PREPARE_LIMIT)?;
        if !matches!(ended, Ended::Exited(status) if status.success()) {
            show_end_of(&log);
            bail!("{} could not be prepared; its log is {}", program.name, log.display());
        }
    }
    Ok(())
}

fn run_all(
    programs: &[Program],
    address: &Address,
    scratch: &Path,
) -> anyhow::Result<(Tally, Vec<String>)> {
    let mut sum = Tally::default();
    let mut failed = Vec::new();
    for (index, program) in programs.iter().enumerate() {
        let started = Instant::now();
        let log = scratch.join(format!("{}.log", program.name));
        let (tally, problem) = run_one(program, address, &log)?;
        sum += tally;
        println!(
            "interop {}/{} {}: {tally} ({:.1} s){}",
            index + 1,
            programs.len(),
            program.name,
            started.elapsed().as_secs_f64(),
            problem.as_deref().map(|text| format!(" - {text}")).unwrap_or_default()
        );
        if problem.is_some() {
            show_end_of(&log);
            failed.push(program.name.clone());
        }
    }
    Ok((sum, failed))
}

/// Runs one program; the second value says what is wrong with it, if anything.
fn run_one(
    program: &Program,
    address: &Address,
    log: &Path,
) -> anyhow::Result<(Tally, Option<String>)> {
    let ended = process::logged(&mut command(&program.run, address), log, RUN_LIMIT)?;
    let output = std::fs::read(log).with_context(|| format!("{} is gone", log.display()))?;
    let read = Tally::read(&String::from_utf8_lossy(&output));
    let mut tally = read.unwrap_or_default();
    let problem = match ended {
        Ended::OutOfTime => Some(format!("not done after {} s", RUN_LIMIT.as_secs())),
        Ended::Exited(status) if !status.success() => Some(status.to_string()),
        Ended::Exited(_) if read.is_none() => Some("it printed no count".to_owned()),
        Ended::Exited(_) if tally.passed == 0 => Some("no test passed".to_owned()),
        Ended::Exited(_) if tally.failed > 0 => Some("tests failed".to_owned()),
        Ended::Exited(_) => None,
    };
    if problem.is_some() && tally.failed == 0 {
        // A program that died or hung counts as one failure, so that the sum never hides it.
        tally.failed = 1;
    }
    Ok((tally, problem))
}

fn command(run: &Path, address: &Address) -> Command {
    let Address { host, amqp, management } = address;
    let mut command = process::command(run);
    command
        .env("AMQP_HOST", host)
        .env("AMQP_PORT", amqp.to_string())
        .env("AMQP_URL", format!("amqp://guest:guest@{host}:{amqp}/%2F"))
        .env("MGMT_PORT", management.to_string());
    command
}

fn show_end_of(log: &Path) {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        println!("    {line}");
    }
}
