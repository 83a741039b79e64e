//! What the verbs that change something have in common: what they say, and the requests that they make.

use super::Options;
use anyhow::Context as _;
use hyper::Method;
use serde_json::Value;

/// One request.
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
}

pub(super) fn put(path: String, body: Value) -> Request {
    Request { method: Method::PUT, path, body: Some(body) }
}

pub(super) fn delete(path: String) -> Request {
    Request { method: Method::DELETE, path, body: None }
}

/// Says what is being done and makes the requests one after the other, up to the first that is refused.
pub(super) async fn carry_out(
    options: &Options,
    says: &str,
    requests: Vec<Request>,
) -> anyhow::Result<()> {
    options.say(says);
    for Request { method, path, body } in requests {
        options.target.call(method, &path, body.as_ref()).await?;
    }
    Ok(())
}

/// JSON that was given as an argument.
pub(super) fn json_of(what: &str, text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("the {what} is no JSON: {text}"))
}
