//! The basic methods that run once per message, decoded in place.
//!
//! Hot path.

use crate::DecodeError;
use crate::cursor::Cursor;

/// basic.publish, borrowed from its frame. The names are bytes: RabbitMQ does not check them for UTF-8.
// spec: basic.publish
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The exchange; empty is the default exchange.
    pub exchange: &'a [u8],
    /// The routing key.
    pub routing_key: &'a [u8],
    /// Exchange and routing key as they stand on the wire, each behind its length byte: what deliver,
    /// get-ok and return repeat.
    pub address: &'a [u8],
    /// Whether to return the message if no queue matches.
    pub mandatory: bool,
    /// Whether to return the message if no consumer takes it at once; RabbitMQ refuses it.
    pub immediate: bool,
}

/// basic.deliver, borrowed from its frame; read by clients.
// spec: basic.deliver
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// The consumer.
    pub consumer_tag: &'a [u8],
    /// The delivery, counted per channel from 1.
    pub delivery_tag: u64,
    /// Whether the message may have been delivered before.
    pub redelivered: bool,
    /// Exchange and routing key, each behind its length byte.
    pub address: &'a [u8],
}

/// The arguments of basic.publish: ticket, exchange, routing key, bits.
#[inline]
pub(crate) fn publish(arguments: &[u8]) -> Result<Publish<'_>, DecodeError> {
    let [_, _, rest @ ..] = arguments else { return Err(DecodeError::Truncated) };
    let (address, exchange, routing_key, tail) = address(rest)?;
    let bits = match *tail {
        [bits] => bits,
        [] => return Err(DecodeError::Truncated),
        _ => return Err(DecodeError::TrailingBytes),
    };
    let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
    Ok(Publish { exchange, routing_key, address, mandatory, immediate })
}

/// An address, its exchange, its routing key, and what follows.
type Address<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a [u8]);

/// Two short strings in a row.
#[inline]
fn address(bytes: &[u8]) -> Result<Address<'_>, DecodeError> {
    let mut cursor = Cursor(bytes);
    let exchange = cursor.short()?;
    let routing_key = cursor.short()?;
    let len = bytes.len() - cursor.0.len();
    Ok((bytes.get(..len).unwrap_or_default(), exchange, routing_key, cursor.0))
}

/// Reads the payload of a method frame that is a basic.deliver, or says that it is another method.
///
/// # Errors
/// [`DecodeError::UnknownMethod`] for another method, [`DecodeError::Truncated`], [`DecodeError::TrailingBytes`].
#[inline]
pub fn decode_deliver(payload: &[u8]) -> Result<Deliver<'_>, DecodeError> {
    let [0, 60, 0, 60, arguments @ ..] = payload else {
        let (class, method) = super::method_id(payload).ok_or(DecodeError::Truncated)?;
        return Err(DecodeError::UnknownMethod { class, method });
    };
    let mut cursor = Cursor(arguments);
    let consumer_tag = cursor.short()?;
    let delivery_tag = cursor.u64()?;
    let redelivered = cursor.u8()? & 1 != 0;
    let (address, _, _, tail) = address(cursor.0)?;
    Cursor(tail).finish()?;
    Ok(Deliver { consumer_tag, delivery_tag, redelivered, address })
}
