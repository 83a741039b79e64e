//! Single rules of a durable queue: what a checkpoint writes, what a restart brings back, what
//! leaves memory and when it returns.

use super::disk::{Disk, contents};
use super::support::{ALL, Bench, Draft, batch, dead_letter, drafts, queue, signed_numbers, spec};
use crate::ids::{ConsumerId, Seq, SeqRange};
use crate::queue::checkpoint::{ChunkId, ChunkMeta, State, read_state};
use crate::queue::effects::Effects;
use crate::queue::ops::{DropReason, Keep, Log, Op, OpIndex, Returns, Shown};
use crate::queue::recovery::Recovery;
use crate::queue::{Queue, Settle, Settlement};
use crate::settings::QueueSettings;
use crate::time::Timestamp;
use proptest::prelude::*;

const EVERYTHING: OpIndex = OpIndex(u64::MAX);

/// A queue with a disk.
struct Durable {
    bench: Bench,
    disk: Disk,
    keep: Keep,
}

impl Durable {
    fn new(set: impl FnOnce(&mut QueueSettings)) -> Self {
        Self::keeping(Keep::All, set)
    }

    fn keeping(keep: Keep, set: impl FnOnce(&mut QueueSettings)) -> Self {
        let mut settings = QueueSettings { durable: true, ..QueueSettings::default() };
        set(&mut settings);
        let mut bench = Bench::new(settings);
        let log = Log::Kept { next: OpIndex(1), keep, shown: Shown::AtOnce };
        bench.queue.set_log(log, bench.now, &mut bench.fx);
        Self { bench, disk: Disk::default(), keep }
    }

    fn seal(&mut self) {
        self.disk.emitted(&mut self.bench.fx.ops);
        let (numbers, gcn) = self.disk.seal();
        numbers.into_iter().for_each(|number| self.bench.queue.checkpoint_stored(number, gcn));
    }

    fn checkpoint(&mut self) {
        self.disk.emitted(&mut self.bench.fx.ops);
        let checkpoint = self.bench.queue.checkpoint(EVERYTHING);
        self.disk.checkpoint(checkpoint);
        self.seal();
    }

    fn page_out(&mut self, bytes: usize) {
        self.disk.emitted(&mut self.bench.fx.ops);
        if let Some(checkpoint) = self.bench.queue.page_out(bytes).checkpoint {
            self.disk.checkpoint(checkpoint);
        }
        self.seal();
    }

    /// Pages out all that may be, the head too.
    fn page_out_all(&mut self) {
        self.page_out(usize::MAX);
        let (n, _) = self.bench.queue.paged_out();
        assert_eq!(n, self.bench.queue.counts().ready + self.bench.queue.counts().unacked);
    }

    fn restart(&mut self) {
        self.seal();
        let settings = self.bench.queue.settings().clone();
        self.bench.fx = Effects::default();
        let (now, fx) = (self.bench.now, &mut self.bench.fx);
        self.bench.queue = self.disk.recover(settings, self.keep, now, fx);
    }

    fn answer(&mut self) {
        let (queue, fx) = (&mut self.bench.queue, &mut self.bench.fx);
        self.disk.answer_loads(queue, self.bench.now, fx);
    }

    fn fill(&mut self, n_batches: u64, n: u64, len: usize) {
        for batch in 0..n_batches {
            let ids = batch * n + 1..(batch + 1) * n + 1;
            let drafts: Vec<_> = ids.map(|id| Draft { id, len, ..Draft::default() }).collect();
            self.bench.publish_drafts(&drafts);
        }
    }

    /// All that a new consumer gets, loads answered as they come; redelivered ones are negative.
    fn consume_all(&mut self) -> Vec<i64> {
        let mut no_ack = spec(77);
        no_ack.no_ack = true;
        self.bench.consume(no_ack);
        let mut got = Vec::new();
        loop {
            let mut out = Vec::new();
            let (now, fx) = (self.bench.now, &mut self.bench.fx);
            let more = self.bench.queue.take(ConsumerId(77), ALL, now, &mut out, fx);
            got.extend(out.iter().flat_map(signed_numbers));
            let loading = !self.bench.fx.loads.is_empty();
            self.answer();
            if out.is_empty() && !more && !loading {
                self.bench.cancel(77);
                return got;
            }
        }
    }
}

