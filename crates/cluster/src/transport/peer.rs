//! One other node: a task for each of the two connections to it, which calls again whenever one ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::calls::{self, ASKS_MAX, Ask};
use super::frames::{self, Outbox};
use super::greet::{self, Class, GreetError};
use super::{Frames, Transport};
use crate::replication::NodeId;

/// How long a node is left alone after it was not reached, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long it takes until frames are tried again. A node that starts takes none yet.
const FRAMES_AGAIN: Duration = Duration::from_millis(300);

/// A node that is called.
pub(super) struct Peer {
    address: Arc<str>,
    asks: mpsc::Sender<Ask>,
    connected: Arc<AtomicBool>,
    outbox: Option<Arc<Outbox>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Peer {
    pub(super) fn start(transport: &Arc<Transport>, node: NodeId, address: &str) -> Self {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (address, connected): (Arc<str>, _) = (address.into(), Arc::default());
        let caller = Caller { transport: Arc::downgrade(transport), node, address };
        let address = Arc::clone(&caller.address);
        let task = transport.runtime.spawn(caller.call(asked, Arc::clone(&connected)));
        Self { address, asks, connected, outbox: None, tasks: vec![task] }
    }

    /// Sends frames as well.
    pub(super) fn exchange(&mut self, transport: &Arc<Transport>, node: NodeId) {
        let Some(frames) = transport.frames.get().cloned() else { return };
        let outbox: Arc<Outbox> = Arc::default();
        let address = Arc::clone(&self.address);
        let caller = Caller { transport: Arc::downgrade(transport), node, address };
        self.tasks.push(transport.runtime.spawn(caller.send(Arc::clone(&outbox), frames)));
        self.outbox = Some(outbox);
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn asks(&self) -> mpsc::Sender<Ask> {
        self.asks.clone()
    }

    pub(super) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.outbox.clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Calls a node again and again.
struct Caller {
    transport: Weak<Transport>,
    node: NodeId,
    address: Arc<str>,
}

/// How long to wait before the next try, and what was said of the last one: each reason is told once.
struct Tries {
    pause: Duration,
    told: Option<String>,
}

impl Tries {
    fn new() -> Self {
        Self { pause: PAUSE_MIN, told: None }
    }

    fn failed(&mut self, node: NodeId, reason: &impl std::fmt::Display) -> Duration {
        let reason = reason.to_string();
        if self.told.as_ref() != Some(&reason) {
            warn!(%node, "{reason}");
            self.told = Some(reason);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

impl Caller {
    async fn connect(&self, class: Class) -> Option<Result<greet::Greeted, GreetError>> {
        let transport = self.transport.upgrade()?;
        let (identity, hello) = (transport.identity.clone(), transport.hello());
        drop(transport);
        let greeted = greet::call(&identity, hello, class, &self.address).await;
        Some(greeted.and_then(|greeted| {
            let found = greeted.theirs.node;
            if found == self.node {
                return Ok(greeted);
            }
            let reason = format!("node {found} is there, and not node {}", self.node);
            Err(GreetError::Unreached { address: self.address.to_string(), reason })
        }))
    }

    async fn call(self, mut asks: mpsc::Receiver<Ask>, connected: Arc<AtomicBool>) {
        let mut tries = Tries::new();
        loop {
            let greeted = calls::without(&mut asks, self.connect(Class::Calls)).await;
            let pause = match greeted {
                None => return,
                Some(Ok(greeted)) => {
                    info!(node = %self.node, name = %greeted.theirs.name, "connected to a node of the cluster");
                    tries = Tries::new();
                    connected.store(true, Ordering::Relaxed);
                    let ended = calls::carry(greeted, &mut asks).await;
                    connected.store(false, Ordering::Relaxed);
                    tries.failed(self.node, &format_args!("connection lost: {ended}"))
                }
                Some(Err(error)) => tries.failed(self.node, &error),
            };
            calls::without(&mut asks, tokio::time::sleep(pause)).await;
        }
    }

    async fn send(self, outbox: Arc<Outbox>, to: Arc<dyn Frames>) {
        loop {
            match self.connect(Class::Frames).await {
                None => return,
                Some(Ok(greeted)) => {
                    let incarnation = greeted.theirs.incarnation;
                    outbox.open();
                    let up = Up { node: self.node, outbox: &outbox, frames: &*to };
                    to.up(self.node, incarnation);
                    let ended = frames::send(greeted, &outbox).await;
                    drop(up);
                    debug!(node = %self.node, %ended, "frames no longer reach a node");
                }
                // The other connection tells why.
                Some(Err(_)) => {}
            }
            tokio::time::sleep(FRAMES_AGAIN).await;
        }
    }
}

/// That frames reach a node. It is down when this is gone, also when the task is aborted.
struct Up<'a> {
    node: NodeId,
    outbox: &'a Outbox,
    frames: &'a dyn Frames,
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.outbox.close();
        self.frames.down(self.node);
    }
}
