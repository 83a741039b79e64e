//! Policies and operator policies: which one applies to what. What their keys may be is in `keys`,
//! how they combine with one another and with arguments in `merge`.

mod keys;
pub(crate) mod merge;

use crate::auth::Pattern;
use crate::command::{ApplyTo, PolicySpec};
use crate::error::BrokerError;
use crate::parameter::ParameterValue;
use crate::settings::QueueKind;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use merge::effective_definition;

/// A policy or an operator policy, with its pattern compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Which vhost.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The names it applies to.
    pub pattern: Pattern,
    /// What it applies to.
    pub apply_to: ApplyTo,
    /// The highest one that matches applies.
    pub priority: i64,
    /// The settings, in the order they were given.
    pub definition: Vec<(Arc<str>, ParameterValue)>,
    /// The queue types that support every key, as `1 << QueueKind`.
    queue_kinds: u8,
}

/// Whose policy it is; operators have fewer keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyOwner {
    Operator,
    User,
}

impl Policy {
    /// Checks and compiles what was set.
    pub(crate) fn new(spec: &PolicySpec, owner: PolicyOwner) -> Result<Self, BrokerError> {
        keys::validate(&spec.definition, owner)?;
        Ok(Self {
            vhost: spec.vhost.clone(),
            name: spec.name.clone(),
            pattern: Pattern::new(&spec.pattern)?,
            apply_to: spec.apply_to,
            priority: spec.priority,
            definition: spec.definition.clone(),
            queue_kinds: keys::supporting_kinds(&spec.definition) & spec.apply_to.queue_kinds(),
        })
    }

    /// The policy as a command has it.
    #[must_use]
    pub fn spec(&self) -> PolicySpec {
        PolicySpec {
            vhost: self.vhost.clone(),
            name: self.name.clone(),
            pattern: self.pattern.source().clone(),
            apply_to: self.apply_to,
            priority: self.priority,
            definition: self.definition.clone(),
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&ParameterValue> {
        self.definition.iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    /// Whether it applies to a queue: a policy with one key that the queue's type does not support
    /// does not apply at all.
    // rabbitmq: a policy is applicable to a queue type as a whole or not
    #[must_use]
    pub fn applies_to_queue(&self, name: &str, kind: QueueKind) -> bool {
        self.queue_kinds & kind_bit(kind) != 0 && self.pattern.matches(name)
    }

    /// Whether it applies to an exchange.
    #[must_use]
    pub fn applies_to_exchange(&self, name: &str) -> bool {
        matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges) && self.pattern.matches(name)
    }
}

pub(crate) const fn kind_bit(kind: QueueKind) -> u8 {
    1 << kind as u8
}

const ALL_KINDS: u8 =
    kind_bit(QueueKind::Classic) | kind_bit(QueueKind::Quorum) | kind_bit(QueueKind::Stream);

impl ApplyTo {
    /// RabbitMQ's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ClassicQueues => "classic_queues",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::All,
            Self::ClassicQueues,
            Self::Exchanges,
            Self::Queues,
            Self::QuorumQueues,
            Self::Streams,
        ];
        all.into_iter().find(|value| value.name() == name)
    }

    fn queue_kinds(self) -> u8 {
        match self {
            Self::All | Self::Queues => ALL_KINDS,
            Self::ClassicQueues => kind_bit(QueueKind::Classic),
            Self::Exchanges => 0,
            Self::QuorumQueues => kind_bit(QueueKind::Quorum),
            Self::Streams => kind_bit(QueueKind::Stream),
        }
    }
}

/// The policies of a vhost by name, and by rank: highest priority first, then by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicySet {
    by_name: BTreeMap<Arc<str>, Arc<Policy>>,
    ranked: Vec<Arc<Policy>>,
}

impl PolicySet {
    pub(crate) fn put(&mut self, policy: Policy) -> bool {
        let created = self.by_name.insert(policy.name.clone(), Arc::new(policy)).is_none();
        self.rank();
        created
    }

    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let existed = self.by_name.remove(name).is_some();
        self.rank();
        existed
    }

    fn rank(&mut self) {
        self.ranked = self.by_name.values().cloned().collect();
        self.ranked.sort_by_key(|policy| Reverse(policy.priority));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Policy>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_name(&self) -> &BTreeMap<Arc<str>, Arc<Policy>> {
        &self.by_name
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_name.values()
    }

    pub(crate) fn for_queue(&self, name: &str, kind: QueueKind) -> Option<&Arc<Policy>> {
        self.ranked.iter().find(|policy| policy.applies_to_queue(name, kind))
    }

    pub(crate) fn for_exchange(&self, name: &str) -> Option<&Arc<Policy>> {
        self.ranked.iter().find(|policy| policy.applies_to_exchange(name))
    }
}

#[cfg(test)]
mod tests;
