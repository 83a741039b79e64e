//! What exchanges of some types keep between messages, each behind its own lock: recent messages, headers that were seen.
//!
//! *Invariant:* the lock of an exchange may be taken while the topology is locked, never the other way round; no queue
//! is locked while it is held.

use std::sync::Arc;

use foldhash::HashMap;
use leveret_engine::exchange::Kept;
use leveret_engine::{
    BindingSpec, Block, Destination, Exchange, ExchangeState, Incoming, Passage, QueueId,
    Timestamp, Topology,
};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::effects::{Scope, Unsent};
use crate::node::Node;

/// What one exchange keeps.
pub(crate) struct ExchangeCell {
    state: Mutex<ExchangeState>,
}

/// All exchanges that keep something. Written when one comes or goes, while the topology is locked for writing.
#[derive(Default)]
pub(crate) struct ExchangeTable {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_name: HashMap<(Arc<str>, Arc<str>), Arc<ExchangeCell>>,
}

impl ExchangeTable {
    /// Notes an exchange, if it is of a type that keeps something.
    pub(crate) fn add(&self, exchange: &Exchange) {
        let Some(state) = ExchangeState::new(exchange) else { return };
        let cell = Arc::new(ExchangeCell { state: Mutex::new(state) });
        self.inner.write().by_name.insert(key(&exchange.vhost, &exchange.name), cell);
    }

    pub(crate) fn remove(&self, exchange: &Exchange) {
        if !exchange.kind.keeps_state() {
            return;
        }
        self.inner.write().by_name.remove(&key(&exchange.vhost, &exchange.name));
    }

    fn find(&self, vhost: &Arc<str>, name: &Arc<str>) -> Option<Arc<ExchangeCell>> {
        self.inner.read().by_name.get(&key(vhost, name)).cloned()
    }
}

fn key(vhost: &Arc<str>, name: &Arc<str>) -> (Arc<str>, Arc<str>) {
    (Arc::clone(vhost), Arc::clone(name))
}

/// Recent messages for a new binding.
pub(crate) struct Replay {
    vhost: Arc<str>,
    to: ReplayTo,
    /// Oldest first.
    messages: Vec<Kept>,
}

enum ReplayTo {
    Queue(QueueId),
    Exchange(Arc<str>),
}

impl Node {
    /// Asks an exchange whether a message goes on; `keep` makes the message's one record.
    pub(crate) fn pass(
        &self,
        exchange: &Exchange,
        properties: &[u8],
        now: Timestamp,
        keep: impl FnOnce() -> Block,
    ) -> Passage {
        let Some(cell) = self.exchanges.find(&exchange.vhost, &exchange.name) else {
            return Passage::Route;
        };
        let mut state = cell.state.lock();
        state.pass(properties, now, keep)
    }

    /// What a new binding receives of the exchange's recent messages. The topology is locked for writing, so every
    /// message is either among these or finds the binding.
    // rabbitmq: x-recent-history
    pub(crate) fn replay_of(&self, topology: &Topology, spec: &BindingSpec) -> Option<Replay> {
        let cell = self.exchanges.find(&spec.vhost, &spec.source)?;
        let messages: Vec<_> = cell.state.lock().history()?.messages().cloned().collect();
        if messages.is_empty() {
            return None;
        }
        let to = match &spec.destination {
            Destination::Queue(name) => ReplayTo::Queue(topology.queue(&spec.vhost, name)?.id),
            Destination::Exchange(name) => ReplayTo::Exchange(Arc::clone(name)),
        };
        Some(Replay { vhost: Arc::clone(&spec.vhost), to, messages })
    }

    pub(crate) fn replay(&self, replay: &Replay, scope: &mut Scope<'_>) {
        let now = scope.now;
        match &replay.to {
            ReplayTo::Queue(id) => {
                let Some(cell) = self.queues.get(*id) else { return };
                for message in &replay.messages {
                    let block = message.renewed(now);
                    let incoming = Incoming { block, confirms: SmallVec::new() };
                    self.hand_in(&cell, None, incoming, scope);
                }
            }
            ReplayTo::Exchange(name) => {
                for message in &replay.messages {
                    let (block, keys) = (message.renewed(now), message.routing_keys());
                    let message = Unsent { exchange: name, keys: &keys, block: &block };
                    self.send(&replay.vhost, &message, |_| true, scope);
                }
            }
        }
    }
}
