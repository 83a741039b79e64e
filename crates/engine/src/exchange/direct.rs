//! The direct exchange: destinations by equal key. Hot path.

use super::targets::{Target, TargetSet};
use foldhash::HashMap;
use std::sync::Arc;

/// Destinations by binding key.
#[derive(Clone, Debug, Default)]
pub(crate) struct DirectIndex {
    keys: HashMap<Arc<[u8]>, TargetSet>,
}

impl DirectIndex {
    pub(crate) fn add(&mut self, key: &Arc<[u8]>, target: Target) {
        match self.keys.get_mut(key) {
            Some(targets) => targets.add(target),
            None => self.keys.entry(key.clone()).or_default().add(target),
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8], target: Target) {
        let Some(targets) = self.keys.get_mut(key) else { return };
        targets.remove(target);
        if targets.is_empty() {
            self.keys.remove(key);
        }
    }

    #[inline]
    pub(crate) fn route(&self, key: &[u8], out: &mut Vec<Target>) {
        if let Some(targets) = self.keys.get(key) {
            out.extend_from_slice(targets.as_slice());
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
