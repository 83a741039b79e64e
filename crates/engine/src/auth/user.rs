//! Users: passwords, tags, limits, and the rule that some may only come from this machine.

use super::PasswordHash;
use crate::error::AuthError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// `None`: cannot log in with a password.
    pub password: Option<PasswordHash>,
    /// What it may do in the management API; no tag gives a permission in AMQP.
    pub tags: Vec<Arc<str>>,
    /// How many connections it may have on a node.
    pub max_connections: Option<u64>,
    /// How many channels it may have on a node.
    pub max_channels: Option<u64>,
    /// The account that the broker runs in, which may do everything: it could change the broker's files anyway. Never
    /// stored.
    #[serde(skip)]
    pub operator: bool,
}

/// The operator's name, as the broker notes who did what.
// rabbitmq: the acting user of its command line tools
const OPERATOR: &str = "rmq-cli";

/// Where a login comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Whether it is a loopback address.
    pub loopback: bool,
}

impl User {
    /// The account that the broker runs in.
    #[must_use]
    pub fn operator() -> Self {
        let tags = vec!["administrator".into()];
        let (max_connections, max_channels) = (None, None);
        let name = OPERATOR.into();
        Self { name, password: None, tags, max_connections, max_channels, operator: true }
    }

    /// Whether the user has a tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| &**own == tag)
    }

    /// Whether the user may set another `user-id` on its messages.
    // rabbitmq: tag impersonator
    #[must_use]
    pub fn may_impersonate(&self) -> bool {
        self.has_tag("impersonator")
    }

    pub(crate) fn check_password(&self, password: &[u8]) -> Result<(), AuthError> {
        match &self.password {
            Some(hash) if hash.verify(password) => Ok(()),
            _ => Err(AuthError::InvalidCredentials),
        }
    }
}
