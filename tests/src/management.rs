//! Just enough HTTP to ask the management API for JSON.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::clock::PATIENCE;

/// The management API of a broker, asked as guest.
#[derive(Clone, Copy, Debug)]
pub struct Management(pub SocketAddr);

impl Management {
    /// Asks, and answers with the status and the JSON, `Null` where there is no body.
    ///
    /// # Panics
    /// When there is no answer, or it is not HTTP.
    #[must_use]
    #[track_caller]
    pub fn request(&self, verb: &str, path: &str, body: &str) -> (u16, Value) {
        match self.exchange(verb, path, body) {
            Ok(text) => parse(&text).unwrap_or_else(|| panic!("{verb} {path} answered {text:?}")),
            Err(error) => panic!("{verb} {path} on {}: {error}", self.0),
        }
    }

    /// The JSON at a path.
    ///
    /// # Panics
    /// When the status is not 200.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, json) = self.request("GET", path, "");
        assert_eq!(status, 200, "GET {path}: {json}");
        json
    }

    /// Asks with a limit of its own, and answers with the status.
    ///
    /// # Errors
    /// When there is no answer within `limit`, or it is not HTTP.
    pub(crate) fn status(
        &self,
        verb: &str,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> std::io::Result<u16> {
        let text = self.exchange_within(verb, path, body, limit)?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| std::io::Error::other(format!("{verb} {path} answered {text:?}")))
    }

    fn exchange(&self, verb: &str, path: &str, body: &str) -> std::io::Result<String> {
        self.exchange_within(verb, path, body, PATIENCE)
    }

    fn exchange_within(
        &self,
        verb: &str,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> std::io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&self.0, PATIENCE)?;
        socket.set_read_timeout(Some(limit))?;
        let login = STANDARD.encode("guest:guest");
        write!(
            socket,
            "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Status and body of an answer.
fn parse(text: &str) -> Option<(u16, Value)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    // Chunk sizes stand on lines of their own around the JSON.
    let json = body.find(['{', '[']).and_then(|start| body.get(start..));
    let end = json.and_then(|json| json.rfind(['}', ']']).and_then(|end| json.get(..=end)));
    Some((status, end.map_or(Some(Value::Null), |json| serde_json::from_str(json).ok())?))
}
