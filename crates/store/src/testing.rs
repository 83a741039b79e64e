//! For tests: the suite that every implementation of the store passes, and a store that fails on demand.

#![allow(clippy::expect_used, reason = "tests may stop at the first surprise")]

mod failing;
mod model;
mod script;
mod suite;

use crate::{Gcn, MessageStore, Slot};

pub use failing::{Call, FailingStore, Fault};
pub use model::Model;
pub use script::{Step, run};
pub use suite::conformance;

/// A store under test, with the power to end its process or its machine.
pub trait Subject {
    /// The store as it is open now.
    fn store(&self) -> &dyn MessageStore;

    /// Syncs; the way for tests to do so, since a crash has to know what was synced.
    ///
    /// # Panics
    /// When the store fails.
    fn sync(&mut self) -> Gcn;

    /// A new slot; the way for tests to get one, since the store may sync for it.
    ///
    /// # Panics
    /// When the store fails.
    fn allocate_slot(&mut self) -> Slot;

    /// Closes the store as a good process does, and opens it again.
    fn restart(&mut self);

    /// Loses power and opens the store again. Of what was not synced about `kept_percent` has reached the disk,
    /// from the oldest on.
    fn crash(&mut self, kept_percent: u8);
}
