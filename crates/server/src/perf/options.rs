//! The command line of `leveret perf` and the values behind it. Everything that can be wrong with
//! the options is found here, before a socket is opened; what comes out is a [`Plan`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::error::PerfError;
use super::uri::Uri;

/// Bodies smaller than this carry no stamp, so their latency is not measured.
pub(super) const STAMP_BYTES: usize = 16;
/// The largest `--size`: RabbitMQ's largest allowed message.
const SIZE_MAX: usize = 512 * 1024 * 1024;
/// The largest `--confirms`: its confirms fit into any socket buffer, so the broker never waits for
/// us to read them while we wait for it to read messages.
const CONFIRMS_MAX: u32 = 65_535;
/// The largest `--producers`, `--consumers` and `--queues`: one thread or one name each.
const ENDS_MAX: u32 = 10_000;
/// The prefetch that manual acks use when none is given.
const PREFETCH_DEFAULT: u16 = 1_000;

pub(super) const JSON_HELP: &str = "\
Print the summary as one JSON object on stdout (live lines go to stderr)

Of the run: broker, address, producers, consumers, queues, size_bytes, rate_per_producer (null = \
unlimited), persistent, durable, confirms_in_flight, prefetch, ack_every (0 = automatic), \
idle_connections, interrupted, notes (what a person should know).

Messages of the whole run: sent, received, confirmed, nacked, out_of_order.

Of the measured part: measured_seconds, sent_per_second, received_per_second, \
confirmed_per_second, sent_bytes_per_second, received_bytes_per_second (bodies alone), \
blocked_seconds, cpu_seconds (of this process); latency_us (due to received), confirm_latency_us \
(due to confirmed) and send_lag_us (due to sent: what the load generator adds itself), each null \
or {count, mean, p50, p90, p99, p999, max}.";

const EXAMPLES: &str = "\
Examples:
  leveret perf                               one producer, queue and consumer, as fast as it goes
  leveret perf --size 1k --ack-every 100     manual acks
  leveret perf --persistent --durable --confirms 1000
                                             what a confirm for a stored message costs
  leveret perf --rate 5000 --size 64         latency at a fixed rate
  leveret perf --fanout 8                    every message to eight queues
  leveret perf --idle-connections 1000 --duration 1m
                                             what a connection costs
  leveret perf --null-relay 127.0.0.1:5999   the ceiling, for runs with
                                             --uri amqp://127.0.0.1:5999";

