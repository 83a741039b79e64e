//! What a binding of a headers exchange wants, read from its arguments.

use super::value::MatchValue;
use crate::error::{ArgumentError, BrokerError, term};
use leveret_codec::{Table, Value};

const X_MATCH: &str = "x-match";

/// How many criteria a message has to fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    All,
    Any,
}

/// A header that a message has to have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Criterion {
    pub(super) name: Box<[u8]>,
    /// `None` is any value.
    pub(super) value: Option<MatchValue>,
}

impl Criterion {
    pub(super) fn is_presence(&self) -> bool {
        self.value.is_none()
    }
}

/// The criteria of a binding.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Criteria {
    pub(super) mode: Mode,
    pub(super) criteria: Vec<Criterion>,
}

impl Criteria {
    /// Reads checked arguments. Names with `x-` count only if `x-match` says so; of repeated names
    /// the first counts.
    pub(super) fn read(arguments: &Table) -> Self {
        let (mode, with_x) = match arguments.get(X_MATCH).and_then(Value::as_bytes) {
            Some(b"any") => (Mode::Any, false),
            Some(b"any-with-x") => (Mode::Any, true),
            Some(b"all-with-x") => (Mode::All, true),
            _ => (Mode::All, false),
        };
        let mut criteria = Vec::<Criterion>::new();
        for (name, value) in arguments.iter() {
            let counts = name != X_MATCH && (with_x || !name.starts_with("x-"));
            let known = criteria.iter().any(|known| &*known.name == name.as_bytes());
            if counts && !known {
                criteria.push(Criterion {
                    name: name.as_bytes().into(),
                    value: MatchValue::new(value),
                });
            }
        }
        Self { mode, criteria }
    }
}

/// Checks the arguments of a binding to a headers exchange.
///
/// # Errors
/// [`BrokerError::InvalidArgument`] for an `x-match` that is none.
pub(crate) fn check_arguments(arguments: &Table) -> Result<(), BrokerError> {
    let error = match arguments.get(X_MATCH) {
        None => return Ok(()),
        Some(Value::LongString(word)) => match word.as_slice() {
            b"all" | b"any" | b"all-with-x" | b"any-with-x" => return Ok(()),
            other => ArgumentError::MatchValue(term::binary(other).into()),
        },
        Some(other) => ArgumentError::MatchType {
            found: other.kind().name().into(),
            value: term::plain(other).into(),
        },
    };
    Err(BrokerError::InvalidArgument(Box::new(error)))
}
