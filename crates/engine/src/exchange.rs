//! Exchanges: what they are, and for each type how it finds the destinations of a message. A type
//! is a variant of [`ExchangeKind`] and of [`Index`], and a module.

pub(crate) mod check;
pub(crate) mod consistent_hash;
pub(crate) mod deduplication;
pub mod delay;
pub(crate) mod direct;
pub(crate) mod fanout;
pub(crate) mod hash;
pub(crate) mod headers;
pub(crate) mod history;
pub(crate) mod kept;
pub(crate) mod modulus_hash;
pub(crate) mod random;
pub(crate) mod state;
pub(crate) mod targets;
pub(crate) mod topic;

mod index;

use crate::error::ResourceName;
use crate::policy::Policy;
use leveret_codec::Table;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use deduplication::SeenKeys;
pub use history::History;
pub(crate) use index::Index;
pub use kept::Kept;
pub use state::{ExchangeState, Passage};

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExchangeKind {
    /// By equal keys.
    Direct,
    /// To every binding.
    Fanout,
    /// By header values.
    Headers,
    /// By patterns of words.
    Topic,
    /// To one destination, by a hash of the key or of a header, in proportion to weights.
    ConsistentHash,
    /// Once the time that a header names has passed, as an exchange of another type.
    DelayedMessage,
    /// To the destination of one binding, chosen at random among those on the publisher's node.
    LocalRandom,
    /// To every binding, unless the exchange has seen a header of the message before.
    Deduplication,
    /// To one destination, by a hash of the keys.
    ModulusHash,
    /// To the destination of one binding, chosen at random.
    Random,
    /// To every binding, and the last messages to every new binding.
    RecentHistory,
}

impl ExchangeKind {
    /// Every type, in the order RabbitMQ lists them.
    pub const ALL: [Self; 11] = [
        Self::Direct,
        Self::Fanout,
        Self::Headers,
        Self::Topic,
        Self::ConsistentHash,
        Self::DelayedMessage,
        Self::LocalRandom,
        Self::Deduplication,
        Self::ModulusHash,
        Self::Random,
        Self::RecentHistory,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
            Self::Topic => "topic",
            Self::ConsistentHash => "x-consistent-hash",
            Self::DelayedMessage => "x-delayed-message",
            Self::LocalRandom => "x-local-random",
            Self::Deduplication => "x-message-deduplication",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::RecentHistory => "x-recent-history",
        }
    }

    /// The type of a name; case matters.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether exchanges of this type let messages wait, in a queue of their own.
    #[must_use]
    pub fn delays(self) -> bool {
        self == Self::DelayedMessage
    }

    /// Whether exchanges of this type keep something between messages: an [`ExchangeState`].
    #[must_use]
    pub fn keeps_state(self) -> bool {
        matches!(self, Self::DelayedMessage | Self::Deduplication | Self::RecentHistory)
    }
}

/// An exchange without its bindings. Immutable: a change of policy makes a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The vhost it is in.
    pub vhost: Arc<str>,
    /// Its name; the default exchange has an empty one.
    pub name: Arc<str>,
    /// Its type.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only bindings reach it.
    pub internal: bool,
    /// The arguments it was declared with.
    pub arguments: Table,
    /// Where messages go that it finds no destination for: argument before policy. It need not
    /// exist.
    pub alternate: Option<Arc<str>>,
    /// The policy that applies.
    pub policy: Option<Arc<Policy>>,
    /// Who declared it.
    pub created_by: Arc<str>,
}

impl Exchange {
    /// The name as error texts show it.
    #[must_use]
    pub fn resource(&self) -> ResourceName {
        ResourceName::exchange(&self.vhost, self.name.clone())
    }

    /// Whether it is the default exchange, which every queue is bound to by its name.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }
}
