//! The recent history exchange: a fanout exchange whose last messages a new binding receives.
//! In memory alone, as RabbitMQ's.
// rabbitmq: x-recent-history

use super::kept::Kept;
use crate::block::Block;
use crate::limits::HISTORY_BYTES_MAX;
use crate::time::Timestamp;
use leveret_codec::{Table, TableView, ValueView};
use std::collections::VecDeque;

pub(super) const LENGTH: &str = "x-recent-history-length";
const NO_STORE: &str = "x-recent-history-no-store";
/// How many messages are kept where nobody says otherwise.
const LENGTH_DEFAULT: usize = 20;

/// The last messages of an exchange.
#[derive(Debug)]
pub struct History {
    length: usize,
    /// Oldest first.
    messages: VecDeque<Kept>,
    bytes: usize,
}

impl History {
    pub(super) fn new(arguments: &Table) -> Self {
        let length = arguments.get(LENGTH).and_then(leveret_codec::Value::as_i64);
        let length = length.map_or(LENGTH_DEFAULT, |n| usize::try_from(n).unwrap_or(0));
        Self { length, messages: VecDeque::new(), bytes: 0 }
    }

    /// Whether a message with these headers is to be kept.
    pub(super) fn wants(headers: Option<TableView<'_>>) -> bool {
        headers.and_then(|table| table.get(NO_STORE)) != Some(ValueView::Bool(true))
    }

    /// Keeps a message; the oldest go where there are too many or too large ones.
    pub(super) fn keep(&mut self, block: Block, now: Timestamp) {
        let Some(kept) = Kept::new(block, now) else { return };
        self.bytes += kept.memory();
        self.messages.push_back(kept);
        while (self.messages.len() > self.length || self.bytes > HISTORY_BYTES_MAX)
            && let Some(oldest) = self.messages.pop_front()
        {
            self.bytes -= oldest.memory();
        }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Kept> {
        self.messages.iter()
    }

    /// Bytes of memory of the messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Body, NewRecord};
    use leveret_codec::Value;

    fn block(body: &[u8]) -> Block {
        let mut block = Block::new();
        block.push(&NewRecord {
            address: b"\x01x\x01k",
            properties: &[0, 0],
            persistent: false,
            priority: 0,
            expires_at: Some(Timestamp(1500)),
            body: Body::Inline(body),
        });
        block
    }

    fn bodies(history: &History) -> Vec<Vec<u8>> {
        history.messages().map(|kept| kept.record().body().bytes().to_vec()).collect()
    }

    #[test]
    fn the_last_messages_are_kept_in_their_order() {
        let mut history = History::new(&Table(vec![(LENGTH.into(), Value::Int(3))]));
        for n in 0..10 {
            history.keep(block(&[n]), Timestamp(1000));
        }
        assert_eq!(bodies(&history), [[7], [8], [9]]);
        let bytes: usize = history.messages().map(Kept::memory).sum();
        assert_eq!(history.bytes(), bytes);
        let mut usual = History::new(&Table::new());
        (0..30).for_each(|n| usual.keep(block(&[n]), Timestamp(1000)));
        assert_eq!(usual.messages().count(), LENGTH_DEFAULT);
    }

    #[test]
    fn the_bytes_are_bounded() {
        let mut history = History::new(&Table(vec![(LENGTH.into(), Value::Int(i32::MAX))]));
        let quarter = vec![0; HISTORY_BYTES_MAX / 4];
        for _ in 0..9 {
            history.keep(block(&quarter), Timestamp(1000));
            assert!(history.bytes() <= HISTORY_BYTES_MAX);
        }
        assert_eq!(history.messages().count(), 3);
        history.keep(block(&vec![0; HISTORY_BYTES_MAX]), Timestamp(1000));
        assert_eq!((history.messages().count(), history.bytes()), (0, 0));
    }

    #[test]
    fn a_time_to_live_begins_with_the_replay() {
        let mut history = History::new(&Table::new());
        history.keep(block(b"a"), Timestamp(1000));
        let kept = history.messages().next().unwrap();
        assert_eq!(kept.renewed(Timestamp(9000)).expires_at(0), Some(Timestamp(9500)));
        assert_eq!(kept.routing_keys().as_slice(), [b"k"]);
    }

    #[test]
    fn a_message_can_ask_not_to_be_kept() {
        let wants = |value| {
            let table = Table(vec![(NO_STORE.into(), value)]).to_bytes();
            History::wants(Some(TableView::new(&table)))
        };
        assert!(!wants(Value::Bool(true)));
        assert!(wants(Value::Bool(false)) && wants(Value::Int(1)) && History::wants(None));
    }
}
