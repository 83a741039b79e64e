//! Random crashes, cuts and restarts while numbers are published and taken: nothing that was confirmed is lost.

use std::collections::BTreeSet;

use leveret_engine::{QueueId, Settlement};
use rand::Rng;

use super::{led_again, mirrored, whole};
use crate::testing::{Publisher, World, drain, get};

/// How often something happens in one run.
const STEPS: usize = 150;

/// Bytes of records that are kept: few, so that checkpoints are made all the time.
const WINDOW: u64 = 2_048;

/// A run.
struct Run {
    world: World,
    queue: QueueId,
    /// The client that publishes, and where it is connected to.
    publisher: Option<(usize, Publisher)>,
    next: u32,
    confirmed: BTreeSet<u32>,
    taken: BTreeSet<u32>,
}

/// What came of it.
struct Outcome {
    history: Vec<String>,
    confirmed: BTreeSet<u32>,
    taken: BTreeSet<u32>,
    left: Vec<u32>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (world, queue) = mirrored(seed);
        let (confirmed, taken) = (BTreeSet::new(), BTreeSet::new());
        let run = Self { world, queue, publisher: None, next: 0, confirmed, taken };
        (0..3).for_each(|machine| run.narrow(machine));
        run
    }

    fn narrow(&self, machine: usize) {
        if let Some(node) = self.world.node(machine) {
            node.set_window(WINDOW);
        }
    }

    fn listen(&mut self) {
        if let Some((_, publisher)) = &mut self.publisher {
            let taken = publisher.answers().into_iter().filter(|(_, taken)| *taken);
            self.confirmed.extend(taken.map(|(number, _)| number));
        }
    }

    fn step(&mut self) {
        self.listen();
        let leader = self.world.leader(self.queue);
        if self.publisher.as_ref().is_none_or(|(to, _)| Some(*to) != leader) {
            self.publisher = leader.map(|to| (to, Publisher::connect(&self.world, to, self.queue)));
        }
        let dice = self.world.random.random_range(0..100);
        let some = self.world.random.random_range(0..3);
        let next = (some + 1) % 3;
        match dice {
            0..55 => self.publish(),
            55..75 => {
                let ack = Some(Settlement::Ack);
                let got = leader.and_then(|of| get(&mut self.world, of, self.queue, ack));
                self.taken.extend(got.map(|(number, _)| number));
            }
            75..79 => {
                if (0..3).all(|of| self.world.node(of).is_some()) {
                    let kept = self.world.random.random_range(0..3);
                    self.listen();
                    self.world.crash(some, kept);
                    self.publisher = self.publisher.take().filter(|(to, _)| *to != some);
                }
            }
            79..87 => {
                self.world.start(some);
                self.narrow(some);
            }
            87..91 => self.world.cut(some, next),
            91..98 => self.world.mend(some, next),
            _ => {
                let away = self.world.random.random_bool(0.5);
                self.world.set_away(some, away);
            }
        }
        let long = self.world.random.random_ratio(1, 12);
        let pause = self.world.random.random_range(0..200);
        self.world.run_for(if long { 4_000 } else { pause });
    }

    fn publish(&mut self) {
        let n = self.world.random.random_range(1..6);
        if let Some((_, publisher)) = &mut self.publisher {
            publisher.publish(&mut self.world, self.next..self.next + n);
            self.next += n;
        }
    }

    fn end(mut self) -> Outcome {
        self.listen();
        for machine in 0..3 {
            self.world.mend(machine, (machine + 1) % 3);
            self.world.set_away(machine, false);
            self.world.start(machine);
        }
        let Self { mut world, queue, mut confirmed, taken, .. } = self;
        whole(&mut world, queue);
        if let Some((_, mut publisher)) = self.publisher {
            let taken = publisher.answers().into_iter().filter(|(_, taken)| *taken);
            confirmed.extend(taken.map(|(number, _)| number));
        }
        // Another copy must have the same.
        let leader = led_again(&mut world, queue);
        world.crash(leader, 0);
        led_again(&mut world, queue);
        let left = drain(&mut world, queue);
        Outcome { history: world.history, confirmed, taken, left }
    }
}

fn run(seed: u64) -> Outcome {
    let mut run = Run::new(seed);
    (0..STEPS).for_each(|_| run.step());
    run.end()
}

#[test]
fn nothing_that_was_confirmed_is_lost() {
    let seeds = std::env::var("LEVERET_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let first = std::env::var("LEVERET_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    for seed in first..first + seeds {
        let Outcome { history, confirmed, taken, left } = run(seed);
        let here: BTreeSet<_> = left.iter().copied().collect();
        let lost: Vec<_> =
            confirmed.iter().filter(|n| !here.contains(n) && !taken.contains(n)).collect();
        assert!(lost.is_empty(), "seed {seed} lost {lost:?}\n{}", history.join("\n"));
        assert_eq!(here.len(), left.len(), "seed {seed}: twice in the queue");
        assert!(left.is_sorted(), "seed {seed}: out of order");
        assert!(confirmed.len() > 20, "seed {seed} confirmed {}", confirmed.len());
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let (one, other) = (run(7), run(7));
    assert_eq!(one.history, other.history);
    assert_eq!((one.confirmed, one.taken, one.left), (other.confirmed, other.taken, other.left));
}
