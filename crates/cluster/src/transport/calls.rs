//! Questions and answers: the calling end, and the called one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::greet::{self, Class, GREET_MAX, GreetError, Greeted};
use super::stream::{StreamError, write};
use super::{Calls, Identity};
use crate::replication::wire::{ClusterId, Frame, PAYLOAD_BYTES_MAX};
use crate::replication::{Incarnation, NodeId};

/// Questions that wait to be written to one node, at most.
pub(super) const ASKS_MAX: usize = 256;

/// Questions of one node that are answered at a time, at most; more are not read meanwhile.
const ANSWERING_MAX: usize = 64;

/// How long nothing comes over a connection on which something should before it is given up: a cut is not noticed
/// otherwise for minutes.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(4);

/// How often that is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why there is no answer. The question may have been heard all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It is not known where the node is.
    #[error("there is no way to node {0}")]
    NoWay(NodeId),
    /// There is no connection, or it has ended.
    #[error("node {0} is not connected")]
    NotConnected(NodeId),
    /// The answer takes too long.
    #[error("node {0} does not answer")]
    Silent(NodeId),
}

/// A question, and where its answer is waited for.
pub(super) struct Ask {
    frame: Frame,
    tell: oneshot::Sender<Frame>,
}

/// Asks over a peer's connection.
pub(super) async fn ask(
    asks: &mpsc::Sender<Ask>,
    node: NodeId,
    frame: Frame,
    within: Duration,
) -> Result<Frame, CallError> {
    let answered = timeout(within, async {
        let (tell, told) = oneshot::channel();
        asks.send(Ask { frame, tell }).await.map_err(|_| CallError::NoWay(node))?;
        told.await.map_err(|_| CallError::NotConnected(node))
    });
    answered.await.unwrap_or(Err(CallError::Silent(node)))
}

/// Carries questions there and answers back until the connection ends, or nothing comes back over it.
pub(super) async fn carry(connection: Greeted, asks: &mut mpsc::Receiver<Ask>) -> StreamError {
    let Greeted { mut reader, mut writer, .. } = connection;
    let mut waiting: HashMap<u32, oneshot::Sender<Frame>> = HashMap::new();
    let mut last = 0_u32;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut quiet = 0;
    loop {
        tokio::select! {
            ask = asks.recv() => {
                let Some(Ask { frame, tell }) = ask else { return StreamError::Closed };
                last = last.wrapping_add(1);
                waiting.insert(last, tell);
                let written = timeout(DEAD_AFTER, write(&mut writer, &frame, last)).await;
                if let Err(error) = written.unwrap_or(Err(StreamError::Silent)) {
                    return error;
                }
            }
            answer = reader.next(PAYLOAD_BYTES_MAX) => match answer {
                Ok((frame, number)) => {
                    quiet = 0;
                    if let Some(tell) = waiting.remove(&number) {
                        // Whoever asked may have given up.
                        let _ = tell.send(frame);
                    }
                }
                Err(error) => return error,
            },
            _ = look.tick() => {
                quiet = if waiting.is_empty() { 0 } else { quiet + 1 };
                if LOOK_EVERY * quiet > DEAD_AFTER {
                    return StreamError::Silent;
                }
                // Those who have given up leave nothing behind, but what is asked of a node that is there is answered.
                if quiet == 0 {
                    waiting.retain(|_, tell| !tell.is_closed());
                }
            }
        }
    }
}

/// Drops questions while there is no connection, so that whoever asks is told at once.
pub(super) async fn without<T>(asks: &mut mpsc::Receiver<Ask>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(ask) = asks.recv() => drop(ask),
        }
    }
}

/// Answers what comes over a connection until it ends.
pub(super) async fn answer(
    connection: Greeted,
    from: NodeId,
    calls: Arc<dyn Calls>,
) -> StreamError {
    let Greeted { mut reader, writer, .. } = connection;
    let writer = Arc::new(Mutex::new(writer));
    let places = Arc::new(Semaphore::new(ANSWERING_MAX));
    loop {
        let (frame, number) = match reader.next(PAYLOAD_BYTES_MAX).await {
            Ok(read) => read,
            Err(error) => return error,
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return StreamError::Closed;
        };
        let answer = calls.call(from, frame);
        let writer = Arc::clone(&writer);
        tokio::spawn(async move {
            let _place = place;
            let Some(answer) = answer.await else { return };
            let mut writer = writer.lock().await;
            // The reader notices that the connection has ended.
            let _ = write(&mut *writer, &answer, number).await;
        });
    }
}

/// Asks a node once, as one that belongs to no cluster.
pub(super) async fn ask_stranger(
    identity: &Identity,
    address: &str,
    frame: Frame,
) -> Result<(Frame, ClusterId), GreetError> {
    let hello = identity.hello(Incarnation::default());
    let greeted = greet::call(identity, hello, Class::Calls, address).await?;
    let Greeted { mut reader, mut writer, theirs } = greeted;
    let exchanged = timeout(GREET_MAX * 4, async {
        write(&mut writer, &frame, 1).await?;
        reader.next(PAYLOAD_BYTES_MAX).await
    });
    let exchanged = exchanged.await.unwrap_or(Err(StreamError::Silent));
    let unreached = |error: StreamError| GreetError::Unreached {
        address: address.to_owned(),
        reason: error.to_string(),
    };
    Ok((exchanged.map_err(unreached)?.0, theirs.cluster))
}
