//! The bytes between nodes: frames with a header, a checksum and a limit, and what the first of them say.
//!
//! ```text
//! | payload bytes u32 | kind u8 | flags u8 | version u16 | stream u32 | crc32c u32 | payload |
//! ```
//!
//! Integers of the header are big-endian; the checksum covers the header before it and the payload. What a payload
//! holds is postcard; the bytes of ops are in it as they are. A greeting has version 0 for ever, so that nodes of any two
//! versions understand why they do not talk. Nothing in here does IO, and no bytes make it panic.

mod greeting;
mod proof;
pub mod proxy;

use super::effects::{Alteration, Message};
use super::ids::Incarnation;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use greeting::{CLOCK_SKEW_MAX_MS, ClusterId, Hello, Refused};
pub use proof::{Nonce, Proof, Side};

/// The version of all frames but greetings.
pub const VERSION: u16 = 1;

/// Bytes of a payload, at most: the largest message that RabbitMQ takes, 128 MiB, and what goes with it.
// rabbitmq: max_message_size
pub const PAYLOAD_BYTES_MAX: usize = (128 << 20) + (1 << 20);

/// Bytes of a payload of a peer that has not proved who it is, at most.
pub const GREETING_BYTES_MAX: usize = 1 << 10;

/// The kinds of frames are 1 to this.
const KINDS: u8 = 11;

/// Bytes of the header of a frame.
pub const HEADER_BYTES: usize = 16;

/// What one node tells another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// The first of each side.
    Hello(Hello),
    /// The second of each side: it knows the secret.
    Proof(Proof),
    /// The last: why there will be no more.
    Refused(Refused),
    /// A node is alive.
    Heartbeat {
        /// Its number.
        number: u64,
        /// The start of the node.
        incarnation: Incarnation,
        /// The last group commit that it has on disk.
        durable: u64,
    },
    /// A heartbeat was heard by a node that leads the agreement.
    Heard {
        /// Its number.
        number: u64,
    },
    /// From copies of queues to copies of the same queues on the other node.
    Copies(Vec<Message>),
    /// The leader of a queue asks the leader of the agreement for a change.
    Alter(Alteration),
    /// The node of a client asks the leader of a queue.
    Ask(proxy::Ask),
    /// The leader of a queue tells the node of a client.
    Tell(proxy::Tell),
    /// What a node has that is not durable.
    Transient(proxy::Transient),
    /// What nodes ask each other about agreement, and what they answer.
    Agreement(Run),
}

/// Bytes that are somebody else's to understand.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run(#[serde(with = "super::shared_bytes")] Arc<[u8]>);

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Deref for Run {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for Run {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

/// Bytes that are no frame. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The payload is larger than allowed.
    #[error("a frame of {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its payload.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes were changed on the way.
    #[error("a frame with a wrong checksum")]
    Checksum,
    /// The frame is of another version than was agreed on.
    #[error("a frame of version {0}, which was not agreed on")]
    Version(u16),
    /// There is no such kind of frame.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// The payload is not what its kind says.
    #[error("a malformed frame of kind {0}")]
    Malformed(u8),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Proof(_) => 2,
            Self::Refused(_) => 3,
            Self::Heartbeat { .. } => 4,
            Self::Heard { .. } => 5,
            Self::Copies(_) => 6,
            Self::Alter(_) => 7,
            Self::Ask(_) => 8,
            Self::Tell(_) => 9,
            Self::Transient(_) => 10,
            Self::Agreement(_) => 11,
        }
    }

    fn version(kind: u8) -> u16 {
        if kind <= 3 { 0 } else { VERSION }
    }

    /// Adds the frame's bytes to `out`. `stream` tells apart what shares a connection.
    ///
    /// # Errors
    /// [`WireError::TooLarge`], with nothing added.
    pub fn encode(&self, stream: u32, out: &mut Vec<u8>) -> Result<(), WireError> {
        let (start, kind) = (out.len(), self.kind());
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let written = postcard::to_extend(self, std::mem::take(out));
        *out = written.map_err(|_| WireError::Malformed(kind))?;
        let bytes = out.len() - start - HEADER_BYTES;
        let limit = if kind <= 3 { GREETING_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
        if bytes > limit {
            out.truncate(start);
            return Err(WireError::TooLarge { bytes, limit });
        }
        let [a, b, c, d] = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
        let [v, w] = Self::version(kind).to_be_bytes();
        let [s, t, u, x] = stream.to_be_bytes();
        let head = [a, b, c, d, kind, 0, v, w, s, t, u, x];
        let (header, payload) = out[start..].split_at_mut(HEADER_BYTES);
        let (fields, sum) = header.split_at_mut(head.len());
        fields.copy_from_slice(&head);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
        sum.copy_from_slice(&crc.to_be_bytes());
        Ok(())
    }

    /// Takes the first frame from `bytes`: the frame, its stream and how many bytes it took. `None`: there is not all of it
    /// yet. A payload beyond `limit` is refused by its header, before it is waited for.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8], limit: usize) -> Result<Option<(Self, u32, usize)>, WireError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind, _, v, w, s, t, u, x, sum @ ..] = *header;
        let version = u16::from_be_bytes([v, w]);
        if !(1..=KINDS).contains(&kind) {
            return Err(WireError::Kind(kind));
        }
        if version != Self::version(kind) {
            return Err(WireError::Version(version));
        }
        let n = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let limit = if kind <= 3 { limit.min(GREETING_BYTES_MAX) } else { limit };
        if n > limit {
            return Err(WireError::TooLarge { bytes: n, limit });
        }
        let Some(payload) = rest.get(..n) else { return Ok(None) };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..HEADER_BYTES - 4]), payload);
        if crc != u32::from_be_bytes(sum) {
            return Err(WireError::Checksum);
        }
        match postcard::take_from_bytes::<Self>(payload) {
            Ok((frame, [])) if frame.kind() == kind => {
                Ok(Some((frame, u32::from_be_bytes([s, t, u, x]), HEADER_BYTES + n)))
            }
            _ => Err(WireError::Malformed(kind)),
        }
    }
}

/// Reads whatever comes, for fuzzing: what is read is written as the same bytes again.
///
/// # Panics
/// When it is not.
pub fn fuzz_frames(mut bytes: &[u8]) {
    while let Ok(Some((frame, stream, n))) = Frame::decode(bytes, PAYLOAD_BYTES_MAX) {
        let mut again = Vec::new();
        assert_eq!(frame.encode(stream, &mut again), Ok(()), "what was read can be written");
        let (read, ..) = Frame::decode(&again, PAYLOAD_BYTES_MAX)
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("what was written can be read: {frame:?}"));
        assert_eq!(read, frame, "the same frame");
        bytes = &bytes[n..];
    }
}

#[cfg(test)]
mod tests;
