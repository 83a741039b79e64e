//! The store on disk passes the suite, over restarts, power loss and damage.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{RocksOptions, RocksStore, folder};
use crate::testing::{Step, Subject, conformance, run};
use crate::{Gcn, MessageStore, Slot, StoreId};

mod damage;
mod maintenance;
mod starts;

/// A folder that goes with the test.
pub(super) struct TempFolder(pub(super) PathBuf);

impl TempFolder {
    pub(super) fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("leveret-store-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Small, so that tests reach tables, blob files and new log files.
pub(super) fn options() -> RocksOptions {
    RocksOptions {
        log_buffer_bytes: 64 << 10,
        data_buffer_bytes: 64 << 10,
        wal_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        ..RocksOptions::new(StoreId(0x77))
    }
}

pub(super) fn open(path: &Path) -> RocksStore {
    RocksStore::open(path, &options()).expect("the store opens")
}

impl super::db::Db {
    fn compact(&self) {
        for column in super::columns::COLUMNS {
            self.db.compact_range_cf(self.handle(column), None::<&[u8]>, None::<&[u8]>);
        }
    }
}

/// Writes memory tables to table and blob files.
pub(super) fn flush(store: &RocksStore) {
    for column in super::columns::COLUMNS {
        store.db.db.flush_cf(store.db.handle(column)).expect("the disk works");
    }
}

struct Disk {
    temp: TempFolder,
    /// Which folder is in use: after power loss it is another one, so that what the old process still
    /// does is of no consequence.
    life: u32,
    store: Option<RocksStore>,
    /// Lengths of the log files at the last sync.
    synced: HashMap<PathBuf, u64>,
}

impl Disk {
    fn new() -> Self {
        let mut disk =
            Self { temp: TempFolder::new(), life: 0, store: None, synced: HashMap::new() };
        disk.open();
        disk
    }

    fn folder(&self) -> PathBuf {
        self.temp.join(&self.life.to_string())
    }

    fn open(&mut self) {
        self.store = Some(open(&self.folder()));
        self.note_synced();
    }

    fn note_synced(&mut self) {
        self.synced = logs(&self.folder()).into_iter().collect();
    }
}

fn logs(store: &Path) -> Vec<(PathBuf, u64)> {
    let files = std::fs::read_dir(folder::database(store)).expect("the database");
    let files = files.map(|file| file.expect("a file").path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    // A file that was closed meanwhile may be gone.
    logs.filter_map(|path| Some((path.clone(), path.metadata().ok()?.len()))).collect()
}

impl Subject for Disk {
    fn store(&self) -> &dyn MessageStore {
        self.store.as_ref().expect("it is open")
    }

    fn sync(&mut self) -> Gcn {
        let upto = self.store().sync().expect("the disk works");
        self.note_synced();
        upto
    }

    fn allocate_slot(&mut self) -> Slot {
        let slot = self.store().allocate_slot().expect("the disk works");
        self.note_synced();
        slot
    }

    fn restart(&mut self) {
        self.store.take().expect("it is open").close().expect("the disk works");
        self.open();
    }

    /// The newest log file is cut behind what was synced. Tables and older log files stay: RocksDB may have
    /// synced those by itself.
    fn crash(&mut self, kept_percent: u8) {
        let (before, synced) = (self.folder(), std::mem::take(&mut self.synced));
        // No files come and go while they are copied.
        self.store.as_ref().expect("it is open").db.db.cancel_all_background_work(true);
        self.life += 1;
        let after = self.folder();
        copy_store(&before, &after);
        let (path, len) = logs(&after).into_iter().max().expect("there is a log");
        let name = folder::database(&before).join(path.file_name().expect("a name"));
        let synced = synced.get(&name).copied().unwrap_or(0);
        let kept = len.saturating_sub(synced) * u64::from(kept_percent) / 100;
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a log file");
        file.set_len(synced.min(len) + kept).expect("it can be cut");
        self.store = None;
        self.open();
    }
}

/// Copies the files of a store that is open, as a disk would hold them without power.
pub(super) fn copy_store(from: &Path, to: &Path) {
    std::fs::create_dir_all(folder::database(to)).expect("a folder");
    for name in ["FORMAT", "durable"] {
        std::fs::copy(from.join(name), to.join(name)).expect("it is there");
    }
    for file in std::fs::read_dir(folder::database(from)).expect("the database") {
        let file = file.expect("a file").path();
        let name = file.file_name().expect("a name");
        // RocksDB deletes files in the background.
        let _ = std::fs::copy(&file, folder::database(to).join(name));
    }
}

#[test]
fn the_rocksdb_store_keeps_the_contract() {
    conformance(&mut || Box::new(Disk::new()));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any::<u64>().prop_map(Step::Write),
        6 => Just(Step::Sync),
        1 => Just(Step::Restart),
        2 => (0..=100u8).prop_map(Step::Crash),
    ]
}

proptest! {
    // Each case opens the database some times, which takes tens of milliseconds.
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn random_lives_of_the_rocksdb_store(steps in prop::collection::vec(step(), 1..40)) {
        run(&mut Disk::new(), &steps);
    }
}
