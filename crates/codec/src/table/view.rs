//! Tables and arrays read in place: order, duplicates and type letters stay, nothing is copied.

use crate::cursor::Cursor;
use crate::table::{check_table, skip_value};
use crate::{DecodeError, ValueKind};

/// The bytes of a table without their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableView<'a>(&'a [u8]);

/// The bytes of an array without their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrayView<'a>(&'a [u8]);

/// One field of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// The key; any bytes, mostly text.
    pub key: &'a [u8],
    /// The value.
    pub value: ValueView<'a>,
    /// The whole field as it stands in the table, to be copied byte for byte.
    pub raw: &'a [u8],
}

/// A value, with its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueView<'a> {
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
    Float(f32),
    /// `d`.
    Double(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`; any bytes, mostly text.
    LongString(&'a [u8]),
    /// `A`.
    Array(ArrayView<'a>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`.
    Table(TableView<'a>),
    /// `V`.
    Void,
    /// `x`.
    ByteArray(&'a [u8]),
}

impl<'a> TableView<'a> {
    /// A view of `bytes`, which are not checked: the iterators report what is wrong where they meet it.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the table without their length.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are no fields.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Walks the whole table, nested ones included.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::BadTableType`], [`DecodeError::TableTooDeep`].
    pub fn check(self) -> Result<(), DecodeError> {
        check_table(self.0)
    }

    /// The fields in order; ends after the first error.
    pub fn fields(self) -> impl Iterator<Item = Result<Field<'a>, DecodeError>> + Clone {
        Walk { cursor: Cursor(self.0), read: read_field }
    }

    /// Keys and values in order; ends after the first error.
    pub fn iter(
        self,
    ) -> impl Iterator<Item = Result<(&'a [u8], ValueView<'a>), DecodeError>> + Clone {
        self.fields().map(|field| field.map(|field| (field.key, field.value)))
    }

    /// The value of the first field with this key; `None` too where the bytes before it are damaged.
    // rabbitmq: field tables
    #[must_use]
    pub fn get(self, key: impl AsRef<[u8]>) -> Option<ValueView<'a>> {
        self.find(key.as_ref()).ok().flatten()
    }

    /// Looks into no value but the one that is wanted.
    fn find(self, key: &[u8]) -> Result<Option<ValueView<'a>>, DecodeError> {
        let mut cursor = Cursor(self.0);
        while !cursor.0.is_empty() {
            if cursor.short()? == key {
                return read_value(&mut cursor).map(Some);
            }
            skip_value(&mut cursor)?;
        }
        Ok(None)
    }
}

impl<'a> ArrayView<'a> {
    /// A view of `bytes`, which are not checked: the iterator reports what is wrong where it meets it.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the array without their length.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are no values.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The values in order; ends after the first error.
    pub fn iter(self) -> impl Iterator<Item = Result<ValueView<'a>, DecodeError>> + Clone {
        Walk { cursor: Cursor(self.0), read: read_value }
    }
}

impl<'a> ValueView<'a> {
    /// The type.
    #[must_use]
    pub fn kind(self) -> ValueKind {
        match self {
            Self::Bool(_) => ValueKind::Bool,
            Self::Byte(_) => ValueKind::Byte,
            Self::UnsignedByte(_) => ValueKind::UnsignedByte,
            Self::Short(_) => ValueKind::Short,
            Self::UnsignedShort(_) => ValueKind::UnsignedShort,
            Self::Int(_) => ValueKind::Int,
            Self::UnsignedInt(_) => ValueKind::UnsignedInt,
            Self::Long(_) => ValueKind::Long,
            Self::LongUpper(_) => ValueKind::LongUpper,
            Self::Float(_) => ValueKind::Float,
            Self::Double(_) => ValueKind::Double,
            Self::Decimal { .. } => ValueKind::Decimal,
            Self::LongString(_) => ValueKind::LongString,
            Self::Array(_) => ValueKind::Array,
            Self::Timestamp(_) => ValueKind::Timestamp,
            Self::Table(_) => ValueKind::Table,
            Self::Void => ValueKind::Void,
            Self::ByteArray(_) => ValueKind::ByteArray,
        }
    }

    /// The number, for every integer type.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Byte(value) => Some(value.into()),
            Self::UnsignedByte(value) => Some(value.into()),
            Self::Short(value) => Some(value.into()),
            Self::UnsignedShort(value) => Some(value.into()),
            Self::Int(value) => Some(value.into()),
            Self::UnsignedInt(value) => Some(value.into()),
            Self::Long(value) | Self::LongUpper(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes of a long string.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        if let Self::LongString(bytes) = self { Some(bytes) } else { None }
    }

    /// The text of a long string that is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| str::from_utf8(bytes).ok())
    }
}

/// Reads one item after the other and stops at the first error.
#[derive(Clone)]
struct Walk<'a, T> {
    cursor: Cursor<'a>,
    read: fn(&mut Cursor<'a>) -> Result<T, DecodeError>,
}

impl<T> Iterator for Walk<'_, T> {
    type Item = Result<T, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.0.is_empty() {
            return None;
        }
        let item = (self.read)(&mut self.cursor);
        if item.is_err() {
            self.cursor = Cursor(&[]);
        }
        Some(item)
    }
}

fn read_field<'a>(cursor: &mut Cursor<'a>) -> Result<Field<'a>, DecodeError> {
    let before = cursor.0;
    let key = cursor.short()?;
    let value = read_value(cursor)?;
    let raw = before.get(..before.len() - cursor.0.len()).unwrap_or_default();
    Ok(Field { key, value, raw })
}

fn read_value<'a>(cursor: &mut Cursor<'a>) -> Result<ValueView<'a>, DecodeError> {
    Ok(match ValueKind::from_letter(cursor.u8()?)? {
        ValueKind::Bool => ValueView::Bool(cursor.u8()? != 0),
        ValueKind::Byte => ValueView::Byte(cursor.array().map(i8::from_be_bytes)?),
        ValueKind::UnsignedByte => ValueView::UnsignedByte(cursor.u8()?),
        ValueKind::Short => ValueView::Short(cursor.array().map(i16::from_be_bytes)?),
        ValueKind::UnsignedShort => ValueView::UnsignedShort(cursor.u16()?),
        ValueKind::Int => ValueView::Int(cursor.array().map(i32::from_be_bytes)?),
        ValueKind::UnsignedInt => ValueView::UnsignedInt(cursor.u32()?),
        ValueKind::Long => ValueView::Long(cursor.array().map(i64::from_be_bytes)?),
        ValueKind::LongUpper => ValueView::LongUpper(cursor.array().map(i64::from_be_bytes)?),
        ValueKind::Float => ValueView::Float(cursor.array().map(f32::from_be_bytes)?),
        ValueKind::Double => ValueView::Double(cursor.array().map(f64::from_be_bytes)?),
        ValueKind::Decimal => ValueView::Decimal { scale: cursor.u8()?, value: cursor.u32()? },
        ValueKind::LongString => ValueView::LongString(cursor.long()?),
        ValueKind::Array => ValueView::Array(ArrayView(cursor.long()?)),
        ValueKind::Timestamp => ValueView::Timestamp(cursor.u64()?),
        ValueKind::Table => ValueView::Table(TableView(cursor.long()?)),
        ValueKind::Void => ValueView::Void,
        ValueKind::ByteArray => ValueView::ByteArray(cursor.long()?),
    })
}
