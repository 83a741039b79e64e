//! When publishers should let consumers catch up. Only a hint: nothing waits for it here.

use super::Queue;
use crate::time::Timestamp;

/// Ready messages beyond which a queue whose consumers are busy is pressed: some milliseconds of work for them, and
/// still in the processor's cache when they are small.
const PRESSED_RECORDS: u64 = 64 * 1024;

/// The same in bytes of bodies: large ones are few in a read, so resting earlier would leave consumers without work.
const PRESSED_BYTES: u64 = 64 * 1024 * 1024;

/// How long ago consumers may have finished something and still be taken to be at it, in milliseconds.
const PROGRESS_MS: u64 = 20;

impl Queue {
    /// Whether messages come faster than consumers finish them, while they do finish some. A queue that nobody takes
    /// from is not pressed: it is there to hold messages.
    #[must_use]
    pub fn is_pressed(&mut self, now: Timestamp) -> bool {
        if self.ready.n <= PRESSED_RECORDS && self.ready.bytes <= PRESSED_BYTES {
            return false;
        }
        if self.stats.finished != self.progress.0 {
            self.progress = (self.stats.finished, now);
        }
        now.since(self.progress.1) < PROGRESS_MS
    }
}
