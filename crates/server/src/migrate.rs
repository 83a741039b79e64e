//! `leveret migrate`: takes over what another broker has. First its definitions, then its messages: each is taken from
//! there, put into the queue of the same name here with the address it had, and acknowledged there once it is on disk here.

mod source;

use crate::ctl::client::Target;
use crate::ctl::segment;
use crate::perf::uri::Uri;
use anyhow::{Context as _, bail};
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};
use source::{Got, Source};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Messages that are under way at once: they are on disk here with one sync.
const BATCH: usize = 500;

/// Payload bytes that are under way at once, well below what one request may carry.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Take over definitions and messages of a running RabbitMQ, LavinMQ or leveret.
///
/// Stop the clients of the old broker, or let them connect to leveret, before the messages are moved. It can be interrupted
/// and run again: what was moved is gone from the old broker, and only what was under way at that moment may come twice.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct MigrateArgs {
    /// Management address of the old broker: http://USER:PASSWORD@HOST:15672.
    #[arg(long, value_name = "URL")]
    from: String,
    /// AMQP address of the old broker; without it only definitions are taken.
    #[arg(long, value_name = "URI")]
    amqp: Option<Uri>,
    #[command(flatten)]
    target: Target,
    /// Only the messages of this queue; can be given several times.
    #[arg(long, value_name = "NAME")]
    queue: Vec<String>,
    /// Only the messages of this virtual host.
    #[arg(short = 'p', long, value_name = "VHOST")]
    vhost: Option<String>,
}

const HELP: &str = "\
The target is the broker on this machine (--data-dir, by default ./data) or one anywhere (--url).

Examples:
  leveret migrate --from http://guest:guest@old:15672
  leveret migrate --from http://guest:guest@old:15672 --amqp amqp://guest:guest@old:5672";

/// Runs the command.
///
/// # Errors
/// The first thing that goes wrong; what was moved before stays moved.
pub(crate) fn run(args: &MigrateArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let from = Target::at(&args.from);
        let definitions = from.get("/api/definitions").await.context("the old broker (--from)")?;
        let import = args.target.call(Method::POST, "/api/definitions", Some(&definitions)).await;
        import.context("the definitions of the old broker are not taken in")?;
        say(&taken(&definitions));
        if let Some(uri) = &args.amqp {
            return messages(args, &from, uri).await;
        }
        say("Messages stay where they are: --amqp names the address to take them from.\n");
        Ok(ExitCode::SUCCESS)
    })
}

fn taken(definitions: &Value) -> String {
    let count = |section: &str| {
        let n = definitions[section].as_array().map_or(0, Vec::len);
        format!("{n} {section}")
    };
    let sections =
        ["vhosts", "users", "permissions", "policies", "exchanges", "queues", "bindings"];
    format!("Taken in: {}.\n", sections.map(count).join(", "))
}

async fn messages(args: &MigrateArgs, from: &Target, uri: &Uri) -> anyhow::Result<ExitCode> {
    let queues = from.get("/api/queues").await.context("the old broker (--from)")?;
    let mut left_behind = Vec::new();
    for queue in queues.as_array().into_iter().flatten() {
        let (vhost, name) = (text(&queue["vhost"]), text(&queue["name"]));
        let wanted = args.vhost.as_ref().is_none_or(|only| only == vhost)
            && (args.queue.is_empty() || args.queue.iter().any(|only| only == name));
        if !wanted {
            continue;
        }
        if let Some(why) = stays(queue) {
            left_behind.push(format!("{name} in {vhost}: {why}"));
            continue;
        }
        let moved = drain(args, uri, vhost, name).await;
        let moved = moved.with_context(|| format!("queue {name} in {vhost}"))?;
        if moved > 0 {
            say(&format!("{name} in {vhost}: {moved} messages\n"));
        }
        let unacked = queue["messages_unacknowledged"].as_u64().unwrap_or(0);
        if unacked > 0 {
            left_behind.push(format!(
                "{name} in {vhost}: {unacked} messages that consumers of the old broker hold"
            ));
        }
    }
    if left_behind.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say("Not moved:\n");
    left_behind.iter().for_each(|what| say(&format!("  {what}\n")));
    bail!("not everything was moved; run it again when that is settled")
}

/// Why the messages of a queue cannot be taken.
fn stays(queue: &Value) -> Option<&'static str> {
    match (text(&queue["type"]), queue["exclusive"] == true) {
        (_, true) => Some("it belongs to one connection"),
        ("stream", _) => Some("a stream is read with offsets, not emptied"),
        _ => None,
    }
}

/// Moves everything that is ready in a queue; returns how much that was.
async fn drain(args: &MigrateArgs, uri: &Uri, vhost: &str, name: &str) -> anyhow::Result<u64> {
    let mut source = Source::connect(uri, vhost, name)?;
    let path = format!("/api/leveret/queues/{}/{}/messages", segment(vhost), segment(name));
    let mut moved = 0;
    loop {
        let got = source.get(BATCH, BATCH_BYTES)?;
        let (Some(last), n) = (got.last(), got.len()) else { break };
        let tag = last.tag;
        let body = json!({"messages": got.iter().map(Got::to_json).collect::<Vec<_>>()});
        args.target.call(Method::POST, &path, Some(&body)).await?;
        source.acknowledge(tag)?;
        moved += n as u64;
        progress(name, moved);
    }
    source.close()?;
    if moved > 0 && live() {
        say("\r");
    }
    Ok(moved)
}

fn live() -> bool {
    std::io::stdout().is_terminal()
}

fn progress(name: &str, moved: u64) {
    if live() {
        say(&format!("\r{name}: {moved} messages "));
    }
}

/// A closed pipe ends the output, not the work.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _unheard = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_exclusive_queues_stay() {
        assert!(stays(&json!({"type": "stream", "exclusive": false})).is_some());
        assert!(stays(&json!({"type": "classic", "exclusive": true})).is_some());
        assert!(stays(&json!({"type": "quorum", "exclusive": false})).is_none());
        assert!(stays(&json!({})).is_none());
    }
}
