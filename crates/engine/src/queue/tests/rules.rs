//! One rule of RabbitMQ's queues each: order, requeue, TTL, limits, priorities, get, purge.

use super::support::{Bench, Draft, batch, confirmed, dead_letter, drafts, spec};
use crate::block::{BLOCK_TARGET, Block};
use crate::ids::{ConsumerId, Seq, SeqRange};
use crate::queue::consumers::ConsumerSpec;
use crate::queue::credit::ChannelCredit;
use crate::queue::effects::{Budget, DeleteCause, Effects, Outcome};
use crate::queue::ops::{Keep, Log, Op, OpIndex, Returns, Shown};
use crate::queue::{Settle, Settlement};
use crate::settings::{Overflow, QueueSettings};
use crate::time::Timestamp;
use std::sync::Arc;

fn with(change: impl FnOnce(&mut QueueSettings)) -> Bench {
    let mut settings = QueueSettings { dead_letter: dead_letter(), ..QueueSettings::default() };
    change(&mut settings);
    Bench::new(settings)
}

fn plain() -> Bench {
    with(|_| ())
}

fn drain(bench: &mut Bench) -> Vec<i64> {
    std::iter::from_fn(|| bench.get()).collect()
}

#[test]
fn messages_come_out_in_the_order_they_came_in() {
    let mut bench = plain();
    for n in 0..2000 {
        bench.publish(n * 10..n * 10 + 10);
    }
    bench.consume(spec(1));
    let mut all = Vec::new();
    while bench.ready() > 0 {
        all.extend(bench.take_numbers(1));
        bench.settle(1, 0, 20_000, Settlement::Ack);
    }
    assert_eq!(all, (0..20_000).collect::<Vec<_>>());
    assert_eq!(bench.queue.memory(), bench.queue.levels[0].memory());
    assert!(bench.queue.memory() < 1024, "{} bytes stay behind", bench.queue.memory());
}

#[test]
fn requeue_returns_to_its_place() {
    let mut bench = plain();
    bench.publish(1..5);
    assert_eq!((bench.get(), bench.get()), (Some(1), Some(2)));
    bench.publish(5..6);
    bench.settle(0, 1, 1, Settlement::Requeue);
    assert_eq!(bench.get(), Some(-2));
    bench.settle(0, 0, 1, Settlement::Requeue);
    assert_eq!(drain(&mut bench), [-1, 3, 4, 5]);
}

#[test]
fn requeue_in_any_order_restores_the_original_one() {
    for order in [[5, 4, 3, 2, 1], [3, 1, 5, 2, 4]] {
        let mut bench = plain();
        bench.publish(1..6);
        assert_eq!(drain(&mut bench), [1, 2, 3, 4, 5]);
        for number in order {
            bench.settle(0, number - 1, 1, Settlement::Requeue);
        }
        assert_eq!(drain(&mut bench), [-1, -2, -3, -4, -5]);
    }
}

#[test]
fn lone_consumer_gets_its_own_requeued_message_back_at_once() {
    let mut bench = plain();
    let mut one_at_a_time = spec(1);
    one_at_a_time.prefetch = 1;
    bench.consume(one_at_a_time);
    bench.publish(1..3);
    assert_eq!(bench.take_numbers(1), [1]);
    bench.settle(1, 0, 1, Settlement::Requeue);
    assert_eq!(bench.take_numbers(1), [-1]);
    bench.settle(1, 0, 1, Settlement::Ack);
    assert_eq!(bench.take_numbers(1), [2]);
}

#[test]
fn what_a_cancelled_consumer_did_not_take_goes_back_as_if_never_assigned() {
    let mut bench = plain();
    bench.consume(spec(1));
    bench.publish(1..4);
    assert_eq!((bench.ready(), bench.queue.counts().unacked), (0, 3));
    let mut out = Vec::new();
    let one = Budget { records: 1, bytes: u32::MAX };
    bench.queue.take(ConsumerId(1), one, bench.now, &mut out, &mut bench.fx);
    bench.cancel(1);
    assert_eq!((bench.ready(), bench.queue.counts().unacked), (2, 1));
    assert_eq!(bench.get(), Some(2));
    bench.settle(1, 0, 1, Settlement::RequeueFailed);
    assert_eq!(drain(&mut bench), [-1, 3]);
}

