//! What a queue counts. Plain numbers, updated per range of messages.

use std::ops::{Add, AddAssign, Sub, SubAssign};

/// Messages and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) n: u64,
    pub(super) bytes: u64,
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { n: self.n + other.n, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { n: self.n - other.n, bytes: self.bytes - other.bytes }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

/// How much a queue holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that wait for a consumer.
    pub ready: u64,
    /// Bytes of their bodies.
    pub ready_bytes: u64,
    /// Messages that were handed to consumers that have to acknowledge them.
    pub unacked: u64,
    /// Bytes of their bodies.
    pub unacked_bytes: u64,
    /// Messages on their way to consumers that do not acknowledge: neither ready nor unacked.
    pub in_flight: u64,
    /// Dead letters that their targets do not have yet: neither ready nor unacked.
    pub dead: u64,
    /// Bytes of their bodies.
    pub dead_bytes: u64,
    /// Messages that came back and wait for their next try: neither ready nor unacked.
    pub delayed: u64,
    /// Bytes of their bodies.
    pub delayed_bytes: u64,
    /// Consumers, waiting ones included.
    pub consumers: u32,
}

/// What happened in a queue since it was made. Never goes down.
///
/// `published` is what the queue accepted. What left it again is `finished` (acknowledged, or
/// delivered without need of it), `expired`, `dropped`, `rejected`, `over_delivery_limit`, `lost`,
/// `purged`, `passed` and `truncated`; these ten follow from the ops alone. The others are this node's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages accepted.
    pub published: u64,
    /// Messages that consumers are done with.
    pub finished: u64,
    /// Messages whose time was up.
    pub expired: u64,
    /// Messages dropped because the queue was too long.
    pub dropped: u64,
    /// Messages that a consumer rejected without requeue.
    pub rejected: u64,
    /// Messages returned more often than the delivery limit allows.
    pub over_delivery_limit: u64,
    /// Messages whose bytes did not survive.
    pub lost: u64,
    /// Messages purged.
    pub purged: u64,
    /// Messages that waited here and were routed by their exchange when their time had come.
    pub passed: u64,
    /// Messages that a stream no longer keeps.
    pub truncated: u64,
    /// Messages left out because the queue had seen them.
    pub duplicates: u64,
    /// Messages refused because the queue was full.
    pub refused: u64,
    /// Messages delivered to consumers that acknowledge.
    pub delivered: u64,
    /// Messages delivered to consumers that do not.
    pub delivered_no_ack: u64,
    /// Messages fetched by `basic.get`, to be acknowledged.
    pub got: u64,
    /// Messages fetched by `basic.get` without acknowledgement.
    pub got_no_ack: u64,
    /// `basic.get` that found nothing.
    pub got_empty: u64,
    /// Deliveries and fetches of messages that had been delivered before.
    pub redelivered: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages given back.
    pub requeued: u64,
}
