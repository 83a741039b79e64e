//! Queues with copies on several nodes: what was confirmed is there whatever happens to the node that confirmed it.

mod seeds;

use leveret_engine::parameter::ParameterValue;
use leveret_engine::{QueueId, Settlement, Table, Value};

use crate::testing::{Publisher, World, drain, get};

fn text(value: &str) -> ParameterValue {
    ParameterValue::String(value.into())
}

/// Three nodes, and a queue that is mirrored on all of them.
fn mirrored(seed: u64) -> (World, QueueId) {
    let mut world = World::new(3, seed);
    world.set_policy("main", &[("ha-mode", text("all"))]);
    let queue = world.declare(0, "main");
    whole(&mut world, queue);
    (world, queue)
}

/// Waits until a queue has a leader and all its copies are in sync.
fn whole(world: &mut World, queue: QueueId) {
    world.run_until("all copies in sync", |world| {
        world.leader(queue).is_some() && world.in_sync(queue).len() == 3
    });
}

fn led_again(world: &mut World, queue: QueueId) -> usize {
    world.run_until("a leader", |world| world.leader(queue).is_some());
    // Its lease, and that of the one before.
    world.run_for(6_000);
    world.leader(queue).unwrap()
}

/// Publishes and waits until all is answered; what was taken.
fn publish(world: &mut World, queue: QueueId, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let leader = world.leader(queue).unwrap();
    let mut publisher = Publisher::connect(world, leader, queue);
    let mut answers = Vec::new();
    for number in numbers.clone() {
        publisher.publish(world, [number]);
        world.run_for(2);
    }
    world.run_until("all answered", |_| {
        answers.extend(publisher.answers());
        answers.len() == numbers.len()
    });
    answers.into_iter().filter(|(_, taken)| *taken).map(|(number, _)| number).collect()
}

#[test]
fn what_was_confirmed_is_there_when_its_leader_is_gone() {
    let (mut world, queue) = mirrored(1);
    assert_eq!(publish(&mut world, queue, 0..100).len(), 100);
    let first = world.leader(queue).unwrap();
    world.crash(first, 0);
    let second = led_again(&mut world, queue);
    assert_ne!(first, second);
    assert_eq!(get(&mut world, second, queue, Some(Settlement::Requeue)), Some((0, true)));
    assert_eq!(publish(&mut world, queue, 100..150).len(), 50);
    world.start(first);
    whole(&mut world, queue);
    let second = world.leader(queue).unwrap();
    world.crash(second, 0);
    led_again(&mut world, queue);
    assert_eq!(drain(&mut world, queue), (0..150).collect::<Vec<_>>());
}

#[test]
fn confirms_wait_for_a_mirror_that_does_not_answer_until_it_is_out_of_sync() {
    let (mut world, queue) = mirrored(2);
    let leader = world.leader(queue).unwrap();
    let other = (leader + 1) % 3;
    world.cut(leader, other);
    let mut publisher = Publisher::connect(&world, leader, queue);
    publisher.publish(&mut world, [1, 2, 3]);
    world.run_for(1_000);
    assert_eq!(publisher.answers(), []);
    assert_eq!(get(&mut world, leader, queue, None), None, "not visible yet");
    world.run_until("out of sync", |world| world.in_sync(queue).len() == 2);
    world.run_for(100);
    assert_eq!(publisher.answers(), [(1, true), (2, true), (3, true)]);
    world.mend(leader, other);
    whole(&mut world, queue);
    assert_eq!(drain(&mut world, queue), [1, 2, 3]);
}

#[test]
fn a_queue_with_one_copy_gets_others_while_it_runs_and_loses_them_again() {
    let mut world = World::new(3, 3);
    let queue = world.declare(1, "main");
    assert_eq!(world.leader(queue), Some(1));
    publish(&mut world, queue, 0..200);
    for number in 0..50 {
        assert_eq!(get(&mut world, 1, queue, Some(Settlement::Ack)), Some((number, false)));
    }
    world.set_policy("main", &[("ha-mode", text("all"))]);
    publish(&mut world, queue, 200..250);
    whole(&mut world, queue);
    world.crash(1, 0);
    let leader = led_again(&mut world, queue);
    world.start(1);
    whole(&mut world, queue);
    world.set_policy("main", &[("max-length", ParameterValue::Integer(1_000))]);
    world.run_until("one copy", |world| world.metadata().queue(queue).unwrap().replicas.len() == 1);
    publish(&mut world, queue, 250..300);
    let cell = world.node(leader).unwrap().queues.get(queue).unwrap();
    assert!(!cell.copy.is_here(), "a log that nobody needs");
    world.crash(leader, 0);
    world.start(leader);
    led_again(&mut world, queue);
    assert_eq!(drain(&mut world, queue), (50..300).collect::<Vec<_>>());
}

