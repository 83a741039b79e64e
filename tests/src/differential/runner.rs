//! Many scenarios at the same time against one broker: comparing, or recording.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::answers::{Answers, Version};
use super::play::play;
use super::scenario::{Library, Scenario, matches};
use super::stage::Pace;
use crate::Target;

/// How many scenarios are played at once. Most of them wait most of the time.
const AT_ONCE: usize = 24;

/// How many are recorded at once. RabbitMQ shares the machine, and its answers must not hurry.
const RECORDED_AT_ONCE: usize = 6;

/// How often a scenario is played before it counts as one without a certain answer.
const TURNS_MAX: usize = 4;

/// The pace of a scenario that is to pass.
const PLAYING: Pace = Pace { patience: Duration::from_secs(30), quiet: Duration::from_millis(60) };

/// The pace of a scenario that is known not to pass: nobody waits long for what does not come.
const TRYING: Pace = Pace { patience: Duration::from_secs(3), ..PLAYING };

/// The pace of recording: what comes late is to be seen.
const RECORDING: Pace =
    Pace { patience: Duration::from_secs(30), quiet: Duration::from_millis(400) };

/// What became of one scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What is wrong; nothing where it passed.
    pub problem: Option<String>,
    /// Why it is known not to pass.
    pub not_yet: Option<String>,
}

impl Outcome {
    /// Whether the run has failed because of it.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.problem.is_some() && self.not_yet.is_none()
    }
}

/// Plays the scenarios that one of `patterns` names (all where there is none) and compares.
#[must_use]
pub fn play_all(library: &Library, target: Target, patterns: &[String]) -> Vec<Outcome> {
    for_each(chosen(library, patterns), AT_ONCE, |scenario, run| {
        let not_yet = library.not_yet(&scenario.name).map(ToOwned::to_owned);
        let pace = if not_yet.is_some() { TRYING } else { PLAYING };
        let transcript = play(scenario, target.amqp, target.management, run, pace);
        let problem = Answers::read(scenario).judge(scenario, &transcript);
        if problem.is_none() && library.is_named_not_yet(&scenario.name) {
            let problem = "it passes, but is listed as not passing yet".to_owned();
            return Outcome { name: scenario.name.clone(), problem: Some(problem), not_yet: None };
        }
        Outcome { name: scenario.name.clone(), problem, not_yet }
    })
}

/// Plays every scenario until it is answered the same twice running, and records that. What is not within
/// some turns is a problem, and is not recorded.
#[must_use]
pub fn record_all(
    library: &Library,
    target: Target,
    version: Version,
    patterns: &[String],
) -> Vec<Outcome> {
    for_each(chosen(library, patterns), RECORDED_AT_ONCE, |scenario, run| {
        let mut last = String::new();
        let mut problem = None;
        for turn in 0..TURNS_MAX {
            let run = format!("{run}{turn}");
            let next = play(scenario, target.amqp, target.management, run, RECORDING);
            if next == last && !next.contains("!! ") {
                let written = Answers::write(scenario, version, &next);
                problem = written.err().map(|error| error.to_string());
                break;
            }
            if turn > 0 {
                problem = Some(format!("it was answered in two ways:\n{last}\nand\n{next}"));
            }
            last = next;
        }
        Outcome { name: scenario.name.clone(), problem, not_yet: None }
    })
}

/// Records leveret's own answers to the scenarios in which it is meant to differ.
#[must_use]
pub fn record_own(library: &Library, target: Target) -> Vec<Outcome> {
    let wanted = library.scenarios.iter().filter(|scenario| scenario.differs.is_some()).collect();
    for_each(wanted, AT_ONCE, |scenario, run| {
        let transcript = play(scenario, target.amqp, target.management, run, PLAYING);
        let problem = Answers::write_own(scenario, &transcript).err();
        let problem = problem.map(|error| error.to_string());
        Outcome { name: scenario.name.clone(), problem, not_yet: None }
    })
}

fn chosen<'a>(library: &'a Library, patterns: &[String]) -> Vec<&'a Scenario> {
    let wanted = |scenario: &&Scenario| {
        patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, &scenario.name))
    };
    library.scenarios.iter().filter(wanted).collect()
}

/// Does the work for each scenario on some threads; the outcomes are in the order of the scenarios.
fn for_each(
    scenarios: Vec<&Scenario>,
    at_once: usize,
    work: impl Fn(&Scenario, String) -> Outcome + Sync,
) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let (scenarios, next, outcomes, work) = (&scenarios, &next, &outcomes, &work);
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(scenarios.len()) {
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else { break };
                    let outcome = guarded(scenario, index, work);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    let mut outcomes =
        outcomes.lock().map(|mut found| std::mem::take(&mut *found)).unwrap_or_default();
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    outcomes
}

/// A scenario that panics is one that failed.
fn guarded(
    scenario: &Scenario,
    index: usize,
    work: &(impl Fn(&Scenario, String) -> Outcome + Sync),
) -> Outcome {
    // Names of the same length in every run: some texts are cut at 255 octets.
    let run = format!("dx-{:06x}{:03x}", std::process::id() & 0xff_ffff, index & 0xfff);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(scenario, run)));
    result.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let problem = Some(format!("it panicked: {}", why.unwrap_or_default()));
        Outcome { name: scenario.name.clone(), problem, not_yet: None }
    })
}
