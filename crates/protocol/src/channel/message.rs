//! One whole publish, borrowed from wherever it is, and what its properties ask of the broker.
//! Hot path.

use leveret_codec::{
    ArrayView, Change, Properties, PropertyChanges, SHORT_STRING_MAX, Summary, TableView,
    TableWriter, ValueView, rewrite,
};
use leveret_engine::{Body, Routed, Timestamp};

use crate::channel::reply_to::REPLY_QUEUE;
use crate::error::{ChannelError, ConnectionError, Fault};

/// Ten years, RabbitMQ's bound.
const EXPIRATION_MS_MAX: u64 = leveret_engine::limits::TTL_MS_MAX;

/// A publish with everything that came with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// Exchange and routing key with their length bytes.
    pub(crate) address: &'a [u8],
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
    /// Property flags and values as received.
    pub(crate) properties: &'a [u8],
    pub(crate) body: Body<'a>,
}

impl<'a> Message<'a> {
    /// Exchange and routing key. The address was cut from a decoded method, so it is whole.
    pub(crate) fn names(&self) -> (&'a [u8], &'a [u8]) {
        split_address(self.address)
    }
}

/// Exchange and routing key of an address; empty where it is damaged.
pub(crate) fn split_address(address: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = address.split_first() else { return (&[], &[]) };
    let Some((exchange, rest)) = rest.split_at_checked(usize::from(*len)) else {
        return (&[], &[]);
    };
    (exchange, rest.get(1..).unwrap_or_default())
}

/// Memory that every publish of a connection may use and nobody keeps anything in.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) routed: Routed,
    pub(crate) properties: Vec<u8>,
    pub(crate) headers: Vec<u8>,
    pub(crate) address: Vec<u8>,
}

impl Scratch {
    /// Empty; exchanges that choose at random do so by what follows from `random`.
    pub(crate) fn new(random: [u8; 16]) -> Self {
        let seed = random.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (properties, headers, address) = (Vec::new(), Vec::new(), Vec::new());
        Self { routed: Routed::new(seed), properties, headers, address }
    }
}

/// The properties of a publish, checked.
pub(crate) fn summary<'a>(properties: &'a [u8]) -> Result<Summary<'a>, Fault> {
    Properties::new(properties)
        .summary()
        .map_err(|error| ConnectionError::decode(error, properties).into())
}

/// When the message expires by its own expiration.
// rabbitmq: basic.publish, expiration
pub(crate) fn expires_at(
    summary: &Summary<'_>,
    now: Timestamp,
) -> Result<Option<Timestamp>, ChannelError> {
    let Some(text) = summary.expiration else { return Ok(None) };
    let ms = expiration(text).map_err(|reason| ChannelError::Expiration {
        text: String::from_utf8_lossy(text).into_owned(),
        reason,
    })?;
    Ok(Some(now.plus(ms)))
}

/// Erlang's `string:to_integer`, whose words RabbitMQ repeats.
fn expiration(text: &[u8]) -> Result<u64, String> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => ("-", rest),
        [b'+', rest @ ..] => ("", rest),
        _ => ("", text),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(count);
    if count == 0 {
        return Err("no_integer".to_owned());
    }
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{}\"}}", String::from_utf8_lossy(rest)));
    }
    let digits = String::from_utf8_lossy(digits);
    let shown = digits.trim_start_matches('0');
    if sign == "-" && !shown.is_empty() {
        return Err(format!("{{value_negative,-{shown}}}"));
    }
    match shown.parse().or_else(|error| if shown.is_empty() { Ok(0) } else { Err(error) }) {
        Ok(ms) if ms <= EXPIRATION_MS_MAX => Ok(ms),
        _ => Err(format!("{{value_too_large,{shown}}}")),
    }
}

/// Whether the headers name further routing keys. A walk over the keys of the table.
#[inline]
pub(crate) fn selects_receivers(headers: Option<TableView<'_>>) -> bool {
    headers.is_some_and(|table| {
        table.fields().map_while(Result::ok).any(|field| matches!(field.key, b"CC" | b"BCC"))
    })
}

/// The arrays of CC and BCC.
// rabbitmq: sender-selected distribution
pub(crate) fn selected<'a>(
    headers: Option<TableView<'a>>,
) -> Result<[ArrayView<'a>; 2], ChannelError> {
    let array = |name: &'static str| match headers.and_then(|table| table.get(name)) {
        None => Ok(ArrayView::default()),
        Some(ValueView::Array(array)) => Ok(array),
        Some(other) => Err(ChannelError::SenderSelectedHeader { name, kind: other.kind().name() }),
    };
    Ok([array("CC")?, array("BCC")?])
}

/// The strings of an array; what is no string is passed over.
// rabbitmq: CC and BCC elements
pub(crate) fn strings<'a>(array: ArrayView<'a>) -> impl Iterator<Item = &'a [u8]> {
    array.iter().map_while(Result::ok).filter_map(ValueView::as_bytes)
}

/// Whether the publisher asks for replies on its own channel.
#[inline]
pub(crate) fn wants_direct_reply(summary: &Summary<'_>) -> bool {
    summary.reply_to == Some(REPLY_QUEUE.as_bytes())
}

/// The address with the keys of BCC behind it, which a queue keeps and shows nobody.
pub(crate) fn hidden_address<'a>(
    address: &'a [u8],
    bcc: ArrayView<'_>,
    out: &'a mut Vec<u8>,
) -> &'a [u8] {
    if bcc.is_empty() {
        return address;
    }
    out.clear();
    out.extend_from_slice(address);
    for key in strings(bcc).filter(|key| key.len() <= SHORT_STRING_MAX) {
        out.push(key.len() as u8);
        out.extend_from_slice(key);
    }
    out
}

/// The properties as they are stored, into `out`: without BCC, with the full reply address.
pub(crate) fn rewritten(
    properties: &[u8],
    summary: &Summary<'_>,
    reply_to: Option<&str>,
    headers: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    headers.clear();
    out.clear();
    let mut changes = PropertyChanges::default();
    if let Some(table) = summary.headers
        && table.get("BCC").is_some()
    {
        let mut writer = TableWriter::new(headers);
        for field in table.fields().map_while(Result::ok).filter(|field| field.key != b"BCC") {
            writer.copy(&field);
        }
        changes.headers = Change::Set(headers);
    }
    if let Some(address) = reply_to {
        changes.reply_to = Change::Set(address.as_bytes());
    }
    rewrite(properties, &changes, out)
        .map_err(|error| ConnectionError::decode(error, properties).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_read_as_erlang_reads_integers() {
        for (text, result) in [
            ("0", Ok(0)),
            ("007", Ok(7)),
            ("+5", Ok(5)),
            ("-0", Ok(0)),
            ("315360000000", Ok(315_360_000_000)),
            ("315360000001", Err("{value_too_large,315360000001}")),
            ("99999999999999999999", Err("{value_too_large,99999999999999999999}")),
            ("-1", Err("{value_negative,-1}")),
            ("", Err("no_integer")),
            ("abc", Err("no_integer")),
            ("-", Err("no_integer")),
            ("10s", Err("{leftover_string,\"s\"}")),
            ("1.5", Err("{leftover_string,\".5\"}")),
        ] {
            assert_eq!(expiration(text.as_bytes()), result.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn addresses_are_split_at_their_lengths() {
        assert_eq!(split_address(b"\x01x\x02rk"), (&b"x"[..], &b"rk"[..]));
        assert_eq!(split_address(b"\x00\x00"), (&b""[..], &b""[..]));
        assert_eq!(split_address(b"\x09x"), (&b""[..], &b""[..]));
    }
}