fn negative(ids: std::ops::Range<i64>) -> Vec<i64> {
    ids.map(|id| -id).collect()
}

#[test]
fn restart_brings_back_persistent_messages_in_order_and_marked() {
    let mut durable = Durable::keeping(Keep::Persistent, |_| {});
    durable.bench.publish(1..9);
    durable.restart();
    assert_eq!(durable.bench.ready(), 4);
    assert_eq!(durable.consume_all(), [-2, -4, -6, -8]);
    durable.bench.publish(10..13);
    assert_eq!(durable.consume_all(), [10, 11, 12]);
}

#[test]
fn restart_with_a_checkpoint_needs_no_records_and_reads_no_chunk() {
    let mut durable = Durable::new(|_| {});
    durable.fill(200, 100, 200);
    durable.seal();
    assert!(durable.disk.n_records() > 0);
    durable.checkpoint();
    assert_eq!(durable.disk.n_records(), 0);
    let n_chunks = durable.disk.chunks.len();
    assert!((20..100).contains(&n_chunks), "{n_chunks} chunks for 5 MB");
    durable.restart();
    let counts = durable.bench.queue.counts();
    assert_eq!((counts.ready, counts.ready_bytes), (20_000, 20_000 * 200));
    assert_eq!(durable.bench.queue.paged_out(), (20_000, 20_000 * 200));
    assert!(durable.bench.fx.loads.is_empty(), "nobody asked for a message");
    let memory = durable.bench.queue.memory();
    assert!(memory < n_chunks * 400, "{memory} bytes for {n_chunks} descriptors");
    assert_eq!(durable.consume_all(), negative(1..20_001));
    let counts = durable.bench.queue.counts();
    assert_eq!((counts.ready, counts.ready_bytes, counts.in_flight), (0, 0, 0));
    durable.checkpoint();
    assert!(durable.disk.chunks.is_empty(), "chunks of which nothing is left are removed");
}

#[test]
fn ten_million_messages_come_back_as_descriptors() {
    let mut recovery = Recovery::default();
    for n in 0..30_000u64 {
        let (first, end) = (n * 334, (n + 1) * 334);
        let meta = ChunkMeta { n: 334, end, bytes: 334 * 200, ..ChunkMeta::default() };
        recovery.chunk(ChunkId { first: Seq(first), gcn: n }, &meta);
    }
    let mut back = queue(QueueSettings::default());
    let mut fx = Effects::default();
    back.recover(recovery, Log::Memory, Timestamp(0), &mut fx);
    assert_eq!((back.counts().ready, back.counts().ready_bytes), (10_020_000, 2_004_000_000));
    assert!(back.memory() < 8_000_000, "{} bytes", back.memory());
    back.consume(spec(1), Timestamp(0), &mut fx).unwrap();
    assert_eq!(fx.loads.len(), 4);
    let state = back.checkpoint(EVERYTHING);
    assert!(state.state.len() < 32 && state.chunks.is_empty() && state.dropped.is_empty());
    assert_eq!(back.purge(&mut fx), 10_020_000);
    assert_eq!(back.checkpoint(EVERYTHING).dropped.len(), 30_000);
}

#[test]
fn young_messages_stay_out_of_chunks() {
    let mut durable = Durable::new(|_| {});
    durable.bench.publish(1..3);
    durable.seal();
    let old = durable.bench.queue.last_op().unwrap();
    // Large enough for a block of its own.
    durable.bench.publish_drafts(&[Draft { id: 3, len: 4090, ..Draft::default() }]);
    durable.disk.emitted(&mut durable.bench.fx.ops);
    let checkpoint = durable.bench.queue.checkpoint(old);
    assert_eq!((checkpoint.chunks.len(), checkpoint.retires), (1, old));
    durable.disk.checkpoint(checkpoint);
    durable.seal();
    assert_eq!(durable.disk.n_records(), 1);
    durable.restart();
    assert_eq!(durable.consume_all(), [-1, -2, -3]);
}

