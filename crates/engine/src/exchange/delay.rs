//! The log of a delayed message exchange: messages that wait for their time, in its order.
//!
//! Pure, and changed by [`DelayOp`]s alone that it emits itself, as a queue is by its ops: whoever
//! stores them and applies them again has the same log.
//!
//! ```text
//!  delay ─▶ waiting ──take_due──▶ under way ──done──▶ gone
//!              └──────────── cancel ───────────────────┘
//! ```
//!
//! *Invariant:* a message is never due early, and one that is under way is in the log until whoever
//! took it says that its queues have it.
// rabbitmq: x-delayed-message (community plugin)

mod header;

use super::kept::Kept;
use crate::block::Block;
use crate::limits::{DELAYED_BYTES_MAX, DELAYED_MESSAGES_MAX};
use crate::record::NewRecord;
use crate::time::Timestamp;
use leveret_codec::Properties;
use std::collections::BTreeMap;

pub(super) use header::delay_of;

/// A message of a delay log. Numbers are never used twice in one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelayNumber(pub u64);

/// A change of a delay log, to be stored and replicated.
#[derive(Clone, Debug)]
pub enum DelayOp {
    /// A message waits.
    Delay {
        /// Its number.
        number: DelayNumber,
        /// When it is due.
        due: Timestamp,
        /// The message, and when it was published.
        message: Kept,
    },
    /// A message is gone: its queues have it, or it was cancelled.
    Remove {
        /// Its number.
        number: DelayNumber,
        /// When it was due.
        due: Timestamp,
    },
    /// All messages are gone.
    Purge,
}

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// Its number.
    pub number: DelayNumber,
    /// When it is due.
    pub due: Timestamp,
    /// The message, and when it was published.
    pub message: Kept,
}

/// There is no room for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many messages are delayed as may be")]
pub struct DelayFull;

/// Messages by the time they are due and, where that is the same, in the order they came.
#[derive(Debug)]
pub struct DelayLog {
    waiting: BTreeMap<(Timestamp, DelayNumber), Kept>,
    /// Messages that were taken and are not yet in their queues.
    under_way: BTreeMap<DelayNumber, (Timestamp, Kept)>,
    next: DelayNumber,
    bytes: usize,
    limit: DelayLimit,
    /// Whether ops are kept for whoever stores them.
    log: Option<Vec<DelayOp>>,
}

/// How much a delay log may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayLimit {
    /// Messages.
    pub messages: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

impl Default for DelayLimit {
    fn default() -> Self {
        Self { messages: DELAYED_MESSAGES_MAX, bytes: DELAYED_BYTES_MAX }
    }
}

impl DelayLog {
    /// An empty log.
    #[must_use]
    pub fn new(limit: DelayLimit) -> Self {
        Self {
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            next: DelayNumber(1),
            bytes: 0,
            limit,
            log: None,
        }
    }

    /// From now on every change is kept for [`DelayLog::take_ops`].
    pub fn keep_ops(&mut self) {
        self.log.get_or_insert_default();
    }

    /// The changes since the last call, in order.
    pub fn take_ops(&mut self) -> Vec<DelayOp> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Lets the one record of `block` wait for `delay_ms`.
    ///
    /// # Errors
    /// [`DelayFull`].
    pub fn delay(
        &mut self,
        block: Block,
        delay_ms: u64,
        now: Timestamp,
    ) -> Result<DelayNumber, DelayFull> {
        let message = Kept::new(block, now).ok_or(DelayFull)?;
        if self.len() >= self.limit.messages || self.bytes + message.memory() > self.limit.bytes {
            return Err(DelayFull);
        }
        let number = self.next;
        self.emit(DelayOp::Delay { number, due: now.plus(delay_ms), message });
        Ok(number)
    }

    /// Takes at most `max` messages whose time has come, in the order of their times. Each stays in
    /// the log until [`DelayLog::done`].
    pub fn take_due(&mut self, now: Timestamp, max: usize) -> Vec<Delayed> {
        let mut due = Vec::new();
        while due.len() < max
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            let ((at, number), message) = first.remove_entry();
            self.under_way.insert(number, (at, message.clone()));
            due.push(Delayed { number, due: at, message });
        }
        due
    }

    /// The queues of a message that was taken have it.
    pub fn done(&mut self, number: DelayNumber) {
        if let Some((due, _)) = self.under_way.get(&number) {
            let due = *due;
            self.emit(DelayOp::Remove { number, due });
        }
    }

    /// Removes a message that waits; `None` if it does not, or is under way.
    pub fn cancel(&mut self, number: DelayNumber, due: Timestamp) -> Option<Kept> {
        let message = self.waiting.get(&(due, number))?.clone();
        self.emit(DelayOp::Remove { number, due });
        Some(message)
    }

    /// Removes every message; says how many there were.
    pub fn purge(&mut self) -> usize {
        let n = self.len();
        if n > 0 {
            self.emit(DelayOp::Purge);
        }
        n
    }

    fn emit(&mut self, op: DelayOp) {
        self.apply(&op);
        if let Some(log) = &mut self.log {
            log.push(op);
        }
    }

    /// Changes the log as another one was changed: the only way its contents change.
    pub fn apply(&mut self, op: &DelayOp) {
        match op {
            DelayOp::Delay { number, due, message } => {
                self.next = self.next.max(DelayNumber(number.0 + 1));
                self.bytes += message.memory();
                self.waiting.insert((*due, *number), message.clone());
            }
            DelayOp::Remove { number, due } => {
                let under_way = self.under_way.remove(number).map(|(_, message)| message);
                let gone = under_way.or_else(|| self.waiting.remove(&(*due, *number)));
                self.bytes -= gone.map_or(0, |message| message.memory());
            }
            DelayOp::Purge => {
                self.waiting.clear();
                self.under_way.clear();
                self.bytes = 0;
            }
        }
    }

    /// When the next message is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// The messages that wait, in the order in which they are due.
    pub fn waiting(&self) -> impl Iterator<Item = Delayed> {
        self.waiting.iter().map(|((due, number), message)| Delayed {
            number: *number,
            due: *due,
            message: message.clone(),
        })
    }

    /// How many messages there are, those under way among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory of the messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Delayed {
    /// The record to be published now: its `x-delay` header is negative, so that whoever receives it
    /// sees that it was delayed and no exchange delays it again.
    #[must_use]
    pub fn released(&self, now: Timestamp) -> Block {
        let record = self.message.record();
        let properties = header::negated(Properties::new(record.properties()));
        let mut block = Block::with_capacity(record.body_len() + properties.len() + 128, 1);
        block.push(&NewRecord {
            address: record.whole_address(),
            properties: &properties,
            persistent: record.persistent(),
            priority: record.priority(),
            expires_at: self.message.expires_at(now),
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

#[cfg(test)]
mod tests;
