//! The socket in the data directory: the management API for the account that the broker runs in, which needs no
//! password there, and what concerns this machine only.
//!
//! Whoever can open the socket can also read and change the files beside it, so there is nothing to protect from it.

use crate::backup::{BackupError, Sources};
use crate::http;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use leveret_management::Client;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// Its file in the data directory.
pub(crate) const SOCKET: &str = "leveret.sock";

/// The path of a backup.
pub(crate) const BACKUP: &str = "/control/backup";

/// How long the loop rests when the system has no descriptor left.
const EXHAUSTED_REST: Duration = Duration::from_millis(200);

/// A backup to be made.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct BackupRequest {
    /// The new directory, absolute.
    pub(crate) to: PathBuf,
}

/// The backup that was made.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct BackupDone {
    /// Bytes of messages in it.
    pub(crate) bytes: u64,
}

/// Opens the socket. A broker without one goes on: only local commands miss it.
pub(crate) fn listen(data_dir: &Path) -> Option<UnixListener> {
    let path = data_dir.join(SOCKET);
    // The directory is held by this process, so nobody listens on what an earlier one left.
    let _gone = fs::remove_file(&path);
    let opened = UnixListener::bind(&path).and_then(|listener| {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    opened
        .inspect_err(|error| {
            let path = path.display();
            warn!(%path, %error, "no local socket: `leveret ctl` needs --url, and there are no backups");
        })
        .ok()
}

/// What is served there: the API, and what only this machine can ask for.
pub(crate) fn router(api: axum::Router, sources: Sources) -> axum::Router {
    let own = axum::Router::new().route(BACKUP, post(backup)).with_state(sources);
    api.merge(own)
}

/// Accepts until the task is dropped; what is in flight ends after `closing` says so.
pub(crate) async fn run(
    listener: UnixListener,
    router: axum::Router,
    closing: watch::Receiver<bool>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (router, closing) = (router.clone(), closing.clone());
                tokio::spawn(http::serve(stream, Client::Trusted, router, closing));
            }
            Err(error) => {
                debug!(%error, "accept");
                tokio::time::sleep(EXHAUSTED_REST).await;
            }
        }
    }
}

async fn backup(State(sources): State<Sources>, Json(wanted): Json<BackupRequest>) -> Response {
    let to = wanted.to.clone();
    let made = tokio::task::spawn_blocking(move || sources.backup(&wanted.to)).await;
    match made {
        Ok(Ok(bytes)) => {
            info!(to = %to.display(), bytes, "backup made");
            Json(BackupDone { bytes }).into_response()
        }
        Ok(Err(error)) => refused(&error),
        Err(panicked) => (StatusCode::INTERNAL_SERVER_ERROR, panicked.to_string()).into_response(),
    }
}

fn refused(error: &BackupError) -> Response {
    warn!(%error, "no backup made");
    let status = match error {
        BackupError::Exists(_) | BackupError::Relative(_) => StatusCode::BAD_REQUEST,
        BackupError::Store(_) | BackupError::Meta(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = serde_json::json!({"error": "no_backup", "reason": error.to_string()});
    (status, Json(body)).into_response()
}
