//! When publishers should let consumers catch up. Only a hint: nothing waits for it here.

use super::Queue;

/// Ready messages beyond which a queue whose consumers are busy is pressed: some milliseconds of work for them, and
/// still in the processor's cache when they are small.
const PRESSED_RECORDS: u64 = 64 * 1024;

/// The same in bytes of bodies.
const PRESSED_BYTES: u64 = 8 * 1024 * 1024;

impl Queue {
    /// Whether messages come faster than consumers take them, while at least one is about to take some. A queue
    /// without consumers, or with such as wait for their own acks, is not pressed: it is there to hold messages.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        (self.ready.n > PRESSED_RECORDS || self.ready.bytes > PRESSED_BYTES)
            && self.consumers.as_ref().is_some_and(|consumers| consumers.any_awake())
    }
}
