//! A disk that is really full: a small tmpfs in a mount namespace of its own. Where the system does not
//! allow that (it needs `unshare` and `mount`), the test says so and does nothing; what the store does after an
//! error is covered without it by `FailingStore`.
#![cfg(all(feature = "rocksdb", target_os = "linux"))]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests may stop at the first surprise, and one talks to another through its output"
)]

use std::path::PathBuf;
use std::process::Command;

use leveret_store::{Batch, Gcn, MessageStore, RocksOptions, RocksStore, StoreError, StoreId};

const FOLDER: &str = "LEVERET_FULL_DISK_FOLDER";
const MOUNTED: &str = "LEVERET_FULL_DISK_MOUNTED";

fn record(n: u64) -> Batch {
    Batch { record: vec![n as u8; 64 << 10], ..Batch::default() }
}

fn mount(options: &str, folder: &str) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs", folder]);
    mount.status().is_ok_and(|status| status.success())
}

/// Runs the other test of this file where it may mount.
#[test]
fn a_full_disk_stops_the_store_and_loses_nothing_that_was_synced() {
    let folder = std::env::temp_dir().join(format!("leveret-full-disk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let this = std::env::current_exe().expect("this program");
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount"]).arg(this);
    inside.args(["--exact", "inside_a_small_disk", "--ignored", "--nocapture"]);
    let ran = inside.env(FOLDER, &folder).output();
    std::fs::remove_dir_all(&folder).expect("nothing is mounted out here");
    let Ok(ran) = ran else { return eprintln!("skipped: there is no unshare") };
    let said = String::from_utf8_lossy(&ran.stdout);
    if !said.contains(MOUNTED) && !said.contains("panicked") {
        return eprintln!("skipped: mounting is not allowed here");
    }
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
#[ignore = "needs a mount namespace; the other test makes one"]
fn inside_a_small_disk() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    if !mount("size=16m", &folder) {
        return;
    }
    println!("{MOUNTED}");
    let path = PathBuf::from(&folder).join("store");
    let options = RocksOptions::new(StoreId(1));
    let store = RocksStore::open(&path, &options).expect("a new store");
    let (mut written, mut synced) = (Gcn(0), Gcn(0));
    let error = loop {
        assert!(written.0 < 1000, "16 MiB are full after 256 records");
        match store.write(record(written.0 + 1)) {
            Ok(gcn) => written = gcn,
            Err(error) => break error,
        }
        if written.0.is_multiple_of(8) {
            synced = store.sync().expect("there is room");
        }
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(synced >= Gcn(8));
    assert!(matches!(store.write(record(0)), Err(StoreError::Stopped { .. })));
    assert!(matches!(store.sync(), Err(StoreError::Stopped { .. })));
    assert!(store.read_record(synced).expect("reads go on").is_some());
    drop(store);

    let full = RocksStore::open(&path, &options);
    assert!(full.is_err() || full.is_ok_and(|store| store.opened().last >= synced));
    assert!(mount("remount,size=64m", &folder), "more room");
    let store = RocksStore::open(&path, &options).expect("it starts when there is room");
    let last = store.opened().last;
    assert!(synced <= last && last <= written, "{last} of {written}, {synced} synced");
    let mut next = 1;
    let read = store.records(&mut |gcn, record| {
        assert_eq!((gcn, record), (Gcn(next), &vec![next as u8; 64 << 10][..]));
        next += 1;
    });
    read.expect("whole");
    assert_eq!(next, last.0 + 1);
    assert_eq!(store.write(record(0)), Ok(last.next()));
}
