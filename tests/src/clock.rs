//! Real time, in one place: limits on waiting, and polling instead of sleeping. Nothing here waits without
//! a limit.

use std::time::{Duration, Instant};

/// How long anything may take that the broker is expected to do at once. Far more than it needs, since
/// test machines are busy; a test that wants to say something about time says so itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two attempts of [`eventually`].
const PAUSE: Duration = Duration::from_millis(10);

/// A point in time after which waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// What is left of the time; nothing when it is over.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self(now())
    }

    /// The time since its start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "black-box tests run in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Lets `time` pass: between two attempts, or where a test's subject is that time passes.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause between attempts, never instead of an event"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The first value that `attempt` gives.
///
/// # Panics
/// When there is none after `limit`, naming `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(!deadline.is_over(), "not within {} s: {what}", limit.as_secs_f32());
        pause(PAUSE);
    }
}
