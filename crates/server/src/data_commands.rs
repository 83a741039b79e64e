//! `leveret check` and `leveret repair`: what can be done to the messages in a data directory while no broker uses it.

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
    #[expect(clippy::disallowed_methods, reason = "the new name of a store has to be random")]
    let id = StoreId(rand::random());
    let report = repair(&dir.path().join(MESSAGES), id).context("nothing was changed")?;
    show(&format_args!(
        "kept:\n{}\nwhat is called damaged here is lost; the damaged files are in {}",
        report.kept,
        report.damaged.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// A closed pipe ends the output, not the work.
fn show(what: &impl std::fmt::Display) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{what}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
