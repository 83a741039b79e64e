//! The arguments of `basic.consume` that say how a stream is read.
// rabbitmq: streams, x-stream-offset and x-stream-filter

use super::{invalid, max_age_ms};
use crate::error::{ArgumentError, BrokerError, ResourceName, term};
use crate::limits::STREAM_FILTER_VALUES_MAX;
use crate::policy::kind_bit;
use crate::queue::stream::{StreamFilter, StreamOffset, StreamRead};
use crate::settings::QueueKind;
use crate::time::Timestamp;
use leveret_codec::{Table, Value};
use std::sync::Arc;

const OFFSET: &str = "x-stream-offset";
const FILTER: &str = "x-stream-filter";
const UNFILTERED: &str = "x-stream-match-unfiltered";

/// The arguments of a consumer that queues of some types do not have, with those that do.
const FOR_TYPES: [(&str, u8); 4] = [
    ("x-priority", kind_bit(QueueKind::Classic) | kind_bit(QueueKind::Quorum)),
    (OFFSET, kind_bit(QueueKind::Stream)),
    (FILTER, kind_bit(QueueKind::Stream)),
    (UNFILTERED, kind_bit(QueueKind::Stream)),
];

impl StreamRead {
    /// What the arguments of a consumer of a queue of this type say.
    ///
    /// # Errors
    /// [`BrokerError::InvalidArgument`] for an argument that queues of this type do not have, for
    /// an offset that is none, and for more filter values than anybody needs.
    pub fn from_arguments(
        arguments: &Table,
        kind: QueueKind,
        queue: &ResourceName,
    ) -> Result<Self, BrokerError> {
        let foreign =
            |name: &str, kinds: u8| kinds & kind_bit(kind) == 0 && arguments.contains_key(name);
        if let Some((argument, _)) = FOR_TYPES.iter().find(|(name, kinds)| foreign(name, *kinds)) {
            return Err(BrokerError::InvalidArgument(Box::new(ArgumentError::NotForType {
                argument: (*argument).into(),
                resource: queue.clone(),
                kind,
            })));
        }
        let from = match arguments.get(OFFSET) {
            None => StreamOffset::default(),
            Some(value) => offset(value).ok_or_else(|| {
                let reason = format!("{{invalid_stream_offset_arg,{}}}", term::typed(value));
                invalid(OFFSET, queue, reason)
            })?,
        };
        let filter = filter(arguments);
        if filter.as_ref().is_some_and(|filter| filter.values.len() > STREAM_FILTER_VALUES_MAX) {
            return Err(invalid(
                FILTER,
                queue,
                format!("{{max_value_exceeded,{STREAM_FILTER_VALUES_MAX}}}"),
            ));
        }
        Ok(Self { from, filter: filter.map(Arc::new) })
    }
}

/// A word, an age such as `1h`, a time in seconds or a position.
fn offset(value: &Value) -> Option<StreamOffset> {
    Some(match value {
        Value::LongString(text) => match &text[..] {
            b"first" => StreamOffset::First,
            b"last" => StreamOffset::Last,
            b"next" => StreamOffset::Next,
            age => StreamOffset::Ago(max_age_ms(age)?),
        },
        Value::Timestamp(seconds) => StreamOffset::Since(Timestamp(seconds.saturating_mul(1000))),
        other => StreamOffset::At(u64::try_from(other.as_i64()?).ok()?),
    })
}

/// One value or several; an argument of another type is ignored.
fn filter(arguments: &Table) -> Option<StreamFilter> {
    let values = match arguments.get(FILTER)? {
        Value::LongString(one) => vec![one.clone()],
        Value::Array(several) => {
            several.iter().filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect()
        }
        _ => return None,
    };
    let unfiltered = arguments.get(UNFILTERED).and_then(Value::as_bool).unwrap_or(false);
    Some(StreamFilter { values, unfiltered })
}
