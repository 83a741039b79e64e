//! Names: which consumers a message for an exchange and routing key goes to. Publishers keep the
//! answer and ask again when [`Routes::version`] has changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::sink::Sink;

/// Where a delivery goes.
pub(super) struct Consumer {
    pub(super) sink: Arc<Sink>,
    pub(super) channel: u16,
    pub(super) tag: String,
    /// Deliveries on that channel so far; changed under the sink's lock.
    pub(super) delivered: Arc<AtomicU64>,
}

/// The consumers of one queue, as a publisher sees them.
pub(super) struct Target {
    pub(super) consumers: Vec<Arc<Consumer>>,
    /// Counts messages, for the round robin.
    pub(super) turn: Arc<AtomicUsize>,
}

/// All names of the relay. There is one vhost.
#[derive(Default)]
pub(super) struct Routes {
    version: AtomicU64,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    queues: HashMap<String, Queue>,
    exchanges: HashMap<String, Exchange>,
    names: u64,
}

#[derive(Default)]
struct Queue {
    consumers: Vec<Arc<Consumer>>,
    turn: Arc<AtomicUsize>,
}

struct Exchange {
    fanout: bool,
    /// Routing key and queue.
    bindings: Vec<(String, String)>,
}

impl Routes {
    /// Changes with every change of what [`Self::route`] answers.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock();
        let result = change(&mut tables);
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    /// A name that nobody else has.
    pub(super) fn new_name(&self, kind: &str) -> String {
        let mut tables = self.tables.lock();
        tables.names += 1;
        format!("relay-{kind}-{}", tables.names)
    }

    /// The queues with consumers that a message goes to. Topic and headers exchanges compare keys
    /// like direct ones.
    pub(super) fn route(&self, exchange: &str, key: &str) -> Vec<Target> {
        let tables = self.tables.lock();
        let names: Vec<&str> = match tables.exchanges.get(exchange) {
            None if exchange.is_empty() => vec![key],
            None => vec![],
            Some(Exchange { fanout, bindings }) => bindings
                .iter()
                .filter(|(binding, _)| *fanout || binding == key)
                .map(|(_, queue)| queue.as_str())
                .collect(),
        };
        let queues = names.into_iter().filter_map(|name| tables.queues.get(name));
        queues
            .filter(|queue| !queue.consumers.is_empty())
            .map(|queue| Target {
                consumers: queue.consumers.clone(),
                turn: Arc::clone(&queue.turn),
            })
            .collect()
    }

    pub(super) fn declare_exchange(&self, name: &str, kind: &str) {
        self.change(|tables| {
            let exchange = || Exchange { fanout: kind == "fanout", bindings: Vec::new() };
            tables.exchanges.entry(name.to_owned()).or_insert_with(exchange);
        });
    }

    /// The exchanges that every broker has count as declared.
    pub(super) fn has_exchange(&self, name: &str) -> bool {
        name.is_empty()
            || name.starts_with("amq.")
            || self.tables.lock().exchanges.contains_key(name)
    }

    pub(super) fn delete_exchange(&self, name: &str) {
        self.change(|tables| tables.exchanges.remove(name));
    }

    /// The number of consumers.
    pub(super) fn declare_queue(&self, name: &str) -> u32 {
        self.change(|tables| {
            tables.queues.entry(name.to_owned()).or_default().consumers.len() as u32
        })
    }

    /// The number of consumers of an existing queue.
    pub(super) fn queue(&self, name: &str) -> Option<u32> {
        self.tables.lock().queues.get(name).map(|queue| queue.consumers.len() as u32)
    }

    pub(super) fn delete_queue(&self, name: &str) {
        self.change(|tables| {
            tables.queues.remove(name);
            for exchange in tables.exchanges.values_mut() {
                exchange.bindings.retain(|(_, queue)| queue != name);
            }
        });
    }

    pub(super) fn bind(&self, exchange: &str, key: &str, queue: &str) {
        self.change(|tables| {
            let entry = tables.exchanges.entry(exchange.to_owned());
            let fanout = exchange == "amq.fanout";
            let exchange = entry.or_insert_with(|| Exchange { fanout, bindings: Vec::new() });
            let binding = (key.to_owned(), queue.to_owned());
            // A queue gets one copy from a fanout exchange, however often it is bound.
            let known = exchange
                .bindings
                .iter()
                .any(|(key, queue)| *queue == binding.1 && (exchange.fanout || *key == binding.0));
            if !known {
                exchange.bindings.push(binding);
            }
        });
    }

    pub(super) fn unbind(&self, exchange: &str, key: &str, queue: &str) {
        self.change(|tables| {
            if let Some(exchange) = tables.exchanges.get_mut(exchange) {
                exchange
                    .bindings
                    .retain(|binding| (binding.0.as_str(), binding.1.as_str()) != (key, queue));
            }
        });
    }

    pub(super) fn add_consumer(&self, queue: &str, consumer: Consumer) {
        self.change(|tables| {
            tables.queues.entry(queue.to_owned()).or_default().consumers.push(Arc::new(consumer));
        });
    }

    /// Removes the consumers for which `leaves` is true.
    pub(super) fn remove_consumers(&self, leaves: impl Fn(&Consumer) -> bool) {
        self.change(|tables| {
            for queue in tables.queues.values_mut() {
                queue.consumers.retain(|consumer| !leaves(consumer));
            }
        });
    }
}