#[test]
fn checkpoint_retires_everything_when_nothing_is_left() {
    let mut durable = Durable::new(|_| {});
    durable.bench.publish(1..9);
    durable.seal();
    assert_eq!(durable.consume_all().len(), 8);
    durable.disk.emitted(&mut durable.bench.fx.ops);
    let checkpoint = durable.bench.queue.checkpoint(OpIndex(0));
    assert_eq!(Some(checkpoint.retires), durable.bench.queue.last_op());
    assert!(checkpoint.chunks.is_empty() && checkpoint.state.len() < 16);
}

#[test]
fn transient_messages_are_in_no_chunk_while_there_is_memory() {
    let mut durable = Durable::keeping(Keep::Persistent, |_| {});
    durable.bench.publish(1..2);
    durable.checkpoint();
    assert!(durable.disk.chunks.is_empty() && durable.disk.n_records() == 0);
    assert_eq!(durable.consume_all(), [1]);
}

#[test]
fn small_chunk_is_written_again_with_what_follows() {
    let mut durable = Durable::new(|_| {});
    for id in 1..50 {
        durable.bench.publish(id..id + 1);
        durable.checkpoint();
    }
    assert!(durable.disk.chunks.len() <= 2, "{} chunks", durable.disk.chunks.len());
    durable.restart();
    assert_eq!(durable.consume_all(), negative(1..50));
}

#[test]
fn positions_that_the_disk_may_know_are_not_given_again() {
    let mut durable = Durable::keeping(Keep::Persistent, |_| {});
    durable.disk.keeps_records = true;
    // A transient message behind a persistent one: one ack of both is written.
    durable.bench.publish(2..4);
    durable.seal();
    assert_eq!(durable.consume_all(), [2, 3]);
    durable.restart();
    durable.bench.publish(6..7);
    durable.checkpoint();
    durable.restart();
    assert_eq!(durable.consume_all(), [-6]);
}

#[test]
fn damaged_checkpoint_brings_messages_back_rather_than_losing_any() {
    let mut durable = Durable::new(|_| {});
    durable.fill(10, 100, 2000);
    durable.checkpoint();
    let got = durable.bench.get();
    durable.bench.settle(0, 0, 1, Settlement::Ack);
    durable.bench.publish(5000..5001);
    durable.seal();
    assert_eq!(got, Some(1));
    let mut recovery = Recovery::default();
    assert!(recovery.checkpoint(&[1, 2, 3]).is_err());
    let recovery = durable.disk.recovery_without_checkpoint(recovery);
    let mut back = queue(QueueSettings::default());
    back.recover(recovery, Log::Memory, Timestamp(0), &mut durable.bench.fx);
    assert_eq!(back.counts().ready, 1000);
}

#[test]
fn quorum_queue_keeps_delivery_counts_over_a_restart() {
    let mut durable = Durable::new(|settings| settings.counts_deliveries = true);
    durable.bench.publish(1..3);
    for (how, restarts) in [
        (Settlement::RequeueFailed, false),
        (Settlement::Requeue, false),
        (Settlement::RequeueFailed, true),
    ] {
        assert_eq!(durable.bench.get().map(i64::abs), Some(1));
        durable.bench.settle(0, 0, 1, how);
        if restarts {
            durable.restart();
        } else {
            durable.checkpoint();
        }
    }
    let counts: Vec<_> = durable.bench.queue.delivery_counts().collect();
    assert_eq!(counts, [(Seq(0), Returns { all: 3, failed: 2 })]);
}

#[test]
fn checkpoint_of_the_first_version_counts_failed_deliveries_only() {
    // The last op is 9; priority 0, covered and next 5, no entries, one count: 2 at position 3.
    let State { last, levels, .. } = read_state(&[1, 9, 1, 0, 5, 5, 0, 1, 3, 2]).unwrap();
    assert_eq!((last, levels.len()), (OpIndex(9), 1));
    assert_eq!(levels[0].counts, [(3, Returns { all: 2, failed: 2 })]);
    let more_failed_than_all = [2, 9, 1, 0, 5, 5, 0, 1, 3, 2, 3];
    assert!(read_state(&more_failed_than_all).is_err());
}

