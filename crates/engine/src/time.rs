//! Time as an argument: the engine never reads a clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch. Within a process the clock that makes these never goes
/// backwards.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds later; stays at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the Unix epoch, as AMQP timestamps count.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}