/// Measure a broker: any AMQP 0-9-1 broker, not only leveret
///
/// Producers and consumers each have a connection and a thread of their own; the frames of many
/// messages go into one system call, so that the broker is the bottleneck and not the measuring
/// tool. Latency is measured from the moment a message was due to be sent, which is free of
/// coordinated omission at a fixed --rate. Without --rate one message of every write is timed.
///
/// Queues that exist already are used as they are and kept; queues that the run declares are
/// deleted at its end.
#[derive(Args, Debug, Clone)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PerfArgs {
    /// The broker: amqp://user:password@host:port/vhost
    #[arg(
        long,
        value_name = "URI",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f",
        help_heading = "Broker"
    )]
    pub(super) uri: String,

    /// Connections that publish [default: 1, or 0 with --idle-connections]
    #[arg(long, short = 'x', value_name = "N", help_heading = "Load")]
    pub(super) producers: Option<u32>,

    /// Connections that consume [default: 1, or 0 with --idle-connections]
    #[arg(long, short = 'y', value_name = "N", help_heading = "Load")]
    pub(super) consumers: Option<u32>,

    /// Body size: bytes, or with a unit such as 1k, 16KiB, 1M (1k = 1,024)
    #[arg(long, short, value_name = "SIZE", default_value = "16", help_heading = "Load",
          value_parser = parse_size)]
    pub(super) size: usize,

    /// Messages per second of each producer; unlimited when absent
    ///
    /// Above 10,000 the messages that are due within 100 µs are due together.
    #[arg(long, short, value_name = "N", value_parser = parse_rate, help_heading = "Load")]
    pub(super) rate: Option<f64>,

    /// Publish persistent messages (delivery mode 2); a broker stores them only in a --durable
    /// queue
    #[arg(long, help_heading = "Load")]
    pub(super) persistent: bool,

    /// Publisher confirms: at most N messages of a producer wait for theirs (0 = no confirms)
    #[arg(long, short, value_name = "N", default_value_t = 0, help_heading = "Load",
          value_parser = clap::value_parser!(u32).range(0..=i64::from(CONFIRMS_MAX)))]
    pub(super) confirms: u32,

    /// Messages a consumer may hold unacknowledged (0 = unlimited) [default: 1000 with --ack-every]
    #[arg(long, short, value_name = "N", help_heading = "Load")]
    pub(super) prefetch: Option<u16>,

    /// Acknowledge after every N messages, with one multiple ack; 0 = automatic acks
    #[arg(long, short, value_name = "N", default_value_t = 0, help_heading = "Load")]
    pub(super) ack_every: u32,

    /// Number of queues; producers and consumers are spread over them
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Queues",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(ENDS_MAX)))]
    pub(super) queues: u32,

    /// Name of the queue, or with several queues the prefix of their names [default: perf-PID]
    #[arg(long, short = 'u', value_name = "NAME", help_heading = "Queues")]
    pub(super) queue: Option<String>,

    /// Declare durable queues (and exchange)
    #[arg(long, help_heading = "Queues")]
    pub(super) durable: bool,

    /// Arguments of the queues: 'x-max-priority=5,x-queue-type=quorum' (integers, true/false, else
    /// strings)
    #[arg(long, value_name = "ARGS", help_heading = "Queues")]
    pub(super) queue_args: Option<String>,

    /// Publish to a fanout exchange that is bound to N queues (shorthand for --exchange-type fanout
    /// --queues N)
    #[arg(long, value_name = "N", help_heading = "Queues",
          conflicts_with_all = ["queues", "exchange_type"],
          value_parser = clap::value_parser!(u32).range(1..=i64::from(ENDS_MAX)))]
    pub(super) fanout: Option<u32>,

    /// Publish to this exchange instead of the default one [default with --exchange-type: the queue
    /// name]
    ///
    /// It must exist unless --exchange-type is given. Every queue is bound to it.
    #[arg(long, short, value_name = "NAME", help_heading = "Queues")]
    pub(super) exchange: Option<String>,

    /// Declare the exchange with this type: direct, fanout, topic, headers or a plugin's
    #[arg(long, value_name = "TYPE", help_heading = "Queues")]
    pub(super) exchange_type: Option<String>,

    /// Routing key of messages and bindings [default: each queue's name]
    #[arg(long, value_name = "KEY", help_heading = "Queues")]
    pub(super) routing_key: Option<String>,

    /// Keep the queues and the exchange after the run
    #[arg(long, help_heading = "Queues")]
    pub(super) keep: bool,

    /// How long to measure: 10s, 500ms, 2m, 1h [default: 10s; unlimited with --messages]
    #[arg(long, short, value_name = "TIME", value_parser = parse_duration, help_heading = "Run")]
    pub(super) duration: Option<Duration>,

    /// Run this long before measuring starts
    #[arg(long, value_name = "TIME", default_value = "0s", help_heading = "Run",
          value_parser = parse_duration)]
    pub(super) warmup: Duration,

    /// Stop after N messages per producer (without producers: per consumer)
    #[arg(long, short, value_name = "N", help_heading = "Run",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) messages: Option<u64>,

    /// Open N more connections that only keep their heartbeats going, and hold them for the
    /// duration
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Run")]
    pub(super) idle_connections: u32,

    #[arg(long, help_heading = "Output", long_help = JSON_HELP,
          help = "Print the summary as one JSON object on stdout")]
    pub(super) json: bool,

    /// No live lines
    #[arg(long, help_heading = "Output")]
    pub(super) quiet: bool,

    /// Serve the ceiling instead of measuring: an AMQP relay with no queue in it
    ///
    /// It speaks just enough AMQP to hand the bodies of a publisher to a consumer of that queue at
    /// once, as complete frames. What is published to a queue without a consumer is dropped, and
    /// acks are ignored. It stops after --duration or when killed.
    #[arg(long, value_name = "ADDR", help_heading = "Ceiling")]
    pub(super) null_relay: Option<SocketAddr>,

    /// Measure the disk instead of a broker: append and fdatasync to a file in this directory
    ///
    /// Each append holds as many messages of --size as --confirms says (1000 when it does not): what a
    /// broker that syncs before it confirms can reach at best.
    #[arg(long, value_name = "DIR", help_heading = "Ceiling")]
    pub(super) raw_log: Option<PathBuf>,
}

