//! The bindings of one exchange, arranged for its type. Hot path.

use super::consistent_hash::ConsistentHashIndex;
use super::direct::DirectIndex;
use super::fanout::FanoutIndex;
use super::headers::HeadersIndex;
use super::modulus_hash::ModulusHashIndex;
use super::random::RandomIndex;
use super::targets::Target;
use super::topic::TopicIndex;
use super::{ExchangeKind, check};
use crate::command::BindingSpec;
use crate::router::{Routable, Routed};
use leveret_codec::Table;

/// The bindings of an exchange.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    /// The default exchange has no bindings: queues are found by name.
    ByName,
    Direct(DirectIndex),
    Fanout(FanoutIndex),
    Headers(Box<HeadersIndex>),
    Topic(Box<TopicIndex>),
    ConsistentHash(Box<ConsistentHashIndex>),
    ModulusHash(Box<ModulusHashIndex>),
    Random(Box<RandomIndex>),
}

impl Index {
    /// The empty index of an exchange of this kind with these arguments.
    pub(crate) fn new(kind: ExchangeKind, arguments: &Table) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(DirectIndex::default()),
            ExchangeKind::Fanout | ExchangeKind::Deduplication | ExchangeKind::RecentHistory => {
                Self::Fanout(FanoutIndex::default())
            }
            ExchangeKind::Headers => Self::Headers(Box::default()),
            ExchangeKind::Topic => Self::Topic(Box::default()),
            ExchangeKind::ConsistentHash => {
                Self::ConsistentHash(Box::new(ConsistentHashIndex::new(arguments)))
            }
            ExchangeKind::DelayedMessage => {
                Self::new(check::delayed_kind(arguments).unwrap_or(ExchangeKind::Direct), arguments)
            }
            ExchangeKind::ModulusHash => Self::ModulusHash(Box::default()),
            // Every queue is on this node, so what is local is all.
            ExchangeKind::LocalRandom | ExchangeKind::Random => Self::Random(Box::default()),
        }
    }

    /// Adds a binding. The number that is answered is needed to remove it.
    pub(crate) fn add(&mut self, spec: &BindingSpec, target: Target) -> u32 {
        let BindingSpec { key, arguments, destination, .. } = spec;
        match self {
            Self::ByName => {}
            Self::Direct(index) => index.add(key, target),
            Self::Fanout(index) => index.add(target),
            Self::Headers(index) => return index.add(arguments, target),
            Self::Topic(index) => index.add(key, target),
            Self::ConsistentHash(index) => index.add(key, destination, target),
            Self::ModulusHash(index) => index.add(destination, target),
            Self::Random(index) => return index.add(target),
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
            Self::ConsistentHash(index) => index.remove(key, target),
            Self::ModulusHash(index) => index.remove(target),
            Self::Random(index) => index.remove(number),
        }
    }

    /// Whether the destinations depend on the routing keys alone.
    pub(crate) fn by_key_alone(&self) -> bool {
        match self {
            Self::ByName
            | Self::Direct(_)
            | Self::Fanout(_)
            | Self::Topic(_)
            | Self::ModulusHash(_) => true,
            Self::Headers(_) | Self::Random(_) => false,
            Self::ConsistentHash(index) => index.by_key_alone(),
        }
    }

    /// Appends the destinations of a message to the targets of `out`; says whether there may be
    /// repetitions among them. The default exchange is the caller's.
    #[inline]
    pub(crate) fn route(&self, message: &Routable<'_>, out: &mut Routed) -> bool {
        let keys = message.routing_keys;
        match self {
            Self::ByName => return false,
            Self::Direct(index) => {
                keys.iter().for_each(|key| index.route(key, &mut out.targets));
                return keys.len() > 1;
            }
            Self::Fanout(index) => index.route(&mut out.targets),
            Self::Headers(index) => return index.route(message.headers, &mut out.targets),
            Self::Topic(index) => {
                let mut repeated = keys.len() > 1;
                for key in keys {
                    repeated |= index.route(key, &mut out.topic, &mut out.targets);
                }
                return repeated;
            }
            Self::ConsistentHash(index) => index.route(message, &mut out.targets),
            Self::ModulusHash(index) => index.route(keys, &mut out.targets),
            Self::Random(index) => {
                let random = out.random();
                index.route(random, &mut out.targets);
            }
        }
        false
    }
}
