//! A paged queue whose chunks come back late and in any order: one consumer still gets everything
//! once, in order, and the counts are right all the time.

use super::disk::Disk;
use super::support::{Draft, batch, queue, spec};
use crate::ids::{ConsumerId, Seq, SeqRange};
use crate::queue::Queue;
use crate::queue::checkpoint::ChunkId;
use crate::queue::effects::{Budget, Effects};
use crate::queue::ops::{Keep, Log, OpIndex, Shown};
use crate::queue::settle::{Settle, Settlement};
use crate::settings::QueueSettings;
use crate::time::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp(5);

#[derive(Clone, Debug)]
enum Step {
    Publish(u64, usize),
    PageOut(usize),
    Seal,
    Take(u32),
    /// Of what is unacknowledged: from where, how many.
    Settle(usize, usize, Settlement),
    /// One of the loads that were asked for.
    Load(usize),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![2 => 8usize..100, 1 => Just(30_000usize)];
    let how = prop_oneof![3 => Just(Settlement::Ack), 2 => Just(Settlement::Requeue), 1 => Just(Settlement::Reject)];
    prop_oneof![
        6 => (1u64..30, len).prop_map(|(n, len)| Step::Publish(n, len)),
        4 => prop_oneof![Just(usize::MAX), 0usize..200_000].prop_map(Step::PageOut),
        6 => Just(Step::Seal),
        6 => (1u32..40).prop_map(Step::Take),
        6 => (0usize..50, 1usize..20, how).prop_map(|(from, n, how)| Step::Settle(from, n, how)),
        8 => (0usize..9).prop_map(Step::Load),
        1 => Just(Step::Purge),
    ]
}

struct Harness {
    queue: Queue,
    disk: Disk,
    fx: Effects,
    asked: Vec<ChunkId>,
    /// Positions that are ready.
    ready: BTreeSet<u64>,
    /// Positions that were taken.
    taken: BTreeSet<u64>,
    /// Rejected and not gone yet.
    waiting: BTreeSet<u64>,
    n_dead: usize,
    n_rejected: usize,
    next: u64,
}

