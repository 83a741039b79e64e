//! Flipped bits anywhere in the folder: found, or without effect; never other data than was written.

use std::path::{Path, PathBuf};

use super::super::{check_folder, folder, repair};
use super::{TempFolder, copy_store, options};
use crate::rocks::RocksStore;
use crate::testing::Model;
use crate::{
    Batch, BodyId, BodyPut, BodyRef, ChunkIndex, ChunkKey, ChunkPut, Gcn, MessageStore, Place,
    ReadError, Slot, StoreError, StoreId,
};

/// What was written, to compare with.
struct Written {
    model: Model,
    slots: Vec<Slot>,
    chunks: Vec<(ChunkKey, Vec<u8>)>,
    body: (BodyId, Vec<u8>),
    checkpoints: Vec<(Slot, Vec<u8>)>,
    records: Vec<(Gcn, Vec<u8>)>,
}

pub(super) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A store with data in tables, blob files and the log.
fn write_store(path: &Path) -> Written {
    let store = RocksStore::open(path, &options()).expect("a new store");
    let slots: Vec<Slot> = (0..3).map(|_| store.allocate_slot().expect("a slot")).collect();
    let mut written = Written {
        model: Model::default(),
        slots: slots.clone(),
        chunks: Vec::new(),
        body: (BodyId([7; 16]), bytes(99, 6000)),
        checkpoints: Vec::new(),
        records: Vec::new(),
    };
    for n in 0..24u64 {
        let slot = slots[(n % 3) as usize];
        let data = bytes(n, 7000);
        let index = ChunkIndex { n: 1, end_seq: n + 1, ..ChunkIndex::default() };
        let chunk = ChunkPut { slot, priority: 0, first_seq: n, index, data: data.clone() };
        let key = chunk.key(Gcn(n + 1));
        let mut batch = Batch {
            record: bytes(1000 + n, 900),
            chunks: vec![chunk],
            checkpoints: vec![(slot, bytes(2000 + n, 60))],
            ..Batch::default()
        };
        if n == 0 {
            let (id, data) = written.body.clone();
            batch.bodies = vec![BodyPut { id, data }];
            batch.body_refs = vec![BodyRef { id, slot }];
        }
        written.chunks.push((key, data));
        written.records.push((Gcn(n + 1), batch.record.clone()));
        written.checkpoints.retain(|(of, _)| *of != slot);
        written.checkpoints.push((slot, batch.checkpoints[0].1.clone()));
        written.model.apply(&batch);
        store.write(batch).expect("written");
        if n == 11 {
            super::flush(&store);
        }
    }
    written.checkpoints.sort();
    store.close().expect("closed");
    written
}

/// Reads everything; `Ok` means that all of it was there and as written, and whatever could be read was as
/// written.
fn read_all(path: &Path, written: &Written) -> Result<(), String> {
    let store = RocksStore::open(path, &options()).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    let note = |found: &mut Vec<String>, error: String| found.push(error);
    let mut records = Vec::new();
    if let Err(error) = store.records(&mut |gcn, record| records.push((gcn, record.to_vec()))) {
        note(&mut found, error.to_string());
    }
    assert!(written.records.starts_with(&records), "records that were never written");
    let mut checkpoints = Vec::new();
    let shown = store.checkpoints(&mut |slot, state| checkpoints.push((slot, state.to_vec())));
    if let Err(error) = shown {
        note(&mut found, error.to_string());
    }
    assert!(written.checkpoints.starts_with(&checkpoints), "checkpoints that were never written");
    for (key, data) in &written.chunks {
        match store.read_chunk(key) {
            Ok(read) => assert!(read == *data, "chunk {key} is not what was written"),
            Err(error) => note(&mut found, error.to_string()),
        }
    }
    match store.read_body(&written.body.0) {
        Ok(read) => assert!(read == written.body.1, "the body is not what was written"),
        Err(error) => note(&mut found, error.to_string()),
    }
    for slot in &written.slots {
        let mut keys = Vec::new();
        if let Err(error) = store.chunk_indexes(*slot, &mut |key, _| keys.push(key)) {
            note(&mut found, error.to_string());
        }
        let known = |key: &ChunkKey| written.chunks.iter().any(|(of, _)| of == key);
        assert!(keys.iter().all(known), "chunks that were never written");
    }
    if found.is_empty() {
        written.model.assert_held_by(&store);
        Ok(())
    } else {
        Err(found.join("; "))
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let of = |folder: &Path| -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).expect("a folder");
        files.map(|file| file.expect("a file").path()).filter(|path| path.is_file()).collect()
    };
    let mut all = of(path);
    all.extend(of(&folder::database(path)));
    // RocksDB's own notes and locks hold nothing of ours.
    all.retain(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        !name.starts_with("LOG") && name != "LOCK" && name != "lock" && !name.starts_with("OPTIONS")
    });
    all.sort();
    all
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    copy_store(from, to);
}

