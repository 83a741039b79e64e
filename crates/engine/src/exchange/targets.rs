//! Where bindings lead: a queue or an exchange by its slot in the vhost, and sets of those that
//! are read as a slice and changed in constant time. Hot path.

use foldhash::HashMap;
use foldhash::HashMapExt;
use smallvec::SmallVec;

/// A queue or an exchange of the vhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target(u32);

impl Target {
    pub(crate) const fn queue(slot: u32) -> Self {
        Self(slot << 1)
    }

    pub(crate) const fn exchange(slot: u32) -> Self {
        Self(slot << 1 | 1)
    }

    pub(crate) const fn is_exchange(self) -> bool {
        self.0 & 1 == 1
    }

    pub(crate) const fn slot(self) -> u32 {
        self.0 >> 1
    }
}

/// Up to here a set is searched from end to end.
const LINEAR_MAX: usize = 16;

/// Destinations without repetition. A destination that several bindings lead to is counted, and
/// leaves with the last of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetSet {
    list: SmallVec<[Target; 4]>,
    side: Option<Box<Side>>,
}

#[derive(Clone, Debug, Default)]
struct Side {
    /// Where each destination is in the list, once the list is long.
    positions: HashMap<Target, u32>,
    /// How many further bindings lead to a destination.
    repeats: HashMap<Target, u32>,
}

impl TargetSet {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Target] {
        &self.list
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Counts one more binding.
    pub(crate) fn add(&mut self, target: Target) {
        if self.position(target).is_some() {
            *self.side().repeats.entry(target).or_insert(0) += 1;
            return;
        }
        let position = self.list.len();
        self.list.push(target);
        if position < LINEAR_MAX {
            return;
        }
        if position == LINEAR_MAX {
            let positions = index(&self.list);
            self.side().positions = positions;
        } else {
            self.side().positions.insert(target, position as u32);
        }
    }

    /// Counts one binding less.
    pub(crate) fn remove(&mut self, target: Target) {
        if self.remove_repeat(target) {
            return;
        }
        let Some(position) = self.position(target) else { return };
        self.list.swap_remove(position);
        let (moved, len) = (self.list.get(position).copied(), self.list.len());
        if len < LINEAR_MAX {
            return;
        }
        let Some(side) = &mut self.side else { return };
        if len == LINEAR_MAX {
            side.positions = HashMap::new();
            if side.repeats.is_empty() {
                self.side = None;
            }
            return;
        }
        side.positions.remove(&target);
        if let Some(moved) = moved {
            side.positions.insert(moved, position as u32);
        }
    }

    fn remove_repeat(&mut self, target: Target) -> bool {
        let Some(side) = &mut self.side else { return false };
        let Some(n) = side.repeats.get_mut(&target) else { return false };
        *n -= 1;
        if *n == 0 {
            side.repeats.remove(&target);
            if side.repeats.is_empty() && side.positions.is_empty() {
                self.side = None;
            }
        }
        true
    }

    fn side(&mut self) -> &mut Side {
        self.side.get_or_insert_default()
    }

    fn position(&self, target: Target) -> Option<usize> {
        if self.list.len() <= LINEAR_MAX {
            return self.list.iter().position(|&known| known == target);
        }
        let position = self.side.as_ref()?.positions.get(&target)?;
        Some(*position as usize)
    }
}

fn index(list: &[Target]) -> HashMap<Target, u32> {
    list.iter().enumerate().map(|(position, &target)| (target, position as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_counts_like_a_list(steps in prop::collection::vec((any::<bool>(), 0u32..40), 0..400)) {
            let mut set = TargetSet::default();
            let mut model = Vec::new();
            for (add, slot) in steps {
                let target = Target::queue(slot);
                if add {
                    set.add(target);
                    model.push(target);
                } else if let Some(position) = model.iter().position(|&known| known == target) {
                    model.swap_remove(position);
                    set.remove(target);
                }
                let mut expected = model.clone();
                expected.sort_unstable();
                expected.dedup();
                let mut found = set.as_slice().to_vec();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            for target in model {
                set.remove(target);
            }
            prop_assert!(set.is_empty() && set.side.is_none());
        }
    }
}
