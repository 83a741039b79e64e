//! The verbs about the broker itself: how it is, whether it is there, and backups.

use super::table::Format;
use super::{Options, print};
use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::net::TcpStream;

/// How often a broker that is being waited for is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The broker itself.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum NodeVerb {
    /// What the broker is and does: addresses, memory, disk, alarms, store, totals.
    Status,
    /// Succeed if the broker answers.
    #[command(alias = "check_running", alias = "is_running")]
    Ping,
    /// Succeed if no alarm is on.
    #[command(alias = "check_local_alarms")]
    CheckAlarms,
    /// Succeed if every listener of the broker takes connections.
    CheckPortConnectivity,
    /// Succeed if the broker listens on this port.
    CheckPortListener {
        /// The port.
        port: u16,
    },
    /// Succeed if every virtual host is up.
    CheckVirtualHosts,
    /// The version that clients are told, and leveret's own.
    Version,
    /// Wait until the broker answers, as long as --timeout says.
    AwaitStartup,
    /// The addresses where the broker listens.
    Listeners,
    /// The password in the form that definitions have it.
    HashPassword {
        /// In the clear.
        password: String,
    },
}

impl NodeVerb {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        match self {
            Self::Status => status(options).await,
            Self::Ping => {
                options.target.get("/api/overview").await?;
                options.say("Ping succeeded");
                Ok(())
            }
            Self::CheckAlarms => check(options, "alarms").await,
            Self::CheckVirtualHosts => check(options, "virtual-hosts").await,
            Self::CheckPortListener { port } => {
                check(options, &format!("port-listener/{port}")).await
            }
            Self::CheckPortConnectivity => check_ports(options).await,
            Self::Version => {
                let overview = options.target.get("/api/overview").await?;
                print(&format!("{}\n", text(&overview["rabbitmq_version"])));
                Ok(())
            }
            Self::AwaitStartup => await_startup(options).await,
            Self::Listeners => listeners(options).await,
            Self::HashPassword { password } => {
                let path = format!("/api/auth/hash_password/{}", super::segment(password));
                let answer = options.target.get(&path).await?;
                print(&format!("{}\n", text(&answer["ok"])));
                Ok(())
            }
        }
    }
}

/// One of the API's health checks.
async fn check(options: &Options, what: &str) -> anyhow::Result<()> {
    options.target.get(&format!("/api/health/checks/{what}")).await?;
    options.say(&format!("{what}: passed"));
    Ok(())
}

async fn check_ports(options: &Options) -> anyhow::Result<()> {
    let overview = options.target.get("/api/overview").await?;
    for listener in overview["listeners"].as_array().into_iter().flatten() {
        let (ip, port) = (text(&listener["ip_address"]), text(&listener["port"]));
        let host = match &*ip {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            ip => ip,
        };
        let port: u16 = port.parse()?;
        TcpStream::connect((host, port))
            .await
            .with_context(|| format!("nothing takes connections on {host}, port {port}"))?;
    }
    options.say("Connection to every listener succeeded");
    Ok(())
}