#[test]
fn a_flipped_bit_is_found_or_has_no_effect() {
    let temp = TempFolder::new();
    let whole = temp.join("whole");
    let written = write_store(&whole);
    assert_eq!(read_all(&whole, &written), Ok(()));
    let names: Vec<PathBuf> = files(&whole);
    for kind in ["sst", "blob", "log"] {
        let of_kind = |path: &PathBuf| path.extension().is_some_and(|extension| extension == kind);
        assert!(names.iter().any(of_kind), "there is a file of kind {kind}: {names:?}");
    }
    let mut found = 0;
    for (n, name) in names.iter().enumerate() {
        let len = std::fs::metadata(name).expect("it is there").len();
        let tries = 8.min(len);
        for at in (0..tries).map(|at| (at * len / tries + (n as u64 * 7 + at) % 13).min(len - 1)) {
            let copy = temp.join("flipped");
            copy_all(&whole, &copy);
            let target = copy.join(name.strip_prefix(&whole).expect("it is inside"));
            let mut bytes = std::fs::read(&target).expect("it can be read");
            bytes[at as usize] ^= 1 << (at % 8);
            std::fs::write(&target, bytes).expect("it can be written");
            if let Err(what) = read_all(&copy, &written) {
                assert!(!what.is_empty());
                found += 1;
            }
            std::fs::remove_dir_all(&copy).expect("it can be removed");
        }
    }
    assert!(found > 20, "most of the folder is data: {found} were found");
}