#[test]
fn settling_twice_or_too_much_changes_nothing() {
    let mut bench = plain();
    bench.publish(1..5);
    assert_eq!((bench.get(), bench.get()), (Some(1), Some(2)));
    bench.settle(0, 0, 1, Settlement::Ack);
    bench.settle(0, 0, 4, Settlement::Requeue);
    bench.settle(0, 0, 4, Settlement::Ack);
    let counts = bench.queue.counts();
    assert_eq!((counts.ready, counts.unacked), (3, 0));
    assert_eq!(drain(&mut bench), [-2, 3, 4]);
}

#[test]
fn unacked_message_pins_only_its_own_block() {
    let mut bench = plain();
    let large: Vec<_> = (0..200).map(|id| Draft { id, len: 4000, ..Draft::default() }).collect();
    for draft in large.chunks(10) {
        bench.publish_drafts(draft);
    }
    for _ in 0..200 {
        bench.get();
    }
    bench.settle(0, 1, 199, Settlement::Ack);
    assert_eq!(bench.queue.counts().unacked, 1);
    assert!(bench.queue.memory() < 100_000, "{} bytes", bench.queue.memory());
    bench.settle(0, 0, 1, Settlement::Ack);
    assert!(bench.queue.memory() < 2_000, "{} bytes", bench.queue.memory());
}

#[test]
fn message_that_is_never_acked_does_not_make_the_queue_grow() {
    let mut bench = plain();
    let large = |id| Draft { id, len: 4090, ..Draft::default() };
    bench.publish_drafts(&[large(0), large(1)]);
    assert_eq!(bench.get(), Some(0));
    for id in 2..5000 {
        bench.publish_drafts(&[large(id)]);
        assert_eq!(bench.get(), Some(id as i64 - 1));
        bench.settle(0, id - 1, 1, Settlement::Ack);
    }
    assert_eq!((bench.ready(), bench.queue.counts().unacked), (1, 1));
    assert!(bench.queue.memory() < 100_000, "{} bytes", bench.queue.memory());
}

#[test]
fn queue_is_pressed_only_while_consumers_are_at_work_on_a_long_backlog() {
    let mut bench = plain();
    bench.now = bench.now.plus(100);
    for n in 0..66 {
        bench.publish(n * 1000..n * 1000 + 1000);
    }
    assert!(!bench.queue.is_pressed(bench.now), "nobody takes anything");
    bench.queue.get_no_ack(bench.now, &mut bench.fx);
    assert!(bench.queue.is_pressed(bench.now));
    bench.tick(100);
    assert!(!bench.queue.is_pressed(bench.now), "they stopped");
    bench.queue.get_no_ack(bench.now, &mut bench.fx);
    bench.queue.purge(&mut bench.fx);
    assert!(!bench.queue.is_pressed(bench.now), "the backlog is short");
}

#[test]
fn small_batches_share_a_block() {
    let mut bench = plain();
    for n in 0..500 {
        bench.publish(n..n + 1);
    }
    let (delivery, _) = bench.queue.get(bench.now, &mut bench.fx).unwrap();
    assert_eq!(delivery.block.len(), 500);
    // Somebody holds the block now, so nothing is written into it any more.
    bench.publish(500..501);
    assert_eq!(delivery.block.len(), 500);
    let delivered: Vec<_> = (1..501).map(|_| bench.get().unwrap()).collect();
    assert_eq!(delivered, (1..501).collect::<Vec<_>>());
}

#[test]
fn idle_queue_is_small() {
    let mut bench = plain();
    bench.publish(0..100);
    assert_eq!(drain(&mut bench).len(), 100);
    bench.settle(0, 0, 100, Settlement::Ack);
    let bytes = size_of_val(&bench.queue) + bench.queue.memory();
    let levels = bench.queue.levels.capacity() * size_of_val(&bench.queue.levels[0]);
    assert!(bytes + levels < 2048, "{bytes} + {levels} bytes");
}

