//! One request and its answer over a socket of its own, with HTTP's two ways to end a body.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::table::Answer;
use crate::clock::PATIENCE;

/// What is asked, by whom, of whom.
pub(super) struct Request<'a> {
    pub(super) to: SocketAddr,
    /// `name:password`; empty for nobody.
    pub(super) user: &'a str,
    pub(super) verb: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a str,
}

impl Request<'_> {
    /// Asks.
    ///
    /// # Errors
    /// When there is no answer in time or it is not HTTP.
    pub(super) fn send(&self) -> Result<Answer, String> {
        let Self { verb, path, .. } = self;
        let bytes = self.raw().map_err(|error| format!("{verb} {path}: {error}"))?;
        parse(&bytes)
            .ok_or_else(|| format!("{verb} {path} answered {:?}", String::from_utf8_lossy(&bytes)))
    }

    fn raw(&self) -> std::io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect_timeout(&self.to, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
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

fn parse(bytes: &[u8]) -> Option<Answer> {
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
    Some(Answer { status, body })
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
        let expected = Answer { status: 200, body: serde_json::json!({"a": 1}) };
        assert_eq!(parse(plain), Some(expected.clone()));
        assert_eq!(parse(chunked), Some(expected));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().body, Value::Null);
    }
}
