//! Starting other programs: shown to the person, or logged to a file with a time limit.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::rocksdb;

/// How often a running program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// A command without the variables that `cargo run` gave to this process: build scripts that
/// watch them would otherwise be rebuilt on every change between `cargo` and `cargo xtask`.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Cargo itself, started in the checkout's root.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(args);
    rocksdb::link(&mut cargo);
    cargo
}

/// Runs a command with this terminal's output, after a line that shows it.
///
/// # Errors
/// When it cannot be started or ends with a status other than zero.
pub(crate) fn show(command: &mut Command) -> anyhow::Result<()> {
    let line = command_line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// What became of a command that had a time limit.
pub(crate) enum Ended {
    Exited(ExitStatus),
    OutOfTime,
}

/// Runs a command with its output in `log`, and ends it and its children after `limit`.
///
/// # Errors
/// When the log cannot be written or the command cannot be started.
pub(crate) fn logged(command: &mut Command, log: &Path, limit: Duration) -> anyhow::Result<Ended> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("{} cannot be written", log.display()))?;
    let line = command_line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Exited(status));
        }
        if Instant::now() >= end {
            end_group(child.id());
            child.wait()?;
            return Ok(Ended::OutOfTime);
        }
        std::thread::sleep(POLL);
    }
}

/// Ends a program that `logged` started, with all that it started itself.
fn end_group(leader: u32) {
    // The leader has not been waited for, so the group's id cannot belong to anybody else yet.
    let kill = Command::new("kill").arg("-KILL").arg("--").arg(format!("-{leader}")).status();
    if let Err(error) = kill {
        println!("cannot start `kill`: {error}");
    }
}

/// The standard output of a short command, or nothing when it is missing or fails.
pub(crate) fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
