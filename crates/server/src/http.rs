//! Serves a router over HTTP/1, plain or TLS, with a bound on connections and on the time a client
//! may take to send its request line. Knows nothing of what the router answers.

use crate::listener::accept::Places;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use leveret_management::Client;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// Connections of one HTTP listener. Dashboards and scrapers use a handful; each costs a task.
pub const HTTP_CONNECTIONS_MAX: u64 = 1000;

/// How long a client may take to send the head of a request, and how long a connection may idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a client may take for the TLS handshake.
const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long the loop rests when the system has no descriptor left.
const EXHAUSTED_REST: Duration = Duration::from_millis(200);

/// Accepts until the task is dropped; what is in flight ends after `closing` says so.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    closing: watch::Receiver<bool>,
) {
    let places = Places::new(HTTP_CONNECTIONS_MAX);
    let mut told_full = None;
    loop {
        let Some(place) = places.take(&mut told_full).await else { return };
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "accept");
                tokio::time::sleep(EXHAUSTED_REST).await;
                continue;
            }
        };
        let (tls, router, closing) = (tls.clone(), router.clone(), closing.clone());
        tokio::spawn(async move {
            let _place = place;
            let client = Client::Network(remote);
            let Some(tls) = tls else { return serve(stream, client, router, closing).await };
            match tokio::time::timeout(TLS_HANDSHAKE_MAX, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve(stream, client, router, closing).await,
                Ok(Err(error)) => warn!(client = %remote, %error, "TLS handshake failed"),
                Err(_) => warn!(client = %remote, "TLS handshake took too long"),
            }
        });
    }
}

async fn told_to_close(closing: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which is the end as well.
    let _told = closing.wait_for(|closing| *closing).await;
}

/// Serves one client until it has no more requests, or `closing` says so.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    client: Client,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = told_to_close(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%client, %error, "HTTP connection");
    }
}
