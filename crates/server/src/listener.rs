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

/// Opens a listening socket. An IPv6 wildcard takes IPv4 as well unless `ipv6_only`.
///
/// # Errors
/// When the system refuses.
pub fn open(
    address: SocketAddr,
    backlog: u32,
    ipv6_only: bool,
) -> Result<TcpListener, ListenError> {
    bind(address, backlog, ipv6_only).map_err(|source| ListenError::Refused { address, source })
}

fn bind(address: SocketAddr, backlog: u32, ipv6_only: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(ipv6_only)?;
    }
    // A restarted broker gets its port back although connections of the old one linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}
