//! Whose turn it is: round robin, priorities, prefetch, shared credit, exclusive and single active
//! consumers, the window, wake-ups.

use super::support::{ALL, Bench, Draft, spec};
use crate::error::BrokerError;
use crate::ids::ConsumerId;
use crate::queue::Settlement;
use crate::queue::consumers::ASSIGN_WINDOW_RECORDS;
use crate::queue::credit::ChannelCredit;
use crate::queue::effects::{Budget, DeleteCause};
use crate::settings::QueueSettings;
use std::sync::Arc;

fn plain() -> Bench {
    Bench::new(QueueSettings::default())
}

fn consume(bench: &mut Bench, id: u64, prefetch: u16, priority: i32) {
    let mut spec = spec(id);
    spec.prefetch = prefetch;
    spec.priority = priority;
    bench.consume(spec);
}

#[test]
fn consumers_take_turns_message_by_message() {
    let mut bench = plain();
    consume(&mut bench, 1, 0, 0);
    consume(&mut bench, 2, 0, 0);
    bench.publish(1..6);
    assert_eq!(bench.take_numbers(1), [1, 3, 5]);
    assert_eq!(bench.take_numbers(2), [2, 4]);
    bench.publish(6..8);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![7], vec![6]));
}

#[test]
fn a_busy_consumer_is_passed_over_and_queues_up_again_behind_the_others() {
    let mut bench = plain();
    consume(&mut bench, 1, 1, 0);
    consume(&mut bench, 2, 2, 0);
    bench.publish(1..5);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![1], vec![2, 3]));
    bench.settle(2, 1, 2, Settlement::Ack);
    assert_eq!(bench.take_numbers(2), [4]);
    bench.settle(1, 0, 1, Settlement::Ack);
    bench.publish(5..7);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![6], vec![5]));
}

#[test]
fn lower_priority_gets_only_what_the_higher_cannot_take() {
    let mut bench = plain();
    consume(&mut bench, 1, 0, 0);
    consume(&mut bench, 2, 2, 10);
    bench.publish(1..5);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![3, 4], vec![1, 2]));
    bench.settle(2, 0, 2, Settlement::Ack);
    bench.publish(5..6);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![], vec![5]));
}

#[test]
fn requeued_message_goes_to_the_higher_priority_that_became_free() {
    let mut bench = plain();
    consume(&mut bench, 1, 1, 1);
    consume(&mut bench, 2, 1, 0);
    bench.publish(1..3);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![1], vec![2]));
    bench.settle(1, 0, 1, Settlement::Ack);
    bench.settle(2, 1, 1, Settlement::RequeueFailed);
    assert_eq!(bench.take_numbers(1), [-2]);
}

#[test]
fn prefetch_counts_what_is_out_and_no_ack_consumers_ignore_it() {
    let mut bench = plain();
    consume(&mut bench, 1, 3, 0);
    bench.publish(1..11);
    assert_eq!(bench.take_numbers(1), [1, 2, 3]);
    assert_eq!(bench.ready(), 7);
    bench.settle(1, 1, 1, Settlement::Ack);
    assert_eq!(bench.take_numbers(1), [4]);
    let mut no_ack = spec(2);
    (no_ack.no_ack, no_ack.prefetch) = (true, 1);
    bench.consume(no_ack);
    assert_eq!(bench.take_numbers(2), [5, 6, 7, 8, 9, 10]);
    let counts = bench.queue.counts();
    assert_eq!((counts.ready, counts.unacked, counts.in_flight), (0, 3, 0));
    assert_eq!(bench.queue.stats().delivered_no_ack, 6);
}

#[test]
fn a_large_prefetch_is_taken_in_quarters() {
    let mut bench = plain();
    consume(&mut bench, 1, 400, 0);
    bench.publish(1..1001);
    assert_eq!(bench.take_numbers(1), (1..101).collect::<Vec<_>>());
    let (mut out, now) = (Vec::new(), bench.now);
    assert!(bench.queue.take(ConsumerId(1), ALL, now, &mut out, &mut bench.fx), "there is more");
    for _ in 0..2 {
        bench.take(1);
    }
    assert_eq!((bench.ready(), bench.take_numbers(1).len()), (600, 0));
    bench.settle(1, 0, 150, Settlement::Ack);
    assert_eq!((bench.take_numbers(1).len(), bench.take_numbers(1).len()), (100, 50));
}

