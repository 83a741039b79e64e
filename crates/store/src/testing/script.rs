//! Random lives of a store: batches that keep the contract, syncs, restarts and crashes, after each of
//! which the store is compared with the model. Everything follows from the numbers in the steps.

use super::{Model, Subject};
use crate::{
    Batch, BodyId, BodyPut, BodyRef, ChunkIndex, ChunkKey, ChunkPut, Gcn, MessageStore, Slot,
};

/// One thing that happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A batch is written; the number decides what is in it.
    Write(u64),
    /// What was written is synced.
    Sync,
    /// The process ends and starts again.
    Restart,
    /// Power is lost; of what was not synced about so many percent have reached the disk.
    Crash(u8),
}

/// Lets the steps happen and checks the store after each.
///
/// # Panics
/// Where the store does not do what its contract says.
pub fn run(subject: &mut dyn Subject, steps: &[Step]) {
    let mut life = Life::new(subject);
    for step in steps {
        match step {
            Step::Write(seed) => life.write(subject, *seed),
            Step::Sync => {
                let upto = subject.sync();
                assert_eq!(upto, life.model().gcn, "a sync covers all that was written");
                life.durable = upto;
            }
            Step::Restart => {
                subject.restart();
                life.durable = life.model().gcn;
            }
            Step::Crash(kept_percent) => {
                subject.crash(*kept_percent);
                life.went_back(subject.store());
            }
        }
        life.model().assert_held_by(subject.store());
    }
}

/// What was written, and what must be held after each batch.
struct Life {
    batches: Vec<Batch>,
    models: Vec<Model>,
    durable: Gcn,
    slots: Vec<Slot>,
    handed_out: Vec<Slot>,
}

impl Life {
    fn new(subject: &mut dyn Subject) -> Self {
        let mut life = Self {
            batches: Vec::new(),
            models: vec![Model::default()],
            durable: Gcn(0),
            slots: Vec::new(),
            handed_out: Vec::new(),
        };
        (0..3).for_each(|_| life.new_slot(subject));
        life
    }

    fn model(&self) -> &Model {
        self.models.last().expect("there is a model of nothing")
    }

    fn new_slot(&mut self, subject: &mut dyn Subject) {
        let slot = subject.allocate_slot();
        assert!(!self.handed_out.contains(&slot), "slot {slot} was handed out before");
        self.handed_out.push(slot);
        self.slots.push(slot);
    }

    fn write(&mut self, subject: &mut dyn Subject, seed: u64) {
        let batch = self.batch(&mut Dice(seed));
        let gone = batch.dropped_slots.clone();
        let gcn = subject.store().write(batch.clone()).expect("a batch that keeps the contract");
        if batch.is_empty() {
            assert_eq!(gcn, self.model().gcn, "nothing is not written");
            return;
        }
        let mut model = self.model().clone();
        model.apply(&batch);
        assert_eq!(gcn, model.gcn, "numbers count up by one");
        self.models.push(model);
        self.batches.push(batch);
        self.slots.retain(|slot| !gone.contains(slot));
        gone.iter().for_each(|_| self.new_slot(subject));
    }

    /// After a crash: the store says how far it got, and must hold exactly that.
    fn went_back(&mut self, store: &dyn MessageStore) {
        let survived = store.figures().written;
        assert!(survived >= self.durable, "{survived} survived, {} was synced", self.durable);
        assert!(survived <= self.model().gcn, "what survived was never written");
        let n = usize::try_from(survived.0).expect("a small number");
        // What was lost leaves no trace: what it named counts as never named, except slots.
        self.models.truncate(n + 1);
        self.batches.truncate(n);
        self.durable = survived;
        let dropped: Vec<Slot> =
            self.batches.iter().flat_map(|batch| batch.dropped_slots.clone()).collect();
        self.slots = self.handed_out.clone();
        self.slots.retain(|slot| !dropped.contains(slot));
    }

    fn batch(&self, dice: &mut Dice) -> Batch {
        // Mostly small, some large enough to fill memory tables.
        let bound = if dice.below(4) == 0 { 30_000 } else { 200 };
        let mut batch = Batch { record: dice.bytes(bound), ..Batch::default() };
        for n in 0..dice.below(3) {
            batch.chunks.push(self.chunk(dice, n));
        }
        self.drop_some(dice, &mut batch);
        for _ in 0..dice.below(3) {
            batch.checkpoints.push((self.slot(dice), dice.bytes(100)));
        }
        self.share(dice, &mut batch);
        if dice.below(12) == 0 {
            batch.dropped_slots.push(self.slot(dice));
        }
        if dice.below(3) == 0 {
            batch.retire_upto = Some(Gcn(dice.below(self.model().gcn.0 + 1)));
        }
        batch
    }

    /// Positions repeat now and then, as they do when leftovers are written again; never in one batch.
    fn chunk(&self, dice: &mut Dice, n: u64) -> ChunkPut {
        let index = ChunkIndex {
            n: 1 + dice.below(9) as u32,
            end_seq: dice.next(),
            bytes: dice.next(),
            min_expiry: dice.next(),
            first_at: dice.next(),
            flags: dice.below(256) as u8,
        };
        let (slot, priority) = (self.slot(dice), dice.below(3) as u8 * 127);
        ChunkPut {
            slot,
            priority,
            first_seq: dice.below(20) * 4 + n,
            index,
            data: dice.bytes(9000),
        }
    }

    fn drop_some(&self, dice: &mut Dice, batch: &mut Batch) {
        let keys: Vec<ChunkKey> = self.model().chunks.keys().copied().collect();
        let from_the_head = dice.below(2) == 0;
        for (n, key) in keys.iter().enumerate() {
            let drop = if from_the_head { n < 2 } else { dice.below(4) == 0 };
            if drop {
                batch.dropped_chunks.push(*key);
            }
        }
    }

    fn share(&self, dice: &mut Dice, batch: &mut Batch) {
        let held = &self.model().refs;
        if dice.below(3) == 0 {
            let id = BodyId(dice.id());
            batch.bodies.push(BodyPut { id, data: dice.bytes(9000) });
            let first = dice.below(self.slots.len() as u64) as usize;
            let n = 1 + dice.below(self.slots.len() as u64) as usize;
            let holders = self.slots.iter().cycle().skip(first).take(n);
            batch.body_refs.extend(holders.map(|slot| BodyRef { id, slot: *slot }));
        }
        if let Some(id) = self.model().bodies.keys().nth(dice.below(4) as usize) {
            let new = BodyRef { id: *id, slot: self.slot(dice) };
            if !held.contains(&new) {
                batch.body_refs.push(new);
            }
        }
        let candidates = held.iter().chain(&batch.body_refs);
        let released = candidates.filter(|_| dice.below(3) == 0).copied().collect();
        batch.released_refs = released;
    }

    fn slot(&self, dice: &mut Dice) -> Slot {
        self.slots[dice.below(self.slots.len() as u64) as usize]
    }
}

/// Numbers that look random and follow from the first (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, bound: u64) -> Vec<u8> {
        let len = if self.below(4) == 0 { 0 } else { self.below(bound) };
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        id[8..].copy_from_slice(&self.next().to_be_bytes());
        id
    }
}
