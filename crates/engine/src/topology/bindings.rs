//! Bindings: adding, removing, listing. Every step costs the same however many there are.

use super::vhost::Vhost;
use super::{Changes, Topology};
use crate::command::{BindingSpec, Change, Destination, Outcome};
use crate::error::{BrokerError, ResourceName};
use crate::exchange::check::{self, BindingCheck};
use crate::exchange::targets::Target;
use crate::slab::Slab;
use foldhash::HashMap;
use leveret_codec::{Table, TableView};
use std::sync::Arc;

/// The bindings of a vhost by number and by identity.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    slots: Slab<BindingEntry>,
    by_identity: HashMap<Identity, u32>,
}

/// What makes two bindings the same.
// rabbitmq: binding identity, arguments sorted by key
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    source: u32,
    target: Target,
    key: Arc<[u8]>,
    /// The sorted table as bytes; `None` is an empty one.
    arguments: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct BindingEntry {
    identity: Identity,
    /// What the index of the source needs to remove it.
    number: u32,
    /// Where it is in the list of its source.
    at_source: u32,
    /// Where it is in the list of its destination.
    at_target: u32,
}

/// A binding as management lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange messages come from.
    pub source: Arc<str>,
    /// Where they go.
    pub destination: Destination,
    /// The binding key.
    pub key: Arc<[u8]>,
    /// The arguments, sorted by key.
    pub arguments: Table,
    /// Whether both ends survive a restart, and so the binding does.
    pub durable: bool,
}

impl Bindings {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

fn sorted_bytes(arguments: &Table) -> Option<Arc<[u8]>> {
    if arguments.is_empty() {
        return None;
    }
    let mut sorted = arguments.clone();
    sorted.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(sorted.to_bytes().into())
}

impl Vhost {
    /// Every binding but those of the default exchange, in no particular order.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.bindings.slots.iter().filter_map(|(_, entry)| self.binding(entry))
    }

    /// The bindings from an exchange.
    pub fn bindings_from(&self, exchange: &str) -> impl Iterator<Item = Binding> {
        let numbers = self.exchanges.get(exchange).map_or(&[][..], |entry| &entry.outgoing);
        self.listed(numbers)
    }

    /// The bindings to an exchange.
    pub fn bindings_to_exchange(&self, exchange: &str) -> impl Iterator<Item = Binding> {
        let numbers = self.exchanges.get(exchange).map_or(&[][..], |entry| &entry.incoming);
        self.listed(numbers)
    }

    /// The bindings to a queue, but that of the default exchange.
    pub fn bindings_to_queue(&self, queue: &str) -> impl Iterator<Item = Binding> {
        let numbers = self.queues.get(queue).map_or(&[][..], |entry| &entry.incoming);
        self.listed(numbers)
    }

    fn listed<'a>(&'a self, numbers: &'a [u32]) -> impl Iterator<Item = Binding> + 'a {
        numbers.iter().filter_map(|&number| self.binding(self.bindings.slots.get(number)?))
    }

    fn binding(&self, entry: &BindingEntry) -> Option<Binding> {
        let Identity { source, target, key, arguments } = &entry.identity;
        let source = &self.exchanges.at(*source)?.meta;
        let (destination, durable) = if target.is_exchange() {
            let exchange = &self.exchanges.at(target.slot())?.meta;
            (Destination::Exchange(exchange.name.clone()), exchange.durable)
        } else {
            let queue = &self.queues.at(target.slot())?.meta;
            (Destination::Queue(queue.name.clone()), queue.durable)
        };
        let arguments = arguments.as_deref().unwrap_or_default();
        Some(Binding {
            source: source.name.clone(),
            destination,
            key: key.clone(),
            arguments: Table::try_from(TableView::new(arguments)).unwrap_or_default(),
            durable: durable && source.durable,
        })
    }

    fn identity(&self, spec: &BindingSpec) -> Option<Identity> {
        let target = match &spec.destination {
            Destination::Exchange(name) => Target::exchange(self.exchanges.slot(&**name)?),
            Destination::Queue(name) => Target::queue(self.queues.slot(&**name)?),
        };
        let source = self.exchanges.slot(&*spec.source)?;
        let arguments = sorted_bytes(&spec.arguments);
        Some(Identity { source, target, key: spec.key.clone(), arguments })
    }

    /// Whether the binding exists.
    pub(super) fn has_binding(&self, spec: &BindingSpec) -> bool {
        self.identity(spec)
            .is_some_and(|identity| self.bindings.by_identity.contains_key(&identity))
    }

    /// Adds a binding between things that exist; false if it was there.
    fn add_binding(&mut self, spec: &BindingSpec) -> bool {
        let Some(identity) = self.identity(spec) else { return false };
        if self.bindings.by_identity.contains_key(&identity) {
            return false;
        }
        let Identity { source, target, .. } = identity;
        let Some(from) = self.exchanges.at_mut(source) else { return false };
        let number = from.index.add(spec, target);
        let at_source = from.outgoing.len() as u32;
        let at_target = self.incoming_mut(target).map_or(0, |list| list.len() as u32);
        let entry = BindingEntry { identity: identity.clone(), number, at_source, at_target };
        let slot = self.bindings.slots.insert(entry);
        self.bindings.by_identity.insert(identity, slot);
        if let Some(from) = self.exchanges.at_mut(source) {
            from.outgoing.push(slot);
        }
        if let Some(list) = self.incoming_mut(target) {
            list.push(slot);
        }
        true
    }

    fn incoming_mut(&mut self, target: Target) -> Option<&mut Vec<u32>> {
        if target.is_exchange() {
            Some(&mut self.exchanges.at_mut(target.slot())?.incoming)
        } else {
            Some(&mut self.queues.at_mut(target.slot())?.incoming)
        }
    }

