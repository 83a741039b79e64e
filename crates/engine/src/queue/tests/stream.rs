//! Streams: readers with positions of their own, what survives a crash, what leaves memory, what goes.

use super::disk::Disk;
use super::support::{ALL, Draft, batch, confirmed, drafts, numbers, queue, spec};
use crate::ids::{ConsumerId, Seq, SeqRange};
use crate::queue::effects::{Budget, Effects, Incoming};
use crate::queue::ops::{Keep, Log, OpIndex, Shown};
use crate::queue::stream::{StreamFilter, StreamOffset, StreamRead};
use crate::queue::{Queue, Settle, Settlement};
use crate::record::{Body, NewRecord};
use crate::settings::{QueueSettings, StreamSettings};
use crate::time::Timestamp;
use leveret_codec::{Change, PropertyChanges, TableWriter, rewrite};
use std::sync::Arc;

/// A stream with a disk.
struct Bench {
    queue: Queue,
    disk: Disk,
    now: Timestamp,
    fx: Effects,
}

fn settings(stream: StreamSettings) -> QueueSettings {
    QueueSettings { durable: true, stream: Some(Box::new(stream)), ..QueueSettings::default() }
}

const PLAIN: StreamSettings =
    StreamSettings { max_bytes: None, max_age: None, segment_bytes: 500_000_000 };

impl Bench {
    fn new(stream: StreamSettings) -> Self {
        let mut queue = queue(settings(stream));
        let (now, mut fx) = (Timestamp(1000), Effects::default());
        let log = Log::Kept { next: OpIndex(1), keep: Keep::All, shown: Shown::AtOnce };
        queue.set_log(log, now, &mut fx);
        Self { queue, disk: Disk::default(), now, fx }
    }

    fn publish(&mut self, ids: std::ops::Range<u64>) {
        self.queue.publish(batch(&drafts(ids)), self.now, &mut self.fx);
    }

    /// All that was emitted is on disk.
    fn sync(&mut self) {
        self.disk.emitted(&mut self.fx.ops);
        let (numbers, gcn) = self.disk.seal();
        numbers.into_iter().for_each(|number| self.queue.checkpoint_stored(number, gcn));
        if let Some(last) = self.queue.last_op() {
            self.queue.durable(last, self.now, &mut self.fx);
        }
    }

    fn checkpoint(&mut self) {
        self.disk.emitted(&mut self.fx.ops);
        let checkpoint = self.queue.checkpoint(OpIndex(u64::MAX));
        self.disk.checkpoint(checkpoint);
        self.sync();
    }

    fn page_out_all(&mut self) {
        self.disk.emitted(&mut self.fx.ops);
        if let Some(checkpoint) = self.queue.page_out(usize::MAX).checkpoint {
            self.disk.checkpoint(checkpoint);
        }
        self.sync();
    }

    fn restart(&mut self) {
        self.disk.crash();
        self.fx = Effects::default();
        let settings = self.queue.settings().clone();
        self.queue = self.disk.recover(settings, Keep::All, self.now, &mut self.fx);
    }

    fn consume(&mut self, id: u64, prefetch: u16, from: StreamOffset) {
        self.consume_filtered(id, prefetch, from, None);
    }

    fn consume_filtered(
        &mut self,
        id: u64,
        prefetch: u16,
        from: StreamOffset,
        filter: Option<StreamFilter>,
    ) {
        let read = StreamRead { from, filter: filter.map(Arc::new) };
        let spec = crate::queue::ConsumerSpec { prefetch, read, ..spec(id) };
        self.queue.consume(spec, self.now, &mut self.fx).unwrap();
    }

