//! One run from the first connection to the summary: starts the threads, watches the time, prints
//! live lines, lets what is under way arrive, and stops.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::client::SOCKET_TICK;
use super::error::PerfError;
use super::measure::Meter;
use super::options::Plan;
use super::report::{Summary, live_line};
use super::shared::{Event, GRACE, Run, report_end};
use super::topology::Topology;
use super::{consumer, idle, producer};

/// Bytes that one thread reads or writes at once: thousands of small messages, and little enough
/// that they are still in the second-level cache when the kernel has copied them.
const BUFFER: usize = 128 * 1024;
/// The buffers of all threads together.
const BUFFERS_TOTAL: usize = 512 * 1024 * 1024;
/// Buffers never get smaller than this.
const BUFFER_MIN: usize = 16 * 1024;
/// The stack of a thread: they call nothing deep, and there may be thousands.
const STACK: usize = 256 * 1024;
/// How long consumers wait at the end for a message that does not come.
const STALL: Duration = Duration::from_secs(1);
/// With `--messages` and no `--duration` a run is given up when nothing has moved for this long.
const STALL_MESSAGES: Duration = Duration::from_secs(10);
/// How often counters are looked at while the last messages arrive.
const DRAIN_TICK: Duration = Duration::from_millis(5);
/// The threads of a producer have bounds of their own, which add up to less than this.
const STOP_WAIT: Duration = GRACE.saturating_mul(4);

/// Runs a plan. `interrupt` ends it early, in order. Live lines and notes go to `live`.
pub(super) fn run(
    plan: Plan,
    interrupt: &AtomicBool,
    live: &mut dyn Write,
) -> Result<Summary, PerfError> {
    let mut topology = Topology::declare(&plan)?;
    let notes = std::mem::take(&mut topology.notes);
    let broker = topology.broker().to_owned();
    let run = Run::new(plan);
    // Every thread sends at most two events, and so do the idle connections together.
    let (sender, events) = sync_channel(2 * (run.producers.len() + run.consumers.len() + 1));
    let mut session = Session::new(&run, events, interrupt, live);
    notes.into_iter().for_each(|note| session.note(note));
    let result = thread::scope(|scope| {
        let result = session.start(scope, &sender);
        let result = result.and_then(|()| session.watch()).and_then(|()| session.finish());
        run.stop_producing();
        run.stop_consuming();
        result
    });
    if !run.plan.keep
        && let Err(error) = topology.delete()
    {
        session.note(format!("the queues could not be deleted: {error}"));
    }
    result.map(|()| session.summary(broker))
}

/// Bytes of one thread's buffer.
fn buffer(plan: &Plan) -> usize {
    let threads = (plan.producers + plan.consumers).max(1) as usize;
    (BUFFERS_TOTAL / threads).clamp(BUFFER_MIN, BUFFER)
}

/// What a thread does.
type Work<'r> = Box<dyn FnOnce(&SyncSender<Event>) -> Result<(), PerfError> + Send + 'r>;

struct Session<'r> {
    run: &'r Run,
    events: Receiver<Event>,
    interrupt: &'r AtomicBool,
    live: &'r mut dyn Write,
    meter: Meter<'r>,
    ready: usize,
    producing: usize,
    consuming: usize,
    /// Producers were told to stop: what fails from now on is worth a note, and no more.
    stopping: bool,
    next_line: Instant,
    last_step: Instant,
    blocked: Duration,
    notes: Vec<String>,
}

impl<'r> Session<'r> {
    fn new(
        run: &'r Run,
        events: Receiver<Event>,
        interrupt: &'r AtomicBool,
        live: &'r mut dyn Write,
    ) -> Self {
        let now = Instant::now();
        Self {
            run,
            events,
            interrupt,
            live,
            meter: Meter::new(run),
            ready: 0,
            producing: 0,
            consuming: 0,
            stopping: false,
            next_line: now,
            last_step: now,
            blocked: Duration::ZERO,
            notes: Vec::new(),
        }
    }

    fn note(&mut self, note: String) {
        let _ = writeln!(self.live, "{note}");
        self.notes.push(note);
    }

