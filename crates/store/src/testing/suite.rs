//! The conformance suite: each rule of the contract as a scenario. An implementation passes all of them.

use super::{Model, Step, Subject, run};
use crate::{
    Batch, BodyId, BodyPut, BodyRef, ChunkIndex, ChunkKey, ChunkPut, Gcn, MessageStore, Place,
    ReadError, SLOT_STEP, Slot, StoreError,
};

/// Runs every scenario, each with a new store from `new`.
///
/// # Panics
/// Where the store does not do what its contract says.
pub fn conformance(new: &mut dyn FnMut() -> Box<dyn Subject>) {
    let scenarios: [fn(&mut dyn Subject); 12] = [
        numbers_count_up_over_restarts,
        slots_are_never_handed_out_twice,
        what_is_written_is_visible_before_it_is_synced,
        a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest,
        retired_records_are_gone_and_the_last_number_stays,
        chunks_come_by_priority_then_position,
        a_chunk_written_again_at_its_position_is_another_one,
        a_dropped_slot_takes_everything_with_it,
        a_body_goes_with_its_last_reference,
        what_a_batch_adds_and_drops_at_once_is_gone,
        a_batch_that_breaks_the_contract_changes_nothing,
        a_long_random_life,
    ];
    for scenario in scenarios {
        scenario(&mut *new());
    }
}

fn record(bytes: &[u8]) -> Batch {
    Batch { record: bytes.to_vec(), ..Batch::default() }
}

fn chunk(slot: Slot, priority: u8, first_seq: u64, data: &[u8]) -> ChunkPut {
    let index = ChunkIndex { n: 1, end_seq: first_seq + 1, ..ChunkIndex::default() };
    ChunkPut { slot, priority, first_seq, index, data: data.to_vec() }
}

fn chunks(chunks: Vec<ChunkPut>) -> Batch {
    Batch { chunks, ..Batch::default() }
}

fn indexes(store: &dyn MessageStore, slot: Slot) -> Vec<ChunkKey> {
    let mut keys = Vec::new();
    store.chunk_indexes(slot, &mut |key, _| keys.push(key)).expect("indexes can be read");
    keys
}

fn write(store: &dyn MessageStore, model: &mut Model, batch: Batch) -> Gcn {
    model.apply(&batch);
    let gcn = store.write(batch).expect("a good batch");
    model.assert_held_by(store);
    gcn
}

fn numbers_count_up_over_restarts(subject: &mut dyn Subject) {
    assert_eq!(subject.sync(), Gcn(0), "a new store has written nothing");
    assert_eq!(subject.store().write(Batch::default()), Ok(Gcn(0)), "nothing is not written");
    assert_eq!(subject.store().write(record(b"a")), Ok(Gcn(1)));
    assert_eq!(subject.store().write(record(b"b")), Ok(Gcn(2)));
    assert_eq!(subject.sync(), Gcn(2));
    let id = subject.store().id();
    subject.restart();
    assert_eq!(subject.store().id(), id, "the identity stays");
    assert_eq!(subject.store().figures().durable, Gcn(2));
    assert_eq!(subject.store().write(record(b"c")), Ok(Gcn(3)));
    let retire = Batch { retire_upto: Some(Gcn(3)), ..Batch::default() };
    assert_eq!(subject.store().write(retire), Ok(Gcn(4)), "a batch without a record counts too");
    subject.restart();
    assert_eq!(subject.store().write(record(b"d")), Ok(Gcn(5)), "also when all is retired");
}

fn slots_are_never_handed_out_twice(subject: &mut dyn Subject) {
    let mut last = None;
    for round in 0..6 {
        for _ in 0..SLOT_STEP / 2 + round {
            let slot = subject.allocate_slot();
            assert!(last.is_none_or(|last| slot > last), "{slot} after {last:?}");
            last = Some(slot);
        }
        if round % 2 == 0 { subject.crash(0) } else { subject.restart() }
    }
}

fn what_is_written_is_visible_before_it_is_synced(subject: &mut dyn Subject) {
    let slot = subject.allocate_slot();
    let store = subject.store();
    let mut model = Model::default();
    let mut batch = chunks(vec![chunk(slot, 0, 0, &[7; 70_000])]);
    batch.record = b"ops".to_vec();
    batch.checkpoints = vec![(slot, b"old".to_vec()), (slot, b"new".to_vec())];
    let gcn = write(store, &mut model, batch);
    let figures = store.figures();
    assert_eq!((figures.written, figures.durable), (gcn, Gcn(0)));
    assert_eq!((figures.writes, figures.sync_micros.count()), (1, 0));
    assert_eq!(subject.sync(), gcn);
    assert_eq!(subject.store().figures().sync_micros.count(), 1);
}

