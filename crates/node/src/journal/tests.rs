//! The journal between a node and a store that can crash.

use std::sync::Arc;
use std::task::Waker;

use leveret_cluster::LocalConsensus;
use leveret_cluster::replication::Metadata;
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{ApplyTo, PolicySpec, QueueDeclare};
use leveret_engine::limits::TopologyLimits;
use leveret_engine::parameter::ParameterValue;
use leveret_engine::topology::{Topology, TopologyConfig, default_commands};
use leveret_engine::{
    Block, Body, ChannelKey, Command, ConfirmRun, Incoming, NewRecord, Outcome, QueueId, SeqRange,
    Settle, Settlement, Timestamp,
};
use leveret_protocol::{Event, Peer};
use leveret_store::{MemoryStore, MessageStore, StoreId};

use crate::effects::Scope;
use crate::mailbox::Mail;
use crate::node::{Node, NodeConfig};
use crate::queues::QueueCell;
use crate::views::Endpoints;

const NOW: Timestamp = Timestamp(1_000_000);

/// A node whose queues `main` and `dead` are durable; what `main` rejects goes to `dead`.
struct Bench {
    node: Arc<Node>,
    store: MemoryStore,
    main: Arc<QueueCell>,
    dead: Arc<QueueCell>,
}

impl Bench {
    fn new() -> Self {
        Self::with(MemoryStore::new(StoreId(1)))
    }

    /// A node that starts on what is in `store`.
    fn with(store: MemoryStore) -> Self {
        let limits = TopologyLimits::default();
        let config = TopologyConfig { limits, loopback_users: Vec::new(), boot: 1 };
        let mut topology = Topology::new(config);
        let password = PasswordHash::new(HashAlgorithm::default(), b"guest", [0; 4]);
        for command in default_commands(&"/".into(), &"guest".into(), password, Vec::new()) {
            topology.apply(&command, NOW).unwrap();
        }
        let to_dead = PolicySpec {
            vhost: "/".into(),
            name: "to-dead".into(),
            pattern: "^main$".into(),
            apply_to: ApplyTo::Queues,
            priority: 0,
            definition: [("dead-letter-exchange", ""), ("dead-letter-routing-key", "dead")]
                .map(|(key, value)| (key.into(), ParameterValue::String(value.into())))
                .into(),
        };
        topology.apply(&Command::PutPolicy(to_dead), NOW).unwrap();
        let [main, dead] = ["main", "dead"].map(|name| declare(&mut topology, name));
        let connection = leveret_protocol::ConnectionConfig::default();
        let seed = [7; 32];
        let config = NodeConfig {
            name: "rabbit@test".into(),
            connection,
            seed,
            connection_max: None,
            topology,
            metadata: Metadata::default(),
            membership: None,
            meta: Arc::new(LocalConsensus::default()),
            keeps_messages: true,
        };
        let node = Node::new(config, NOW);
        node.recover(&store, NOW).unwrap();
        let [main, dead] = [main, dead].map(|id| node.queues.get(id).unwrap());
        Self { node, store, main, dead }
    }

    /// A new node on what a crash leaves of the store.
    fn crash(&self) -> Self {
        Self::with(self.store.crash(0))
    }

    fn publish(&self, bodies: impl IntoIterator<Item = Vec<u8>>, persistent: bool) {
        let mut block = Block::new();
        for body in bodies {
            block.push(&record(&body, persistent));
        }
        self.take_in(Incoming { block, ..Incoming::default() });
    }

    fn take_in(&self, incoming: Incoming) {
        let mut scope = Scope::new(NOW);
        self.node.with_queue(&self.main, &mut scope, |queue, fx| queue.publish(incoming, NOW, fx));
        self.node.finish(&mut scope);
    }

    /// Gets a message and settles it; its body.
    fn get(&self, how: Settlement) -> Option<Vec<u8>> {
        let mut scope = Scope::new(NOW);
        let body = self.node.with_queue(&self.main, &mut scope, |queue, fx| {
            let (delivery, _) = queue.get(NOW, fx)?;
            let body = delivery.block.record(delivery.first).body().bytes().to_vec();
            let range = SeqRange { first: delivery.first_seq, n: 1 };
            queue.settle(&[Settle { consumer: None, range, how }], NOW, fx);
            Some(body)
        });
        self.node.finish(&mut scope);
        body
    }

