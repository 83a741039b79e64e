//! Clients of one queue, connected to the node that leads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use leveret_engine::{
    Block, Body, ChannelKey, ConfirmRun, Incoming, NewRecord, QueueId, SeqRange, Settle,
    SettleOutcome, Settlement,
};
use leveret_protocol::{Event, Peer};

use super::World;
use crate::connections::Handle;
use crate::effects::Scope;
use crate::mailbox::Mail;
use crate::node::Node;
use crate::session::Session;
use crate::views::Endpoints;

/// A client that publishes numbers with confirms to a queue of the node it is connected to.
pub(crate) struct Publisher {
    node: Arc<Node>,
    _session: Session,
    handle: Arc<Handle>,
    channel: ChannelKey,
    queue: QueueId,
    last_tag: u64,
    waiting: BTreeMap<u64, u32>,
}

impl Publisher {
    /// One on a machine that is up.
    pub(crate) fn connect(world: &World, to: usize, queue: QueueId) -> Self {
        let node = Arc::clone(world.node(to).unwrap());
        let peer = Peer { address: "test".into(), loopback: true, ..Peer::default() };
        let endpoints = Endpoints { local: "test".into(), tls: None };
        let session = node.connect(peer, endpoints, world.time());
        let handle = node.connections.all().into_iter().max_by_key(|handle| handle.id).unwrap();
        let channel = ChannelKey { connection: handle.id, number: 1, incarnation: 1 };
        let waiting = BTreeMap::new();
        Self { node, _session: session, handle, channel, queue, last_tag: 0, waiting }
    }

    /// Publishes some numbers as one batch.
    pub(crate) fn publish(&mut self, world: &mut World, numbers: impl IntoIterator<Item = u32>) {
        self.publish_as(world, numbers, true);
    }

    pub(crate) fn publish_as(
        &mut self,
        world: &mut World,
        numbers: impl IntoIterator<Item = u32>,
        persistent: bool,
    ) {
        let now = world.time();
        let mut block = Block::new();
        let first_tag = self.last_tag + 1;
        for number in numbers {
            self.last_tag += 1;
            self.waiting.insert(self.last_tag, number);
            block.push(&NewRecord {
                address: b"\x00\x04main",
                properties: &[0, 0],
                persistent,
                priority: 0,
                expires_at: None,
                body: Body::Inline(&number.to_be_bytes()),
            });
        }
        let run = ConfirmRun { first_record: 0, n: block.len(), channel: self.channel, first_tag };
        let incoming = Incoming { block, confirms: [run].into_iter().collect() };
        let Some(cell) = self.node.queues.get(self.queue) else { return };
        let mut scope = Scope::new(now);
        self.node.with_queue(&cell, &mut scope, |queue, fx| queue.publish(incoming, now, fx));
        self.node.finish(&mut scope);
        world.pump();
    }

    /// What was answered since: the numbers, and whether they were taken.
    pub(crate) fn answers(&mut self) -> Vec<(u32, bool)> {
        let mut mail = Mail::default();
        self.handle.mailbox.drain(&mut mail, Waker::noop());
        let mut answers = Vec::new();
        for event in mail.events {
            let Event::Settled(settled) = event else { continue };
            let taken = settled.outcome == SettleOutcome::Accepted;
            for tag in settled.first_tag..settled.first_tag + u64::from(settled.n) {
                answers.extend(self.waiting.remove(&tag).map(|number| (number, taken)));
            }
        }
        answers
    }
}

/// Gets a number from the queue of a machine that leads it, and settles it; whether it was delivered before, too.
pub(crate) fn get(
    world: &mut World,
    on: usize,
    queue: QueueId,
    how: Option<Settlement>,
) -> Option<(u32, bool)> {
    let now = world.time();
    let node = Arc::clone(world.node(on)?);
    let cell = node.queues.get(queue)?;
    let mut scope = Scope::new(now);
    let got = node.with_queue(&cell, &mut scope, |queue, fx| {
        let (delivery, _) = queue.get(now, fx)?;
        let record = delivery.block.record(delivery.first);
        let number = u32::from_be_bytes(record.body().bytes().try_into().unwrap());
        let range = SeqRange { first: delivery.first_seq, n: 1 };
        if let Some(how) = how {
            queue.settle(&[Settle { consumer: None, range, how }], now, fx);
        }
        Some((number, delivery.redelivered))
    });
    node.finish(&mut scope);
    world.pump();
    got
}

/// Takes everything that a queue has, from whichever machine leads it.
pub(crate) fn drain(world: &mut World, queue: QueueId) -> Vec<u32> {
    let mut all = Vec::new();
    let mut idle = 0;
    while idle < 3 {
        let leader = world.leader(queue).expect("a leader");
        match get(world, leader, queue, Some(Settlement::Ack)) {
            Some((number, _)) => {
                all.push(number);
                idle = 0;
            }
            None => {
                idle += 1;
                world.run_for(100);
            }
        }
    }
    all
}
