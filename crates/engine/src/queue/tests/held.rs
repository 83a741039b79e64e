//! Messages that a queue holds: dead letters until their targets have them, retries until their time.

use super::disk::Disk;
use super::support::{Bench, batch, dead_letter, drafts, number_of, signed_numbers, spec};
use crate::dead_letter::DeadLetter;
use crate::ids::{ConsumerId, Seq};
use crate::limits::{DEAD_LETTER_RETRY_MS, DEAD_LETTERS_SENT_MAX};
use crate::queue::Settlement;
use crate::queue::effects::Effects;
use crate::queue::ops::{Keep, Log, OpIndex, Shown};
use crate::settings::{DeadLetterStrategy, DelayedRetry, Overflow, QueueSettings, RetryKind};
use crate::time::Timestamp;

/// A queue with a disk.
struct Holding {
    bench: Bench,
    disk: Disk,
}

impl Holding {
    fn new(set: impl FnOnce(&mut QueueSettings)) -> Self {
        let mut settings = QueueSettings {
            durable: true,
            dead_letter: dead_letter(),
            dead_letter_strategy: DeadLetterStrategy::AtLeastOnce,
            ..QueueSettings::default()
        };
        set(&mut settings);
        let mut bench = Bench::new(settings);
        let log = Log::Kept { next: OpIndex(1), keep: Keep::All, shown: Shown::AtOnce };
        bench.queue.set_log(log, bench.now, &mut bench.fx);
        Self { bench, disk: Disk::default() }
    }

    fn seal(&mut self) {
        self.disk.emitted(&mut self.bench.fx.ops);
        let (numbers, gcn) = self.disk.seal();
        numbers.into_iter().for_each(|number| self.bench.queue.checkpoint_stored(number, gcn));
    }

    fn checkpoint(&mut self) {
        self.disk.emitted(&mut self.bench.fx.ops);
        let checkpoint = self.bench.queue.checkpoint(OpIndex(u64::MAX));
        self.disk.checkpoint(checkpoint);
        self.seal();
    }

    fn page_out_all(&mut self) {
        self.disk.emitted(&mut self.bench.fx.ops);
        if let Some(checkpoint) = self.bench.queue.page_out(usize::MAX).checkpoint {
            self.disk.checkpoint(checkpoint);
        }
        self.seal();
    }

    /// What was written comes back.
    fn restart(&mut self) {
        self.disk.crash();
        let settings = self.bench.queue.settings().clone();
        self.bench.fx = Effects::default();
        let (now, fx) = (self.bench.now, &mut self.bench.fx);
        self.bench.queue = self.disk.recover(settings, Keep::All, now, fx);
        self.disk.answer_loads(&mut self.bench.queue, now, fx);
    }

    /// The letters that were handed out: position and number.
    fn letters(&mut self) -> Vec<(Seq, u64)> {
        let now = self.bench.now;
        self.disk.answer_loads(&mut self.bench.queue, now, &mut self.bench.fx);
        let each = |dead: DeadLetter| {
            let first = dead.held_at.unwrap();
            (0..dead.n)
                .map(move |n| (first.plus(u64::from(n)), number_of(&dead.block, dead.first + n)))
        };
        self.bench.fx.dead_letters.drain(..).flat_map(each).collect()
    }

    fn answer(&mut self, position: Seq, taken: bool) {
        let (now, fx) = (self.bench.now, &mut self.bench.fx);
        self.bench.queue.letter_answered(position, taken, now, fx);
    }

    fn reject(&mut self, ids: std::ops::Range<u64>) {
        self.bench.publish(ids.clone());
        let n = (ids.end - ids.start) as u32;
        self.bench.consume(spec(1));
        let first = self.bench.take(1)[0].first_seq;
        self.bench.settle(1, first.0, n, Settlement::Reject);
        self.bench.cancel(1);
    }

    fn dead(&self) -> u64 {
        self.bench.queue.counts().dead
    }
}

fn numbers(letters: &[(Seq, u64)]) -> Vec<u64> {
    letters.iter().map(|(_, number)| *number).collect()
}

