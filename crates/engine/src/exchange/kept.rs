//! A message that an exchange keeps outside of any queue: in a history, or until it is due.

use crate::block::Block;
use crate::record::Record;
use crate::time::Timestamp;
use smallvec::SmallVec;
use std::sync::Arc;

/// A message and when it was published.
#[derive(Clone, Debug)]
pub struct Kept {
    /// One record.
    block: Arc<Block>,
    at: Timestamp,
}

impl Kept {
    /// Keeps the one record of `block`; `None` if there is none.
    pub(super) fn new(block: Block, at: Timestamp) -> Option<Self> {
        (!block.is_empty()).then(|| Self { block: Arc::new(block), at })
    }

    /// The message as it was published.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        self.block.record(0)
    }

    /// When it was published.
    #[must_use]
    pub fn published_at(&self) -> Timestamp {
        self.at
    }

    /// Bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.block.memory()
    }

    /// The keys it is routed by: its own, then those of the CC and BCC headers.
    #[must_use]
    pub fn routing_keys(&self) -> SmallVec<[&[u8]; 4]> {
        self.record().routing_keys()
    }

    /// When it expires if it reaches its queue now: a message's time to live begins there.
    pub(super) fn expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ttl = self.record().expires_at()?.since(self.at);
        Some(now.plus(ttl))
    }

    /// The record to be published now.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Block {
        let mut block = Block::clone(&self.block);
        let expires_at = self.expires_at(now);
        if expires_at.is_some() {
            block.set_expiry(0, expires_at);
        }
        block
    }
}
