//! One log line for every request that can change something: who, from where, what, and whether it was done. Bodies are
//! not in it, since they have passwords.

use crate::Client;
use crate::caller::credentials;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

/// What these lines can be told by, as `log.level` filters.
const TARGET: &str = "audit";

pub(crate) async fn log(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    if matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let path = request.uri().path().to_owned();
    let client = request.extensions().get::<Client>().copied();
    // Whether it is true is what the status says.
    let user = match (client, credentials(request.headers())) {
        (Some(Client::Trusted), _) => "the broker's own account".to_owned(),
        (_, Ok((name, _))) => name,
        (_, Err(_)) => String::new(),
    };
    let client = client.map(|client| client.to_string()).unwrap_or_default();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    if response.status().is_success() {
        tracing::info!(target: TARGET, user, client, %method, path, status, "changed by HTTP");
    } else {
        tracing::warn!(target: TARGET, user, client, %method, path, status, "refused by HTTP");
    }
    response
}
