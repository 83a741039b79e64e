//! Between a blocking socket and the codec: the read buffer, and what a timeout looks like.

use std::io::{self, Read};

use leveret_codec::{DecodeError, Frame, Method, Splitter, decode_method};

use super::error::PerfError;

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

    /// One read. `Ok(0)` is the end of the stream. What is unread moves to the front first; a frame
    /// that is larger than the buffer makes it grow.
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

    /// Takes the first frame out, when it is whole, and hands it to `f`.
    pub(super) fn take_frame<T>(
        &mut self,
        splitter: Splitter,
        f: impl FnOnce(Frame<'_>) -> Result<T, PerfError>,
    ) -> Result<Option<T>, PerfError> {
        let Some((frame, len)) = splitter.split(self.unread())? else { return Ok(None) };
        let taken = f(frame)?;
        self.consume(len);
        Ok(Some(taken))
    }
}

/// The method in a method frame.
pub(super) fn method<'a>(frame: &Frame<'a>) -> Result<Method<'a>, PerfError> {
    Ok(decode_method(frame.payload)?)
}

impl From<DecodeError> for PerfError {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Whether a blocking read or write only ran into its timeout.
pub(super) fn timed_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
