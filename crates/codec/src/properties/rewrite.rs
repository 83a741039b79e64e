//! Changes a few properties and keeps every other byte.

use crate::cursor::Cursor;
use crate::properties::{flag, skip};
use crate::{DecodeError, SHORT_STRING_MAX};

/// What happens to one property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<'a> {
    /// Stays as it is, or absent.
    #[default]
    Keep,
    /// Goes, if it is there.
    Remove,
    /// Gets this value, whether or not it was there: the text of a short string, or the bytes of a table
    /// without their length.
    Set(&'a [u8]),
}

/// The properties that a broker changes: headers (BCC, dead-lettering), expiration (dead-lettering),
/// reply-to (direct replies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PropertyChanges<'a> {
    /// The headers table.
    pub headers: Change<'a>,
    /// The per-message TTL.
    pub expiration: Change<'a>,
    /// Where replies go.
    pub reply_to: Change<'a>,
}

impl<'a> PropertyChanges<'a> {
    fn of(&self, property: u16) -> Change<'a> {
        match property {
            flag::HEADERS => self.headers,
            flag::EXPIRATION => self.expiration,
            flag::REPLY_TO => self.reply_to,
            _ => Change::Keep,
        }
    }
}

/// Appends `original` with `changes` applied to `out`. What is not changed, unused flag bits included,
/// stays byte for byte. After an error `out` is as long as before.
///
/// # Errors
/// [`DecodeError::Truncated`] and [`DecodeError::TrailingBytes`] for damaged originals,
/// [`DecodeError::StringTooLong`] for a new text of more than 255 bytes.
pub fn rewrite(
    original: &[u8],
    changes: &PropertyChanges<'_>,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let start = out.len();
    out.reserve(original.len());
    let result = append(original, changes, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append(
    original: &[u8],
    changes: &PropertyChanges<'_>,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut cursor = Cursor(original);
    let before = cursor.u16()?;
    let mut after = before;
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut bit = flag::CONTENT_TYPE;
    while bit >= flag::CLUSTER_ID {
        let from = cursor.0;
        if before & bit != 0 {
            skip(&mut cursor, bit)?;
        }
        match changes.of(bit) {
            Change::Keep => {
                let used = from.len() - cursor.0.len();
                out.extend_from_slice(from.get(..used).unwrap_or_default());
            }
            Change::Remove => after &= !bit,
            Change::Set(value) => {
                after |= bit;
                put_value(bit, value, out)?;
            }
        }
        bit >>= 1;
    }
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&after.to_be_bytes());
    }
    cursor.finish()
}

/// The length and bytes of a table or short string.
pub(super) fn put_value(property: u16, value: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if property == flag::HEADERS {
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    } else if value.len() > SHORT_STRING_MAX {
        return Err(DecodeError::StringTooLong);
    } else {
        out.push(value.len() as u8);
    }
    out.extend_from_slice(value);
    Ok(())
}
