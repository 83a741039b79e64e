//! Frames on their way to other nodes, and from them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use std::future::poll_fn;
use std::task::Poll;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::calls::{DEAD_AFTER, LOOK_EVERY};
use super::greet::Greeted;
use super::stream::{StreamError, write};
use super::{Frames, Transport};
use crate::replication::wire::{Frame, PAYLOAD_BYTES_MAX};
use crate::replication::{Incarnation, NodeId};

/// Bytes that wait to be sent to one node, at most. A node that takes no more is not waited for: its connection ends, and
/// what it misses is sent again when it is back.
const OUTBOX_BYTES_MAX: usize = 256 << 20;

/// Bytes that the buffer of a connection keeps when it is empty.
const KEPT_BYTES: usize = 1 << 20;

/// What waits to be sent to one node, as bytes.
#[derive(Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    more: Notify,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    open: bool,
    full: bool,
}

impl Outbox {
    /// A connection is there.
    pub(super) fn open(&self) {
        *self.inner.lock() = Inner { open: true, ..Inner::default() };
    }

    /// It is not any more; what waits is dropped.
    pub(super) fn close(&self) {
        *self.inner.lock() = Inner::default();
    }

    fn push(&self, frame: &Frame) {
        let mut inner = self.inner.lock();
        if !inner.open || inner.full {
            return;
        }
        // A frame that is too large is a defect of whoever made it; the node gets nothing more until it begins again.
        let written = frame.encode(0, &mut inner.bytes);
        inner.full = written.is_err() || inner.bytes.len() > OUTBOX_BYTES_MAX;
        drop(inner);
        self.more.notify_one();
    }

    /// What waits, in exchange for an empty buffer.
    fn take(&self, mut empty: Vec<u8>) -> Result<Vec<u8>, StreamError> {
        let mut inner = self.inner.lock();
        if inner.full {
            return Err(StreamError::Silent);
        }
        empty.clear();
        empty.shrink_to(KEPT_BYTES);
        Ok(std::mem::replace(&mut inner.bytes, empty))
    }
}

/// Puts what is to be sent where it waits for its connection.
pub(super) async fn distribute(transport: Weak<Transport>, frames: Arc<dyn Frames>) {
    loop {
        let taken = poll_fn(|context| {
            let taken = frames.take(context.waker());
            if taken.is_empty() { Poll::Pending } else { Poll::Ready(taken) }
        });
        let taken = taken.await;
        let Some(transport) = transport.upgrade() else { return };
        let peers = transport.peers.lock();
        for (to, frame) in taken {
            if let Some(outbox) = peers.get(&to).and_then(super::Peer::outbox) {
                outbox.push(&frame);
            }
        }
    }
}

/// Sends what waits until the connection ends, or the other side no longer says that it is there.
pub(super) async fn send(connection: Greeted, outbox: &Outbox) -> StreamError {
    let Greeted { mut reader, mut writer, .. } = connection;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let (mut asked, mut heard) = (0_u64, 0);
    let mut buffer = Vec::new();
    let durable = 0;
    loop {
        tokio::select! {
            () = outbox.more.notified() => {
                buffer = match outbox.take(buffer) {
                    Ok(bytes) => bytes,
                    Err(error) => return error,
                };
                match timeout(DEAD_AFTER, writer.write_all(&buffer)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return StreamError::Silent,
                }
            }
            answer = reader.next(PAYLOAD_BYTES_MAX) => match answer {
                Ok((Frame::Heard { number }, _)) => heard = number,
                Ok(_) => {}
                Err(error) => return error,
            },
            _ = look.tick() => {
                if LOOK_EVERY * u32::try_from(asked - heard).unwrap_or(u32::MAX) > DEAD_AFTER {
                    return StreamError::Silent;
                }
                asked += 1;
                let incarnation = Incarnation::default();
                let alive = Frame::Heartbeat { number: asked, incarnation, durable };
                match timeout(DEAD_AFTER, write(&mut writer, &alive, 0)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error,
                    Err(_) => return StreamError::Silent,
                }
            }
        }
    }
}

/// Takes what comes over a connection until it ends.
pub(super) async fn receive(
    connection: Greeted,
    from: NodeId,
    frames: Arc<dyn Frames>,
) -> StreamError {
    let Greeted { mut reader, mut writer, .. } = connection;
    loop {
        match reader.next(PAYLOAD_BYTES_MAX).await {
            Ok((Frame::Heartbeat { number, .. }, _)) => {
                let heard = Frame::Heard { number };
                if let Err(error) = write(&mut writer, &heard, 0).await {
                    return error;
                }
            }
            Ok((frame, _)) => frames.frame(from, frame),
            Err(error) => return error,
        }
    }
}
