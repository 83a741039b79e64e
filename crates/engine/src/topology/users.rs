//! Users and their permissions: creating, changing, deleting.

use super::{Changes, Topology, no_record};
use crate::auth::{PeerAddress, Permissions, TopicPermissions, User};
use crate::command::{
    Change, Command, Outcome, PermissionSpec, TopicPermissionSpec, UserLimit, UserSpec,
};
use crate::error::{AuthError, BrokerError, RecordKind};
use crate::limits::NAME_BYTES_MAX;
use std::sync::Arc;

impl Topology {
    /// A user by name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// Users by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// Permissions of all vhosts, by vhost and user.
    pub fn permissions(&self) -> impl Iterator<Item = &Arc<Permissions>> {
        self.vhosts.values().flat_map(|vhost| vhost.permissions.values())
    }

    /// The user of a name and password.
    ///
    /// # Errors
    /// [`AuthError`]; clients are not told which.
    pub fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        peer: PeerAddress,
    ) -> Result<Arc<User>, AuthError> {
        let user = self.users.get(user).ok_or(AuthError::InvalidCredentials)?;
        user.check_password(password)?;
        self.check_loopback(user, peer)?;
        Ok(user.clone())
    }

    /// The user of a name that was proved in another way, as by a certificate.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn authenticate_external(
        &self,
        user: &str,
        peer: PeerAddress,
    ) -> Result<Arc<User>, AuthError> {
        let user = self.users.get(user).ok_or(AuthError::InvalidCredentials)?;
        self.check_loopback(user, peer)?;
        Ok(user.clone())
    }

    // rabbitmq: loopback_users
    fn check_loopback(&self, user: &User, peer: PeerAddress) -> Result<(), AuthError> {
        let local_only = self.config.loopback_users.contains(&user.name);
        if local_only && !peer.loopback { Err(AuthError::LoopbackOnly) } else { Ok(()) }
    }

    pub(super) fn dispatch_users(
        &mut self,
        command: &Command,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        match command {
            Command::PutUser(spec) => self.put_user(spec, changes),
            Command::DeleteUser { name } => self.delete_user(name, changes),
            Command::SetUserTags { name, tags } => {
                self.change_user(name, changes, |user| user.tags.clone_from(tags))
            }
            Command::SetUserPassword { name, password } => {
                self.change_user(name, changes, |user| user.password.clone_from(password))
            }
            Command::SetUserLimit { user, limit, value } => {
                self.change_user(user, changes, |user| match limit {
                    UserLimit::Channels => user.max_channels = *value,
                    UserLimit::Connections => user.max_connections = *value,
                })
            }
            Command::SetPermission(spec) => self.set_permission(spec, changes),
            Command::ClearPermission { user, vhost } => self.clear_permission(user, vhost, changes),
            Command::SetTopicPermission(spec) => self.set_topic_permission(spec, changes),
            Command::ClearTopicPermission { user, vhost, exchange } => {
                self.clear_topic_permission(user, vhost, exchange.as_deref(), changes)
            }
            other => Err(BrokerError::Internal(format!("no handler for {other:?}").into())),
        }
    }

    fn put_user(&mut self, spec: &UserSpec, changes: &mut Changes) -> Result<Outcome, BrokerError> {
        if let Some(user) = self.users.get_mut(&spec.name) {
            let user = Arc::make_mut(user);
            user.password.clone_from(&spec.password);
            user.tags.clone_from(&spec.tags);
            changes.push(Change::UserChanged(spec.name.clone()));
            return Ok(Outcome::Put { created: false });
        }
        if spec.name.len() > NAME_BYTES_MAX {
            return Err(BrokerError::Validation("user name too long".into()));
        }
        let user = User {
            name: spec.name.clone(),
            password: spec.password.clone(),
            tags: spec.tags.clone(),
            max_connections: None,
            max_channels: None,
            operator: false,
        };
        self.users.insert(spec.name.clone(), Arc::new(user));
        changes.push(Change::UserAdded(spec.name.clone()));
        Ok(Outcome::Put { created: true })
    }

    fn change_user(
        &mut self,
        name: &Arc<str>,
        changes: &mut Changes,
        change: impl FnOnce(&mut User),
    ) -> Result<Outcome, BrokerError> {
        let user = self.users.get_mut(name).ok_or_else(|| no_record(RecordKind::User, name))?;
        change(Arc::make_mut(user));
        changes.push(Change::UserChanged(name.clone()));
        Ok(Outcome::Done)
    }

    fn delete_user(
        &mut self,
        name: &Arc<str>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        if self.users.remove(name).is_none() {
            return Err(no_record(RecordKind::User, name));
        }
        for vhost in self.vhosts.values_mut() {
            vhost.permissions.remove(name);
            vhost.topic_permissions.remove(name);
        }
        changes.push(Change::UserRemoved(name.clone()));
        Ok(Outcome::Deleted { existed: true })
    }

    fn check_user(&self, name: &str) -> Result<(), BrokerError> {
        if self.users.contains_key(name) { Ok(()) } else { Err(no_record(RecordKind::User, name)) }
    }

    fn set_permission(
        &mut self,
        spec: &PermissionSpec,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.check_user(&spec.user)?;
        let permissions = Arc::new(Permissions::new(spec)?);
        let vhost = self.vhost_mut(&spec.vhost)?;
        let created = vhost.permissions.insert(spec.user.clone(), permissions).is_none();
        changes.push(permission_changed(&spec.user, &spec.vhost));
        Ok(Outcome::Put { created })
    }

    fn clear_permission(
        &mut self,
        user: &Arc<str>,
        vhost: &Arc<str>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.check_user(user)?;
        let existed = self.vhost_mut(vhost)?.permissions.remove(user).is_some();
        if existed {
            changes.push(permission_changed(user, vhost));
        }
        Ok(Outcome::Deleted { existed })
    }

    fn set_topic_permission(
        &mut self,
        spec: &TopicPermissionSpec,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.check_user(&spec.user)?;
        let permissions = Arc::new(TopicPermissions::new(spec)?);
        let vhost = self.vhost_mut(&spec.vhost)?;
        let records = vhost.topic_permissions.entry(spec.user.clone()).or_default();
        let created = records.insert(spec.exchange.clone(), permissions).is_none();
        changes.push(permission_changed(&spec.user, &spec.vhost));
        Ok(Outcome::Put { created })
    }

    fn clear_topic_permission(
        &mut self,
        user: &Arc<str>,
        vhost: &Arc<str>,
        exchange: Option<&str>,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        self.check_user(user)?;
        let permissions = &mut self.vhost_mut(vhost)?.topic_permissions;
        let existed = match (exchange, permissions.get_mut(user)) {
            (_, None) => false,
            (None, Some(_)) => permissions.remove(user).is_some(),
            (Some(exchange), Some(records)) => records.remove(exchange).is_some(),
        };
        if existed {
            changes.push(permission_changed(user, vhost));
        }
        Ok(Outcome::Deleted { existed })
    }
}

fn permission_changed(user: &Arc<str>, vhost: &Arc<str>) -> Change {
    Change::PermissionChanged { user: user.clone(), vhost: vhost.clone() }
}