/// What one run does: the options, checked and completed.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) uri: Uri,
    pub(super) producers: u32,
    pub(super) consumers: u32,
    pub(super) size: usize,
    /// Messages per second of each producer.
    pub(super) rate: Option<f64>,
    pub(super) persistent: bool,
    /// Unconfirmed messages per producer; 0 = no confirms.
    pub(super) confirms: u32,
    pub(super) prefetch: u16,
    /// 0 = automatic acks.
    pub(super) ack_every: u32,
    pub(super) queues: Vec<String>,
    pub(super) durable: bool,
    pub(super) queue_args: Vec<(String, ArgValue)>,
    /// Empty = the default exchange.
    pub(super) exchange: String,
    /// `None`: the exchange is not declared.
    pub(super) exchange_type: Option<String>,
    pub(super) routing_key: Option<String>,
    pub(super) keep: bool,
    /// `None`: until `messages` are through.
    pub(super) duration: Option<Duration>,
    pub(super) warmup: Duration,
    pub(super) messages: Option<u64>,
    pub(super) idle_connections: u32,
    pub(super) json: bool,
    pub(super) quiet: bool,
}

/// The value of one queue argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArgValue {
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Plan {
    /// Checks the options against each other.
    pub(super) fn new(args: &PerfArgs) -> Result<Self, PerfError> {
        let alone = if args.idle_connections > 0 { 0 } else { 1 };
        let producers = args.producers.unwrap_or(alone);
        let consumers = args.consumers.unwrap_or(alone);
        check_ends(producers, consumers, args.idle_connections)?;
        let prefetch = prefetch(args)?;
        let name = args.queue.clone().unwrap_or_else(|| format!("perf-{}", std::process::id()));
        let queues = queue_names(&name, args.fanout.unwrap_or(args.queues));
        let exchange_type = match args.fanout {
            Some(_) => Some("fanout".to_owned()),
            None => args.exchange_type.clone(),
        };
        let exchange = match (&args.exchange, &exchange_type) {
            (Some(exchange), _) => exchange.clone(),
            (None, Some(_)) => name,
            (None, None) => String::new(),
        };
        check_short("--exchange", &exchange)?;
        if let Some(key) = &args.routing_key {
            check_short("--routing-key", key)?;
        }
        for queue in &queues {
            check_short("--queue", queue)?;
        }
        let duration = match (args.duration, args.messages) {
            (None, None) => Some(Duration::from_secs(10)),
            (given, _) => given,
        };
        Ok(Self {
            uri: args.uri.parse()?,
            producers,
            consumers,
            size: args.size,
            rate: args.rate,
            persistent: args.persistent,
            confirms: args.confirms,
            prefetch,
            ack_every: args.ack_every,
            queues,
            durable: args.durable,
            queue_args: args.queue_args.as_deref().map_or(Ok(Vec::new()), parse_queue_args)?,
            exchange,
            exchange_type,
            routing_key: args.routing_key.clone(),
            keep: args.keep,
            duration,
            warmup: args.warmup,
            messages: args.messages,
            idle_connections: args.idle_connections,
            json: args.json,
            quiet: args.quiet,
        })
    }

    /// Whether bodies carry a stamp, so that latency is measured.
    pub(super) fn stamped(&self) -> bool {
        self.size >= STAMP_BYTES
    }

    /// How many queues one published message reaches.
    pub(super) fn copies(&self) -> u64 {
        let everywhere = self.exchange_type.as_deref() == Some("fanout")
            || (!self.exchange.is_empty() && self.routing_key.is_some());
        if everywhere { self.queues.len() as u64 } else { 1 }
    }

    /// The routing key that reaches a queue.
    pub(super) fn routing_key_of<'a>(&'a self, queue: &'a str) -> &'a str {
        self.routing_key.as_deref().unwrap_or(queue)
    }

    /// The routing keys that one producer publishes with, in turn.
    pub(super) fn keys_of_producer(&self, index: usize) -> Vec<String> {
        if let Some(key) = &self.routing_key {
            return vec![key.clone()];
        }
        share(&self.queues, index, self.producers as usize)
    }

    /// The queues that one consumer connection consumes from.
    pub(super) fn queues_of_consumer(&self, index: usize) -> Vec<String> {
        share(&self.queues, index, self.consumers as usize)
    }
}

