//! From an exchange and a message to queues. Hot path: no allocation once the scratch is warm.
//!
//! Exchanges bound to exchanges are walked breadth first, each once; an exchange that itself finds
//! nothing hands the message to its alternate exchange.
// rabbitmq: 2.7 routing, alternate exchange

use crate::exchange::hash;
use crate::exchange::targets::Target;
use crate::exchange::topic::TopicScratch;
use crate::ids::QueueId;
use crate::record::Record;
use leveret_codec::{Properties, TableView};

/// What routing looks at in a message.
#[derive(Clone, Copy, Debug)]
pub struct Routable<'a> {
    /// The routing key, then the keys of the CC and BCC headers.
    pub routing_keys: &'a [&'a [u8]],
    /// The headers.
    pub headers: Option<TableView<'a>>,
    /// Property flags and values as received, the headers among them.
    pub properties: &'a [u8],
}

impl<'a> Routable<'a> {
    /// A message without properties.
    #[must_use]
    pub fn by_keys(routing_keys: &'a [&'a [u8]]) -> Self {
        Self { routing_keys, headers: None, properties: &[] }
    }

    /// A message that is in a block.
    #[must_use]
    pub fn of_record(record: &Record<'a>, routing_keys: &'a [&'a [u8]]) -> Self {
        let properties = record.properties();
        Self { routing_keys, headers: Properties::new(properties).headers(), properties }
    }
}

/// Where a message goes; also the scratch of routing, to be used again and again.
#[derive(Debug)]
pub struct Routed {
    queues: Vec<QueueId>,
    slots: Vec<u32>,
    by_key_alone: bool,
    refused: bool,
    /// How many of the queues are those in which exchanges keep what waits.
    n_held: usize,
    /// What the next exchange that chooses at random goes by.
    random: u64,
    pub(crate) targets: Vec<Target>,
    pub(crate) topic: TopicScratch,
    /// Exchanges in the order they were found, each once.
    visited: Vec<u32>,
    /// Which exchanges are in `visited`, once there is more than one.
    seen: Vec<u64>,
    /// Whether a queue may be in `slots` more than once.
    repeated: bool,
}

impl Routed {
    /// An empty scratch. Exchanges that choose at random do so by what follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            queues: Vec::new(),
            slots: Vec::new(),
            by_key_alone: true,
            refused: false,
            n_held: 0,
            random: seed,
            targets: Vec::new(),
            topic: TopicScratch::default(),
            visited: Vec::new(),
            seen: Vec::new(),
            repeated: false,
        }
    }

    /// The queues, each once, in no particular order.
    #[must_use]
    pub fn queues(&self) -> &[QueueId] {
        &self.queues
    }

    /// Whether no queue was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether another message to the same exchange with the same keys goes to the same queues, as
    /// long as the routing version stays the same.
    #[must_use]
    pub fn by_key_alone(&self) -> bool {
        self.by_key_alone
    }

    /// Whether an exchange on the way had no room to keep the message: it is not to be confirmed.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether the message only waits, for an exchange to route it later: it has reached no queue yet.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        self.n_held > 0 && self.n_held == self.queues.len()
    }

    /// Notes the queue in which an exchange keeps what waits.
    pub(crate) fn hold(&mut self, queue: u32) {
        self.repeated |= !self.slots.is_empty();
        self.slots.push(queue);
        self.n_held += 1;
    }

    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    pub(crate) fn start(&mut self, exchange: u32) {
        self.queues.clear();
        self.slots.clear();
        self.targets.clear();
        for &slot in &self.visited {
            if let Some(word) = self.seen.get_mut(slot as usize / 64) {
                *word = 0;
            }
        }
        self.visited.clear();
        self.visited.push(exchange);
        self.by_key_alone = true;
        self.refused = false;
        self.n_held = 0;
        self.repeated = false;
    }

    pub(crate) fn depends_on_more_than_keys(&mut self) {
        self.by_key_alone = false;
    }

    /// A random number, another every time (SplitMix64).
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash::mix(self.random)
    }

    pub(crate) fn visited(&self, position: usize) -> Option<u32> {
        self.visited.get(position).copied()
    }

    /// Notes an exchange that is to be walked, unless it is already.
    pub(crate) fn visit(&mut self, exchange: u32) {
        if let [only] = *self.visited {
            self.mark(only);
        }
        if self.mark(exchange) {
            self.visited.push(exchange);
        }
    }

    fn mark(&mut self, exchange: u32) -> bool {
        let (word, mask) = (exchange as usize / 64, 1 << (exchange % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let Some(word) = self.seen.get_mut(word) else { return false };
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    /// Takes over what an exchange found in `targets`.
    pub(crate) fn accept(&mut self, repeated: bool) {
        self.repeated |= repeated || !self.slots.is_empty();
        let targets = std::mem::take(&mut self.targets);
        for &target in &targets {
            if target.is_exchange() {
                self.visit(target.slot());
            } else {
                self.slots.push(target.slot());
            }
        }
        self.targets = targets;
    }

    /// Ends with every queue once.
    pub(crate) fn finish(&mut self, ids: &[QueueId]) {
        if self.repeated && self.slots.len() > 1 {
            self.slots.sort_unstable();
            self.slots.dedup();
        }
        let id = |slot: &u32| ids.get(*slot as usize).copied().unwrap_or_default();
        self.queues.extend(self.slots.iter().map(id));
    }

    /// Ends without a queue: there is no such exchange.
    pub(crate) fn nothing(&mut self) {
        self.queues.clear();
        self.slots.clear();
        self.by_key_alone = true;
    }
}

#[cfg(test)]
mod tests;
