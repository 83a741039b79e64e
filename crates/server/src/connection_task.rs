//! Drives one AMQP connection over its socket: reads, hands the bytes to the protocol, writes what
//! comes out.

use crate::tls::TlsFacts;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection runs over: a TCP stream, a TLS stream, or a pipe in a test.
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
#[derive(Debug)]
pub struct Context {}

/// Serves one client until its connection is over.
pub async fn serve<S: Transport>(stream: S, _peer: Peer, _context: Arc<Context>) {
    drop(stream);
}
