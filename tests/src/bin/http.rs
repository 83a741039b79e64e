//! Records the tables of `tests/http` anew, or plays them: `leveret-http record|play AMQP MANAGEMENT`, in
//! the root of the checkout. Record from RabbitMQ 4.3 whose vhost `/` is as it was after its first start.

#![expect(clippy::print_stdout, reason = "a development command talks to the person who ran it")]

use std::path::Path;
use std::process::ExitCode;

use leveret_tests::Target;
use leveret_tests::http::{play_all, record_all};

/// Where the tables lie.
const TABLES: &str = "tests/http";

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

fn run(arguments: &[String]) -> Result<bool, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = Path::new(TABLES);
    match words.as_slice() {
        ["record", amqp, management] => {
            let asked = record_all(folder, Target::parse(amqp, management)?)?;
            println!("{asked} answers recorded");
            Ok(true)
        }
        ["play", amqp, management] => {
            let (asked, problems) = play_all(folder, Target::parse(amqp, management)?)?;
            for problem in &problems {
                println!("{problem}");
            }
            println!("{asked} requests, {} differences", problems.len());
            Ok(problems.is_empty())
        }
        _ => Err("leveret-http record|play AMQP MANAGEMENT".to_owned()),
    }
}
