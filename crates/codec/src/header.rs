//! The content header: body size and property bytes, which stay as they came.
//!
//! Hot path.

use crate::DecodeError;

/// The class id of basic, the only class with content.
pub const BASIC_CLASS: u16 = 60;

/// A content header, borrowed from its frame.
// spec: 4.2.6.1 the content header
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it; [`BASIC_CLASS`], which the receiver checks.
    pub class_id: u16,
    /// Zero, which the receiver checks.
    pub weight: u16,
    /// Bytes of the body frames that follow.
    pub body_size: u64,
    /// Property flags and values, byte for byte; see [`Properties`](crate::Properties).
    pub properties: &'a [u8],
}

/// Reads the payload of a header frame. The properties are not looked at.
///
/// # Errors
/// [`DecodeError::Truncated`] without room for the fixed fields and the property flags.
#[inline]
pub fn decode_content_header(payload: &[u8]) -> Result<ContentHeader<'_>, DecodeError> {
    let Some((&[c0, c1, w0, w1, b0, b1, b2, b3, b4, b5, b6, b7], properties @ [_, _, ..])) =
        payload.split_first_chunk::<12>()
    else {
        return Err(DecodeError::Truncated);
    };
    Ok(ContentHeader {
        class_id: u16::from_be_bytes([c0, c1]),
        weight: u16::from_be_bytes([w0, w1]),
        body_size: u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
        properties,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_fields_and_property_bytes() {
        let payload = b"\x00\x3C\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x10\x00\x02";
        let header = decode_content_header(payload).unwrap();
        let expected =
            ContentHeader { class_id: 60, weight: 0, body_size: 256, properties: b"\x10\x00\x02" };
        assert_eq!(header, expected);
        for len in 0..14 {
            assert_eq!(decode_content_header(&payload[..len]), Err(DecodeError::Truncated));
        }
    }
}
