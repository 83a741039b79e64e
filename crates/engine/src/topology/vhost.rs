//! One vhost: its exchanges, queues and bindings, its policies and permissions, and routing in it.
//! Read here; changed by the other modules of the topology.

mod names;

use super::bindings::Bindings;
use crate::auth::{Permissions, TopicPermissions};
use crate::exchange::targets::Target;
use crate::exchange::{Exchange, Index, Passage, delay};
use crate::ids::QueueId;
use crate::parameter::ParameterValue;
use crate::policy::{Policy, PolicySet};
use crate::queue_meta::QueueMeta;
use crate::router::{Routable, Routed};
use crate::settings::QueueKind;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use names::Names;

/// A vhost.
#[derive(Debug)]
pub struct Vhost {
    pub(super) info: VhostInfo,
    pub(super) limits: VhostLimits,
    pub(super) exchanges: Names<ExchangeEntry>,
    pub(super) queues: Names<QueueEntry>,
    /// The ids of the queues by slot, side by side for routing to many.
    pub(super) queue_ids: Vec<QueueId>,
    pub(super) bindings: Bindings,
    pub(super) policies: PolicySet,
    pub(super) operator_policies: PolicySet,
    /// By component and name.
    pub(super) parameters: BTreeMap<(Arc<str>, Arc<str>), ParameterValue>,
    /// By user.
    pub(super) permissions: BTreeMap<Arc<str>, Arc<Permissions>>,
    /// By user, then by exchange.
    pub(super) topic_permissions: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<TopicPermissions>>>,
}

/// What a vhost is called and described as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Free text.
    pub description: Arc<str>,
    /// Free words.
    pub tags: Vec<Arc<str>>,
    /// The type of durable queues declared without one.
    pub default_queue_type: Option<QueueKind>,
    /// Whether it cannot be deleted.
    pub protected: bool,
    /// Whether the firehose is on.
    pub tracing: bool,
}

/// The limits of a vhost; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// `max-connections`.
    pub connections: Option<u64>,
    /// `max-queues`.
    pub queues: Option<u64>,
}

/// A queue and the bindings that lead to it, by their numbers.
#[derive(Debug)]
pub(super) struct QueueEntry {
    pub(super) meta: Arc<QueueMeta>,
    pub(super) incoming: Vec<u32>,
}

/// An exchange, its bindings arranged for its type, and the numbers of those from it and to it.
#[derive(Debug)]
pub(super) struct ExchangeEntry {
    pub(super) meta: Arc<Exchange>,
    pub(super) index: Index,
    /// Whether it is asked before it routes a message.
    pub(super) keeps_state: bool,
    pub(super) outgoing: Vec<u32>,
    pub(super) incoming: Vec<u32>,
}

impl Vhost {
    pub(super) fn new(info: VhostInfo) -> Self {
        Self {
            info,
            limits: VhostLimits::default(),
            exchanges: Names::default(),
            queues: Names::default(),
            queue_ids: Vec::new(),
            bindings: Bindings::default(),
            policies: PolicySet::default(),
            operator_policies: PolicySet::default(),
            parameters: BTreeMap::new(),
            permissions: BTreeMap::new(),
            topic_permissions: BTreeMap::new(),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.info.name
    }

    /// Name, description, tags and the like.
    #[must_use]
    pub fn info(&self) -> &VhostInfo {
        &self.info
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> VhostLimits {
        self.limits
    }

    /// An exchange by name; the default exchange has an empty one.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        Some(&self.exchanges.get(name)?.meta)
    }

    /// A queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Arc<QueueMeta>> {
        Some(&self.queues.get(name)?.meta)
    }

