//! Nodes on this machine that call each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::replication::wire::{CLOCK_SKEW_MAX_MS, Refused};

/// How long anything may take on a slow day.
const PATIENCE: Duration = Duration::from_secs(30);

const CLUSTER: ClusterId = ClusterId(7);
const NOW: u64 = 1_000_000;

fn draw() -> [u8; 32] {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let mut drawn = [0; 32];
    drawn[..8].copy_from_slice(&DRAWN.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    drawn
}

fn identity(node: u64) -> Identity {
    Identity {
        cluster: CLUSTER,
        node: NodeId(node),
        name: format!("rabbit@{node}").into(),
        secret: b"a secret of ours"[..].into(),
        clock: Arc::new(|| Timestamp(NOW)),
        draw,
    }
}

/// Answers a heartbeat with its number, plus 100 times who asks. Node 9 is forgotten.
struct Echo;

impl Calls for Echo {
    fn is_forgotten(&self, node: NodeId) -> bool {
        node == NodeId(9)
    }

    fn call(&self, from: NodeId, frame: Frame) -> BoxFuture<Option<Frame>> {
        Box::pin(async move {
            let Frame::Heartbeat { number, .. } = frame else { return None };
            Some(Frame::Heard { number: number + 100 * from.0 })
        })
    }
}

/// What a node is told, and what it has to send.
struct Mailbox {
    told: mpsc::Sender<Told>,
    to_send: Mutex<Vec<(NodeId, Frame)>>,
    waker: Mutex<Option<Waker>>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Frame(NodeId, Frame),
    Up(NodeId, Incarnation),
    Down(NodeId),
}

impl Frames for Mailbox {
    fn take(&self, waker: &Waker) -> Vec<(NodeId, Frame)> {
        *self.waker.lock() = Some(waker.clone());
        std::mem::take(&mut *self.to_send.lock())
    }

    fn frame(&self, from: NodeId, frame: Frame) {
        self.told.try_send(Told::Frame(from, frame)).unwrap();
    }

    fn up(&self, node: NodeId, incarnation: Incarnation) {
        // The test may be over.
        let _ = self.told.try_send(Told::Up(node, incarnation));
    }

    fn down(&self, node: NodeId) {
        let _ = self.told.try_send(Told::Down(node));
    }
}

impl Mailbox {
    fn send(&self, to: u64, number: u64) {
        self.to_send.lock().push((NodeId(to), beat(number)));
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}

/// More than any test is told.
const TOLD_MAX: usize = 1000;

struct Node {
    transport: Arc<Transport>,
    address: String,
    frames: Arc<Mailbox>,
    told: mpsc::Receiver<Told>,
}

/// Not a heartbeat of the connection: agreement's bytes.
fn beat(number: u64) -> Frame {
    Frame::Agreement(number.to_be_bytes()[..].into())
}

async fn start(identity: Identity) -> Node {
    start_at(identity, "127.0.0.1:0").await
}

async fn start_at(identity: Identity, address: &str) -> Node {
    let transport = Transport::new(identity);
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    transport.listen(listener);
    transport.answer_with(Arc::new(Echo));
    let (tell, told) = mpsc::channel(TOLD_MAX);
    let frames =
        Arc::new(Mailbox { told: tell, to_send: Mutex::default(), waker: Mutex::default() });
    let node = transport.identity().node.0;
    transport.exchange(Incarnation(10 * node), Arc::clone(&frames) as _);
    Node { transport, address, frames, told }
}

impl Node {
    async fn told(&mut self) -> Told {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("nothing is told").unwrap()
    }

    /// Asks until there is an answer.
    async fn asks(&self, to: u64, number: u64) -> Frame {
        let asked = async {
            loop {
                let (incarnation, durable) = (Incarnation(1), 0);
                let frame = Frame::Heartbeat { number, incarnation, durable };
                match self.transport.call(NodeId(to), frame, PATIENCE).await {
                    Ok(answer) => return answer,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("no answer")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_ask_and_are_answered() {
    let (a, b) = (start(identity(1)).await, start(identity(2)).await);
    a.transport.reach(NodeId(2), &b.address);
    assert_eq!(a.asks(2, 5).await, Frame::Heard { number: 105 });
    assert_eq!(a.asks(2, 6).await, Frame::Heard { number: 106 });
    let nowhere = a.transport.call(NodeId(3), Frame::Heard { number: 1 }, PATIENCE).await;
    assert_eq!(nowhere, Err(CallError::NoWay(NodeId(3))));
    assert_eq!(a.transport.connected(), [NodeId(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_come_in_order_after_a_node_is_up_and_it_is_down_when_the_other_ends() {
    let (mut a, mut b) = (start(identity(1)).await, start(identity(2)).await);
    a.transport.reach(NodeId(2), &b.address);
    assert_eq!(a.told().await, Told::Up(NodeId(2), Incarnation(20)));
    for number in 0..100 {
        a.frames.send(2, number);
    }
    for number in 0..100 {
        assert_eq!(b.told().await, Told::Frame(NodeId(1), beat(number)));
    }
    b.transport.end();
    drop(b.transport);
    assert_eq!(a.told().await, Told::Down(NodeId(2)));
    // It comes again in its place.
    let mut again = start_at(identity(2), &b.address).await;
    assert_eq!(a.told().await, Told::Up(NodeId(2), Incarnation(20)));
    a.frames.send(2, 7);
    assert_eq!(again.told().await, Told::Frame(NodeId(1), beat(7)));
}

/// What node 3, which is not as it should be, is told by node 1.
async fn refused(other: impl FnOnce(&mut Identity)) -> String {
    let a = start(identity(1)).await;
    let mut identity = identity(3);
    other(&mut identity);
    let hello = identity.hello(Incarnation(1));
    let called = greet::call(&identity, hello, greet::Class::Calls, &a.address).await;
    called.err().expect("it is not refused").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_to_it_is_told_why() {
    let text = refused(|other| other.cluster = ClusterId(8)).await;
    assert!(text.contains("belongs to cluster 00000000000000000000000000000008"), "{text}");
    let text = refused(|other| other.secret = b"another secret"[..].into()).await;
    assert!(text.contains("does not have this cluster's secret"), "{text}");
    let late = Timestamp(NOW + CLOCK_SKEW_MAX_MS + 1);
    let text = refused(|other| other.clock = Arc::new(move || late)).await;
    assert!(text.contains("clocks") && text.contains("set them by NTP"), "{text}");
    let text = refused(|other| other.node = NodeId(9)).await;
    assert!(text.contains("was forgotten"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_belongs_to_no_cluster_may_ask_one_and_learns_which_it_is() {
    let a = start(identity(1)).await;
    let stranger =
        Identity { cluster: ClusterId::default(), node: NodeId::default(), ..identity(0) };
    let frame = Frame::Heartbeat { number: 4, incarnation: Incarnation(0), durable: 0 };
    let answered = ask_stranger(&stranger, &a.address, frame.clone()).await.unwrap();
    assert_eq!(answered, (Frame::Heard { number: 4 }, CLUSTER));
    let alone = start(stranger.clone()).await;
    let refused = ask_stranger(&stranger, &alone.address, frame).await.unwrap_err();
    let no_cluster = |refused: &Refused| matches!(refused, Refused::NoCluster { .. });
    assert!(
        matches!(&refused, GreetError::Refused { refused, .. } if no_cluster(refused)),
        "{refused}"
    );
}