fn a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest(subject: &mut dyn Subject) {
    for kept_percent in [0, 30, 70, 100] {
        let synced = subject.store().write(record(b"synced")).expect("written");
        assert_eq!(subject.sync(), synced);
        for n in 0..9u8 {
            subject.store().write(record(&[n; 3000])).expect("written");
        }
        subject.crash(kept_percent);
        let store = subject.store();
        let survived = store.figures().written;
        assert!((synced.0..=synced.0 + 9).contains(&survived.0), "{survived} survived");
        if kept_percent == 100 {
            assert_eq!(survived.0, synced.0 + 9, "all of it reached the disk");
        }
        for gcn in synced.0 + 1..=synced.0 + 9 {
            let there = store.read_record(Gcn(gcn)).expect("it can be read").is_some();
            assert_eq!(there, gcn <= survived.0, "record {gcn}, {survived} survived");
        }
        assert_eq!(store.figures().durable, survived, "what survived is durable");
    }
}

fn retired_records_are_gone_and_the_last_number_stays(subject: &mut dyn Subject) {
    let mut model = Model::default();
    for n in 0..20 {
        write(subject.store(), &mut model, record(&[n; 10]));
    }
    let retire = |upto| Batch { retire_upto: Some(Gcn(upto)), ..Batch::default() };
    write(subject.store(), &mut model, retire(0));
    write(subject.store(), &mut model, retire(7));
    write(subject.store(), &mut model, retire(5));
    subject.restart();
    model.assert_held_by(subject.store());
    write(subject.store(), &mut model, retire(23));
    subject.restart();
    model.assert_held_by(subject.store());
    assert_eq!(subject.store().figures().window_records, 1);
}

fn chunks_come_by_priority_then_position(subject: &mut dyn Subject) {
    let mut model = Model::default();
    let [a, b, c] = [(); 3].map(|()| subject.allocate_slot());
    let mut all = Vec::new();
    for slot in [a, b, c] {
        for (priority, first_seq) in [(0, 5), (255, 9), (7, 0), (0, 4), (7, u64::MAX)] {
            let index = ChunkIndex { end_seq: u64::MAX, ..ChunkIndex::default() };
            all.push(ChunkPut { slot, priority, first_seq, index, data: vec![1] });
        }
    }
    let gcn = write(subject.store(), &mut model, chunks(all));
    let key = |priority, first_seq| ChunkKey { slot: b, priority, first_seq, gcn };
    let expected = [key(255, 9), key(7, 0), key(7, u64::MAX), key(0, 4), key(0, 5)];
    assert_eq!(indexes(subject.store(), b), expected);
    subject.restart();
    assert_eq!(indexes(subject.store(), b), expected);
}

fn a_chunk_written_again_at_its_position_is_another_one(subject: &mut dyn Subject) {
    let mut model = Model::default();
    let slot = subject.allocate_slot();
    let first = write(subject.store(), &mut model, chunks(vec![chunk(slot, 0, 8, b"first")]));
    let old = ChunkKey { slot, priority: 0, first_seq: 8, gcn: first };
    let mut again = chunks(vec![chunk(slot, 0, 8, b"second")]);
    again.dropped_chunks = vec![old];
    let second = write(subject.store(), &mut model, again);
    let new = ChunkKey { gcn: second, ..old };
    assert_eq!(indexes(subject.store(), slot), [new]);
    let missing = ReadError::Missing { place: Place::Chunk(old) };
    assert_eq!(subject.store().read_chunk(&old), Err(missing));
    subject.restart();
    model.assert_held_by(subject.store());
}

