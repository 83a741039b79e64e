//! Where a dead letter died first, read from its `x-death`: what is needed to send it back there.

use super::republish::{X_DEATH, tables, text};
use crate::time::Timestamp;
use leveret_codec::{Properties, ValueView};

/// One entry of `x-death`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death<'a> {
    /// The queue it died in.
    pub queue: &'a str,
    /// Why: `rejected`, `expired`, `maxlen` or `delivery_limit`.
    pub reason: &'a str,
    /// The exchange it had come through.
    pub exchange: &'a [u8],
    /// The key it had come with.
    pub routing_key: &'a [u8],
    /// When, to the second; `None` where a program wrote the entry without.
    pub at: Option<Timestamp>,
}

/// The oldest entry of `x-death`, which stands at the end unless an old entry was counted up: then times tell.
/// `None` for a message that never died, and where what stands there cannot be understood.
// rabbitmq: x-death; the time of an entry is that of its first death
#[must_use]
pub fn first_death(properties: &[u8]) -> Option<Death<'_>> {
    let Some(ValueView::Array(deaths)) = Properties::new(properties).headers()?.get(X_DEATH) else {
        return None;
    };
    let read = |table| {
        let word = |key| text(table, key).and_then(|bytes| str::from_utf8(bytes).ok());
        let keys = match table.get("routing-keys") {
            Some(ValueView::Array(keys)) => keys.iter().next(),
            _ => None,
        };
        let at = match table.get("time") {
            Some(ValueView::Timestamp(seconds)) => Some(Timestamp(seconds.saturating_mul(1000))),
            _ => None,
        };
        Some(Death {
            queue: word("queue")?,
            reason: word("reason")?,
            exchange: text(table, "exchange").unwrap_or_default(),
            routing_key: keys.and_then(Result::ok)?.as_bytes()?,
            at,
        })
    };
    let all = tables(deaths).filter_map(read);
    all.reduce(|before, next| if before.at < next.at { before } else { next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_codec::{PropertiesWriter, TableWriter};

    fn properties(deaths: &[(&str, &str, u64)]) -> Vec<u8> {
        let mut headers = Vec::new();
        TableWriter::new(&mut headers).array(X_DEATH, |array| {
            for (queue, reason, time) in deaths {
                array.table(|table| {
                    table.value("queue", ValueView::LongString(queue.as_bytes()));
                    table.value("reason", ValueView::LongString(reason.as_bytes()));
                    table.value("exchange", ValueView::LongString(b"x"));
                    table.array("routing-keys", |keys| keys.value(ValueView::LongString(b"k")));
                    table.value("time", ValueView::Timestamp(*time));
                });
            }
        });
        let mut bytes = Vec::new();
        let all = PropertiesWriter { headers: Some(&headers), ..PropertiesWriter::default() };
        all.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_first_death_is_the_last_entry_unless_times_say_otherwise() {
        for (deaths, queue) in [
            (&[("a", "rejected", 5)][..], "a"),
            (&[("b", "expired", 9), ("a", "rejected", 5)], "a"),
            // Died in `a` a second time: its entry was counted up and moved to the front.
            (&[("a", "rejected", 5), ("b", "expired", 9)], "a"),
            (&[("b", "expired", 5), ("a", "rejected", 5)], "a"),
        ] {
            let bytes = properties(deaths);
            let death = first_death(&bytes).unwrap();
            assert_eq!(death.queue, queue, "{deaths:?}");
            assert_eq!((death.exchange, death.routing_key), (&b"x"[..], &b"k"[..]));
        }
        let bytes = properties(&[("a", "maxlen", 7)]);
        let death = first_death(&bytes).unwrap();
        assert_eq!((death.reason, death.at), ("maxlen", Some(Timestamp(7000))));
    }

    #[test]
    fn a_message_that_never_died_has_no_first_death() {
        assert_eq!(first_death(&[0, 0]), None);
        assert_eq!(first_death(&properties(&[])), None);
        assert_eq!(first_death(b"\xff"), None);
    }
}