// ---- time -----------------------------------------------------------------------------------

fn with_ttl(id: u64, expires_at: u64) -> Draft {
    Draft { id, expires_at: Some(expires_at), ..Draft::default() }
}

#[test]
fn expired_message_behind_one_that_lives_longer_stays() {
    let mut bench = plain();
    bench.publish_drafts(&[with_ttl(1, 60_000), with_ttl(2, 1050)]);
    bench.tick(500);
    assert_eq!(bench.ready(), 2);
    assert_eq!(bench.get(), Some(1));
    bench.tick(0);
    assert_eq!(bench.deaths(), [(2, "expired")]);
    assert_eq!(bench.get(), None);
}

#[test]
fn queue_ttl_and_message_ttl_the_earlier_counts() {
    let mut bench = with(|settings| settings.message_ttl = Some(100));
    bench.publish_drafts(&[
        with_ttl(1, 1050),
        with_ttl(2, 9000),
        Draft { id: 3, ..Draft::default() },
    ]);
    assert_eq!(bench.queue.next_deadline(), Some(Timestamp(1050)));
    bench.tick(99);
    assert_eq!(bench.deaths(), [(1, "expired")]);
    assert_eq!(bench.queue.next_deadline(), Some(Timestamp(1100)));
    bench.tick(1);
    assert_eq!(bench.deaths(), [(2, "expired"), (3, "expired")]);
    assert_eq!(bench.queue.next_deadline(), None);
}

#[test]
fn ttl_change_holds_for_later_messages_only() {
    let mut bench = plain();
    bench.publish(1..2);
    let settings = QueueSettings { message_ttl: Some(300), ..bench.queue.settings().clone() };
    bench.queue.set_settings(settings, bench.now, &mut bench.fx);
    bench.publish(2..3);
    bench.tick(900);
    assert_eq!(bench.ready(), 2, "the first one has no expiry and is in front");
    assert_eq!(drain(&mut bench), [1]);
    assert_eq!(bench.deaths(), [(2, "expired")]);
}

#[test]
fn ttl_zero_is_delivered_at_once_or_never() {
    let mut bench = with(|settings| settings.message_ttl = Some(0));
    bench.publish(1..2);
    assert_eq!(bench.deaths(), [(1, "expired")]);
    let mut one_at_a_time = spec(1);
    one_at_a_time.prefetch = 1;
    bench.consume(one_at_a_time);
    bench.publish(2..4);
    assert_eq!(bench.take_numbers(1), [2]);
    assert_eq!(bench.deaths(), [(3, "expired")]);
}

#[test]
fn requeued_message_keeps_its_time_and_expires_at_the_head() {
    let mut bench = plain();
    bench.publish_drafts(&[with_ttl(1, 1100)]);
    assert_eq!(bench.get(), Some(1));
    bench.tick(500);
    assert_eq!((bench.queue.counts().unacked, bench.deaths().len()), (1, 0));
    bench.settle(0, 0, 1, Settlement::Requeue);
    assert_eq!(bench.deaths(), [(1, "expired")]);
    assert_eq!(bench.get(), None);
}

#[test]
fn expired_message_behind_a_higher_priority_stays() {
    let mut bench = with(|settings| settings.max_priority = Some(2));
    bench.publish_drafts(&[
        Draft { priority: 2, ..with_ttl(1, 60_000) },
        Draft { priority: 1, ..with_ttl(2, 1050) },
    ]);
    bench.tick(500);
    assert_eq!((bench.ready(), bench.deaths().len()), (2, 0));
    let (_, left) = bench.queue.get(bench.now, &mut bench.fx).unwrap();
    assert_eq!((left, bench.deaths()), (0, vec![(2, "expired")]));
}