async fn await_startup(options: &Options) -> anyhow::Result<()> {
    while options.target.get("/api/overview").await.is_err() {
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

async fn listeners(options: &Options) -> anyhow::Result<()> {
    let overview = options.target.get("/api/overview").await?;
    if options.formatter == Format::Json {
        print(&format!("{}\n", json!({"listeners": overview["listeners"]})));
        return Ok(());
    }
    print(&listener_lines(&overview));
    Ok(())
}

fn listener_lines(overview: &Value) -> String {
    let mut lines = String::new();
    for listener in overview["listeners"].as_array().into_iter().flatten() {
        let _infallible = writeln!(
            lines,
            "Interface: {}, port: {}, protocol: {}",
            text(&listener["ip_address"]),
            listener["port"],
            text(&listener["protocol"])
        );
    }
    lines
}

async fn status(options: &Options) -> anyhow::Result<()> {
    let overview = options.target.get("/api/overview").await?;
    let name = text(&overview["node"]);
    let node = options.target.get(&format!("/api/nodes/{}", super::segment(&name))).await?;
    if options.formatter == Format::Json {
        print(&format!("{:#}\n", json!({"overview": overview, "node": node})));
        return Ok(());
    }
    options.say(&format!("Status of node {name} ..."));
    print(&status_text(&overview, &node));
    Ok(())
}

fn status_text(overview: &Value, node: &Value) -> String {
    let mut out = String::new();
    let mut section = |title: &str, lines: &[(&str, String)]| {
        let _infallible = writeln!(out, "{title}\n");
        for (name, value) in lines {
            let _infallible = writeln!(out, "{name}: {value}");
        }
        out.push('\n');
    };
    let uptime = node["uptime"].as_u64().unwrap_or(0) / 1000;
    section(
        "Runtime",
        &[
            ("OS PID", text(&node["os_pid"])),
            ("Uptime (seconds)", uptime.to_string()),
            ("Version", format!("leveret {}", env!("CARGO_PKG_VERSION"))),
            ("RabbitMQ version for clients", text(&overview["rabbitmq_version"])),
            ("Cluster name", text(&overview["cluster_name"])),
        ],
    );
    let alarms: Vec<&str> = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")]
        .into_iter()
        .filter(|(key, _)| node[*key] == true)
        .map(|(_, alarm)| alarm)
        .collect();
    let alarms = if alarms.is_empty() { "(none)".to_owned() } else { alarms.join(", ") };
    section(
        "Resources",
        &[
            ("Alarms", alarms),
            ("Memory used", of(node, "mem_used", "mem_limit")),
            (
                "Disk free",
                format!(
                    "{}, alarm below {}",
                    bytes(&node["disk_free"]),
                    bytes(&node["disk_free_limit"])
                ),
            ),
            ("File descriptors", format!("{} of {}", node["fd_used"], node["fd_total"])),
        ],
    );
    let totals = &overview["object_totals"];
    let queued = &overview["queue_totals"];
    section(
        "Totals",
        &[
            ("Connection count", text(&totals["connections"])),
            ("Channel count", text(&totals["channels"])),
            ("Queue count", text(&totals["queues"])),
            ("Consumer count", text(&totals["consumers"])),
            ("Messages ready", text(&queued["messages_ready"])),
            ("Messages unacknowledged", text(&queued["messages_unacknowledged"])),
        ],
    );
    if let Some(store) = node.get("leveret_store").filter(|store| store.is_object()) {
        section(
            "Message store",
            &[
                ("Group commits", text(&store["groups"])),
                ("Mean sync", format!("{} µs", text(&store["sync_micros_mean"]))),
                (
                    "In the log",
                    format!(
                        "{} in {} records",
                        bytes(&store["window_bytes"]),
                        store["window_records"]
                    ),
                ),
                ("Chunks", text(&store["chunks"])),
                ("On disk", bytes(&store["disk_bytes"])),
                ("Memory of the database", bytes(&store["memory_bytes"])),
                ("Slow writes", text(&store["slow_writes"])),
            ],
        );
    }
    let _infallible = writeln!(out, "Listeners\n\n{}", listener_lines(overview));
    out
}

fn of(node: &Value, used: &str, limit: &str) -> String {
    format!("{} of {}", bytes(&node[used]), bytes(&node[limit]))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Bytes in a unit that people read.
pub(crate) fn bytes(value: &Value) -> String {
    let n = value.as_f64().unwrap_or(0.0);
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if n >= size {
            return format!("{:.1} {unit}", n / size);
        }
    }
    format!("{n} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_says_what_is_wrong_and_what_is_there() {
        let overview = json!({
            "node": "rabbit@a", "cluster_name": "c", "rabbitmq_version": "4.1.0",
            "object_totals": {"queues": 3}, "queue_totals": {"messages_ready": 7},
            "listeners": [{"ip_address": "::", "port": 5672, "protocol": "amqp"}],
        });
        let node = json!({
            "uptime": 61_500, "os_pid": "12", "mem_used": 1_500_000, "mem_limit": 2_000_000_000u64,
            "mem_alarm": false, "disk_free_alarm": true, "disk_free": 10, "disk_free_limit": 50_000_000,
            "leveret_store": {"groups": 5, "chunks": 2},
        });
        let text = status_text(&overview, &node);
        for line in [
            "Uptime (seconds): 61",
            "Alarms: disk",
            "Memory used: 1.5 MB of 2.0 GB",
            "Disk free: 10 bytes, alarm below 50.0 MB",
            "Queue count: 3",
            "Messages ready: 7",
            "Group commits: 5",
            "Interface: ::, port: 5672, protocol: amqp",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
