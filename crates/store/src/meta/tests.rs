//! The contract, on both stores; and what only the one on disk can do: come back.

#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leveret-meta-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> RocksMeta {
        RocksMeta::open(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn on_both(check: impl Fn(&dyn MetaStore)) {
    check(&MemoryMeta::default());
    let scratch = Scratch::new();
    check(&scratch.open());
}

fn log_of(store: &dyn MetaStore) -> Vec<(u64, Vec<u8>)> {
    store.read(0, u64::MAX).unwrap()
}

fn entries(of: &[(u64, &[u8])]) -> Vec<(u64, Vec<u8>)> {
    of.iter().map(|(index, bytes)| (*index, bytes.to_vec())).collect()
}

fn snapshot(header: &[u8], bytes: usize) -> MetaSnapshot {
    MetaSnapshot { header: header.to_vec(), data: (0..bytes).map(|n| n as u8).collect() }
}

#[test]
fn a_log_is_appended_cut_and_purged() {
    on_both(|store| {
        assert_eq!(store.last().unwrap(), None);
        store.append(1, &[b"a", b"", b"c"]).unwrap();
        store.append(4, &[b"d"]).unwrap();
        assert_eq!(log_of(store), entries(&[(1, b"a"), (2, b""), (3, b"c"), (4, b"d")]));
        assert_eq!(store.read(2, 4).unwrap(), entries(&[(2, b""), (3, b"c")]));
        assert_eq!(store.read(4, 2).unwrap(), []);
        store.truncate(3).unwrap();
        assert_eq!(store.last().unwrap(), Some((2, Vec::new())));
        store.append(3, &[b"x", b"y"]).unwrap();
        store.purge(2, b"mark").unwrap();
        assert_eq!(log_of(store), entries(&[(3, b"x"), (4, b"y")]));
        assert_eq!(store.get(MetaKey::Purged).unwrap().as_deref(), Some(&b"mark"[..]));
        store.purge(9, b"more").unwrap();
        assert_eq!((log_of(store), store.last().unwrap()), (Vec::new(), None));
    });
}

#[test]
fn values_replace_one_another() {
    on_both(|store| {
        assert_eq!(store.get(MetaKey::Vote).unwrap(), None);
        store.put(MetaKey::Vote, b"one").unwrap();
        store.put(MetaKey::Vote, b"two").unwrap();
        assert_eq!(store.get(MetaKey::Vote).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(store.get(MetaKey::Purged).unwrap(), None);
    });
}

#[test]
fn the_newest_snapshot_counts_whatever_its_size() {
    on_both(|store| {
        assert_eq!(store.snapshot().unwrap(), None);
        for bytes in [3 << 20, 0, 1, 700_000] {
            let next = snapshot(format!("of {bytes}").as_bytes(), bytes);
            store.put_snapshot(&next).unwrap();
            assert_eq!(store.snapshot().unwrap(), Some(next));
        }
    });
}

#[test]
fn everything_is_there_when_it_is_opened_again() {
    let scratch = Scratch::new();
    let store = scratch.open();
    assert_eq!(store.starts(), 1);
    store.append(0, &[b"gone", b"a", b"b", b"cut"]).unwrap();
    store.truncate(3).unwrap();
    store.append(3, &[b"c"]).unwrap();
    store.purge(0, b"mark").unwrap();
    store.put(MetaKey::Vote, b"vote").unwrap();
    store.put_snapshot(&snapshot(b"old", 10)).unwrap();
    store.put_snapshot(&snapshot(b"new", 600_000)).unwrap();
    drop(store);
    let store = scratch.open();
    assert_eq!(store.starts(), 2);
    assert_eq!(log_of(&store), entries(&[(1, b"a"), (2, b"b"), (3, b"c")]));
    assert_eq!(store.get(MetaKey::Vote).unwrap().as_deref(), Some(&b"vote"[..]));
    assert_eq!(store.get(MetaKey::Purged).unwrap().as_deref(), Some(&b"mark"[..]));
    assert_eq!(store.snapshot().unwrap(), Some(snapshot(b"new", 600_000)));
}

/// Copies the files of a store that is open: what a process that is killed leaves behind.
fn as_killed(of: &Scratch) -> Scratch {
    let copy = Scratch::new();
    for entry in std::fs::read_dir(&of.0).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn newest_wal(of: &Scratch) -> PathBuf {
    let files = std::fs::read_dir(&of.0).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap()
}

#[test]
fn a_record_that_a_crash_cut_off_is_as_if_it_never_was() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.append(0, &[b"answered"]).unwrap();
    let before = std::fs::metadata(newest_wal(&scratch)).unwrap().len();
    store.append(1, &[&[7; 1000]]).unwrap();
    let after = std::fs::metadata(newest_wal(&scratch)).unwrap().len();
    assert!(after > before + 1000);
    for left in [before, before + 1, before + 7, before + 500, after - 1] {
        let copy = as_killed(&scratch);
        let wal = std::fs::OpenOptions::new().write(true).open(newest_wal(&copy)).unwrap();
        wal.set_len(left).unwrap();
        assert_eq!(log_of(&copy.open()), entries(&[(0, b"answered")]), "{left} bytes");
    }
}

#[test]
fn damage_is_told_and_not_passed_on() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.append(0, &[b"one"]).unwrap();
    store.append(1, &[b"two"]).unwrap();
    let marked = MARKED - 2;
    (2..marked).for_each(|n| store.append(n, &[b"more"]).unwrap());
    let copy = as_killed(&scratch);
    let mut bytes = std::fs::read(newest_wal(&copy)).unwrap();
    let at = bytes.windows(3).position(|window| window == b"one").unwrap();
    bytes[at] ^= 1;
    std::fs::write(newest_wal(&copy), bytes).unwrap();
    // Again and again, not only the first time.
    for _ in 0..2 {
        let error = RocksMeta::open(&copy.0).unwrap_err();
        assert_eq!(error, MetaError::Short { path: copy.0.clone() });
    }
    // Whoever has no copy can go on with what is left.
    std::fs::remove_file(copy.0.join("durable")).unwrap();
    assert_eq!(log_of(&copy.open()), []);
}

/// Writes after which the marker knows of all of them; opening a new store is two.
const MARKED: u64 = 16;

#[test]
fn an_end_that_was_never_synced_may_be_anything() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.append(0, &[b"answered"]).unwrap();
    let before = std::fs::metadata(newest_wal(&scratch)).unwrap().len() as usize;
    store.append(1, &[&[7; 9000]]).unwrap();
    // The pages of the last write reached the disk in another order, but for the first.
    for damage in [before + 10, before + 4096, before + 8000] {
        let copy = as_killed(&scratch);
        let mut bytes = std::fs::read(newest_wal(&copy)).unwrap();
        bytes[damage..].iter_mut().take(700).for_each(|byte| *byte = 0);
        std::fs::write(newest_wal(&copy), bytes).unwrap();
        assert_eq!(log_of(&copy.open()), entries(&[(0, b"answered")]), "from {damage}");
    }
}

#[test]
fn another_format_is_refused_by_number() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.set_format(99);
    drop(store);
    let error = RocksMeta::open(&scratch.0).unwrap_err();
    assert_eq!(error, MetaError::Format { path: scratch.0.clone(), found: 99, known: 1 });
}

#[test]
fn a_copy_of_a_running_store_opens_with_what_was_there_when_it_was_made() {
    let (scratch, copies) = (Scratch::new(), Scratch::new());
    let store = scratch.open();
    store.append(0, &[b"a", b"b"]).unwrap();
    store.put_snapshot(&snapshot(b"header", 600_000)).unwrap();
    let target = copies.0.join("copy");
    store.backup(&target).unwrap();
    store.append(2, &[b"later"]).unwrap();
    assert!(store.backup(&target).is_err(), "a copy is never written over another");
    let copy = RocksMeta::open(&target).unwrap();
    assert_eq!(log_of(&copy), entries(&[(0, b"a"), (1, b"b")]));
    assert_eq!(copy.snapshot().unwrap(), Some(snapshot(b"header", 600_000)));
    assert_eq!(log_of(&store), entries(&[(0, b"a"), (1, b"b"), (2, b"later")]));
}
