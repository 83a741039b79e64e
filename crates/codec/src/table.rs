//! Field tables: `view` reads them in place, `writer` appends them, `value` owns them. This file has what
//! the three share: type letters, the depth limit and the check.
//!
//! ```text
//! table    | key length u8 | key | type letter | value |  ...
//! array    | type letter | value |  ...
//! ```

pub(crate) mod value;
pub(crate) mod view;
pub(crate) mod writer;

use crate::DecodeError;
use crate::cursor::Cursor;

/// Tables and arrays within one another, the outermost counted.
pub const TABLE_DEPTH_MAX: usize = 64;

/// The type of a field: RabbitMQ's letters, which differ from the specification's.
// rabbitmq: field tables
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// `t`.
    Bool = b't',
    /// `b`, 8 bits.
    Byte = b'b',
    /// `B`, 8 bits.
    UnsignedByte = b'B',
    /// `s`, 16 bits.
    Short = b's',
    /// `u`, 16 bits.
    UnsignedShort = b'u',
    /// `I`, 32 bits.
    Int = b'I',
    /// `i`, 32 bits.
    UnsignedInt = b'i',
    /// `l`, 64 bits.
    Long = b'l',
    /// `L`, 64 bits, signed as RabbitMQ reads it: the same as `l` but for the letter.
    LongUpper = b'L',
    /// `f`, 32 bits.
    Float = b'f',
    /// `d`, 64 bits.
    Double = b'd',
    /// `D`, a scale and 32 bits.
    Decimal = b'D',
    /// `S`, bytes, mostly text.
    LongString = b'S',
    /// `A`.
    Array = b'A',
    /// `T`, seconds since 1970.
    Timestamp = b'T',
    /// `F`.
    Table = b'F',
    /// `V`.
    Void = b'V',
    /// `x`, bytes.
    ByteArray = b'x',
}

impl ValueKind {
    /// The kind of a type letter.
    #[inline]
    pub(crate) fn from_letter(letter: u8) -> Result<Self, DecodeError> {
        Ok(match letter {
            b't' => Self::Bool,
            b'b' => Self::Byte,
            b'B' => Self::UnsignedByte,
            b's' => Self::Short,
            b'u' => Self::UnsignedShort,
            b'I' => Self::Int,
            b'i' => Self::UnsignedInt,
            b'l' => Self::Long,
            b'L' => Self::LongUpper,
            b'f' => Self::Float,
            b'd' => Self::Double,
            b'D' => Self::Decimal,
            b'S' => Self::LongString,
            b'A' => Self::Array,
            b'T' => Self::Timestamp,
            b'F' => Self::Table,
            b'V' => Self::Void,
            b'x' => Self::ByteArray,
            other => return Err(DecodeError::BadTableType(other)),
        })
    }

    /// The letter on the wire.
    #[must_use]
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// RabbitMQ's name of the type, as its error texts and its HTTP API print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Byte => "byte",
            Self::UnsignedByte => "unsignedbyte",
            Self::Short => "short",
            Self::UnsignedShort => "unsignedshort",
            Self::Int => "signedint",
            Self::UnsignedInt => "unsignedint",
            Self::Long | Self::LongUpper => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal => "decimal",
            Self::LongString => "longstr",
            Self::Array => "array",
            Self::Timestamp => "timestamp",
            Self::Table => "table",
            Self::Void => "void",
            Self::ByteArray => "binary",
        }
    }
}

/// Walks a whole table: lengths, type letters, depth. Keys may be any bytes.
pub(crate) fn check_table(bytes: &[u8]) -> Result<(), DecodeError> {
    check_fields(bytes, true, TABLE_DEPTH_MAX)
}

/// `levels` is what is left of the depth limit, so the recursion is bounded.
fn check_fields(bytes: &[u8], keyed: bool, levels: usize) -> Result<(), DecodeError> {
    let levels = levels.checked_sub(1).ok_or(DecodeError::TableTooDeep)?;
    let mut cursor = Cursor(bytes);
    while !cursor.0.is_empty() {
        if keyed {
            cursor.short()?;
        }
        let len = match ValueKind::from_letter(cursor.u8()?)? {
            ValueKind::Table => {
                check_fields(cursor.long()?, true, levels)?;
                0
            }
            ValueKind::Array => {
                check_fields(cursor.long()?, false, levels)?;
                0
            }
            ValueKind::LongString | ValueKind::ByteArray => cursor.u32()? as usize,
            ValueKind::Void => 0,
            ValueKind::Bool | ValueKind::Byte | ValueKind::UnsignedByte => 1,
            ValueKind::Short | ValueKind::UnsignedShort => 2,
            ValueKind::Int | ValueKind::UnsignedInt | ValueKind::Float => 4,
            ValueKind::Decimal => 5,
            ValueKind::Long | ValueKind::LongUpper | ValueKind::Double | ValueKind::Timestamp => 8,
        };
        cursor.bytes(len)?;
    }
    Ok(())
}