fn a_dropped_slot_takes_everything_with_it(subject: &mut dyn Subject) {
    // Few chunks and many, which may be removed in another way.
    for n in [3, 600] {
        let [gone, kept] = [(); 2].map(|()| subject.allocate_slot());
        let of = |slot| (0..n).map(move |seq| chunk(slot, (seq % 2) as u8, seq, b"data"));
        let id = BodyId([n as u8; 16]);
        let batch = Batch {
            chunks: of(gone).chain(of(kept)).collect(),
            checkpoints: vec![(gone, b"state".to_vec()), (kept, b"state".to_vec())],
            bodies: vec![BodyPut { id, data: vec![3; 5000] }],
            body_refs: vec![BodyRef { id, slot: gone }],
            ..Batch::default()
        };
        subject.store().write(batch).expect("written");
        let drop = Batch { dropped_slots: vec![gone], ..Batch::default() };
        subject.store().write(drop).expect("written");
        for reopened in [false, true] {
            if reopened {
                subject.restart();
            }
            let store = subject.store();
            assert!(indexes(store, gone).is_empty());
            assert_eq!(indexes(store, kept).len() as u64, n);
            assert!(matches!(store.read_body(&id), Err(ReadError::Missing { .. })));
            let mut slots = Vec::new();
            store.checkpoints(&mut |slot, _| slots.push(slot)).expect("they can be read");
            assert_eq!(slots, [kept]);
        }
        let drop = Batch { dropped_slots: vec![kept], ..Batch::default() };
        subject.store().write(drop).expect("written");
        assert_eq!(subject.store().figures().chunks, 0);
    }
}

fn a_body_goes_with_its_last_reference(subject: &mut dyn Subject) {
    let mut model = Model::default();
    let slots = [(); 3].map(|()| subject.allocate_slot());
    let id = BodyId(*b"a shared body...");
    let held = slots.map(|slot| BodyRef { id, slot });
    let put = Batch {
        bodies: vec![BodyPut { id, data: vec![9; 20_000] }],
        body_refs: held[..2].to_vec(),
        ..Batch::default()
    };
    write(subject.store(), &mut model, put);
    let release = |refs: &[BodyRef]| Batch { released_refs: refs.to_vec(), ..Batch::default() };
    write(subject.store(), &mut model, release(&held[..1]));
    // One comes as the last of the others goes.
    let mut pass_on = release(&held[1..2]);
    pass_on.body_refs = vec![held[2]];
    write(subject.store(), &mut model, pass_on);
    subject.restart();
    model.assert_held_by(subject.store());
    write(subject.store(), &mut model, release(&held[2..]));
    assert!(matches!(subject.store().read_body(&id), Err(ReadError::Missing { .. })));
}

fn what_a_batch_adds_and_drops_at_once_is_gone(subject: &mut dyn Subject) {
    let mut model = Model::default();
    let slot = subject.allocate_slot();
    let id = BodyId([5; 16]);
    let batch = Batch {
        record: b"ops".to_vec(),
        chunks: vec![chunk(slot, 0, 0, b"data")],
        checkpoints: vec![(slot, b"state".to_vec())],
        bodies: vec![BodyPut { id, data: vec![1; 100] }],
        body_refs: vec![BodyRef { id, slot }],
        dropped_slots: vec![slot],
        ..Batch::default()
    };
    write(subject.store(), &mut model, batch);
    subject.restart();
    model.assert_held_by(subject.store());
}

fn a_batch_that_breaks_the_contract_changes_nothing(subject: &mut dyn Subject) {
    let mut model = Model::default();
    let slot = subject.allocate_slot();
    let gcn = write(subject.store(), &mut model, chunks(vec![chunk(slot, 0, 0, b"data")]));
    let key = ChunkKey { slot, priority: 0, first_seq: 0, gcn };
    let body_ref = BodyRef { id: BodyId([1; 16]), slot };
    let body = BodyPut { id: body_ref.id, data: Vec::new() };
    let bad = [
        Batch { retire_upto: Some(gcn.next()), ..record(b"x") },
        chunks(vec![chunk(slot, 0, 7, b"a"), chunk(slot, 0, 7, b"b")]),
        Batch { dropped_chunks: vec![key, key], ..record(b"x") },
        Batch { dropped_chunks: vec![ChunkKey { gcn: gcn.next(), ..key }], ..record(b"x") },
        Batch { bodies: vec![body], ..record(b"x") },
        Batch { body_refs: vec![body_ref, body_ref], ..record(b"x") },
        Batch { released_refs: vec![body_ref, body_ref], ..record(b"x") },
    ];
    for batch in bad {
        let refused = subject.store().write(batch.clone());
        assert!(matches!(refused, Err(StoreError::Misuse(_))), "{batch:?}: {refused:?}");
        model.assert_held_by(subject.store());
    }
    write(subject.store(), &mut model, record(b"it goes on"));
}

fn a_long_random_life(subject: &mut dyn Subject) {
    let step = |n: u64| match n % 23 {
        7 | 13 => Step::Sync,
        17 => Step::Restart,
        20 => Step::Crash((n % 101) as u8),
        _ => Step::Write(n),
    };
    let steps: Vec<Step> = (1..150).map(step).collect();
    run(subject, &steps);
}
