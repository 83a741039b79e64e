//! `docs/conformance.md` out of the scenarios and what was recorded for them. What is said to be ok, the
//! differential run holds to be so: every scenario that is not listed otherwise must pass there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::answers::Answers;
use super::catalogue::{self, METHODS};
use super::scenario::{Library, Scenario};
use super::subjects::{self, Family, Subject};

/// Scenarios that a row names at most.
const NAMED: usize = 2;

/// What cannot be played, and why.
const UNPLAYED: [(&str, &str); 4] = [
    ("connection.blocked", "needs an alarm: played by `tests/tests/limits.rs`"),
    ("connection.unblocked", "needs an alarm: played by `tests/tests/limits.rs`"),
    ("connection.secure", "no mechanism of more than one round is offered"),
    ("connection.secure-ok", "no mechanism of more than one round is offered"),
];

/// How a scenario stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    Differs,
    NotYet,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs => "differs",
            Self::NotYet => "not yet",
        }
    }
}

/// A scenario as the page sees it.
struct Entry<'a> {
    scenario: &'a Scenario,
    state: State,
    subjects: BTreeSet<Subject>,
    versions_disagree: bool,
}

/// The page.
#[must_use]
pub fn conformance(library: &Library) -> String {
    let entries = entries(library);
    let mut page = String::from(HEAD);
    summary(&mut page, library, &entries);
    wanted_differences(&mut page, &entries);
    older_answers(&mut page, &entries);
    not_yet(&mut page, library, &entries);
    methods(&mut page, &entries);
    page.push_str("\n## Properties of messages\n\n| property | | scenario |\n|---|---|---|\n");
    for (name, _) in catalogue::properties() {
        row(&mut page, name, &Subject::Property(name), &entries);
    }
    for family in Family::ALL {
        let _ = write!(page, "\n## {}\n\n| name | | scenario |\n|---|---|---|\n", family.heading());
        for name in family.names() {
            row(&mut page, name, &Subject::Extension(family, name), &entries);
        }
    }
    scenarios(&mut page, &entries);
    page
}

/// What no scenario is about, although it could be played.
#[must_use]
pub fn uncovered(library: &Library) -> Vec<String> {
    let entries = entries(library);
    let uncovered = subjects::all().into_iter().filter(|subject| {
        unplayed(subject).is_none() && !entries.iter().any(|entry| entry.subjects.contains(subject))
    });
    uncovered.map(|subject| format!("{subject:?}")).collect()
}

const HEAD: &str = "# Conformance

What leveret answers, compared with RabbitMQ 4.3 and 3.10, frame by frame.
This page is made by `cargo xtask differential --doc` from the scenarios of `tests/differential`; \
a test fails when it is out of date.

- **ok**: the named scenario is answered as RabbitMQ answered it. Where 4.3 and 3.10 differ, leveret answers as 4.3; \
the exceptions are listed below.
- **differs**: leveret means to answer otherwise; the reason is listed below.
- **not yet**: leveret does not answer so yet.
";

fn entries(library: &Library) -> Vec<Entry<'_>> {
    let entry = |scenario| {
        let answers = Answers::read(scenario);
        let state = match (&scenario.differs, library.not_yet(&scenario.name)) {
            (Some(_), _) => State::Differs,
            (None, Some(_)) => State::NotYet,
            (None, None) => State::Ok,
        };
        let subjects = subjects::of(scenario, &answers.all_text());
        Entry { scenario, state, subjects, versions_disagree: answers.disagree() }
    };
    library.scenarios.iter().map(entry).collect()
}

