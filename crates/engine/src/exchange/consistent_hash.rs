//! The consistent hash exchange: a hash of the routing key, of a header or of a property chooses
//! one destination, in proportion to the weights that are the binding keys.
//!
//! The choice is by weighted rendezvous: every destination draws a number from the key and its own
//! name, and the smallest wins. So a destination that comes or goes moves only the keys that it
//! gains or loses, and the choice is the same on every node, after every restart and whatever the
//! order of binding.
// rabbitmq: x-consistent-hash

use super::hash;
use super::targets::Target;
use crate::command::Destination;
use crate::router::Routable;
use leveret_codec::{Properties, Table, TableView, Value, ValueView};
use smallvec::SmallVec;
use std::sync::Arc;

pub(super) const HASH_HEADER: &str = "hash-header";
pub(super) const HASH_PROPERTY: &str = "hash-property";

/// What of a message is hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum HashOn {
    #[default]
    RoutingKey,
    Header(Arc<str>),
    CorrelationId,
    MessageId,
    Timestamp,
}

/// Destinations with their weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsistentHashIndex {
    on: HashOn,
    list: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    target: Target,
    /// The hash of the name.
    seed: u64,
    /// The weights of the bindings that lead there. The first in byte order counts, which after
    /// a restart is the one that RabbitMQ takes.
    weights: SmallVec<[Arc<[u8]>; 1]>,
    /// One divided by the weight that counts.
    share: f64,
}

impl HashOn {
    /// Reads the arguments of an exchange; those that were checked are never wrong.
    pub(super) fn read(arguments: &Table) -> Self {
        if let Some(header) = arguments.get(HASH_HEADER).and_then(Value::as_str) {
            return Self::Header(header.into());
        }
        let property = arguments.get(HASH_PROPERTY).and_then(Value::as_str);
        property.and_then(Self::property).unwrap_or_default()
    }

    pub(super) fn property(name: &str) -> Option<Self> {
        match name {
            "correlation_id" => Some(Self::CorrelationId),
            "message_id" => Some(Self::MessageId),
            "timestamp" => Some(Self::Timestamp),
            _ => None,
        }
    }

    /// The hash of what a message has; messages that lack it have one in common.
    fn of(&self, message: &Routable<'_>) -> u64 {
        const MISSING: u64 = 0;
        let properties = Properties::new(message.properties);
        match self {
            Self::RoutingKey => {
                message.routing_keys.first().map_or(MISSING, |key| hash::of_bytes(key))
            }
            Self::Header(name) => header(message.headers, name).unwrap_or(MISSING),
            Self::CorrelationId => properties.correlation_id().map_or(MISSING, hash::of_bytes),
            Self::MessageId => properties.message_id().map_or(MISSING, hash::of_bytes),
            Self::Timestamp => properties
                .timestamp()
                .map_or(MISSING, |seconds| hash::of_bytes(&seconds.to_le_bytes())),
        }
    }
}

/// The hash of a header with its type, as it stands in the table.
fn header(headers: Option<TableView<'_>>, name: &str) -> Option<u64> {
    let mut fields = headers?.fields().map_while(Result::ok);
    let field = fields.find(|field| field.key == name.as_bytes())?;
    match field.value {
        ValueView::Void => None,
        _ => Some(hash::of_bytes(field.raw.get(field.key.len() + 1..).unwrap_or_default())),
    }
}

impl ConsistentHashIndex {
    pub(crate) fn new(arguments: &Table) -> Self {
        Self { on: HashOn::read(arguments), list: Vec::new() }
    }

    /// Whether messages with the same routing key go to the same destination.
    pub(crate) fn by_key_alone(&self) -> bool {
        self.on == HashOn::RoutingKey
    }

    pub(crate) fn add(&mut self, key: &Arc<[u8]>, destination: &Destination, target: Target) {
        let at = self.list.iter().position(|entry| entry.target == target);
        let at = at.unwrap_or_else(|| {
            let (seed, weights, share) = (seed(destination), SmallVec::new(), 0.0);
            self.list.push(Entry { target, seed, weights, share });
            self.list.len() - 1
        });
        if let Some(entry) = self.list.get_mut(at) {
            entry.weights.push(key.clone());
            entry.weigh();
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8], target: Target) {
        let Some(at) = self.list.iter().position(|entry| entry.target == target) else { return };
        let Some(entry) = self.list.get_mut(at) else { return };
        if let Some(weight) = entry.weights.iter().position(|weight| **weight == *key) {
            entry.weights.remove(weight);
        }
        if entry.weights.is_empty() {
            self.list.swap_remove(at);
        } else {
            entry.weigh();
        }
    }

    /// Appends the one destination of a message.
    pub(crate) fn route(&self, message: &Routable<'_>, out: &mut Vec<Target>) {
        if let [only] = &*self.list {
            return out.push(only.target);
        }
        let key = self.on.of(message);
        let draw = |entry: &Entry| hash::exponential(hash::pair(key, entry.seed)) * entry.share;
        let first = self.list.iter().min_by(|a, b| draw(a).total_cmp(&draw(b)));
        out.extend(first.map(|entry| entry.target));
    }
}

impl Entry {
    fn weigh(&mut self) {
        self.weights.sort_unstable();
        let weight = self.weights.first().and_then(|key| weight(key));
        self.share = 1.0 / weight.unwrap_or(1.0);
    }
}

/// The name of a destination as a number.
fn seed(destination: &Destination) -> u64 {
    match destination {
        Destination::Exchange(name) => hash::of_all([&b"exchange"[..], name.as_bytes()]),
        Destination::Queue(name) => hash::of_all([&b"queue"[..], name.as_bytes()]),
    }
}

/// The number that a binding key is, if it is one and positive.
fn weight(key: &[u8]) -> Option<f64> {
    str::from_utf8(key).ok()?.parse().ok().filter(|weight| *weight >= 1.0)
}

#[cfg(test)]
mod tests;
