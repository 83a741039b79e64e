//! Free ports for brokers, outside the range from which the system gives clients theirs, so that the
//! thousands of clients of a test running beside cannot take them by chance.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port that is tried.
const FIRST: u32 = 20_000;
/// How many follow. Linux gives clients ports from 32768 on.
const COUNT: u32 = 12_000;

/// A loopback address that nothing listens on. Another program may come first; who takes it must be ready
/// to ask for another.
///
/// # Panics
/// When every port of the range is taken.
#[must_use]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that start together have neighbouring numbers: spread them.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT)
}
