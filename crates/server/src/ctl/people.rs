//! The verbs about users and what they may do.

use super::request::{carry_out, delete, put};
use super::{Options, segment};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use hyper::Method;
use serde_json::{Map, Value, json};

/// Users, permissions and the limits of users.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum People {
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
    /// Limit a user: `{"max-connections": 10, "max-channels": 100}`.
    SetUserLimits { user: String, definition: String },
    /// Lift a limit of a user, or `all`.
    ClearUserLimits { user: String, limit: String },
}

impl People {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        let (vhost, v) = (&options.vhost, segment(&options.vhost));
        let (says, requests) = match self {
            Self::AddUser { user, password } => (
                format!("Adding user \"{user}\" ..."),
                vec![put(path("users", user), json!({"password": password, "tags": ""}))],
            ),
            Self::DeleteUser { user } => {
                (format!("Deleting user \"{user}\" ..."), vec![delete(path("users", user))])
            }
            Self::ChangePassword { .. } | Self::ClearPassword { .. } | Self::SetUserTags { .. } => {
                return self.change(options).await;
            }
            Self::SetPermissions { user, configure, write, read } => (
                format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."),
                vec![put(
                    path(&format!("permissions/{v}"), user),
                    json!({"configure": configure, "write": write, "read": read}),
                )],
            ),
            Self::ClearPermissions { user } => (
                format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."),
                vec![delete(path(&format!("permissions/{v}"), user))],
            ),
            Self::SetTopicPermissions { user, exchange, write, read } => (
                format!(
                    "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
                ),
                vec![put(
                    path(&format!("topic-permissions/{v}"), user),
                    json!({"exchange": exchange, "write": write, "read": read}),
                )],
            ),
            Self::ClearTopicPermissions { user, exchange } => {
                let of = path(&format!("topic-permissions/{v}"), user);
                let of = match exchange {
                    Some(exchange) => format!("{of}/{}", segment(exchange)),
                    None => of,
                };
                let says = format!(
                    "Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."
                );
                (says, vec![delete(of)])
            }
            Self::SetUserLimits { user, definition } => (
                format!("Setting user limits to \"{definition}\" for user \"{user}\" ..."),
                super::rules::limits(definition, &path("user-limits", user))?,
            ),
            Self::ClearUserLimits { user, limit } => {
                let all = ["max-connections", "max-channels"];
                let those = all.iter().filter(|name| limit == "all" || **name == limit);
                let of = path("user-limits", user);
                let those: Vec<_> = those.map(|name| delete(format!("{of}/{name}"))).collect();
                if those.is_empty() {
                    bail!("there is no limit {limit}; there are {} and all", all.join(", "));
                }
                (format!("Clearing \"{limit}\" limits for user \"{user}\" ..."), those)
            }
        };
        carry_out(options, &says, requests).await
    }

    /// Changes one thing of a user and leaves the rest.
    async fn change(&self, options: &Options) -> anyhow::Result<()> {
        let (says, user, changed) = match self {
            Self::ChangePassword { user, password } => (
                format!("Changing password for user \"{user}\" ..."),
                user,
                ("password", json!(password)),
            ),
            Self::ClearPassword { user } => (
                format!("Clearing password for user \"{user}\" ..."),
                user,
                ("password_hash", json!("")),
            ),
            Self::SetUserTags { user, tags } => (
                format!("Setting tags for user \"{user}\" to [{}] ...", tags.join(", ")),
                user,
                ("tags", json!(tags.join(","))),
            ),
            _ => return Ok(()),
        };
        options.say(&says);
        let path = path("users", user);
        let shown = options.target.get(&path).await.context("the user cannot be changed")?;
        let fields = shown.as_object().context("the broker shows no user")?;
        let body = Value::Object(changed_user(fields, changed));
        options.target.call(Method::PUT, &path, Some(&body)).await.map(drop)
    }
}

/// What to put for a user that is shown with these fields.
fn changed_user(shown: &Map<String, Value>, (key, value): (&str, Value)) -> Map<String, Value> {
    let mut fields = shown.clone();
    fields.retain(|name, _| matches!(&**name, "password_hash" | "hashing_algorithm" | "tags"));
    if let Some(tags) = fields.get("tags").and_then(Value::as_array) {
        let tags: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
        let tags = tags.join(",");
        fields.insert("tags".into(), json!(tags));
    }
    if key == "password" {
        fields.remove("password_hash");
    }
    fields.insert(key.into(), value);
    fields
}

fn path(of: &str, user: &str) -> String {
    format!("/api/{of}/{}", segment(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_of_a_user_changes_and_the_rest_stays() {
        let shown = json!({"name": "u", "password_hash": "h", "hashing_algorithm": "a", "tags": ["x", "y"], "limits": {}});
        let shown = shown.as_object().unwrap();
        let fields = changed_user(shown, ("password", json!("new")));
        assert_eq!(
            Value::Object(fields),
            json!({"hashing_algorithm": "a", "tags": "x,y", "password": "new"})
        );
        let fields = changed_user(shown, ("tags", json!("z")));
        assert_eq!(fields["password_hash"], "h");
    }
}
