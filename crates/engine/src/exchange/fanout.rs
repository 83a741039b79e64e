//! The fanout exchange: every destination, whatever the key. Hot path.

use super::targets::{Target, TargetSet};

/// All destinations.
#[derive(Clone, Debug, Default)]
pub(crate) struct FanoutIndex {
    targets: TargetSet,
}

impl FanoutIndex {
    pub(crate) fn add(&mut self, target: Target) {
        self.targets.add(target);
    }

    pub(crate) fn remove(&mut self, target: Target) {
        self.targets.remove(target);
    }

    #[inline]
    pub(crate) fn route(&self, out: &mut Vec<Target>) {
        out.extend_from_slice(self.targets.as_slice());
    }
}
