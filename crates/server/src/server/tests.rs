//! Whole brokers on free ports of loopback, spoken to over sockets.

use super::*;
use crate::config::Config;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(10);

/// A directory that is gone with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("leveret-server-{}-{name}", std::process::id())))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn config(dir: &Dir) -> Config {
    let any = || vec!["127.0.0.1:0".to_owned()];
    let mut config = Config { data_dir: dir.0.clone(), ..Config::default() };
    config.node_name = "rabbit@test".to_owned();
    config.amqp.listen = any();
    config.management.listen = any();
    config.prometheus.listen = any();
    config
}

/// Sends a request and returns everything that comes back.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}

fn get(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nConnection: close\r\n\r\n"
    )
}

/// Connects and reads until the broker has said its first frame.
async fn greet(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
    let mut head = [0; 7];
    let read = stream.read_exact(&mut head);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert_eq!(head[0], 1, "connection.start is a method frame");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_answers_on_all_its_ports_and_ends() {
    let dir = Dir::new("ports");
    let server = Server::start(config(&dir)).await.unwrap();
    let facts = server.facts();
    let address = |protocol| facts.address(protocol).unwrap();
    let client = greet(address(Protocol::Amqp)).await;
    let overview = ask(address(Protocol::Http), &get("/api/overview")).await;
    assert!(overview.starts_with("HTTP/1.1 200 OK\r\n"), "{overview}");
    assert!(overview.contains("\"node\":\"rabbit@test\""), "{overview}");
    let metrics = ask(address(Protocol::Prometheus), &get("/metrics")).await;
    assert!(metrics.contains("\nrabbitmq_connections 1\n"), "{metrics}");
    drop(client);
    assert_eq!(server.shutdown().await, 0);
    assert!(TcpStream::connect(address(Protocol::Amqp)).await.is_err());
    assert!(TcpStream::connect(address(Protocol::Http)).await.is_err());
    // The directory is free again.
    Server::start(config(&dir)).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_same_directory_is_refused() {
    let dir = Dir::new("lock");
    let server = Server::start(config(&dir)).await.unwrap();
    let refused = Server::start(config(&dir)).await.err().unwrap().to_string();
    assert!(refused.contains("in use by another leveret"), "{refused}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_key() {
    let dir = Dir::new("wrong");
    let mut bad = config(&dir);
    bad.management.listen = vec!["nonsense".to_owned()];
    let error = Server::start(bad).await.err().unwrap().to_string();
    assert!(error.starts_with("management.listen: `nonsense` is not an address"), "{error}");
    let mut bad = config(&dir);
    bad.amqp.tls_listen = vec!["127.0.0.1:0".to_owned()];
    let error = Server::start(bad).await.err().unwrap().to_string();
    assert_eq!(error, "tls.certfile is not set");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_listener_takes_clients() {
    let dir = Dir::new("ipv6");
    if tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
        // A machine without IPv6 cannot show this.
        return;
    }
    let mut both = config(&dir);
    both.amqp.listen = vec!["[::]:0".to_owned()];
    let server = Server::start(both).await.unwrap();
    let port = server.facts().address(Protocol::Amqp).unwrap().port();
    for address in [
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    ] {
        greet(address).await;
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_is_on_at_the_start_is_shown() {
    let dir = Dir::new("alarm");
    let mut config = config(&dir);
    config.resources.disk_free_limit.0 = u64::MAX;
    let server = Server::start(config).await.unwrap();
    let http = server.facts().address(Protocol::Http).unwrap();
    let answer = ask(http, &get("/api/health/checks/alarms")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\"resource\":\"disk\""), "{answer}");
    server.shutdown().await;
}
