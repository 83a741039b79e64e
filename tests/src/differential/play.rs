//! One scenario from beginning to end: what it is played on, its steps, its transcript.

use std::net::SocketAddr;

use super::scenario::Scenario;
use super::stage::{Pace, Stage, Stuck};
use super::step::Step;

/// Plays a scenario and answers with its transcript. A scenario that cannot go on ends with a line that
/// starts with `!!`, which is equal to nothing that was recorded.
pub(super) fn play(
    scenario: &Scenario,
    amqp: SocketAddr,
    management: SocketAddr,
    run: String,
    pace: Pace,
) -> String {
    let mut stage = match Stage::set(amqp, management, run, scenario.order, pace.patience) {
        Ok(stage) => stage,
        Err(Stuck(why)) => return format!("!! {why}\n"),
    };
    if let Err(Stuck(why)) = steps(scenario, &mut stage) {
        stage.log(&format!("!! {why}"));
    }
    stage.leftovers(pace.quiet);
    stage.strike();
    stage.transcript()
}

fn steps(scenario: &Scenario, stage: &mut Stage) -> Result<(), Stuck> {
    for (line, _) in &scenario.steps {
        if stage.is_over() {
            return Err(Stuck("out of time".to_owned()));
        }
        let revealed = stage.mask.reveal(line);
        let step = Step::read(&revealed).map_err(Stuck)?;
        // Waiting is shown by what came.
        if !matches!(&step, Step::On { deed, .. } if deed.waits()) {
            stage.log(line);
        }
        match step {
            Step::Http { verb, path, body } => {
                let status = stage.request(&verb, &path, &body)?;
                stage.log(&format!("http {status}"));
            }
            Step::Sleep(time) => stage.pass(time),
            Step::On { place, times, deed } => {
                for _ in 0..times {
                    stage.perform(&place, &deed)?;
                }
            }
        }
    }
    Ok(())
}