    /// Writes and syncs until nothing is left; says how many batches that took.
    fn commit(&self) -> usize {
        let mut batches = 0;
        while let Some(mut group) =
            self.node.seal(Waker::noop(), &mut || self.store.allocate_slot()).unwrap()
        {
            if !group.batch.is_empty() {
                let gcn = self.store.write(std::mem::take(&mut group.batch)).unwrap();
                self.node.written(&mut group, gcn);
                self.store.sync().unwrap();
                batches += 1;
            }
            self.node.synced(group, NOW);
        }
        batches
    }

    fn read_all(&self) {
        while let Some(load) = self.node.next_load(Waker::noop()) {
            let bytes = self.store.read_chunk(&load.key).unwrap();
            assert!(self.node.loaded(load, Some(&bytes), NOW));
        }
    }

    fn ready(&self) -> (u64, u64) {
        let ready = |cell: &QueueCell| cell.queue.lock().counts().ready;
        (ready(&self.main), ready(&self.dead))
    }
}

fn declare(topology: &mut Topology, name: &str) -> QueueId {
    let declare = QueueDeclare {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Default::default(),
        user: "guest".into(),
        id: None,
    };
    let applied = topology.apply(&Command::DeclareQueue(declare), NOW).unwrap();
    let Outcome::QueueDeclared { queue, .. } = applied.outcome else { panic!("not declared") };
    queue.id
}

fn record(body: &[u8], persistent: bool) -> NewRecord<'_> {
    NewRecord {
        address: b"\x00\x04main",
        properties: &[0, 0],
        persistent,
        priority: 0,
        expires_at: None,
        body: Body::Inline(body),
    }
}

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = Vec<u8>> {
    range.map(|number| number.to_be_bytes().to_vec())
}

fn drained(bench: &Bench) -> Vec<u32> {
    let number = |body: Vec<u8>| u32::from_be_bytes(body[..4].try_into().unwrap());
    std::iter::from_fn(|| {
        bench.get(Settlement::Ack).or_else(|| {
            bench.read_all();
            bench.get(Settlement::Ack)
        })
    })
    .map(number)
    .collect()
}

#[test]
fn what_was_synced_comes_back_in_order_and_what_was_acked_does_not() {
    let bench = Bench::new();
    bench.publish(numbers(0..100), true);
    bench.commit();
    for _ in 0..10 {
        bench.get(Settlement::Ack);
    }
    bench.commit();
    bench.publish(numbers(100..150), true);
    let after = bench.crash();
    assert_eq!(after.ready(), (90, 0));
    assert_eq!(drained(&after), (10..100).collect::<Vec<_>>());
    after.commit();
    assert_eq!(after.crash().ready(), (0, 0));
}

#[test]
fn transient_messages_and_those_that_are_acked_at_once_touch_no_disk() {
    let bench = Bench::new();
    bench.publish(numbers(0..100), false);
    assert_eq!(bench.commit(), 0);
    assert_eq!(bench.ready(), (100, 0));
    while bench.get(Settlement::Ack).is_some() {}
    bench.publish(numbers(0..100), true);
    while bench.get(Settlement::Ack).is_some() {}
    bench.commit();
    assert_eq!(bench.store.figures().written_bytes, 0);
    bench.publish(numbers(0..2), false);
    bench.commit();
    assert_eq!(bench.crash().ready(), (0, 0));
}

#[test]
fn a_dead_letter_is_in_one_place_whatever_the_disk_kept() {
    let bench = Bench::new();
    bench.publish(numbers(0..10), true);
    bench.commit();
    for rejected in 1..=10 {
        bench.get(Settlement::Reject);
        let before = bench.crash();
        assert_eq!(before.ready(), (10 - rejected + 1, rejected - 1));
        bench.commit();
        assert_eq!(bench.crash().ready(), (10 - rejected, rejected));
    }
}

#[test]
fn confirms_of_persistent_messages_wait_for_the_disk_and_others_do_not() {
    let bench = Bench::new();
    let peer = Peer { address: "test".into(), loopback: true, ..Peer::default() };
    let _session = bench.node.connect(peer, Endpoints { local: "test".into(), tls: None }, NOW);
    let handle = bench.node.connections.all().remove(0);
    let channel = ChannelKey { connection: handle.id, number: 1, incarnation: 1 };
    let confirmed = || {
        let mut mail = Mail::default();
        handle.mailbox.drain(&mut mail, Waker::noop());
        let n = |event: &Event| match event {
            Event::Settled(settled) => settled.n,
            other => panic!("{other:?}"),
        };
        mail.events.iter().map(n).sum::<u32>()
    };
    for persistent in [false, true] {
        let mut incoming = Incoming::default();
        incoming.block.push(&record(b"body", persistent));
        let run = ConfirmRun { first_record: 0, n: 1, channel, first_tag: 1 };
        incoming.confirms.push(run);
        bench.take_in(incoming);
        assert_eq!(confirmed(), u32::from(!persistent));
        let group = bench.node.seal(Waker::noop(), &mut || bench.store.allocate_slot()).unwrap();
        assert_eq!(group.is_some(), persistent);
        assert_eq!(confirmed(), 0);
        if let Some(group) = group {
            bench.node.synced(group, NOW);
            assert_eq!(confirmed(), 1);
        }
    }
}

