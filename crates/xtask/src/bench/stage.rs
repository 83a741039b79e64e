//! Runs one row: programs are started for it and ended after it, on ports of their own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::figures::Round;
use super::rows::{Ceiling, Load, Row, SENT, Work};
use crate::broker::{self, Broker};
use crate::process;

/// What idle connections are given to settle before memory is looked at.
const SETTLE: Duration = Duration::from_secs(4);

/// How long a queue may take to be filled or emptied.
const DRAIN_LIMIT: &str = "300s";

/// Where and how long runs take place.
pub(super) struct Stage {
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) duration: Duration,
    pub(super) rest: Duration,
}

/// A program that ends with the value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // Both fail only when it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of our own in a folder that somebody named.
pub(super) fn folder_in(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = dir.join(format!("leveret-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be created", dir.display()))?;
    Ok(dir)
}

impl Stage {
    /// Runs a row once, and what it stands beside.
    pub(super) fn play(&self, row: &Row) -> anyhow::Result<Round> {
        let data = self.dir.join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        if row.is_stored() {
            thread::sleep(self.rest);
        }
        let broker = Broker::start_program(&self.program, &self.dir)?;
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", broker.address().amqp);
        let figures = self.measure(row, &broker, &uri)?;
        drop(broker);
        fs::remove_dir_all(&data)?;
        Ok(figures)
    }

    fn measure(&self, row: &Row, broker: &Broker, uri: &str) -> anyhow::Result<Round> {
        Ok(match &row.work {
            Work::Rate { load, per_second, ceiling } => {
                let (beside, field) = self.beside(row, load, per_second, ceiling, uri)?;
                let run = self.timed(load, uri)?;
                Round::Rate {
                    broker: number(&run, &[per_second])?,
                    ceiling: number(&beside, &[field])?,
                }
            }
            Work::Latency { load, field, ceiling } => {
                let (beside, at) = self.beside(row, load, field, ceiling, uri)?;
                let run = self.timed(load, uri)?;
                Round::Latency {
                    p50: number(&run, &[field, "p50"])?,
                    p99: number(&run, &[field, "p99"])?,
                    ceiling_p50: number(&beside, &[at, "p50"])?,
                    ceiling_p99: number(&beside, &[at, "p99"])?,
                }
            }
            Work::Drain { fill, ceiling, messages } => {
                let beside = self.drain(ceiling, *messages, uri)?;
                thread::sleep(self.rest);
                Round::Rate { broker: self.drain(fill, *messages, uri)?, ceiling: beside }
            }
            Work::Idle { connections } => self.idle(*connections, broker, uri)?,
        })
    }

    /// Runs what a row stands beside: its figures, and where in them the one is that counts.
    fn beside<'a>(
        &self,
        row: &Row,
        load: Load,
        field: &'a str,
        ceiling: &Ceiling,
        uri: &str,
    ) -> anyhow::Result<(Value, &'a str)> {
        let figures = match ceiling {
            Ceiling::Relay => {
                let [address, ..] = broker::free_ports()?;
                let _relay = self.relay(address)?;
                self.timed(load, &format!("amqp://guest:guest@{address}/%2f"))?
            }
            Ceiling::Broker(load) => self.timed(load, uri)?,
            Ceiling::RawLog { size, in_flight } => {
                let dir = self.dir.display().to_string();
                let args = ["--raw-log", &dir, "--size", size, "--confirms", in_flight];
                self.perf(&args, &["--duration", &self.seconds()])?
            }
        };
        if row.is_stored() {
            thread::sleep(self.rest);
        }
        let at = match (ceiling, &row.work) {
            (Ceiling::RawLog { .. }, Work::Latency { .. }) => "sync_us",
            (Ceiling::RawLog { .. }, _) => "messages_per_second",
            _ => field,
        };
        Ok((figures, at))
    }

    fn relay(&self, address: SocketAddr) -> anyhow::Result<Ending> {
        let child = process::command(&self.program)
            .args(["perf", "--null-relay", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the null relay")?;
        let relay = Ending(child);
        broker::wait_until_accepting(address)?;
        Ok(relay)
    }

    fn seconds(&self) -> String {
        format!("{}s", self.duration.as_secs())
    }

    fn timed(&self, load: Load, uri: &str) -> anyhow::Result<Value> {
        let args: Vec<&str> = load.split(' ').collect();
        self.perf(&args, &["--uri", uri, "--duration", &self.seconds()])
    }

    /// Fills a queue and empties it: messages per second of the second.
    fn drain(&self, load: Load, messages: u64, uri: &str) -> anyhow::Result<f64> {
        let (n, queue) = (messages.to_string(), "leveret-bench-drain");
        let load: Vec<&str> = load.split(' ').collect();
        let both = ["--uri", uri, "--queue", queue, "--messages", &n, "--duration", DRAIN_LIMIT];
        let filled = self.perf(&[&load[..], &["--consumers", "0", "--keep"]].concat(), &both)?;
        number(&filled, &[SENT])?;
        thread::sleep(self.rest);
        let drained = self.perf(&[&load[..], &["--producers", "0"]].concat(), &both)?;
        if number(&drained, &["received"])? < messages as f64 {
            bail!("of {messages} messages not all came back: {drained}");
        }
        number(&drained, &["received_per_second"])
    }

    fn idle(&self, connections: u32, broker: &Broker, uri: &str) -> anyhow::Result<Round> {
        let n = connections.to_string();
        let child = process::command(&self.program)
            .args(["perf", "--uri", uri, "--idle-connections", &n, "--duration", "60s", "--quiet"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start leveret perf")?;
        let load = Ending(child);
        thread::sleep(SETTLE);
        let status = fs::read_to_string(format!("/proc/{}/status", broker.id()))
            .context("how much memory the broker takes is only known on Linux")?;
        drop(load);
        let kib = |key: &str| -> Option<f64> {
            let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
            rest.trim_start_matches(':').trim_end_matches("kB").trim().parse().ok()
        };
        let bytes = |key: &str| kib(key).map(|kib| kib * 1024.0).context("no memory in /proc");
        Ok(Round::Memory { resident: bytes("VmRSS")?, of_files: bytes("RssFile")? })
    }

    fn perf(&self, load: &[&str], more: &[&str]) -> anyhow::Result<Value> {
        let output = process::command(&self.program)
            .arg("perf")
            .args(load)
            .args(more)
            .args(["--json", "--quiet"])
            .stdin(Stdio::null())
            .output()
            .context("cannot start leveret perf")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            bail!("leveret perf {} failed: {text}", load.join(" "));
        }
        serde_json::from_slice(&output.stdout).context("leveret perf did not print JSON")
    }
}

fn number(figures: &Value, path: &[&str]) -> anyhow::Result<f64> {
    let found = path.iter().try_fold(figures, |value, key| value.get(key));
    found.and_then(Value::as_f64).with_context(|| format!("no {} in {figures}", path.join(".")))
}
