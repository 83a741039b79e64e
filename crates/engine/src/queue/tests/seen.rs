//! Deduplication in a queue: while the message is there, within a window, over a crash.

use super::disk::Disk;
use super::support::{Bench, spec};
use crate::queue::effects::{ConfirmRun, Effects, Incoming, Outcome};
use crate::queue::ops::{Keep, Log, OpIndex, Shown};
use crate::queue::{Settlement, tests::support};
use crate::record::{Body, NewRecord};
use crate::settings::{Deduplication, Overflow, QueueSettings};
use leveret_codec::{Change, PropertyChanges, TableWriter, rewrite};

/// A batch of messages with these deduplication headers; all want a confirm, with tags from 1.
fn batch(keys: &[&str]) -> Incoming {
    let mut incoming = Incoming::default();
    for (id, key) in (1_u64..).zip(keys) {
        let mut table = Vec::new();
        TableWriter::new(&mut table).string("x-deduplication-header", key);
        let headers = if key.is_empty() { Change::Keep } else { Change::Set(&table[..]) };
        let changes = PropertyChanges { headers, ..PropertyChanges::default() };
        let mut properties = Vec::new();
        rewrite(&[0, 0], &changes, &mut properties).unwrap();
        incoming.block.push(&NewRecord {
            address: b"\x00\x01q",
            properties: &properties,
            persistent: true,
            priority: 0,
            expires_at: None,
            body: Body::Inline(&id.to_le_bytes()),
        });
    }
    let n = incoming.block.len();
    let run = ConfirmRun { first_record: 0, n, channel: support::channel(9), first_tag: 1 };
    incoming.confirms.push(run);
    incoming
}

struct Deduplicating {
    bench: Bench,
    disk: Disk,
}

impl Deduplicating {
    fn new(window: Deduplication, set: impl FnOnce(&mut QueueSettings)) -> Self {
        let mut settings = QueueSettings {
            durable: true,
            deduplication: Some(Box::new(window)),
            ..QueueSettings::default()
        };
        set(&mut settings);
        let mut bench = Bench::new(settings);
        let log = Log::Kept { next: OpIndex(1), keep: Keep::All, shown: Shown::AtOnce };
        bench.queue.set_log(log, bench.now, &mut bench.fx);
        Self { bench, disk: Disk::default() }
    }

    /// Publishes, and says how each was answered and how many are ready.
    fn publish(&mut self, keys: &[&str]) -> (Vec<Outcome>, u64) {
        let (now, fx) = (self.bench.now, &mut self.bench.fx);
        self.bench.queue.publish(batch(keys), now, fx);
        let last = self.bench.queue.last_op().unwrap();
        self.bench.queue.durable(last, now, &mut self.bench.fx);
        let mut answers = self.bench.answers();
        answers.sort_by_key(|(tag, _)| *tag);
        assert!(answers.iter().map(|(tag, _)| *tag).eq(1..=keys.len() as u64));
        (answers.into_iter().map(|(_, outcome)| outcome).collect(), self.bench.ready())
    }

    fn finish(&mut self, n: u32) {
        self.bench.consume(spec(1));
        let taken = self.bench.take(1);
        let first = taken[0].first_seq.0;
        let all = taken.iter().map(|delivery| delivery.n).sum::<u32>();
        self.bench.settle(1, first, n, Settlement::Ack);
        self.bench.settle(1, first + u64::from(n), all - n, Settlement::Requeue);
        self.bench.cancel(1);
    }

    fn restart(&mut self, checkpoint: bool) {
        self.disk.emitted(&mut self.bench.fx.ops);
        if checkpoint {
            let checkpoint = self.bench.queue.checkpoint(OpIndex(u64::MAX));
            self.disk.checkpoint(checkpoint);
        }
        let (numbers, gcn) = self.disk.seal();
        numbers.into_iter().for_each(|number| self.bench.queue.checkpoint_stored(number, gcn));
        let settings = self.bench.queue.settings().clone();
        self.bench.fx = Effects::default();
        let (now, fx) = (self.bench.now, &mut self.bench.fx);
        self.bench.queue = self.disk.recover(settings, Keep::All, now, fx);
    }
}

