//! What a channel tells the firehose, in a vhost whose tracing is on: what is published and what is delivered. Where it is
//! off, publishes that have a known route and deliveries do not come here.
// rabbitmq: rabbit_trace

use leveret_engine::{Block, Delivery, NewRecord, QueueId, Record, Topology};

use crate::broker::{Broker, Tap, TapEvent};
use crate::channel::Channel;
use crate::connection::shared::Shared;

impl Channel {
    /// Tells of a message that was published and routed.
    pub(super) fn tap_published<B: Broker>(
        &self,
        record: &NewRecord<'_>,
        targets: &[QueueId],
        shared: &Shared,
        broker: &mut B,
    ) {
        let mut block = Block::with_capacity(record.stored_len(), 1);
        block.push(record);
        let event = TapEvent::Published(targets);
        broker.tap(&shared.tap(self.key.number, event, block.record(0)));
    }

    /// Tells of messages that are delivered from a queue.
    pub(crate) fn tap_delivered<B: Broker>(
        &self,
        queue: QueueId,
        delivery: &Delivery,
        shared: &Shared,
        broker: &mut B,
    ) {
        for at in delivery.first..delivery.first + delivery.n {
            let record = delivery.block.record(at);
            let redelivered = delivery.redelivered || record.redelivered();
            let event = TapEvent::Delivered { queue, redelivered };
            broker.tap(&shared.tap(self.key.number, event, record));
        }
    }
}

impl Shared {
    fn tap<'a>(&'a self, channel: u16, event: TapEvent<'a>, record: Record<'a>) -> Tap<'a> {
        let (vhost, user, peer) = (&*self.vhost, &*self.user_name, &*self.peer.address);
        Tap { vhost, user, peer, channel, event, record }
    }

    /// Whether messages of the connection's vhost are copied to its firehose.
    pub(crate) fn is_traced(&self, topology: &Topology) -> bool {
        topology.vhost(&self.vhost).is_some_and(|vhost| vhost.info().tracing)
    }
}
