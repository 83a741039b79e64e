//! The headers that tell how often a message of a queue that counts deliveries came back. It does
//! not count; queues do.

use std::borrow::Cow;

use leveret_codec::{Change, Properties, PropertyChanges, TableWriter, rewrite};
use leveret_engine::Returns;

/// How often a message came back in any way.
const ACQUIRED: &str = "x-acquired-count";
/// How often it came back after a failed delivery.
const DELIVERY: &str = "x-delivery-count";

/// The properties with both counts in the headers, each if it is not 0. They take the place of
/// those that the publisher may have sent.
// rabbitmq: quorum queues, x-acquired-count and x-delivery-count
pub(crate) fn with_returns(properties: &[u8], returns: Returns) -> Cow<'_, [u8]> {
    if returns.all == 0 {
        return Cow::Borrowed(properties);
    }
    let headers = Properties::new(properties).headers().unwrap_or_default();
    let counts = [(ACQUIRED, returns.all), (DELIVERY, returns.failed)];
    let counts = || counts.into_iter().filter(|(_, n)| *n > 0);
    let is_count = |key: &[u8]| counts().any(|(name, _)| name.as_bytes() == key);
    let mut table = Vec::with_capacity(headers.as_bytes().len() + 64);
    let mut writer = TableWriter::new(&mut table);
    for field in headers.fields().map_while(Result::ok).filter(|field| !is_count(field.key)) {
        writer.copy(&field);
    }
    counts().for_each(|(name, n)| writer.long(name, n.into()));
    let changes = PropertyChanges { headers: Change::Set(&table), ..PropertyChanges::default() };
    let mut out = Vec::with_capacity(properties.len() + table.len() + 4);
    match rewrite(properties, &changes, &mut out) {
        Ok(()) => Cow::Owned(out),
        // They were checked when the message was published.
        Err(_) => Cow::Borrowed(properties),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_codec::ValueView;

    /// Headers alone: a text and the counts that somebody else's queue wrote.
    fn properties() -> Vec<u8> {
        let mut table = Vec::new();
        let mut writer = TableWriter::new(&mut table);
        writer.string("a", b"b");
        writer.long(DELIVERY, 9);
        let changes =
            PropertyChanges { headers: Change::Set(&table), ..PropertyChanges::default() };
        let mut out = Vec::new();
        rewrite(&[0, 0], &changes, &mut out).unwrap();
        out
    }

    #[test]
    fn first_delivery_is_passed_on_as_it_came() {
        let properties = properties();
        assert_eq!(*with_returns(&properties, Returns::default()), properties);
    }

    #[test]
    fn counts_take_the_place_of_those_that_were_sent() {
        let properties = properties();
        let after = with_returns(&properties, Returns { all: 3, failed: 2 });
        let headers = Properties::new(&after).headers().unwrap();
        let keys: Vec<_> = headers.fields().map(|field| field.unwrap().key.to_vec()).collect();
        assert_eq!(keys, [&b"a"[..], ACQUIRED.as_bytes(), DELIVERY.as_bytes()]);
        let count = |key| headers.get(key).and_then(ValueView::as_i64);
        assert_eq!((count(ACQUIRED), count(DELIVERY)), (Some(3), Some(2)));
    }

    #[test]
    fn nobody_is_told_of_failures_that_there_were_not() {
        let after = with_returns(&[0, 0], Returns { all: 1, failed: 0 });
        let headers = Properties::new(&after).headers().unwrap();
        assert!(headers.get(ACQUIRED).is_some() && headers.get(DELIVERY).is_none());
    }
}
