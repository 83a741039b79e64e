//! What people write where a listener's address is wanted, and what it stands for.

use super::ListenError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// An IPv6 wildcard whose port another entry wants for IPv4.
    pub ipv6_only: bool,
}

/// Reads a list of addresses. A host name stands for all of its addresses.
///
/// # Errors
/// Names the first text that is not an address.
pub fn resolve(texts: &[String]) -> Result<Vec<Listen>, ListenError> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in texts {
        for address in resolve_one(text)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    let taken = |port| port != 0 && addresses.iter().any(|a| a.is_ipv4() && a.port() == port);
    Ok(addresses
        .iter()
        .map(|&address| Listen { address, ipv6_only: address.is_ipv6() && taken(address.port()) })
        .collect())
}

/// Every interface: of both families where the machine has IPv6.
fn everywhere() -> IpAddr {
    let both = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if UdpSocket::bind((both, 0)).is_ok() { both } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

fn resolve_one(text: &str) -> Result<Vec<SocketAddr>, ListenError> {
    let bad = |hint: String| ListenError::BadAddress { text: text.to_owned(), hint };
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    // `:5672` and `*:5672` are common ways to say every interface.
    if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')) {
        let port = port.parse().map_err(|_| bad(String::new()))?;
        return Ok(vec![SocketAddr::new(everywhere(), port)]);
    }
    if !text.contains(':') {
        return Err(bad(String::new()));
    }
    let found = text.to_socket_addrs().map_err(|error| bad(format!(" ({error})")))?;
    Ok(found.collect())
}
