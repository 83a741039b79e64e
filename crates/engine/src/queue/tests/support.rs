//! What the tests of the queue share: making messages and consumers, and reading deliveries.

use crate::block::Block;
use crate::ids::{ChannelKey, ConnectionId, ConsumerId, QueueId, Seq, SeqRange};
use crate::queue::Queue;
use crate::queue::consumers::ConsumerSpec;
use crate::queue::effects::{Budget, ConfirmRun, Delivery, Effects, Incoming, Outcome};
use crate::queue::settle::{Settle, Settlement};
use crate::queue::stream::StreamRead;
use crate::record::{BODY_BY_REFERENCE, Body, NewRecord};
use crate::settings::{DeadLetterTarget, QueueSettings};
use crate::time::Timestamp;
use bytes::Bytes;

pub(super) const ALL: Budget = Budget { records: u32::MAX, bytes: u32::MAX };

pub(super) fn queue(settings: QueueSettings) -> Queue {
    Queue::new(QueueId(1), "/".into(), "q".into(), settings, Timestamp(1000))
}

pub(super) fn dead_letter() -> Option<DeadLetterTarget> {
    Some(DeadLetterTarget { exchange: "dlx".into(), routing_key: None })
}

pub(super) fn channel(number: u16) -> ChannelKey {
    ChannelKey { connection: ConnectionId(u64::from(number)), number, incarnation: 1 }
}

pub(super) fn spec(id: u64) -> ConsumerSpec {
    ConsumerSpec {
        id: ConsumerId(id),
        channel: channel(id as u16),
        tag: format!("c{id}").into(),
        no_ack: false,
        exclusive: false,
        prefetch: 0,
        priority: 0,
        channel_credit: None,
        read: StreamRead::default(),
        arguments: leveret_codec::Table::default(),
        user: "guest".into(),
    }
}

/// One message in the making.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Draft {
    pub(super) id: u64,
    pub(super) priority: u8,
    pub(super) len: usize,
    pub(super) expires_at: Option<u64>,
}

impl Draft {
    /// The body: the number, then zeros; longer ones by reference.
    fn body(&self) -> Vec<u8> {
        let mut body = self.id.to_le_bytes().to_vec();
        body.resize(self.len.max(8), 0);
        body
    }

    pub(super) fn push_to(&self, block: &mut Block) {
        let body = Bytes::from(self.body());
        let by_reference = body.len() >= BODY_BY_REFERENCE;
        block.push(&NewRecord {
            address: b"\x01x\x01k",
            properties: &[0, 0],
            persistent: self.id.is_multiple_of(2),
            priority: self.priority,
            expires_at: self.expires_at.map(Timestamp),
            body: if by_reference { Body::Shared(&body) } else { Body::Inline(&body) },
        });
    }
}

pub(super) fn batch(drafts: &[Draft]) -> Incoming {
    let mut incoming = Incoming::default();
    drafts.iter().for_each(|draft| draft.push_to(&mut incoming.block));
    incoming
}

/// All of a batch wants a confirm: the tags are the numbers of the records, from 1.
pub(super) fn confirmed(drafts: &[Draft]) -> Incoming {
    let mut incoming = batch(drafts);
    let n = incoming.block.len();
    incoming.confirms.push(ConfirmRun { first_record: 0, n, channel: channel(9), first_tag: 1 });
    incoming
}

pub(super) fn drafts(ids: std::ops::Range<u64>) -> Vec<Draft> {
    ids.map(|id| Draft { id, ..Draft::default() }).collect()
}

pub(super) fn number_of(block: &Block, record: u32) -> u64 {
    let body = block.record(record).body().bytes();
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

pub(super) fn numbers(delivery: &Delivery) -> Vec<u64> {
    (delivery.first..delivery.first + delivery.n)
        .map(|record| number_of(&delivery.block, record))
        .collect()
}

/// A queue with its clock and effects at hand, for scenarios.
pub(super) struct Bench {
    pub(super) queue: Queue,
    pub(super) now: Timestamp,
    pub(super) fx: Effects,
}

impl Bench {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self { queue: queue(settings), now: Timestamp(1000), fx: Effects::default() }
    }

    pub(super) fn publish(&mut self, ids: std::ops::Range<u64>) {
        self.publish_drafts(&drafts(ids));
    }

    pub(super) fn publish_drafts(&mut self, drafts: &[Draft]) {
        self.queue.publish(batch(drafts), self.now, &mut self.fx);
    }

    pub(super) fn consume(&mut self, spec: ConsumerSpec) {
        self.queue.consume(spec, self.now, &mut self.fx).unwrap();
    }

    pub(super) fn cancel(&mut self, id: u64) {
        self.queue.cancel(ConsumerId(id), self.now, &mut self.fx);
    }

    pub(super) fn take(&mut self, id: u64) -> Vec<Delivery> {
        let mut out = Vec::new();
        self.queue.take(ConsumerId(id), ALL, self.now, &mut out, &mut self.fx);
        out
    }

    /// The numbers of what a consumer takes; redelivered ones are negative.
    pub(super) fn take_numbers(&mut self, id: u64) -> Vec<i64> {
        self.take(id).iter().flat_map(signed_numbers).collect()
    }

    pub(super) fn get(&mut self) -> Option<i64> {
        let (delivery, _) = self.queue.get(self.now, &mut self.fx)?;
        Some(signed_numbers(&delivery)[0])
    }

    pub(super) fn settle(&mut self, by: u64, index: u64, n: u32, how: Settlement) {
        let consumer = (by > 0).then_some(ConsumerId(by));
        let range = SeqRange { first: Seq(index), n };
        self.queue.settle(&[Settle { consumer, range, how }], self.now, &mut self.fx);
    }

    pub(super) fn tick(&mut self, later: u64) {
        self.now = self.now.plus(later);
        self.queue.tick(self.now, &mut self.fx);
    }

    pub(super) fn ready(&self) -> u64 {
        self.queue.counts().ready
    }

    pub(super) fn deaths(&mut self) -> Vec<(u64, &'static str)> {
        let deaths = self.fx.dead_letters.drain(..).flat_map(|dead| {
            (dead.first..dead.first + dead.n)
                .map(move |record| (number_of(&dead.block, record), dead.reason.as_str()))
        });
        deaths.collect()
    }

    /// Tags with what became of them.
    pub(super) fn answers(&mut self) -> Vec<(u64, Outcome)> {
        let settled = self.fx.settled.drain(..);
        settled
            .flat_map(|s| (s.first_tag..s.first_tag + u64::from(s.n)).map(move |t| (t, s.outcome)))
            .collect()
    }

    pub(super) fn woken(&mut self) -> Vec<u64> {
        self.fx.wake.drain(..).map(|(_, consumer)| consumer.0).collect()
    }
}

pub(super) fn signed_numbers(delivery: &Delivery) -> Vec<i64> {
    let sign = if delivery.redelivered { -1 } else { 1 };
    numbers(delivery).into_iter().map(|number| sign * number as i64).collect()
}
