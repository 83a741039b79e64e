//! The bindings of one exchange, arranged for its type. Hot path.

use super::direct::DirectIndex;
use super::fanout::FanoutIndex;
use super::headers::HeadersIndex;
use super::targets::Target;
use super::topic::{TopicIndex, TopicScratch};
use super::{ExchangeKind, headers};
use crate::error::BrokerError;
use crate::router::Routable;
use leveret_codec::Table;
use std::sync::Arc;

/// The bindings of an exchange.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    /// The default exchange has no bindings: queues are found by name.
    ByName,
    Direct(DirectIndex),
    Fanout(FanoutIndex),
    Headers(Box<HeadersIndex>),
    Topic(Box<TopicIndex>),
}

impl Index {
    pub(crate) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(DirectIndex::default()),
            ExchangeKind::Fanout => Self::Fanout(FanoutIndex::default()),
            ExchangeKind::Headers => Self::Headers(Box::default()),
            ExchangeKind::Topic => Self::Topic(Box::default()),
        }
    }

    /// Whether a binding to an exchange of this kind may have these arguments.
    pub(crate) fn check(kind: ExchangeKind, arguments: &Table) -> Result<(), BrokerError> {
        match kind {
            ExchangeKind::Headers => headers::check_arguments(arguments),
            ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Topic => Ok(()),
        }
    }

    /// Adds a binding. The number that is answered is needed to remove it.
    pub(crate) fn add(&mut self, key: &Arc<[u8]>, arguments: &Table, target: Target) -> u32 {
        match self {
            Self::ByName => {}
            Self::Direct(index) => index.add(key, target),
            Self::Fanout(index) => index.add(target),
            Self::Headers(index) => return index.add(arguments, target),
            Self::Topic(index) => index.add(key, target),
        }
        0
    }

    pub(crate) fn remove(&mut self, key: &[u8], number: u32, target: Target) {
        match self {
            Self::ByName => {}
            Self::Direct(index) => index.remove(key, target),
            Self::Fanout(index) => index.remove(target),
            Self::Headers(index) => index.remove(number),
            Self::Topic(index) => index.remove(key, target),
        }
    }

    /// Whether the destinations depend on the routing keys alone.
    pub(crate) fn by_key_alone(&self) -> bool {
        match self {
            Self::ByName | Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) => true,
            Self::Headers(_) => false,
        }
    }

    /// Appends the destinations of a message; says whether there may be repetitions among them. The
    /// default exchange is the caller's.
    #[inline]
    pub(crate) fn route(
        &self,
        message: &Routable<'_>,
        scratch: &mut TopicScratch,
        out: &mut Vec<Target>,
    ) -> bool {
        let keys = message.routing_keys;
        match self {
            Self::ByName => false,
            Self::Direct(index) => {
                keys.iter().for_each(|key| index.route(key, out));
                keys.len() > 1
            }
            Self::Fanout(index) => {
                index.route(out);
                false
            }
            Self::Headers(index) => index.route(message.headers, out),
            Self::Topic(index) => {
                let mut repeated = keys.len() > 1;
                for key in keys {
                    repeated |= index.route(key, scratch, out);
                }
                repeated
            }
        }
    }
}
