//! The twin passes the suite, and every prefix of what was not synced is a state a crash can leave.

use proptest::prelude::*;

use super::MemoryStore;
use crate::testing::{Model, Step, Subject, conformance, run};
use crate::{
    Batch, ChunkIndex, ChunkPut, Gcn, MessageStore, Place, ReadError, Slot, StoreError, StoreId,
};

struct Twin(MemoryStore);

impl Subject for Twin {
    fn store(&self) -> &dyn MessageStore {
        &self.0
    }

    fn sync(&mut self) -> Gcn {
        self.0.sync().expect("memory does not fail")
    }

    fn allocate_slot(&mut self) -> Slot {
        self.0.allocate_slot().expect("memory does not fail")
    }

    fn restart(&mut self) {
        self.0 = self.0.crash(usize::MAX);
    }

    fn crash(&mut self, kept_percent: u8) {
        self.0 = self.0.crash(self.0.unsynced() * usize::from(kept_percent) / 100);
    }
}

fn twin() -> Twin {
    Twin(MemoryStore::new(StoreId(42)))
}

#[test]
fn the_memory_store_keeps_the_contract() {
    conformance(&mut || Box::new(twin()));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u64>().prop_map(Step::Write),
        2 => Just(Step::Sync),
        1 => Just(Step::Restart),
        1 => (0..=100u8).prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn random_lives_of_the_memory_store(steps in prop::collection::vec(step(), 1..40)) {
        run(&mut twin(), &steps);
    }
}

#[test]
fn a_crash_can_leave_every_prefix_of_what_was_not_synced() {
    let store = MemoryStore::new(StoreId(1));
    let slot = store.allocate_slot().expect("a slot");
    let mut models = vec![Model::default()];
    for n in 0..30u64 {
        let chunk = ChunkPut {
            slot,
            priority: 0,
            first_seq: n,
            index: ChunkIndex::default(),
            data: vec![n as u8; 10],
        };
        let batch = Batch {
            record: vec![n as u8; n as usize],
            chunks: vec![chunk],
            checkpoints: vec![(slot, n.to_be_bytes().to_vec())],
            retire_upto: (n % 5 == 4).then(|| Gcn(n - 2)),
            ..Batch::default()
        };
        let mut model = models.last().expect("one").clone();
        model.apply(&batch);
        models.push(model);
        store.write(batch).expect("written");
        if n == 9 {
            store.sync().expect("synced");
        }
    }
    for kept in 0..=store.unsynced() {
        models[10 + kept].assert_held_by(&store.crash(kept));
    }
    models[30].assert_held_by(&store);
}

#[test]
fn damage_is_told_and_stays_over_a_crash() {
    let store = MemoryStore::new(StoreId(1));
    let slot = store.allocate_slot().expect("a slot");
    let chunk = ChunkPut {
        slot,
        priority: 3,
        first_seq: 5,
        index: ChunkIndex::default(),
        data: b"data".to_vec(),
    };
    let key = chunk.key(Gcn(1));
    let batch = Batch {
        record: b"ops".to_vec(),
        chunks: vec![chunk],
        checkpoints: vec![(slot, b"state".to_vec())],
        ..Batch::default()
    };
    store.write(batch).expect("written");
    for place in
        [Place::Record(Gcn(1)), Place::Chunk(key), Place::ChunkIndex(key), Place::Checkpoint(slot)]
    {
        assert!(store.damage(place), "{place}");
    }
    for store in [store.crash(1), store] {
        let damaged = |error: ReadError| matches!(error, ReadError::Damaged { .. });
        assert!(store.read_chunk(&key).is_err_and(damaged));
        assert!(store.read_record(Gcn(1)).is_err_and(damaged));
        let whole = |error: StoreError| matches!(error, StoreError::Damaged { .. });
        assert!(store.records(&mut |_, _| {}).is_err_and(whole));
        assert!(store.checkpoints(&mut |_, _| {}).is_err_and(whole));
        assert!(store.chunk_indexes(slot, &mut |_, _| {}).is_err_and(whole));
    }
}
