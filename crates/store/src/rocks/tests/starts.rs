//! Starting: locks, formats, makings and starts that were cut short, torn and damaged ends of the log.

use std::path::Path;

use super::super::{before, folder};
use super::{TempFolder, copy_store, logs, open, options};
use crate::rocks::RocksStore;
use crate::{Batch, Gcn, MessageStore, StoreError, StoreId};

fn record(bytes: &[u8]) -> Batch {
    Batch { record: bytes.to_vec(), ..Batch::default() }
}

fn try_open(path: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(path, &options())
}

/// A store with `n` records, all synced and marked.
fn filled(path: &Path, n: u64) {
    let store = open(path);
    for at in 0..n {
        store.write(record(&[at as u8; 500])).expect("written");
    }
    store.close().expect("closed");
}

fn last_log(path: &Path) -> std::path::PathBuf {
    let mut logs = logs(path);
    logs.retain(|(_, len)| *len > 0);
    logs.sort();
    logs.pop().expect("there is a log").0
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("it can be read");
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_second_open_is_refused_and_names_the_process() {
    let temp = TempFolder::new();
    let store = open(&temp.join("s"));
    let Err(StoreError::Locked { pid, .. }) = try_open(&temp.join("s")) else {
        panic!("not locked")
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(store);
    open(&temp.join("s"));
}

#[test]
fn another_format_is_refused_by_name() {
    let temp = TempFolder::new();
    filled(&temp.join("s"), 1);
    let file = temp.join("s").join("FORMAT");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replace("format 1", "format 2")).expect("it can be written");
    let error = try_open(&temp.join("s")).expect_err("another format");
    assert!(matches!(&error, StoreError::OtherFormat { found, .. } if found == "2"), "{error}");
    assert!(error.to_string().contains("this version reads format 1"), "{error}");
}

#[test]
fn a_database_without_a_format_file_is_refused() {
    let temp = TempFolder::new();
    filled(&temp.join("s"), 1);
    std::fs::remove_file(temp.join("s").join("FORMAT")).expect("it is there");
    assert!(matches!(try_open(&temp.join("s")), Err(StoreError::OtherFormat { .. })));
}

#[test]
fn folders_of_two_stores_are_not_mixed_up() {
    let temp = TempFolder::new();
    filled(&temp.join("s"), 1);
    folder::set_identity(&temp.join("s"), StoreId(0xbad)).expect("it can be written");
    assert!(matches!(try_open(&temp.join("s")), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_store_that_lost_its_database_is_not_a_new_store() {
    let temp = TempFolder::new();
    filled(&temp.join("s"), 1);
    std::fs::remove_dir_all(folder::database(&temp.join("s"))).expect("it is there");
    let error = try_open(&temp.join("s")).expect_err("the database is missing");
    assert!(error.to_string().contains("leveret repair"), "{error}");
}

#[test]
fn a_making_that_was_cut_short_is_done_again() {
    let temp = TempFolder::new();
    // As after a kill: first with the format file only, then with a database and no marker.
    folder::set_identity(&temp.join("s"), StoreId(5)).expect_err("there is no folder yet");
    std::fs::create_dir(temp.join("s")).expect("a folder");
    folder::set_identity(&temp.join("s"), StoreId(5)).expect("it can be written");
    let store = open(&temp.join("s"));
    assert!(store.opened().created);
    assert_eq!(store.id(), StoreId(5), "the identity that was written first");
    drop(store);
    std::fs::remove_file(temp.join("s").join("durable")).expect("it is there");
    assert!(open(&temp.join("s")).opened().created);
    assert!(!open(&temp.join("s")).opened().created);
}

#[test]
fn a_start_that_was_cut_short_is_undone() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    filled(&path, 3);
    before::keep(&path).expect("it can be kept");
    // What the start that was cut short did to the database.
    std::fs::remove_dir_all(folder::database(&path)).expect("it is there");
    std::fs::create_dir(path.join("db.before.part")).expect("a folder");
    assert_eq!(open(&path).opened().last, Gcn(3));
    assert!(!path.join("db.before").exists() && !path.join("db.before.part").exists());
}

#[test]
fn a_log_cut_at_any_byte_starts_or_refuses_by_the_marker() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    filled(&path, 2);
    let store = open(&path);
    for n in 0..4 {
        store.write(record(&[n; 300])).expect("written");
    }
    // Synced in fact, and not yet marked: the marker says 2.
    store.sync_log().expect("synced");
    copy_store(&path, &temp.join("copy"));
    drop(store);
    let log = last_log(&temp.join("copy"));
    let whole = std::fs::read(&log).expect("it can be read");
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..whole.len()).step_by(97) {
        let torn = temp.join(&format!("torn-{cut}"));
        copy_store(&temp.join("copy"), &torn);
        let name = log.file_name().expect("a name");
        std::fs::write(folder::database(&torn).join(name), &whole[..cut]).expect("written");
        let last = open(&torn).opened().last;
        assert!((2..=6).contains(&last.0), "cut at {cut}: {last}");
        seen.insert(last.0);
        // It goes on from there, and again.
        let store = open(&torn);
        assert_eq!(store.write(record(b"next")), Ok(last.next()));
        store.close().expect("closed");
        assert_eq!(open(&torn).opened().last, last.next());
    }
    assert!(seen.len() >= 4, "cuts of every kind were tried: {seen:?}");
}

#[test]
fn damage_behind_the_marker_is_cut_off_and_damage_before_it_refuses() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    filled(&path, 2);
    let store = open(&path);
    for n in 0..4 {
        store.write(record(&[n; 3000])).expect("written");
    }
    store.sync_log().expect("synced");
    copy_store(&path, &temp.join("behind"));
    store.close().expect("closed");
    copy_store(&path, &temp.join("before"));
    for name in ["behind", "before"] {
        let log = last_log(&temp.join(name));
        let len = std::fs::metadata(&log).expect("it is there").len() as usize;
        flip(&log, len / 2);
    }
    let store = open(&temp.join("behind"));
    let last = store.opened().last;
    assert!((2..6).contains(&last.0), "a prefix with all that was marked: {last}");
    drop(store);
    let error = try_open(&temp.join("before")).expect_err("synced data is damaged");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("6 was synced"), "{error}");
    assert!(error.to_string().contains("leveret repair"), "{error}");
    // It was put back as it was: the same answer again, and the log is still there.
    assert_eq!(try_open(&temp.join("before")).expect_err("as before"), error);
    assert!(last_log(&temp.join("before")).exists());
}

