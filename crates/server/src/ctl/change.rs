//! The verbs that change something: rabbitmqctl's, by the requests of the management API.

use super::{Options, segment};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

/// Changes.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "they are rabbitmqctl's names")]
pub(super) enum Change {
    /// Create a user.
    AddUser { user: String, password: String },
    /// Delete a user; its connections are closed.
    DeleteUser { user: String },
    /// Give a user another password.
    ChangePassword { user: String, password: String },
    /// Take a user's password away: it cannot log in with one any more.
    ClearPassword { user: String },
    /// Say what a user may do in the management API.
    SetUserTags { user: String, tags: Vec<String> },
    /// Say what a user may do in a vhost, with three regular expressions.
    SetPermissions { user: String, configure: String, write: String, read: String },
    /// Take a user's access to a vhost away.
    ClearPermissions { user: String },
    /// Say which routing keys of an exchange a user may use.
    SetTopicPermissions { user: String, exchange: String, write: String, read: String },
    /// Take a user's topic permissions in a vhost away.
    ClearTopicPermissions { user: String, exchange: Option<String> },
    /// Create a virtual host.
    AddVhost {
        name: String,
        #[arg(long)]
        description: Option<String>,
        #[arg(long)]
        tags: Option<String>,
        #[arg(long = "default-queue-type")]
        default_queue_type: Option<String>,
    },
    /// Delete a virtual host and everything in it.
    DeleteVhost { name: String },
    /// Limit a vhost: `{"max-connections": 10, "max-queues": 100}`.
    SetVhostLimits { definition: String },
    /// Lift the limits of a vhost.
    ClearVhostLimits,
    /// Limit a user: `{"max-connections": 10, "max-channels": 100}`.
    SetUserLimits { user: String, definition: String },
    /// Lift a limit of a user, or `all`.
    ClearUserLimits { user: String, limit: String },
    /// Set a policy.
    SetPolicy(Policy),
    /// Remove a policy.
    ClearPolicy { name: String },
    /// Set an operator policy.
    SetOperatorPolicy(Policy),
    /// Remove an operator policy.
    ClearOperatorPolicy { name: String },
    /// Set a runtime parameter of a vhost.
    SetParameter { component: String, name: String, value: String },
    /// Remove a runtime parameter.
    ClearParameter { component: String, name: String },
    /// Set a runtime parameter of the whole broker.
    SetGlobalParameter { name: String, value: String },
    /// Remove a runtime parameter of the whole broker.
    ClearGlobalParameter { name: String },
    /// Delete a queue.
    DeleteQueue {
        name: String,
        /// Only if nothing is in it.
        #[arg(short = 'e', long = "if-empty")]
        if_empty: bool,
        /// Only if nobody consumes.
        #[arg(short = 'u', long = "if-unused")]
        if_unused: bool,
    },
    /// Remove the ready messages of a queue.
    PurgeQueue { name: String },
    /// Close a connection, named as in `list_connections name`.
    CloseConnection { name: String, reason: String },
    /// Close the connections of a vhost.
    CloseAllConnections { reason: String },
    /// Close the connections of a user.
    CloseAllUserConnections { user: String, reason: String },
    /// Name the cluster.
    SetClusterName { name: String },
    /// Copy every message of a vhost to amq.rabbitmq.trace.
    TraceOn,
    /// Stop that.
    TraceOff,
    /// Take in a definitions file of RabbitMQ or leveret; `-` reads standard input.
    ImportDefinitions { file: String },
    /// Write everything but messages to a file; `-` writes to standard output.
    ExportDefinitions { file: String },
}

/// A policy.
#[derive(Debug, clap::Args)]
pub(super) struct Policy {
    name: String,
    pattern: String,
    /// JSON, such as `{"max-length": 1000}`.
    definition: String,
    /// The highest wins.
    #[arg(long, default_value_t = 0)]
    priority: i64,
    /// queues, exchanges or all.
    #[arg(long, value_name = "KIND")]
    apply_to: Option<String>,
}

/// One request.
struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
}

fn put(path: String, body: Value) -> Request {
    Request { method: Method::PUT, path, body: Some(body) }
}

fn delete(path: String) -> Request {
    Request { method: Method::DELETE, path, body: None }
}

pub(super) fn json_of(what: &str, text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("the {what} is no JSON: {text}"))
}

