//! Searches through what can happen: all of it in the order of its length, or at random.

use super::world::{Action, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{HashSet, VecDeque};
use std::fmt::Write;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// What may happen how often.
pub(super) struct Bounds {
    pub(super) values: u8,
    pub(super) epochs: u8,
    pub(super) crashes: u8,
    pub(super) wipes: u8,
    pub(super) fences: u8,
    pub(super) alters: u8,
    /// How many packets may be on their way; what is sent beyond that is lost.
    pub(super) packets: usize,
}

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The way to a violation, and what it is.
    pub(super) violation: Option<String>,
    /// States that were seen, or walks that were gone.
    pub(super) states: usize,
    /// Those with something committed.
    pub(super) with_commit: usize,
    /// Those with another leader than the first.
    pub(super) with_failover: usize,
}

impl Found {
    fn count(&mut self, world: &World) {
        self.states += 1;
        self.with_commit += usize::from(world.has_commit());
        self.with_failover += usize::from(world.has_failover());
    }
}

fn tell(error: &str, way: impl IntoIterator<Item = Action>) -> String {
    let mut text = format!("{error}\n");
    for action in way {
        let _ = writeln!(text, "    A::{action:?},");
    }
    text
}

/// Looks at everything that can happen, the shortest ways first, until `states_max` different states were seen.
pub(super) fn breadth_first(start: World, bounds: &Bounds, states_max: usize) -> Found {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut found = Found::default();
    let (mut seen, mut queue) = (HashSet::new(), VecDeque::new());
    // For each state that was taken up: the one before, and what led here.
    let mut parents: Vec<(usize, Option<Action>)> = vec![(0, None)];
    seen.insert(hasher.hash_one(&start));
    queue.push_back((start, 0));
    while let Some((world, me)) = queue.pop_front() {
        found.count(&world);
        for action in world.actions(bounds) {
            match world.after(action, bounds) {
                Err(error) => {
                    let (mut way, mut at) = (vec![action], me);
                    while let (before, Some(action)) = parents[at] {
                        way.push(action);
                        at = before;
                    }
                    found.violation = Some(tell(&error, way.into_iter().rev()));
                    return found;
                }
                Ok(next) if seen.insert(hasher.hash_one(&next)) => {
                    parents.push((me, Some(action)));
                    queue.push_back((next, parents.len() - 1));
                }
                Ok(_) => {}
            }
        }
        if found.states >= states_max {
            break;
        }
    }
    found
}

/// Goes `walks` ways of at most `steps` steps.
pub(super) fn random_walks(
    start: &World,
    bounds: &Bounds,
    seed: u64,
    walks: usize,
    steps: usize,
) -> Found {
    let mut random = StdRng::seed_from_u64(seed);
    let mut found = Found::default();
    for _ in 0..walks {
        let (mut world, mut way) = (start.clone(), Vec::new());
        for _ in 0..steps {
            let actions = world.actions(bounds);
            let Some(action) = choose(&actions, &mut random) else { break };
            way.push(action);
            match world.after(action, bounds) {
                Ok(next) => world = next,
                Err(error) => {
                    found.violation = Some(tell(&error, way));
                    return found;
                }
            }
        }
        found.count(&world);
    }
    found
}

fn choose(actions: &[Action], random: &mut StdRng) -> Option<Action> {
    let total: u64 = actions.iter().map(|action| action.weight()).sum();
    let mut at = random.random_range(0..total.max(1));
    actions.iter().copied().find(|action| {
        let here = at < action.weight();
        at = at.saturating_sub(action.weight());
        here
    })
}