#[test]
fn time_to_live_goes_on_over_a_restart() {
    let mut durable = Durable::new(|settings| {
        settings.message_ttl = Some(100);
        settings.dead_letter = dead_letter();
    });
    durable.bench.publish(1..3);
    durable.checkpoint();
    durable.restart();
    assert_eq!(durable.bench.queue.next_deadline(), Some(Timestamp(1100)));
    durable.bench.tick(99);
    assert!(durable.bench.fx.loads.is_empty() && durable.bench.ready() == 2);
    durable.bench.tick(1);
    assert_eq!(durable.bench.fx.loads.len(), 1, "what expires is dead-lettered, so it is read");
    assert_eq!(durable.bench.queue.next_deadline(), None, "it is on its way");
    durable.answer();
    assert_eq!(durable.bench.deaths(), [(1, "expired"), (2, "expired")]);
    assert_eq!(durable.bench.ready(), 0);
}

// ---- paging -----------------------------------------------------------------------------------

#[test]
fn tail_leaves_first_and_the_head_stays() {
    let mut durable = Durable::new(|_| {});
    durable.fill(20, 100, 1000);
    let before = durable.bench.queue.memory();
    durable.page_out(1_000_000);
    let after = durable.bench.queue.memory();
    assert!((900_000..1_300_000).contains(&(before - after)), "{before} to {after}");
    assert_eq!(durable.bench.get(), Some(1));
    assert!(durable.bench.fx.loads.is_empty());
    assert_eq!(durable.bench.queue.counts().ready_bytes, 1999 * 1000);
}

#[test]
fn transient_messages_leave_and_come_back_but_not_after_a_restart() {
    let mut durable = Durable::keeping(Keep::Persistent, |_| {});
    let transient: Vec<i64> = (0..500).map(|n| 2 * n + 1).collect();
    for ids in transient.chunks(50) {
        let draft = |id: &i64| Draft { id: *id as u64, len: 900, ..Draft::default() };
        let drafts: Vec<_> = ids.iter().map(draft).collect();
        durable.bench.publish_drafts(&drafts);
    }
    durable.page_out_all();
    assert_eq!(durable.bench.queue.counts().ready, 500);
    let (queue, n_chunks) = (durable.disk.clone(), durable.disk.chunks.len());
    let mut fx = Effects::default();
    let mut back = queue.recover(QueueSettings::default(), Keep::Persistent, Timestamp(0), &mut fx);
    assert_eq!(back.counts().ready, 0);
    assert_eq!(back.checkpoint(EVERYTHING).dropped.len(), n_chunks);
    assert_eq!(durable.consume_all(), transient);
}

#[test]
fn queue_without_a_log_pages_too() {
    let mut durable = Durable::new(|_| {});
    durable.bench.queue.set_log(Log::Memory, durable.bench.now, &mut durable.bench.fx);
    durable.fill(20, 100, 500);
    durable.page_out_all();
    assert!(durable.bench.queue.memory() < 20_000);
    assert_eq!(durable.consume_all(), (1..2001).collect::<Vec<i64>>());
}

#[test]
fn consumer_of_a_paged_queue_is_read_ahead_for_and_not_more() {
    let mut durable = Durable::new(|_| {});
    durable.fill(64, 100, 1000);
    durable.page_out_all();
    durable.bench.consume(spec(1));
    assert_eq!(durable.bench.fx.loads.len(), 4);
    assert!(durable.bench.take(1).is_empty() && durable.bench.queue.is_loading());
    assert_eq!(durable.bench.get(), None);
    assert_eq!(durable.bench.queue.stats().got_empty, 0, "it is not empty");
    assert_eq!(durable.bench.fx.loads.len(), 4, "nothing is asked for twice");
    // The second comes first: still nothing.
    let loads = std::mem::take(&mut durable.bench.fx.loads);
    durable.load(loads[1]);
    assert!(durable.bench.woken().is_empty());
    durable.load(loads[0]);
    assert_eq!(durable.bench.woken(), [1]);
}

impl Durable {
    fn load(&mut self, id: ChunkId) {
        let data = self.disk.chunks[&id].1.clone();
        let here = self.bench.queue.loaded(id, Some(&data), self.bench.now, &mut self.bench.fx);
        assert!(here);
    }
}