#[test]
fn consumers_of_a_channel_share_its_credit_across_queues() {
    let credit = Arc::new(ChannelCredit::new(3));
    let (mut here, mut there) = (plain(), plain());
    let sharing = |id| {
        let mut spec = spec(id);
        spec.channel_credit = Some(credit.clone());
        spec
    };
    here.consume(sharing(1));
    there.consume(sharing(2));
    here.publish(1..3);
    there.publish(3..6);
    assert_eq!((here.take_numbers(1), there.take_numbers(2)), (vec![1, 2], vec![3]));
    assert_eq!((credit.used(), there.ready()), (3, 2));
    assert!(credit.take_refused() && !credit.take_refused());
    here.settle(1, 0, 2, Settlement::Ack);
    there.queue.credit_changed(ConsumerId(2), there.now, &mut there.fx);
    assert_eq!(there.take_numbers(2), [4, 5]);
}

#[test]
fn credit_of_a_cancelled_consumer_returns_when_its_messages_are_settled() {
    let credit = Arc::new(ChannelCredit::new(2));
    let mut bench = plain();
    let mut first = spec(1);
    first.channel_credit = Some(credit.clone());
    bench.consume(first);
    bench.publish(1..4);
    let (mut out, one) = (Vec::new(), Budget { records: 1, bytes: u32::MAX });
    bench.queue.take(ConsumerId(1), one, bench.now, &mut out, &mut bench.fx);
    bench.cancel(1);
    assert_eq!((credit.used(), bench.queue.counts().consumers), (1, 0));
    bench.settle(1, 0, 1, Settlement::Ack);
    assert_eq!(credit.used(), 0);
    assert!(bench.queue.consumers.is_none(), "nothing is kept of it");
}

#[test]
fn deleted_queue_gives_all_credit_back() {
    let credit = Arc::new(ChannelCredit::new(3));
    let mut bench = plain();
    for id in [1, 2] {
        let mut sharing = spec(id);
        sharing.channel_credit = Some(credit.clone());
        bench.consume(sharing);
    }
    bench.publish(1..6);
    bench.take(1);
    bench.cancel(1);
    assert_eq!(credit.used(), 3);
    bench.queue.close(bench.now, &mut bench.fx);
    assert_eq!(credit.used(), 0);
}

#[test]
fn exclusive_consumer_keeps_others_out() {
    let mut bench = plain();
    let mut alone = spec(1);
    alone.exclusive = true;
    bench.consume(alone.clone());
    let refused = |bench: &mut Bench, spec| {
        let result = bench.queue.consume(spec, bench.now, &mut bench.fx);
        matches!(result, Err(BrokerError::ExclusiveUse(name)) if &*name.name == "q")
    };
    assert!(refused(&mut bench, spec(2)));
    alone.id = ConsumerId(3);
    assert!(refused(&mut bench, alone.clone()));
    bench.cancel(1);
    bench.consume(spec(4));
    assert!(refused(&mut bench, alone.clone()));
    let settings = QueueSettings { single_active_consumer: true, ..QueueSettings::default() };
    assert!(refused(&mut Bench::new(settings), alone));
}

#[test]
fn a_quorum_queue_gives_its_messages_to_the_highest_as_soon_as_the_active_one_has_none_left() {
    let settings = QueueSettings {
        single_active_consumer: true,
        quorum_consumers: true,
        ..QueueSettings::default()
    };
    let mut bench = Bench::new(settings);
    consume(&mut bench, 1, 0, 0);
    bench.publish(1..3);
    assert_eq!(bench.take_numbers(1), [1, 2]);
    consume(&mut bench, 2, 0, 10);
    bench.publish(3..4);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![], vec![]));
    bench.settle(1, 0, 1, Settlement::Ack);
    assert!(bench.take_numbers(2).is_empty());
    bench.settle(1, 1, 1, Settlement::Ack);
    assert_eq!(bench.take_numbers(2), [3]);
    consume(&mut bench, 3, 0, 10);
    bench.settle(2, 2, 1, Settlement::Ack);
    bench.publish(4..5);
    assert_eq!((bench.take_numbers(3), bench.take_numbers(2)), (vec![], vec![4]));
    // An idle one gives way at once.
    bench.settle(2, 3, 1, Settlement::Ack);
    consume(&mut bench, 4, 0, 11);
    bench.publish(5..6);
    assert_eq!((bench.take_numbers(2), bench.take_numbers(4)), (vec![], vec![5]));
}

