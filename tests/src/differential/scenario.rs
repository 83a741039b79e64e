//! A scenario and its file: a head of `name: value` lines, an empty line, then one step a line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::step::Step;
use super::text::Order;

/// The end of a scenario's file name.
const SUFFIX: &str = ".scenario";

/// The file that names the scenarios which are known not to pass.
const NOT_YET: &str = "not-yet.txt";

/// A conversation that is played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its folder and file name without the end, such as `2.04-bindings/bind-missing`.
    pub name: String,
    /// What it is about, in a line.
    pub title: String,
    /// Why leveret follows RabbitMQ 3.10 where 3.10 and 4.3 answer differently.
    pub follows: Option<String>,
    /// Why leveret answers as neither does.
    pub differs: Option<String>,
    /// What a scenario that differs differs in: names of methods, arguments and the like.
    pub(super) about: Vec<String>,
    /// Whether the order of fields in tables is compared.
    pub(super) order: Order,
    /// What is done: the line and its meaning.
    pub(super) steps: Vec<(String, Step)>,
    path: PathBuf,
}

/// A file that is no scenario.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

impl std::error::Error for LoadError {}

/// All scenarios, and those among them that are known not to pass.
#[derive(Debug)]
pub struct Library {
    /// In the order of their names.
    pub scenarios: Vec<Scenario>,
    /// Patterns and why.
    not_yet: Vec<(String, String)>,
}

impl Library {
    /// Reads a folder of folders.
    ///
    /// # Errors
    /// When one of the files cannot be read or is no scenario.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let mut scenarios: Vec<Scenario> = Vec::new();
        for group in entries(folder)? {
            if group.is_dir() {
                for path in entries(&group)? {
                    if path.to_string_lossy().ends_with(SUFFIX) {
                        scenarios.push(Scenario::load(folder, &path)?);
                    }
                }
            }
        }
        let path = folder.join(NOT_YET);
        let not_yet = read(&path)?
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter_map(|line| line.split_once(' '))
            .map(|(pattern, why)| (pattern.to_owned(), why.trim().to_owned()))
            .collect();
        Ok(Self { scenarios, not_yet })
    }

    /// Why a scenario is known not to pass.
    #[must_use]
    pub fn not_yet(&self, name: &str) -> Option<&str> {
        let found = self.not_yet.iter().find(|(pattern, _)| matches(pattern, name));
        found.map(|(_, why)| why.as_str())
    }

    /// Whether the scenario is named itself, and not by a pattern, among those known not to pass.
    #[must_use]
    pub fn is_named_not_yet(&self, name: &str) -> bool {
        self.not_yet.iter().any(|(pattern, _)| pattern == name)
    }

    /// Patterns of scenarios that are known not to pass, and why.
    pub fn not_yet_patterns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.not_yet.iter().map(|(pattern, why)| (pattern.as_str(), why.as_str()))
    }
}

/// Whether a pattern names it: equal, or equal up to a star at the end.
#[must_use]
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

impl Scenario {
    fn load(folder: &Path, path: &Path) -> Result<Self, LoadError> {
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        let name = name.trim_end_matches(SUFFIX).to_owned();
        let mut scenario = Self {
            name,
            title: String::new(),
            follows: None,
            differs: None,
            about: Vec::new(),
            order: Order::ByKey,
            steps: Vec::new(),
            path: path.to_owned(),
        };
        let text = read(path)?;
        let mut in_head = true;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            let result = if line.is_empty() {
                in_head = false;
                Ok(())
            } else if line.starts_with('#') {
                Ok(())
            } else if in_head {
                scenario.read_head(line)
            } else {
                Step::read(line).map(|step| scenario.steps.push((line.to_owned(), step)))
            };
            result.map_err(|what| LoadError { path: path.to_owned(), line: number, what })?;
        }
        if scenario.title.is_empty() || scenario.steps.is_empty() {
            let what = "a scenario has a title and steps".to_owned();
            return Err(LoadError { path: path.to_owned(), line: 1, what });
        }
        Ok(scenario)
    }

    fn read_head(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(": ").ok_or("`name: value` expected")?;
        let value = value.trim().to_owned();
        match name {
            "title" => self.title = value,
            "follows 3.10" => self.follows = Some(value),
            "differs" => self.differs = Some(value),
            "about" => self.about = value.split_whitespace().map(ToOwned::to_owned).collect(),
            "tables" if value == "in order" => self.order = Order::AsReceived,
            _ => return Err(format!("there is no `{name}` in the head of a scenario")),
        }
        Ok(())
    }

    /// The reference section: the number at the start of its folder's name, without zeros in front.
    #[must_use]
    pub fn section(&self) -> (u32, u32) {
        let number = self.name.split('-').next().unwrap_or_default();
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or_default());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    /// Whether the answers of both versions of RabbitMQ lie beside it.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        super::answers::Answers::read(self).are_complete()
    }

    /// The name of its folder.
    #[must_use]
    pub fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// A file beside it.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let path = self.path.to_string_lossy();
        PathBuf::from(format!("{}{suffix}", path.trim_end_matches(SUFFIX)))
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let found = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
    });
    let mut paths = found.map_err(|error| failed(folder, &error))?;
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError { path: path.to_owned(), line: 0, what: error.to_string() }
}