fn summary(page: &mut String, library: &Library, entries: &[Entry<'_>]) {
    let count = |state| entries.iter().filter(|entry| entry.state == state).count();
    let agree = entries.iter().filter(|entry| !entry.versions_disagree).count();
    let _ = write!(
        page,
        "\n{} scenarios: {} ok, {} differ, {} not yet. In {agree} of them 4.3 and 3.10 answer the same.\n",
        library.scenarios.len(),
        count(State::Ok),
        count(State::Differs),
        count(State::NotYet),
    );
}

fn wanted_differences(page: &mut String, entries: &[Entry<'_>]) {
    page.push_str("\n## Wanted differences\n\n");
    let reasons = entries.iter().filter_map(|e| Some((e.scenario, e.scenario.differs.as_ref()?)));
    let lines: Vec<String> =
        reasons.map(|(scenario, why)| format!("- `{}`: {why}\n", scenario.name)).collect();
    page.push_str(if lines.is_empty() { "None.\n" } else { "" });
    page.extend(lines);
}

fn older_answers(page: &mut String, entries: &[Entry<'_>]) {
    page.push_str("\n## Answered as 3.10, not as 4.3\n\n");
    for entry in entries {
        if let Some(why) = &entry.scenario.follows {
            let _ = writeln!(page, "- `{}`: {why}", entry.scenario.name);
        }
    }
}

fn not_yet(page: &mut String, library: &Library, entries: &[Entry<'_>]) {
    page.push_str("\n## Not yet\n\n");
    let patterns: Vec<_> = library.not_yet_patterns().collect();
    if patterns.is_empty() {
        page.push_str("Nothing.\n");
    }
    for (pattern, why) in patterns {
        let named = |entry: &&Entry<'_>| super::scenario::matches(pattern, &entry.scenario.name);
        let count = entries.iter().filter(named).count();
        let _ = writeln!(page, "- `{pattern}` ({count}): {why}");
    }
}

fn methods(page: &mut String, entries: &[Entry<'_>]) {
    let mut class = "";
    for method in &METHODS {
        let this = method.name.split('.').next().unwrap_or_default();
        if this != class {
            class = this;
            let _ = write!(
                page,
                "\n## Class {class}\n\n| method, argument | | scenario |\n|---|---|---|\n"
            );
        }
        row(page, method.name, &Subject::Method(method.name), entries);
        for (argument, _) in method.arguments().filter(|(name, _)| !catalogue::is_reserved(name)) {
            let subject = Subject::Argument(method.name, argument);
            row(page, &format!("– {argument}"), &subject, entries);
        }
    }
}

fn unplayed(subject: &Subject) -> Option<&'static str> {
    let (Subject::Method(method) | Subject::Argument(method, _)) = subject else { return None };
    UNPLAYED.iter().find(|(name, _)| name == method).map(|(_, why)| *why)
}

fn row(page: &mut String, name: &str, subject: &Subject, entries: &[Entry<'_>]) {
    let mut about: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| entry.subjects.contains(subject)).collect();
    if let (true, Some(why)) = (about.is_empty(), unplayed(subject)) {
        let _ = writeln!(page, "| {name} | | {why} |");
        return;
    }
    about.sort_by_key(|entry| distance(subject, entry));
    let state = about.first().map_or("", |entry| entry.state.word());
    let names: Vec<String> =
        about.iter().take(NAMED).map(|entry| format!("`{}`", entry.scenario.name)).collect();
    let more = match about.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let _ = writeln!(page, "| {name} | {state} | {}{more} |", names.join(", "));
}

/// The nearer, the more a scenario is about the subject: one that is meant to differ in it first, then by
/// its name, its section, and how little else is in it.
fn distance<'a>(subject: &Subject, entry: &Entry<'a>) -> (bool, bool, bool, bool, usize, &'a str) {
    let (word, groups): (&str, &[&str]) = match subject {
        Subject::Method(method) => (method, home(method)),
        Subject::Argument(method, argument) => (argument, home(method)),
        Subject::Property(name) | Subject::Extension(_, name) => (name, &["2.06", "3.3"]),
    };
    let word = word.split('.').next_back().unwrap_or_default();
    let name = &entry.scenario.name;
    let differs = entry.state == State::Differs && entry.scenario.about.iter().any(|a| a == word);
    let named = name.split('/').next_back().is_some_and(|last| last.contains(word));
    let at_home = groups.iter().any(|group| name.starts_with(group));
    (!differs, entry.state != State::Ok, !named, !at_home, entry.subjects.len(), name)
}

/// The sections of a method.
fn home(method: &str) -> &'static [&'static str] {
    match method.split_once('.').unwrap_or_default() {
        ("connection", "start" | "start-ok" | "secure" | "secure-ok") => &["1.03"],
        ("connection", "tune" | "tune-ok") => &["1.04"],
        ("connection", "open" | "open-ok") => &["1.05"],
        ("connection", _) => &["1.09", "1.12"],
        ("channel" | "access", _) => &["1.08", "1.07"],
        ("exchange", _) => &["2.02"],
        ("queue", "bind" | "bind-ok" | "unbind" | "unbind-ok") => &["2.04"],
        ("queue", _) => &["2.03"],
        ("confirm", _) => &["2.07"],
        ("tx", _) => &["2.08"],
        ("basic", "publish" | "return") => &["2.06", "2.07"],
        ("basic", "qos" | "qos-ok") => &["2.09"],
        ("basic", "consume" | "consume-ok" | "cancel" | "cancel-ok" | "deliver") => &["2.10"],
        ("basic", "get" | "get-ok" | "get-empty") => &["2.11"],
        _ => &["2.12"],
    }
}

fn scenarios(page: &mut String, entries: &[Entry<'_>]) {
    let mut groups: BTreeMap<(u32, u32, &str), Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in entries {
        let (major, minor) = entry.scenario.section();
        groups.entry((major, minor, entry.scenario.group())).or_default().push(entry);
    }
    page.push_str("\n## All scenarios\n");
    for ((_, _, group), entries) in groups {
        let _ = write!(page, "\n### {group}\n\n| scenario | | |\n|---|---|---|\n");
        for entry in entries {
            let name = entry.scenario.name.split('/').next_back().unwrap_or_default();
            let state = match (entry.state, &entry.scenario.follows) {
                (State::Ok, Some(_)) => "ok, as 3.10",
                (State::Ok, None) if entry.versions_disagree => "ok, as 4.3",
                (state, _) => state.word(),
            };
            let _ = writeln!(page, "| {name} | {state} | {} |", entry.scenario.title);
        }
    }
}
