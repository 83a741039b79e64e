//! Bytes on their way to the socket: one growing buffer for frames, with large bodies kept by
//! reference in between, so that a vectored write sends both without a copy.
//! Hot path. It never decides when to write; it must not be read by anything but the writer.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Frames waiting to be written to one socket.
///
/// Invariant: `written` counts every byte ever put into `tail`; the position of the first byte
/// still in `tail` is `written - tail.len()`, and the positions in `shared` lie between the two
/// and never decrease.
#[derive(Debug, Default)]
pub struct Output {
    tail: BytesMut,
    /// Bytes ever appended to `tail` and already accounted for by [`Output::position`].
    consumed: u64,
    /// Large bodies, each to be sent when `tail` has been sent up to the position.
    shared: VecDeque<(u64, Bytes)>,
    shared_bytes: usize,
    total_shared: u64,
}

impl Output {
    /// An empty output without any memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer that frames are appended to. Only append; what is in it may already be on its
    /// way.
    pub fn buf(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends a body by reference. Nothing is copied.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.shared_bytes += bytes.len();
        self.total_shared += bytes.len() as u64;
        self.shared.push_back((self.position(), bytes));
    }

    /// The number of bytes not yet written to the socket.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tail.len() + self.shared_bytes
    }

    /// Whether everything has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.shared.is_empty()
    }

    /// All bytes ever appended; grows whenever something is to be sent. Heartbeats compare it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.position() + self.total_shared
    }

    /// Fills `slices` with what is to be written next, in order; returns how many it filled.
    pub fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut offset = 0;
        let mut put = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(filled) else { return false };
            *slot = IoSlice::new(bytes);
            filled += 1;
            true
        };
        for (position, body) in &self.shared {
            let end = (position - self.consumed) as usize;
            if !put(&self.tail[offset..end]) || !put(body) {
                return filled;
            }
            offset = end;
        }
        put(&self.tail[offset..]);
        filled
    }

    /// Removes the `n` bytes that were written, which must not be more than [`Output::len`].
    pub fn advance(&mut self, mut n: usize) {
        while n > 0 {
            let before = match self.shared.front() {
                Some((position, _)) => (position - self.consumed) as usize,
                None => self.tail.len(),
            };
            let step = n.min(before);
            self.consume_tail(step);
            n -= step;
            if n == 0 {
                break;
            }
            let Some((_, body)) = self.shared.front_mut() else {
                debug_assert!(false, "advanced past the end of the output");
                break;
            };
            let step = n.min(body.len());
            body.advance(step);
            self.shared_bytes -= step;
            n -= step;
            if body.is_empty() {
                self.shared.pop_front();
            }
        }
    }

    fn consume_tail(&mut self, n: usize) {
        self.consumed += n as u64;
        if n == self.tail.len() {
            // Clearing keeps the memory for the next batch, advancing would give it up.
            self.tail.clear();
        } else {
            self.tail.advance(n);
        }
    }

    fn position(&self) -> u64 {
        self.consumed + self.tail.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(out: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let n = out.chunks(&mut slices);
            let bytes: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
            let take = step.min(bytes.len());
            all.extend_from_slice(&bytes[..take]);
            out.advance(take);
        }
        all
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        for step in 1..12 {
            let mut out = Output::new();
            out.buf().extend_from_slice(b"ab");
            out.push_shared(Bytes::from_static(b"CDE"));
            out.push_shared(Bytes::from_static(b"F"));
            out.buf().extend_from_slice(b"gh");
            out.push_shared(Bytes::from_static(b"IJ"));
            assert_eq!(out.len(), 10);
            assert_eq!(drain(&mut out, step), b"abCDEFghIJ", "in steps of {step}");
            out.buf().extend_from_slice(b"k");
            assert_eq!(drain(&mut out, step), b"k");
            assert_eq!(out.total(), 11);
        }
    }

    #[test]
    fn appending_between_partial_writes_keeps_the_order() {
        let mut out = Output::new();
        out.buf().extend_from_slice(b"abc");
        out.advance(2);
        out.push_shared(Bytes::from_static(b"XY"));
        out.buf().extend_from_slice(b"d");
        assert_eq!(drain(&mut out, 100), b"cXYd");
    }
}
