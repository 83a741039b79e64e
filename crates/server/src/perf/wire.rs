//! Whole frames out of a byte buffer and methods into one: what every part of the load generator shares.
//! It knows the frame head and nothing else; methods are the codec's.

use std::io::{self, Read};

use leveret_codec::amqp::protocol::AMQPClass;

use super::error::PerfError;

/// Type, channel and size.
pub(super) const FRAME_HEAD: usize = 7;
/// A frame without its payload.
pub(super) const FRAME_EXTRA: usize = 8;
pub(super) const FRAME_END: u8 = 0xCE;
pub(super) const FRAME_METHOD: u8 = 1;
pub(super) const FRAME_HEADER: u8 = 2;
pub(super) const FRAME_BODY: u8 = 3;
pub(super) const FRAME_HEARTBEAT: u8 = 8;
/// The whole heartbeat frame.
pub(super) const HEARTBEAT: [u8; FRAME_EXTRA] = [FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END];
/// No peer needs a larger frame than this, however large its frame-max is.
const FRAME_MAX: usize = 16 * 1024 * 1024;

/// One whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) channel: u16,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Length with head and end.
    pub(super) fn len(&self) -> usize {
        self.payload.len() + FRAME_EXTRA
    }
}

/// The frame that `bytes` starts with; `None` until it is whole.
// spec: 4.2.3 general frame format
pub(super) fn first_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, PerfError> {
    let Some(head) = bytes.first_chunk::<FRAME_HEAD>() else { return Ok(None) };
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    if size > FRAME_MAX || !matches!(head[0], FRAME_METHOD..=FRAME_BODY | FRAME_HEARTBEAT) {
        return Err(PerfError::Protocol(format!("a frame that starts with {head:?}")));
    }
    let Some(rest) = bytes.get(FRAME_HEAD..=FRAME_HEAD + size) else { return Ok(None) };
    if rest[size] != FRAME_END {
        return Err(PerfError::Protocol("a frame without its end octet".into()));
    }
    let channel = u16::from_be_bytes([head[1], head[2]]);
    Ok(Some(Frame { kind: head[0], channel, payload: &rest[..size] }))
}

/// Reads the class, method and arguments of a method frame.
pub(super) fn method(payload: &[u8]) -> Result<AMQPClass, PerfError> {
    leveret_codec::decode_method(payload)
        .map_err(|_| PerfError::Protocol("a method that cannot be read".into()))
}

/// Appends a method frame.
pub(super) fn put_method(out: &mut Vec<u8>, channel: u16, method: &AMQPClass) {
    leveret_codec::put_method(out, channel, method);
}

/// Appends a frame of any kind.
pub(super) fn put_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// The bytes read from a socket and not looked at yet.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// A buffer that reads up to `capacity` bytes at once.
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], start: 0, end: 0 }
    }

    /// What is there.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Forgets the first `n` unread bytes.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
    }

    /// One read. `Ok(0)` is the end of the stream. A frame that is larger than the buffer makes it grow.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.bytes.len() {
            self.bytes.resize(self.end * 2, 0);
        }
        let n = from.read(&mut self.bytes[self.end..])?;
        self.end += n;
        Ok(n)
    }

    /// Makes room for frames of a negotiated size.
    pub(super) fn grow_to(&mut self, capacity: usize) {
        if self.bytes.len() < capacity {
            self.bytes.resize(capacity, 0);
        }
    }
}

/// Whether a blocking read or write only ran into its timeout.
pub(super) fn timed_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
