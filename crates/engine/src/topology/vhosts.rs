//! Creating, changing and deleting vhosts; what a new broker starts with.

use super::vhost::{Vhost, VhostInfo};
use super::{Changes, Topology, no_record};
use crate::auth::PasswordHash;
use crate::command::{Change, Command, Outcome, PermissionSpec, UserSpec, VhostLimit, VhostSpec};
use crate::error::{BrokerError, RecordKind};
use crate::limits::NAME_BYTES_MAX;
use std::sync::Arc;

/// Who makes what nobody made.
pub(super) const INTERNAL_USER: &str = "rmq-internal";

/// What a new broker starts with: a vhost, and an administrator who may do everything in it.
// rabbitmq: default_vhost, default_user, default_pass
#[must_use]
pub fn default_commands(
    vhost: &Arc<str>,
    user: &Arc<str>,
    password: PasswordHash,
    tags: Vec<Arc<str>>,
) -> Vec<Command> {
    let everything: Arc<str> = ".*".into();
    vec![
        Command::PutVhost(VhostSpec {
            name: vhost.clone(),
            description: "Default virtual host".into(),
            ..VhostSpec::default()
        }),
        Command::PutUser(UserSpec { name: user.clone(), password: Some(password), tags }),
        Command::SetPermission(PermissionSpec {
            user: user.clone(),
            vhost: vhost.clone(),
            configure: everything.clone(),
            write: everything.clone(),
            read: everything,
        }),
    ]
}

impl Topology {
    /// A vhost by name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Vhost> {
        self.vhosts.get(name)
    }

    /// Vhosts by name.
    pub fn vhosts(&self) -> impl Iterator<Item = &Vhost> {
        self.vhosts.values()
    }

    pub(super) fn check_vhost_limit(&self, name: &str) -> Result<(), BrokerError> {
        match self.config.limits.vhosts {
            Some(limit) if self.vhosts.len() as u64 >= limit && !self.vhosts.contains_key(name) => {
                Err(BrokerError::VhostLimit(limit))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn put_vhost(
        &mut self,
        spec: &VhostSpec,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        if let Some(vhost) = self.vhosts.get_mut(&spec.name) {
            vhost.info = info(spec, vhost.info.tracing);
            changes.push(Change::VhostChanged(spec.name.clone()));
            return Ok(Outcome::Put { created: false });
        }
        if spec.name.len() > NAME_BYTES_MAX {
            return Err(BrokerError::Validation("vhost name too long".into()));
        }
        let mut vhost = Vhost::new(info(spec, false));
        vhost.add_predeclared();
        self.n_exchanges += vhost.n_exchanges() as u64;
        self.vhosts.insert(spec.name.clone(), vhost);
        changes.push(Change::VhostAdded(spec.name.clone()));
        Ok(Outcome::Put { created: true })
    }

    pub(super) fn delete_vhost(
        &mut self,
        name: &Arc<str>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        if self.known_vhost(name)?.info.protected {
            return Err(BrokerError::VhostProtected(name.clone()));
        }
        let Some(vhost) = self.vhosts.remove(name) else {
            return Err(no_record(RecordKind::Vhost, name));
        };
        for slot in vhost.queues.sorted_slots() {
            if let Some(entry) = vhost.queues.at(slot) {
                self.disown(&entry.meta);
                changes.push(Change::QueueRemoved(entry.meta.clone()));
            }
        }
        for slot in vhost.exchanges.sorted_slots() {
            if let Some(entry) = vhost.exchanges.at(slot) {
                changes.push(Change::ExchangeRemoved(entry.meta.clone()));
            }
        }
        self.n_exchanges -= vhost.exchanges.len() as u64;
        changes.push(Change::VhostRemoved(name.clone()));
        Ok(Outcome::Deleted { existed: true })
    }

    pub(super) fn set_vhost_limit(
        &mut self,
        vhost: &Arc<str>,
        limit: VhostLimit,
        value: Option<u64>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        let limits = &mut self.vhost_mut(vhost)?.limits;
        let place = match limit {
            VhostLimit::Connections => &mut limits.connections,
            VhostLimit::Queues => &mut limits.queues,
        };
        *place = value;
        changes.push(Change::VhostChanged(vhost.clone()));
        Ok(Outcome::Done)
    }

    pub(super) fn set_tracing(
        &mut self,
        vhost: &Arc<str>,
        on: bool,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.vhost_mut(vhost)?.info.tracing = on;
        changes.push(Change::VhostChanged(vhost.clone()));
        Ok(Outcome::Done)
    }
}

fn info(spec: &VhostSpec, tracing: bool) -> VhostInfo {
    VhostInfo {
        name: spec.name.clone(),
        description: spec.description.clone(),
        tags: spec.tags.clone(),
        default_queue_type: spec.default_queue_type,
        protected: spec.protected,
        tracing,
    }
}
