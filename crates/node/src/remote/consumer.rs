//! A consumer of this node whose queue is led by another: a mailbox of what its leader has sent.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_cluster::replication::NodeId;
use leveret_cluster::replication::wire::proxy::{Messages, Subscriber, delivery_weight};
use leveret_engine::seq::RangeSet;
use leveret_engine::{
    Block, Budget, ChannelCredit, ConsumerSpec, Delivery, QueueId, Returns, Seq, SeqRange,
    StreamOffset,
};
use parking_lot::Mutex;

use super::serving::ROOM_BYTES;
use crate::connections::Handle;

/// A consumer of a client of this node.
pub(crate) struct Consumer {
    pub(crate) queue: QueueId,
    pub(crate) spec: ConsumerSpec,
    pub(crate) handle: Arc<Handle>,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    deliveries: VecDeque<Delivery>,
    /// Whether the connection knows that there is something to take.
    awake: bool,
    /// Bytes that the client was handed and the leader has not been told of.
    passed: u64,
    /// What the client has and has not settled, as positions.
    out: RangeSet,
    /// Whose deliveries are taken: the node that the consumer has been made known to.
    at: Option<NodeId>,
    /// Whether its client has been told that it consumes.
    told: bool,
    /// The limit that it shares with the other consumers of its channel.
    credit: Option<Arc<ChannelCredit>>,
    /// The offset that follows on what the client was handed of a stream.
    next: Option<u64>,
    gone: bool,
}

/// What was taken from the mailbox.
#[derive(Default)]
pub(crate) struct Taken {
    /// Whether there is more.
    pub(crate) more: bool,
    /// What is to be acknowledged, since the client does not.
    pub(crate) acks: Vec<SeqRange>,
    /// For how many bytes the leader has room again, if it is to be told.
    pub(crate) room: Option<u64>,
    /// The leader.
    pub(crate) at: Option<NodeId>,
}

/// Positions of a queue in one row.
pub(super) fn row(range: SeqRange) -> std::ops::Range<u64> {
    range.first.0..range.end().0
}

/// The same the other way round.
pub(super) fn range_of(row: &std::ops::Range<u64>) -> SeqRange {
    SeqRange { first: Seq(row.start), n: u32::try_from(row.end - row.start).unwrap_or(u32::MAX) }
}

fn positions(delivery: &Delivery) -> SeqRange {
    SeqRange { first: delivery.first_seq, n: delivery.n }
}

/// The delivery that the leader has sent; `None` if it is no such thing.
pub(super) fn delivery(to: leveret_engine::ConsumerId, messages: &Messages) -> Option<Delivery> {
    let block = Arc::new(Block::unpack(&messages.block).ok()?);
    let (all, failed) = messages.returns;
    Some(Delivery {
        consumer: to,
        first: 0,
        n: block.len(),
        block,
        first_seq: messages.first,
        redelivered: messages.redelivered,
        returns: Returns { all, failed },
        from_stream: messages.from_stream,
    })
}

impl Consumer {
    pub(crate) fn new(queue: QueueId, spec: ConsumerSpec, handle: Arc<Handle>) -> Self {
        let inbox = Inbox { credit: spec.channel_credit.clone(), ..Inbox::default() };
        Self { queue, spec, handle, inbox: Mutex::new(inbox) }
    }

    /// One that consumed from this node's own queue until now.
    pub(crate) fn moved(queue: QueueId, spec: ConsumerSpec, handle: Arc<Handle>) -> Self {
        let consumer = Self::new(queue, spec, handle);
        consumer.inbox.lock().told = true;
        consumer
    }

    /// What the leader has to know of it.
    pub(crate) fn subscriber(&self) -> Subscriber {
        let spec = &self.spec;
        let next = self.inbox.lock().next;
        Subscriber {
            id: spec.id,
            channel: spec.channel,
            tag: Arc::clone(&spec.tag),
            no_ack: spec.no_ack,
            exclusive: spec.exclusive,
            prefetch: if spec.no_ack { 0 } else { spec.prefetch },
            priority: spec.priority,
            from: next,
            arguments: spec.arguments.clone(),
            user: Arc::clone(&spec.user),
        }
    }

    /// What the queue here has to know of it, when this node begins to lead.
    pub(crate) fn local_spec(&self) -> ConsumerSpec {
        let inbox = self.inbox.lock();
        let mut spec = ConsumerSpec { channel_credit: inbox.credit.clone(), ..self.spec.clone() };
        if let Some(next) = inbox.next {
            spec.read.from = StreamOffset::At(next);
        }
        spec
    }

    /// From now on deliveries of this node are taken. What another one has sent and the client has not been handed is
    /// given up: it is delivered again.
    pub(crate) fn attach(&self, to: Option<NodeId>) {
        let mut inbox = self.inbox.lock();
        inbox.at = to;
        inbox.deliveries.clear();
        inbox.passed = 0;
    }

