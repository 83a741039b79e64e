//! The one clock of the process: milliseconds since the Unix epoch that never go backwards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leveret_engine::Timestamp;
use tokio::time::Instant;

/// Anchored to the wall clock once, at start; from then on it follows the monotonic clock, so that a correction of the
/// wall clock neither expires messages early nor stops heartbeats.
pub struct Clock {
    start: Instant,
    epoch: u64,
}

impl Clock {
    /// A clock anchored to the wall clock of this moment.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), epoch: epoch.as_millis() as u64 }
    }

    /// This moment.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.epoch + self.start.elapsed().as_millis() as u64)
    }

    /// When `at` will be, for a timer: never before `at` itself.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.start + Duration::from_millis(at.0.saturating_sub(self.epoch))
    }
}
