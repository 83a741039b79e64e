//! `leveret top`: a live view of a broker in the terminal. Asks the management API every second or so; draws text.

mod screen;

use crate::ctl::client::Target;
use clap::{Args, ValueEnum};
use screen::Screen;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Watch a broker: its queues, rates and connections, live.
///
/// Keys: m, r, n and c sort by messages, rate, name and consumers; q ends.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    target: Target,
    /// Only queues of this virtual host.
    #[arg(short = 'p', long, value_name = "VHOST")]
    vhost: Option<String>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    interval: f64,
    /// What queues are sorted by.
    #[arg(long, value_enum, default_value = "messages")]
    sort: Sort,
    /// Look once, print and end.
    #[arg(long)]
    once: bool,
}

/// What the list of queues is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Messages,
    Rate,
    Name,
    Consumers,
}

impl Sort {
    fn of_key(key: u8) -> Option<Self> {
        match key {
            b'm' => Some(Self::Messages),
            b'r' => Some(Self::Rate),
            b'n' => Some(Self::Name),
            b'c' => Some(Self::Consumers),
            _ => None,
        }
    }

    fn query(self) -> &'static str {
        match self {
            Self::Messages => "sort=messages&sort_reverse=true",
            Self::Rate => "sort=message_stats.publish_details.rate&sort_reverse=true",
            Self::Name => "sort=name",
            Self::Consumers => "sort=consumers&sort_reverse=true",
        }
    }
}

/// Queues that fit on no screen are not asked for.
const QUEUES_MAX: usize = 200;

/// The columns that are asked for.
const COLUMNS: &str = "name,vhost,state,messages_ready,messages_unacknowledged,consumers,\
                       message_stats.publish_details.rate,message_stats.deliver_get_details.rate";

/// Runs the command.
///
/// # Errors
/// When there is no broker, or it refuses.
pub(crate) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if args.once || !std::io::stdout().is_terminal() {
            let seen = Seen::look(args, args.sort, QUEUES_MAX).await?;
            screen::print(&seen.text(args.sort, 100, QUEUES_MAX + 10));
            return Ok(ExitCode::SUCCESS);
        }
        // Before the screen is taken, so that an error stays readable.
        Seen::look(args, args.sort, 1).await?;
        watch(args).await
    })
}

async fn watch(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let screen = Screen::take()?;
    let mut keys: Receiver<u8> = screen.keys();
    let mut sort = args.sort;
    let interval = Duration::from_secs_f64(args.interval.clamp(0.2, 3600.0));
    loop {
        let (width, height) = screen.size();
        let rows = height.saturating_sub(8).min(QUEUES_MAX);
        let text = match Seen::look(args, sort, rows).await {
            Ok(seen) => seen.text(sort, width, height),
            Err(error) => format!("leveret top\n\n{error:#}\n\nasking again; q ends"),
        };
        screen.show(&text);
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            key = keys.recv() => match key {
                Some(b'q') | None => return Ok(ExitCode::SUCCESS),
                Some(key) => sort = Sort::of_key(key).unwrap_or(sort),
            },
        }
    }
}

/// One look.
struct Seen {
    overview: Value,
    node: Value,
    queues: Value,
}

impl Seen {
    async fn look(args: &TopArgs, sort: Sort, rows: usize) -> anyhow::Result<Self> {
        let overview = args.target.get("/api/overview").await?;
        let name = overview["node"].as_str().unwrap_or_default();
        // Those who do not monitor see queues all the same.
        let node = args.target.get(&format!("/api/nodes/{}", crate::ctl::segment(name))).await;
        let vhost = args.vhost.as_ref().map(|vhost| format!("/{}", crate::ctl::segment(vhost)));
        let path = format!(
            "/api/queues{}?page=1&page_size={}&{}&columns={COLUMNS}",
            vhost.unwrap_or_default(),
            rows.max(1),
            sort.query()
        );
        let queues = args.target.get(&path).await?;
        Ok(Self { overview, node: node.unwrap_or(Value::Null), queues })
    }