impl Harness {
    fn new() -> Self {
        let settings = QueueSettings {
            durable: true,
            dead_letter: super::support::dead_letter(),
            ..QueueSettings::default()
        };
        let mut harness = Self {
            queue: queue(settings),
            disk: Disk::default(),
            fx: Effects::default(),
            asked: Vec::new(),
            ready: BTreeSet::new(),
            taken: BTreeSet::new(),
            waiting: BTreeSet::new(),
            n_dead: 0,
            n_rejected: 0,
            next: 0,
        };
        let log = Log::Kept { next: OpIndex(1), keep: Keep::Persistent, shown: Shown::AtOnce };
        harness.queue.set_log(log, NOW, &mut harness.fx);
        harness.queue.consume(spec(1), NOW, &mut harness.fx).unwrap();
        harness
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(n, len) => {
                let ids = self.next + 1..self.next + 1 + n;
                let drafts: Vec<_> =
                    ids.map(|id| Draft { id, len: *len, ..Draft::default() }).collect();
                self.queue.publish(batch(&drafts), NOW, &mut self.fx);
                self.ready.extend(self.next..self.next + n);
                self.next += n;
            }
            Step::PageOut(bytes) => {
                let checkpoint = self.queue.page_out(*bytes).checkpoint;
                checkpoint.into_iter().for_each(|checkpoint| self.disk.checkpoint(checkpoint));
            }
            Step::Seal => {
                let (numbers, gcn) = self.disk.seal();
                numbers.into_iter().for_each(|n| self.queue.checkpoint_stored(n, gcn));
            }
            Step::Take(records) => self.take(*records),
            Step::Settle(from, n, how) => {
                let chosen: Vec<u64> = self.taken.iter().copied().skip(*from).take(*n).collect();
                self.settle(&chosen, *how);
            }
            Step::Load(which) => self.load(*which),
            Step::Purge => {
                // What is assigned to the consumer is not ready any more.
                let assigned = self.queue.assigned();
                self.ready.retain(|at| assigned.iter().any(|(_, range)| range.contains(at)));
                self.queue.purge(&mut self.fx);
            }
        }
        self.asked.append(&mut self.fx.loads);
        self.disk.emitted(&mut self.fx.ops);
        let asked: BTreeSet<_> = self.asked.iter().collect();
        assert_eq!(asked.len(), self.asked.len(), "asked for twice");
        self.n_dead += self.fx.dead_letters.drain(..).map(|dead| dead.n as usize).sum::<usize>();
        self.check();
    }

    fn take(&mut self, records: u32) {
        let mut out = Vec::new();
        let budget = Budget { records, bytes: u32::MAX };
        self.queue.take(ConsumerId(1), budget, NOW, &mut out, &mut self.fx);
        for delivery in out {
            for n in 0..delivery.n {
                let at = delivery.first_seq.index() + u64::from(n);
                let body = delivery.block.record(delivery.first + n).body().bytes();
                assert_eq!(body[..8], (at + 1).to_le_bytes(), "another message");
                assert!(self.ready.remove(&at), "delivered twice");
                self.taken.insert(at);
            }
        }
    }

    fn settle(&mut self, chosen: &[u64], how: Settlement) {
        let settle = |at: &u64| Settle {
            consumer: Some(ConsumerId(1)),
            range: SeqRange { first: Seq(*at), n: 1 },
            how,
        };
        let settles: Vec<_> = chosen.iter().map(settle).collect();
        self.queue.settle(&settles, NOW, &mut self.fx);
        self.taken.retain(|at| !chosen.contains(at));
        match how {
            Settlement::Requeue => self.ready.extend(chosen),
            Settlement::Reject => {
                self.waiting.extend(chosen);
                self.n_rejected += chosen.len();
            }
            _ => {}
        }
    }

    fn load(&mut self, which: usize) {
        if self.asked.is_empty() {
            return;
        }
        let id = self.asked.remove(which % self.asked.len());
        // A chunk of which nothing is left may have been removed meanwhile.
        let data = self.disk.chunks.get(&id).map(|(_, data)| data.clone());
        assert!(self.queue.loaded(id, data.as_ref(), NOW, &mut self.fx));
    }

    fn check(&mut self) {
        let live: BTreeSet<u64> = self
            .queue
            .levels
            .iter()
            .flat_map(|level| level.live_ranges().iter().flatten().collect::<Vec<_>>())
            .collect();
        self.waiting.retain(|at| live.contains(at));
        let expected: BTreeSet<u64> = &(&self.ready | &self.taken) | &self.waiting;
        assert_eq!(live, expected);
        let counts = self.queue.counts();
        let assigned: u64 =
            self.queue.assigned().iter().map(|(_, range)| range.end - range.start).sum();
        assert_eq!(counts.ready + assigned, self.ready.len() as u64);
        assert_eq!(counts.unacked - assigned, (self.taken.len() + self.waiting.len()) as u64);
        assert_eq!(self.n_dead + self.waiting.len(), self.n_rejected);
        for level in &self.queue.levels {
            assert_eq!(level.has_away(), level.slots().any(|slot| slot.is_away()));
        }
        if live.is_empty() {
            assert_eq!((counts.ready_bytes, counts.unacked_bytes), (0, 0));
        }
    }

    fn drain(&mut self) {
        for _ in 0..1000 {
            self.step(&Step::Seal);
            self.step(&Step::Take(u32::MAX));
            let all: Vec<u64> = self.taken.iter().copied().collect();
            self.settle(&all, Settlement::Ack);
            self.step(&Step::Load(0));
            if self.ready.is_empty() && self.taken.is_empty() && self.waiting.is_empty() {
                return;
            }
        }
        panic!("something was left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn late_chunks_lose_nothing_and_repeat_nothing(steps in prop::collection::vec(step(), 1..80)) {
        let mut harness = Harness::new();
        steps.iter().for_each(|step| harness.step(step));
        harness.drain();
    }
}