    /// What a consumer takes until it is told that there is no more, as offset and number.
    fn take(&mut self, id: u64) -> Vec<(u64, u64)> {
        let (mut got, mut out) = (Vec::new(), Vec::new());
        loop {
            let more = self.queue.take(ConsumerId(id), ALL, self.now, &mut out, &mut self.fx);
            for delivery in out.drain(..) {
                assert!(delivery.from_stream && !delivery.redelivered);
                got.extend((delivery.first_seq.index()..).zip(numbers(&delivery)));
            }
            if self.fx.loads.is_empty() && !more {
                return got;
            }
            self.disk.answer_loads(&mut self.queue, self.now, &mut self.fx);
        }
    }

    fn settle(&mut self, by: u64, first: u64, n: u32, how: Settlement) {
        let range = SeqRange { first: Seq(first), n };
        let settle = Settle { consumer: Some(ConsumerId(by)), range, how };
        self.queue.settle(&[settle], self.now, &mut self.fx);
    }

    fn woken(&mut self) -> Vec<u64> {
        self.fx.wake.drain(..).map(|(_, consumer)| consumer.0).collect()
    }
}

/// Offset and number are the same where ids are counted from 0.
fn same(ids: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    ids.map(|id| (id, id)).collect()
}

#[test]
fn readers_have_positions_of_their_own_and_use_nothing_up() {
    let mut bench = Bench::new(PLAIN);
    bench.publish(0..3);
    bench.sync();
    bench.consume(1, 2, StreamOffset::First);
    bench.consume(2, 9, StreamOffset::At(1));
    assert_eq!(bench.woken(), [1, 2]);
    assert_eq!(bench.take(1), same(0..2));
    assert_eq!(bench.take(2), same(1..3));
    bench.settle(1, 0, 1, Settlement::Ack);
    assert_eq!(bench.woken(), [1], "an ack makes room for one");
    assert_eq!(bench.take(1), same(2..3));
    bench.settle(1, 1, 2, Settlement::Requeue);
    assert_eq!(bench.take(1), [], "what is given back does not come again");
    let counts = bench.queue.counts();
    assert_eq!((counts.ready, counts.unacked, counts.consumers), (3, 0, 2));
    assert_eq!(bench.queue.offsets(), (0, 3));
}

#[test]
fn reader_sees_only_what_survives_a_crash() {
    let mut bench = Bench::new(PLAIN);
    bench.consume(1, 100, StreamOffset::Next);
    bench.queue.publish(confirmed(&drafts(0..3)), bench.now, &mut bench.fx);
    assert!(bench.woken().is_empty() && bench.fx.settled.is_empty());
    assert_eq!(bench.take(1), []);
    bench.restart();
    assert_eq!(bench.queue.offsets(), (0, 0), "nobody saw them, and their offsets are free");
    bench.consume(1, 100, StreamOffset::Next);
    bench.publish(0..3);
    bench.sync();
    assert_eq!(bench.woken(), [1]);
    assert_eq!(bench.take(1), same(0..3));
}

#[test]
fn offsets_begin_where_they_say() {
    let mut bench = Bench::new(PLAIN);
    for ids in [0..2, 2..5, 5..7] {
        bench.publish(ids);
        bench.sync();
        bench.now = bench.now.plus(1000);
    }
    let from = [
        (StreamOffset::First, 0),
        (StreamOffset::Last, 5),
        (StreamOffset::Next, 7),
        (StreamOffset::At(4), 4),
        (StreamOffset::At(6), 6),
        (StreamOffset::Since(Timestamp(0)), 0),
        (StreamOffset::Since(Timestamp(1000)), 0),
        (StreamOffset::Since(Timestamp(1001)), 2),
        (StreamOffset::Since(Timestamp(2000)), 2),
        (StreamOffset::Since(Timestamp(2001)), 5),
        (StreamOffset::Since(Timestamp(3001)), 7),
        (StreamOffset::Ago(1500), 5),
        (StreamOffset::Ago(u64::MAX), 0),
    ];
    for (id, (from, first)) in (1..).zip(from) {
        bench.consume(id, 100, from);
        assert_eq!(bench.take(id), same(first..7), "{from:?}");
    }
    // All of them are there for what comes, but the one that waits for a position beyond.
    bench.consume(50, 100, StreamOffset::At(8));
    bench.woken();
    bench.publish(7..10);
    bench.sync();
    assert_eq!(bench.woken().len(), from.len() + 1);
    assert_eq!(bench.take(7), same(7..10));
    assert_eq!(bench.take(50), same(8..10));
}

