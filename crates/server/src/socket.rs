//! The options of a stream socket that carries AMQP, the broker's and the load generator's.

use socket2::SockRef;
use std::io;
use std::os::fd::AsFd;

/// Sets what a socket needs: no waiting for more to send, and on loopback a congestion control
/// that does not estimate the bandwidth. BBR, where it is the system's default, mistakes a peer
/// that waits for a busy core for a slow network, and paces loopback down to a few MB/s.
///
/// # Errors
///
/// Those of the system when the peer is gone already.
pub(crate) fn prepare(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let peer = socket.peer_addr()?.as_socket();
    if peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        // Every Linux has it and allows it to everybody; elsewhere the default has to do.
        let _ = socket.set_tcp_congestion(b"reno");
    }
    Ok(())
}
