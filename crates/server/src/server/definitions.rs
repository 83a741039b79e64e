//! Definitions at the start: reads the files that the configuration names and hands them to management's import, before
//! the first client can come in.

use crate::config::Definitions;
use leveret_engine::{BrokerError, Command};
use leveret_management::State;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use tracing::info;

/// The global parameter that keeps the hash of what was taken in.
// rabbitmq: definitions.skip_if_unchanged
const HASH: &str = "imported_definition_hash_value";

/// The largest file, in bytes: some million queues.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why definitions are not taken in. The text is for the person who starts the broker.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// A file cannot be read.
    #[error("cannot read definitions from {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in it is refused.
    #[error("definitions in {}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// That they were taken in cannot be kept.
    #[error("the hash of the definitions cannot be kept: {0}")]
    Hash(BrokerError),
}

/// Takes in every file that is named.
///
/// # Errors
/// The first file that cannot be read or is refused.
pub(super) async fn load(state: &State, config: &Definitions) -> Result<(), DefinitionsError> {
    if config.load.is_empty() {
        return Ok(());
    }
    let files = read_named(config)?;
    let hash = hash(&files);
    if config.skip_if_unchanged && known_hash(state).as_deref() == Some(&hash) {
        info!("definitions are as they were at the last start");
        return Ok(());
    }
    for (path, bytes) in &files {
        leveret_management::import_definitions(state, bytes)
            .await
            .map_err(|reason| DefinitionsError::Refused { path: path.clone(), reason })?;
        info!(file = %path.display(), "definitions taken in");
    }
    if config.skip_if_unchanged {
        let command =
            Command::PutGlobalParameter { name: HASH.into(), value: hash.as_str().into() };
        state.propose.propose(command).await.map_err(DefinitionsError::Hash)?;
    }
    Ok(())
}

/// Reads every file that is named.
///
/// # Errors
/// The first that cannot be read.
pub(crate) fn read_named(config: &Definitions) -> Result<Vec<File>, DefinitionsError> {
    let mut files = Vec::new();
    for named in &config.load {
        files.extend(read_all(Path::new(named))?);
    }
    Ok(files)
}

fn known_hash(state: &State) -> Option<String> {
    let mut known = None;
    state.registry.with_topology(&mut |topology| {
        let value = topology.global_parameter(HASH);
        known = value.and_then(|value| value.as_str()).map(str::to_owned);
    });
    known
}

/// Where it is and what is in it.
pub(crate) type File = (PathBuf, Vec<u8>);

/// The file, or every `*.json` of the directory by name.
fn read_all(path: &Path) -> Result<Vec<File>, DefinitionsError> {
    let unreadable =
        |path: &Path, source| DefinitionsError::Unreadable { path: path.into(), source };
    if !path.is_dir() {
        return Ok(vec![read(path).map_err(|source| unreadable(path, source))?]);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|source| unreadable(path, source))? {
        let entry = entry.map_err(|source| unreadable(path, source))?.path();
        if entry.extension().is_some_and(|extension| extension == "json") {
            names.push(entry);
        }
    }
    names.sort();
    names.into_iter().map(|path| read(&path).map_err(|source| unreadable(&path, source))).collect()
}

fn read(path: &Path) -> io::Result<File> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{bytes} bytes are too many")));
    }
    Ok((path.to_owned(), std::fs::read(path)?))
}

fn hash(files: &[File]) -> String {
    let mut hash = Sha256::new();
    for (_, bytes) in files {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