#[test]
fn unused_queue_expires_and_publishing_is_no_use() {
    let mut bench = with(|settings| settings.expires = Some(1500));
    for _ in 0..2 {
        bench.tick(700);
        bench.publish(1..2);
    }
    assert_eq!((bench.queue.next_deadline(), bench.fx.delete), (Some(Timestamp(2500)), None));
    bench.get();
    bench.tick(1499);
    assert_eq!(bench.fx.delete, None);
    bench.queue.touch(bench.now);
    bench.tick(1499);
    assert_eq!(bench.fx.delete, None);
    bench.consume(spec(1));
    bench.tick(5000);
    assert_eq!((bench.queue.next_deadline(), bench.fx.delete), (None, None));
    bench.cancel(1);
    bench.tick(1500);
    assert_eq!(bench.fx.delete, Some(DeleteCause::Expired));
    assert!(bench.deaths().is_empty(), "nothing is dead-lettered");
}

// ---- limits ---------------------------------------------------------------------------------

#[test]
fn max_length_drops_from_the_head() {
    let mut bench = with(|settings| settings.max_length = Some(3));
    bench.queue.publish(confirmed(&drafts(1..6)), bench.now, &mut bench.fx);
    assert_eq!(bench.deaths(), [(1, "maxlen"), (2, "maxlen")]);
    assert!(bench.answers().iter().all(|(_, outcome)| *outcome == Outcome::Accepted));
    assert_eq!(drain(&mut bench), [3, 4, 5]);
}

#[test]
fn max_length_bytes_counts_bodies_and_may_drop_the_newest_itself() {
    let mut bench = with(|settings| settings.max_length_bytes = Some(20));
    bench.publish(1..4);
    assert_eq!(bench.deaths(), [(1, "maxlen")]);
    bench.publish_drafts(&[Draft { id: 4, len: 21, ..Draft::default() }]);
    assert_eq!(bench.deaths(), [(2, "maxlen"), (3, "maxlen"), (4, "maxlen")]);
    assert_eq!(bench.ready(), 0);
}

#[test]
fn max_length_zero_passes_what_a_consumer_takes_at_once() {
    let mut bench = with(|settings| settings.max_length = Some(0));
    bench.publish(1..2);
    assert_eq!(bench.deaths(), [(1, "maxlen")]);
    bench.consume(spec(1));
    bench.publish(2..4);
    assert_eq!(bench.take_numbers(1), [2, 3]);
    assert!(bench.deaths().is_empty());
}

#[test]
fn unacked_do_not_count_and_requeueing_drops_from_the_head() {
    let mut bench = with(|settings| settings.max_length = Some(2));
    bench.publish(1..3);
    assert_eq!(drain(&mut bench), [1, 2]);
    bench.publish(3..5);
    assert!(bench.deaths().is_empty());
    bench.settle(0, 0, 2, Settlement::Requeue);
    assert_eq!(bench.deaths(), [(1, "maxlen"), (2, "maxlen")]);
    assert_eq!(drain(&mut bench), [3, 4]);
}

#[test]
fn full_priority_queue_drops_the_oldest_of_the_highest_priority() {
    let mut bench = with(|settings| {
        settings.max_length = Some(2);
        settings.max_priority = Some(5);
    });
    for (id, priority) in [(1, 1), (2, 5), (3, 1), (4, 5)] {
        bench.publish_drafts(&[Draft { id, priority, ..Draft::default() }]);
    }
    assert_eq!(bench.deaths(), [(2, "maxlen"), (4, "maxlen")]);
    assert_eq!(drain(&mut bench), [1, 3]);
}

#[test]
fn reject_publish_refuses_and_keeps_what_is_there() {
    let mut bench = with(|settings| {
        settings.max_length_bytes = Some(20);
        settings.overflow = Overflow::RejectPublish;
    });
    let mut large = drafts(1..6);
    large[1].len = 13;
    bench.queue.publish(confirmed(&large), bench.now, &mut bench.fx);
    use Outcome::{Accepted, Rejected};
    let mut answers = bench.answers();
    answers.sort_by_key(|(tag, _)| *tag);
    assert_eq!(
        answers,
        [(1, Accepted), (2, Rejected), (3, Accepted), (4, Rejected), (5, Rejected)]
    );
    assert!(bench.deaths().is_empty());
    assert_eq!(bench.queue.stats().refused, 3);
    assert_eq!(drain(&mut bench), [1, 3]);
}