/// Flips a bit in the middle of every blob file.
fn damage_blobs(path: &Path) {
    for file in files(path).iter().filter(|path| path.extension().is_some_and(|e| e == "blob")) {
        let mut bytes = std::fs::read(file).expect("it can be read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).expect("it can be written");
    }
}

#[test]
fn a_damaged_chunk_is_named_and_the_rest_can_be_read() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    let written = write_store(&path);
    damage_blobs(&path);
    let store = RocksStore::open(&path, &options()).expect("a damaged chunk does not stop a start");
    let mut damaged = Vec::new();
    for (key, data) in &written.chunks {
        match store.read_chunk(key) {
            Ok(read) => assert_eq!(read, data),
            Err(ReadError::Damaged { place, .. }) => {
                assert_eq!(place, Place::Chunk(*key));
                damaged.push(*key);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let body_is_damaged = store.read_body(&written.body.0).is_err();
    assert!(!damaged.is_empty() && damaged.len() < 4, "{damaged:?}");
    let report = store.check().expect("it can be walked");
    assert_eq!(report.n_damaged, damaged.len() as u64 + u64::from(body_is_damaged));
    assert_eq!(report.chunks, (written.chunks.len() - damaged.len()) as u64);
    assert!(report.damaged.iter().any(|it| it.what == Place::Chunk(damaged[0]).to_string()));
    // It is dropped like any other, and then it is gone.
    let drop = Batch { dropped_chunks: damaged.clone(), ..Batch::default() };
    store.write(drop).expect("written");
    assert!(matches!(store.read_chunk(&damaged[0]), Err(ReadError::Missing { .. })));
}

#[test]
fn a_check_of_a_whole_store_counts_and_finds_nothing() {
    let temp = TempFolder::new();
    let written = write_store(&temp.join("s"));
    let report = check_folder(&temp.join("s")).expect("it can be walked");
    assert!(report.is_whole(), "{report}");
    assert_eq!((report.last, report.records, report.record_bytes), (Gcn(24), 24, 24 * 900));
    assert_eq!((report.chunks, report.chunk_messages, report.chunk_bytes), (24, 24, 24 * 7000));
    assert_eq!((report.checkpoints, report.bodies, report.body_refs), (3, 1, 1));
    assert_eq!(read_all(&temp.join("s"), &written), Ok(()), "a check changes nothing");
}

#[test]
fn a_repair_keeps_what_can_be_read_and_names_what_is_lost() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    let written = write_store(&path);
    damage_blobs(&path);
    let before = check_folder(&path).expect("it can be walked");
    let report = repair(&path, StoreId(0x99)).expect("it can be repaired");
    assert_eq!(report.kept.n_damaged, before.n_damaged);
    assert_eq!(report.kept.chunks, before.chunks);
    assert!(report.damaged.join("CURRENT").exists(), "the damaged database is kept");
    let after = check_folder(&path).expect("it can be walked");
    assert!(after.is_whole(), "{after}");
    let store = RocksStore::open(&path, &options()).expect("it starts");
    assert_eq!(store.id(), StoreId(0x99));
    let mut records = Vec::new();
    store.records(&mut |gcn, record| records.push((gcn, record.to_vec()))).expect("whole");
    assert_eq!(records, written.records);
    let slot = store.allocate_slot().expect("a slot");
    assert!(written.slots.iter().all(|used| *used < slot), "slots are not used again");
    assert_eq!(store.write(Batch { record: b"on".to_vec(), ..Batch::default() }), Ok(Gcn(25)));
}

#[test]
fn a_repair_of_a_damaged_log_gives_no_number_twice() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    write_store(&path);
    let mut logs = super::logs(&path);
    logs.sort_by_key(|(_, len)| *len);
    let (log, len) = logs.pop().expect("a log");
    let mut bytes = std::fs::read(&log).expect("it can be read");
    bytes[len as usize / 2] ^= 1;
    std::fs::write(&log, bytes).expect("it can be written");
    let refused = RocksStore::open(&path, &options());
    assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    let report = repair(&path, StoreId(0x99)).expect("it can be repaired");
    assert_eq!(report.kept.last, Gcn(24));
    // Records or chunks, as RocksDB had got around to flushing them when the byte was damaged.
    assert!(!report.kept.damaged.is_empty());
    let store = RocksStore::open(&path, &options()).expect("it starts");
    assert!(report.kept.records > 0);
    assert_eq!(store.write(Batch { record: b"on".to_vec(), ..Batch::default() }), Ok(Gcn(25)));
}

#[test]
fn a_repair_without_the_list_of_files_keeps_what_the_tables_hold() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    let written = write_store(&path);
    std::fs::write(folder::database(&path).join("CURRENT"), b"nonsense\n").expect("written");
    let refused = RocksStore::open(&path, &options());
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    let report = repair(&path, StoreId(0x99)).expect("it can be repaired");
    let store = RocksStore::open(&path, &options()).expect("it starts");
    let mut records = Vec::new();
    store.records(&mut |gcn, record| records.push((gcn, record.to_vec()))).expect("whole");
    assert_eq!(records, written.records, "{report:?}");
    for (key, data) in &written.chunks {
        if let Ok(read) = store.read_chunk(key) {
            assert_eq!(read, data);
        }
    }
}

#[test]
fn a_repair_that_was_cut_short_is_finished_by_the_next() {
    let temp = TempFolder::new();
    let path = temp.join("s");
    let written = write_store(&path);
    repair(&path, StoreId(0x99)).expect("it can be repaired");
    // As if it had been killed after setting the damaged database aside.
    std::fs::rename(folder::database(&path), path.join("db.repaired")).expect("it is there");
    folder::set_identity(&path, options().new_id).expect("it can be written");
    let report = repair(&path, StoreId(0xaa)).expect("it can be finished");
    assert_eq!(report.id, StoreId(0x99));
    assert_eq!(read_all(&path, &written), Ok(()));
}
