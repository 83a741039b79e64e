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
///
/// amq-protocol's parser takes about 1.1 KiB of stack for each level in release and 2.1 KiB in a debug
/// build, so 64 levels need 140 KiB of a thread's 2 MiB, while a frame of 128 KiB could hold 21,000. The
/// deepest table that RabbitMQ itself writes has four levels; JSON parsers commonly stop at 128.
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

/// In [`LENGTHS`]: not a type letter.
const UNKNOWN: u8 = 255;
/// In [`LENGTHS`]: a 32-bit length and as many bytes.
const COUNTED: u8 = 254;

/// Bytes of a value by its type letter.
static LENGTHS: [u8; 256] = lengths();

const fn lengths() -> [u8; 256] {
    const KNOWN: [(&[u8], u8); 7] = [
        (b"V", 0),
        (b"tbB", 1),
        (b"su", 2),
        (b"Iif", 4),
        (b"D", 5),
        (b"lLdT", 8),
        (b"SAFx", COUNTED),
    ];
    let mut lengths = [UNKNOWN; 256];
    let mut group = 0;
    while group < KNOWN.len() {
        let (letters, length) = KNOWN[group];
        let mut index = 0;
        while index < letters.len() {
            lengths[letters[index] as usize] = length;
            index += 1;
        }
        group += 1;
    }
    lengths
}

/// Passes over a value and answers with its type letter and its bytes, without their length.
#[inline]
pub(crate) fn skip_value<'a>(cursor: &mut Cursor<'a>) -> Result<(u8, &'a [u8]), DecodeError> {
    let letter = cursor.u8()?;
    let content = match LENGTHS[usize::from(letter)] {
        UNKNOWN => return Err(DecodeError::BadTableType(letter)),
        COUNTED => cursor.long()?,
        length => cursor.bytes(usize::from(length))?,
    };
    Ok((letter, content))
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
        match skip_value(&mut cursor)? {
            (b'F', table) => check_fields(table, true, levels)?,
            (b'A', array) => check_fields(array, false, levels)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_know_the_letters_of_the_kinds() {
        for letter in 0..=u8::MAX {
            let known = ValueKind::from_letter(letter);
            assert_eq!(known.is_ok(), LENGTHS[usize::from(letter)] != UNKNOWN, "{letter}");
            assert_eq!(known.map_or(letter, ValueKind::letter), letter);
        }
    }
}