impl Change {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        options.say(&self.says(&options.vhost));
        match self {
            Self::CloseConnection { name, reason } => close(options, name, reason).await,
            Self::CloseAllConnections { reason } => {
                close_those(options, reason, |c| c["vhost"] == *options.vhost).await
            }
            Self::CloseAllUserConnections { user, reason } => {
                close_those(options, reason, |c| c["user"] == **user).await
            }
            Self::ImportDefinitions { file } => import(options, file).await,
            Self::ExportDefinitions { file } => export(options, file).await,
            Self::ChangePassword { user, password } => {
                set_user(options, user, |u| {
                    u.remove("password_hash");
                    u.insert("password".into(), json!(password));
                })
                .await
            }
            Self::ClearPassword { user } => {
                set_user(options, user, |u| {
                    u.insert("password_hash".into(), json!(""));
                })
                .await
            }
            Self::SetUserTags { user, tags } => {
                set_user(options, user, |u| {
                    u.insert("tags".into(), json!(tags.join(",")));
                })
                .await
            }
            _ => {
                for request in self.requests(options)? {
                    let Request { method, path, body } = request;
                    options.target.call(method, &path, body.as_ref()).await?;
                }
                Ok(())
            }
        }
    }

    /// What rabbitmqctl says it does.
    fn says(&self, vhost: &str) -> String {
        match self {
            Self::AddUser { user, .. } => format!("Adding user \"{user}\" ..."),
            Self::DeleteUser { user } => format!("Deleting user \"{user}\" ..."),
            Self::ChangePassword { user, .. } => {
                format!("Changing password for user \"{user}\" ...")
            }
            Self::ClearPassword { user } => format!("Clearing password for user \"{user}\" ..."),
            Self::SetUserTags { user, tags } => {
                format!("Setting tags for user \"{user}\" to [{}] ...", tags.join(", "))
            }
            Self::SetPermissions { user, .. } => {
                format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ...")
            }
            Self::AddVhost { name, .. } => format!("Adding vhost \"{name}\" ..."),
            Self::DeleteVhost { name } => format!("Deleting vhost \"{name}\" ..."),
            Self::SetPolicy(p) => format!(
                "Setting policy \"{}\" for pattern \"{}\" to \"{}\" with priority \"{}\" for vhost \"{vhost}\" ...",
                p.name, p.pattern, p.definition, p.priority
            ),
            Self::DeleteQueue { name, .. } => {
                format!("Deleting queue '{name}' on vhost '{vhost}' ...")
            }
            Self::PurgeQueue { name } => format!("Purging queue '{name}' in vhost '{vhost}' ..."),
            Self::CloseConnection { name, reason } => {
                format!("Closing connection {name}, reason: {reason}...")
            }
            _ => format!("Working on vhost \"{vhost}\" ..."),
        }
    }

    /// The requests of what needs no look before.
    fn requests(&self, options: &Options) -> anyhow::Result<Vec<Request>> {
        let v = segment(&options.vhost);
        let one = |request| Ok(vec![request]);
        match self {
            Self::AddUser { user, password } => one(put(
                format!("/api/users/{}", segment(user)),
                json!({"password": password, "tags": ""}),
            )),
            Self::DeleteUser { user } => one(delete(format!("/api/users/{}", segment(user)))),
            Self::SetPermissions { user, configure, write, read } => one(put(
                format!("/api/permissions/{v}/{}", segment(user)),
                json!({"configure": configure, "write": write, "read": read}),
            )),
            Self::ClearPermissions { user } => {
                one(delete(format!("/api/permissions/{v}/{}", segment(user))))
            }
            Self::SetTopicPermissions { user, exchange, write, read } => one(put(
                format!("/api/topic-permissions/{v}/{}", segment(user)),
                json!({"exchange": exchange, "write": write, "read": read}),
            )),
            Self::ClearTopicPermissions { user, exchange } => {
                let of = format!("/api/topic-permissions/{v}/{}", segment(user));
                one(delete(match exchange {
                    Some(exchange) => format!("{of}/{}", segment(exchange)),
                    None => of,
                }))
            }
            Self::AddVhost { name, description, tags, default_queue_type } => {
                let mut body = serde_json::Map::new();
                for (key, value) in [
                    ("description", description),
                    ("tags", tags),
                    ("default_queue_type", default_queue_type),
                ] {
                    body.extend(value.as_ref().map(|value| (key.to_owned(), json!(value))));
                }
                one(put(format!("/api/vhosts/{}", segment(name)), Value::Object(body)))
            }
            Self::DeleteVhost { name } => one(delete(format!("/api/vhosts/{}", segment(name)))),
            _ => self.rule_requests(options, &v),
        }
    }

    /// Policies, parameters, limits and queues.
    fn rule_requests(&self, options: &Options, v: &str) -> anyhow::Result<Vec<Request>> {
        let one = |request| Ok(vec![request]);
        match self {
            Self::SetVhostLimits { definition } => {
                limits(definition, &format!("/api/vhost-limits/{v}"))
            }
            Self::ClearVhostLimits => Ok(["max-connections", "max-queues"]
                .map(|limit| delete(format!("/api/vhost-limits/{v}/{limit}")))
                .into()),
            Self::SetUserLimits { user, definition } => {
                limits(definition, &format!("/api/user-limits/{}", segment(user)))
            }
            Self::ClearUserLimits { user, limit } => {
                let all = ["max-connections", "max-channels"];
                let those = all.iter().filter(|name| limit == "all" || **name == limit);
                let those: Vec<_> = those
                    .map(|name| delete(format!("/api/user-limits/{}/{name}", segment(user))))
                    .collect();
                if those.is_empty() {
                    bail!("there is no limit {limit}; there are {} and all", all.join(", "));
                }
                Ok(those)
            }
            Self::SetPolicy(policy) => one(policy.request(&format!("/api/policies/{v}"), "all")?),
            Self::SetOperatorPolicy(policy) => {
                one(policy.request(&format!("/api/operator-policies/{v}"), "queues")?)
            }
            Self::ClearPolicy { name } => {
                one(delete(format!("/api/policies/{v}/{}", segment(name))))
            }
            Self::ClearOperatorPolicy { name } => {
                one(delete(format!("/api/operator-policies/{v}/{}", segment(name))))
            }
            Self::SetParameter { component, name, value } => one(put(
                format!("/api/parameters/{}/{v}/{}", segment(component), segment(name)),
                json!({"value": json_of("value", value)?}),
            )),
            Self::ClearParameter { component, name } => {
                one(delete(format!("/api/parameters/{}/{v}/{}", segment(component), segment(name))))
            }
            Self::SetGlobalParameter { name, value } => one(put(
                format!("/api/global-parameters/{}", segment(name)),
                json!({"value": json_of("value", value)?}),
            )),
            Self::ClearGlobalParameter { name } => {
                one(delete(format!("/api/global-parameters/{}", segment(name))))
            }
            Self::DeleteQueue { name, if_empty, if_unused } => one(delete(format!(
                "/api/queues/{v}/{}?if-empty={if_empty}&if-unused={if_unused}",
                segment(name)
            ))),
            Self::PurgeQueue { name } => {
                one(delete(format!("/api/queues/{v}/{}/contents", segment(name))))
            }
            Self::SetClusterName { name } => {
                one(put("/api/cluster-name".into(), json!({"name": name})))
            }
            Self::TraceOn => one(put(format!("/api/vhosts/{v}"), json!({"tracing": true}))),
            Self::TraceOff => one(put(format!("/api/vhosts/{v}"), json!({"tracing": false}))),
            _ => bail!("{self:?} is not done by one request on {}", options.vhost),
        }
    }
}

