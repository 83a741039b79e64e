//! What the API refuses, as RabbitMQ's status codes and bodies `{"error": ..., "reason": ...}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leveret_engine::BrokerError;
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: &'static str,
    /// A text as a rule; RabbitMQ also answers with a list of words.
    reason: Value,
    /// Whether a browser should ask for a password.
    challenge: bool,
}

impl ApiError {
    fn new(status: StatusCode, error: &'static str, reason: impl Into<Value>) -> Self {
        Self { status, error, reason: reason.into(), challenge: false }
    }

    /// 400: the request makes no sense.
    pub(crate) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    /// 400: the body is no JSON object.
    pub(crate) fn not_json() -> Self {
        Self::bad_request("not_json")
    }

    /// 400 with a word of its own.
    pub(crate) fn bad(error: &'static str, reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, reason)
    }

    /// 400: a value is not what it should be, in RabbitMQ's form of two words.
    // rabbitmq: an Erlang tuple, such as `{not_int, priority}`
    pub(crate) fn bad_value(word: &'static str, what: &str) -> Self {
        Self::bad_request(json!([word, what]))
    }

    /// 401: the login failed, or there was none. The odd spelling is RabbitMQ's.
    pub(crate) fn login_failed(reason: impl Into<Value>) -> Self {
        Self { challenge: true, ..Self::new(StatusCode::UNAUTHORIZED, "not_authorized", reason) }
    }

    /// 401: logged in, and not allowed to do this.
    pub(crate) fn not_allowed(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authorised", reason)
    }

    /// 400 in the words of RabbitMQ's checks of policies, parameters and limits.
    pub(crate) fn validation(reason: &str) -> Self {
        Self::bad_request(format!("Validation failed\n\n{reason}\n"))
    }

    /// 404: what may not be seen is as good as not there.
    pub(crate) fn hidden() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not Found")
    }

    /// 404 in words.
    pub(crate) fn missing(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// 404: there is no such object.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
    }

    /// The same, and what was done before it.
    pub(crate) fn after(mut self, done: &str) -> Self {
        self.reason = Value::String(format!("{} ({done})", self.reason()));
        self
    }

    /// The reason as a text.
    pub(crate) fn reason(&self) -> String {
        self.reason.as_str().map_or_else(|| self.reason.to_string(), str::to_owned)
    }

    /// The same; a 404 names what is missing, as the newer handlers of RabbitMQ do.
    pub(crate) fn or_missing(self, reason: &'static str) -> Self {
        if self.status == StatusCode::NOT_FOUND {
            return Self::new(StatusCode::NOT_FOUND, "not_found", reason);
        }
        self
    }

    /// 405: the path is there, the method is not.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed")
    }
}

impl From<BrokerError> for ApiError {
    // rabbitmq: rabbit_mgmt_util direct_request
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::NotFound(_)
            | BrokerError::NoSuchRecord { .. }
            | BrokerError::VhostNotFound(_) => Self::not_found(),
            BrokerError::AccessRefused { .. }
            | BrokerError::TopicAccessRefused { .. }
            | BrokerError::ReservedName(_)
            | BrokerError::SystemExchange(_)
            | BrokerError::DefaultExchange => Self::not_allowed("Access refused."),
            BrokerError::VhostProtected(vhost) => {
                let reason = format!(
                    "Refusing to delete virtual host '{vhost}' because it is protected from deletion"
                );
                Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", reason)
            }
            BrokerError::Validation(reason) => Self::validation(&reason),
            other => Self::bad_request(other.explain()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // rabbitmq: cowboy answers a wrong method with the methods that are there, and no more
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            return self.status.into_response();
        }
        let body = json!({ "error": self.error, "reason": self.reason });
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.challenge {
            let challenge = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
