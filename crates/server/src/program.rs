//! From the command line to an exit code: reads the configuration, starts the log and the threads,
//! runs the broker until it is told to end.

use crate::banner;
use crate::cli::{self, Cli, Command, Serve};
use crate::config::Config;
use crate::server::Server;
use crate::signals::{INTERRUPTED, Signals};
use crate::{cluster, config_commands, ctl, data_commands, logging, migrate, perf, resources, top};
use anyhow::Context as _;
use clap::Parser as _;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use tracing::{info, warn};

/// Runs the program with the arguments of the process and returns what it ends with: 0 when it did
/// what it was asked, 1 when it could not, 2 when the command line was wrong, 130 when it was
/// interrupted twice.
#[must_use]
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(options) => serve(&options),
        Command::Check(options) => data_commands::check(&options),
        Command::Repair(options) => data_commands::mend(&options),
        Command::Backup(options) => data_commands::backup(&options),
        Command::Restore(options) => data_commands::restore(&options),
        Command::Config { command } => config_commands::run(&command),
        Command::Cluster(options) => cluster::command::run(&options),
        Command::Ctl(options) => ctl::run(&options),
        Command::Migrate(options) => migrate::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Completion { shell } => {
            // A closed pipe ends the output.
            let _unread = std::io::stdout().write_all(&cli::completion(shell));
            Ok(ExitCode::SUCCESS)
        }
        Command::Perf(options) => {
            perf::run(&options).map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from)
        }
    };
    done.unwrap_or_else(|error| {
        // The log may not have begun, and this is for the person at the terminal.
        let _unheard = writeln!(std::io::stderr(), "leveret: {error:#}");
        ExitCode::FAILURE
    })
}

fn serve(options: &Serve) -> anyhow::Result<ExitCode> {
    let loaded = options.load(environment())?;
    logging::start(&loaded.config.log)?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_name("leveret");
    if loaded.config.worker_threads > 0 {
        runtime.worker_threads(loaded.config.worker_threads);
    }
    let runtime = runtime.build().context("cannot start threads")?;
    let end = runtime.block_on(serve_until_told(loaded.config));
    // Tasks that still run, such as an idle HTTP connection, do not hold up the end.
    runtime.shutdown_background();
    match end? {
        End::Exit(code) => Ok(code),
        End::Again => start_again(),
    }
}

/// What comes after a broker.
enum End {
    Exit(ExitCode),
    /// Another one, in the same place: what this one is has changed.
    Again,
}

/// Puts a new process in the place of this one, with its arguments and its number: nothing that still runs here can
/// hold anything that it needs.
fn start_again() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("the path of this program cannot be read")?;
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    Err(error).context("cannot start again; start the broker by hand")
}

/// The environment as far as it is text; what is not text is no configuration of ours.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

async fn serve_until_told(config: Config) -> anyhow::Result<End> {
    // Before anything is opened, so that no signal ends the process half way.
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let limit = resources::raise_descriptor_limit();
    let log = config.log.format;
    let server = tokio::select! {
        started = Server::start(config) => started?,
        // It may wait for other nodes, and nothing of clients is lost.
        _ = signals.end_requested() => return Ok(End::Exit(ExitCode::SUCCESS)),
    };
    banner::show(&server.facts(), log, resources::descriptor_warning(limit));
    let name = tokio::select! {
        name = signals.end_requested() => Some(name),
        () = server.restart_wanted() => None,
    };
    match name {
        Some(name) => info!("{name}: ending; no new clients, and those connected are told so"),
        None => info!("starting again; clients are told so"),
    }
    tokio::select! {
        left = server.shutdown() => {
            if left > 0 {
                warn!(connections = left, "clients that did not answer were cut off");
            }
            if name.is_none() {
                return Ok(End::Again);
            }
            info!("ended");
            Ok(End::Exit(ExitCode::SUCCESS))
        }
        () = signals.end_demanded() => Ok(End::Exit(ExitCode::from(INTERRUPTED))),
    }
}
