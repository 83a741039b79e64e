//! What can be wrong with bytes from a peer: one small value that names the defect.

use crate::ReplyCode;

/// A defect in bytes received from a peer. "More bytes are needed" is not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The octet after a frame's payload is not `0xCE`.
    #[error("frame end octet is {0}, not 206")]
    BadFrameEnd(u8),
    /// A short string or table key that must be UTF-8 is not.
    #[error("malformed UTF-8 in shortstr")]
    BadShortString,
    /// A table or array holds a type letter that RabbitMQ does not know.
    #[error("unknown table field type {0}")]
    BadTableType(u8),
    /// A frame head announces a payload of `size` bytes where at most `max` were negotiated.
    #[error("frame payload of {size} bytes exceeds {max}")]
    FrameTooLarge {
        /// The announced payload size.
        size: u32,
        /// frame_max less the eight bytes around a payload, as RabbitMQ prints it.
        max: u32,
    },
    /// A short string or table key longer than 255 bytes was to be written.
    #[error("string is too long for a shortstr")]
    StringTooLong,
    /// Tables and arrays are nested deeper than [`TABLE_DEPTH_MAX`](crate::TABLE_DEPTH_MAX).
    #[error("table is nested too deeply")]
    TableTooDeep,
    /// Bytes are left after the last field.
    #[error("bytes are left after the last field")]
    TrailingBytes,
    /// The bytes end inside a field.
    #[error("bytes end inside a field")]
    Truncated,
    /// No such method.
    #[error("unknown method {class}.{method}")]
    UnknownMethod {
        /// The class id.
        class: u16,
        /// The method id within the class.
        method: u16,
    },
}

impl DecodeError {
    /// The reply code to close the connection with; always a hard error.
    ///
    /// RabbitMQ crashes without a frame where it does not know a method; 503 is what its channels
    /// answer to a method they do not implement, and clients accept it.
    // rabbitmq: framing errors
    #[must_use]
    pub fn reply_code(self) -> ReplyCode {
        match self {
            Self::UnknownMethod { .. } => ReplyCode::COMMAND_INVALID,
            Self::BadFrameEnd(_)
            | Self::BadShortString
            | Self::BadTableType(_)
            | Self::FrameTooLarge { .. }
            | Self::StringTooLong
            | Self::TableTooDeep
            | Self::TrailingBytes
            | Self::Truncated => ReplyCode::FRAME_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_small_and_hard() {
        assert!(size_of::<DecodeError>() <= 12);
        for error in [
            DecodeError::BadFrameEnd(0),
            DecodeError::TableTooDeep,
            DecodeError::UnknownMethod { class: 77, method: 10 },
        ] {
            assert!(error.reply_code().is_hard());
        }
    }
}
