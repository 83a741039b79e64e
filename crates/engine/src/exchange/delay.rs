//! The delayed message exchange: a message with a delay waits in a queue of the exchange's own, and is routed when its
//! time has come. The queue is one like any other, so what waits survives a restart and leaves memory; here is what
//! the header says, and what the message looks like then.
// rabbitmq: x-delayed-message (community plugin)

mod header;

use crate::block::Block;
use crate::ids::{QueueId, Seq};
use crate::record::{NewRecord, Record};
use crate::time::Timestamp;
use leveret_codec::Properties;
use smallvec::SmallVec;
use std::sync::Arc;

pub(crate) use header::delay_of;

/// What the name of such a queue begins with; the name of its exchange follows.
const PREFIX: &str = "amq.delayed.";

/// The queue in which an exchange keeps what waits.
pub(crate) fn queue_name(exchange: &str) -> String {
    format!("{PREFIX}{exchange}")
}

/// The exchange that a queue of this name belongs to, if it is one of these.
pub(crate) fn exchange_of(queue: &str) -> Option<&str> {
    queue.strip_prefix(PREFIX)
}

/// A message whose time has come. Its queue keeps it until it is told by
/// [`Queue::letter_answered`](crate::queue::Queue::letter_answered) that its targets have it.
#[derive(Clone, Debug)]
pub struct Due {
    /// Where it is.
    pub block: Arc<Block>,
    /// Its record.
    pub record: u32,
    /// The queue it waits in.
    pub source: QueueId,
    /// Its position there.
    pub position: Seq,
    /// The vhost.
    pub vhost: Arc<str>,
    /// The exchange that routes it.
    pub exchange: Arc<str>,
}

impl Due {
    fn record(&self) -> Record<'_> {
        self.block.record(self.record)
    }

    /// The keys it is routed by: its own, then those of the CC and BCC headers.
    #[must_use]
    pub fn routing_keys(&self) -> SmallVec<[&[u8]; 4]> {
        self.record().routing_keys()
    }

    /// The record to be published now: its `x-delay` header is negative, so that whoever receives it
    /// sees that it was delayed and no exchange delays it again. A time to live begins now.
    #[must_use]
    pub fn released(&self, now: Timestamp) -> Block {
        let record = self.record();
        let before = Properties::new(record.properties());
        let ttl = before.expiration().and_then(|text| str::from_utf8(text).ok()?.parse().ok());
        let properties = header::negated(before);
        let mut block = Block::with_capacity(record.body_len() + properties.len() + 128, 1);
        block.push(&NewRecord {
            address: record.whole_address(),
            properties: &properties,
            persistent: record.persistent(),
            priority: record.priority(),
            expires_at: ttl.map(|ttl| now.plus(ttl)),
            body: record.body(),
        });
        if record.redelivered() {
            block.mark_redelivered(0);
        }
        if record.cc_spent() {
            block.mark_cc_spent(0);
        }
        block
    }
}
