//! Frames on a socket.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::replication::wire::{Frame, WireError};

/// Bytes that are read at a time, at most.
const READ_BYTES: usize = 64 << 10;

/// Bytes that the buffer keeps when it is empty.
const KEPT_BYTES: usize = 1 << 20;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it has sent {0}")]
    Wire(#[from] WireError),
    #[error("it has closed the connection")]
    Closed,
    #[error("it does not answer")]
    Silent,
}

/// The reading end.
pub(super) struct FrameReader<R> {
    socket: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read as frames.
    done: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(socket: R) -> Self {
        Self { socket, buffer: Vec::new(), done: 0 }
    }

    /// The next frame and its stream; a payload beyond `limit` is an error. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, limit: usize) -> Result<(Frame, u32), StreamError> {
        loop {
            if let Some((frame, stream, n)) = Frame::decode(&self.buffer[self.done..], limit)? {
                self.done += n;
                return Ok((frame, stream));
            }
            self.buffer.drain(..self.done);
            self.done = 0;
            if self.buffer.is_empty() {
                self.buffer.shrink_to(KEPT_BYTES);
            }
            self.buffer.reserve(READ_BYTES);
            let n = (&mut self.socket).take(READ_BYTES as u64).read_buf(&mut self.buffer).await?;
            if n == 0 {
                return Err(StreamError::Closed);
            }
        }
    }
}

/// Writes one frame.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    socket: &mut W,
    frame: &Frame,
    stream: u32,
) -> Result<(), StreamError> {
    let mut bytes = Vec::new();
    frame.encode(stream, &mut bytes)?;
    socket.write_all(&bytes).await?;
    Ok(())
}
