//! Tables that own their fields: declare arguments, client properties, what the HTTP API shows. Not for
//! messages, whose headers are forwarded byte for byte.

mod convert;
mod serial;

use serde::{Deserialize, Serialize};

use crate::table::writer::{ArrayWriter, TableWriter};
use crate::{DecodeError, SHORT_STRING_MAX, TABLE_DEPTH_MAX, ValueKind, ValueView};

/// A table in its order, duplicates included; lookups find the first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table(pub Vec<(String, Value)>);

/// A value that keeps the type it came with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// `t`.
    Bool(bool),
    /// `b`.
    Byte(i8),
    /// `B`.
    UnsignedByte(u8),
    /// `s`.
    Short(i16),
    /// `u`.
    UnsignedShort(u16),
    /// `I`.
    Int(i32),
    /// `i`.
    UnsignedInt(u32),
    /// `l`.
    Long(i64),
    /// `L`: the same as `l` but for the letter.
    LongUpper(i64),
    /// `f`.
    Float(#[serde(with = "serial::float")] f32),
    /// `d`.
    Double(#[serde(with = "serial::double")] f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`; any bytes, mostly text.
    LongString(#[serde(with = "serial::text")] Vec<u8>),
    /// `A`.
    Array(Vec<Self>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`.
    Table(Table),
    /// `V`.
    Void,
    /// `x`.
    ByteArray(#[serde(with = "serial::text")] Vec<u8>),
}

impl Table {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of the first field with this key.
    // rabbitmq: field tables
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Whether there is a field with this key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Replaces the value of the first field with this key, or appends a field.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Removes every field with this key.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| name != key);
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the table can be written and read back: keys of at most 255 bytes, depth within the limit.
    ///
    /// # Errors
    /// [`DecodeError::StringTooLong`], [`DecodeError::TableTooDeep`].
    pub fn check(&self) -> Result<(), DecodeError> {
        self.check_levels(TABLE_DEPTH_MAX)
    }

    fn check_levels(&self, levels: usize) -> Result<(), DecodeError> {
        let levels = levels.checked_sub(1).ok_or(DecodeError::TableTooDeep)?;
        for (key, value) in &self.0 {
            if key.len() > SHORT_STRING_MAX {
                return Err(DecodeError::StringTooLong);
            }
            value.check_levels(levels)?;
        }
        Ok(())
    }

    /// The bytes of the table without their length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut TableWriter::new(&mut out));
        out
    }

    /// Appends the fields to another table.
    pub fn write_to(&self, out: &mut TableWriter<'_>) {
        for (key, value) in &self.0 {
            match value.shallow() {
                Shallow::Plain(view) => out.value(key, view),
                Shallow::Array(values) => out.array(key, |out| write_array(values, out)),
                Shallow::Table(table) => out.table(key, |out| table.write_to(out)),
            }
        }
    }
}

fn write_array(values: &[Value], out: &mut ArrayWriter<'_>) {
    for value in values {
        match value.shallow() {
            Shallow::Plain(view) => out.value(view),
            Shallow::Array(values) => out.array(|out| write_array(values, out)),
            Shallow::Table(table) => out.table(|out| table.write_to(out)),
        }
    }
}

/// A value as the writer takes it: nested ones have no bytes yet.
enum Shallow<'a> {
    Plain(ValueView<'a>),
    Array(&'a [Value]),
    Table(&'a Table),
}

impl Value {
    fn shallow(&self) -> Shallow<'_> {
        Shallow::Plain(match self {
            Self::Bool(value) => ValueView::Bool(*value),
            Self::Byte(value) => ValueView::Byte(*value),
            Self::UnsignedByte(value) => ValueView::UnsignedByte(*value),
            Self::Short(value) => ValueView::Short(*value),
            Self::UnsignedShort(value) => ValueView::UnsignedShort(*value),
            Self::Int(value) => ValueView::Int(*value),
            Self::UnsignedInt(value) => ValueView::UnsignedInt(*value),
            Self::Long(value) => ValueView::Long(*value),
            Self::LongUpper(value) => ValueView::LongUpper(*value),
            Self::Float(value) => ValueView::Float(*value),
            Self::Double(value) => ValueView::Double(*value),
            Self::Decimal { scale, value } => ValueView::Decimal { scale: *scale, value: *value },
            Self::LongString(bytes) => ValueView::LongString(bytes),
            Self::Timestamp(value) => ValueView::Timestamp(*value),
            Self::Void => ValueView::Void,
            Self::ByteArray(bytes) => ValueView::ByteArray(bytes),
            Self::Array(values) => return Shallow::Array(values),
            Self::Table(table) => return Shallow::Table(table),
        })
    }

    fn check_levels(&self, levels: usize) -> Result<(), DecodeError> {
        match self {
            Self::Array(values) => {
                let levels = levels.checked_sub(1).ok_or(DecodeError::TableTooDeep)?;
                values.iter().try_for_each(|value| value.check_levels(levels))
            }
            Self::Table(table) => table.check_levels(levels),
            _ => Ok(()),
        }
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self.shallow() {
            Shallow::Plain(view) => view.kind(),
            Shallow::Array(_) => ValueKind::Array,
            Shallow::Table(_) => ValueKind::Table,
        }
    }

    /// The number, for every integer type.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Shallow::Plain(view) = self.shallow() { view.as_i64() } else { None }
    }

    /// The text of a long string that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::LongString(bytes) = self { str::from_utf8(bytes).ok() } else { None }
    }

    /// The bytes of a long string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::LongString(bytes) = self { Some(bytes) } else { None }
    }

    /// The truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The table.
    #[must_use]
    pub fn as_table(&self) -> Option<&Table> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }
}

#[cfg(test)]
mod tests;