#[test]
fn reject_publish_dlx_dead_letters_what_it_refuses() {
    let mut bench = with(|settings| {
        settings.max_length = Some(1);
        settings.overflow = Overflow::RejectPublishDlx;
    });
    bench.publish(1..3);
    assert_eq!(bench.deaths(), [(2, "maxlen")]);
    assert_eq!((bench.get(), bench.queue.stats().published), (Some(1), 1));
    // A requeue never drops in this mode: the queue may exceed its limit.
    bench.publish(3..4);
    bench.settle(0, 0, 1, Settlement::Requeue);
    assert_eq!(drain(&mut bench), [-1, 3]);
}

#[test]
fn lowered_limit_holds_at_once() {
    let mut bench = plain();
    bench.publish(1..4);
    let settings = QueueSettings { max_length: Some(1), ..bench.queue.settings().clone() };
    bench.queue.set_settings(settings, bench.now, &mut bench.fx);
    assert_eq!(drain(&mut bench), [3]);
}

// ---- priorities -----------------------------------------------------------------------------

#[test]
fn higher_priority_first_then_in_order_and_above_the_maximum_is_the_maximum() {
    let mut bench = with(|settings| settings.max_priority = Some(5));
    let priorities = [(1, 1), (2, 5), (3, 1), (4, 9), (5, 0), (6, 5)];
    let all = priorities.map(|(id, priority)| Draft { id, priority, ..Draft::default() });
    bench.publish_drafts(&all);
    assert_eq!(drain(&mut bench), [2, 4, 6, 1, 3, 5]);
}

#[test]
fn priority_means_nothing_to_a_queue_without_priorities() {
    let mut bench = plain();
    bench.publish_drafts(&[(1, 1), (2, 9)].map(|(id, priority)| Draft {
        id,
        priority,
        ..Draft::default()
    }));
    assert_eq!(drain(&mut bench), [1, 2]);
}

// ---- get, purge, close ----------------------------------------------------------------------

#[test]
fn get_says_how_many_are_left() {
    let mut bench = plain();
    bench.publish(1..4);
    let (_, left) = bench.queue.get(bench.now, &mut bench.fx).unwrap();
    assert_eq!((left, bench.queue.counts().unacked), (2, 1));
    let (_, left) = bench.queue.get_no_ack(bench.now, &mut bench.fx).unwrap();
    assert_eq!((left, bench.queue.counts().unacked), (1, 1));
    let stats = bench.queue.stats();
    assert_eq!((stats.got, stats.got_no_ack, stats.finished), (1, 1, 1));
}

#[test]
fn purge_leaves_what_is_unacked_and_dead_letters_nothing() {
    let mut bench = plain();
    bench.publish(1..6);
    assert_eq!((bench.get(), bench.get(), bench.get()), (Some(1), Some(2), Some(3)));
    bench.settle(0, 1, 1, Settlement::Requeue);
    assert_eq!(bench.queue.purge(&mut bench.fx), 3);
    assert_eq!((bench.ready(), bench.queue.counts().unacked), (0, 2));
    assert!(bench.deaths().is_empty());
    bench.settle(0, 0, 3, Settlement::Requeue);
    assert_eq!(drain(&mut bench), [-1, -3]);
}

#[test]
fn closing_cancels_consumers_and_answers_publishers() {
    let mut bench = with(|settings| settings.durable = true);
    bench.queue.set_log(kept(), bench.now, &mut bench.fx);
    bench.queue.publish(confirmed(&drafts(1..3)), bench.now, &mut bench.fx);
    bench.consume(spec(7));
    assert!(bench.answers().is_empty());
    assert_eq!(bench.queue.close(bench.now, &mut bench.fx), 2);
    assert_eq!(bench.answers(), [(1, Outcome::Accepted), (2, Outcome::Accepted)]);
    assert_eq!(bench.fx.cancelled.len(), 1);
    assert!(bench.deaths().is_empty());
}

