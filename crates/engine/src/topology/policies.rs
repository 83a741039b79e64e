//! Setting and deleting policies, and applying them to what exists.

use super::exchanges::alternate;
use super::vhost::Vhost;
use super::{Changes, Topology};
use crate::command::{Change, Outcome, PolicySpec};
use crate::error::BrokerError;
use crate::exchange::Exchange;
use crate::policy::{Policy, PolicyOwner};
use std::sync::Arc;

impl Topology {
    pub(super) fn put_policy(
        &mut self,
        spec: &PolicySpec,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let policy = Policy::new(spec, PolicyOwner::User)?;
        let vhost = self.vhost_mut(&spec.vhost)?;
        let created = vhost.policies.put(policy);
        vhost.apply_policies(changes);
        Ok(Outcome::Put { created })
    }

    pub(super) fn put_operator_policy(
        &mut self,
        spec: &PolicySpec,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let policy = Policy::new(spec, PolicyOwner::Operator)?;
        let vhost = self.vhost_mut(&spec.vhost)?;
        let created = vhost.operator_policies.put(policy);
        vhost.apply_policies(changes);
        Ok(Outcome::Put { created })
    }

    pub(super) fn delete_policy(
        &mut self,
        vhost: &str,
        name: &str,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let vhost = self.vhost_mut(vhost)?;
        let existed = vhost.policies.remove(name);
        if existed {
            vhost.apply_policies(changes);
        }
        Ok(Outcome::Deleted { existed })
    }

    pub(super) fn delete_operator_policy(
        &mut self,
        vhost: &str,
        name: &str,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let vhost = self.vhost_mut(vhost)?;
        let existed = vhost.operator_policies.remove(name);
        if existed {
            vhost.apply_policies(changes);
        }
        Ok(Outcome::Deleted { existed })
    }
}

impl Vhost {
    /// Gives every queue and exchange the policies that match it now.
    fn apply_policies(&mut self, changes: &mut Changes) {
        changes.push(Change::ParametersChanged { vhost: Some(self.info.name.clone()) });
        for slot in self.queues.sorted_slots() {
            let Some(entry) = self.queues.at(slot) else { continue };
            let changed = self.with_policies(&entry.meta);
            if changed == *entry.meta {
                continue;
            }
            let changed = Arc::new(changed);
            if let Some(entry) = self.queues.at_mut(slot) {
                entry.meta = changed.clone();
                changes.push(Change::QueueChanged(changed));
            }
        }
        for slot in self.exchanges.sorted_slots() {
            self.apply_to_exchange(slot, changes);
        }
    }

    fn apply_to_exchange(&mut self, slot: u32, changes: &mut Changes) {
        let Some(entry) = self.exchanges.at_mut(slot) else { return };
        let policy = self.policies.for_exchange(&entry.meta.name);
        if entry.meta.is_default() || entry.meta.policy.as_ref() == policy {
            return;
        }
        let changed = Arc::new(Exchange {
            alternate: alternate(&entry.meta.arguments, policy.map(|policy| &**policy)),
            policy: policy.cloned(),
            ..Exchange::clone(&entry.meta)
        });
        entry.meta = changed.clone();
        changes.push(Change::ExchangeChanged(changed));
    }
}
