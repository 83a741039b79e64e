//! `leveret cluster`: makes brokers into a cluster, and says how it is.

use super::routes::{FORGET, INIT, JOIN, LEAVE, Named, STATUS, Seed, TRANSFER};
use crate::ctl::client::Target;
use anyhow::bail;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long the broker may take to start again in its new role.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Make brokers into a cluster, and look after it.
///
/// Each command speaks to the broker of this machine whose data directory it is given.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: Verb,
}

const HELP: &str = "\
A broker can be a node when it listens to others and has the secret that all nodes have:
  leveret serve --cluster-listen 0.0.0.0:25672     with LEVERET_CLUSTER_SECRET set

Examples:
  leveret cluster init                             on the first node
  leveret cluster join first.example:25672         on each other one, while it has no durable queues
  leveret cluster status";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Found a cluster with this broker, and all that it has, as the first node.
    Init,
    /// Become a node of the cluster to which another node belongs.
    Join {
        /// Its address for nodes, HOST:PORT.
        seed: String,
    },
    /// Leave the cluster: what this node leads goes to others, and it begins anew.
    Leave,
    /// Take a node out that is down and does not come back.
    Forget {
        /// Its name or number.
        node: String,
    },
    /// Show the nodes.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let another node lead the agreement.
    TransferLeader {
        /// Its name or number.
        node: String,
    },
}

/// Runs the command.
///
/// # Errors
/// When there is no broker, or it refuses.
pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(args.verb.run(&args.target))?;
    // A closed pipe ends the output, not the work.
    let _unheard = writeln!(std::io::stdout(), "{text}");
    Ok(ExitCode::SUCCESS)
}

impl Verb {
    async fn run(&self, target: &Target) -> anyhow::Result<String> {
        let post =
            |path, body: Value| async move { target.call(Method::POST, path, Some(&body)).await };
        Ok(match self {
            Self::Init => {
                let begun = post(INIT, json!({})).await?;
                again(target, |status| status["cluster"] == begun["cluster"]).await?;
                format!(
                    "founded cluster {}; on each other node: leveret cluster join THIS_NODE:PORT",
                    text(&begun["cluster"])
                )
            }
            Self::Join { seed } => {
                let begun = post(JOIN, json!(Seed { seed: seed.clone() })).await?;
                again(target, |status| status["cluster"] == begun["cluster"]).await?;
                format!("joined cluster {} as node {}", text(&begun["cluster"]), begun["node"])
            }
            Self::Leave => {
                post(LEAVE, json!({})).await?;
                again(target, |status| status["cluster"].is_null()).await?;
                "left the cluster; this broker is alone and new".into()
            }
            Self::Forget { node } => {
                post(FORGET, json!(Named { node: node.clone() })).await?;
                format!("node {node} is no longer in the cluster")
            }
            Self::TransferLeader { node } => {
                post(TRANSFER, json!(Named { node: node.clone() })).await?;
                format!("node {node} leads the agreement")
            }
            Self::Status { json } => {
                let status = target.call(Method::GET, STATUS, None).await?;
                if *json { serde_json::to_string_pretty(&status)? } else { shown(&status) }
            }
        })
    }
}

/// Waits until the broker has started again.
async fn again(target: &Target, is: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let looked = async {
        loop {
            match target.call(Method::GET, STATUS, None).await {
                Ok(status) if is(&status) => return,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    };
    if tokio::time::timeout(AGAIN_WITHIN, looked).await.is_err() {
        bail!(
            "the broker has not started again within {} s: see its log, and `leveret cluster status`",
            AGAIN_WITHIN.as_secs()
        );
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The status for people.
fn shown(status: &Value) -> String {
    if status["cluster"].is_null() {
        let ready = status["ready"] == true;
        let next = if ready {
            "`leveret cluster init` founds one, `leveret cluster join HOST:PORT` joins one"
        } else {
            "to change that, start it with `cluster.listen` and `cluster.secret`"
        };
        return format!("this broker belongs to no cluster; {next}");
    }
    let mut lines =
        vec![format!("cluster {}, this is node {}", text(&status["cluster"]), status["node"])];
    if status["leader"].is_null() {
        lines.push("no node leads: no majority of the votes is connected".into());
    }
    lines.push(String::new());
    let columns = |cells: [&str; 8]| {
        let [node, name, address, role, state, votes, leads, copies] = cells;
        format!(
            "{node:<5} {name:<24} {address:<28} {role:<8} {state:<10} {votes:<7} {leads:>7} {copies:>7}"
        )
    };
    lines.push(columns(["node", "name", "address", "role", "state", "votes", "leads", "copies"]));
    for node in status["nodes"].as_array().into_iter().flatten() {
        let votes = match (node["votes"] == true, node["leads_agreement"] == true) {
            (_, true) => "leads",
            (true, _) => "yes",
            _ => "no",
        };
        let state = match node["state"].as_str().unwrap_or_default() {
            "up" if node["connected"] == false => "unreached",
            state => state,
        };
        let cells =
            ["node", "name", "address", "role", "leads", "copies"].map(|key| text(&node[key]));
        let [number, name, address, role, leads, copies] = &cells;
        lines.push(columns([number, name, address, role, state, votes, leads, copies]));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_shows_who_leads_and_who_is_not_reached() {
        let node = |n: u64, leads: bool, connected: bool| {
            json!({
                "node": n, "name": format!("rabbit@{n}"), "address": "h:1", "role": "data", "state": "up",
                "votes": true, "leads_agreement": leads, "connected": connected, "leads": 3, "copies": 4,
            })
        };
        let nodes = [node(1, true, true), node(2, false, false)];
        let status = json!({"cluster": "0a", "node": 1, "leader": 1, "nodes": nodes});
        let text = shown(&status);
        let line = |name| text.lines().find(|line| line.contains(name)).unwrap();
        assert!(line("rabbit@1").contains("leads"), "{text}");
        assert!(line("rabbit@2").contains("unreached"), "{text}");
    }

    #[test]
    fn a_broker_that_is_alone_is_told_what_to_do() {
        let text = shown(&json!({"cluster": null, "ready": false}));
        assert!(text.contains("cluster.listen"), "{text}");
    }
}