#[test]
fn a_torn_marker_leaves_the_one_before_and_a_lost_one_refuses() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    filled(&path, 5);
    let marker = path.join("durable");
    flip(&marker, 8);
    assert_eq!(open(&path).opened().last, Gcn(5));
    flip(&marker, 8);
    flip(&marker, 2048 + 8);
    assert!(matches!(try_open(&path), Err(StoreError::Damaged { .. })));
}

#[test]
fn what_a_killed_process_had_written_survives_and_is_marked() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    filled(&path, 1);
    let store = open(&path);
    store.write(record(b"not synced")).expect("written");
    copy_store(&path, &temp.join("killed"));
    drop(store);
    let store = open(&temp.join("killed"));
    assert_eq!(store.figures().durable, Gcn(2));
    drop(store);
    // The marker holds it from the start on.
    let log = last_log(&temp.join("killed"));
    std::fs::write(log, b"").expect("written");
    assert!(try_open(&temp.join("killed")).is_err());
}

#[test]
fn the_marker_follows_when_it_is_quiet() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    let store = open(&path);
    for n in 0..5 {
        store.write(record(&[n])).expect("written");
        store.sync().expect("synced");
    }
    store.sync().expect("nothing new");
    assert_eq!(super::super::Marker::read(&path), Ok(Some(Gcn(5))));
}

#[test]
fn a_marker_is_made_whole_or_not_at_all() {
    let temp = TempFolder::new();
    let path = temp.join("store");
    // Stands where the marker is drafted, as a disk that fails would.
    std::fs::create_dir_all(path.join("durable.new")).unwrap();
    assert!(RocksStore::open(&path, &options()).is_err());
    assert!(!path.join("durable").exists());
    std::fs::remove_dir(path.join("durable.new")).unwrap();
    // What a draft that was cut short left is of no consequence.
    std::fs::write(path.join("durable.new"), b"lv").unwrap();
    let store = open(&path);
    assert!(store.opened().created);
    drop(store);
    assert!(!open(&path).opened().created);
}
