//! The model of the protocol: three nodes, one queue, the real state machines, and everything that can go wrong between
//! them in any order. A search goes through what can happen and looks for a committed entry that is lost.
//!
//! A search that finds nothing proves nothing unless it finds bugs: each rule is broken once (`Bug`, M1 to M14), and a
//! violation has to turn up. Seeds are fixed; a violation prints the way to it. What a walk rarely finds, a schedule does.

mod search;
mod world;

use super::super::bugs::Bug;
use search::{Bounds, Found, breadth_first, random_walks};
use world::{Action, World};

/// What may happen how often.
const SMALL: Bounds =
    Bounds { values: 1, epochs: 2, crashes: 1, wipes: 1, fences: 1, alters: 1, packets: 1 };

const LARGE: Bounds =
    Bounds { values: 2, epochs: 3, crashes: 3, wipes: 1, fences: 3, alters: 3, packets: 3 };

#[test]
fn no_order_of_events_loses_a_committed_entry() {
    let found = breadth_first(World::new(2, None), &SMALL, 30_000);
    assert!(found.violation.is_none(), "{}", found.violation.unwrap());
    assert!(found.states >= 30_000 && found.with_commit > 1_000, "{found:?}");
}

#[test]
fn no_random_walk_loses_a_committed_entry() {
    for in_sync in [2, 3] {
        let found = random_walks(&World::new(in_sync, None), &LARGE, 1, 4_000, 80);
        assert!(found.violation.is_none(), "{}", found.violation.unwrap());
        assert!(found.with_commit > 1_000 && found.with_failover > 1_000, "{found:?}");
    }
}

/// A walk with a bug ends in a violation.
fn walks_find(bug: Bug, bounds: &Bounds) {
    let found: Vec<Found> = [2, 3]
        .into_iter()
        .map(|in_sync| random_walks(&World::new(in_sync, Some(bug)), bounds, 1, 20_000, 80))
        .collect();
    assert!(found.iter().any(|found| found.violation.is_some()), "{bug:?}: {found:?}");
}

#[test]
fn each_broken_rule_loses_an_entry() {
    use Bug as B;
    let bugs = [
        B::ShrinksBeforeAgreed,
        B::IgnoresAdditions,
        B::AcksBeforeSynced,
        B::JoinsUnconditionally,
        B::AcceptsLowerEpochs,
        B::LeadsAfterRestart,
        B::TrustsNewDisk,
        B::ElectsAnybody,
        B::SkipsLogMatching,
        B::AddsWithoutCheck,
    ];
    for bug in bugs {
        walks_find(bug, &LARGE);
    }
}

/// One step of a schedule.
enum Step {
    Do(Action),
    /// The one packet for this node arrives.
    To(usize),
    /// What is on its way to this node is lost.
    Lose(usize),
    /// What a leader has asked for is agreed on.
    Decide,
}

/// Goes one way, whatever is likely, to its end or to a violation.
fn follow(start: &World, schedule: &[Step]) -> Result<(), String> {
    let mut world = start.clone();
    for step in schedule {
        match step {
            Step::Do(action) => {
                assert!(world.actions(&LARGE).contains(action), "{action:?} cannot happen");
                world = world.after(*action, &LARGE)?;
            }
            Step::To(node) => {
                let packets = world.packets_to(*node);
                assert_eq!(packets.len(), 1, "for node {node}: {world:?}");
                world = world.after(Action::Deliver(packets[0]), &LARGE)?;
            }
            Step::Lose(node) => {
                while let Some(packet) = world.packets_to(*node).first() {
                    world = world.after(Action::Drop(*packet), &LARGE)?;
                }
            }
            Step::Decide => {
                let packet = world.alteration().expect("a leader has asked for something");
                world = world.after(Action::Deliver(packet), &LARGE)?;
            }
        }
    }
    Ok(())
}

/// With the bug it ends in a violation, and without it does not.
fn schedule_finds(bug: Bug, start: u64, schedule: &[Step], violation: &str) {
    let found = follow(&World::new(start, Some(bug)), schedule).unwrap_err();
    assert!(found.starts_with(violation), "{found}");
}

/// M5, known from Kafka as KAFKA-7128: a new leader does not know yet what is committed, so that to have what it knows to be
/// committed is not enough for joining.
#[test]
fn a_mirror_that_joins_without_the_start_of_the_epoch_lacks_what_was_committed() {
    use Action as A;
    use Step::{Decide, Do, Lose, To};
    let first_entry_is_everywhere = [
        Do(A::Learn(0)),
        Do(A::Learn(1)),
        Do(A::Learn(2)),
        Do(A::Sync(0)),
        To(1),
        To(2),
        Lose(0),
        Do(A::Sync(1)),
        To(0),
        Do(A::Sync(2)),
        Lose(0),
    ];
    let second_is_committed_by_two = [
        Do(A::Write(0)),
        Lose(2),
        To(1),
        Lose(0),
        Do(A::Sync(0)),
        Do(A::Sync(1)),
        To(0),
        Lose(1),
        Lose(2),
    ];
    let the_third_joins_under_a_new_leader = [
        // The first stays in sync, so that the second commits nothing without it.
        Do(A::Crash(0)),
        Do(A::Restart(0)),
        Do(A::Register(0)),
        Do(A::Learn(1)),
        Do(A::Learn(2)),
        Do(A::Sync(1)),
        Lose(0),
        To(2),
        To(1),
        To(2),
        To(1),
        Decide,
    ];
    let schedule: Vec<_> = first_entry_is_everywhere
        .into_iter()
        .chain(second_is_committed_by_two)
        .chain(the_third_joins_under_a_new_leader)
        .collect();
    schedule_finds(Bug::JoinsWithoutEpochStart, 2, &schedule, "I4");
    // Without the bug nothing is asked for, so that there is nothing to decide.
    let (_, before) = schedule.split_last().unwrap();
    assert_eq!(follow(&World::new(2, None), before), Ok(()));
}

/// M14: a node that lost its disk, and with it what it had promised, helps a deposed leader to commit.
#[test]
fn a_node_that_acts_before_it_has_registered_helps_a_deposed_leader() {
    use Action as A;
    use Step::{Do, Lose, To};
    let schedule = [
        Do(A::Learn(0)),
        Do(A::Learn(1)),
        Do(A::Sync(0)),
        Lose(2),
        To(1),
        Lose(0),
        Do(A::Sync(1)),
        To(0),
        // The first leader has something that nobody else has, and is deposed.
        Do(A::Write(0)),
        Do(A::Sync(0)),
        Lose(1),
        Lose(2),
        Do(A::Fence(0)),
        Do(A::Learn(1)),
        Do(A::Sync(1)),
        Lose(0),
        Lose(2),
        // The second has committed the start of its epoch, and loses its disk.
        Do(A::Crash(1)),
        Do(A::Wipe(1)),
        Do(A::Restart(1)),
        Do(A::Learn(1)),
        Do(A::Reconnect(0, 1)),
        To(1),
        To(0),
        To(1),
        Lose(0),
        Do(A::Sync(1)),
        To(0),
    ];
    schedule_finds(Bug::ActsUnregistered, 2, &schedule, "I2");
    // Without the bug it learns nothing before it has registered.
    let mut world = World::new(2, None);
    for action in [A::Crash(1), A::Wipe(1), A::Restart(1)] {
        world = world.after(action, &LARGE).unwrap();
    }
    assert!(!world.actions(&LARGE).contains(&A::Learn(1)));
}
