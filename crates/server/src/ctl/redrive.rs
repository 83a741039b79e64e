//! Moving messages between queues: dead letters back to where they died, or all of a queue elsewhere. The broker does the
//! work; here it is begun, watched and cancelled.

use super::table::{Format, Table};
use super::{Options, print};
use anyhow::bail;
use clap::Subcommand;
use hyper::Method;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// How often the broker is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Failures that are printed; all that the broker keeps are in `list_redrives --formatter json`.
const FAILURES_SHOWN: usize = 20;

const PATH: &str = "/api/leveret/redrives";

/// Moves.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum RedriveVerb {
    /// Send dead letters back to the queues that they died in first, with their first address.
    ///
    /// A message is removed only when its queue has it; one that cannot be moved stays and is named. Ctrl-C ends the
    /// work in order: what was moved stays moved.
    Redrive {
        /// The queue with the dead letters.
        queue: String,
        /// Move everything here instead, dead letter or not; messages keep their address.
        #[arg(long, value_name = "QUEUE")]
        to: Option<String>,
        /// Only what died in this queue.
        #[arg(long = "died-in", value_name = "QUEUE")]
        died_in: Option<String>,
        /// Only what died for this reason: rejected, expired, maxlen or delivery_limit.
        #[arg(long)]
        reason: Option<String>,
        /// Only what died at least this long ago.
        #[arg(long = "older-than", value_name = "SECONDS")]
        older_than: Option<u64>,
        /// Messages in a second, at most.
        #[arg(long, value_name = "N")]
        rate: Option<u64>,
        /// Messages to look at, at most.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Move nothing; say what would be moved.
        #[arg(long = "dry-run")]
        dry_run: bool,
        /// Begin and return at once; `list_redrives` tells how far it is.
        #[arg(long)]
        detach: bool,
    },
    /// Redrives that are under way, and the last ones that ended.
    ListRedrives,
    /// End a redrive. What was moved stays moved.
    CancelRedrive {
        /// Its number.
        id: u64,
    },
}

impl RedriveVerb {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        match self {
            Self::Redrive { detach, .. } => {
                let begun =
                    options.target.call(Method::POST, PATH, Some(&self.body(options))).await?;
                let Some(id) = begun["id"].as_u64() else { bail!("the broker began nothing") };
                if *detach {
                    print(&format!("{id}\n"));
                    return Ok(());
                }
                finish(options, watch(options, id).await?)
            }
            Self::ListRedrives => {
                options.say("Listing redrives ...");
                let columns = [
                    "id", "vhost", "queue", "to", "state", "looked", "total", "moved", "passed",
                    "failed",
                ];
                let list = options.target.get(PATH).await?;
                if options.formatter == Format::Json {
                    print(&format!("{list}\n"));
                    return Ok(());
                }
                options.show(&Table::of(&list, &columns));
                Ok(())
            }
            Self::CancelRedrive { id } => {
                options.say(&format!("Cancelling redrive {id} ..."));
                options.target.call(Method::DELETE, &format!("{PATH}/{id}"), None).await.map(drop)
            }
        }
    }

    fn body(&self, options: &Options) -> Value {
        let mut body = Map::new();
        if let Self::Redrive {
            queue, to, died_in, reason, older_than, rate, limit, dry_run, ..
        } = self
        {
            body.insert("vhost".into(), json!(options.vhost));
            body.insert("queue".into(), json!(queue));
            body.insert("dry_run".into(), json!(dry_run));
            for (key, value) in [
                ("to", json!(to)),
                ("died_in", json!(died_in)),
                ("reason", json!(reason)),
                ("older_than", json!(older_than)),
                ("rate", json!(rate)),
                ("limit", json!(limit)),
            ] {
                if !value.is_null() {
                    body.insert(key.into(), value);
                }
            }
        }
        Value::Object(body)
    }
}

/// Waits for the end, showing how far it is where a person looks; Ctrl-C cancels.
async fn watch(options: &Options, id: u64) -> anyhow::Result<Value> {
    let path = format!("{PATH}/{id}");
    let live = std::io::stderr().is_terminal() && !options.quiet && !options.silent;
    let mut told = false;
    loop {
        let view = options.target.get(&path).await?;
        if live {
            let line = format!("\r{} of {} looked at ", view["looked"], view["total"]);
            // Nobody may be looking.
            let _unseen = std::io::stderr().write_all(line.as_bytes());
        }
        if view["state"] != "running" {
            if live {
                let _unseen = std::io::stderr().write_all(b"\n");
            }
            return Ok(view);
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_EVERY) => {}
            _ = tokio::signal::ctrl_c(), if !told => {
                told = true;
                options.target.call(Method::DELETE, &path, None).await?;
            }
        }
    }
}

fn finish(options: &Options, view: Value) -> anyhow::Result<()> {
    if options.formatter == Format::Json {
        print(&format!("{view}\n"));
    } else {
        print(&summary(&view));
    }
    match view["state"].as_str() {
        Some("failed") => bail!("{}", view["error"].as_str().unwrap_or("it failed")),
        _ if view["failed"] != 0 => bail!("{} messages could not be moved", view["failed"]),
        _ => Ok(()),
    }
}

fn summary(view: &Value) -> String {
    let verb = if view["dry_run"] == true { "would be moved" } else { "moved" };
    let mut text = format!(
        "{}: {} of {} looked at, {} {verb}, {} do not fit, {} failed\n",
        view["state"].as_str().unwrap_or_default(),
        view["looked"],
        view["total"],
        view["moved"],
        view["passed"],
        view["failed"]
    );
    for (queue, n) in view["moved_to"].as_object().into_iter().flatten() {
        let _infallible = writeln!(text, "  to {queue}: {n}");
    }
    let failures = view["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
    for failure in failures.iter().take(FAILURES_SHOWN) {
        let id = failure["message_id"].as_str().map(|id| format!(" ({id})")).unwrap_or_default();
        let reason = failure["reason"].as_str().unwrap_or_default();
        let _infallible = writeln!(text, "  message {}{id}: {reason}", failure["position"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_was_moved_and_what_was_not() {
        let view = json!({
            "state": "done", "dry_run": false, "looked": 3, "total": 3, "moved": 1, "passed": 1,
            "failed": 1, "moved_to": {"jobs": 1},
            "failures": [{"position": 2, "message_id": "m", "reason": "no queue"}],
        });
        assert_eq!(
            summary(&view),
            "done: 3 of 3 looked at, 1 moved, 1 do not fit, 1 failed\n  to jobs: 1\n  message 2 (m): no queue\n"
        );
    }
}
