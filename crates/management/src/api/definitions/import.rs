//! A definitions document on its way in: a list of commands, of which each is left alone that finds its object in place.

use super::is_reserved;
use crate::api::App;
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use leveret_engine::auth::HashAlgorithm;
use leveret_engine::command::{
    BindingSpec, Command, Destination, PermissionSpec, TopicPermissionSpec,
};
use leveret_engine::topology::Vhost;
use leveret_engine::view::BoxFuture;
use leveret_engine::{BrokerError, Outcome};
use serde_json::{Map, Value};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Changes that an import has under way at once.
const TOGETHER: usize = 256;

/// A document on its way in.
pub(super) struct Import<'a> {
    app: &'a App,
    caller: &'a Caller,
    /// The vhost of entries that name none.
    vhost: Option<&'a str>,
    /// How the file's passwords are hashed where it does not say so.
    hashed_with: HashAlgorithm,
}

impl<'a> Import<'a> {
    pub(super) fn new(
        app: &'a App,
        caller: &'a Caller,
        vhost: Option<&'a str>,
        document: &Fields,
    ) -> Self {
        let version = document.get("rabbit_version").and_then(Value::as_str);
        Self { app, caller, vhost, hashed_with: default_algorithm(version) }
    }

    /// Understands the whole document first, so that a wrong entry anywhere leaves everything as it was; then proposes
    /// section by section.
    // rabbitmq: rabbit_definitions apply_defs, in its order
    pub(super) async fn run(&self, document: &Fields) -> Result<(), ApiError> {
        let sections: [(&str, Reader<'a>); 10] = [
            ("users", Self::user),
            ("vhosts", |_, entry| vhost(entry)),
            ("permissions", Self::permission),
            ("topic_permissions", Self::topic_permission),
            ("exchanges", Self::exchange),
            ("parameters", Self::parameter),
            ("policies", Self::policy),
            ("queues", Self::queue),
            ("bindings", Self::binding),
            ("global_parameters", |_, entry| global_parameter(entry)),
        ];
        let mut understood = Vec::new();
        for (section, read) in sections {
            let mut commands = Vec::new();
            for entry in entries(document, section)? {
                commands.extend(read(self, &entry)?);
            }
            understood.push((section, commands));
        }
        let mut done: Vec<&str> = Vec::new();
        for (section, commands) in understood {
            self.propose_all(commands).await.map_err(|error| {
                if done.is_empty() {
                    return error;
                }
                error.after(&format!("in {section}; taken in before: {}", done.join(", ")))
            })?;
            if document.get(section).is_some() {
                done.push(section);
            }
        }
        Ok(())
    }

    /// Proposes what a section asks for. Its entries do not build on one another, so they may share writes to disk.
    async fn propose_all(&self, commands: Vec<Command>) -> Result<(), ApiError> {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let together = commands.by_ref().take(TOGETHER);
            let waiting = together.map(|command| self.app.propose.propose(command)).collect();
            all(waiting).await?;
        }
        Ok(())
    }

    fn user(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let name = entry.needed_text("name")?;
        if entry.get("password").is_none() && entry.get("password_hash").is_none() {
            let reason = format!("user '{name}' has neither a password nor a password hash");
            return Err(ApiError::bad_request(reason));
        }
        let spec = crate::api::users::spec(self.app, name, entry, self.hashed_with)?;
        let mut commands = vec![Command::PutUser(spec)];
        if let Some(Value::Object(limits)) = entry.get("limits") {
            for (limit, value) in limits {
                let limit = crate::api::limits::user_limit(limit);
                if let (Some(limit), Some(value)) = (limit, value.as_i64()) {
                    let value = u64::try_from(value).ok();
                    commands.push(Command::SetUserLimit { user: name.into(), limit, value });
                }
            }
        }
        Ok(commands)
    }

    fn vhost_of(&self, entry: &Fields) -> Result<Arc<str>, ApiError> {
        match (entry.text("vhost")?, self.vhost) {
            (Some(name), _) | (None, Some(name)) => Ok(name.into()),
            (None, None) => Err(ApiError::bad_request("an entry does not name its vhost")),
        }
    }

    fn permission(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        Ok(vec![Command::SetPermission(PermissionSpec {
            user: entry.needed_text("user")?.into(),
            vhost: self.vhost_of(entry)?,
            configure: entry.needed_text("configure")?.into(),
            write: entry.needed_text("write")?.into(),
            read: entry.needed_text("read")?.into(),
        })])
    }

    fn topic_permission(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        Ok(vec![Command::SetTopicPermission(TopicPermissionSpec {
            user: entry.needed_text("user")?.into(),
            vhost: self.vhost_of(entry)?,
            exchange: entry.needed_text("exchange")?.into(),
            write: entry.needed_text("write")?.into(),
            read: entry.needed_text("read")?.into(),
        })])
    }

