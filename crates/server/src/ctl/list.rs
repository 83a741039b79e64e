//! The verbs that look: rabbitmqctl's lists, from the lists of the management API.

use super::table::Table;
use super::{Options, segment};
use clap::Subcommand;
use serde_json::{Value, json};

/// Lists. Columns are those of the management API and of rabbitmqctl.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "they are rabbitmqctl's names")]
pub(super) enum Look {
    /// Queues of a vhost.
    ListQueues { columns: Vec<String> },
    /// Exchanges of a vhost.
    ListExchanges { columns: Vec<String> },
    /// Bindings of a vhost.
    ListBindings { columns: Vec<String> },
    /// Consumers of a vhost.
    ListConsumers { columns: Vec<String> },
    /// Connections of clients.
    ListConnections { columns: Vec<String> },
    /// Channels of clients.
    ListChannels { columns: Vec<String> },
    /// Virtual hosts.
    ListVhosts { columns: Vec<String> },
    /// Users and their tags.
    ListUsers,
    /// Who may do what in a vhost.
    ListPermissions,
    /// What a user may do.
    ListUserPermissions { user: String },
    /// Who may use which routing keys in a vhost.
    ListTopicPermissions,
    /// Policies of a vhost.
    ListPolicies,
    /// Operator policies of a vhost.
    ListOperatorPolicies,
    /// Runtime parameters of a vhost.
    ListParameters,
    /// Runtime parameters of the whole broker.
    ListGlobalParameters,
    /// Limits of a vhost.
    ListVhostLimits,
    /// Limits of a user.
    ListUserLimits {
        #[arg(long)]
        user: String,
    },
}

/// Where a list comes from and what of it is shown.
struct Source<'a> {
    title: String,
    path: String,
    columns: Vec<&'a str>,
}

/// The default columns, and what rabbitmqctl calls otherwise than the API.
const QUEUES: &[&str] = &["name", "messages"];
const EXCHANGES: &[&str] = &["name", "type"];
const BINDINGS: &[&str] = &[
    "source_name=source",
    "source_kind",
    "destination_name=destination",
    "destination_kind=destination_type",
    "routing_key",
    "arguments",
];
const CONSUMERS: &[&str] = &[
    "queue_name=queue.name",
    "channel_pid=channel_details.name",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "arguments",
];
const CONNECTIONS: &[&str] = &["user", "peer_host", "peer_port", "state"];
const CHANNELS: &[&str] = &["pid=name", "user", "consumer_count", "messages_unacknowledged"];
const PERMISSIONS: &[&str] = &["user", "configure", "write", "read"];
const POLICIES: &[&str] = &["vhost", "name", "pattern", "apply-to", "definition", "priority"];

/// Columns that were asked for, by rabbitmqctl's or the API's name; the usual ones when none was.
fn wanted<'a>(given: &'a [String], usual: &[&'a str]) -> Vec<&'a str> {
    if given.is_empty() {
        return usual.to_vec();
    }
    let known = |name: &str| {
        let shown = |column: &&str| column.split_once('=').is_some_and(|(shown, _)| shown == name);
        usual.iter().copied().find(shown)
    };
    given.iter().map(|name| known(name).unwrap_or(name)).collect()
}

impl Look {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        let source = self.source(&options.vhost);
        options.say(&format!("{} ...", source.title));
        let mut list = options.target.get(&source.path).await?;
        self.adapt(&mut list);
        options.show(&Table::of(&list, &source.columns));
        Ok(())
    }

    fn source<'a>(&'a self, vhost: &str) -> Source<'a> {
        let v = segment(vhost);
        let of_vhost = |what: &str, resource: &str, columns: Vec<&'a str>| Source {
            title: format!("Listing {what} for vhost {vhost}"),
            path: format!("/api/{resource}/{v}"),
            columns,
        };
        let of_all = |what: &str, resource: String, columns: Vec<&'a str>| Source {
            title: format!("Listing {what}"),
            path: format!("/api/{resource}"),
            columns,
        };
        match self {
            Self::ListQueues { columns } => of_vhost("queues", "queues", wanted(columns, QUEUES)),
            Self::ListExchanges { columns } => {
                of_vhost("exchanges", "exchanges", wanted(columns, EXCHANGES))
            }
            Self::ListBindings { columns } => {
                of_vhost("bindings", "bindings", wanted(columns, BINDINGS))
            }
            Self::ListConsumers { columns } => {
                of_vhost("consumers", "consumers", wanted(columns, CONSUMERS))
            }
            Self::ListConnections { columns } => {
                of_all("connections", "connections".into(), wanted(columns, CONNECTIONS))
            }
            Self::ListChannels { columns } => {
                of_all("channels", "channels".into(), wanted(columns, CHANNELS))
            }
            Self::ListVhosts { columns } => {
                of_all("vhosts", "vhosts".into(), wanted(columns, &["name"]))
            }
            Self::ListUsers => of_all("users", "users".into(), vec!["user=name", "tags"]),
            Self::ListPermissions => Source {
                title: format!("Listing permissions for vhost \"{vhost}\""),
                path: format!("/api/vhosts/{v}/permissions"),
                columns: PERMISSIONS.to_vec(),
            },
            Self::ListUserPermissions { user } => of_all(
                &format!("permissions for user \"{user}\""),
                format!("users/{}/permissions", segment(user)),
                vec!["vhost", "configure", "write", "read"],
            ),
            Self::ListTopicPermissions => Source {
                title: format!("Listing topic permissions for vhost \"{vhost}\""),
                path: format!("/api/vhosts/{v}/topic-permissions"),
                columns: vec!["user", "exchange", "write", "read"],
            },
            Self::ListPolicies => {
                let title = format!("Listing policies for vhost \"{vhost}\"");
                Source { title, ..of_vhost("", "policies", POLICIES.to_vec()) }
            }
            Self::ListOperatorPolicies => {
                let title = format!("Listing operator policy overrides for vhost \"{vhost}\"");
                Source { title, ..of_vhost("", "operator-policies", POLICIES.to_vec()) }
            }
            Self::ListParameters => of_all(
                "runtime parameters",
                "parameters".into(),
                vec!["component", "name", "value"],
            ),
            Self::ListGlobalParameters => {
                let columns = vec!["name", "value"];
                of_all("global runtime parameters", "global-parameters".into(), columns)
            }
            Self::ListVhostLimits => {
                of_vhost("limits", "vhost-limits", vec!["vhost", "limits=value"])
            }
            Self::ListUserLimits { user } => of_all(
                &format!("limits for user \"{user}\""),
                format!("user-limits/{}", segment(user)),
                vec!["user", "limits=value"],
            ),
        }
    }

    /// What rabbitmqctl's lists have and the API's lack.
    fn adapt(&self, list: &mut Value) {
        let Self::ListBindings { .. } = self else { return };
        for binding in list.as_array_mut().into_iter().flatten() {
            binding["source_kind"] = json!("exchange");
        }
    }
}