    /// Removes a binding and answers with its source.
    pub(super) fn remove_binding(&mut self, slot: u32) -> Option<u32> {
        let BindingEntry { identity, number, at_source, at_target } =
            self.bindings.slots.remove(slot)?;
        self.bindings.by_identity.remove(&identity);
        let Identity { source, target, key, .. } = identity;
        if let Some(from) = self.exchanges.at_mut(source) {
            from.index.remove(&key, number, target);
            let moved = swap_remove(&mut from.outgoing, at_source);
            if let Some(moved) = moved.and_then(|moved| self.bindings.slots.get_mut(moved)) {
                moved.at_source = at_source;
            }
        }
        let moved = self.incoming_mut(target).and_then(|list| swap_remove(list, at_target));
        if let Some(moved) = moved.and_then(|moved| self.bindings.slots.get_mut(moved)) {
            moved.at_target = at_target;
        }
        Some(source)
    }

    /// Deletes the exchange if it is auto-delete and its last binding is gone, and with it the
    /// bindings to it, and so on upstream. A durable one is only told of.
    // rabbitmq: exchange auto_delete
    pub(super) fn collect_unused(&mut self, exchange: u32, changes: &mut Changes) -> u64 {
        let (mut candidates, mut n) = (vec![exchange], 0);
        while let Some(exchange) = candidates.pop() {
            let unused = |entry: &super::vhost::ExchangeEntry| {
                entry.meta.auto_delete && entry.outgoing.is_empty()
            };
            let Some(entry) = self.exchanges.at(exchange).filter(|entry| unused(entry)) else {
                continue;
            };
            if entry.meta.durable {
                changes.push(Change::ExchangeUnused(entry.meta.clone()));
            } else {
                candidates.extend(self.remove_exchange(exchange, changes));
                n += 1;
            }
        }
        n
    }

    /// Removes an exchange with its bindings, and answers with the exchanges that were bound to it.
    pub(super) fn remove_exchange(&mut self, exchange: u32, changes: &mut Changes) -> Vec<u32> {
        let Some(entry) = self.exchanges.at(exchange) else { return Vec::new() };
        let meta = entry.meta.clone();
        for binding in entry.outgoing.clone() {
            self.remove_binding(binding);
        }
        let incoming = self.exchanges.at(exchange).map(|e| e.incoming.clone()).unwrap_or_default();
        let upstream = incoming.into_iter().filter_map(|slot| self.remove_binding(slot)).collect();
        self.exchanges.remove(&meta.name);
        changes.push(Change::ExchangeRemoved(meta));
        upstream
    }
}

/// Removes the entry at a position and answers with the one that took its place.
fn swap_remove(list: &mut Vec<u32>, position: u32) -> Option<u32> {
    list.swap_remove(position as usize);
    list.get(position as usize).copied()
}

impl Topology {
    /// Whether a binding could be made: its ends exist, and its arguments fit. Answers whether it
    /// exists already.
    ///
    /// # Errors
    /// [`BrokerError::DefaultExchange`], [`BrokerError::NotFound`], the source first, or
    /// [`BrokerError::InvalidArgument`].
    pub fn examine_bind(&self, spec: &BindingSpec) -> Result<bool, BrokerError> {
        check_default(spec)?;
        let vhost = self.known_vhost(&spec.vhost)?;
        let missing = |resource| Err(BrokerError::NotFound(resource));
        let Some(source) = vhost.exchange(&spec.source) else {
            return missing(ResourceName::exchange(&spec.vhost, spec.source.clone()));
        };
        let queue = match &spec.destination {
            Destination::Exchange(name) if vhost.exchange(name).is_none() => {
                return missing(ResourceName::exchange(&spec.vhost, name.clone()));
            }
            Destination::Exchange(_) => None,
            Destination::Queue(name) => match vhost.queue(name) {
                Some(queue) => Some(queue.kind),
                None => return missing(ResourceName::queue(&spec.vhost, name.clone())),
            },
        };
        let binding = BindingCheck { key: &spec.key, arguments: &spec.arguments, queue };
        check::binding(source, binding)?;
        Ok(vhost.has_binding(spec))
    }

    /// Whether a binding exists.
    #[must_use]
    pub fn is_bound(&self, spec: &BindingSpec) -> bool {
        self.vhost(&spec.vhost).is_some_and(|vhost| vhost.has_binding(spec))
    }

    pub(super) fn bind(&mut self, spec: &BindingSpec) -> Result<Outcome, BrokerError> {
        if self.examine_bind(spec)? {
            return Ok(Outcome::Bound { created: false });
        }
        Ok(Outcome::Bound { created: self.vhost_mut(&spec.vhost)?.add_binding(spec) })
    }

    // rabbitmq: unbinding what is not there is no error
    pub(super) fn unbind(
        &mut self,
        spec: &BindingSpec,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        check_default(spec)?;
        let vhost = self.vhost_mut(&spec.vhost)?;
        let slot = vhost
            .identity(spec)
            .and_then(|identity| vhost.bindings.by_identity.get(&identity).copied());
        let Some(source) = slot.and_then(|slot| vhost.remove_binding(slot)) else {
            return Ok(Outcome::Unbound { existed: false });
        };
        self.n_exchanges -= vhost.collect_unused(source, changes);
        Ok(Outcome::Unbound { existed: true })
    }
}

// rabbitmq: the default exchange is bound to every queue, and to nothing else
pub(super) fn check_default(spec: &BindingSpec) -> Result<(), BrokerError> {
    let to_default = matches!(&spec.destination, Destination::Exchange(name) if name.is_empty());
    if spec.source.is_empty() || to_default {
        return Err(BrokerError::DefaultExchange);
    }
    Ok(())
}
