//! `amqp://user:password@host:port/vhost`, as RabbitMQ's clients read it. No query parameters, no
//! TLS.

use std::fmt;
use std::str::FromStr;

use leveret_codec::SHORT_STRING_MAX;
use percent_encoding::percent_decode_str;

use super::error::PerfError;

/// Where the broker is and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Uri {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
}

impl Uri {
    /// The same broker and user in another vhost.
    pub(crate) fn in_vhost(&self, vhost: &str) -> Self {
        Self { vhost: vhost.to_owned(), ..self.clone() }
    }

    /// `host:port`, for messages to people and for resolving.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "amqp://{}:***@{}/{}", self.user, self.address(), self.vhost)
    }
}

// rabbitmq: uri-spec
impl FromStr for Uri {
    type Err = PerfError;

    fn from_str(text: &str) -> Result<Self, PerfError> {
        if text.starts_with("amqps://") {
            return Err(bad("TLS is not supported here: use amqp:// and a plain listener"));
        }
        let Some(rest) = text.strip_prefix("amqp://") else {
            return Err(bad("it must start with amqp://"));
        };
        if rest.contains(['?', '#']) {
            return Err(bad("query parameters are not supported"));
        }
        let (authority, vhost) = match rest.split_once('/') {
            Some((authority, vhost)) => (authority, decode(vhost)?),
            None => (rest, "/".to_owned()),
        };
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (login, address),
            None => ("guest:guest", authority),
        };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = split_address(address)?;
        if vhost.len() > SHORT_STRING_MAX {
            return Err(bad("the vhost is longer than 255 bytes"));
        }
        Ok(Self { host, port, user: decode(user)?, password: decode(password)?, vhost })
    }
}

fn split_address(address: &str) -> Result<(String, u16), PerfError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => {
            let Some((host, after)) = v6.split_once(']') else {
                return Err(bad("the ']' of the IPv6 address is missing"));
            };
            (host, after.strip_prefix(':'))
        }
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => 5672,
        Some(port) => port.parse().map_err(|_| bad("the port is not a number up to 65535"))?,
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok((decode(host)?, port))
}

fn decode(text: &str) -> Result<String, PerfError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(bad("a %-escape is not UTF-8")),
    }
}

fn bad(why: &str) -> PerfError {
    PerfError::Options(format!("--uri: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, port: u16, user: &str, password: &str, vhost: &str) {
        let uri: Uri = text.parse().unwrap();
        assert_eq!(
            (
                uri.host.as_str(),
                uri.port,
                uri.user.as_str(),
                uri.password.as_str(),
                uri.vhost.as_str()
            ),
            (host, port, user, password, vhost),
            "{text}"
        );
    }

    #[test]
    fn parts_and_defaults() {
        check("amqp://guest:guest@127.0.0.1:5672/%2f", "127.0.0.1", 5672, "guest", "guest", "/");
        check("amqp://localhost", "localhost", 5672, "guest", "guest", "/");
        check("amqp://u%40x:p%3Aw@h:1/a%2Fb", "h", 1, "u@x", "p:w", "a/b");
        check("amqp://u@[::1]:5999/", "::1", 5999, "u", "", "");
        check("amqp://[::1]", "::1", 5672, "guest", "guest", "/");
    }

    #[test]
    fn what_is_refused() {
        for text in
            ["http://x", "amqps://x", "amqp://h:x", "amqp://[::1", "amqp://h/?a=b", "amqp://%ff"]
        {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }

    #[test]
    fn address_of_ipv6_is_bracketed_and_the_password_is_never_shown() {
        let uri: Uri = "amqp://u:secret@[::1]:5999/v".parse().unwrap();
        assert_eq!(uri.address(), "[::1]:5999");
        assert!(!format!("{uri:?}").contains("secret"));
    }
}