#[test]
fn time_is_found_again_after_a_restart_and_in_chunks() {
    let mut bench = Bench::new(PLAIN);
    for id in 0..300 {
        bench.now = Timestamp(10_000 + id * 10);
        bench.publish(id..id + 1);
    }
    bench.checkpoint();
    bench.restart();
    assert_eq!(bench.queue.paged_out().0, 300);
    bench.consume(1, 1000, StreamOffset::Since(Timestamp(10_000 + 1234)));
    assert_eq!(bench.take(1), same(124..300));
}

#[test]
fn whole_segments_go_when_there_is_too_much() {
    // A record is 24 bytes, address and properties, and a body of 8.
    let stream = StreamSettings { max_bytes: Some(400), segment_bytes: 150, ..PLAIN };
    let mut bench = Bench::new(stream);
    let mut first = 0;
    for id in 0..100 {
        bench.publish(id..id + 1);
        let (from, to) = bench.queue.offsets();
        assert_eq!(to, id + 1);
        assert!(from >= first && to - from <= 4 + 4 + 4 + 4);
        first = from;
    }
    assert_eq!(bench.queue.counts().ready, 100 - first);
    assert_eq!(bench.queue.stats().truncated, first);
    bench.checkpoint();
    bench.restart();
    assert_eq!(bench.queue.offsets().1, 100);
    assert!(bench.queue.offsets().0 >= first);
    bench.consume(1, 100, StreamOffset::First);
    let got = bench.take(1);
    assert_eq!(got.last(), Some(&(99, 99)));
    bench.consume(2, 100, StreamOffset::At(3));
    assert_eq!(bench.take(2), got, "what is gone is passed over");
}

#[test]
fn segments_go_when_they_are_old_and_never_the_one_that_is_filled() {
    let stream = StreamSettings { max_age: Some(5000), segment_bytes: 150, ..PLAIN };
    let mut bench = Bench::new(stream);
    bench.publish(0..10);
    assert_eq!(bench.queue.next_deadline(), None, "a segment that is filled stays");
    bench.now = bench.now.plus(1000);
    bench.publish(10..20);
    let due = bench.queue.next_deadline().unwrap();
    assert_eq!(due, Timestamp(1000 + 5000));
    bench.queue.tick(Timestamp(due.0 - 1), &mut bench.fx);
    assert_eq!(bench.queue.offsets(), (0, 20));
    bench.queue.tick(due, &mut bench.fx);
    assert_eq!(bench.queue.offsets(), (10, 20));
    assert_eq!(bench.queue.next_deadline(), None);
    bench.sync();
    bench.restart();
    assert_eq!(bench.queue.offsets(), (10, 20));
}

#[test]
fn stream_leaves_memory_and_is_read_a_few_chunks_at_a_time() {
    let mut bench = Bench::new(PLAIN);
    for at in 0..100 {
        let ids = at * 100..(at + 1) * 100;
        let drafts: Vec<_> = ids.map(|id| Draft { id, len: 300, ..Draft::default() }).collect();
        bench.queue.publish(batch(&drafts), bench.now, &mut bench.fx);
    }
    bench.page_out_all();
    assert!(bench.queue.memory() < 100_000, "{}", bench.queue.memory());
    bench.consume(1, 100, StreamOffset::First);
    assert!(bench.woken().is_empty() && (1..=4).contains(&bench.fx.loads.len()));
    let mut at = 0;
    while at < 10_000 {
        let got = bench.take(1);
        assert_eq!(got, same(at..at + 100));
        bench.settle(1, at, 100, Settlement::Ack);
        at += 100;
        if at % 2000 == 0 {
            bench.page_out_all();
            assert!(bench.queue.memory() < 900_000, "{}", bench.queue.memory());
        }
    }
    assert_eq!(bench.queue.counts().ready, 10_000);
    assert_eq!(bench.queue.counts().ready_bytes, 3_000_000);
}

