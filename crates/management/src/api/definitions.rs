//! `/definitions`: the whole topology as one document, and back. An export is a read; an import is
//! a list of commands, of which each is left alone that finds its object in place.

use super::{Answer, App, no_content, reply};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::json;
use axum::extract::{Path, State};
use leveret_engine::auth::HashAlgorithm;
use leveret_engine::command::{
    BindingSpec, Command, Destination, PermissionSpec, TopicPermissionSpec,
};
use leveret_engine::topology::{Binding, Topology, Vhost};
use leveret_engine::view::BoxFuture;
use leveret_engine::{BrokerError, Outcome};
use serde_json::{Map, Value, json};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Changes that an import has under way at once.
const TOGETHER: usize = 256;

pub(super) async fn export(State(app): State<App>, caller: Caller) -> Answer {
    caller.administrator()?;
    let version = app.node.product_version();
    let cluster = app.node.cluster_name();
    reply(app.read(|topology| whole(topology, version, &cluster)))
}

pub(super) async fn export_vhost(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
) -> Answer {
    caller.administrator()?;
    let version = app.node.product_version();
    let found = app.read(|topology| {
        topology.vhost(&name).map(|vhost| {
            let mut document = head(version, "single_virtual_host");
            objects(topology, &[vhost], &mut document);
            strip_vhost(&mut document);
            document
        })
    });
    reply(Value::Object(found.ok_or_else(ApiError::not_found)?))
}

fn head(version: &str, format: &str) -> Map<String, Value> {
    let Value::Object(head) = json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "RabbitMQ",
        "product_version": version,
        "rabbitmq_definition_format": format,
    }) else {
        return Map::new();
    };
    head
}

fn whole(topology: &Topology, version: &str, cluster: &str) -> Value {
    let mut document = head(version, "cluster");
    let mut put = |key: &str, value: Vec<Value>| {
        document.insert(key.to_owned(), Value::Array(value));
    };
    put("users", topology.users().map(super::users::show).collect());
    put("vhosts", topology.vhosts().map(show_vhost).collect());
    let permissions = topology.permissions().map(|p| super::permissions::show(&p.spec()));
    put("permissions", permissions.collect());
    let topics = topology.vhosts().flat_map(|vhost| vhost.topic_permissions());
    let topics = topics.map(|p| super::permissions::show_topic(&p.spec));
    put("topic_permissions", topics.collect());
    // rabbitmq: global parameters of the broker itself stay at home
    let mut globals = super::parameters::all_globals(topology);
    globals.retain(|global| !global["name"].as_str().is_some_and(|n| n.starts_with("internal")));
    put("global_parameters", globals);
    document.insert("original_cluster_name".to_owned(), json!(cluster));
    let vhosts: Vec<&Vhost> = topology.vhosts().collect();
    objects(topology, &vhosts, &mut document);
    Value::Object(document)
}

fn show_vhost(vhost: &Vhost) -> Value {
    let info = vhost.info();
    let tags: Vec<&str> = info.tags.iter().map(|tag| &**tag).collect();
    let kind = info.default_queue_type.map(|kind| kind.name());
    json!({
        "name": &*info.name,
        "description": &*info.description,
        "tags": tags,
        "default_queue_type": kind,
        "limits": [],
        "metadata": {"description": &*info.description, "tags": tags, "default_queue_type": kind},
    })
}

/// What lives in vhosts: parameters, policies, exchanges, queues, bindings.
fn objects(topology: &Topology, vhosts: &[&Vhost], document: &mut Map<String, Value>) {
    let mut put = |key: &str, value: Vec<Value>| {
        document.insert(key.to_owned(), Value::Array(value));
    };
    let parameters = vhosts.iter().flat_map(|vhost| {
        let mut all = super::parameters::of_vhost(topology, vhost.name());
        all.extend(vhost.operator_policies().map(|policy| operator_policy(vhost, policy)));
        all
    });
    put("parameters", parameters.collect());
    let policies = vhosts.iter().flat_map(|vhost| vhost.policies());
    put("policies", policies.map(|policy| super::policies::show(policy)).collect());
    let queues = vhosts.iter().flat_map(|vhost| vhost.queues());
    put(
        "queues",
        queues
            .filter(|queue| queue.exclusive_owner.is_none())
            .map(|queue| {
                json!({
                    "name": &*queue.name,
                    "vhost": &*queue.vhost,
                    "durable": queue.durable,
                    "auto_delete": queue.auto_delete,
                    "arguments": json::table(&queue.shown_arguments()),
                    "type": queue.kind.name(),
                })
            })
            .collect(),
    );
    let exchanges = vhosts.iter().flat_map(|vhost| vhost.exchanges());
    let own = exchanges.filter(|exchange| !is_reserved(&exchange.name) && !exchange.internal);
    put(
        "exchanges",
        own.map(|exchange| {
            json!({
                "name": &*exchange.name,
                "vhost": &*exchange.vhost,
                "type": exchange.kind.name(),
                "durable": exchange.durable,
                "auto_delete": exchange.auto_delete,
                "internal": exchange.internal,
                "arguments": json::table(&exchange.arguments),
            })
        })
        .collect(),
    );
    put("bindings", vhosts.iter().flat_map(|vhost| bindings(vhost)).collect());
}

