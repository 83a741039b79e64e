//! Which chunks there are, by slot and priority level. With it a scan begins at the head and ends at the
//! last, a slot is dropped without looking, and a chunk that is not there is not dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::{self, CHUNK_KEY};
use crate::{ChunkKey, Gcn, Slot};

type Name = [u8; CHUNK_KEY];
/// Slot and inverted priority: the order of the keys.
type Level = (Slot, u8);

/// About thirty bytes per chunk: 5 MB for 40 GB in chunks of 256 KiB.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    levels: BTreeMap<Level, BTreeSet<(u64, Gcn)>>,
    count: u64,
}

impl Chunks {
    pub(super) fn add(&mut self, key: &ChunkKey) {
        let level = self.levels.entry(level(key)).or_default();
        self.count += u64::from(level.insert((key.first_seq, key.gcn)));
    }

    pub(super) fn remove(&mut self, key: &ChunkKey) {
        let Some(chunks) = self.levels.get_mut(&level(key)) else { return };
        self.count -= u64::from(chunks.remove(&(key.first_seq, key.gcn)));
        if chunks.is_empty() {
            self.levels.remove(&level(key));
        }
    }

    pub(super) fn remove_slot(&mut self, slot: Slot) {
        let levels: Vec<Level> = self.of(slot).map(|(level, _)| *level).collect();
        for level in levels {
            let gone = self.levels.remove(&level);
            self.count -= gone.map_or(0, |chunks| chunks.len() as u64);
        }
    }

    pub(super) fn contains(&self, key: &ChunkKey) -> bool {
        let chunks = self.levels.get(&level(key));
        chunks.is_some_and(|chunks| chunks.contains(&(key.first_seq, key.gcn)))
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many a slot has.
    pub(super) fn count_of(&self, slot: Slot) -> u64 {
        self.of(slot).map(|(_, chunks)| chunks.len() as u64).sum()
    }

    /// The chunks of a slot in the order of their keys.
    pub(super) fn keys_of(&self, slot: Slot) -> impl Iterator<Item = ChunkKey> {
        self.of(slot).flat_map(|(level, chunks)| {
            chunks.iter().map(|(first_seq, gcn)| key(*level, *first_seq, *gcn))
        })
    }

    /// First and last key of each level of a slot, highest priority first.
    pub(super) fn ranges_of(&self, slot: Slot) -> Vec<(Name, Name)> {
        let ends = |(level, chunks): (&Level, &BTreeSet<(u64, Gcn)>)| {
            let name = |(first_seq, gcn): &(u64, Gcn)| keys::chunk(&key(*level, *first_seq, *gcn));
            Some((name(chunks.first()?), name(chunks.last()?)))
        };
        self.of(slot).filter_map(ends).collect()
    }

    /// Up to `n` of the chunks that were written first.
    pub(super) fn oldest(&self, n: usize) -> Vec<ChunkKey> {
        let all = self.levels.iter().flat_map(|(level, chunks)| {
            chunks.iter().map(|(first_seq, gcn)| key(*level, *first_seq, *gcn))
        });
        let mut all: Vec<ChunkKey> = all.collect();
        all.sort_unstable_by_key(|key| key.gcn);
        all.truncate(n);
        all
    }

    fn of(&self, slot: Slot) -> impl Iterator<Item = (&Level, &BTreeSet<(u64, Gcn)>)> {
        self.levels.range((slot, 0)..=(slot, 255))
    }
}

fn level(key: &ChunkKey) -> Level {
    (key.slot, 255 - key.priority)
}

fn key((slot, inverted): Level, first_seq: u64, gcn: Gcn) -> ChunkKey {
    ChunkKey { slot, priority: 255 - inverted, first_seq, gcn }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(priority: u8, first_seq: u64) -> ChunkKey {
        ChunkKey { slot: Slot(7), priority, first_seq, gcn: Gcn(3) }
    }

    #[test]
    fn the_range_follows_the_head_and_ends_with_the_last_chunk() {
        let mut chunks = Chunks::default();
        for seq in [10, 20, 30] {
            chunks.add(&key(0, seq));
        }
        chunks.remove(&key(0, 10));
        let ends = (keys::chunk(&key(0, 20)), keys::chunk(&key(0, 30)));
        assert_eq!(chunks.ranges_of(Slot(7)), [ends]);
        assert!(!chunks.contains(&key(0, 10)) && chunks.contains(&key(0, 20)));
        chunks.remove(&key(0, 30));
        chunks.remove(&key(0, 20));
        chunks.remove(&key(0, 20));
        assert!(chunks.ranges_of(Slot(7)).is_empty());
        assert_eq!(chunks.count(), 0);
    }

    #[test]
    fn high_priorities_come_first_and_other_slots_not_at_all() {
        let mut chunks = Chunks::default();
        chunks.add(&key(1, 0));
        chunks.add(&key(9, 5));
        chunks.add(&ChunkKey { slot: Slot(8), gcn: Gcn(1), ..key(5, 0) });
        assert!(chunks.keys_of(Slot(7)).eq([key(9, 5), key(1, 0)]));
        assert_eq!(chunks.oldest(1)[0].slot, Slot(8));
        chunks.remove_slot(Slot(7));
        assert_eq!((chunks.count(), chunks.count_of(Slot(7))), (1, 0));
    }
}