#[test]
fn a_quorum_queue_does_not_enforce_exclusive_consumers() {
    let settings = QueueSettings { quorum_consumers: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    for id in [1, 2] {
        let mut exclusive = spec(id);
        exclusive.exclusive = true;
        bench.consume(exclusive);
    }
    bench.publish(1..3);
    assert_eq!((bench.take_numbers(1), bench.take_numbers(2)), (vec![1], vec![2]));
}

#[test]
fn single_active_consumer_is_the_first_then_the_highest_then_the_oldest() {
    let settings = QueueSettings { single_active_consumer: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    consume(&mut bench, 1, 1, 0);
    consume(&mut bench, 2, 0, 0);
    consume(&mut bench, 3, 0, 10);
    consume(&mut bench, 4, 0, 0);
    bench.publish(1..4);
    assert_eq!(bench.take_numbers(1), [1]);
    assert_eq!(bench.ready(), 2, "the active one being busy does not wake the next");
    bench.cancel(1);
    assert_eq!(bench.take_numbers(3), [2, 3], "at once, though the first has one unacknowledged");
    bench.settle(1, 0, 1, Settlement::Requeue);
    assert_eq!(bench.take_numbers(3), [-1]);
    bench.cancel(3);
    bench.publish(5..6);
    assert_eq!((bench.take_numbers(2), bench.take_numbers(4)), (vec![5], vec![]));
    let active: Vec<_> = bench.queue.consumers().map(|c| (c.spec.id.0, c.active)).collect();
    assert_eq!(active, [(2, true), (4, false)]);
}

#[test]
fn auto_delete_follows_the_last_consumer() {
    let settings = QueueSettings { auto_delete: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.tick(100_000);
    consume(&mut bench, 1, 0, 0);
    consume(&mut bench, 2, 0, 0);
    bench.cancel(1);
    bench.cancel(99);
    assert_eq!(bench.fx.delete, None);
    bench.cancel(2);
    assert_eq!(bench.fx.delete, Some(DeleteCause::Unused));
}

#[test]
fn window_bounds_what_a_slow_connection_holds() {
    let mut bench = plain();
    consume(&mut bench, 1, 0, 0);
    bench.publish(0..3000);
    let window = u64::from(ASSIGN_WINDOW_RECORDS);
    assert_eq!((bench.queue.counts().unacked, bench.ready()), (window, 3000 - window));
    consume(&mut bench, 2, 0, 0);
    assert_eq!(bench.ready(), 0, "another one takes what the first cannot");
}

#[test]
fn window_bounds_bytes_with_at_most_one_message_too_many() {
    let mut bench = plain();
    consume(&mut bench, 1, 0, 0);
    let large: Vec<_> = (0..5).map(|id| Draft { id, len: 700_000, ..Draft::default() }).collect();
    bench.publish_drafts(&large);
    assert_eq!(bench.queue.counts().unacked, 2);
    assert_eq!(bench.take_numbers(1), [0, 1, 2, 3, 4]);
}

#[test]
fn take_goes_on_as_long_as_the_budget_and_the_queue_last() {
    let mut bench = plain();
    bench.publish(0..10_000);
    consume(&mut bench, 1, 0, 0);
    let mut out = Vec::new();
    let budget = Budget { records: 9_000, bytes: u32::MAX };
    assert!(bench.queue.take(ConsumerId(1), budget, bench.now, &mut out, &mut bench.fx));
    assert_eq!(out.iter().map(|delivery| delivery.n).sum::<u32>(), 9_000);
    assert!(!bench.queue.take(ConsumerId(1), ALL, bench.now, &mut out, &mut bench.fx));
    assert_eq!(out.iter().map(|delivery| delivery.n).sum::<u32>(), 10_000);
}

#[test]
fn last_message_of_a_budget_may_exceed_its_bytes() {
    let mut bench = plain();
    bench.publish(0..10);
    consume(&mut bench, 1, 0, 0);
    let (mut out, budget) = (Vec::new(), Budget { records: 10, bytes: 9 });
    assert!(bench.queue.take(ConsumerId(1), budget, bench.now, &mut out, &mut bench.fx));
    assert_eq!(out.iter().map(|delivery| delivery.n).sum::<u32>(), 2);
}

#[test]
fn consumer_is_woken_once_until_it_has_taken_all() {
    let mut bench = plain();
    consume(&mut bench, 1, 0, 0);
    bench.publish(1..3);
    bench.publish(3..5);
    assert_eq!(bench.woken(), [1]);
    let (mut out, one) = (Vec::new(), Budget { records: 1, bytes: u32::MAX });
    assert!(bench.queue.take(ConsumerId(1), one, bench.now, &mut out, &mut bench.fx));
    bench.publish(5..6);
    assert!(bench.woken().is_empty(), "take said that there is more");
    assert_eq!(bench.take_numbers(1), [2, 3, 4, 5]);
    bench.publish(6..7);
    assert_eq!(bench.woken(), [1]);
}
