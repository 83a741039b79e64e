//! The simulator: nodes of a cluster in one thread, from one seed. Time is virtual, the network delays and loses, disks
//! lose what was not synced or everything, processes end and hang, clocks drift. Publishers publish and resend, consumers ack,
//! and a checker watches. Afterwards everything is healed and has to come to rest.
//!
//! The copies, the agreed state, leases, the controller and sessions are the real ones; agreement itself is modelled as one
//! list of commands that a majority can reach. The same seed is the same run, event for event.

mod agreement;
mod checker;
mod clients;
mod content;
mod disk;
mod faults;
mod network;
mod process;
mod world;

use super::super::bugs::Bug;
use checker::Figures;
use world::{Ended, Setting, run};

/// Runs seeds with the real rules.
fn seeds(from: u64, n: u64) {
    let mut all = Figures::default();
    for seed in from..from + n {
        let Ended { violation, figures, story, .. } = run(Setting::of(seed, None));
        assert!(violation.is_none(), "seed {seed}: {}\n{story}", violation.unwrap());
        all.add(figures);
    }
    // A run in which nothing happens proves nothing.
    let n = usize::try_from(n).unwrap();
    let Figures { confirmed, epochs, copies, lost_disks, redelivered, .. } = all;
    assert!(confirmed > 50 * n && epochs > 2 * n && redelivered > n, "{all:?}");
    assert!(copies > n / 20 && lost_disks > n / 20, "{all:?}");
    eprintln!("{n} seeds: {all:?}");
}

#[test]
fn what_was_confirmed_is_delivered_whatever_fails() {
    seeds(count("LEVERET_SIMULATION_FROM", 0), count("LEVERET_SIMULATION_SEEDS", 200));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 4] {
        let (once, again) = (run(Setting::of(seed, None)), run(Setting::of(seed, None)));
        assert_eq!(once.history, again.history);
        assert_ne!(once.history, run(Setting::of(seed + 10, None)).history);
    }
}

/// How many seeds; more for a long run by hand.
fn count(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The seed and the violation at which a bug is found; `hint` is where it was found last.
fn find(bug: Bug, hint: u64, seeds_max: u64) -> Option<(u64, String)> {
    std::iter::once(hint).chain(0..seeds_max).find_map(|seed| {
        let ended = run(Setting::of(seed, Some(bug)));
        ended.violation.map(|violation| (seed, violation))
    })
}

/// Those of the rules that need a rarer coincidence are schedules and walks of the model.
#[test]
fn planted_bugs_are_found() {
    use Bug as B;
    let bugs = [
        (B::AcceptsGaps, 12),
        (B::AcceptsLowerEpochs, 199),
        (B::AcksBeforeSynced, 10),
        (B::AppendsResentPublishes, 0),
        (B::ConfirmsAlone, 4),
        (B::DeliversWithoutLease, 77),
        (B::ElectsAnybody, 16),
        (B::IgnoresAdditions, 81),
        (B::JoinsIncomplete, 68),
        (B::JoinsUnconditionally, 10),
        (B::LeadsAfterRestart, 1),
        (B::LosesSessions, 474),
        (B::ShrinksBeforeAgreed, 7),
        (B::SkipsLogMatching, 2),
        (B::TrustsNewDisk, 120),
    ];
    let seeds_max = count("LEVERET_SIMULATION_BUG_SEEDS", 500);
    for (bug, hint) in bugs {
        let found = find(bug, hint, seeds_max);
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        eprintln!("{bug:?}: seed {seed}: {violation}");
    }
}