    /// Exchanges, predeclared ones included, in no particular order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.iter().map(|(_, entry)| &entry.meta)
    }

    /// Queues, in no particular order.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueMeta>> {
        self.queues.iter().map(|(_, entry)| &entry.meta)
    }

    /// How many queues there are.
    #[must_use]
    pub fn n_queues(&self) -> usize {
        self.queues.len()
    }

    /// How many exchanges there are, predeclared ones included.
    #[must_use]
    pub fn n_exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bindings there are, without those of the default exchange.
    #[must_use]
    pub fn n_bindings(&self) -> usize {
        self.bindings.len()
    }

    /// Policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }

    /// A policy by name.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// Operator policies by name.
    pub fn operator_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.operator_policies.iter()
    }

    /// An operator policy by name.
    #[must_use]
    pub fn operator_policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.operator_policies.get(name)
    }

    /// Runtime parameters as (component, name, value), without policies and limits.
    pub fn parameters(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &ParameterValue)> {
        self.parameters.iter().map(|((component, name), value)| (component, name, value))
    }

    /// A runtime parameter.
    #[must_use]
    pub fn parameter(&self, component: &str, name: &str) -> Option<&ParameterValue> {
        self.parameters.get(&(component.into(), name.into()))
    }

    /// Permissions by user.
    pub fn permissions(&self) -> impl Iterator<Item = &Arc<Permissions>> {
        self.permissions.values()
    }

    /// The permissions of a user; having them is what opens the vhost to it.
    #[must_use]
    pub fn permissions_of(&self, user: &str) -> Option<&Arc<Permissions>> {
        self.permissions.get(user)
    }

    /// Topic permissions by user and exchange.
    pub fn topic_permissions(&self) -> impl Iterator<Item = &Arc<TopicPermissions>> {
        self.topic_permissions.values().flat_map(BTreeMap::values)
    }

    /// The topic permissions of a user for an exchange.
    #[must_use]
    pub fn topic_permissions_of(
        &self,
        user: &str,
        exchange: &str,
    ) -> Option<&Arc<TopicPermissions>> {
        self.topic_permissions.get(user)?.get(exchange)
    }

    /// Finds the queues of a message; false if there is no such exchange. Exchanges that keep
    /// something of their messages are asked through `pass` whether they let it through.
    pub fn route(
        &self,
        exchange: &str,
        message: &Routable<'_>,
        mut pass: impl FnMut(&Exchange) -> Passage,
        out: &mut Routed,
    ) -> bool {
        let Some(first) = self.exchanges.slot(exchange) else {
            out.nothing();
            return false;
        };
        out.start(first);
        let mut position = 0;
        while let Some(exchange) = out.visited(position) {
            self.route_through(exchange, message, &mut pass, out);
            position += 1;
        }
        out.finish(&self.queue_ids);
        true
    }

    fn route_through(
        &self,
        exchange: u32,
        message: &Routable<'_>,
        pass: &mut impl FnMut(&Exchange) -> Passage,
        out: &mut Routed,
    ) {
        let Some(entry) = self.exchanges.at(exchange) else { return };
        if !entry.index.by_key_alone() {
            out.depends_on_more_than_keys();
        }
        out.targets.clear();
        let repeated = if entry.keeps_state {
            out.depends_on_more_than_keys();
            match pass(&entry.meta) {
                Passage::Route => entry.index.route(message, out),
                Passage::Duplicate => false,
                Passage::Held => {
                    let queue = delay::queue_name(&entry.meta.name);
                    return match self.queues.slot(&*queue) {
                        Some(slot) => out.hold(slot),
                        None => out.refuse(),
                    };
                }
            }
        } else if let Index::ByName = entry.index {
            let queue = |key: &&[u8]| self.queues.slot(key).map(Target::queue);
            out.targets.extend(message.routing_keys.iter().filter_map(queue));
            message.routing_keys.len() > 1
        } else {
            entry.index.route(message, out)
        };
        if !out.targets.is_empty() {
            out.accept(repeated);
        } else if let Some(alternate) = &entry.meta.alternate
            && let Some(slot) = self.exchanges.slot(&**alternate)
        {
            out.visit(slot);
        }
    }

    /// The queues that [`Vhost::route`] found, in the order of [`Routed::queues`]. Only as long as
    /// the topology has not changed since.
    pub fn routed<'a>(&'a self, routed: &'a Routed) -> impl Iterator<Item = &'a Arc<QueueMeta>> {
        routed.slots().iter().filter_map(|&slot| Some(&self.queues.at(slot)?.meta))
    }
}