#[test]
fn dead_letter_stays_until_its_targets_have_it() {
    let mut queue = Holding::new(|_| {});
    queue.reject(1..4);
    let letters = queue.letters();
    assert_eq!(numbers(&letters), [1, 2, 3]);
    let counts = queue.bench.queue.counts();
    assert_eq!((counts.ready, counts.unacked, counts.dead, counts.dead_bytes), (0, 0, 3, 24));
    queue.answer(letters[1].0, true);
    assert_eq!(queue.dead(), 2);
    assert_eq!(queue.bench.queue.stats().rejected, 1);
    queue.answer(letters[1].0, true);
    assert_eq!(queue.dead(), 2, "an answer counts once");
    queue.answer(letters[0].0, true);
    queue.answer(letters[2].0, true);
    assert_eq!((queue.dead(), queue.bench.queue.stats().rejected), (0, 3));
    assert_eq!(queue.bench.queue.memory(), queue.bench.queue.memory().min(2000));
}

#[test]
fn dead_letter_that_nobody_takes_is_sent_again_later() {
    let mut queue = Holding::new(|_| {});
    queue.reject(1..3);
    let letters = queue.letters();
    queue.answer(letters[0].0, false);
    queue.answer(letters[1].0, true);
    assert_eq!((queue.dead(), queue.letters()), (1, vec![]));
    let due = queue.bench.queue.next_deadline().unwrap();
    assert_eq!(due, queue.bench.now.plus(DEAD_LETTER_RETRY_MS));
    queue.bench.tick(DEAD_LETTER_RETRY_MS - 1);
    assert_eq!(queue.letters(), []);
    queue.bench.tick(1);
    assert_eq!(queue.letters(), letters[..1]);
    queue.answer(letters[0].0, true);
    assert_eq!((queue.dead(), queue.bench.queue.next_deadline()), (0, None));
}

#[test]
fn dead_letters_survive_a_crash_as_dead() {
    let mut queue = Holding::new(|_| {});
    queue.reject(1..5);
    queue.bench.publish(5..7);
    let letters = queue.letters();
    queue.answer(letters[0].0, true);
    for restart in 0..3 {
        if restart == 1 {
            queue.checkpoint();
        } else {
            queue.seal();
        }
        queue.restart();
        let counts = queue.bench.queue.counts();
        assert_eq!((counts.ready, counts.dead), (2, 3), "after restart {restart}");
        assert_eq!(numbers(&queue.letters()), [2, 3, 4]);
    }
    assert_eq!(queue.bench.get(), Some(-5));
    for (position, _) in &letters[1..] {
        queue.answer(*position, true);
    }
    queue.checkpoint();
    queue.restart();
    assert_eq!((queue.dead(), queue.bench.ready()), (0, 2));
}

#[test]
fn every_way_to_die_and_every_overflow_is_held() {
    for overflow in [Overflow::DropHead, Overflow::RejectPublish, Overflow::RejectPublishDlx] {
        let mut queue = Holding::new(|settings| {
            settings.overflow = overflow;
            settings.max_length = Some(3);
            settings.message_ttl = Some(50);
            settings.counts_deliveries = true;
            settings.delivery_limit = Some(0);
        });
        queue.bench.publish(1..4);
        queue.bench.consume(spec(1));
        queue.bench.take(1);
        queue.bench.settle(1, 0, 1, Settlement::RequeueFailed);
        queue.bench.settle(1, 1, 1, Settlement::Reject);
        queue.bench.cancel(1);
        assert_eq!(numbers(&queue.letters()), [1, 2]);
        queue.bench.settle(1, 2, 1, Settlement::Requeue);
        queue.bench.tick(50);
        assert_eq!(numbers(&queue.letters()), [3]);
        queue.bench.publish(4..7);
        assert_eq!(queue.bench.ready(), 3, "what is dead does not count against the limit");
        queue.bench.publish(7..8);
        let lost: Vec<_> = queue.bench.fx.dead_letters.drain(..).collect();
        let held = lost.iter().filter(|dead| dead.held_at.is_some()).count();
        match overflow {
            Overflow::DropHead => assert_eq!((held, queue.dead()), (1, 4)),
            Overflow::RejectPublish => assert_eq!((lost.len(), queue.dead()), (0, 3)),
            // Its publisher was told that it is not in the queue.
            Overflow::RejectPublishDlx => assert_eq!((lost.len(), held, queue.dead()), (1, 0, 3)),
        }
    }
}

