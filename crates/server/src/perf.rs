//! `leveret perf`: a load generator for any AMQP 0-9-1 broker, and the null relay that is its
//! ceiling. It shares nothing with the broker but the codec.
//!
//! Read `session` first: it starts the threads of `producer` and `consumer` and puts their counters
//! together.

pub(crate) mod client;
mod consumer;
mod error;
mod idle;
mod latency;
mod measure;
mod options;
mod order;
mod producer;
mod raw_log;
mod relay;
mod report;
mod scan;
mod schedule;
mod session;
mod shared;
mod template;
mod topology;
pub(crate) mod uri;
mod window;
mod wire;

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

pub(crate) use self::error::PerfError;
pub(crate) use self::options::PerfArgs;
use self::options::Plan;

/// Runs a load, or the null relay, and prints the figures.
///
/// # Errors
/// Anything that keeps the run from giving figures; the text says what to do.
pub(crate) fn run(args: &PerfArgs) -> Result<(), PerfError> {
    if let Some(address) = args.null_relay {
        return relay::serve(address, args.duration);
    }
    if let Some(dir) = &args.raw_log {
        return raw_log::run(dir, args);
    }
    let plan = Plan::new(args)?;
    let json = plan.json;
    wake_on_time();
    let interrupt = Arc::new(AtomicBool::new(false));
    end_on_ctrl_c(&interrupt);
    let summary = session::run(plan, &interrupt, &mut io::stderr())?;
    let mut out = io::stdout().lock();
    // A closed pipe ends the output, not the run.
    let _ = if json {
        serde_json::to_writer(&mut out, &summary)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        write!(out, "{summary}")
    };
    Ok(())
}

/// Asks Linux to wake sleeping threads when they asked for it, instead of up to 50 µs later.
/// Threads inherit it. Where it fails, the send lag in the summary shows it.
fn wake_on_time() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

/// The first Ctrl-C ends the run in order, so that queues are deleted; the second ends the process.
fn end_on_ctrl_c(interrupt: &Arc<AtomicBool>) {
    let interrupt = interrupt.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if interrupt.swap(true, Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    });
}

#[cfg(test)]
mod tests;
