//! What an exchange of some types keeps between messages, and its part in routing one. It is not
//! part of the topology: it lives where the messages are, and dies with the exchange.

use super::Exchange;
use super::deduplication::SeenKeys;
use super::delay::{DelayLimit, DelayLog, delay_of};
use super::history::History;
use super::{ExchangeKind, check};
use crate::block::Block;
use crate::time::Timestamp;
use leveret_codec::{Properties, Table};

/// What such an exchange says to a message that is being routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes to the exchange's destinations.
    Route,
    /// The exchange keeps it until it is due.
    Held,
    /// It is a duplicate and goes nowhere.
    Duplicate,
    /// The exchange has no room for it.
    Refused,
}

/// What an exchange keeps: nothing but what its type, and the type behind a delay, needs.
#[derive(Debug, Default)]
pub struct ExchangeState {
    delayed: Option<DelayLog>,
    seen: Option<SeenKeys>,
    history: Option<History>,
}

impl ExchangeState {
    /// The empty state of an exchange; `None` for one of a type that keeps nothing.
    #[must_use]
    pub fn new(exchange: &Exchange) -> Option<Self> {
        exchange.kind.keeps_state().then(|| Self::of(exchange.kind, &exchange.arguments))
    }

    fn of(kind: ExchangeKind, arguments: &Table) -> Self {
        match kind {
            ExchangeKind::DelayedMessage => Self {
                delayed: Some(DelayLog::new(DelayLimit::default())),
                ..Self::of(
                    check::delayed_kind(arguments).unwrap_or(ExchangeKind::Direct),
                    arguments,
                )
            },
            ExchangeKind::Deduplication => {
                Self { seen: Some(SeenKeys::new(arguments)), ..Self::default() }
            }
            ExchangeKind::RecentHistory => {
                Self { history: Some(History::new(arguments)), ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// Lets a message pass, or not. `keep` makes the one record of the message, should it be kept.
    pub fn pass(
        &mut self,
        properties: &[u8],
        now: Timestamp,
        keep: impl FnOnce() -> Block,
    ) -> Passage {
        let headers = Properties::new(properties).headers();
        if let Some(log) = &mut self.delayed
            && let Some(delay) = delay_of(headers)
        {
            let held = log.delay(keep(), delay, now);
            return held.map_or(Passage::Refused, |_| Passage::Held);
        }
        if let Some(seen) = &mut self.seen
            && seen.is_duplicate(headers, now)
        {
            return Passage::Duplicate;
        }
        if let Some(history) = &mut self.history
            && History::wants(headers)
        {
            history.keep(keep(), now);
        }
        Passage::Route
    }

    /// The messages that wait, where the exchange delays.
    #[must_use]
    pub fn delayed(&self) -> Option<&DelayLog> {
        self.delayed.as_ref()
    }

    /// The same, to be changed.
    pub fn delayed_mut(&mut self) -> Option<&mut DelayLog> {
        self.delayed.as_mut()
    }

    /// The last messages, where the exchange has a history.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// The deduplication headers that were seen, where the exchange looks at them.
    #[must_use]
    pub fn seen(&self) -> Option<&SeenKeys> {
        self.seen.as_ref()
    }
}
