//! `/queues/V/Q/actions`: RabbitMQ 3.x starts and stops the synchronisation of mirrors by it.

use super::{Answer, App, no_content};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use axum::extract::{Path, State};

pub(super) async fn act(
    State(app): State<App>,
    Path((vhost, name)): Path<(String, String)>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    super::queues::find(&app, &caller, &vhost, &name)?;
    match fields.needed_text("action")? {
        // Without a mirror there is nothing to do, which 3.x does not call an error either.
        "sync" | "cancel_sync" => no_content(),
        other => Err(ApiError::bad_value("unknown", other)),
    }
}