// ---- the log --------------------------------------------------------------------------------

fn kept() -> Log {
    Log::Kept { next: OpIndex(1), keep: Keep::Persistent, shown: Shown::WhenVisible }
}

#[test]
fn message_is_handed_out_when_visible_and_confirmed_when_durable() {
    let mut bench = with(|settings| settings.durable = true);
    bench.queue.set_log(kept(), bench.now, &mut bench.fx);
    bench.consume(spec(1));
    bench.queue.publish(confirmed(&drafts(1..3)), bench.now, &mut bench.fx);
    assert!(bench.woken().is_empty() && bench.answers().is_empty());
    bench.queue.visible(OpIndex(1), bench.now, &mut bench.fx);
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.take_numbers(1), [1, 2]);
    assert!(bench.answers().is_empty());
    bench.queue.durable(OpIndex(1), bench.now, &mut bench.fx);
    assert_eq!(bench.answers().len(), 2);
}

#[test]
fn transient_message_is_confirmed_when_visible() {
    let mut bench = with(|settings| settings.durable = true);
    bench.queue.set_log(kept(), bench.now, &mut bench.fx);
    bench.queue.publish(confirmed(&drafts(1..2)), bench.now, &mut bench.fx);
    bench.queue.publish(confirmed(&drafts(2..3)), bench.now, &mut bench.fx);
    bench.queue.visible(OpIndex(2), bench.now, &mut bench.fx);
    assert_eq!(bench.answers().len(), 1, "the second one is persistent");
}

#[test]
fn nothing_is_handed_out_while_it_may_not() {
    let mut bench = plain();
    bench.consume(spec(1));
    bench.queue.may_deliver(false, bench.now, &mut bench.fx);
    bench.publish_drafts(&[with_ttl(1, 1001), Draft { id: 2, ..Draft::default() }]);
    bench.tick(100);
    assert_eq!((bench.ready(), bench.get(), bench.woken().len()), (2, None, 0));
    bench.queue.may_deliver(true, bench.now, &mut bench.fx);
    assert_eq!(bench.deaths(), [(1, "expired")]);
    assert_eq!((bench.woken(), bench.take_numbers(1)), (vec![1], vec![2]));
}

#[test]
fn delivery_limit_dead_letters_what_failed_too_often() {
    let mut bench = with(|settings| {
        settings.counts_deliveries = true;
        settings.delivery_limit = Some(1);
    });
    bench.publish(1..2);
    assert_eq!(bench.get(), Some(1));
    bench.settle(0, 0, 1, Settlement::Requeue);
    assert_eq!(bench.get(), Some(-1), "a nack is no failure");
    bench.settle(0, 0, 1, Settlement::RequeueFailed);
    let (delivery, _) = bench.queue.get(bench.now, &mut bench.fx).unwrap();
    assert_eq!(delivery.returns, Returns { all: 2, failed: 1 });
    bench.settle(0, 0, 1, Settlement::RequeueFailed);
    assert_eq!(bench.deaths(), [(1, "delivery_limit")]);
    assert_eq!((bench.get(), bench.queue.delivery_counts().count()), (None, 0));
}

#[test]
fn dead_letter_says_whether_a_delivery_failed() {
    let mut bench = plain();
    bench.publish(1..4);
    assert_eq!(drain(&mut bench), [1, 2, 3]);
    bench.settle(0, 0, 1, Settlement::Reject);
    bench.settle(0, 1, 1, Settlement::RejectFailed);
    bench.settle(0, 2, 1, Settlement::RequeueFailed);
    assert_eq!(bench.get(), Some(-3));
    bench.settle(0, 2, 1, Settlement::Reject);
    let marks: Vec<_> = bench.fx.dead_letters.iter().map(|dead| dead.redelivered).collect();
    assert_eq!(marks, [false, true, true]);
}

