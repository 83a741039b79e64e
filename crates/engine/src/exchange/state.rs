//! What an exchange of some types keeps between messages, and its part in routing one. It is not
//! part of the topology: it lives where the messages are, and dies with the exchange.

use super::Exchange;
use super::deduplication::SeenKeys;
use super::delay::delay_of;
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
    /// It waits in the exchange's own queue until it is due.
    Held,
    /// It is a duplicate and goes nowhere.
    Duplicate,
}

/// What an exchange keeps: nothing but what its type, and the type behind a delay, needs.
#[derive(Debug, Default)]
pub struct ExchangeState {
    delays: bool,
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
                delays: true,
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
        if self.delays && delay_of(headers).is_some() {
            return Passage::Held;
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
