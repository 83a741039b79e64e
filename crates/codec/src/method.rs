//! Methods: the hot ones decoded in place, the rest by the catalogue of amq-protocol behind `guard`.

mod basic;
mod guard;

use amq_protocol::protocol::{AMQPClass, parse_class};

pub use basic::{Deliver, Publish, decode_deliver};
pub(crate) use guard::table_duplicates;

use crate::DecodeError;

/// A decoded method. What runs once per message borrows from its frame; the rest is owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    /// basic.publish.
    Publish(Publish<'a>),
    /// basic.ack.
    Ack {
        /// The delivery, or publish in confirm mode.
        delivery_tag: u64,
        /// Whether everything before it is meant too.
        multiple: bool,
    },
    /// basic.nack.
    Nack {
        /// The delivery.
        delivery_tag: u64,
        /// Whether everything before it is meant too.
        multiple: bool,
        /// Whether the messages go back to their queues.
        requeue: bool,
    },
    /// basic.reject.
    Reject {
        /// The delivery.
        delivery_tag: u64,
        /// Whether the message goes back to its queue.
        requeue: bool,
    },
    /// Every other method.
    Other(AMQPClass),
}

/// The class and method id that start a method's payload, for error replies; `None` if it is too short.
#[must_use]
pub fn method_id(payload: &[u8]) -> Option<(u16, u16)> {
    let &[c0, c1, m0, m1, ..] = payload else { return None };
    Some((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])))
}

/// The prefetch_size of a basic.qos, which the catalogue drops; `None` for other methods.
// spec: basic.qos
#[must_use]
pub fn qos_prefetch_size(payload: &[u8]) -> Option<u32> {
    match *payload {
        [0, 60, 0, 10, s0, s1, s2, s3, ..] => Some(u32::from_be_bytes([s0, s1, s2, s3])),
        _ => None,
    }
}

/// Reads the payload of a method frame, all of it.
///
/// Short strings are checked for UTF-8, save in basic.publish, where RabbitMQ does not. Of a key that
/// occurs twice in a table the first value counts.
///
/// # Errors
/// Every defect that [`DecodeError`] names except those of frames.
#[inline]
pub fn decode_method(payload: &[u8]) -> Result<Method<'_>, DecodeError> {
    match payload {
        [0, 60, 0, 40, arguments @ ..] => basic::publish(arguments).map(Method::Publish),
        &[0, 60, 0, 80, t0, t1, t2, t3, t4, t5, t6, t7, bits] => Ok(Method::Ack {
            delivery_tag: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            multiple: bits & 1 != 0,
        }),
        &[0, 60, 0, 120, t0, t1, t2, t3, t4, t5, t6, t7, bits] => Ok(Method::Nack {
            delivery_tag: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        }),
        &[0, 60, 0, 90, t0, t1, t2, t3, t4, t5, t6, t7, bits] => Ok(Method::Reject {
            delivery_tag: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            requeue: bits & 1 != 0,
        }),
        _ => catalogue(payload),
    }
}

/// The way through amq-protocol. The guard has walked every field, so its parser can neither recurse
/// too deep nor meet bytes that it refuses.
#[cold]
#[inline(never)]
fn catalogue(payload: &[u8]) -> Result<Method<'_>, DecodeError> {
    let duplicates = guard::check(payload)?;
    let rebuilt;
    let bytes = if duplicates {
        rebuilt = guard::first_wins(payload)?;
        rebuilt.as_slice()
    } else {
        payload
    };
    match parse_class(bytes) {
        Ok((_, class)) => Ok(Method::Other(class)),
        Err(_) => {
            let (class, method) = method_id(payload).unwrap_or_default();
            Err(DecodeError::UnknownMethod { class, method })
        }
    }
}

#[cfg(test)]
mod tests;