/// The part of `all` that belongs to end `index` of `ends`: one of them when there are more ends,
/// else every `ends`th.
fn share(all: &[String], index: usize, ends: usize) -> Vec<String> {
    if ends >= all.len() {
        return vec![all[index % all.len()].clone()];
    }
    all.iter().skip(index).step_by(ends).cloned().collect()
}

fn check_ends(producers: u32, consumers: u32, idle: u32) -> Result<(), PerfError> {
    if producers == 0 && consumers == 0 && idle == 0 {
        return Err(PerfError::Options(
            "there is nothing to do: no producers, no consumers, no idle connections".into(),
        ));
    }
    if producers > ENDS_MAX || consumers > ENDS_MAX {
        return Err(PerfError::Options(format!(
            "at most {ENDS_MAX} producers and consumers: each has its own thread"
        )));
    }
    Ok(())
}

fn prefetch(args: &PerfArgs) -> Result<u16, PerfError> {
    let prefetch = match args.prefetch {
        Some(n) => n,
        None if args.ack_every == 0 => 0,
        None => PREFETCH_DEFAULT.max(u16::try_from(args.ack_every).unwrap_or(u16::MAX)),
    };
    if prefetch != 0 && args.ack_every > u32::from(prefetch) {
        return Err(PerfError::Options(format!(
            "--ack-every {} is above --prefetch {prefetch}: the broker would wait for acks that \
             never come",
            args.ack_every
        )));
    }
    Ok(prefetch)
}

/// `name` for one queue, `name-00`, `name-01`... for several: equal lengths keep the frames of all
/// queues in one shape.
fn queue_names(name: &str, n: u32) -> Vec<String> {
    if n == 1 {
        return vec![name.to_owned()];
    }
    let width = (n - 1).to_string().len();
    (0..n).map(|i| format!("{name}-{i:0width$}")).collect()
}

// spec: 4.2.5.3 strings
fn check_short(option: &str, text: &str) -> Result<(), PerfError> {
    if text.len() > 255 {
        return Err(PerfError::Options(format!("{option} is longer than 255 bytes")));
    }
    Ok(())
}

/// Parses `10s`, `500ms`, `2m`, `1h`, `1.5s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number and a unit: 500ms, 10s, 2m or 1h".into()),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("'{number}' is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// Parses `16`, `1k`, `16KiB`, `1M`.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1024,
        "m" | "mb" | "mib" => 1024 * 1024,
        _ => return Err("give bytes, or a number with k or M: 16, 1k, 16KiB, 1M".into()),
    };
    let number: usize =
        number.parse().map_err(|_| format!("'{text}' does not start with a number"))?;
    match number.checked_mul(factor) {
        Some(size) if size <= SIZE_MAX => Ok(size),
        _ => Err("the largest body is 512 MiB".into()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("give messages per second, above 0".into()),
    }
}

/// Parses `key=value,key=value`; a value is an integer, `true` or `false`, else a string.
fn parse_queue_args(text: &str) -> Result<Vec<(String, ArgValue)>, PerfError> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(PerfError::Options(format!("--queue-args: '{pair}' is not key=value")));
            };
            check_short("--queue-args", key)?;
            let value = match value {
                "true" => ArgValue::Bool(true),
                "false" => ArgValue::Bool(false),
                _ => value.parse().map_or_else(|_| ArgValue::Text(value.to_owned()), ArgValue::Int),
            };
            Ok((key.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests;
