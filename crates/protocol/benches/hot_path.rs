//! Nanoseconds of protocol work per message: publish, confirm, deliver, ack.
//!
//! `cargo bench -p leveret-protocol [-- PART-OF-A-NAME]`. Each line is the best of several rounds, in
//! processor time of this thread, so that a busy machine does not count. The node behind the
//! connection only takes what it is given: a copy into a block for a publish, a list for acks.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::expect_used, reason = "a bench that cannot be set up is a broken bench")]

use std::sync::Arc;

use bytes::BytesMut;
use leveret_codec::{put_ack, put_body, put_content_header, put_publish};
use leveret_engine::queue::effects::Outcome;
use leveret_engine::{
    Block, Body, ChannelKey, ConnectionId, ConsumerId, Delivery, Exchange, NewRecord, Passage,
    QueueId, Returns, Seq, Settle, Settled, Timestamp,
};
use leveret_protocol::testing::{FakeNode, login};
use leveret_protocol::{Answer, Broker, Call, Connection, ConnectionConfig, Output, Peer};

const ROUNDS: u32 = 10;
/// Messages of one read buffer.
const BATCH: u32 = 800;
/// Batches of one round.
const BATCHES: u32 = 500;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A node that takes messages and does nothing with them.
struct Sink {
    node: FakeNode,
    block: Block,
    settles: Vec<Settle>,
}

impl Broker for Sink {
    type Guard<'a> = <FakeNode as Broker>::Guard<'a>;

    fn topology(&self) -> Self::Guard<'_> {
        self.node.topology()
    }

    fn routing_version(&self) -> u64 {
        self.node.routing_version()
    }

    fn publish(
        &mut self,
        _queue: QueueId,
        record: &NewRecord<'_>,
        _confirm: Option<(ChannelKey, u64)>,
    ) {
        self.block.push(record);
    }

    fn tap(&mut self, _: &leveret_protocol::Tap<'_>) {}

    fn pass(&self, exchange: &Exchange, record: &NewRecord<'_>) -> Passage {
        self.node.pass(exchange, record)
    }

    fn settle(&mut self, _queue: QueueId, settle: Settle) {
        self.settles.push(settle);
    }

    fn reply(&mut self, token: &str, record: &NewRecord<'_>) -> bool {
        self.node.reply(token, record)
    }

    fn reply_alive(&self, token: &str) -> bool {
        self.node.reply_alive(token)
    }

    fn open_reply(&mut self, channel: ChannelKey) -> Arc<str> {
        self.node.open_reply(channel)
    }

    fn close_reply(&mut self, channel: ChannelKey) {
        self.node.close_reply(channel);
    }

    fn call(&mut self, channel: ChannelKey, call: Call) -> Option<Answer> {
        self.node.call(channel, call)
    }

    fn random(&mut self) -> [u8; 16] {
        self.node.random()
    }

    fn next_consumer_id(&mut self) -> ConsumerId {
        self.node.next_consumer_id()
    }
}

struct Bench {
    connection: Connection,
    sink: Sink,
    out: Output,
}

/// A method frame.
fn method(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 0, 1];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(leveret_codec::FRAME_END);
    frame
}

impl Bench {
    /// A connection with channel 1 and the queues `q0` to `q99`, after `more` frames.
    fn new(more: &[&[u8]]) -> Self {
        let peer = Peer { loopback: true, ..Peer::default() };
        let config = Arc::new(ConnectionConfig::default());
        let node = FakeNode::new(NOW);
        let mut bench = Self {
            connection: Connection::new(ConnectionId(1), config, peer, NOW),
            sink: Sink { node, block: Block::new(), settles: Vec::new() },
            out: Output::new(),
        };
        for part in login("/") {
            bench.receive(&part);
        }
        bench.receive(&method(&[0, 20, 0, 10, 0]));
        for queue in 0..100 {
            let name = format!("q{queue}");
            let head = [0, 50, 0, 10, 0, 0, name.len() as u8];
            bench.receive(&method(&[&head[..], name.as_bytes(), &[0, 0, 0, 0, 0]].concat()));
        }
        for payload in more {
            bench.receive(&method(payload));
        }
        bench
    }

    fn receive(&mut self, input: &[u8]) {
        let used = self.connection.receive(input, NOW, &mut self.sink, &mut self.out);
        assert_eq!(used, input.len(), "everything is taken");
        self.out.advance(self.out.len());
    }

    fn end_batch(&mut self) {
        self.connection.batch_end(&mut self.out);
        self.out.advance(self.out.len());
        let (bytes, records) = (self.sink.block.byte_len(), self.sink.block.len() as usize);
        self.sink.block = Block::with_capacity(bytes, records);
        self.sink.settles.clear();
    }
}

/// Nanoseconds that this thread has been running.
fn running() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
}

