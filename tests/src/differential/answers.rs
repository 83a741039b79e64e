//! What was recorded beside a scenario, and how a new transcript compares with it.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::scenario::Scenario;

/// A RabbitMQ whose answers are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.10.
    Old,
    /// 4.3.
    New,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "3.10",
            Self::New => "4.3",
        })
    }
}

/// The suffix of an answer in which both versions agree.
const BOTH: &str = ".rabbitmq.txt";

/// The suffix of leveret's own answer where it is meant to differ.
const OWN: &str = ".leveret.txt";

fn suffix(version: Version) -> &'static str {
    match version {
        Version::Old => ".rabbitmq-3.10.txt",
        Version::New => ".rabbitmq-4.3.txt",
    }
}

/// The recorded answers of one scenario.
#[derive(Debug, Default)]
pub(super) struct Answers {
    old: Option<String>,
    new: Option<String>,
    own: Option<String>,
}

impl Answers {
    /// Reads what there is.
    pub(super) fn read(scenario: &Scenario) -> Self {
        let text = |suffix: &str| fs::read_to_string(scenario.beside(suffix)).ok();
        let both = text(BOTH);
        Self {
            old: both.clone().or_else(|| text(suffix(Version::Old))),
            new: both.or_else(|| text(suffix(Version::New))),
            own: text(OWN),
        }
    }

    /// Whether both versions are there and answer differently.
    pub(super) fn disagree(&self) -> bool {
        self.old != self.new
    }

    /// Whether both versions are there.
    pub(super) fn are_complete(&self) -> bool {
        self.old.is_some() && self.new.is_some()
    }

    /// Everything that was recorded, as one text.
    pub(super) fn all_text(&self) -> String {
        let parts = [&self.old, &self.new, &self.own].map(|text| text.clone().unwrap_or_default());
        parts.join("\n")
    }

    fn of(&mut self, version: Version) -> &mut Option<String> {
        match version {
            Version::Old => &mut self.old,
            Version::New => &mut self.new,
        }
    }

    /// Replaces the answer of one version in the files.
    pub(super) fn write(scenario: &Scenario, version: Version, transcript: &str) -> io::Result<()> {
        let mut answers = Self::read(scenario);
        *answers.of(version) = Some(transcript.to_owned());
        let both = answers.old == answers.new;
        let files = [
            (scenario.beside(BOTH), answers.old.as_ref().filter(|_| both)),
            (scenario.beside(suffix(Version::Old)), answers.old.as_ref().filter(|_| !both)),
            (scenario.beside(suffix(Version::New)), answers.new.as_ref().filter(|_| !both)),
        ];
        for (path, text) in files {
            put(&path, text)?;
        }
        Ok(())
    }

    /// Writes leveret's own answer, which only a scenario that is meant to differ has.
    pub(super) fn write_own(scenario: &Scenario, transcript: &str) -> io::Result<()> {
        put(
            &scenario.beside(OWN),
            Some(&transcript.to_owned()).filter(|_| scenario.differs.is_some()),
        )
    }

    /// What is wrong with a transcript; nothing is `None`.
    pub(super) fn judge(&self, scenario: &Scenario, transcript: &str) -> Option<String> {
        let is = |text: &Option<String>| text.as_deref() == Some(transcript);
        let (old, new) = (is(&self.old), is(&self.new));
        if self.old.is_none() && self.new.is_none() {
            return Some("nothing was recorded for it".to_owned());
        }
        if scenario.differs.is_some() {
            return match (old || new, is(&self.own)) {
                (true, _) => Some("it answers as RabbitMQ: `differs` is no longer true".to_owned()),
                (false, true) => None,
                (false, false) => Some(diff(self.own.as_deref().unwrap_or_default(), transcript)),
            };
        }
        match (old, new, &scenario.follows) {
            (true, true, None) | (false, true, None) | (true, false, Some(_)) => None,
            (true, false, None) => Some(
                "it answers as RabbitMQ 3.10 and not as 4.3: a line `follows 3.10: REASON` is due"
                    .to_owned(),
            ),
            (_, true, Some(_)) => {
                Some("it answers as RabbitMQ 4.3: `follows 3.10` is no longer true".to_owned())
            }
            (false, false, _) => Some(self.nearest_diff(transcript)),
        }
    }

    /// The shorter of the two differences.
    fn nearest_diff(&self, transcript: &str) -> String {
        let against = |text: &Option<String>| text.as_deref().map(|text| diff(text, transcript));
        if !self.disagree() {
            return against(&self.new).unwrap_or_default();
        }
        let diffs = [(Version::New, &self.new), (Version::Old, &self.old)].into_iter();
        let shortest = diffs
            .filter_map(|(version, text)| Some((version, against(text)?)))
            .min_by_key(|(_, diff)| diff.lines().count());
        shortest.map_or_else(String::new, |(version, diff)| format!("against {version}\n{diff}"))
    }
}

fn put(path: &PathBuf, text: Option<&String>) -> io::Result<()> {
    match text {
        Some(text) => fs::write(path, text),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// Lines around a difference that are shown with it.
const CONTEXT: usize = 2;

/// The lines that differ: `-` was recorded, `+` is new.
fn diff(recorded: &str, new: &str) -> String {
    let old: Vec<&str> = recorded.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let common = longest_common(&old, &new);
    let mut lines: Vec<(char, &str)> = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (a, b) in common.into_iter().chain([(old.len(), new.len())]) {
        lines.extend(old.get(i..a).unwrap_or_default().iter().map(|line| ('-', *line)));
        lines.extend(new.get(j..b).unwrap_or_default().iter().map(|line| ('+', *line)));
        lines.extend(old.get(a).map(|line| (' ', *line)));
        (i, j) = (a + 1, b + 1);
    }
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        lines.iter().skip(from).take(at + CONTEXT + 1 - from).any(|(sign, _)| *sign != ' ')
    };
    let shown = lines.iter().enumerate().filter(|(at, _)| near(*at));
    shown.map(|(_, (sign, line))| format!("    {sign} {line}\n")).collect()
}

/// Pairs of places of a longest common subsequence.
fn longest_common(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    let mut table = vec![0_u32; (a.len() + 1) * width];
    let at = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for (i, left) in a.iter().enumerate().rev() {
        for (j, right) in b.iter().enumerate().rev() {
            let value = if left == right {
                at(&table, i + 1, j + 1) + 1
            } else {
                at(&table, i + 1, j).max(at(&table, i, j + 1))
            };
            if let Some(cell) = table.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        if left == right {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if at(&table, i + 1, j) >= at(&table, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_its_neighbours() {
        let shown = diff("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nx\ne\nf\n");
        assert_eq!(shown, "      b\n      c\n    - d\n    + x\n      e\n      f\n");
        assert_eq!(diff("a\n", "a\n"), "");
    }
}
