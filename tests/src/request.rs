//! One HTTP request and its JSON answer over a socket of its own, with HTTP's two ways to end a body. Just enough
//! to ask the management API.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::clock::PATIENCE;

/// What is asked, by whom, of whom.
pub(crate) struct Request<'a> {
    pub(crate) to: SocketAddr,
    /// `name:password`; empty for nobody.
    pub(crate) user: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) path: &'a str,
    pub(crate) body: &'a str,
    /// How long the answer may take.
    pub(crate) limit: Duration,
}

impl Request<'_> {
    /// Asks; answers with the status and what came with it, `Null` where there is no body.
    ///
    /// # Errors
    /// When there is no answer in time or it is not HTTP.
    pub(crate) fn send(&self) -> Result<(u16, Value), String> {
        let Self { verb, path, .. } = self;
        let bytes = self.raw().map_err(|error| format!("{verb} {path}: {error}"))?;
        parse(&bytes)
            .ok_or_else(|| format!("{verb} {path} answered {:?}", String::from_utf8_lossy(&bytes)))
    }

    fn raw(&self) -> std::io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect_timeout(&self.to, PATIENCE)?;
        socket.set_read_timeout(Some(self.limit))?;
        let login = match self.user {
            "" => String::new(),
            user => format!("Authorization: Basic {}\r\n", STANDARD.encode(user)),
        };
        let form = self.path == "/api/login";
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        write!(
            socket,
            "{} {} HTTP/1.1\r\nHost: localhost\r\n{login}Content-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            self.verb,
            self.path,
            self.body.len(),
            self.body
        )?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn parse(bytes: &[u8]) -> Option<(u16, Value)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_lowercase();
    let rest = bytes.get(end + 4..)?;
    let chunked = head.contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())),
    };
    Some((status, body))
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_bodies_are_read() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        let expected = (200, serde_json::json!({"a": 1}));
        assert_eq!(parse(plain), Some(expected.clone()));
        assert_eq!(parse(chunked), Some(expected));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, Value::Null));
    }
}
