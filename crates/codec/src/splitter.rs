//! Whole frames out of whatever has arrived so far. Keeps no bytes: the caller owns the buffer and advances
//! by the length that came with each frame.
//!
//! Hot path.

use crate::{DecodeError, FRAME_END, FRAME_OVERHEAD, Frame, FrameKind};

/// The largest payload taken where frame_max is 0 (unlimited) or larger than this: 128 MiB, the largest
/// default message size of any RabbitMQ, since such a peer may send a whole body in one frame.
pub const FRAME_PAYLOAD_CAP: u32 = 128 * 1024 * 1024;

/// RabbitMQ takes payloads that are this much larger than frame_max allows.
// rabbitmq: framing errors
const PAYLOAD_TOLERANCE: u32 = 8;

/// Cuts a byte stream into frames and refuses frames that are too large before they are buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splitter {
    frame_max: u32,
    /// Largest accepted payload; follows from `frame_max`.
    payload_max: u32,
}

impl Splitter {
    /// A splitter for frames of at most `frame_max` bytes including head and end octet; 0 leaves only
    /// [`FRAME_PAYLOAD_CAP`].
    #[must_use]
    pub fn new(frame_max: u32) -> Self {
        let payload_max = match frame_max {
            0 => FRAME_PAYLOAD_CAP,
            _ => frame_max
                .saturating_sub(FRAME_OVERHEAD as u32)
                .saturating_add(PAYLOAD_TOLERANCE)
                .min(FRAME_PAYLOAD_CAP),
        };
        Self { frame_max, payload_max }
    }

    /// Applies a newly negotiated limit to the frames that follow.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        *self = Self::new(frame_max);
    }

    /// The limit as it was set; 0 is none.
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// The first frame of `input` and the bytes it takes up, or `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLarge`] as soon as the head is there, [`DecodeError::BadFrameEnd`]. Both
    /// are final: what follows in the stream has no meaning.
    #[inline]
    pub fn split<'b>(&self, input: &'b [u8]) -> Result<Option<(Frame<'b>, usize)>, DecodeError> {
        let [kind, c0, c1, s0, s1, s2, s3, rest @ ..] = input else { return Ok(None) };
        let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
        if size > self.payload_max {
            return Err(self.too_large(size));
        }
        let size = size as usize;
        let Some((payload, [end, ..])) = rest.split_at_checked(size) else { return Ok(None) };
        if *end != FRAME_END {
            return Err(DecodeError::BadFrameEnd(*end));
        }
        let channel = u16::from_be_bytes([*c0, *c1]);
        Ok(Some((Frame { kind: FrameKind(*kind), channel, payload }, size + FRAME_OVERHEAD)))
    }

    #[cold]
    fn too_large(&self, size: u32) -> DecodeError {
        let max = match self.frame_max {
            0 => FRAME_PAYLOAD_CAP,
            max => max.saturating_sub(FRAME_OVERHEAD as u32).min(FRAME_PAYLOAD_CAP),
        };
        DecodeError::FrameTooLarge { size, max }
    }
}

#[cfg(test)]
mod tests;
