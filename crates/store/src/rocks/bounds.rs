//! Between which keys the chunks of a slot are, so that no scan walks what was deleted before the
//! first or looks beyond the last.

use std::collections::BTreeMap;

use crate::keys::{self, CHUNK_KEY};
use crate::{ChunkKey, Gcn, Slot};

type Name = [u8; CHUNK_KEY];

/// The chunks of one priority level of one slot are all within these keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Range {
    /// No chunk is before this one.
    pub(super) first: Name,
    /// No chunk is after this one.
    pub(super) last: Name,
    /// How many there are.
    pub(super) count: u64,
}

/// One entry per slot and level that has chunks: about a hundred bytes.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// By slot and inverted priority, which is the order of the keys.
    levels: BTreeMap<(Slot, u8), Range>,
    count: u64,
}

impl Bounds {
    pub(super) fn add(&mut self, key: &ChunkKey) {
        let name = keys::chunk(key);
        let new = Range { first: name, last: name, count: 0 };
        let range = self.levels.entry(level(key)).or_insert(new);
        range.first = range.first.min(name);
        range.last = range.last.max(name);
        range.count += 1;
        self.count += 1;
    }

    /// A chunk is gone. Queues drop from the head mostly, and then the bound follows.
    pub(super) fn remove(&mut self, key: &ChunkKey) {
        let name = keys::chunk(key);
        let Some(range) = self.levels.get_mut(&level(key)) else { return };
        range.count = range.count.saturating_sub(1);
        self.count = self.count.saturating_sub(1);
        if range.count == 0 {
            self.levels.remove(&level(key));
        } else if range.first == name {
            // The name of the group commit after it is before every key that can follow.
            range.first = keys::chunk(&ChunkKey { gcn: Gcn(key.gcn.0.saturating_add(1)), ..*key });
        }
    }

    pub(super) fn remove_slot(&mut self, slot: Slot) {
        for (level, range) in self.of(slot) {
            self.count -= range.count;
            self.levels.remove(&level);
        }
    }

    /// The ranges of a slot, highest priority first.
    pub(super) fn of(&self, slot: Slot) -> Vec<((Slot, u8), Range)> {
        let levels = self.levels.range((slot, 0)..=(slot, 255));
        levels.map(|(level, range)| (*level, *range)).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

fn level(key: &ChunkKey) -> (Slot, u8) {
    (key.slot, 255 - key.priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(priority: u8, first_seq: u64) -> ChunkKey {
        ChunkKey { slot: Slot(7), priority, first_seq, gcn: Gcn(3) }
    }

    #[test]
    fn the_bound_follows_the_head_and_ends_with_the_last_chunk() {
        let mut bounds = Bounds::default();
        for seq in [10, 20, 30] {
            bounds.add(&key(0, seq));
        }
        bounds.remove(&key(0, 10));
        let [(_, range)] = bounds.of(Slot(7))[..] else { panic!("one level") };
        assert!(range.first > keys::chunk(&key(0, 10)) && range.first <= keys::chunk(&key(0, 20)));
        assert_eq!(range.count, 2);
        bounds.remove(&key(0, 30));
        bounds.remove(&key(0, 20));
        assert!(bounds.of(Slot(7)).is_empty());
        assert_eq!(bounds.count(), 0);
    }

    #[test]
    fn high_priorities_come_first_and_other_slots_not_at_all() {
        let mut bounds = Bounds::default();
        bounds.add(&key(1, 0));
        bounds.add(&key(9, 0));
        bounds.add(&ChunkKey { slot: Slot(8), ..key(5, 0) });
        let levels: Vec<u8> =
            bounds.of(Slot(7)).iter().map(|((_, level), _)| 255 - level).collect();
        assert_eq!(levels, [9, 1]);
        bounds.remove_slot(Slot(7));
        assert_eq!(bounds.count(), 1);
    }
}
