//! Hot path. The writing side of one connection of the relay: its own answers, and the deliveries
//! that publishers' threads put there.

use std::io::{IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};

use super::State;
use crate::perf::wire::timed_out;

/// Deliveries are collected up to this many bytes.
const OUT_BYTES: usize = 256 * 1024;

/// Shared between the connection's own thread and the publishers that deliver to it.
pub(super) struct Sink {
    stream: TcpStream,
    state: Arc<State>,
    /// Set when the peer is gone, so that no writer waits for it.
    gone: AtomicBool,
    pending: Mutex<Pending>,
}

/// Encoded deliveries that are not written yet. Whoever holds it may write to the socket.
pub(super) struct Pending {
    /// Empty until the first delivery: most connections never get one.
    bytes: Vec<u8>,
    filled: usize,
}

impl Pending {
    /// Room for up to `n` times `len` bytes: for at least one, unless that needs a flush first.
    pub(super) fn room(&mut self, n: usize, len: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes.resize(OUT_BYTES, 0);
        }
        let n = n.min((self.bytes.len() - self.filled) / len);
        let room = &mut self.bytes[self.filled..self.filled + n * len];
        self.filled += room.len();
        room
    }
}

impl Sink {
    pub(super) fn new(stream: TcpStream, state: Arc<State>) -> Self {
        let pending = Pending { bytes: Vec::new(), filled: 0 };
        Self { stream, state, gone: AtomicBool::new(false), pending: Mutex::new(pending) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Makes every writer give up.
    pub(super) fn leave(&self) {
        self.gone.store(true, Relaxed);
        // Down already, perhaps.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Writes what is collected.
    pub(super) fn flush(&self, pending: &mut Pending) {
        let filled = std::mem::take(&mut pending.filled);
        if filled > 0 {
            self.write(&mut [IoSlice::new(&pending.bytes[..filled])]);
        }
    }

    /// Writes what is collected, then these slices, however long the peer takes: that wait is the
    /// back-pressure on the publisher. A peer that is gone takes everything.
    pub(super) fn write_after(&self, pending: &mut Pending, slices: &mut [IoSlice<'_>]) {
        self.flush(pending);
        self.write(slices);
    }

    fn write(&self, mut slices: &mut [IoSlice<'_>]) {
        while !slices.is_empty() && !self.is_gone() && !self.state.stopping() {
            match (&self.stream).write_vectored(slices) {
                Ok(n) => IoSlice::advance_slices(&mut slices, n),
                Err(error) if timed_out(&error) => {}
                Err(_) => self.leave(),
            }
        }
    }

    /// Writes an answer, behind what is collected.
    pub(super) fn send(&self, put: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        put(&mut bytes);
        self.write_after(&mut self.lock(), &mut [IoSlice::new(&bytes)]);
    }
}