#[test]
fn a_leader_that_is_cut_off_confirms_nothing_and_takes_back_what_it_had() {
    let (mut world, queue) = mirrored(4);
    publish(&mut world, queue, 0..20);
    let old = world.leader(queue).unwrap();
    for other in (0..3).filter(|other| *other != old) {
        world.cut(old, other);
    }
    world.set_away(old, true);
    let mut publisher = Publisher::connect(&world, old, queue);
    publisher.publish(&mut world, 100..110);
    assert_eq!(get(&mut world, old, queue, Some(Settlement::Ack)), Some((0, false)));
    led_again(&mut world, queue);
    assert_eq!(get(&mut world, old, queue, None), None, "it has no lease");
    assert_eq!(publisher.answers(), []);
    publish(&mut world, queue, 20..30);
    for other in (0..3).filter(|other| *other != old) {
        world.mend(old, other);
    }
    world.set_away(old, false);
    whole(&mut world, queue);
    assert!(publisher.answers().iter().all(|(_, taken)| !taken));
    let leader = world.leader(queue).unwrap();
    world.crash(leader, 0);
    led_again(&mut world, queue);
    assert_eq!(drain(&mut world, queue), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_dead_letter_is_in_its_queue_or_in_the_next_whoever_leads_them() {
    for seed in 20..30 {
        let mut world = World::new(3, seed);
        let mirrored = [("ha-mode", text("all"))];
        let exchange = ("dead-letter-exchange", text(""));
        let dead_lettered =
            [mirrored[0].clone(), exchange, ("dead-letter-routing-key", text("dead"))];
        world.set_policy("main", &dead_lettered);
        world.set_policy("dead", &mirrored);
        let queues = ["main", "dead"].map(|name| world.declare(0, name));
        queues.iter().for_each(|queue| whole(&mut world, *queue));
        publish(&mut world, queues[0], 0..20);
        for number in 0..10 {
            let rejected = get(&mut world, 0, queues[0], Some(Settlement::Reject));
            assert_eq!(rejected, Some((number, false)));
            world.run_for(seed % 5);
        }
        world.crash(0, 0);
        queues.iter().for_each(|queue| _ = led_again(&mut world, *queue));
        let both: Vec<_> = queues.iter().flat_map(|queue| drain(&mut world, *queue)).collect();
        let missing = (0..20).filter(|number| !both.contains(number)).count() as u64;
        // Those whose target another node leads now stay where they are; some may be in both queues.
        let leader = world.leader(queues[0]).unwrap();
        let cell = world.node(leader).unwrap().queues.get(queues[0]).unwrap();
        let held = cell.queue.lock().counts().dead;
        assert!(missing <= held, "seed {seed}: {missing} are nowhere, {held} wait");
    }
}

#[test]
fn a_quorum_queue_has_three_copies_and_stops_without_a_majority() {
    let mut world = World::new(3, 6);
    let arguments = vec![("x-queue-type".into(), Value::LongString("quorum".into()))];
    let queue = world.declare_as(1, "main", Table(arguments));
    whole(&mut world, queue);
    publish(&mut world, queue, 0..20);
    world.crash(1, 0);
    let leader = led_again(&mut world, queue);
    publish(&mut world, queue, 20..30);
    world.crash(2 - leader, 0);
    world.run_for(10_000);
    let mut publisher = Publisher::connect(&world, leader, queue);
    publisher.publish(&mut world, [30]);
    world.run_for(10_000);
    assert_eq!(publisher.answers(), [], "one of three");
    assert_eq!(get(&mut world, leader, queue, None), None, "one of three");
    world.start(1);
    world.start(2 - leader);
    whole(&mut world, queue);
    led_again(&mut world, queue);
    assert_eq!(drain(&mut world, queue), (0..31).collect::<Vec<_>>());
}

#[test]
fn checkpoints_and_retired_records_are_enough_to_come_back() {
    let (mut world, queue) = mirrored(5);
    for machine in 0..3 {
        world.node(machine).unwrap().set_window(4_096);
    }
    publish(&mut world, queue, 0..400);
    let leader = world.leader(queue).unwrap();
    for number in 0..150 {
        assert_eq!(get(&mut world, leader, queue, Some(Settlement::Ack)), Some((number, false)));
        world.run_for(1);
    }
    publish(&mut world, queue, 400..600);
    for machine in 0..3 {
        world.crash(machine, 0);
    }
    for machine in 0..3 {
        world.start(machine);
    }
    led_again(&mut world, queue);
    let left = drain(&mut world, queue);
    // An ack that was not committed may be undone.
    assert!(left.ends_with(&(150..600).collect::<Vec<_>>()), "{left:?}");
}
