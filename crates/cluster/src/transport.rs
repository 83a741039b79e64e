//! How nodes reach each other: connections, greetings, and frames on their way. One of the two modules with IO.
//!
//! Each node calls each other one, twice: one connection for *calls* (agreement and heartbeats: a question and its answer),
//! one for *frames* (copies of queues and clients' work), so that no bulk delays a heartbeat. Whoever was called only
//! answers; what it has to say by itself goes over its own connections.
//!
//! ```text
//!   Transport::call ──► peer: one task ──► socket ──► listener ──► Calls::call
//!   Frames::take    ──► peer: one task ──► socket ──► listener ──► Frames::frame
//! ```

mod calls;
mod frames;
mod greet;
mod listen;
mod peer;
mod stream;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use leveret_engine::Timestamp;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use self::peer::Peer;
use crate::replication::wire::{ClusterId, Frame, Hello, Nonce, VERSION};
use crate::replication::{Incarnation, NodeId};

pub use calls::CallError;
pub use greet::GreetError;

/// A future of any kind.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a node is to the others.
#[derive(Clone)]
pub struct Identity {
    /// Its cluster; 0 before it has one.
    pub cluster: ClusterId,
    /// Its number; 0 before it has one.
    pub node: NodeId,
    /// Its name.
    pub name: Arc<str>,
    /// What all nodes of the cluster know and nobody else.
    pub secret: Arc<[u8]>,
    /// The time.
    pub clock: Clock,
    /// What is drawn for each connection; it must not be guessed.
    pub draw: fn() -> [u8; 32],
}

/// Gives the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Identity {
    /// A greeting of this node, in a start of its process; 0 before it has registered.
    fn hello(&self, incarnation: Incarnation) -> Hello {
        Hello {
            oldest: VERSION,
            newest: VERSION,
            cluster: self.cluster,
            node: self.node,
            incarnation,
            name: Arc::clone(&self.name),
            now: (self.clock)(),
            nonce: Nonce((self.draw)()),
        }
    }
}

/// Who answers other nodes.
pub trait Calls: Send + Sync {
    /// Whether a node was of the cluster once and is no more.
    fn is_forgotten(&self, node: NodeId) -> bool;

    /// Answers a call of a node; of node 0, which belongs to no cluster yet, with the right secret.
    fn call(&self, from: NodeId, frame: Frame) -> BoxFuture<Option<Frame>>;
}

/// Who sends frames to other nodes, and takes theirs.
pub trait Frames: Send + Sync {
    /// What is to be sent, in order per node; the waker is woken when there is more.
    fn take(&self, waker: &Waker) -> Vec<(NodeId, Frame)>;

    /// A frame of a node, in the order in which it was sent.
    fn frame(&self, from: NodeId, frame: Frame);

    /// Frames reach a node from now on.
    fn up(&self, node: NodeId, incarnation: Incarnation);

    /// What was sent to a node since it was up may be lost.
    fn down(&self, node: NodeId);
}

/// The connections of a node.
pub struct Transport {
    identity: Identity,
    runtime: Handle,
    /// This start of the process, once it has registered.
    incarnation: OnceLock<Incarnation>,
    calls: OnceLock<Arc<dyn Calls>>,
    frames: OnceLock<Arc<dyn Frames>>,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    incoming: Mutex<listen::Incoming>,
}

impl Transport {
    /// Connections on the runtime in which this is called; nobody is called or answered yet.
    #[must_use]
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self {
            identity,
            runtime: Handle::current(),
            incarnation: OnceLock::new(),
            calls: OnceLock::new(),
            frames: OnceLock::new(),
            peers: Mutex::default(),
            tasks: Mutex::default(),
            incoming: Mutex::default(),
        })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Answers who connects there, from now on.
    pub fn listen(self: &Arc<Self>, listener: TcpListener) {
        let task = self.runtime.spawn(listen::run(Arc::downgrade(self), listener));
        self.tasks.lock().push(task);
    }

    /// Names who answers calls. Until then they are not answered.
    pub fn answer_with(&self, calls: Arc<dyn Calls>) {
        // The first stays.
        let _ = self.calls.set(calls);
    }

    /// The process has registered: frames are exchanged from now on.
    pub fn exchange(self: &Arc<Self>, incarnation: Incarnation, frames: Arc<dyn Frames>) {
        let _ = self.incarnation.set(incarnation);
        if self.frames.set(Arc::clone(&frames)).is_err() {
            return;
        }
        for (node, peer) in &mut *self.peers.lock() {
            peer.exchange(self, *node);
        }
        let task = self.runtime.spawn(frames::distribute(Arc::downgrade(self), frames));
        self.tasks.lock().push(task);
    }

    /// Says where a node is reached; it is called from now on.
    pub fn reach(self: &Arc<Self>, node: NodeId, address: &str) {
        if node == self.identity.node || address.is_empty() {
            return;
        }
        let mut peers = self.peers.lock();
        if peers.get(&node).is_some_and(|peer| peer.address() == address) {
            return;
        }
        let mut peer = Peer::start(self, node, address);
        if self.frames.get().is_some() {
            peer.exchange(self, node);
        }
        peers.insert(node, peer);
    }

    /// A node is no longer called.
    pub fn forget(&self, node: NodeId) {
        self.peers.lock().remove(&node);
    }

    /// Asks a node, and waits for its answer, but not longer than `within`.
    ///
    /// # Errors
    /// [`CallError`]; the question may have been heard all the same.
    pub async fn call(
        &self,
        node: NodeId,
        frame: Frame,
        within: Duration,
    ) -> Result<Frame, CallError> {
        let asks = self.peers.lock().get(&node).map(Peer::asks);
        let asks = asks.ok_or(CallError::NoWay(node))?;
        calls::ask(&asks, node, frame, within).await
    }

    /// Nodes to which there is a connection for calls.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeId> {
        let peers = self.peers.lock();
        peers.iter().filter(|(_, peer)| peer.is_connected()).map(|(node, _)| *node).collect()
    }

    /// Ends all connections.
    pub fn end(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.incoming.lock().drain(..).for_each(|(_, task)| task.abort());
        self.peers.lock().clear();
    }

    fn hello(&self) -> Hello {
        self.identity.hello(self.incarnation.get().copied().unwrap_or_default())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks a node once, as one that belongs to no cluster: the answer, and the cluster.
///
/// # Errors
/// When it is not reached, refuses, or does not answer.
pub async fn ask_stranger(
    identity: &Identity,
    address: &str,
    frame: Frame,
) -> Result<(Frame, ClusterId), GreetError> {
    calls::ask_stranger(identity, address, frame).await
}

#[cfg(test)]
mod tests;