impl Policy {
    fn request(&self, of: &str, apply_to: &str) -> anyhow::Result<Request> {
        let body = json!({
            "pattern": self.pattern,
            "definition": json_of("definition", &self.definition)?,
            "priority": self.priority,
            "apply-to": self.apply_to.as_deref().unwrap_or(apply_to),
        });
        Ok(put(format!("{of}/{}", segment(&self.name)), body))
    }
}

/// One request for each limit of a definition.
fn limits(definition: &str, of: &str) -> anyhow::Result<Vec<Request>> {
    let definition = json_of("definition", definition)?;
    let Some(limits) = definition.as_object() else {
        bail!("limits are an object such as {{\"max-connections\": 10}}");
    };
    let request = |(name, value): (&String, &Value)| {
        put(format!("{of}/{}", segment(name)), json!({"value": value}))
    };
    Ok(limits.iter().map(request).collect())
}

/// Changes one thing of a user and leaves the rest.
async fn set_user(
    options: &Options,
    user: &str,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) -> anyhow::Result<()> {
    let path = format!("/api/users/{}", segment(user));
    let mut body = options.target.get(&path).await.context("the user cannot be changed")?;
    let fields = body.as_object_mut().context("the broker shows no user")?;
    fields.retain(|name, _| matches!(&**name, "password_hash" | "hashing_algorithm" | "tags"));
    if let Some(tags) = fields.get("tags").and_then(Value::as_array) {
        let tags: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
        let tags = tags.join(",");
        fields.insert("tags".into(), json!(tags));
    }
    change(fields);
    options.target.call(Method::PUT, &path, Some(&body)).await?;
    Ok(())
}

async fn close(options: &Options, name: &str, reason: &str) -> anyhow::Result<()> {
    let path = format!("/api/connections/{}", segment(name));
    options.target.close(&path, reason).await
}

async fn close_those(
    options: &Options,
    reason: &str,
    those: impl Fn(&Value) -> bool,
) -> anyhow::Result<()> {
    let connections = options.target.get("/api/connections").await?;
    let names = connections.as_array().into_iter().flatten().filter(|c| those(c));
    for name in names.filter_map(|connection| connection["name"].as_str()) {
        close(options, name, reason).await?;
    }
    Ok(())
}

async fn import(options: &Options, file: &str) -> anyhow::Result<()> {
    let text = if file == "-" {
        std::io::read_to_string(std::io::stdin()).context("standard input cannot be read")?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?
    };
    let definitions = json_of("file", &text)?;
    options.target.call(Method::POST, "/api/definitions", Some(&definitions)).await?;
    Ok(())
}

async fn export(options: &Options, file: &str) -> anyhow::Result<()> {
    let definitions = options.target.get("/api/definitions").await?;
    let text = format!("{definitions:#}\n");
    if file == "-" {
        super::print(&text);
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| format!("{file} cannot be written"))
}
