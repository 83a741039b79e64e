//! Permissions of a user in a vhost: three patterns on names, and patterns on topics.

use super::Pattern;
use crate::command::{PermissionSpec, TopicPermissionSpec};
use crate::error::{BrokerError, Permission, ResourceKind};
use crate::names::DEFAULT_EXCHANGE_ALIAS;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a permission is wanted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// An exchange; an empty name is the default exchange.
    Exchange(&'a str),
    /// A queue.
    Queue(&'a str),
}

impl<'a> Resource<'a> {
    /// Queue or exchange.
    #[must_use]
    pub fn kind(self) -> ResourceKind {
        match self {
            Self::Exchange(_) => ResourceKind::Exchange,
            Self::Queue(_) => ResourceKind::Queue,
        }
    }

    /// The name that patterns are searched in.
    // rabbitmq: the default exchange is checked as amq.default
    #[must_use]
    pub fn checked_name(self) -> &'a str {
        match self {
            Self::Exchange("") => DEFAULT_EXCHANGE_ALIAS,
            Self::Exchange(name) | Self::Queue(name) => name,
        }
    }
}

/// The compiled patterns of a user in a vhost. Having the record, even with three empty patterns,
/// is what lets the user open the vhost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Permissions {
    /// Which user.
    pub user: Arc<str>,
    /// Which vhost.
    pub vhost: Arc<str>,
    /// Names it may declare and delete.
    pub configure: Pattern,
    /// Names it may publish to and bind.
    pub write: Pattern,
    /// Names it may consume from and bind from.
    pub read: Pattern,
}

impl Permissions {
    pub(crate) fn new(spec: &PermissionSpec) -> Result<Self, BrokerError> {
        Ok(Self {
            user: spec.user.clone(),
            vhost: spec.vhost.clone(),
            configure: Pattern::for_permission(&spec.configure)?,
            write: Pattern::for_permission(&spec.write)?,
            read: Pattern::for_permission(&spec.read)?,
        })
    }

    /// Whether the patterns allow it.
    #[must_use]
    pub fn allows(&self, permission: Permission, name: &str) -> bool {
        match permission {
            Permission::Configure => self.configure.matches(name),
            Permission::Read => self.read.matches(name),
            Permission::Write => self.write.matches(name),
        }
    }

    /// The record as a command.
    #[must_use]
    pub fn spec(&self) -> PermissionSpec {
        PermissionSpec {
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            configure: self.configure.source().clone(),
            write: self.write.source().clone(),
            read: self.read.source().clone(),
        }
    }
}

/// The topic patterns of a user for one exchange. `{username}` and `{vhost}` stand for the values
/// of the record itself, so they are filled in when it is made.
// rabbitmq: topic permissions
#[derive(Clone, Debug, PartialEq)]
pub struct TopicPermissions {
    /// As it was set.
    pub spec: TopicPermissionSpec,
    write: TopicPattern,
    read: TopicPattern,
}

#[derive(Clone, Debug, PartialEq)]
enum TopicPattern {
    Fixed(Pattern),
    /// Still contains `{client_id}`.
    PerClient(Arc<str>),
}

const CLIENT_ID: &str = "{client_id}";

impl TopicPermissions {
    pub(crate) fn new(spec: &TopicPermissionSpec) -> Result<Self, BrokerError> {
        Ok(Self {
            write: TopicPattern::new(&spec.write, spec)?,
            read: TopicPattern::new(&spec.read, spec)?,
            spec: spec.clone(),
        })
    }

    /// Whether a key is allowed. `client_id` is what the client calls itself, where its protocol
    /// knows such a thing; AMQP 0-9-1 does not.
    #[must_use]
    pub fn allows(&self, permission: Permission, key: &str, client_id: Option<&str>) -> bool {
        match permission {
            Permission::Read => self.read.matches(key, client_id),
            Permission::Configure | Permission::Write => self.write.matches(key, client_id),
        }
    }
}

impl TopicPattern {
    fn new(source: &str, spec: &TopicPermissionSpec) -> Result<Self, BrokerError> {
        let filled = source.replace("{username}", &spec.user).replace("{vhost}", &spec.vhost);
        let pattern = Pattern::for_permission(&filled)?;
        if filled.contains(CLIENT_ID) {
            return Ok(Self::PerClient(filled.into()));
        }
        Ok(Self::Fixed(pattern))
    }

    fn matches(&self, key: &str, client_id: Option<&str>) -> bool {
        match self {
            Self::Fixed(pattern) => pattern.matches(key),
            Self::PerClient(source) => {
                let filled = source.replace(CLIENT_ID, client_id.unwrap_or(CLIENT_ID));
                Pattern::for_permission(&filled).is_ok_and(|pattern| pattern.matches(key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(write: &str) -> TopicPermissions {
        TopicPermissions::new(&TopicPermissionSpec {
            user: "u".into(),
            vhost: "v".into(),
            exchange: "t".into(),
            write: write.into(),
            read: String::new().into(),
        })
        .unwrap()
    }

    #[test]
    fn variables_of_topic_patterns_are_filled_in() {
        let allows = |write, key, client| topic(write).allows(Permission::Write, key, client);
        assert!(allows("^{username}\\.{vhost}$", "u.v", None));
        assert!(!allows("^{username}\\.{vhost}$", "x.v", None));
        assert!(allows("^{client_id}-", "c1-x", Some("c1")));
        assert!(!allows("^{client_id}-", "c2-x", Some("c1")));
        assert!(!allows("^{client_id}-", "c1-x", None));
        assert!(!topic(".*").allows(Permission::Read, "a", None));
    }

    #[test]
    fn the_default_exchange_has_a_name() {
        assert_eq!(Resource::Exchange("").checked_name(), "amq.default");
        assert_eq!(Resource::Queue("").checked_name(), "");
    }
}
