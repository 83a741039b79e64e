//! The deduplication exchange: a fanout exchange that lets a message pass whose deduplication
//! header it has not seen before. What it has seen is in memory, bounded in number and in time.
// rabbitmq: x-message-deduplication (community plugin)

use crate::limits::SEEN_KEYS_MAX;
use crate::time::Timestamp;
use foldhash::HashMap;
use leveret_codec::{Table, TableView, Value, ValueView};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

pub(super) const SIZE: &str = "x-cache-size";
pub(super) const TTL: &str = "x-cache-ttl";
pub(super) const PERSISTENCE: &str = "x-cache-persistence";
const HEADER: &str = "x-deduplication-header";

/// What tells two messages apart: a digest of the header's value, so that a key has a size.
pub(crate) type Key = [u8; 16];

/// The deduplication headers that were seen.
#[derive(Debug)]
pub struct SeenKeys {
    /// How many are remembered; the oldest goes for a new one.
    size: usize,
    /// How long they are, in milliseconds.
    ttl: Option<u64>,
    seen: HashMap<Key, Seen>,
    /// In the order they were seen; an entry whose number is not that of its key is void.
    order: VecDeque<(u64, Key)>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    number: u64,
    expires_at: Option<Timestamp>,
}

impl Seen {
    fn is_over(self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// A number that may be written as text, as the plugin takes it.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

impl SeenKeys {
    pub(super) fn new(arguments: &Table) -> Self {
        let number =
            |name| arguments.get(name).and_then(number).and_then(|n| u64::try_from(n).ok());
        let size = number(SIZE).map_or(SEEN_KEYS_MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Self {
            size: size.clamp(1, SEEN_KEYS_MAX),
            ttl: number(TTL),
            seen: HashMap::default(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    /// Whether a message with these headers was seen before; if not, it is now.
    pub(super) fn is_duplicate(&mut self, headers: Option<TableView<'_>>, now: Timestamp) -> bool {
        let Some(headers) = headers else { return false };
        let Some(key) = key_of(headers) else { return false };
        let own_ttl = headers.get(TTL).and_then(ValueView::as_i64);
        let ttl = own_ttl.map(|ms| u64::try_from(ms).unwrap_or(0)).or(self.ttl);
        self.forget_expired(now);
        if self.seen.get(&key).is_some_and(|seen| !seen.is_over(now)) {
            return true;
        }
        self.remember(key, ttl.map(|ms| now.plus(ms)));
        false
    }

    fn remember(&mut self, key: Key, expires_at: Option<Timestamp>) {
        let number = self.next;
        self.next += 1;
        self.seen.insert(key, Seen { number, expires_at });
        self.order.push_back((number, key));
        while self.seen.len() > self.size
            && let Some((number, key)) = self.order.pop_front()
        {
            if self.is_current(number, &key) {
                self.seen.remove(&key);
            }
        }
        // Void entries are swept out before they are more than the others.
        if self.order.len() > 2 * self.seen.len() {
            let Self { order, seen, .. } = self;
            order.retain(|(number, key)| seen.get(key).is_some_and(|seen| seen.number == *number));
        }
    }

    /// Forgets from the oldest on, up to the first that still counts.
    fn forget_expired(&mut self, now: Timestamp) {
        while let Some((number, key)) = self.order.front().copied() {
            if self.is_current(number, &key) {
                if self.seen.get(&key).is_some_and(|seen| !seen.is_over(now)) {
                    return;
                }
                self.seen.remove(&key);
            }
            self.order.pop_front();
        }
    }

    fn is_current(&self, number: u64, key: &Key) -> bool {
        self.seen.get(key).is_some_and(|seen| seen.number == number)
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// The key of a message with these headers, if it has one.
pub(crate) fn key_of(headers: TableView<'_>) -> Option<Key> {
    headers.get(HEADER).and_then(key)
}

/// The key of a header's value. Numbers are equal whatever their width, and so are strings and
/// bytes; arrays, tables and decimals do not count, as in the plugin.
fn key(value: ValueView<'_>) -> Option<Key> {
    let hash = match value {
        ValueView::Array(_) | ValueView::Table(_) | ValueView::Decimal { .. } => return None,
        ValueView::Void => Sha256::digest(b"v"),
        ValueView::Bool(value) => Sha256::digest([b'b', u8::from(value)]),
        ValueView::Float(value) => float(f64::from(value)),
        ValueView::Double(value) => float(value),
        ValueView::LongString(bytes) | ValueView::ByteArray(bytes) => {
            Sha256::new().chain_update(b"s").chain_update(bytes).finalize()
        }
        ValueView::Timestamp(value) => integer(i128::from(value)),
        other => integer(i128::from(other.as_i64()?)),
    };
    hash.first_chunk().copied()
}

fn float(value: f64) -> sha2::digest::Output<Sha256> {
    Sha256::new().chain_update(b"f").chain_update(value.to_be_bytes()).finalize()
}

fn integer(value: i128) -> sha2::digest::Output<Sha256> {
    Sha256::new().chain_update(b"i").chain_update(value.to_be_bytes()).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_keys(fields: &[(&str, Value)]) -> SeenKeys {
        SeenKeys::new(&table(fields))
    }

    fn table(fields: &[(&str, Value)]) -> Table {
        Table(fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
    }

    impl SeenKeys {
        fn sees(&mut self, fields: &[(&str, Value)], now: u64) -> bool {
            let bytes = table(fields).to_bytes();
            self.is_duplicate(Some(TableView::new(&bytes)), Timestamp(now))
        }

        fn sees_key(&mut self, key: impl Into<Value>, now: u64) -> bool {
            self.sees(&[(HEADER, key.into())], now)
        }
    }

    #[test]
    fn the_second_message_of_a_key_is_a_duplicate() {
        let mut keys = seen_keys(&[(SIZE, Value::Int(100))]);
        assert!(!keys.sees_key("a", 0) && keys.sees_key("a", 1_000_000_000));
        assert!(!keys.sees_key("b", 0));
        assert!(!keys.sees_key(Value::Int(1), 0) && keys.sees_key(Value::Long(1), 0));
        assert!(!keys.sees_key("1", 0) && keys.sees_key(Value::ByteArray(b"1".to_vec()), 0));
        assert!(!keys.sees_key(Value::Double(1.0), 0) && !keys.sees_key(Value::Bool(true), 0));
        assert!(!keys.sees_key(Value::Void, 0) && keys.sees_key(Value::Void, 0));
        for _ in 0..2 {
            assert!(!keys.sees_key(Value::Array(vec![]), 0));
            assert!(!keys.sees(&[("other", Value::Int(1))], 0));
            assert!(!keys.is_duplicate(None, Timestamp(0)));
        }
    }

    #[test]
    fn a_key_is_forgotten_when_its_time_is_up() {
        let mut keys = seen_keys(&[(SIZE, Value::Int(100)), (TTL, "1000".into())]);
        assert!(!keys.sees_key("a", 0));
        assert!(keys.sees_key("a", 999) && !keys.sees_key("a", 1000));
        assert!(keys.sees_key("a", 1999) && !keys.sees_key("a", 2000));
        let own = |key: &str, ms| [(HEADER, key.into()), (TTL, Value::Int(ms))];
        assert!(!keys.sees(&own("b", 5000), 2000) && keys.sees_key("b", 6999));
        assert!(!keys.sees_key("b", 7000));
        assert!(!keys.sees(&own("c", -1), 7000) && !keys.sees_key("c", 7000));
    }

    #[test]
    fn the_oldest_key_goes_for_a_new_one() {
        let mut keys = seen_keys(&[(SIZE, Value::Int(3))]);
        for key in ["a", "b", "c", "d"] {
            assert!(!keys.sees_key(key, 0));
        }
        assert_eq!(keys.len(), 3);
        assert!(keys.sees_key("b", 0) && !keys.sees_key("a", 0) && !keys.sees_key("b", 0));
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let mut keys = seen_keys(&[(SIZE, Value::Int(10)), (TTL, Value::Int(5))]);
        for now in 0..10_000 {
            keys.sees_key(Value::Long(now as i64 % 7), now);
            assert!(keys.len() <= 10 && keys.order.len() <= 2 * keys.len());
        }
        // Expired keys behind one that lives on stay no longer than the others.
        assert!(!keys.sees(&[(HEADER, "long".into()), (TTL, Value::Int(i32::MAX))], 10_000));
        for now in 10_001..20_000 {
            keys.sees_key(Value::Long(now as i64), now);
            assert!(keys.len() <= 10 && keys.order.len() <= 20);
        }
    }
}