#[test]
fn dead_letters_are_read_from_disk_and_not_all_at_once() {
    let mut queue = Holding::new(|settings| settings.message_ttl = Some(10));
    let n = DEAD_LETTERS_SENT_MAX * 3;
    for part in 0..30 {
        let ids = part * n / 30..(part + 1) * n / 30;
        queue.bench.queue.publish(batch(&drafts(ids)), queue.bench.now, &mut queue.bench.fx);
    }
    queue.page_out_all();
    queue.bench.now = queue.bench.now.plus(10);
    queue.bench.tick(0);
    let mut seen = Vec::new();
    for _ in 0..100 {
        let now = queue.bench.now;
        queue.disk.answer_loads(&mut queue.bench.queue, now, &mut queue.bench.fx);
        let letters = queue.letters();
        assert!(letters.len() as u64 <= DEAD_LETTERS_SENT_MAX);
        for (position, number) in letters {
            seen.push(number);
            queue.answer(position, true);
        }
    }
    assert_eq!(seen, (0..n).collect::<Vec<_>>());
    assert_eq!((queue.dead(), queue.bench.ready()), (0, 0));
    assert_eq!(queue.bench.queue.stats().expired, n);
}

#[test]
fn what_nobody_takes_does_not_keep_the_rest_back() {
    let mut queue = Holding::new(|_| {});
    queue.reject(0..DEAD_LETTERS_SENT_MAX + 5);
    let letters = queue.letters();
    assert_eq!(letters.len() as u64, DEAD_LETTERS_SENT_MAX);
    letters.iter().for_each(|(position, _)| queue.answer(*position, false));
    queue.bench.tick(DEAD_LETTER_RETRY_MS);
    let again = numbers(&queue.letters());
    let first = DEAD_LETTERS_SENT_MAX;
    assert_eq!(again[..5], (first..first + 5).collect::<Vec<_>>());
}

#[test]
fn dead_letters_go_with_their_exchange() {
    let mut queue = Holding::new(|_| {});
    queue.reject(1..4);
    let letters = queue.letters();
    let settings = QueueSettings { dead_letter: None, ..queue.bench.queue.settings().clone() };
    queue.bench.queue.set_settings(settings, queue.bench.now, &mut queue.bench.fx);
    assert_eq!((queue.dead(), queue.bench.queue.stats().rejected), (0, 3));
    queue.answer(letters[0].0, true);
    queue.answer(letters[1].0, false);
    queue.bench.tick(10_000);
    assert!(queue.letters().is_empty());
}

#[test]
fn mirror_of_a_queue_with_dead_letters_holds_the_same() {
    let mut queue = Holding::new(|_| {});
    queue.reject(1..9);
    let letters = queue.letters();
    queue.answer(letters[2].0, true);
    let mut mirror = super::support::queue(queue.bench.queue.settings().clone());
    mirror.may_deliver(false, Timestamp(0), &mut Effects::default());
    for logged in queue.bench.fx.ops.drain(..) {
        mirror.apply(logged.index, logged.op);
    }
    assert_eq!(mirror.counts().dead, 7);
    let mut fx = Effects::default();
    mirror.may_deliver(true, Timestamp(0), &mut fx);
    assert_eq!(fx.dead_letters.iter().map(|dead| dead.n).sum::<u32>(), 7);
}

#[test]
fn requeue_after_get_does_not_touch_what_is_held() {
    let mut queue = Holding::new(|_| {});
    queue.reject(1..2);
    queue.bench.publish(2..4);
    let mut out = Vec::new();
    queue.bench.consume(spec(2));
    let now = queue.bench.now;
    queue.bench.queue.take(ConsumerId(2), super::support::ALL, now, &mut out, &mut queue.bench.fx);
    assert_eq!(out.iter().flat_map(signed_numbers).collect::<Vec<_>>(), [2, 3]);
    // A range that reaches over the dead one.
    queue.bench.settle(2, 1, 2, Settlement::Requeue);
    let counts = queue.bench.queue.counts();
    assert_eq!((counts.ready + counts.unacked, counts.dead), (2, 1));
}

fn retrying(kind: RetryKind, set: impl FnOnce(&mut DelayedRetry)) -> Holding {
    let mut retry = DelayedRetry { kind, min: 100, max: 350, multiplier: 0, jitter: 0 };
    set(&mut retry);
    Holding::new(|settings| {
        settings.counts_deliveries = true;
        settings.delivery_limit = Some(4);
        settings.delayed_retry = Some(Box::new(retry));
    })
}

impl Holding {
    /// Takes the one message, gives it back, and says how long it is away; `None` if it does not
    /// come again.
    fn fail(&mut self, how: Settlement) -> Option<u64> {
        let taken = self.bench.take(1);
        let before = self.bench.now;
        self.bench.settle(1, taken[0].first_seq.0, 1, how);
        if self.bench.queue.counts().delayed == 0 {
            return (self.bench.queue.counts().dead == 0).then_some(0);
        }
        let due = self.bench.queue.next_deadline().unwrap();
        self.bench.now = Timestamp(due.0 - 1);
        self.bench.tick(0);
        assert_eq!(self.bench.take(1).len(), 0, "never early");
        self.bench.tick(1);
        Some(due.0 - before.0)
    }
}

