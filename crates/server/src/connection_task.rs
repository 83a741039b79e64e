//! Drives one [`Session`] over one socket. Hot path.
//!
//! Only this task reads and writes its socket. One poll reads what is there, hands it to the session, lets the session take its
//! share of every ready queue, and writes what came out, until the socket or the session has no more; then it waits for whichever
//! comes first: bytes, room, a waker from the node, a deadline.
//!
//! An idle connection holds no buffer: reads go through one buffer per thread, and only an incomplete frame is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use leveret_engine::Timestamp;
use leveret_engine::view::TlsView;
use leveret_node::{Endpoints, Node, Session};
use leveret_protocol::ConnectionEnd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tracing::{debug, error, info, warn};

use crate::clock::Clock;
use crate::tls::TlsFacts;

/// Bytes read at once, at most. As much as a busy loopback socket has ready; a larger read would only leave the
/// processor's second-level cache.
const READ_SIZE: usize = 256 * 1024;

/// The least room for a read behind an incomplete frame; with less, the thread's buffer grows (frames larger than [`READ_SIZE`]).
const READ_ROOM: usize = 16 * 1024;

/// Rounds of read, work and write in one poll, before other tasks of the thread have their turn.
const ROUNDS: usize = 4;

/// How long a client that was told to go may take to read that, in milliseconds. RabbitMQ's silent close is as long.
const LINGER_MS: u64 = 3000;

/// Slices handed to one vectored write.
const SLICES: usize = 64;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A socket the broker can serve.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// The two ends of an accepted stream.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's end.
    pub remote: SocketAddr,
    /// The broker's end.
    pub local: SocketAddr,
    /// What TLS has settled; `None` on a plain stream.
    pub tls: Option<TlsFacts>,
}

/// What all connections of the process share.
pub struct Context {
    /// The broker.
    pub node: Arc<Node>,
    /// The clock of the process.
    pub clock: Arc<Clock>,
}

/// Serves one client until its connection is over.
pub async fn serve<S: Transport>(stream: S, peer: Peer, context: Arc<Context>) {
    let clock = Arc::clone(&context.clock);
    let (who, endpoints) = peer.describe();
    let session = context.node.connect(who, endpoints, clock.now());
    let mut task = Task {
        stream,
        session,
        clock,
        kept: Vec::new(),
        unread: false,
        timer: None,
        armed: None,
        lingers_until: None,
        announced: false,
    };
    let end = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.poll(&peer, cx))) {
        Ok(poll) => poll,
        // Our own defect. It costs this connection and nobody else's.
        Err(_) => Poll::Ready(End::Panicked),
    })
    .await;
    let now = task.clock.now();
    if catch_unwind(AssertUnwindSafe(|| task.session.disconnect(now))).is_err() {
        error!(client = %peer.remote, "a connection that failed could not give back all it held");
    }
    log_end(&peer, &task.session, &end);
}

/// Why the socket was let go.
enum End {
    /// Everything that was to be said has been written.
    Closed,
    /// The client went away.
    Gone,
    /// Reading or writing failed.
    Io(io::Error),
    /// The connection's work panicked.
    Panicked,
}

struct Task<S> {
    stream: S,
    session: Session,
    clock: Arc<Clock>,
    /// Bytes that the session has not used yet: an incomplete frame, or frames it would not take now.
    kept: Vec<u8>,
    /// Whether `kept` may hold whole frames.
    unread: bool,
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Timestamp>,
    /// Once the session is closed: until when its last words may still be written.
    lingers_until: Option<Timestamp>,
    /// Whether the log knows that the connection is open.
    announced: bool,
}

