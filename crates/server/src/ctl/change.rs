//! The verbs that change vhosts, queues and connections, and whole definitions.

use super::request::{carry_out, delete, json_of, put};
use super::{Options, segment};
use anyhow::Context as _;
use clap::Subcommand;
use hyper::Method;
use serde_json::{Map, Value, json};

/// Vhosts, queues, connections, definitions.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Change {
    /// Create a virtual host.
    AddVhost {
        name: String,
        #[arg(long)]
        description: Option<String>,
        #[arg(long)]
        tags: Option<String>,
        #[arg(long = "default-queue-type")]
        default_queue_type: Option<String>,
    },
    /// Delete a virtual host and everything in it.
    DeleteVhost { name: String },
    /// Delete a queue.
    DeleteQueue {
        name: String,
        /// Only if nothing is in it.
        #[arg(short = 'e', long = "if-empty")]
        if_empty: bool,
        /// Only if nobody consumes.
        #[arg(short = 'u', long = "if-unused")]
        if_unused: bool,
    },
    /// Remove the ready messages of a queue.
    PurgeQueue { name: String },
    /// Close a connection, named as in `list_connections name`.
    CloseConnection { name: String, reason: String },
    /// Close the connections of a vhost.
    CloseAllConnections { reason: String },
    /// Close the connections of a user.
    CloseAllUserConnections { user: String, reason: String },
    /// Copy every message of a vhost to amq.rabbitmq.trace.
    TraceOn,
    /// Stop that.
    TraceOff,
    /// Take in a definitions file of RabbitMQ or leveret; `-` reads standard input.
    ImportDefinitions { file: String },
    /// Write everything but messages to a file; `-` writes to standard output.
    ExportDefinitions { file: String },
}

impl Change {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        let (vhost, v) = (&options.vhost, segment(&options.vhost));
        let (says, requests) = match self {
            Self::AddVhost { name, description, tags, default_queue_type } => {
                let mut body = Map::new();
                for (key, value) in [
                    ("description", description),
                    ("tags", tags),
                    ("default_queue_type", default_queue_type),
                ] {
                    body.extend(value.as_ref().map(|value| (key.to_owned(), json!(value))));
                }
                let request = put(format!("/api/vhosts/{}", segment(name)), Value::Object(body));
                (format!("Adding vhost \"{name}\" ..."), vec![request])
            }
            Self::DeleteVhost { name } => (
                format!("Deleting vhost \"{name}\" ..."),
                vec![delete(format!("/api/vhosts/{}", segment(name)))],
            ),
            Self::DeleteQueue { name, if_empty, if_unused } => (
                format!("Deleting queue '{name}' on vhost '{vhost}' ..."),
                vec![delete(format!(
                    "/api/queues/{v}/{}?if-empty={if_empty}&if-unused={if_unused}",
                    segment(name)
                ))],
            ),
            Self::PurgeQueue { name } => (
                format!("Purging queue '{name}' in vhost '{vhost}' ..."),
                vec![delete(format!("/api/queues/{v}/{}/contents", segment(name)))],
            ),
            Self::TraceOn => (
                format!("Starting tracing for vhost \"{vhost}\" ..."),
                vec![put(format!("/api/vhosts/{v}"), json!({"tracing": true}))],
            ),
            Self::TraceOff => (
                format!("Stopping tracing for vhost \"{vhost}\" ..."),
                vec![put(format!("/api/vhosts/{v}"), json!({"tracing": false}))],
            ),
            Self::CloseConnection { name, reason } => {
                options.say(&format!("Closing connection {name}, reason: {reason}..."));
                return close(options, name, reason).await;
            }
            Self::CloseAllConnections { reason } => {
                options
                    .say(&format!("Closing all connections in vhost {vhost}, reason: {reason}..."));
                return close_those(options, reason, |c| c["vhost"] == **vhost).await;
            }
            Self::CloseAllUserConnections { user, reason } => {
                options
                    .say(&format!("Closing all connections of user {user}, reason: {reason}..."));
                return close_those(options, reason, |c| c["user"] == **user).await;
            }
            Self::ImportDefinitions { file } => return import(options, file).await,
            Self::ExportDefinitions { file } => return export(options, file).await,
        };
        carry_out(options, &says, requests).await
    }
}

async fn close(options: &Options, name: &str, reason: &str) -> anyhow::Result<()> {
    let path = format!("/api/connections/{}", segment(name));
    options.target.close(&path, reason).await
}

async fn close_those(
    options: &Options,
    reason: &str,
    those: impl Fn(&Value) -> bool,
) -> anyhow::Result<()> {
    let connections = options.target.get("/api/connections").await?;
    let names = connections.as_array().into_iter().flatten().filter(|c| those(c));
    for name in names.filter_map(|connection| connection["name"].as_str()) {
        close(options, name, reason).await?;
    }
    Ok(())
}

async fn import(options: &Options, file: &str) -> anyhow::Result<()> {
    options.say(&format!("Importing definitions in JSON from a file at \"{file}\" ..."));
    let text = if file == "-" {
        std::io::read_to_string(std::io::stdin()).context("standard input cannot be read")?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?
    };
    let definitions = json_of("file", &text)?;
    options.target.call(Method::POST, "/api/definitions", Some(&definitions)).await?;
    Ok(())
}

async fn export(options: &Options, file: &str) -> anyhow::Result<()> {
    let definitions = options.target.get("/api/definitions").await?;
    let text = format!("{definitions:#}\n");
    if file == "-" {
        super::print(&text);
        return Ok(());
    }
    options.say(&format!("Exporting definitions in JSON to a file at \"{file}\" ..."));
    std::fs::write(file, text).with_context(|| format!("{file} cannot be written"))
}
