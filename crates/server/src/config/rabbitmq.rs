//! `rabbitmq.conf` as RabbitMQ reads it: the file, then `conf.d/*.conf` by name, where a later line wins. What it says is
//! turned into leveret's own keys; a key that RabbitMQ does not know is an error with its line, and those that mean
//! nothing here are named in one warning.

mod keys;
mod lines;

use super::load::{ConfigError, nearest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Table;

pub(super) use keys::level;

/// The directory of further files, beside the file.
const DIRECTORY: &str = "conf.d";

/// How the names of these files end.
pub(super) const EXTENSION: &str = "conf";

/// What a rabbitmq.conf says in leveret's words.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// Keys and values of leveret's configuration.
    pub(super) table: Table,
    /// Keys of RabbitMQ that mean nothing here, as they were written.
    pub(super) without_effect: Vec<String>,
}

/// Where a setting stands, and its value.
#[derive(Debug)]
struct Setting {
    path: PathBuf,
    line: usize,
    value: String,
}

/// Settings by the words of their keys.
type Settings = BTreeMap<Vec<String>, Setting>;

/// Reads a file and those of the directory, or of `conf.d` beside the file when none is given. What does not exist is
/// left out. `variable` looks into the environment, `memory_total` is what shares of memory are taken of.
///
/// # Errors
/// The first line that a person must correct.
pub(super) fn read(
    file: Option<&Path>,
    directory: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
    memory_total: Option<u64>,
) -> Result<Translated, ConfigError> {
    let beside = file.and_then(Path::parent).map(|parent| parent.join(DIRECTORY));
    let directory = directory.map(Path::to_owned).or(beside);
    let mut paths: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
    paths.extend(directory.map(|directory| files_of(&directory)).transpose()?.unwrap_or_default());
    let mut settings = Settings::new();
    for path in paths.into_iter().filter(|path| path.exists()) {
        add(&mut settings, &path, &variable)?;
    }
    translate(&settings, memory_total)
}

/// The files of a directory, by name; none when there is no directory.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: directory.to_owned(), source };
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn add(
    settings: &mut Settings,
    path: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > lines::FILE_BYTES_MAX {
        let reason = format!("the file has {bytes} bytes, a rabbitmq.conf some thousand");
        return Err(ConfigError::BadLine { path: path.to_owned(), line: 1, reason });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let lines = lines::read(&text, variable).map_err(|bad| ConfigError::BadLine {
        path: path.to_owned(),
        line: bad.number,
        reason: bad.reason,
    })?;
    for line in lines {
        let setting = Setting { path: path.to_owned(), line: line.number, value: line.value };
        settings.insert(line.key, setting);
    }
    Ok(())
}

fn translate(settings: &Settings, memory_total: Option<u64>) -> Result<Translated, ConfigError> {
    let mut meaning = keys::Meaning::new(memory_total);
    for (key, setting) in settings {
        let words: Vec<&str> = key.iter().map(String::as_str).collect();
        let bad = |reason| ConfigError::BadLine {
            path: setting.path.clone(),
            line: setting.line,
            reason,
        };
        // rabbitmq: config_entry_decoder
        if setting.value.starts_with("encrypted:") {
            let reason = format!(
                "{}: encrypted values are not read; write the value that `rabbitmqctl decode` shows, or $(VARIABLE)",
                words.join(".")
            );
            return Err(bad(reason));
        }
        if !meaning.take(&words, &setting.value).map_err(bad)? {
            return Err(bad(unknown(&words)));
        }
    }
    Ok(meaning.done())
}

// rabbitmq: cuttlefish's words
fn unknown(words: &[&str]) -> String {
    let key = words.join(".");
    let hint = nearest(&key, &keys::like(words))
        .map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
    format!("Conf file attempted to set unknown variable: {key}{hint}")
}

#[cfg(test)]
mod tests;
