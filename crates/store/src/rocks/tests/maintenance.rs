//! Backup and restore, figures, and that what is retired leaves nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Collected, check_folder, collect, restore};
use super::damage::bytes;
use super::{TempFolder, open};
use crate::testing::Model;
use crate::{
    Batch, ChunkIndex, ChunkKey, ChunkPut, Gcn, LATENCY_BOUNDS_MICROS, MessageStore, Slot,
    StoreError, StoreId,
};

/// Record, chunk and checkpoint of one batch, which belong together.
fn batch(slot: Slot, n: u64) -> Batch {
    let index = ChunkIndex { n: 1, end_seq: n + 1, ..ChunkIndex::default() };
    Batch {
        record: n.to_be_bytes().repeat(50),
        chunks: vec![ChunkPut {
            slot,
            priority: 0,
            first_seq: n,
            index,
            data: n.to_be_bytes().repeat(700),
        }],
        checkpoints: vec![(slot, n.to_be_bytes().to_vec())],
        ..Batch::default()
    }
}

#[test]
fn a_backup_made_under_load_is_a_prefix_and_restores_as_another_store() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    let slot = store.allocate_slot().expect("a slot");
    let done = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) && n < 20_000 {
                n = store.write(batch(slot, n)).expect("written").0;
                if n.is_multiple_of(10) {
                    store.sync().expect("synced");
                }
            }
        });
        while store.figures().written < Gcn(50) {
            std::thread::yield_now();
        }
        let report = store.backup(&temp.join("b"));
        done.store(true, Ordering::Relaxed);
        report.expect("a backup")
    });
    assert!(report.at_least >= Gcn(50) && report.bytes > 0);
    let exists = store.backup(&temp.join("b"));
    assert!(matches!(exists, Err(StoreError::Misuse(_))), "nothing is overwritten");
    drop(store);

    let check = restore(&temp.join("b"), &temp.join("r"), StoreId(0xb)).expect("restored");
    assert!(check.is_whole(), "{check}");
    assert!(check.last >= report.at_least);
    let store = open(&temp.join("r"));
    assert_eq!(store.id(), StoreId(0xb));
    let last = store.opened().last;
    let mut records = Vec::new();
    store.records(&mut |gcn, _| records.push(gcn.0)).expect("whole");
    assert_eq!(records, (1..=last.0).collect::<Vec<_>>(), "a prefix without gaps");
    let mut chunks = Vec::new();
    store.chunk_indexes(slot, &mut |key, _| chunks.push(key.first_seq)).expect("whole");
    assert_eq!(chunks, (0..last.0).collect::<Vec<_>>(), "chunks of exactly these batches");
    let mut states = Vec::new();
    store.checkpoints(&mut |_, state| states.push(state.to_vec())).expect("whole");
    assert_eq!(states, [(last.0 - 1).to_be_bytes()], "the checkpoint of the last of them");
    assert_eq!(check_folder(&temp.join("b")).expect("the backup is left alone").last, last);
}

#[test]
fn a_restore_needs_a_backup_and_a_free_place() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    store.backup(&temp.join("b")).expect("a backup");
    let target_exists = restore(&temp.join("b"), &temp.join("s"), StoreId(1));
    assert!(matches!(target_exists, Err(StoreError::Misuse(_))));
    let no_backup = restore(&temp.join("nothing"), &temp.join("r"), StoreId(1));
    assert!(matches!(no_backup, Err(StoreError::Misuse(_))));
    let in_use = restore(&temp.join("s"), &temp.join("r"), StoreId(1));
    assert!(matches!(in_use, Err(StoreError::Locked { .. })));
    assert!(!temp.join("r").exists() && !temp.join("r.partial").exists());
}

