//! Stores that older versions wrote can be read. The folders in `fixtures` are made by the example
//! `store_fixture`, once per format.
#![cfg(feature = "rocksdb")]
#![allow(clippy::expect_used, reason = "tests may stop at the first surprise")]

use std::path::{Path, PathBuf};

use leveret_store::{
    BodyId, ChunkIndex, ChunkKey, Gcn, MessageStore, RocksOptions, RocksStore, Slot, StoreId,
    check_folder,
};

/// A copy that the test may write to.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let to = std::env::temp_dir().join(format!("leveret-{name}-{}", std::process::id()));
        copy(&from, &to);
        Self(to)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("it can be copied");
        }
    }
}

#[test]
fn a_store_of_format_1_is_read() {
    let folder = Copy::of("format-1");
    let report = check_folder(&folder.0).expect("it can be walked");
    assert!(report.is_whole(), "{report}");
    let store = RocksStore::open(&folder.0, &RocksOptions::new(StoreId(0))).expect("it opens");
    assert_eq!(store.id(), StoreId(0x1e7e_4e70));
    assert_eq!(store.opened().last, Gcn(7));
    let mut records = Vec::new();
    store.records(&mut |gcn, record| records.push((gcn, record.to_vec()))).expect("whole");
    assert_eq!(records, [2u8, 3, 4, 5].map(|n| (Gcn(u64::from(n) + 1), vec![n; 20])));
    let mut checkpoints = Vec::new();
    store.checkpoints(&mut |slot, state| checkpoints.push((slot, state.to_vec()))).expect("whole");
    assert_eq!(checkpoints, [(Slot(0), vec![4; 5]), (Slot(1), vec![5; 5])]);
    for n in 0..6u8 {
        let slot = Slot(u64::from(n % 2));
        let key = ChunkKey { slot, priority: n, first_seq: n.into(), gcn: Gcn(u64::from(n) + 1) };
        assert_eq!(store.read_chunk(&key).expect("whole"), vec![n; 5000]);
        assert_eq!(store.read_body(&BodyId([n; 16])).expect("whole"), vec![n; 4500]);
        let mut found = Vec::new();
        store.chunk_indexes(slot, &mut |at, index| found.push((at, index))).expect("whole");
        let index = ChunkIndex {
            n: u32::from(n),
            end_seq: 10,
            bytes: 11,
            min_expiry: 12,
            first_at: 13,
            flags: 14,
        };
        assert!(found.contains(&(key, index)), "{found:?}");
        let mut held = Vec::new();
        store.body_refs(slot, &mut |id| held.push(id)).expect("whole");
        assert!(held.contains(&BodyId([n; 16])) && held.len() == 3);
    }
    assert!(store.allocate_slot().expect("a slot") > Slot(1));
}
