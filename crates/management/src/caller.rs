//! Who calls: HTTP basic authentication against the broker's users, and what their tags allow.

use crate::error::ApiError;
use crate::{Client, State};
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_engine::topology::Topology;
use leveret_engine::view::Registry;
use leveret_engine::{AuthError, auth::PeerAddress, auth::User};
use std::sync::Arc;

const ADMINISTRATOR: &str = "administrator";
const MONITORING: &str = "monitoring";
const POLICYMAKER: &str = "policymaker";
const MANAGEMENT: &str = "management";

/// Somebody who logged in and carries one of the tags that let users into the API.
pub(crate) struct Caller {
    user: Arc<User>,
}

impl FromRequestParts<Arc<State>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        if let Some(Client::Trusted) = parts.extensions.get() {
            return Ok(Self::trusted());
        }
        let (name, password) = credentials(&parts.headers)?;
        Self::log_in(state, &parts.extensions, &name, &password)
    }
}

impl Caller {
    /// Somebody who says this name and password; the server put into the extensions from where.
    pub(crate) fn log_in(
        state: &State,
        extensions: &Extensions,
        name: &str,
        password: &str,
    ) -> Result<Self, ApiError> {
        let loopback = extensions.get::<Client>().is_some_and(Client::is_loopback);
        let login = read(&*state.registry, |topology| {
            topology.authenticate(name, password.as_bytes(), PeerAddress { loopback })
        });
        let user = login.map_err(|error| match error {
            AuthError::LoopbackOnly => ApiError::not_allowed("User can only log in via localhost"),
            AuthError::InvalidCredentials => ApiError::login_failed("Not_Authorized"),
        })?;
        let caller = Self { user };
        if caller.has_any(&[ADMINISTRATOR, MONITORING, POLICYMAKER, MANAGEMENT]) {
            return Ok(caller);
        }
        Err(ApiError::not_allowed("Not management user"))
    }
}

/// The name and password that a request says.
pub(crate) fn credentials(headers: &HeaderMap) -> Result<(String, String), ApiError> {
    let failed = || ApiError::login_failed("Not_Authorized");
    let header = headers.get(AUTHORIZATION).ok_or_else(failed)?;
    let (scheme, encoded) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(failed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(failed());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| failed())?;
    let text = String::from_utf8(decoded).map_err(|_| failed())?;
    let (name, password) = text.split_once(':').ok_or_else(failed)?;
    Ok((name.to_owned(), password.to_owned()))
}

impl Caller {
    /// The account that the broker runs in.
    pub(crate) fn trusted() -> Self {
        Self { user: Arc::new(User::operator()) }
    }

    /// The user.
    pub(crate) fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The name, as the broker notes who did what.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.user.name
    }

    fn has_any(&self, tags: &[&str]) -> bool {
        tags.iter().any(|tag| self.user.has_tag(tag))
    }

    fn need(&self, tags: &[&str], reason: &str) -> Result<(), ApiError> {
        if self.has_any(tags) { Ok(()) } else { Err(ApiError::not_allowed(reason)) }
    }

    /// Whether the caller sees the objects of other people.
    pub(crate) fn is_monitor(&self) -> bool {
        self.has_any(&[ADMINISTRATOR, MONITORING])
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.user.has_tag(ADMINISTRATOR)
    }

    /// Refuses all but administrators.
    pub(crate) fn administrator(&self) -> Result<(), ApiError> {
        self.need(&[ADMINISTRATOR], "Not administrator user")
    }

    /// Refuses all but those who monitor.
    pub(crate) fn monitor(&self) -> Result<(), ApiError> {
        self.need(&[ADMINISTRATOR, MONITORING], "Not monitor user")
    }

    /// Refuses those who may not see policies and parameters at all.
    pub(crate) fn policymaker(&self) -> Result<(), ApiError> {
        self.need(&[ADMINISTRATOR, POLICYMAKER], NO_OBJECT)
    }

    /// Refuses those who may not change policies and parameters of this vhost.
    pub(crate) fn policymaker_of(&self, topology: &Topology, vhost: &str) -> Result<(), ApiError> {
        self.policymaker()?;
        let enters = self.is_administrator() || self.may_enter(topology, vhost);
        if enters { Ok(()) } else { Err(no_entry()) }
    }

    /// Whether the caller has permissions in the vhost.
    pub(crate) fn may_enter(&self, topology: &Topology, vhost: &str) -> bool {
        topology.check_vhost(&self.user, vhost).is_ok()
    }

    /// Whether the vhost's objects are in the caller's lists.
    pub(crate) fn sees(&self, topology: &Topology, vhost: &str) -> bool {
        self.is_monitor() || self.may_enter(topology, vhost)
    }

    /// Refuses a vhost that does not exist or that the caller may not enter: lists of everything show those who monitor
    /// more.
    pub(crate) fn look_into(&self, topology: &Topology, vhost: &str) -> Result<(), ApiError> {
        exists(topology, vhost)?;
        if self.may_enter(topology, vhost) { Ok(()) } else { Err(no_entry()) }
    }

    /// The same for making things: a vhost that is missing is named.
    pub(crate) fn make_in(&self, topology: &Topology, vhost: &str) -> Result<(), ApiError> {
        exists(topology, vhost).map_err(|error| error.or_missing("vhost_not_found"))?;
        self.look_into(topology, vhost)
    }
}

/// RabbitMQ's words for whoever lacks a tag for policies and parameters.
const NO_OBJECT: &str = "User not authorised to access object";

fn exists(topology: &Topology, vhost: &str) -> Result<(), ApiError> {
    topology.vhost(vhost).map(|_| ()).ok_or_else(ApiError::not_found)
}

fn no_entry() -> ApiError {
    // rabbitmq: a vhost that one may not enter is hidden
    ApiError::hidden()
}

/// Runs `f` with the topology and returns what it returns.
pub(crate) fn read<R>(registry: &dyn Registry, f: impl FnOnce(&Topology) -> R) -> R {
    let mut work = Some(f);
    let mut result = None;
    registry.with_topology(&mut |topology| {
        if let Some(work) = work.take() {
            result = Some(work(topology));
        }
    });
    #[expect(clippy::expect_used, reason = "with_topology runs its argument before it returns")]
    result.expect("the registry shows its topology")
}
