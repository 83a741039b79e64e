//! The accept loops: a TCP stream, or a TLS stream after its handshake, becomes a connection task.
//! Errors of one client never end a loop; running out of descriptors slows it down.

use crate::connection_task::{self, Context, Peer};
use crate::socket;
use crate::tls::{self, Acceptor};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

/// How long the loop rests when the system has no descriptor left: long enough for others to be
/// closed, short enough that nobody notices afterwards.
const EXHAUSTED_REST: Duration = Duration::from_millis(200);

/// How long a client may take for the TLS handshake. RabbitMQ's value.
// rabbitmq: ssl_handshake_timeout
const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// The places for client connections, shared by all AMQP listeners. When none is left, clients
/// wait in the backlog of the kernel.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    n: u32,
}

impl Places {
    /// So many places as `sockets` says, at most what a counter holds.
    #[must_use]
    pub fn new(sockets: u64) -> Self {
        let n = u32::try_from(sockets).unwrap_or(u32::MAX).min(PLACES_MAX);
        Self { free: Arc::new(Semaphore::new(n as usize)), n }
    }

    /// All places there are.
    #[must_use]
    pub fn n(&self) -> u32 {
        self.n
    }

    /// Waits until no connection is left. The accept loops must have ended: each holds a place for
    /// its next client.
    pub async fn emptied(&self) {
        let _all = self.free.acquire_many(self.n).await;
    }

    /// The next free place; `told` is when the log last said that there was none.
    pub(crate) async fn take(&self, told: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        if told.is_none_or(|at| at.elapsed() > FULL_TOLD_EVERY) {
            *told = Some(now());
            warn!(
                places = self.n,
                "no place for another client connection; new ones wait until one closes"
            );
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "only how often the log repeats itself")]
fn now() -> Instant {
    Instant::now()
}

/// More sockets than any machine serves; keeps the count in 32 bits.
const PLACES_MAX: u32 = 16_000_000;

/// How often the log says that there is no place left.
const FULL_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Accepts until the task is dropped. With `tls` every stream is a TLS stream.
pub async fn run(
    listener: TcpListener,
    tls: Option<Acceptor>,
    places: Places,
    context: Arc<Context>,
) {
    let mut exhausted = false;
    let mut told_full = None;
    loop {
        let Some(place) = places.take(&mut told_full).await else { return };
        match listener.accept().await {
            Ok((stream, remote)) => {
                exhausted = false;
                start(stream, remote, tls.clone(), place, Arc::clone(&context));
            }
            Err(error) if is_exhausted(&error) => {
                if !exhausted {
                    warn!(
                        %error,
                        "cannot accept clients: no file descriptor is left (see ulimit -n); trying again"
                    );
                }
                exhausted = true;
                tokio::time::sleep(EXHAUSTED_REST).await;
            }
            // The client was gone before it was accepted.
            Err(error) => debug!(%error, "accept"),
        }
    }
}

fn is_exhausted(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

fn start(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Acceptor>,
    place: OwnedSemaphorePermit,
    context: Arc<Context>,
) {
    let Ok(local) = stream.local_addr() else { return };
    if let Err(error) = socket::prepare(&stream) {
        debug!(%remote, %error, "cannot set the options of a socket");
    }
    let peer = Peer { remote: unmapped(remote), local: unmapped(local), tls: None };
    tokio::spawn(async move {
        let _place = place;
        match tls {
            None => connection_task::serve(stream, peer, context).await,
            Some(acceptor) => serve_tls(stream, peer, acceptor, context).await,
        }
    });
}

/// A client that came over IPv4 to a dual-stack socket has an IPv4 address.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn serve_tls(stream: TcpStream, mut peer: Peer, acceptor: Acceptor, context: Arc<Context>) {
    match tokio::time::timeout(TLS_HANDSHAKE_MAX, acceptor.rustls.accept(stream)).await {
        Ok(Ok(stream)) => {
            peer.tls = Some(tls::facts(stream.get_ref().1, acceptor.login_from));
            connection_task::serve(stream, peer, context).await;
        }
        Ok(Err(error)) => warn!(client = %peer.remote, %error, "TLS handshake failed"),
        Err(_) => warn!(
            client = %peer.remote,
            "TLS handshake not finished after {} s",
            TLS_HANDSHAKE_MAX.as_secs()
        ),
    }
}