#[test]
fn the_window_stays_bounded_and_what_outlives_it_is_kept() {
    let bench = Bench::new();
    bench.node.set_window(16 << 20);
    for round in 0..100_u32 {
        let mut body = vec![0; 64 * 1024];
        body[..4].copy_from_slice(&round.to_be_bytes());
        bench.publish(std::iter::repeat_n(body, 16), true);
        bench.commit();
        if round % 4 == 3 {
            for _ in 0..16 {
                bench.get(Settlement::Ack);
            }
            bench.commit();
        }
    }
    let figures = bench.store.figures();
    // With so much before them the newest are not going to be consumed soon.
    assert!(figures.window_bytes < 4 << 20, "{figures:?}");
    assert!(figures.chunks > 0, "{figures:?}");
    let after = bench.crash();
    assert_eq!(after.ready(), (1200, 0));
    let left = drained(&after);
    assert_eq!(left, drained(&bench));
    assert_eq!((left.len(), left[0], left[1199]), (1200, 25, 99));
    after.commit();
    assert_eq!(after.crash().ready(), (0, 0));
}

#[test]
fn what_is_consumed_soon_is_retired_soon_and_never_written_again() {
    let bench = Bench::new();
    for round in 0..30_u32 {
        let mut body = vec![0; 64 * 1024];
        body[..4].copy_from_slice(&round.to_be_bytes());
        bench.publish(std::iter::repeat_n(body, 16), true);
        bench.commit();
        while bench.ready().0 > 3 {
            bench.get(Settlement::Ack);
        }
        bench.commit();
    }
    let figures = bench.store.figures();
    assert!(figures.window_bytes < 10 << 20 && figures.chunks == 0, "{figures:?}");
    let after = bench.crash();
    assert_eq!(drained(&after), [29, 29, 29]);
    after.commit();
    assert_eq!(after.crash().ready(), (0, 0));
}

#[test]
fn memory_is_freed_and_messages_come_back_from_disk() {
    for persistent in [true, false] {
        let bench = Bench::new();
        for round in 0..64_u32 {
            let mut body = vec![0; 16 * 1024];
            body[..4].copy_from_slice(&round.to_be_bytes());
            bench.publish(std::iter::repeat_n(body, 16), persistent);
        }
        bench.commit();
        let before = bench.main.queue.lock().memory();
        bench.node.journal.want_paging(before);
        bench.commit();
        let after = bench.main.queue.lock().memory();
        assert!(after < before / 4, "{before} bytes before, {after} after");
        assert_eq!(bench.ready(), (1024, 0));
        let numbers = drained(&bench);
        assert!(numbers.is_sorted() && numbers.len() == 1024, "{} came back", numbers.len());
    }
}

#[test]
fn a_deleted_queue_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.publish(numbers(0..100), true);
    bench.commit();
    let meta = bench.node.queue_meta(bench.main.id).unwrap();
    bench.node.propose(Node::delete_command(&meta), NOW, Box::new(|_| {})).unwrap().unwrap();
    bench.commit();
    let mut slots = 0;
    bench.store.crash(0).checkpoints(&mut |_, _| slots += 1).unwrap();
    assert_eq!(slots, 0);
}

#[test]
fn chunks_that_nothing_needs_are_removed_although_nothing_else_happens() {
    let bench = Bench::new();
    for round in 0..64_u32 {
        let mut body = vec![0; 16 * 1024];
        body[..4].copy_from_slice(&round.to_be_bytes());
        bench.publish(std::iter::repeat_n(body, 16), true);
    }
    bench.commit();
    bench.node.limit_memory(1);
    bench.commit();
    assert!(bench.store.figures().chunks > 0);
    assert_eq!(drained(&bench).len(), 1024);
    bench.commit();
    for _ in 0..100 {
        bench.node.limit_memory(usize::MAX);
        bench.commit();
    }
    assert_eq!(bench.store.figures().chunks, 0);
}