    /// The leader to which it has been made known.
    pub(crate) fn attached_to(&self) -> Option<NodeId> {
        self.inbox.lock().at
    }

    /// Notes that its client knows that it consumes; says whether it did so before.
    pub(crate) fn tell(&self) -> bool {
        std::mem::replace(&mut self.inbox.lock().told, true)
    }

    /// Whether its client knows that it consumes.
    pub(crate) fn is_told(&self) -> bool {
        self.inbox.lock().told
    }

    /// Whether it is to be cancelled when its queue has another leader.
    // rabbitmq: x-cancel-on-ha-failover
    pub(crate) fn leaves_on_failover(&self) -> bool {
        self.spec.arguments.get("x-cancel-on-ha-failover").and_then(|v| v.as_bool()) == Some(true)
    }

    /// Takes in what the leader `from` has sent. `Err`: it is not for this consumer any more and goes back. `Ok` says
    /// whether the connection is to be woken.
    pub(crate) fn arrived(&self, from: NodeId, delivery: Delivery) -> Result<bool, SeqRange> {
        let mut inbox = self.inbox.lock();
        if inbox.gone || inbox.at != Some(from) {
            return Err(positions(&delivery));
        }
        inbox.deliveries.push_back(delivery);
        Ok(!std::mem::replace(&mut inbox.awake, true))
    }

    /// Takes what is here for the client, as far as the budget and the channel's credit go.
    pub(crate) fn take(&self, budget: Budget, out: &mut Vec<Delivery>) -> Taken {
        let mut inbox = self.inbox.lock();
        let inbox = &mut *inbox;
        let mut left = budget;
        let mut taken = Taken { at: inbox.at, ..Taken::default() };
        while let Some(front) = inbox.deliveries.front_mut() {
            if left.records == 0 || left.bytes == 0 {
                taken.more = true;
                break;
            }
            let fits = front.n.min(left.records);
            let n = front.block.fill(front.first..front.first + fits, u64::from(left.bytes));
            let n = match &inbox.credit {
                Some(credit) if !self.spec.no_ack => credit.try_take(n),
                _ => n,
            };
            if n == 0 {
                break;
            }
            let part = Delivery { n, ..front.clone() };
            front.first += n;
            front.n -= n;
            front.first_seq = front.first_seq.plus(u64::from(n));
            if front.n == 0 {
                inbox.deliveries.pop_front();
            }
            let bytes = part.block.body_bytes(part.first..part.first + n);
            inbox.passed += delivery_weight(n, bytes);
            left.records -= n;
            left.bytes = left.bytes.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
            let range = positions(&part);
            if part.from_stream {
                inbox.next = Some(range.end().index());
            }
            if self.spec.no_ack {
                taken.acks.push(range);
            } else {
                inbox.out.insert(row(range));
            }
            out.push(part);
        }
        inbox.awake = taken.more;
        if inbox.passed >= ROOM_BYTES / 2 {
            taken.room = Some(std::mem::take(&mut inbox.passed));
        }
        taken
    }

    /// The channel's credit may have grown: whether the connection is to come and take.
    pub(crate) fn credit_changed(&self) -> bool {
        let mut inbox = self.inbox.lock();
        !inbox.deliveries.is_empty() && !std::mem::replace(&mut inbox.awake, true)
    }

    /// Shares the credit of its channel from now on.
    pub(crate) fn share(&self, credit: Arc<ChannelCredit>) {
        let mut inbox = self.inbox.lock();
        if inbox.credit.is_none() {
            if !self.spec.no_ack {
                credit.take_beyond(u32::try_from(inbox.out.len()).unwrap_or(u32::MAX));
            }
            inbox.credit = Some(credit);
        }
    }

    /// Its client has settled messages. Says whether nothing of it is left.
    pub(crate) fn settled(&self, range: SeqRange) -> bool {
        let mut inbox = self.inbox.lock();
        let n = inbox.out.remove(row(range));
        if let Some(credit) = &inbox.credit
            && !self.spec.no_ack
        {
            credit.give_back(u32::try_from(n).unwrap_or(u32::MAX));
        }
        inbox.gone && inbox.out.is_empty()
    }

    /// What its client has and has not settled.
    pub(crate) fn unsettled(&self) -> Vec<SeqRange> {
        self.inbox.lock().out.iter().map(|row| range_of(&row)).collect()
    }

    /// It is cancelled. What never reached the client, and whether nothing of it is left.
    pub(crate) fn leave(&self) -> (Vec<SeqRange>, bool) {
        let mut inbox = self.inbox.lock();
        inbox.gone = true;
        let untaken = inbox.deliveries.drain(..).map(|delivery| positions(&delivery)).collect();
        (untaken, inbox.out.is_empty())
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.inbox.lock().gone
    }
}
