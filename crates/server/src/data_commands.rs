//! The commands about a data directory as a whole: `check`, `repair` and `restore` while no broker uses it, `backup`
//! while one does.

use crate::backup::restore_to;
use crate::control::{BACKUP, BackupDone, BackupRequest};
use crate::ctl::client::Target;
use crate::data_dir::DataDir;
use crate::server::MESSAGES;
use anyhow::Context as _;
use clap::Args;
use leveret_store::{StoreId, check_folder, repair};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which data directory.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataArgs {
    /// Directory that holds everything the broker keeps.
    #[arg(long, value_name = "DIR", default_value = "./data", env = "LEVERET_DATA_DIR")]
    data_dir: PathBuf,
}

impl DataArgs {
    /// Takes the directory, which must be there, for as long as the command works on it.
    fn take(&self) -> anyhow::Result<DataDir> {
        if !self.data_dir.join(MESSAGES).is_dir() {
            anyhow::bail!(
                "{} is not the data directory of a broker; name it with --data-dir",
                self.data_dir.display()
            );
        }
        Ok(DataDir::take(&self.data_dir)?)
    }
}

/// Reads everything and verifies every checksum. Fails, after the report, if something is damaged.
pub(crate) fn check(args: &DataArgs) -> anyhow::Result<ExitCode> {
    let dir = args.take()?;
    let report = check_folder(&dir.path().join(MESSAGES))?;
    show(&report)?;
    if report.is_whole() {
        show(&"everything could be read as it was written")?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&"stop here and make a copy of the directory; then run `leveret repair` on it")?;
    Ok(ExitCode::FAILURE)
}

/// Keeps what can be read, and says what cannot.
pub(crate) fn mend(args: &DataArgs) -> anyhow::Result<ExitCode> {
    let dir = args.take()?;
    let report = repair(&dir.path().join(MESSAGES), new_id()).context("nothing was changed")?;
    show(&format_args!(
        "kept:\n{}\nwhat is called damaged here is lost; the damaged files are in {}",
        report.kept,
        report.damaged.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Make a copy of everything a running broker keeps, while it goes on.
///
/// The copy is consistent: it has every message that was confirmed before the command, and every queue it was in. `leveret
/// restore` makes a data directory from it, and `leveret check` reads it.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    target: Target,
    /// The new directory; the broker writes it, on its own machine.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Has the broker make a backup.
pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let to = std::path::absolute(&args.to)?;
    let body = serde_json::to_value(BackupRequest { to: to.clone() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(args.target.call(hyper::Method::POST, BACKUP, Some(&body)))?;
    let BackupDone { bytes } = serde_json::from_value(done).context("the broker is another one")?;
    show(&format_args!(
        "{} bytes of messages, and everything else, are in {}\n\
         `leveret restore --from {} --data-dir DIR` makes a data directory from it",
        bytes,
        to.display(),
        to.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Make a data directory from a backup, and verify every checksum in it.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup; it is not changed.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The new data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Makes a data directory from a backup.
pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let report = restore_to(&args.from, &args.data_dir, new_id())?;
    show(&report)?;
    show(&format_args!("start it with `leveret serve --data-dir {}`", args.data_dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The name of a store that was not there before.
#[expect(clippy::disallowed_methods, reason = "the new name of a store has to be random")]
fn new_id() -> StoreId {
    StoreId(rand::random())
}

/// A closed pipe ends the output, not the work.
fn show(what: &impl std::fmt::Display) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{what}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