    /// Consumers first, so that no message waits for one.
    fn start<'s>(
        &mut self,
        scope: &'s Scope<'s, 'r>,
        events: &SyncSender<Event>,
    ) -> Result<(), PerfError> {
        let (run, size) = (self.run, buffer(&self.run.plan));
        let spawn = |done: Event, work: Work<'r>| {
            let events = events.clone();
            let thread = thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, move || report_end(&events, done, || work(&events))).map_err(
                |source| PerfError::Resources { what: "cannot start a thread".into(), source },
            )
        };
        for index in 0..run.consumers.len() {
            spawn(
                Event::ConsumerDone,
                Box::new(move |events| consumer::run(run, index, events, size)),
            )?;
            self.consuming += 1;
        }
        self.wait_until_ready(run.consumers.len())?;
        for index in 0..run.producers.len() {
            spawn(
                Event::ProducerDone,
                Box::new(move |events| producer::run(run, index, events, size)),
            )?;
            self.producing += 1;
        }
        self.wait_until_ready(run.consumers.len() + run.producers.len())?;
        if run.plan.idle_connections > 0 {
            spawn(Event::ConsumerDone, Box::new(move |events| idle::run(run, events)))?;
            self.consuming += 1;
            self.wait_until_ready(run.consumers.len() + run.producers.len() + 1)?;
        }
        self.meter.restart();
        run.start();
        Ok(())
    }

    /// Every thread's handshake is bounded, so that each of them gets ready or fails.
    fn wait_until_ready(&mut self, n: usize) -> Result<(), PerfError> {
        while self.ready < n {
            self.receive(SOCKET_TICK)?;
            if self.interrupt.load(Relaxed) {
                return Err(PerfError::Interrupted);
            }
        }
        Ok(())
    }

    /// Waits for an event, at most so long.
    fn receive(&mut self, wait: Duration) -> Result<(), PerfError> {
        match self.events.recv_timeout(wait) {
            Ok(Event::Ready) => self.ready += 1,
            Ok(Event::ProducerDone) => self.producing -= 1,
            Ok(Event::ConsumerDone) => self.consuming -= 1,
            Ok(Event::Failed(error)) if self.stopping && error.is_silence() => {
                self.producing = self.producing.saturating_sub(1);
                self.note(format!("at the end: {error}"));
            }
            Ok(Event::Failed(error)) => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// Until the time is over, everything is sent, or Ctrl-C.
    fn watch(&mut self) -> Result<(), PerfError> {
        let began = Instant::now();
        let warm = began + self.run.plan.warmup;
        let end = self.run.plan.duration.map(|duration| warm + duration);
        (self.next_line, self.last_step) = (began + Duration::from_secs(1), began);
        let mut warming = warm > began;
        let mut moved = (began, self.meter.moved());
        loop {
            let now = Instant::now();
            if warming && now >= warm {
                warming = false;
                self.meter.restart();
                self.next_line = now + Duration::from_secs(1);
            }
            if self.meter.moved() != moved.1 {
                moved = (now, self.meter.moved());
            }
            if end.is_none() && now - moved.0 > STALL_MESSAGES {
                self.note(format!(
                    "nothing has moved for {} s: given up",
                    STALL_MESSAGES.as_secs()
                ));
                break;
            }
            if end.is_some_and(|end| now >= end) || self.all_done() || self.interrupt.load(Relaxed)
            {
                break;
            }
            let wake = if warming { Some(warm) } else { end };
            self.step(wake.map_or(SOCKET_TICK, |wake| wake - now).min(SOCKET_TICK))?;
        }
        Ok(())
    }

    fn all_done(&self) -> bool {
        let left = if self.run.producers.is_empty() { self.consuming } else { self.producing };
        left == 0
    }

    /// One event or none, and a live line when it is due.
    fn step(&mut self, wait: Duration) -> Result<(), PerfError> {
        let line_in = self.next_line.saturating_duration_since(Instant::now());
        self.receive(wait.min(line_in))?;
        let now = Instant::now();
        if self.run.n_blocked() > 0 {
            self.blocked += now - self.last_step;
        }
        self.last_step = now;
        if now >= self.next_line {
            self.next_line += Duration::from_secs(1);
            let tick = self.meter.tick();
            if !self.run.plan.quiet {
                let _ = writeln!(self.live, "{}", live_line(&self.run.plan, &tick));
            }
        }
        Ok(())
    }

    /// Stops the producers, lets the rest arrive, stops the consumers.
    fn finish(&mut self) -> Result<(), PerfError> {
        let by_count = self.run.plan.messages.is_some() && self.all_done();
        self.meter.end_sending();
        self.meter.end_receiving();
        self.stopping = true;
        self.run.stop_producing();
        let deadline = Instant::now() + STOP_WAIT;
        while self.producing > 0 && Instant::now() < deadline {
            self.step(SOCKET_TICK)?;
        }
        if !self.run.producers.is_empty() && !self.run.consumers.is_empty() {
            self.drain(by_count)?;
        }
        self.run.stop_consuming();
        let deadline = Instant::now() + GRACE;
        while self.consuming > 0 && Instant::now() < deadline {
            self.step(SOCKET_TICK)?;
        }
        self.meter.collect();
        Ok(())
    }

    /// Until everything sent is received, or nothing comes any more. Only a run by `--messages`
    /// waits for a long backlog.
    fn drain(&mut self, by_count: bool) -> Result<(), PerfError> {
        let began = Instant::now();
        let mut progress = (began, 0);
        loop {
            let (received, now) = (self.meter.received(), Instant::now());
            if received != progress.1 {
                progress = (now, received);
            }
            let expired = !by_count && now - began > GRACE;
            let missing = self.meter.expected().saturating_sub(received);
            if missing == 0 {
                return Ok(());
            }
            if now - progress.0 > STALL || expired {
                self.note(format!(
                    "{missing} messages had not arrived {} s after the last was sent",
                    (now - began).as_secs()
                ));
                return Ok(());
            }
            self.step(DRAIN_TICK)?;
        }
    }

    fn summary(self, broker: String) -> Summary {
        let interrupted = self.interrupt.load(Relaxed);
        self.meter.summary(broker, self.blocked, interrupted, self.notes)
    }
}
