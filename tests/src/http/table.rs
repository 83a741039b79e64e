//! The text form of a table: requests, and under each the answer that was recorded.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of requests.
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) lines: Vec<Line>,
}

/// A line of it.
pub(super) enum Line {
    /// A comment or an empty line.
    Text(String),
    /// From here on as this user, `name:password`.
    As(String),
    /// The AMQP client comes, publishes and consumes.
    ClientOpens,
    /// The AMQP client goes.
    ClientLeaves,
    /// A request.
    Ask(Box<Ask>),
}

/// A request and its recorded answer.
pub(super) struct Ask {
    /// Whether only keys and types matter, and of a list only its first element.
    pub(super) only_types: bool,
    /// Whether the answer may take some seconds until it is right: statistics lag.
    pub(super) eventually: bool,
    pub(super) verb: String,
    pub(super) path: String,
    pub(super) body: String,
    pub(super) answer: Option<Answer>,
}

/// A status and what came with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Null` where there is no body.
    pub(super) body: Value,
}

/// How far answers are indented.
const INDENT: &str = "    ";

impl Table {
    /// All tables of a folder, by name; `README.md` and `differences.txt` are none.
    pub(super) fn load_all(folder: &Path) -> Result<Vec<Self>, String> {
        let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
        let mut tables = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.extension().is_some_and(|kind| kind == "table") {
                let text = std::fs::read_to_string(&path).map_err(wrong)?;
                let lines = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
                tables.push(Self { path, lines });
            }
        }
        tables.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tables)
    }

    /// The name of the file without its folder.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Writes the table with its answers as they are now.
    pub(super) fn save(&self) -> std::io::Result<()> {
        let mut text = String::new();
        for line in &self.lines {
            let _infallible = match line {
                Line::Text(line) => writeln!(text, "{line}"),
                Line::As(user) => writeln!(text, "as {user}"),
                Line::ClientOpens => writeln!(text, "client opens"),
                Line::ClientLeaves => writeln!(text, "client leaves"),
                Line::Ask(ask) => writeln!(text, "{}", ask.show()),
            };
        }
        std::fs::write(&self.path, text)
    }
}

impl Ask {
    /// Verb and path, as problems and `differences.txt` name the request.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.verb, self.path)
    }

    fn show(&self) -> String {
        let mut text = String::new();
        text.push_str(if self.only_types { "~" } else { "" });
        text.push_str(if self.eventually { "@" } else { "" });
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&self.name());
        if !self.body.is_empty() {
            text.push(' ');
            text.push_str(&self.body);
        }
        if let Some(answer) = &self.answer {
            let _infallible = write!(text, "\n{INDENT}{}", answer.status);
            if !answer.body.is_null() {
                let _infallible = write!(text, " {}", answer.body);
            }
        }
        text
    }

    fn parse(line: &str) -> Option<Self> {
        let marks = line.len() - line.trim_start_matches(['~', '@']).len();
        let (marks, rest) = line.split_at(marks);
        let mut words = rest.trim_start().splitn(3, ' ');
        let (verb, path) = (words.next()?, words.next()?);
        let known = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"].contains(&verb);
        (known && path.starts_with('/')).then(|| Self {
            only_types: marks.contains('~'),
            eventually: marks.contains('@'),
            verb: verb.to_owned(),
            path: path.to_owned(),
            body: words.next().unwrap_or_default().to_owned(),
            answer: None,
        })
    }
}

fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = || format!("line {}: {line}", number + 1);
        if let Some(answer) = line.strip_prefix(INDENT) {
            let Some(Line::Ask(ask)) = lines.last_mut() else { return Err(wrong()) };
            ask.answer = Some(parse_answer(answer).ok_or_else(wrong)?);
            continue;
        }
        lines.push(match line {
            "client opens" => Line::ClientOpens,
            "client leaves" => Line::ClientLeaves,
            _ if line.is_empty() || line.starts_with('#') => Line::Text(line.to_owned()),
            _ => match line.strip_prefix("as ") {
                Some(user) => Line::As(user.to_owned()),
                None => Line::Ask(Box::new(Ask::parse(line).ok_or_else(wrong)?)),
            },
        });
    }
    Ok(lines)
}

fn parse_answer(text: &str) -> Option<Answer> {
    let (status, body) = text.split_once(' ').unwrap_or((text, "null"));
    Some(Answer { status: status.parse().ok()?, body: serde_json::from_str(body).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_as_it_was_read() {
        for text in [
            "GET /api/queues",
            "~@ GET /api/nodes\n    200 [{\"a\":\"<number>\"}]",
            "PUT /api/queues/%2F/q {\"a\": 1}\n    201",
        ] {
            let lines = parse(text).unwrap();
            let [Line::Ask(ask)] = lines.as_slice() else { panic!("{text}") };
            assert_eq!(ask.show(), text);
        }
        assert!(parse("    200").is_err());
        assert!(parse("FETCH /api").is_err());
    }
}
