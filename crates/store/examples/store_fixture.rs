//! Makes the folder that `tests/format.rs` opens: a store of the present format with data of every kind, in
//! tables, blob files and the log. Run it once per format, and keep the folders of the formats before:
//! `cargo run --example store_fixture -p leveret-store -- crates/store/tests/fixtures/format-1`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a development command")]

use std::path::PathBuf;

use leveret_store::{
    Batch, BodyId, BodyPut, BodyRef, ChunkIndex, ChunkPut, FORMAT, Gcn, MessageStore, RocksOptions,
    RocksStore, Slot, StoreId,
};

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("a folder to make"));
    let options = RocksOptions::new(StoreId(0x1e7e_4e70));
    let store = RocksStore::open(&folder, &options).expect("a new store");
    let slots: Vec<Slot> = (0..2).map(|_| store.allocate_slot().expect("a slot")).collect();
    for n in 0..3 {
        store.write(batch(&slots, n)).expect("written");
    }
    // A backup is what flushes: its tables and blob files are what we want.
    let flushed = folder.with_extension("flushed");
    store.backup(&flushed).expect("a backup");
    std::fs::remove_dir_all(&flushed).expect("it was made");
    for n in 3..6 {
        store.write(batch(&slots, n)).expect("written");
    }
    let retire = Batch { retire_upto: Some(Gcn(2)), ..Batch::default() };
    store.write(retire).expect("written");
    store.close().expect("closed");
    // Notes of RocksDB that nobody needs.
    for entry in std::fs::read_dir(folder.join("db")).expect("the database") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("LOG") || name == "LOCK" || name.starts_with("OPTIONS") {
            std::fs::remove_file(path).expect("it is there");
        }
    }
    std::fs::remove_file(folder.join("lock")).expect("it is there");
    println!("a store of format {FORMAT} is in {}", folder.display());
}

/// What batch `n` holds, as the test expects it.
fn batch(slots: &[Slot], n: u8) -> Batch {
    let index = ChunkIndex {
        n: u32::from(n),
        end_seq: 10,
        bytes: 11,
        min_expiry: 12,
        first_at: 13,
        flags: 14,
    };
    let slot = slots[usize::from(n % 2)];
    let id = BodyId([n; 16]);
    Batch {
        record: vec![n; 20],
        chunks: vec![ChunkPut {
            slot,
            priority: n,
            first_seq: u64::from(n),
            index,
            data: vec![n; 5000],
        }],
        checkpoints: vec![(slot, vec![n; 5])],
        bodies: vec![BodyPut { id, data: vec![n; 4500] }],
        body_refs: vec![BodyRef { id, slot }],
        ..Batch::default()
    }
}
