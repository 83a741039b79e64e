//! What the threads of one run share: the plan, the clock, when to start and stop, and the counters
//! that the live line reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::client::SOCKET_TICK;
use super::error::PerfError;
use super::latency::{Clock, Latency};
use super::options::Plan;
use super::window::Window;

/// After the end of a run: how long what is under way may take.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What a thread tells the one that watches the run.
#[derive(Debug)]
pub(super) enum Event {
    /// Connected and ready to start.
    Ready,
    /// A producer has sent all it will, and the broker has taken it.
    ProducerDone,
    /// A consumer, or the idle connections, have ended as they were told.
    ConsumerDone,
    Failed(PerfError),
}

/// One run, as its threads see it.
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) clock: Clock,
    /// Tells the stamps of this run from those of another.
    pub(super) id: u16,
    /// Written by the watching thread when everybody is ready; 0 until then.
    started_ns: Mutex<u64>,
    started: Condvar,
    /// Messages that were due before this are not measured: the warm-up, and what lay in the queue
    /// before.
    pub(super) measure_from_ns: AtomicU64,
    stop_producing: AtomicBool,
    stop_consuming: AtomicBool,
    pub(super) producers: Vec<ProducerState>,
    pub(super) consumers: Vec<ConsumerState>,
}

impl Run {
    pub(super) fn new(plan: Plan) -> Self {
        let clock = Clock::new();
        let producers = (0..plan.producers).map(|_| ProducerState::new(&plan)).collect();
        let consumers = (0..plan.consumers).map(|_| ConsumerState::new(&plan)).collect();
        Self {
            id: (clock.now_ns() / 1_000) as u16,
            plan,
            clock,
            started_ns: Mutex::new(0),
            started: Condvar::new(),
            measure_from_ns: AtomicU64::new(clock.now_ns()),
            stop_producing: AtomicBool::new(false),
            stop_consuming: AtomicBool::new(false),
            producers,
            consumers,
        }
    }

    /// Lets the producers go.
    pub(super) fn start(&self) {
        *self.started_ns.lock() = self.clock.now_ns();
        self.started.notify_all();
    }

    /// Waits for [`Self::start`]; `None` when the run ends before.
    pub(super) fn wait_for_start(&self) -> Option<u64> {
        let mut started_ns = self.started_ns.lock();
        while *started_ns == 0 {
            if self.producing_stopped() {
                return None;
            }
            self.started.wait_for(&mut started_ns, SOCKET_TICK);
        }
        Some(*started_ns)
    }

    pub(super) fn stop_producing(&self) {
        self.stop_producing.store(true, Relaxed);
    }

    pub(super) fn producing_stopped(&self) -> bool {
        self.stop_producing.load(Relaxed)
    }

    pub(super) fn stop_consuming(&self) {
        self.stop_consuming.store(true, Relaxed);
    }

    pub(super) fn consuming_stopped(&self) -> bool {
        self.stop_consuming.load(Relaxed)
    }

    /// Sleeps until a time, or until producing stops.
    pub(super) fn sleep_until(&self, due_ns: u64) {
        while !self.producing_stopped() {
            let left = due_ns.saturating_sub(self.clock.now_ns());
            if left == 0 {
                return;
            }
            thread::sleep(Duration::from_nanos(left).min(SOCKET_TICK));
        }
    }

    /// Sum of one counter over the producers.
    pub(super) fn produced(&self, counter: impl Fn(&ProducerState) -> &AtomicU64) -> u64 {
        self.producers.iter().map(|producer| counter(producer).load(Relaxed)).sum()
    }

    /// Sum of one counter over the consumers.
    pub(super) fn consumed(&self, counter: impl Fn(&ConsumerState) -> &AtomicU64) -> u64 {
        self.consumers.iter().map(|consumer| counter(consumer).load(Relaxed)).sum()
    }

    /// How many producers the broker has blocked.
    pub(super) fn n_blocked(&self) -> usize {
        self.producers.iter().filter(|producer| producer.blocked.load(Relaxed)).count()
    }
}

/// Written by one producer's threads, read by the live line. Aligned so that two producers never
/// share a cache line.
#[repr(align(128))]
pub(super) struct ProducerState {
    pub(super) sent: AtomicU64,
    pub(super) confirmed: AtomicU64,
    pub(super) nacked: AtomicU64,
    pub(super) blocked: AtomicBool,
    /// connection.close is on its way.
    pub(super) said_goodbye: AtomicBool,
    /// The broker answered connection.close: everything before it was taken.
    pub(super) closed: AtomicBool,
    pub(super) window: Mutex<Window>,
    /// Signalled when `window` has room again.
    pub(super) room: Condvar,
    pub(super) confirm_latency: Mutex<Latency>,
    /// How much later than due a message left: what the generator itself adds to latency.
    pub(super) send_lag: Mutex<Latency>,
}

impl ProducerState {
    fn new(plan: &Plan) -> Self {
        let latency = || Mutex::new(Latency::one_of(plan.producers as usize));
        Self {
            sent: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            nacked: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            said_goodbye: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            window: Mutex::new(Window::new(plan.confirms)),
            room: Condvar::new(),
            confirm_latency: latency(),
            send_lag: latency(),
        }
    }
}

/// Written by one consumer's thread, read by the live line.
#[repr(align(128))]
pub(super) struct ConsumerState {
    pub(super) received: AtomicU64,
    pub(super) out_of_order: AtomicU64,
    pub(super) latency: Mutex<Latency>,
}

impl ConsumerState {
    fn new(plan: &Plan) -> Self {
        Self {
            received: AtomicU64::new(0),
            out_of_order: AtomicU64::new(0),
            latency: Mutex::new(Latency::one_of(plan.consumers as usize)),
        }
    }
}

/// Runs a thread's work and tells its end, even when it panics.
pub(super) fn report_end(
    events: &SyncSender<Event>,
    done: Event,
    work: impl FnOnce() -> Result<(), PerfError>,
) {
    let mut end = End { events, event: Some(Event::Failed(PerfError::Thread)) };
    end.event = Some(work().map_or_else(Event::Failed, |()| done));
}

/// Sends its event when it goes out of scope.
struct End<'a> {
    events: &'a SyncSender<Event>,
    event: Option<Event>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            // The watching thread may be gone already: then nobody wants to know.
            let _ = self.events.send(event);
        }
    }
}