#[test]
fn delay_grows_with_every_failure_up_to_its_bound_and_then_the_message_dies() {
    let mut queue = retrying(RetryKind::All, |_| {});
    queue.bench.publish(1..2);
    queue.bench.consume(spec(1));
    let delays: Vec<_> = (0..5).map(|_| queue.fail(Settlement::RequeueFailed)).collect();
    assert_eq!(delays, [Some(100), Some(200), Some(300), Some(350), None]);
    assert_eq!(numbers(&queue.letters()), [1]);
}

#[test]
fn delay_may_grow_by_a_factor_and_be_scattered() {
    let mut queue = retrying(RetryKind::Failed, |retry| {
        (retry.min, retry.max, retry.multiplier) = (10, 500, 300);
    });
    queue.bench.publish(1..2);
    queue.bench.consume(spec(1));
    let delays: Vec<_> = (0..4).map(|_| queue.fail(Settlement::RequeueFailed)).collect();
    assert_eq!(delays, [Some(10), Some(30), Some(90), Some(270)]);
    let retry =
        DelayedRetry { kind: RetryKind::All, min: 1000, max: 9000, multiplier: 200, jitter: 50 };
    let delays = [0, u64::MAX / 2, u64::MAX].map(|random| retry.delay(2, random));
    assert_eq!(delays, [2000, 2499, 2999]);
    assert_eq!(retry.delay(40, u64::MAX), 9000);
    assert_eq!(retry.delay(u32::MAX, 0), 9000);
}

#[test]
fn only_what_is_meant_waits() {
    let mut queue = retrying(RetryKind::Failed, |_| {});
    queue.bench.publish(1..2);
    queue.bench.consume(spec(1));
    assert_eq!(queue.fail(Settlement::Requeue), Some(0));
    assert_eq!(queue.fail(Settlement::RequeueFailed), Some(100));
    let mut queue = retrying(RetryKind::Returned, |_| {});
    queue.bench.publish(1..2);
    queue.bench.consume(spec(1));
    assert_eq!(queue.fail(Settlement::RequeueFailed), Some(0));
    assert_eq!(queue.fail(Settlement::Requeue), Some(200));
}

#[test]
fn what_waits_lets_others_pass_and_survives_a_crash() {
    let mut queue = retrying(RetryKind::All, |_| {});
    queue.bench.publish(1..4);
    queue.bench.consume(spec(1));
    queue.bench.take(1);
    queue.bench.settle(1, 0, 1, Settlement::RequeueFailed);
    queue.bench.settle(1, 1, 2, Settlement::Ack);
    for restart in 0..3 {
        if restart == 1 {
            queue.checkpoint();
        } else {
            queue.seal();
        }
        queue.restart();
        let counts = queue.bench.queue.counts();
        assert_eq!((counts.ready, counts.delayed, counts.delayed_bytes), (0, 1, 8));
        assert_eq!(queue.bench.get(), None);
    }
    queue.bench.tick(100);
    assert_eq!(queue.bench.queue.counts().delayed, 0);
    queue.bench.consume(spec(1));
    let now = queue.bench.now;
    queue.disk.answer_loads(&mut queue.bench.queue, now, &mut queue.bench.fx);
    let delivery = &queue.bench.take(1)[0];
    assert!(delivery.redelivered && delivery.returns.failed == 1);
    assert_eq!(queue.fail_again(), Some(200));
}

impl Holding {
    /// What was taken already is given back once more.
    fn fail_again(&mut self) -> Option<u64> {
        self.bench.settle(1, 0, 1, Settlement::RequeueFailed);
        Some(self.bench.queue.next_deadline()?.0 - self.bench.now.0)
    }
}

#[test]
fn letters_that_are_to_stay_do_so_whatever_the_strategy_but_for_those_of_a_length_limit() {
    let mut holding = Holding::new(|settings| {
        settings.dead_letter_strategy = DeadLetterStrategy::AtMostOnce;
        settings.max_length = Some(2);
    });
    holding.bench.queue.let_letters_stay();
    holding.reject(0..2);
    let letters = holding.letters();
    assert_eq!((numbers(&letters), holding.dead()), (vec![0, 1], 2));
    holding.answer(letters[0].0, true);
    assert_eq!(holding.dead(), 1);
    holding.bench.publish(2..5);
    assert_eq!(holding.bench.deaths(), [(2, "maxlen")]);
    assert_eq!(holding.dead(), 1);
}
