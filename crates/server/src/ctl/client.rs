//! Asks a running broker: over the socket in its data directory, or over HTTP with a user name and password.

use crate::control::SOCKET;
use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Bytes of the largest answer: a list of some million queues. It guards against an address that is something else.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

/// Which broker.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// Data directory of a broker on this machine.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./data",
        env = "LEVERET_DATA_DIR",
        global = true
    )]
    data_dir: PathBuf,
    /// Management address of a broker anywhere, instead: http://USER:PASSWORD@HOST:15672.
    #[arg(long, value_name = "URL", env = "LEVERET_URL", global = true)]
    url: Option<String>,
}

/// A question.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
    /// What the clients are told that this concerns.
    reason: Option<&'a str>,
}

impl Target {
    /// The broker at an address, which is read when it is asked.
    pub(crate) fn at(url: &str) -> Self {
        Self { data_dir: PathBuf::new(), url: Some(url.to_owned()) }
    }

    /// Asks, and returns the answer whatever its status is.
    async fn ask(&self, ask: Ask<'_>) -> anyhow::Result<(StatusCode, Value)> {
        if let Some(url) = &self.url {
            let remote = Remote::parse(url)?;
            let stream = TcpStream::connect(&*remote.address)
                .await
                .with_context(|| format!("no broker answers at {}", remote.address))?;
            return exchange(stream, &remote.address, remote.login.as_deref(), ask).await;
        }
        let socket = self.data_dir.join(SOCKET);
        let stream = UnixStream::connect(&socket).await.with_context(|| {
            format!(
                "no broker listens at {}; name its data directory with --data-dir, or its address with --url",
                socket.display()
            )
        })?;
        exchange(stream, "localhost", None, ask).await
    }

    /// Asks for what can be refused, and makes an error of a refusal.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        self.demand(Ask { method, path, body, reason: None }).await
    }

    async fn demand(&self, ask: Ask<'_>) -> anyhow::Result<Value> {
        let path = ask.path;
        let (status, body) = self.ask(ask).await?;
        if status.is_success() {
            return Ok(body);
        }
        let reason = body["reason"].as_str().or(body.as_str()).unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND => bail!("there is no such thing: {path}"),
            StatusCode::UNAUTHORIZED if reason == "Not_Authorized" => {
                bail!("the broker does not know this user and password; check --url")
            }
            _ if reason.is_empty() => bail!("the broker answered {status}"),
            _ => bail!("{reason}"),
        }
    }

    /// Deletes, and says why: the client of a connection is told.
    pub(crate) async fn close(&self, path: &str, reason: &str) -> anyhow::Result<()> {
        let ask = Ask { method: Method::DELETE, path, body: None, reason: Some(reason) };
        self.demand(ask).await.map(drop)
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }
}

/// The parts of `--url`.
struct Remote {
    address: String,
    login: Option<String>,
}

impl Remote {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("--url is http://USER:PASSWORD@HOST:PORT, not {url}");
        };
        let rest = rest.trim_end_matches('/');
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, rest),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { host.to_owned() } else { format!("{host}:15672") };
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            STANDARD.encode(format!("{}:{}", decode(user), decode(password)))
        });
        Ok(Self { address, login })
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    host: &str,
    login: Option<&str>,
    ask: Ask<'_>,
) -> anyhow::Result<(StatusCode, Value)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what went wrong the request says.
    tokio::spawn(connection);
    let mut request =
        Request::builder().method(ask.method).uri(ask.path).header(header::HOST, host);
    if let Some(login) = login {
        request = request.header(header::AUTHORIZATION, format!("Basic {login}"));
    }
    if let Some(reason) = ask.reason {
        request = request.header("x-reason", reason);
    }
    let content = match ask.body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    let response = sender.send_request(request.body(content)?).await.context("no answer")?;
    let status = response.status();
    let bytes = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await?;
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| text())
    };
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_user_a_port_and_a_default() {
        let full = Remote::parse("http://a%40b:c:d@broker:1/").unwrap();
        assert_eq!(full.address, "broker:1");
        assert_eq!(full.login.as_deref(), Some(&*STANDARD.encode("a@b:c:d")));
        let bare = Remote::parse("http://broker").unwrap();
        assert_eq!((&*bare.address, bare.login), ("broker:15672", None));
        assert!(Remote::parse("amqp://broker").is_err());
    }
}
