//! Plays scenarios against a broker: `leveret-differential COMMAND ...`, in the root of the checkout.
//! `cargo xtask differential` starts the broker and calls it. Commands:
//!
//! ```text
//! play AMQP MANAGEMENT [PATTERN...]           compare with what was recorded
//! record VERSION AMQP MANAGEMENT [PATTERN...] record the answers of RabbitMQ 3.10 or 4.3
//! record-own AMQP MANAGEMENT                  record leveret's answers where it is meant to differ
//! doc                                         write docs/conformance.md
//! ```

#![expect(clippy::print_stdout, reason = "a development command talks to the person who ran it")]

use std::path::Path;
use std::process::ExitCode;

use leveret_tests::Target;
use leveret_tests::differential::{
    Library, Outcome, Version, conformance, play_all, record_all, record_own,
};

/// Where the scenarios lie.
const SCENARIOS: &str = "tests/differential";

/// The page that is made of them.
const PAGE: &str = "docs/conformance.md";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether all is well.
fn run(arguments: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    let library = Library::load(Path::new(SCENARIOS))?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["play", amqp, management, ..] => {
            let patterns = arguments.get(3..).unwrap_or_default();
            Ok(report(&play_all(&library, Target::parse(amqp, management)?, patterns)))
        }
        ["record", version, amqp, management, ..] => {
            let version = match *version {
                "3.10" => Version::Old,
                "4.3" => Version::New,
                other => return Err(format!("`{other}` is neither 3.10 nor 4.3").into()),
            };
            let patterns = arguments.get(4..).unwrap_or_default();
            let target = Target::parse(amqp, management)?;
            Ok(report(&record_all(&library, target, version, patterns)))
        }
        ["record-own", amqp, management] => {
            Ok(report(&record_own(&library, Target::parse(amqp, management)?)))
        }
        ["doc"] => {
            std::fs::write(PAGE, conformance(&library))?;
            Ok(true)
        }
        other => Err(format!("not a command: {other:?}").into()),
    }
}

/// Prints what went wrong and the count.
fn report(outcomes: &[Outcome]) -> bool {
    for outcome in outcomes {
        match (&outcome.problem, &outcome.not_yet) {
            (Some(problem), None) => println!("FAILED {}\n{problem}", outcome.name),
            (Some(_), Some(why)) => println!("not yet {}: {why}", outcome.name),
            (None, _) => {}
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_failure()).count();
    let not_yet = outcomes.iter().filter(|outcome| outcome.problem.is_some()).count() - failed;
    let passed = outcomes.len() - failed - not_yet;
    println!("{passed} passed, {failed} failed, {not_yet} not yet");
    failed == 0 && passed > 0
}