    fn text(&self, sort: Sort, width: usize, height: usize) -> String {
        let mut text = self.head();
        let name_width = width.saturating_sub(62).clamp(16, 60);
        let _infallible = writeln!(
            text,
            "\n{:<name_width$} {:>10} {:>10} {:>11} {:>11} {:>9}",
            "queue", "ready", "unacked", "in /s", "out /s", "consumers"
        );
        let items = self.queues["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for queue in items.iter().take(height.saturating_sub(8)) {
            let name = queue_name(queue, name_width);
            let _infallible = writeln!(
                text,
                "{name:<name_width$} {:>10} {:>10} {:>11} {:>11} {:>9}",
                count(&queue["messages_ready"]),
                count(&queue["messages_unacknowledged"]),
                rate(&queue["message_stats"]["publish_details"]["rate"]),
                rate(&queue["message_stats"]["deliver_get_details"]["rate"]),
                count(&queue["consumers"]),
            );
        }
        let total = self.queues["filtered_count"].as_u64().unwrap_or(0);
        let _infallible = write!(
            text,
            "{} of {total} queues, by {}; m r n c sort, q ends",
            items.len(),
            sort.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
        );
        text
    }

    fn head(&self) -> String {
        let (overview, node) = (&self.overview, &self.node);
        let (objects, queued) = (&overview["object_totals"], &overview["queue_totals"]);
        let stats = &overview["message_stats"];
        let alarms = match (node["mem_alarm"] == true, node["disk_free_alarm"] == true) {
            (false, false) => "",
            (true, false) => "   ALARM: memory",
            (false, true) => "   ALARM: disk",
            (true, true) => "   ALARM: memory and disk",
        };
        format!(
            "leveret top   {} up {} s{alarms}\n\
             {} connections, {} channels, {} consumers, {} queues\n\
             {} ready, {} unacknowledged   in {}/s, out {}/s, acknowledged {}/s\n\
             memory {} of {}, disk free {}\n",
            overview["cluster_name"].as_str().unwrap_or_default(),
            node["uptime"].as_u64().unwrap_or(0) / 1000,
            count(&objects["connections"]),
            count(&objects["channels"]),
            count(&objects["consumers"]),
            count(&objects["queues"]),
            count(&queued["messages_ready"]),
            count(&queued["messages_unacknowledged"]),
            rate(&stats["publish_details"]["rate"]),
            rate(&stats["deliver_get_details"]["rate"]),
            rate(&stats["ack_details"]["rate"]),
            crate::ctl::bytes(&node["mem_used"]),
            crate::ctl::bytes(&node["mem_limit"]),
            crate::ctl::bytes(&node["disk_free"]),
        )
    }
}

/// The name, with its vhost where that is not the usual one, cut where it is too long; what would move the cursor is left out.
fn queue_name(queue: &Value, width: usize) -> String {
    let name = queue["name"].as_str().unwrap_or_default();
    let whole = match queue["vhost"].as_str() {
        Some("/") | None => name.to_owned(),
        Some(vhost) => format!("{vhost}: {name}"),
    };
    let printable = whole.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut shown: String = printable.take(width).collect();
    if whole.chars().count() > width {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn count(value: &Value) -> String {
    value.as_u64().unwrap_or(0).to_string()
}

fn rate(value: &Value) -> String {
    format!("{:.1}", value.as_f64().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_view_has_totals_alarms_and_queues() {
        let seen = Seen {
            overview: json!({"cluster_name": "c", "object_totals": {"queues": 2}, "queue_totals": {"messages_ready": 7}}),
            node: json!({"uptime": 61_000, "mem_alarm": true, "mem_used": 1_500_000}),
            queues: json!({"filtered_count": 2, "items": [
                {"name": "jobs", "vhost": "/", "messages_ready": 5, "message_stats": {"publish_details": {"rate": 2.5}}},
                {"name": "a\u{1b}[2J", "vhost": "shop", "messages_ready": 2, "consumers": 3},
            ]}),
        };
        let text = seen.text(Sort::Messages, 80, 24);
        for part in [
            "c up 61 s   ALARM: memory",
            "2 queues",
            "7 ready",
            "memory 1.5 MB",
            "jobs                        5          0         2.5         0.0         0\n",
            "shop: a?[2J",
            "2 of 2 queues, by messages",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn long_names_are_cut() {
        let queue = json!({"name": "x".repeat(50), "vhost": "/"});
        let name = queue_name(&queue, 16);
        assert_eq!((name.chars().count(), name.ends_with('…')), (16, true));
    }
}