#[test]
fn queue_made_again_from_what_was_stored_goes_on_where_it_was() {
    let mut bench = plain();
    bench.publish(1..4);
    let block = Arc::new(batch(&drafts(7..9)).block);
    let first = Seq::new(0, 10);
    bench.queue.apply(OpIndex(1), Op::Publish { first, at: bench.now, block });
    bench.queue.skip_to(Seq::new(0, 20));
    bench.queue.mark_all_redelivered();
    bench.publish(9..10);
    let live: Vec<_> = bench.queue.live().collect();
    let range = |at, n| SeqRange { first: Seq(at), n };
    assert_eq!(live, [(0, vec![range(0, 3), range(10, 2), range(20, 1)], Seq(21))]);
    assert_eq!(drain(&mut bench), [-1, -2, -3, -7, -8, 9]);
}

#[test]
fn ops_that_overlap_count_once() {
    let mut bench = plain();
    bench.publish(1..8);
    for (first, n) in [(2, 2), (5, 1), (1, 5)] {
        let range = SeqRange { first: Seq(first), n };
        bench.queue.apply(OpIndex(1), Op::Ack([range].into()));
    }
    assert_eq!((bench.ready(), bench.queue.stats().finished), (2, 5));
    assert_eq!(bench.queue.counts().ready_bytes, 16);
    assert_eq!(drain(&mut bench), [1, 7]);
}

#[test]
fn backlog_does_not_keep_unused_memory() {
    let mut bench = plain();
    for n in 0..100 {
        let mut incoming = batch(&drafts(n * 100..n * 100 + 100));
        let mut roomy = Block::with_capacity(BLOCK_TARGET, 2000);
        roomy.append_from(&incoming.block, 0..100);
        incoming.block = roomy;
        bench.queue.publish(incoming, bench.now, &mut bench.fx);
    }
    let bytes = 10_000 * (24 + 4 + 2 + 8 + 8);
    assert!(bench.queue.memory() < bytes * 5 / 4, "{} bytes", bench.queue.memory());
}

#[test]
fn spare_block_comes_back_from_a_small_batch() {
    let mut bench = plain();
    bench.publish(1..2);
    assert!(bench.fx.spare.is_none(), "the first batch became the queue's own block");
    bench.publish(2..3);
    assert!(bench.fx.spare.take().is_some_and(|block| block.is_empty()));
    let mut fx = Effects::default();
    bench.queue.publish(batch(&[]), bench.now, &mut fx);
    assert!(fx.is_empty());
}

#[test]
fn what_was_delivered_before_the_queue_was_here_is_settled_where_it_is_ready() {
    let settings = QueueSettings { dead_letter: dead_letter(), ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.publish(0..6);
    assert_eq!(bench.get(), Some(0));
    let earlier = |first, n, how| Settle {
        consumer: Some(ConsumerId(7)),
        range: SeqRange { first: Seq(first), n },
        how,
    };
    // The first is out to somebody, who may still give it back.
    bench.queue.settle_earlier(&earlier(0, 3, Settlement::Ack), &mut bench.fx);
    bench.queue.settle_earlier(&earlier(3, 1, Settlement::Reject), &mut bench.fx);
    bench.queue.settle_earlier(&earlier(4, 1, Settlement::Requeue), &mut bench.fx);
    assert_eq!((bench.ready(), bench.deaths()), (2, vec![(3, "rejected")]));
    bench.settle(0, 0, 1, Settlement::Requeue);
    bench.consume(spec(1));
    assert_eq!(bench.take_numbers(1), [0, 4, 5]);
}

#[test]
fn consumers_that_are_dismissed_are_told_nothing_and_their_channel_has_its_credit_back() {
    let mut bench = Bench::new(QueueSettings::default());
    let credit = Arc::new(ChannelCredit::new(5));
    bench.publish(0..3);
    bench.consume(ConsumerSpec { channel_credit: Some(Arc::clone(&credit)), ..spec(1) });
    bench.take(1);
    assert_eq!(credit.used(), 3);
    let specs = bench.queue.dismiss();
    assert_eq!(specs.iter().map(|spec| spec.id).collect::<Vec<_>>(), [ConsumerId(1)]);
    assert_eq!((credit.used(), bench.queue.counts().consumers), (0, 0));
    assert!(bench.fx.cancelled.is_empty());
}
