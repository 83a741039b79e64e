//! The management API, asked as guest.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::clock::PATIENCE;
use crate::request::Request;

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
        let answered = self.exchange(verb, path, body, PATIENCE);
        answered.unwrap_or_else(|error| panic!("{error}, on {}", self.0))
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
        let (status, _) = self.exchange(verb, path, body, limit).map_err(std::io::Error::other)?;
        Ok(status)
    }

    fn exchange(
        &self,
        verb: &str,
        path: &str,
        body: &str,
        limit: Duration,
    ) -> Result<(u16, Value), String> {
        Request { to: self.0, user: "guest:guest", verb, path, body, limit }.send()
    }
}
