//! Answering other nodes that connect.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::greet::{self, Class, GREET_MAX, Greeted};
use super::{Transport, calls, frames};
use crate::replication::NodeId;

/// Connections that have not greeted yet, at most. Nodes greet at once.
const STRANGERS_MAX: usize = 64;

/// How long the loop rests when the system has no descriptor left.
const EXHAUSTED_REST: Duration = Duration::from_millis(200);

/// The connection of each class that a node has made last. One that it has made before ends first, so that nothing is read
/// in another order than it was sent in.
pub(super) type Incoming = Vec<((NodeId, Class), JoinHandle<()>)>;

/// Accepts until it is aborted or the transport is gone.
pub(super) async fn run(transport: Weak<Transport>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let Some(transport) = transport.upgrade() else { return };
                tokio::spawn(async move {
                    let greeted = timeout(GREET_MAX, greet(&transport, socket)).await;
                    drop(place);
                    if let Ok(Some((greeted, class))) = greeted {
                        serve(&transport, greeted, class);
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept connections of other nodes");
                tokio::time::sleep(EXHAUSTED_REST).await;
            }
        }
    }
}

async fn greet(transport: &Transport, socket: TcpStream) -> Option<(Greeted, Class)> {
    let is_forgotten = |node| transport.calls.get().is_some_and(|calls| calls.is_forgotten(node));
    let greeted = greet::answer(&transport.identity, transport.hello(), socket, is_forgotten).await;
    greeted.inspect_err(|error| debug!(%error, "a greeting failed")).ok().flatten()
}

fn serve(transport: &Transport, greeted: Greeted, class: Class) {
    let from = greeted.theirs.node;
    let (calls, frames) = (transport.calls.get().cloned(), transport.frames.get().cloned());
    let mut incoming = transport.incoming.lock();
    incoming.retain(|(_, task)| !task.is_finished());
    let key = (from, class);
    // Strangers come one by one, and have nothing in common.
    let before = incoming.iter().position(|(other, _)| *other == key && from != NodeId::default());
    let before = before.map(|at| incoming.swap_remove(at).1);
    let task = tokio::spawn(async move {
        if let Some(before) = before {
            before.abort();
            // It has ended, in one way or the other.
            let _ = before.await;
        }
        let ended = match (class, calls, frames) {
            (Class::Calls, Some(calls), _) => calls::answer(greeted, from, calls).await,
            (Class::Frames, _, Some(frames)) if from != NodeId::default() => {
                frames::receive(greeted, from, frames).await
            }
            // Not yet: it calls again.
            _ => return,
        };
        debug!(node = %from, %ended, "a connection of a node has ended");
    });
    incoming.push((key, task));
}
