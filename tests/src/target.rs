//! A broker that is there already, as the programs that play recorded answers are told of it.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// A broker to play against.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it speaks AMQP.
    pub amqp: SocketAddr,
    /// Where its management API is.
    pub management: SocketAddr,
}

impl Target {
    /// A broker at these two `HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn parse(amqp: &str, management: &str) -> Result<Self, String> {
        Ok(Self { amqp: address(amqp)?, management: address(management)? })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` is not HOST:PORT"))
}