#[test]
fn what_is_retired_soon_leaves_next_to_nothing_on_disk() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    let written = 8 << 20;
    for n in 0..written / 4096u64 {
        let retire = Some(Gcn(n.saturating_sub(4)));
        let batch = Batch { record: vec![n as u8; 4096], retire_upto: retire, ..Batch::default() };
        store.write(batch).expect("written");
    }
    super::flush(&store);
    let figures = store.figures();
    assert_eq!(figures.window_records, 5);
    assert!(figures.disk_bytes < written / 10, "{} of {written} bytes", figures.disk_bytes);
}

#[test]
fn reading_the_head_does_not_walk_what_was_dropped() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    let slot = store.allocate_slot().expect("a slot");
    let mut keys = std::collections::VecDeque::new();
    for n in 0..3000 {
        let new = ChunkPut {
            slot,
            priority: 0,
            first_seq: n,
            index: ChunkIndex::default(),
            data: vec![1; 10],
        };
        keys.push_back(new.key(Gcn(n + 1)));
        let dropped = if keys.len() > 10 { keys.pop_front() } else { None };
        let batch = Batch {
            chunks: vec![new],
            dropped_chunks: dropped.into_iter().collect(),
            ..Batch::default()
        };
        store.write(batch).expect("written");
    }
    let ends = store.writer.lock().chunks.ranges_of(slot);
    assert_eq!(ends, [(crate::keys::chunk(&keys[0]), crate::keys::chunk(&keys[9]))]);
    let mut shown = Vec::new();
    store.chunk_indexes(slot, &mut |key, _| shown.push(key)).expect("whole");
    assert!(shown.iter().eq(keys.iter()));
}

#[test]
fn collecting_frees_files_that_old_chunks_hold_and_changes_nothing() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    let slot = store.allocate_slot().expect("a slot");
    let mut model = Model::default();
    for n in 0..200 {
        let mut batch = batch(slot, n);
        // One old chunk in ten stays.
        let old = (n >= 20 && (n - 20) % 10 != 0).then(|| ChunkKey {
            slot,
            priority: 0,
            first_seq: n - 20,
            gcn: Gcn(n - 19),
        });
        batch.dropped_chunks = old.into_iter().collect();
        batch.chunks[0].data = bytes(n, 7000);
        model.apply(&batch);
        store.write(batch).expect("written");
    }
    assert_eq!(store.collect(u64::MAX), Ok(Collected::default()), "too little to bother");
    super::flush(&store);
    store.db.compact();
    let before = store.figures().disk_bytes;
    let mut done = Collected::default();
    collect::rewrite_oldest(&store, u64::MAX, &mut done).expect("the disk works");
    assert_eq!((done.chunks, done.damaged), (38, 0));
    super::flush(&store);
    store.db.compact();
    let after = store.figures().disk_bytes;
    assert!(after < before / 2, "{before} bytes before, {after} after");
    model.assert_held_by(&store);
    // A chunk that was written twice is dropped like any other.
    let drop = Batch { dropped_slots: vec![slot], ..Batch::default() };
    model.apply(&drop);
    store.write(drop).expect("written");
    super::flush(&store);
    store.db.compact();
    model.assert_held_by(&store);
}

#[test]
fn figures_say_what_happened() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    let slot = store.allocate_slot().expect("a slot");
    for n in 0..3 {
        store.write(batch(slot, n)).expect("written");
        store.sync().expect("synced");
        store.sync().expect("nothing new");
    }
    let figures = store.figures();
    assert_eq!((figures.writes, figures.chunks, figures.window_records), (3, 3, 3));
    assert_eq!(figures.written_bytes, 3 * (400 + 5600 + 8));
    assert_eq!(figures.group_bytes.count(), 3);
    assert_eq!(figures.window_bytes, 3 * 404);
    assert_eq!(
        figures.sync_micros.count(),
        3,
        "a sync without anything new does not reach the disk"
    );
    assert!(figures.sync_micros.quantile(&LATENCY_BOUNDS_MICROS, 0.0).is_some());
    assert!(figures.memory_bytes > 0 && !figures.writes_stopped && !figures.writes_delayed);
}