#[test]
fn damaged_chunk_is_passed_over() {
    let mut bench = Bench::new(PLAIN);
    for at in 0..4 {
        let ids = at * 100..(at + 1) * 100;
        let drafts: Vec<_> = ids.map(|id| Draft { id, len: 3000, ..Draft::default() }).collect();
        bench.queue.publish(batch(&drafts), bench.now, &mut bench.fx);
    }
    bench.checkpoint();
    bench.restart();
    bench.consume(1, 1000, StreamOffset::First);
    let damaged = bench.fx.loads.remove(0);
    assert!(!bench.queue.loaded(damaged, None, bench.now, &mut bench.fx));
    let got = bench.take(1);
    assert_eq!(got.last(), Some(&(399, 399)));
    assert!(got[0].0 > 0 && got.len() as u64 == 400 - got[0].0);
    assert_eq!(bench.queue.stats().lost, got[0].0);
}

fn filtered(values: &[Option<&str>]) -> Incoming {
    let mut incoming = Incoming::default();
    for (id, value) in (0_u64..).zip(values) {
        let mut table = Vec::new();
        if let Some(value) = value {
            TableWriter::new(&mut table).string("x-stream-filter-value", value);
        }
        let changes =
            PropertyChanges { headers: Change::Set(&table), ..PropertyChanges::default() };
        let mut properties = Vec::new();
        rewrite(&[0, 0], &changes, &mut properties).unwrap();
        incoming.block.push(&NewRecord {
            address: b"\x00\x01s",
            properties: &properties,
            persistent: false,
            priority: 0,
            expires_at: Some(Timestamp(1)),
            body: Body::Inline(&id.to_le_bytes()),
        });
    }
    incoming
}

#[test]
fn filter_passes_what_it_names() {
    let mut bench = Bench::new(PLAIN);
    let values = [Some("a"), Some("b"), None, Some("a"), Some("c"), None];
    bench.queue.publish(filtered(&values), bench.now, &mut bench.fx);
    bench.sync();
    let filter = |values: &[&str], unfiltered| {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        Some(StreamFilter { values, unfiltered })
    };
    bench.consume_filtered(1, 100, StreamOffset::First, filter(&["a"], false));
    assert_eq!(bench.take(1), [(0, 0), (3, 3)]);
    bench.consume_filtered(2, 2, StreamOffset::First, filter(&["b", "c"], true));
    assert_eq!(bench.take(2), [(1, 1), (2, 2)]);
    bench.settle(2, 1, 2, Settlement::Ack);
    assert_eq!(bench.take(2), [(4, 4), (5, 5)]);
}

#[test]
fn budget_of_the_connection_is_kept() {
    let mut bench = Bench::new(PLAIN);
    bench.publish(0..50);
    bench.sync();
    bench.consume(1, 40, StreamOffset::First);
    let mut out = Vec::new();
    let budget = Budget { records: 7, bytes: u32::MAX };
    assert!(bench.queue.take(ConsumerId(1), budget, bench.now, &mut out, &mut bench.fx));
    assert_eq!(out.iter().map(|delivery| delivery.n).sum::<u32>(), 7);
    assert_eq!(bench.take(1), same(7..40));
    bench.queue.cancel(ConsumerId(1), bench.now, &mut bench.fx);
    bench.settle(1, 0, 40, Settlement::Requeue);
    assert_eq!(bench.queue.counts().consumers, 0);
    assert_eq!(bench.take(1), []);
}