fn bindings(vhost: &Vhost) -> Vec<Value> {
    let lasting = vhost.bindings().filter(|binding| !leads_to_exclusive(vhost, binding));
    let shown = lasting.map(|binding| {
        let mut shown = super::bindings::show(vhost.name(), &binding);
        if let Some(fields) = shown.as_object_mut() {
            fields.shift_remove("properties_key");
        }
        shown
    });
    shown.collect()
}

fn leads_to_exclusive(vhost: &Vhost, binding: &Binding) -> bool {
    let Destination::Queue(name) = &binding.destination else { return false };
    vhost.queue(name).is_some_and(|queue| queue.exclusive_owner.is_some())
}

fn operator_policy(vhost: &Vhost, policy: &leveret_engine::policy::Policy) -> Value {
    let mut value = super::policies::show(policy);
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("vhost");
        fields.shift_remove("name");
    }
    json!({
        "vhost": &**vhost.name(),
        "component": "operator_policy",
        "name": &*policy.name,
        "value": value,
    })
}

fn is_reserved(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}

/// Entries of a document of one vhost do not name it.
fn strip_vhost(document: &mut Map<String, Value>) {
    for entries in document.values_mut().filter_map(Value::as_array_mut) {
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            entry.shift_remove("vhost");
        }
    }
}

pub(super) async fn import(State(app): State<App>, caller: Caller, fields: Fields) -> Answer {
    caller.administrator()?;
    Import::new(&app, &caller, None, &fields).run(&fields).await?;
    no_content()
}

pub(super) async fn import_vhost(
    State(app): State<App>,
    Path(vhost): Path<String>,
    caller: Caller,
    fields: Fields,
) -> Answer {
    caller.administrator()?;
    app.look(&caller, &vhost, |_| ())?;
    Import::new(&app, &caller, Some(&vhost), &fields).run(&fields).await?;
    no_content()
}

/// A document on its way in.
struct Import<'a> {
    app: &'a App,
    caller: &'a Caller,
    /// The vhost of entries that name none.
    vhost: Option<&'a str>,
    /// How the file's passwords are hashed where it does not say so.
    hashed_with: HashAlgorithm,
}

impl<'a> Import<'a> {
    fn new(app: &'a App, caller: &'a Caller, vhost: Option<&'a str>, document: &Fields) -> Self {
        let version = document.get("rabbit_version").and_then(Value::as_str);
        Self { app, caller, vhost, hashed_with: default_algorithm(version) }
    }

    // rabbitmq: rabbit_definitions apply_defs, in its order
    async fn run(&self, document: &Fields) -> Result<(), ApiError> {
        let sections: [(&str, Reader<'a>); 9] = [
            ("users", Self::user),
            ("vhosts", |_, entry| vhost(entry)),
            ("permissions", Self::permission),
            ("topic_permissions", Self::topic_permission),
            ("exchanges", Self::exchange),
            ("parameters", Self::parameter),
            ("policies", Self::policy),
            ("queues", Self::queue),
            ("bindings", Self::binding),
        ];
        for (section, read) in sections {
            let mut commands = Vec::new();
            for entry in entries(document, section)? {
                commands.extend(read(self, &entry)?);
            }
            self.propose_all(commands).await?;
        }
        for entry in entries(document, "global_parameters")? {
            self.global_parameter(&entry).await?;
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
        let spec = super::users::spec(self.app, name, entry, self.hashed_with)?;
        let mut commands = vec![Command::PutUser(spec)];
        if let Some(Value::Object(limits)) = entry.get("limits") {
            for (limit, value) in limits {
                let limit = super::limits::user_limit(limit);
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

    async fn global_parameter(&self, entry: &Fields) -> Result<(), ApiError> {
        let name = entry.needed_text("name")?;
        // rabbitmq: the identity of another cluster is not taken over
        if name == "internal_cluster_id" {
            return Ok(());
        }
        let value = json::to_parameter(entry.get("value").unwrap_or(&Value::Null));
        let command = Command::PutGlobalParameter { name: name.into(), value };
        self.app.propose.propose(command).await?;
        Ok(())
    }

    fn policy(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let vhost = self.vhost_of(entry)?;
        let spec = super::policies::spec(&vhost, entry.needed_text("name")?, entry)?;
        Ok(vec![Command::PutPolicy(spec)])
    }

    fn exchange(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let (vhost, name) = (self.vhost_of(entry)?, entry.needed_text("name")?);
        let there = |v: &Vhost| v.exchange(name).is_some();
        if is_reserved(name) || self.is_there(&vhost, there) {
            return Ok(Vec::new());
        }
        let declare = super::exchanges::spec(&vhost, name, entry, true, self.caller.name())?;
        Ok(vec![Command::DeclareExchange(declare)])
    }

    fn queue(&self, entry: &Fields) -> Result<Vec<Command>, ApiError> {
        let (vhost, name) = (self.vhost_of(entry)?, entry.needed_text("name")?);
        if name.starts_with("amq.") || self.is_there(&vhost, |v| v.queue(name).is_some()) {
            return Ok(Vec::new());
        }
        let declare = super::queues::spec(&vhost, name, entry, true, self.caller.name())?;
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
    let spec = super::vhosts::changed(Default::default(), name, &Fields(all))?;
    Ok(vec![Command::PutVhost(spec)])
}

/// Whether the hashes of a file are of the time before RabbitMQ said how it hashes.
fn default_algorithm(rabbit_version: Option<&str>) -> HashAlgorithm {
    let Some(version) = rabbit_version else { return HashAlgorithm::default() };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let before = (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (3, 6);
    if before { HashAlgorithm::Md5 } else { HashAlgorithm::default() }
}
