//! The random exchanges: one binding of all, whatever the key. The choice is the caller's random
//! number.
// rabbitmq: x-random, x-local-random

use super::targets::Target;
use crate::slab::Slab;

/// All bindings; a destination of several bindings is chosen so much more often.
#[derive(Clone, Debug, Default)]
pub(crate) struct RandomIndex {
    list: Vec<Entry>,
    /// Where each binding is in the list.
    positions: Slab<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    target: Target,
    number: u32,
}

impl RandomIndex {
    /// Adds a binding and answers with the number to remove it by.
    pub(crate) fn add(&mut self, target: Target) -> u32 {
        let number = self.positions.insert(self.list.len() as u32);
        self.list.push(Entry { target, number });
        number
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let Some(position) = self.positions.remove(number) else { return };
        self.list.swap_remove(position as usize);
        if let Some(moved) = self.list.get(position as usize)
            && let Some(place) = self.positions.get_mut(moved.number)
        {
            *place = position;
        }
    }

    /// Appends the destination that `random` chooses.
    #[inline]
    pub(crate) fn route(&self, random: u64, out: &mut Vec<Target>) {
        // The high half of the product: as even as the number, without a division.
        let at = (u128::from(random) * self.list.len() as u128) >> 64;
        out.extend(self.list.get(at as usize).map(|entry| entry.target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::hash;
    use std::collections::BTreeMap;

    fn counts(index: &RandomIndex, n: u64) -> Vec<(Target, u64)> {
        let mut counts = BTreeMap::new();
        let mut out = Vec::new();
        for i in 0..n {
            out.clear();
            index.route(hash::mix(i), &mut out);
            for target in &out {
                *counts.entry(*target).or_insert(0) += 1;
            }
        }
        counts.into_iter().collect()
    }

    #[test]
    fn every_binding_is_as_likely() {
        let mut index = RandomIndex::default();
        assert!(counts(&index, 10).is_empty());
        let numbers: Vec<_> = (0..10).map(|n| index.add(Target::queue(n))).collect();
        for (target, n) in counts(&index, 10_000) {
            assert!((850..1150).contains(&n), "{target:?}: {n}");
        }
        numbers.iter().skip(2).for_each(|number| index.remove(*number));
        index.add(Target::queue(1));
        let counted = counts(&index, 3000);
        assert_eq!(counted.len(), 2);
        assert!((900..1100).contains(&counted[0].1), "{counted:?}");
    }

    #[test]
    fn the_ends_of_the_range_are_the_ends_of_the_list() {
        let mut index = RandomIndex::default();
        for n in 0..3 {
            index.add(Target::queue(n));
        }
        let mut out = Vec::new();
        index.route(0, &mut out);
        index.route(u64::MAX, &mut out);
        assert_eq!(out, [Target::queue(0), Target::queue(2)]);
    }
}