impl<S: Transport> Task<S> {
    fn poll(&mut self, peer: &Peer, cx: &mut task::Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS {
            let now = self.clock.now();
            let was_read = self.session.wants_read(now);
            let mut progress = match self.receive(cx, now) {
                Ok(progress) => progress,
                Err(end) => return Poll::Ready(end),
            };
            self.session.run(now, cx.waker());
            match self.write(cx) {
                Ok(wrote) => progress |= wrote,
                Err(error) => return Poll::Ready(End::Io(error)),
            }
            if !self.announced && self.session.is_open() {
                self.announced = true;
                log_open(peer, &self.session);
            }
            if self.session.is_closed() && (self.session.output().is_empty() || self.lingered(now))
            {
                // A peer that is gone already does not matter here.
                let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                return Poll::Ready(End::Closed);
            }
            // The rest of the node may have lifted what kept the client from being read, without a word to say to it.
            progress |= !was_read && self.session.wants_read(now);
            if !progress && !self.session.has_work() && !self.due(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether a closed connection has had its time to take what was written.
    fn lingered(&mut self, now: Timestamp) -> bool {
        now >= *self.lingers_until.get_or_insert_with(|| now.plus(LINGER_MS))
    }

    /// Reads once and hands over. Whether there was anything.
    fn receive(&mut self, cx: &mut task::Context<'_>, now: Timestamp) -> Result<bool, End> {
        if !self.session.wants_read(now) {
            return Ok(false);
        }
        if self.unread {
            let used = self.session.receive(&self.kept, now);
            self.kept.drain(..used);
            self.unread = !self.kept.is_empty() && (used > 0 || !self.session.wants_read(now));
            if used > 0 || self.unread {
                return Ok(used > 0);
            }
        }
        READ_BUFFER.with_borrow_mut(|buffer| self.read_into(buffer, cx, now))
    }

    fn read_into(
        &mut self,
        buffer: &mut Vec<u8>,
        cx: &mut task::Context<'_>,
        now: Timestamp,
    ) -> Result<bool, End> {
        let kept = self.kept.len();
        if buffer.len() < READ_SIZE.max(kept + READ_ROOM) {
            buffer.resize(READ_SIZE.max(2 * kept + READ_ROOM), 0);
        }
        let (head, room) = buffer.split_at_mut(kept);
        head.copy_from_slice(&self.kept);
        let mut read = ReadBuf::new(room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(End::Io(error)),
            Poll::Ready(Ok(())) => {}
        }
        let n = read.filled().len();
        if n == 0 {
            return Err(End::Gone);
        }
        let input = buffer.get(..kept + n).unwrap_or_default();
        let used = self.session.receive(input, now);
        self.kept.clear();
        self.kept.extend_from_slice(input.get(used..).unwrap_or_default());
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
        // The session may have stopped in the middle although it wants to be read again by now.
        self.unread = !self.kept.is_empty();
        Ok(true)
    }

    /// Writes what the socket takes. Whether it took anything.
    fn write(&mut self, cx: &mut task::Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        loop {
            let out = self.session.output();
            if out.is_empty() {
                return Ok(wrote);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = out.chunks(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => out.advance(n),
                Poll::Ready(Err(error)) => return Err(error),
            }
            wrote = true;
        }
    }

    /// Arms the timer for the session's deadline; whether it has passed already.
    fn due(&mut self, cx: &mut task::Context<'_>) -> bool {
        let deadlines = self.session.next_deadline().into_iter().chain(self.lingers_until);
        let Some(deadline) = deadlines.min() else { return false };
        let at = self.clock.instant(deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if self.armed != Some(deadline) {
            timer.as_mut().reset(at);
            self.armed = Some(deadline);
        }
        let passed = timer.as_mut().poll(cx).is_ready();
        if passed {
            self.armed = None;
        }
        passed
    }
}

impl Peer {
    /// The same, as the protocol and as management see it.
    fn describe(&self) -> (leveret_protocol::Peer, Endpoints) {
        let login = self.tls.as_ref().and_then(|tls| tls.login.as_deref());
        let who = leveret_protocol::Peer {
            address: Arc::from(self.remote.to_string()),
            loopback: self.remote.ip().is_loopback(),
            certificate_name: login.map(Arc::from),
            known: None,
        };
        let tls = self.tls.as_ref().map(|tls| Arc::new(tls.view()));
        (who, Endpoints { local: Arc::from(self.local.to_string()), tls })
    }
}

impl TlsFacts {
    fn view(&self) -> TlsView {
        let certificate = self.certificate.as_ref();
        TlsView {
            protocol: Arc::from(self.protocol.unwrap_or_default()),
            cipher: Arc::from(self.cipher.as_deref().unwrap_or_default()),
            peer_cert_subject: certificate.map(|own| Arc::from(own.subject.as_str())),
            peer_cert_issuer: certificate.map(|own| Arc::from(own.issuer.as_str())),
            peer_cert_validity: certificate.map(|own| Arc::from(own.validity.as_str())),
        }
    }
}

/// One line that says who has come.
fn log_open(peer: &Peer, session: &Session) {
    let client = session.info();
    info!(
        client = %peer.remote,
        user = &*client.user,
        vhost = &*client.vhost,
        name = client.user_provided_name.as_deref().unwrap_or_default(),
        "connection open"
    );
}

/// One line that says how a connection ended. Health checks of load balancers leave none.
fn log_end(peer: &Peer, session: &Session, end: &End) {
    let client = peer.remote;
    match (end, session.end()) {
        (End::Panicked, _) => error!(%client, "connection closed by a defect of the broker"),
        (_, ConnectionEnd::HealthCheck) => debug!(%client, "closed without a byte"),
        (_, ConnectionEnd::WrongProtocol) => {
            warn!(%client, "closed: the client does not speak AMQP 0-9-1");
        }
        (_, ConnectionEnd::HandshakeTimeout) => {
            warn!(%client, "closed: the AMQP handshake was not finished in time");
        }
        (_, ConnectionEnd::LoginRefused { user, reason }) => {
            warn!(%client, user, reason, "login refused");
        }
        (_, ConnectionEnd::Handshake(reason)) => warn!(%client, reason, "handshake failed"),
        (_, ConnectionEnd::ByClient { code, text }) => {
            info!(%client, code, text, "connection closed by the client");
        }
        (_, ConnectionEnd::ByServer { code, text }) => {
            warn!(%client, code = code.0, text, "connection closed by the broker");
        }
        (_, ConnectionEnd::HeartbeatTimeout { seconds }) => {
            warn!(%client, "closed: missed heartbeats from client, timeout: {seconds}s");
        }
        (End::Io(cause), _) => warn!(%client, %cause, "connection lost"),
        (End::Closed | End::Gone, _) => {
            warn!(%client, "client closed the socket without connection.close")
        }
    }
}
