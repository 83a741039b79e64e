//! The null relay: an AMQP server without queues. What a publisher sends to a queue goes at once to
//! a consumer of that queue, on the publisher's thread, as complete frames; without a consumer it
//! is dropped. No broker that looks at every message can be faster on the same machine, so it is
//! the ceiling that figures are divided by.
//!
//! A client that publishes to itself on one connection must read while it writes. The relay knows
//! logins, vhosts, arguments and permissions only well enough to say yes.

mod connection;
mod publish;
mod routes;
mod sink;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use self::connection::Connection;
use self::routes::Routes;
use super::error::PerfError;

/// How often the end of `--duration` is looked for.
const TICK: Duration = Duration::from_millis(100);
/// What a thread's stack needs: nothing deep is called.
const STACK: usize = 256 * 1024;

/// A listening relay.
pub(super) struct Relay {
    listener: TcpListener,
    state: Arc<State>,
}

/// What the connections share.
struct State {
    routes: Routes,
    stopping: AtomicBool,
}

impl State {
    fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }
}

impl Relay {
    /// Starts to listen; port 0 takes any free port.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, PerfError> {
        let failed = |source| PerfError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let state = Arc::new(State { routes: Routes::default(), stopping: AtomicBool::new(false) });
        Ok(Self { listener, state })
    }

    pub(super) fn address(&self) -> Result<SocketAddr, PerfError> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `done` says so.
    pub(super) fn serve(self, done: impl Fn() -> bool) -> Result<(), PerfError> {
        let address = self.address()?;
        let Self { listener, state } = self;
        let accepting = Arc::clone(&state);
        let acceptor = thread::spawn(move || accept(&listener, &accepting));
        while !done() && !acceptor.is_finished() {
            thread::sleep(TICK);
        }
        state.stopping.store(true, Relaxed);
        // Wakes the acceptor. When that fails, it has ended by itself.
        let _ = TcpStream::connect_timeout(&address, TICK);
        acceptor.join().map_err(|_| PerfError::Thread)
    }
}

/// Serves at an address until the time is over, or for ever.
pub(super) fn serve(address: SocketAddr, duration: Option<Duration>) -> Result<(), PerfError> {
    let relay = Relay::bind(address)?;
    let address = relay.address()?;
    let _ = writeln!(
        std::io::stderr(),
        "null relay listens at {address}: measure it with `leveret perf --uri amqp://{address}`"
    );
    let end = duration.map(|duration| Instant::now() + duration);
    relay.serve(|| end.is_some_and(|end| Instant::now() >= end))
}

/// One thread per connection; a connection that fails ends alone.
fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stopping() {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: some may be free soon.
            thread::sleep(TICK);
            continue;
        };
        let state = Arc::clone(state);
        let started = thread::Builder::new().stack_size(STACK).spawn(move || {
            let peer = stream.peer_addr();
            if let Err(error) = Connection::serve(stream, &state)
                && let Ok(peer) = peer
            {
                let _ = writeln!(std::io::stderr(), "{peer}: {error}");
            }
        });
        if let Err(error) = started {
            let _ = writeln!(std::io::stderr(), "no thread for one more connection: {error}");
        }
    }
}
