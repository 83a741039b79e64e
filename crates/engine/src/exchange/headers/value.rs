//! Header values as a headers exchange compares them: the width of an integer or a float does not
//! matter, its type otherwise does. A timestamp equals the same timestamp. Hot path.
// rabbitmq: 4.3 compares decoded values exactly; 3.x also took an integer for a float or a
// timestamp

use leveret_codec::{ArrayView, Table, TableView, Value, ValueView};
use std::hash::{BuildHasher, Hasher};

/// A value that a binding wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MatchValue {
    Bool(bool),
    Integer(i64),
    Real(f64),
    Decimal { scale: u8, value: u32 },
    Text(Box<[u8]>),
    Timestamp(u64),
    Bytes(Box<[u8]>),
    Array(Vec<Element>),
    Table(Vec<(String, Element)>),
}

/// A value within an array or table, where void is a value of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Void,
    Value(MatchValue),
}

// What keeps values of different types apart in a hash.
const PRESENCE: u8 = 0;
const BOOL: u8 = 1;
const INTEGER: u8 = 2;
const REAL: u8 = 3;
const DECIMAL: u8 = 4;
const TEXT: u8 = 5;
const TIMESTAMP: u8 = 6;
const BYTES: u8 = 7;
const ARRAY: u8 = 8;
const TABLE: u8 = 9;

impl MatchValue {
    /// `None` for void, which wants presence only.
    pub(super) fn new(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Void => return None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Float(value) => Self::Real((*value).into()),
            Value::Double(value) => Self::Real(*value),
            Value::Decimal { scale, value } => Self::Decimal { scale: *scale, value: *value },
            Value::LongString(text) => Self::Text(text.as_slice().into()),
            Value::Timestamp(value) => Self::Timestamp(*value),
            Value::ByteArray(bytes) => Self::Bytes(bytes.as_slice().into()),
            Value::Array(values) => Self::Array(values.iter().map(Element::new).collect()),
            Value::Table(table) => Self::Table(elements(table)),
            integer => Self::Integer(integer.as_i64()?),
        })
    }

    /// Agrees with [`hash`] on values that are equal.
    pub(super) fn hash(&self, hasher: &impl BuildHasher, name: &[u8]) -> u64 {
        match self {
            Self::Bool(value) => finish(hasher, name, BOOL, &[(*value).into()]),
            Self::Integer(value) => finish(hasher, name, INTEGER, &value.to_be_bytes()),
            Self::Real(value) => finish(hasher, name, REAL, &real_bits(*value).to_be_bytes()),
            Self::Decimal { value, .. } => finish(hasher, name, DECIMAL, &value.to_be_bytes()),
            Self::Text(text) => finish(hasher, name, TEXT, text),
            Self::Timestamp(value) => finish(hasher, name, TIMESTAMP, &value.to_be_bytes()),
            Self::Bytes(bytes) => finish(hasher, name, BYTES, bytes),
            Self::Array(_) => finish(hasher, name, ARRAY, &[]),
            Self::Table(_) => finish(hasher, name, TABLE, &[]),
        }
    }

    #[inline]
    pub(super) fn equals(&self, found: ValueView<'_>) -> bool {
        match (self, found) {
            (Self::Bool(a), ValueView::Bool(b)) => *a == b,
            (Self::Real(a), ValueView::Double(b)) => real_bits(*a) == real_bits(b),
            (Self::Real(a), ValueView::Float(b)) => real_bits(*a) == real_bits(b.into()),
            (Self::Decimal { scale, value }, ValueView::Decimal { scale: s, value: v }) => {
                (*scale, *value) == (s, v)
            }
            (Self::Text(a), ValueView::LongString(b))
            | (Self::Bytes(a), ValueView::ByteArray(b)) => **a == *b,
            (Self::Timestamp(a), ValueView::Timestamp(b)) => *a == b,
            (Self::Array(a), ValueView::Array(b)) => same_array(a, b),
            (Self::Table(a), ValueView::Table(b)) => same_table(a, b),
            (Self::Integer(a), found) => found.as_i64() == Some(*a),
            _ => false,
        }
    }
}

impl Element {
    fn new(value: &Value) -> Self {
        MatchValue::new(value).map_or(Self::Void, Self::Value)
    }

    fn equals(&self, found: ValueView<'_>) -> bool {
        match self {
            Self::Void => matches!(found, ValueView::Void),
            Self::Value(value) => value.equals(found),
        }
    }
}

/// The bucket of a header with this value.
#[inline]
pub(super) fn hash(hasher: &impl BuildHasher, name: &[u8], value: ValueView<'_>) -> u64 {
    match value {
        ValueView::Bool(value) => finish(hasher, name, BOOL, &[value.into()]),
        ValueView::Float(value) => {
            finish(hasher, name, REAL, &real_bits(value.into()).to_be_bytes())
        }
        ValueView::Double(value) => finish(hasher, name, REAL, &real_bits(value).to_be_bytes()),
        ValueView::Decimal { value, .. } => finish(hasher, name, DECIMAL, &value.to_be_bytes()),
        ValueView::LongString(text) => finish(hasher, name, TEXT, text),
        ValueView::Timestamp(value) => finish(hasher, name, TIMESTAMP, &value.to_be_bytes()),
        ValueView::ByteArray(bytes) => finish(hasher, name, BYTES, bytes),
        ValueView::Array(_) => finish(hasher, name, ARRAY, &[]),
        ValueView::Table(_) => finish(hasher, name, TABLE, &[]),
        ValueView::Void => finish(hasher, name, PRESENCE, &[]),
        integer => finish(hasher, name, INTEGER, &integer.as_i64().unwrap_or(0).to_be_bytes()),
    }
}

/// The bucket of those that want a header whatever its value.
#[inline]
pub(super) fn hash_presence(hasher: &impl BuildHasher, name: &[u8]) -> u64 {
    finish(hasher, name, PRESENCE, &[])
}

fn finish(hasher: &impl BuildHasher, name: &[u8], class: u8, value: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(name);
    state.write_u8(class);
    state.write(value);
    state.finish()
}

/// Both zeros are one number, and a value that is no number equals itself.
fn real_bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn elements(table: &Table) -> Vec<(String, Element)> {
    table.iter().map(|(key, value)| (key.to_owned(), Element::new(value))).collect()
}

fn same_array(wanted: &[Element], found: ArrayView<'_>) -> bool {
    let mut found = found.iter();
    wanted.iter().all(|wanted| matches!(found.next(), Some(Ok(found)) if wanted.equals(found)))
        && found.next().is_none()
}

fn same_table(wanted: &[(String, Element)], found: TableView<'_>) -> bool {
    let mut found = found.iter();
    wanted.iter().all(|(key, wanted)| {
        matches!(found.next(), Some(Ok((name, value)))
            if name == key.as_bytes() && wanted.equals(value))
    }) && found.next().is_none()
}