#[test]
fn damaged_chunk_costs_its_own_messages_only() {
    let mut durable = Durable::new(|_| {});
    durable.fill(12, 100, 1000);
    durable.page_out_all();
    let damaged: Vec<ChunkId> = durable.disk.chunks.keys().copied().skip(2).take(2).collect();
    let n: u64 = damaged.iter().map(|id| u64::from(durable.disk.chunks[id].0.n)).sum();
    durable.bench.consume(spec(1));
    let mut got = Vec::new();
    while !durable.bench.fx.loads.is_empty() {
        for id in std::mem::take(&mut durable.bench.fx.loads) {
            if damaged[0] == id {
                let (now, fx) = (durable.bench.now, &mut durable.bench.fx);
                assert!(!durable.bench.queue.loaded(id, None, now, fx));
            } else if damaged[1] == id {
                let mut data = durable.disk.chunks[&id].1.to_vec();
                data.truncate(data.len() - 1);
                let (now, fx) = (durable.bench.now, &mut durable.bench.fx);
                assert!(!durable.bench.queue.loaded(id, Some(&data.into()), now, fx));
            } else {
                durable.load(id);
            }
        }
        got.extend(durable.bench.take_numbers(1));
    }
    assert_eq!((got.len() as u64 + n, durable.bench.queue.stats().lost), (1200, n));
    assert!(got.is_sorted());
    for id in got {
        durable.bench.settle(1, id as u64 - 1, 1, Settlement::Ack);
    }
    let counts = durable.bench.queue.counts();
    assert_eq!((counts.ready, counts.unacked, counts.unacked_bytes), (0, 0, 0));
}

#[test]
fn rejected_message_that_is_away_is_dead_lettered_once_it_is_back() {
    let mut durable = Durable::new(|settings| settings.dead_letter = dead_letter());
    durable.fill(1, 40, 2000);
    durable.bench.consume(spec(1));
    assert_eq!(durable.bench.take_numbers(1).len(), 40);
    durable.bench.cancel(1);
    durable.page_out_all();
    durable.bench.settle(1, 3, 2, Settlement::Reject);
    assert!(durable.bench.deaths().is_empty());
    assert_eq!(durable.bench.queue.counts().unacked, 40);
    durable.bench.settle(1, 10, 1, Settlement::Ack);
    durable.answer();
    assert_eq!(durable.bench.deaths(), [(4, "rejected"), (5, "rejected")]);
    let counts = durable.bench.queue.counts();
    assert_eq!((counts.unacked, counts.unacked_bytes), (37, 37 * 2000));
}

#[test]
fn length_limit_drops_what_is_away() {
    for dead_letters in [false, true] {
        let mut durable = Durable::new(|settings| {
            settings.dead_letter = dead_letter().filter(|_| dead_letters);
        });
        durable.fill(10, 100, 700);
        durable.page_out_all();
        let mut settings = durable.bench.queue.settings().clone();
        settings.max_length = Some(30);
        durable.bench.queue.set_settings(settings, durable.bench.now, &mut durable.bench.fx);
        assert_eq!(durable.bench.fx.loads.is_empty(), !dead_letters);
        durable.answer();
        assert_eq!((durable.bench.ready(), durable.bench.queue.stats().dropped), (30, 970));
        assert_eq!(durable.bench.deaths().len(), if dead_letters { 970 } else { 0 });
        assert_eq!(durable.bench.queue.counts().ready_bytes, 30 * 700);
    }
}

#[test]
fn purge_of_what_is_away_leaves_no_bytes_and_no_chunks() {
    let mut durable = Durable::new(|_| {});
    let drafts: Vec<_> =
        (1..2000).map(|id| Draft { id, len: 8 + id as usize % 777, ..Draft::default() }).collect();
    drafts.chunks(90).for_each(|drafts| durable.bench.publish_drafts(drafts));
    durable.page_out_all();
    assert_eq!(durable.bench.queue.purge(&mut durable.bench.fx), 1999);
    assert_eq!(durable.bench.queue.counts().ready_bytes, 0);
    durable.checkpoint();
    assert!(durable.disk.chunks.is_empty());
    durable.restart();
    assert_eq!(durable.bench.ready(), 0);
}