const NO_WINDOW: Deduplication = Deduplication { ttl: None, size: None };

#[test]
fn header_counts_while_its_message_is_there() {
    let mut queue = Deduplicating::new(NO_WINDOW, |_| {});
    let all = |n| vec![Outcome::Accepted; n];
    assert_eq!(queue.publish(&["a", "b", "a", "", "", "b"]), (all(6), 4));
    assert_eq!(queue.publish(&["a", "c"]), (all(2), 5));
    queue.finish(1);
    assert_eq!(queue.publish(&["a", "b"]), (all(2), 5), "a is gone, b is not");
    assert_eq!(queue.bench.queue.stats().duplicates, 4);
    assert_eq!(queue.bench.queue.purge(&mut queue.bench.fx), 5);
    assert_eq!(queue.publish(&["a", "b", "c"]), (all(3), 3));
}

#[test]
fn header_counts_after_a_restart() {
    for checkpoint in [false, true] {
        let mut queue = Deduplicating::new(NO_WINDOW, |_| {});
        queue.publish(&["a", "b", "c"]);
        queue.finish(1);
        queue.restart(checkpoint);
        assert_eq!(queue.publish(&["b", "c"]).1, 2);
        assert_eq!(queue.publish(&["a"]).1, 3);
    }
}

#[test]
fn window_outlives_the_message_and_the_process() {
    for checkpoint in [false, true] {
        let window = Deduplication { ttl: Some(1000), size: None };
        let mut queue = Deduplicating::new(window, |_| {});
        queue.publish(&["a", "b"]);
        queue.finish(2);
        assert_eq!(queue.publish(&["a"]).1, 0);
        queue.restart(checkpoint);
        queue.bench.now = queue.bench.now.plus(999);
        assert_eq!(queue.publish(&["a", "b", "c"]).1, 1);
        queue.bench.now = queue.bench.now.plus(1);
        assert_eq!(queue.publish(&["a", "b", "c"]).1, 3);
    }
}

#[test]
fn window_has_a_size() {
    let window = Deduplication { ttl: None, size: Some(2) };
    let mut queue = Deduplicating::new(window, |_| {});
    queue.publish(&["a", "b", "c"]);
    assert_eq!(queue.publish(&["b", "c"]).1, 3);
    assert_eq!(queue.publish(&["a"]).1, 4);
    assert_eq!(queue.publish(&["b"]).1, 5);
}

#[test]
fn what_was_refused_was_not_seen() {
    let mut queue = Deduplicating::new(NO_WINDOW, |settings| {
        settings.max_length = Some(1);
        settings.overflow = Overflow::RejectPublish;
    });
    let (answers, ready) = queue.publish(&["a", "b", "a"]);
    assert_eq!(answers, [Outcome::Accepted, Outcome::Rejected, Outcome::Accepted]);
    assert_eq!(ready, 1);
    queue.finish(1);
    assert_eq!(queue.publish(&["b"]), (vec![Outcome::Accepted], 1));
}

#[test]
fn duplicate_is_confirmed_when_its_message_is_durable() {
    let mut queue = Deduplicating::new(NO_WINDOW, |_| {});
    let now = queue.bench.now;
    queue.publish(&["a"]);
    queue.bench.queue.publish(batch(&["a"]), now, &mut queue.bench.fx);
    assert_eq!(queue.bench.answers().len(), 1, "nothing else is going to be durable");
    queue.bench.queue.publish(batch(&["b"]), now, &mut queue.bench.fx);
    queue.bench.queue.publish(batch(&["b"]), now, &mut queue.bench.fx);
    assert_eq!(queue.bench.answers(), []);
    let last = queue.bench.queue.last_op().unwrap();
    queue.bench.queue.durable(last, now, &mut queue.bench.fx);
    assert_eq!(queue.bench.answers().len(), 2);
}