/// The best round's time per message.
fn measure(name: &str, mut batch: impl FnMut()) {
    if !std::env::args().skip(1).filter(|word| !word.starts_with('-')).all(|w| name.contains(&w)) {
        return;
    }
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = running();
        for _ in 0..BATCHES {
            batch();
        }
        best = best.min((running() - start) / f64::from(BATCH * BATCHES));
    }
    println!("{name:<48} {best:6.1} ns");
}

/// A read buffer of publishes; message `n` goes to queue `queue(n)`.
fn publishes(properties: &[u8], body: usize, queue: impl Fn(u32) -> u32) -> BytesMut {
    let mut stream = BytesMut::new();
    for n in 0..BATCH {
        let name = format!("q{}", queue(n));
        let address = [&[0, name.len() as u8][..], name.as_bytes()].concat();
        put_publish(&mut stream, 1, &address, false);
        put_content_header(&mut stream, 1, body as u64, properties);
        put_body(&mut stream, 1, 131_072, &vec![7; body]);
    }
    stream
}

fn publish(name: &str, input: &[u8]) {
    let mut bench = Bench::new(&[]);
    measure(name, || {
        bench.receive(input);
        assert_eq!(bench.sink.block.len(), BATCH, "every message has arrived");
        bench.end_batch();
    });
}

fn main() {
    let plain: &[u8] = &[0, 0];
    publish("publish, 16 bytes", &publishes(plain, 16, |_| 0));
    publish("publish, persistent with content type", &publishes(b"\x90\0\x03a/b\x02", 16, |_| 0));
    publish("publish, one header", &publishes(b"\x20\0\0\0\0\x07\x01kI\0\0\0\0", 16, |_| 0));
    publish("publish, 1024 bytes", &publishes(plain, 1024, |_| 0));
    publish("publish, 8192 bytes by reference", &publishes(plain, 8192, |_| 0));
    publish("publish, two keys in turn", &publishes(plain, 16, |n| n % 2));
    publish("publish, eight keys in turn", &publishes(plain, 16, |n| n % 8));
    publish("publish, a hundred keys in turn", &publishes(plain, 16, |n| n % 100));
    confirms();
    deliveries();
}

fn confirms() {
    let input = publishes(&[0, 0], 16, |_| 0);
    let mut bench = Bench::new(&[&[0, 85, 0, 10, 0]]);
    let channel = bench.connection.channel_infos().first().expect("a channel").key;
    let mut first_tag = 1;
    measure("publish and confirm, one answer for the batch", || {
        bench.receive(&input);
        let settled = Settled { channel, first_tag, n: BATCH, outcome: Outcome::Accepted };
        let event = leveret_protocol::Event::Settled(settled);
        bench.connection.event(event, NOW, &mut bench.sink, &mut bench.out);
        bench.end_batch();
        first_tag += u64::from(BATCH);
    });
}

fn block() -> Arc<Block> {
    let mut block = Block::new();
    for _ in 0..BATCH {
        block.push(&NewRecord {
            address: b"\0\x02q0",
            properties: &[0, 0],
            persistent: false,
            priority: 0,
            expires_at: None,
            body: Body::Inline(&[7; 16]),
        });
    }
    Arc::new(block)
}

/// basic.consume of q0 with the tag `c`.
fn consume(no_ack: bool) -> Vec<u8> {
    let bits = if no_ack { 2 } else { 0 };
    let mut payload = vec![0, 60, 0, 20, 0, 0, 2, b'q', b'0', 1, b'c', bits];
    payload.extend([0; 4]);
    payload
}

fn deliveries() {
    let block = block();
    let delivery = |at: u64| Delivery {
        consumer: ConsumerId(1),
        block: block.clone(),
        first: 0,
        n: BATCH,
        first_seq: Seq(at),
        redelivered: false,
        returns: Returns::default(),
        from_stream: false,
    };
    let mut bench = Bench::new(&[&consume(true)]);
    measure("deliver without ack", || {
        assert!(bench.connection.deliver(&delivery(0), &mut bench.out));
        bench.end_batch();
    });
    let mut bench = Bench::new(&[&consume(false)]);
    let mut at = 0;
    measure("deliver, and one ack for all", || {
        assert!(bench.connection.deliver(&delivery(at), &mut bench.out));
        bench.end_batch();
        at += u64::from(BATCH);
        let mut acks = BytesMut::new();
        put_ack(&mut acks, 1, at, true);
        bench.receive(&acks);
        bench.end_batch();
    });
    let one_by_one = |name: &str, order: fn(u64) -> u64| {
        let mut bench = Bench::new(&[&consume(false)]);
        let mut at = 0;
        measure(name, || {
            assert!(bench.connection.deliver(&delivery(at), &mut bench.out));
            bench.end_batch();
            let mut acks = BytesMut::new();
            for n in 0..u64::from(BATCH) {
                put_ack(&mut acks, 1, at + order(n) + 1, false);
            }
            at += u64::from(BATCH);
            bench.receive(&acks);
            bench.end_batch();
        });
    };
    one_by_one("deliver, and an ack for each in order", |n| n);
    one_by_one("deliver, and an ack for each out of order", |n| n * 37 % u64::from(BATCH));
}
