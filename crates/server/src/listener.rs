//! AMQP listeners: addresses, sockets, accept loops. Hands every accepted stream to the connection
//! task and never reads a byte of AMQP itself.

pub mod accept;
pub mod address;

#[cfg(test)]
mod tests;

use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The text is not an address.
    #[error(
        "`{text}` is not an address to listen on: write HOST:PORT, as in 0.0.0.0:5672, [::]:5672 or localhost:5672{hint}"
    )]
    BadAddress {
        /// What was written.
        text: String,
        /// What the system said of the host name, with a separator.
        hint: String,
    },
    /// The system refuses the address.
    #[error("cannot listen on {address}: {source}{}", advice(source))]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program, perhaps RabbitMQ or another leveret, has this port: stop it or \
             choose another port"
        }
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        _ => "",
    }
}

/// A socket that has its address and takes nobody yet.
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
}

/// Takes an address. An IPv6 wildcard takes IPv4 as well unless `ipv6_only`.
///
/// # Errors
/// When the system refuses.
pub fn bind(address: SocketAddr, ipv6_only: bool) -> Result<Bound, ListenError> {
    let refused = |source| ListenError::Refused { address, source };
    let socket = bound(address, ipv6_only).map_err(refused)?;
    // The port may have been left to the system.
    let given = socket.local_addr().ok().and_then(|address| address.as_socket());
    Ok(Bound { socket, address: given.unwrap_or(address) })
}

fn bound(address: SocketAddr, ipv6_only: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(ipv6_only)?;
    }
    // A restarted broker gets its port back although connections of the old one linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Bound {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes clients from now on; `backlog` of them wait in the kernel.
    ///
    /// # Errors
    /// When the system refuses: another program may have been quicker.
    pub fn listen(self, backlog: u32) -> Result<TcpListener, ListenError> {
        let Self { socket, address } = self;
        let listening = socket
            .listen(i32::try_from(backlog).unwrap_or(i32::MAX))
            .and_then(|()| TcpListener::from_std(socket.into()));
        listening.map_err(|source| ListenError::Refused { address, source })
    }
}
