//! Appends typed fields to table or array bytes. A key longer than 255 bytes is cut there; check keys
//! that come from outside with [`Table::check`](crate::Table::check) first.

use crate::string::clamp;
use crate::{Field, ValueKind, ValueView};

/// Appends fields to the bytes of a table, which carry no length of their own.
#[derive(Debug)]
pub struct TableWriter<'a> {
    out: &'a mut Vec<u8>,
}

/// Appends values to the bytes of an array, which carry no length of their own.
#[derive(Debug)]
pub struct ArrayWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> TableWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    fn key(&mut self, key: &[u8]) {
        let key = clamp(key);
        self.out.push(key.len() as u8);
        self.out.extend_from_slice(key);
    }

    /// A field of any type; nested tables and arrays are copied byte for byte.
    pub fn value(&mut self, key: impl AsRef<[u8]>, value: ValueView<'_>) {
        self.key(key.as_ref());
        put_value(self.out, value);
    }

    /// A field of another table, byte for byte.
    pub fn copy(&mut self, field: &Field<'_>) {
        self.out.extend_from_slice(field.raw);
    }

    /// A long string.
    pub fn string(&mut self, key: impl AsRef<[u8]>, text: impl AsRef<[u8]>) {
        self.value(key, ValueView::LongString(text.as_ref()));
    }

    /// A number as RabbitMQ writes its own: 64 bits.
    pub fn long(&mut self, key: impl AsRef<[u8]>, number: i64) {
        self.value(key, ValueView::Long(number));
    }

    /// A truth value.
    pub fn bool(&mut self, key: impl AsRef<[u8]>, value: bool) {
        self.value(key, ValueView::Bool(value));
    }

    /// A table that `fill` writes.
    pub fn table<T>(
        &mut self,
        key: impl AsRef<[u8]>,
        fill: impl FnOnce(&mut TableWriter<'_>) -> T,
    ) -> T {
        self.key(key.as_ref());
        self.out.push(ValueKind::Table.letter());
        with_length(self.out, |out| fill(&mut TableWriter { out }))
    }

    /// An array that `fill` writes.
    pub fn array<T>(
        &mut self,
        key: impl AsRef<[u8]>,
        fill: impl FnOnce(&mut ArrayWriter<'_>) -> T,
    ) -> T {
        self.key(key.as_ref());
        self.out.push(ValueKind::Array.letter());
        with_length(self.out, |out| fill(&mut ArrayWriter { out }))
    }
}

impl<'a> ArrayWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A value of any type; nested tables and arrays are copied byte for byte.
    pub fn value(&mut self, value: ValueView<'_>) {
        put_value(self.out, value);
    }

    /// A long string.
    pub fn string(&mut self, text: impl AsRef<[u8]>) {
        self.value(ValueView::LongString(text.as_ref()));
    }

    /// A table that `fill` writes.
    pub fn table<T>(&mut self, fill: impl FnOnce(&mut TableWriter<'_>) -> T) -> T {
        self.out.push(ValueKind::Table.letter());
        with_length(self.out, |out| fill(&mut TableWriter { out }))
    }

    /// An array that `fill` writes.
    pub fn array<T>(&mut self, fill: impl FnOnce(&mut ArrayWriter<'_>) -> T) -> T {
        self.out.push(ValueKind::Array.letter());
        with_length(self.out, |out| fill(&mut ArrayWriter { out }))
    }
}

/// Writes a length of 32 bits in front of what `fill` appends.
fn with_length<T>(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let result = fill(out);
    let len = (out.len() - at - 4) as u32;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    result
}

fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Type letter and value.
fn put_value(out: &mut Vec<u8>, value: ValueView<'_>) {
    out.push(value.kind().letter());
    match value {
        ValueView::Bool(value) => out.push(value.into()),
        ValueView::Byte(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::UnsignedByte(value) => out.push(value),
        ValueView::Short(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::UnsignedShort(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::Int(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::UnsignedInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::Long(value) | ValueView::LongUpper(value) => {
            out.extend_from_slice(&value.to_be_bytes());
        }
        ValueView::Float(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::Double(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::Decimal { scale, value } => {
            out.push(scale);
            out.extend_from_slice(&value.to_be_bytes());
        }
        ValueView::LongString(bytes) | ValueView::ByteArray(bytes) => put_counted(out, bytes),
        ValueView::Array(array) => put_counted(out, array.as_bytes()),
        ValueView::Timestamp(value) => out.extend_from_slice(&value.to_be_bytes()),
        ValueView::Table(table) => put_counted(out, table.as_bytes()),
        ValueView::Void => {}
    }
}