    fn parameter(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        entry.need(&["value"])?;
        Ok(vec![Command::PutParameter {
            vhost: self.vhost_of(entry)?,
            component: entry.needed_text("component")?.into(),
            name: entry.needed_text("name")?.into(),
            value: json::to_parameter(entry.get("value").unwrap_or(&Value::Null)),
        }])
    }

    fn policy(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let vhost = self.vhost_of(entry)?;
        let spec = crate::api::policies::spec(&vhost, entry.needed_text("name")?, entry)?;
        Ok(vec![Command::PutPolicy(spec)])
    }

    fn exchange(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let (vhost, name) = (self.vhost_of(entry)?, entry.needed_text("name")?);
        let there = |v: &Vhost| v.exchange(name).is_some();
        if is_reserved(name) || self.is_there(&vhost, there) {
            return Ok(Vec::new());
        }
        let declare = crate::api::exchanges::spec(&vhost, name, entry, true, self.caller.name())?;
        Ok(vec![Command::DeclareExchange(declare)])
    }

    fn queue(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let (vhost, name) = (self.vhost_of(entry)?, entry.needed_text("name")?);
        if name.starts_with("amq.") || self.is_there(&vhost, |v| v.queue(name).is_some()) {
            return Ok(Vec::new());
        }
        let declare = crate::api::queues::spec(&vhost, name, entry, true, self.caller.name())?;
        Ok(vec![Command::DeclareQueue(declare)])
    }

    fn is_there(&self, vhost: &str, test: impl FnOnce(&Vhost) -> bool) -> bool {
        self.app.read(|topology| topology.vhost(vhost).is_some_and(test))
    }

    fn binding(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let source = entry.needed_text("source")?;
        let name: Arc<str> = entry.needed_text("destination")?.into();
        let destination = match entry.needed_text("destination_type")? {
            "exchange" => Destination::Exchange(name),
            _ => Destination::Queue(name),
        };
        // The default exchange is bound to every queue by itself.
        if source.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Command::Bind(BindingSpec {
            vhost: self.vhost_of(entry)?,
            source: source.into(),
            destination,
            key: entry.text("routing_key")?.unwrap_or_default().as_bytes().into(),
            arguments: entry.arguments()?,
        })])
    }
}

/// Waits for all of them; the first failure counts.
async fn all(
    mut waiting: Vec<BoxFuture<'_, Result<Outcome, BrokerError>>>,
) -> Result<(), BrokerError> {
    let mut result = Ok(());
    poll_fn(|context| {
        waiting.retain_mut(|answer| match answer.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                result = std::mem::replace(&mut result, Ok(())).and_then(|()| answer.map(drop));
                false
            }
        });
        if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    result
}

/// Turns an entry of a section into commands.
type Reader<'a> = fn(&Import<'a>, &Fields) -> Result<Vec<Command>, ApiError>;

/// The entries of a section; an absent one has none.
fn entries(document: &Fields, section: &str) -> Result<Vec<Fields>, ApiError> {
    let wrong = || ApiError::bad_request(format!("{section} is not a list of objects"));
    match document.get(section) {
        None => Ok(Vec::new()),
        Some(Value::Array(entries)) => entries
            .iter()
            .map(|entry| entry.as_object().cloned().map(Fields).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn vhost(entry: &Fields) -> Result<Vec<Command>, ApiError> {
    let name = entry.needed_text("name")?;
    // Newer files have the description inside `metadata`, older ones beside the name.
    let mut all = match entry.get("metadata") {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => Map::new(),
    };
    all.extend(entry.0.clone().into_iter().filter(|(_, value)| !value.is_null()));
    let spec = crate::api::vhosts::changed(Default::default(), name, &Fields(all))?;
    Ok(vec![Command::PutVhost(spec)])
}

fn global_parameter(entry: &Fields) -> Result<Vec<Command>, ApiError> {
    let name = entry.needed_text("name")?;
    // rabbitmq: the identity of another cluster is not taken over
    if name == "internal_cluster_id" {
        return Ok(Vec::new());
    }
    let value = json::to_parameter(entry.get("value").unwrap_or(&Value::Null));
    Ok(vec![Command::PutGlobalParameter { name: name.into(), value }])
}

/// Whether the hashes of a file are of the time before RabbitMQ said how it hashes.
fn default_algorithm(rabbit_version: Option<&str>) -> HashAlgorithm {
    let Some(version) = rabbit_version else { return HashAlgorithm::default() };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let before = (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (3, 6);
    if before { HashAlgorithm::Md5 } else { HashAlgorithm::default() }
}
