//! What a queue costs for each message, without sockets: publish, assign, take, settle.
//! `cargo run --release -p leveret-engine --example queue_bench [seconds per case] [word in its name]`.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use leveret_engine::{
    Block, Body, Budget, ChannelKey, ConnectionId, ConsumerId, ConsumerSpec, Delivery, Effects,
    Incoming, Keep, Log, NewRecord, OpIndex, Queue, QueueId, QueueSettings, SeqRange, Settle,
    Settlement, Shown, Timestamp, encode_ops,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages in a batch: what a read buffer of small messages holds.
const BATCH: u32 = 500;

/// Batches timed together.
const ROUNDS: u32 = 20;

/// A queue, its consumers, and a batch to publish again and again.
struct Case {
    queue: Queue,
    consumers: Vec<ConsumerId>,
    batch: Block,
    ack_every: Option<u32>,
    fx: Effects,
    out: Vec<Delivery>,
    held: Vec<Arc<Block>>,
    spare: Vec<Block>,
    unacked: Vec<Settle>,
    /// Where the bytes of the ops go, if they are kept.
    written: Option<Vec<u8>>,
}

fn batch(priorities: u8) -> Block {
    let mut block = Block::new();
    fill(&mut block, priorities);
    block
}

fn fill(block: &mut Block, priorities: u8) {
    for n in 0..BATCH {
        block.push(&NewRecord {
            address: b"\x00\x08my-queue",
            properties: &[0, 0],
            persistent: false,
            priority: (n % 7) as u8 % priorities,
            expires_at: None,
            body: Body::Inline(b"0123456789abcdef"),
        });
    }
}

impl Case {
    fn new(settings: QueueSettings, consumers: u64, prefetch: u16, ack_every: Option<u32>) -> Self {
        let batch = batch(settings.max_priority.map_or(1, |max| max + 1));
        let mut case = Self {
            queue: Queue::new(QueueId(1), "/".into(), "q".into(), settings, Timestamp(1)),
            consumers: (1..=consumers).map(ConsumerId).collect(),
            batch,
            ack_every,
            fx: Effects::default(),
            out: Vec::new(),
            held: Vec::new(),
            spare: Vec::new(),
            unacked: Vec::new(),
            written: None,
        };
        for id in case.consumers.clone() {
            let channel = ChannelKey { connection: ConnectionId(id.0), number: 1, incarnation: 1 };
            let spec = ConsumerSpec {
                id,
                channel,
                tag: "tag".into(),
                no_ack: ack_every.is_none(),
                exclusive: false,
                prefetch,
                priority: 0,
                channel_credit: None,
                read: leveret_engine::StreamRead::default(),
                arguments: leveret_codec::Table::default(),
                user: "guest".into(),
            };
            let added = case.queue.consume(spec, Timestamp(1), &mut case.fx);
            assert!(added.is_ok(), "the consumers are not exclusive");
        }
        case
    }

    /// Keeps the ops, all messages being persistent or none.
    fn logged(mut self, keep: Keep) -> Self {
        let log = Log::Kept { next: OpIndex(1), keep, shown: Shown::AtOnce };
        self.queue.set_log(log, Timestamp(1), &mut self.fx);
        self.written = Some(Vec::new());
        self
    }

    /// Writes what was emitted, as a group commit that everything since the last call is in.
    fn write(&mut self) {
        if let Some(written) = &mut self.written {
            written.clear();
            encode_ops(&self.fx.ops, written);
            black_box(written);
        }
        self.fx.clear();
    }

    /// One batch into the queue, written before it comes out.
    fn round_in_two_groups(&mut self) {
        let now = Timestamp(1000);
        let block = self.batch.clone();
        self.queue.publish(Incoming { block, ..Incoming::default() }, now, &mut self.fx);
        self.write();
        self.queue.purge(&mut self.fx);
        self.write();
    }

    /// One batch through the queue. Building the batch is the publisher's cost and not the
    /// queue's, so the block that came out last time goes in again, where it came out whole.
    fn round(&mut self) {
        let now = Timestamp(1000);
        let block = self.spare.pop().unwrap_or_else(|| self.batch.clone());
        self.queue.publish(Incoming { block, ..Incoming::default() }, now, &mut self.fx);
        let mut left = BATCH;
        while left > 0 {
            let before = left;
            for id in self.consumers.clone() {
                let budget = Budget { records: 1000, bytes: 64 * 1024 };
                self.queue.take(id, budget, now, &mut self.out, &mut self.fx);
                left -= self.out.iter().map(|delivery| delivery.n).sum::<u32>();
                self.settle(now);
            }
            assert!(left < before, "the consumers got stuck");
        }
        let out = self.held.drain(..).filter_map(Arc::into_inner);
        self.spare.extend(out.filter(|block| block.len() == BATCH));
        self.write();
    }