#[test]
fn late_answers_for_what_is_gone_are_ignored() {
    let mut durable = Durable::new(|_| {});
    durable.fill(4, 100, 1000);
    durable.page_out_all();
    durable.bench.consume(spec(1));
    let loads = std::mem::take(&mut durable.bench.fx.loads);
    durable.bench.queue.purge(&mut durable.bench.fx);
    for id in loads {
        let (now, fx) = (durable.bench.now, &mut durable.bench.fx);
        assert!(durable.bench.queue.loaded(id, None, now, fx));
    }
    let stats = durable.bench.queue.stats();
    assert_eq!((stats.purged, stats.lost), (400, 0));
}

#[test]
fn uneven_sizes_are_counted_exactly_again_when_they_are_back() {
    let mut durable = Durable::new(|_| {});
    let drafts: Vec<_> =
        (1..200).map(|id| Draft { id, len: 8 * id as usize, ..Draft::default() }).collect();
    drafts.chunks(20).for_each(|drafts| durable.bench.publish_drafts(drafts));
    let all = durable.bench.queue.counts().ready_bytes;
    for _ in 0..30 {
        assert!(durable.bench.get().is_some());
    }
    let unacked = durable.bench.queue.counts().unacked_bytes;
    durable.page_out_all();
    let settles: Vec<_> = (0..10)
        .map(|at| Settle {
            consumer: None,
            range: SeqRange { first: Seq(2 * at), n: 1 },
            how: Settlement::Requeue,
        })
        .collect();
    durable.bench.queue.settle(&settles, durable.bench.now, &mut durable.bench.fx);
    let back: u64 = (0..10).map(|at| 8 * (2 * at + 1)).sum();
    super::disk::load_all(
        &mut durable.bench.queue,
        &durable.disk,
        durable.bench.now,
        &mut durable.bench.fx,
    );
    let counts = durable.bench.queue.counts();
    assert_eq!((counts.unacked_bytes, counts.ready_bytes), (unacked - back, all - unacked + back));
    assert_eq!(contents(&durable.bench.queue).len(), 199);
}

proptest! {
    #[test]
    fn any_bytes_are_a_checkpoint_or_refused(
        version in 1u8..3,
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut versioned = vec![version];
        versioned.extend_from_slice(&bytes);
        let _ = (read_state(&bytes), read_state(&versioned));
    }

    #[test]
    fn recovery_from_anything_does_not_panic(
        version in 1u8..3,
        state in prop::collection::vec(0u8..6, 0..40),
        chunks in prop::collection::vec((0u64..40, 0u64..60, any::<u8>(), 0u64..3), 0..8),
        acks in prop::collection::vec((0u64..80, 1u32..20), 0..8),
    ) {
        let mut versioned = vec![version];
        versioned.extend_from_slice(&state);
        let mut recovery = Recovery::default();
        let _ = recovery.checkpoint(&versioned);
        for (first, end, n, gcn) in chunks {
            let meta = ChunkMeta { n: u32::from(n), end, bytes: 100, ..ChunkMeta::default() };
            recovery.chunk(ChunkId { first: Seq(first), gcn }, &meta);
        }
        for ((first, n), index) in acks.into_iter().zip(1..) {
            let range = SeqRange { first: Seq(first), n };
            recovery.replay(OpIndex(index), Op::Drop { range, reason: DropReason::Lost });
            let block = std::sync::Arc::new(batch(&drafts(1..4)).block);
            let op = Op::Publish { first: Seq(first), at: Timestamp(1), block };
            recovery.replay(OpIndex(index), op);
        }
        let mut queue: Queue = queue(QueueSettings::default());
        let mut fx = Effects::default();
        queue.recover(recovery, Log::Memory, Timestamp(1), &mut fx);
        let n = queue.counts().ready;
        prop_assert_eq!(queue.purge(&mut fx), n);
        prop_assert_eq!((queue.counts().ready, queue.counts().ready_bytes), (0, 0));
    }
}
