//! What goes into a queue and what comes out of it: batches of messages, answers to publishers,
//! deliveries, wake-ups. Plain values; nothing here decides anything.

use crate::block::Block;
use crate::dead_letter::DeadLetter;
use crate::exchange::delay::Due;
use crate::ids::{ChannelKey, ConnectionId, ConsumerId, Seq};
use crate::queue::checkpoint::ChunkId;
use crate::queue::ops::{LoggedOp, Returns};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// A batch of messages for one queue, in the order of their publishing.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The messages.
    pub block: Block,
    /// Which of them are to be confirmed.
    pub confirms: SmallVec<[ConfirmRun; 2]>,
}

/// Messages of a batch that one channel wants confirmed: `n` records from `first_record` carry the
/// publish sequence numbers from `first_tag`. A record in no run needs no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmRun {
    /// The first record of the run in its block.
    pub first_record: u32,
    /// How many.
    pub n: u32,
    /// Who wants to know.
    pub channel: ChannelKey,
    /// The publish sequence number of the first.
    pub first_tag: u64,
}

/// The queue's answer for `n` messages of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whose messages.
    pub channel: ChannelKey,
    /// The publish sequence number of the first.
    pub first_tag: u64,
    /// How many.
    pub n: u32,
    /// What became of them.
    pub outcome: Outcome,
}

/// Whether a queue took a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The queue holds it as safely as it promises to.
    Accepted,
    /// The queue refused it.
    Rejected,
}

/// The answer to whoever wants one for a range of records.
pub fn answers(
    confirms: &[ConfirmRun],
    records: Range<u32>,
    outcome: Outcome,
) -> impl Iterator<Item = Settled> + '_ {
    confirms.iter().filter_map(move |run| {
        let start = run.first_record.max(records.start);
        let end = (run.first_record + run.n).min(records.end);
        (start < end).then(|| Settled {
            channel: run.channel,
            first_tag: run.first_tag + u64::from(start - run.first_record),
            n: end - start,
            outcome,
        })
    })
}

/// Messages on their way to a consumer: `n` records of a block, in order.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For whom; [`ConsumerId::GET`] is `basic.get`.
    pub consumer: ConsumerId,
    /// Where they are.
    pub block: Arc<Block>,
    /// The first record.
    pub first: u32,
    /// How many.
    pub n: u32,
    /// The position of the first in the queue; the others follow.
    pub first_seq: Seq,
    /// Whether they were delivered before. A single record may say so by itself as well:
    /// [`crate::record::Record::redelivered`].
    pub redelivered: bool,
    /// How often each of them came back, if the queue counts that.
    pub returns: Returns,
    /// Whether they stay where they are, and each is told its offset: the index of its position.
    pub from_stream: bool,
}

/// What an output buffer may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many messages.
    pub records: u32,
    /// How many bytes of bodies; the last message may exceed it.
    pub bytes: u32,
}

/// Why a queue wants to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteCause {
    /// Its last consumer left and it is auto-delete.
    Unused,
    /// It was unused for as long as `x-expires` says.
    Expired,
}

/// What the caller of a queue has to do afterwards. Reusable: [`Effects::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Effects {
    /// Consumers that have something to take and do not know it yet.
    pub wake: SmallVec<[(ConnectionId, ConsumerId); 4]>,
    /// Answers to publishers.
    pub settled: Vec<Settled>,
    /// Messages to publish to a dead-letter exchange, in this order.
    pub dead_letters: Vec<DeadLetter>,
    /// Messages that waited for their time, to be routed by their exchange, in this order.
    pub due: Vec<Due>,
    /// Consumers that the queue cancelled.
    pub cancelled: Vec<(ConnectionId, ChannelKey, ConsumerId)>,
    /// Ops to store and to replicate, if the queue keeps a log.
    pub ops: Vec<LoggedOp>,
    /// Chunks to read, for [`Queue::loaded`](crate::queue::Queue::loaded). None is asked for twice.
    pub loads: Vec<ChunkId>,
    /// The queue is to be deleted. Said again on every tick until it is.
    pub delete: Option<DeleteCause>,
    /// An empty block whose memory is free to be used for the next batch.
    pub spare: Option<Block>,
}

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wake.is_empty()
            && self.settled.is_empty()
            && self.dead_letters.is_empty()
            && self.due.is_empty()
            && self.cancelled.is_empty()
            && self.ops.is_empty()
            && self.loads.is_empty()
            && self.delete.is_none()
    }

    /// Forgets everything but the spare block.
    pub fn clear(&mut self) {
        self.wake.clear();
        self.settled.clear();
        self.dead_letters.clear();
        self.due.clear();
        self.cancelled.clear();
        self.ops.clear();
        self.loads.clear();
        self.delete = None;
    }
}