    fn settle(&mut self, now: Timestamp) {
        for delivery in self.out.drain(..) {
            if let Some(every) = self.ack_every {
                push_acks(&delivery, every, &mut self.unacked);
            }
            self.held.push(black_box(delivery).block);
        }
        if self.ack_every.is_some() {
            self.queue.settle(&self.unacked, now, &mut self.fx);
            self.unacked.clear();
        }
    }
}

/// Acknowledgements of `every` messages at a time, as far as they lie side by side.
fn push_acks(delivery: &Delivery, every: u32, settles: &mut Vec<Settle>) {
    let mut at = 0;
    while at < delivery.n {
        let n = every.min(delivery.n - at);
        let range = SeqRange { first: delivery.first_seq.plus(u64::from(at)), n };
        let consumer = Some(delivery.consumer);
        settles.push(Settle { consumer, range, how: Settlement::Ack });
        at += n;
    }
}

fn measure(name: &str, time: Duration, mut case: Case) {
    report(name, time, || case.round());
}

/// What a copy of the batch costs; it is in those cases where the block does not come out whole.
fn measure_copy(time: Duration) {
    let batch = batch(1);
    report("(copy of the batch)", time, || {
        black_box(batch.clone());
    });
}

/// What it costs to write the batch into a block.
fn measure_push(time: Duration) {
    let mut spare = batch(1);
    report("(writing the batch)", time, || {
        spare.clear();
        fill(&mut spare, 1);
        black_box(&spare);
    });
}

/// Runs chunks of rounds and shows the best and the median chunk: other load on the machine makes
/// chunks slower, never faster.
fn report(name: &str, time: Duration, mut round: impl FnMut()) {
    if std::env::args().nth(2).is_some_and(|word| !name.contains(&word)) {
        return;
    }
    let start = Instant::now();
    let mut chunks = Vec::new();
    while start.elapsed() < time {
        let chunk = Instant::now();
        for _ in 0..ROUNDS {
            round();
        }
        chunks.push(chunk.elapsed().as_nanos() as f64 / f64::from(ROUNDS * BATCH));
    }
    chunks.sort_by(f64::total_cmp);
    let (best, median) = (chunks[0], chunks[chunks.len() / 2]);
    println!("{name:<48} {best:>7.2} {median:>7.2}");
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    let plain = QueueSettings::default;
    let priorities = QueueSettings { max_priority: Some(4), ..plain() };
    let ttl = QueueSettings { message_ttl: Some(60_000), ..plain() };
    let limited = QueueSettings { max_length: Some(100_000), ..plain() };
    println!("batches of {BATCH} messages of 16 bytes; ns per message: best, median");
    measure_copy(time);
    measure_push(time);
    measure("one consumer, no ack", time, Case::new(plain(), 1, 0, None));
    measure(
        "one consumer, prefetch 1000, ack each 100",
        time,
        Case::new(plain(), 1, 1000, Some(100)),
    );
    measure("one consumer, prefetch 1000, ack each 1", time, Case::new(plain(), 1, 1000, Some(1)));
    measure("4 consumers in turn, no ack", time, Case::new(plain(), 4, 0, None));
    measure(
        "4 consumers in turn, prefetch 1000, ack each 1",
        time,
        Case::new(plain(), 4, 1000, Some(1)),
    );
    measure("5 priorities, one consumer, no ack", time, Case::new(priorities, 1, 0, None));
    measure("message TTL, one consumer, no ack", time, Case::new(ttl, 1, 0, None));
    measure("max-length, one consumer, no ack", time, Case::new(limited, 1, 0, None));
    for (name, keep) in [("transient", Keep::Persistent), ("persistent", Keep::All)] {
        let case = Case::new(plain(), 1, 1000, Some(1)).logged(keep);
        measure(&format!("log, {name}, ack each 1 in the same group"), time, case);
        let mut case = Case::new(plain(), 0, 0, None).logged(keep);
        report(&format!("log, {name}, written"), time, || case.round_in_two_groups());
    }
}
