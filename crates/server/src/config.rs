//! What a person can set, and nothing else: one TOML file, of which every key can also be given
//! in the environment, and the common ones as flags; RabbitMQ's own file and variables are read as well. The doc comment of each field says what it
//! does, its default, what it costs and when to change it. How the layers are put together is in
//! [`load`].

mod environment;
pub mod load;
mod rabbitmq;
pub(crate) mod reference;
pub mod values;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use load::{ConfigError, Flags};
pub use values::{ByteSize, MemoryWatermark, Secret};

/// The whole configuration. In the environment a key is `LEVERET_` and its path in capitals with
/// `_` between the parts: `amqp.listen` is `LEVERET_AMQP_LISTEN`, lists are separated by commas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The directory that holds everything the broker keeps. Default `./data`. One process at a
    /// time may use it. Put it on the disk whose speed should decide how fast persistent messages are.
    pub data_dir: PathBuf,
    /// The node's name, shown by the management API and in metrics. Default `rabbit@` and the
    /// host name, as RabbitMQ. Set it where host names change, as in containers.
    pub node_name: String,
    /// The name of the cluster, shown by the management API and in metrics. Default: the node's name. The
    /// global parameter `cluster_name` beats it.
    pub cluster_name: String,
    /// Threads that run connections. Default 0: one for each core. Fewer leave cores to other
    /// programs on the machine.
    pub worker_threads: usize,
    /// AMQP listeners and what connections may do.
    pub amqp: Amqp,
    /// Certificates of the TLS listeners.
    pub tls: Tls,
    /// The management HTTP API.
    pub management: Management,
    /// The Prometheus endpoint.
    pub prometheus: Prometheus,
    /// The log.
    pub log: Log,
    /// Memory and disk alarms.
    pub resources: Resources,
    /// Who may log in when the data directory is new.
    pub auth: Auth,
    /// Vhosts, users, queues and the like that are taken in at the start.
    pub definitions: Definitions,
    /// Bounds on what clients may create.
    pub limits: Limits,
    /// This broker as a node of a cluster.
    pub cluster: Cluster,
    /// How nodes find each other, in the words of rabbitmq.conf (`peer_discovery_backend`,
    /// `classic_config.nodes.1`, ...). Kept as it is: a node of this version stays alone.
    pub cluster_formation: BTreeMap<String, String>,
}

/// AMQP listeners and what connections may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Amqp {
    /// Where plain AMQP is accepted. Default `["0.0.0.0:5672"]`. `[::]:5672` takes IPv6 and IPv4;
    /// an empty list leaves only TLS.
    #[serde(deserialize_with = "values::one_or_many")]
    pub listen: Vec<String>,
    /// Where AMQP over TLS is accepted, by convention port 5671. Default none. Needs `tls.certfile`
    /// and `tls.keyfile`. Costs a handshake of about a millisecond of CPU per connection.
    #[serde(deserialize_with = "values::one_or_many")]
    pub tls_listen: Vec<String>,
    /// Connections the kernel holds until they are accepted. Default 1024 (the kernel may cap it:
    /// `net.core.somaxconn`). Raise it when thousands of clients reconnect at the same moment.
    pub backlog: u32,
    /// Milliseconds a client has to get through the AMQP handshake. Default 10000. Costs nothing;
    /// lower it on listeners that strangers can reach.
    pub handshake_timeout: u64,
    /// Seconds between heartbeats that are proposed to clients. Default 60, 0 for none. Lower
    /// values find dead peers sooner and cost one small frame per interval and connection.
    pub heartbeat: u16,
    /// Bytes of the largest frame. Default 131072, at least 4096. Larger frames carry large bodies
    /// in fewer pieces and cost that much buffer for each connection that sends them.
    pub frame_max: u32,
    /// Channels of one connection. Default 2047. Each open channel costs about a kilobyte.
    pub channel_max: u16,
    /// Client connections of the node. Default 0: as many as there are file descriptors. A client
    /// beyond it is told so with 530.
    pub connection_max: u64,
    /// Bytes of the largest message body. Default 134217728, at most 536870912. A body is held in
    /// memory until it is complete.
    pub max_message_size: ByteSize,
    /// Consumers of one channel. Default 0: no bound. Set it where clients leak consumers.
    pub consumer_max_per_channel: u32,
    /// Prefetch of consumers whose channel did not set one. Default 0: no bound, as RabbitMQ.
    pub default_consumer_prefetch: u16,
    /// Milliseconds a delivery of a quorum queue may stay unacknowledged before its channel is
    /// closed. Default 1800000, 0 for ever. Raise it for work that takes longer.
    pub consumer_timeout: u64,
    /// How clients may log in: `PLAIN`, `AMQPLAIN`, `EXTERNAL`. Default: the first two, and `EXTERNAL` where
    /// `tls.verify` is `verify_peer`. Leave out what is not used on listeners that strangers can reach.
    #[serde(deserialize_with = "values::one_or_many")]
    pub auth_mechanisms: Vec<String>,
}

/// Certificates of the TLS listeners. They are read once, at the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the server's certificate and its chain. No default.
    pub certfile: Option<PathBuf>,
    /// PEM file with the server's private key. No default.
    pub keyfile: Option<PathBuf>,
    /// PEM file with the authorities that sign client certificates. Needed for `verify_peer`.
    pub cacertfile: Option<PathBuf>,
    /// `verify_none` (default): clients need no certificate. `verify_peer`: a certificate that a
    /// client sends must be signed by `cacertfile`; its subject is the user name of EXTERNAL.
    pub verify: Verify,
    /// With `verify_peer`, refuse clients that send no certificate. Default false.
    pub fail_if_no_peer_cert: bool,
    /// Which part of a client certificate is the user name of EXTERNAL: `distinguished_name`
    /// (default) or `common_name`.
    pub cert_login_from: CertLoginFrom,
}

/// Whether the certificates of clients are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Clients need no certificate, and one that they send is ignored.
    #[default]
    VerifyNone,
    /// A certificate that a client sends must be signed by the configured authorities.
    VerifyPeer,
}

/// Which part of a client certificate names the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertLoginFrom {
    /// The whole subject, such as `CN=client,O=Example`.
    #[default]
    DistinguishedName,
    /// The common name alone.
    CommonName,
}

/// The management HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Management {
    /// Where the API is served. Default `["0.0.0.0:15672"]`; an empty list turns it off.
    #[serde(deserialize_with = "values::one_or_many")]
    pub listen: Vec<String>,
    /// Where the API is served over TLS, by convention port 15671. Default none.
    #[serde(deserialize_with = "values::one_or_many")]
    pub tls_listen: Vec<String>,
    /// Bytes of the largest request body. Default 20 MB, which loads definitions of some hundred
    /// thousand queues. A body is held in memory.
    pub max_body_size: ByteSize,
    /// A path before every path of the API, such as `/broker`. Default none. For proxies that serve several
    /// programs under one name.
    pub path_prefix: String,
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prometheus {
    /// Where `/metrics` is served, without a password. Default `["0.0.0.0:15692"]`; an empty list
    /// turns it off.
    #[serde(deserialize_with = "values::one_or_many")]
    pub listen: Vec<String>,
    /// Where it is served over TLS, by convention port 15691. Default none.
    #[serde(deserialize_with = "values::one_or_many")]
    pub tls_listen: Vec<String>,
    /// The path. Default `/metrics`.
    pub path: String,
}

/// The log. It goes to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info` (default), `debug`, `trace`, or a filter by module such as
    /// `info,leveret_server=debug`. `debug` costs a line for every request and broken client.
    pub level: String,
    /// `plain` (default) for people, `json` for log collectors.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

/// Memory and disk alarms. While one is on, clients that publish are not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Memory beyond which publishers are held back: a share of the machine's or container's
    /// memory (default 0.6) or an amount such as `"4GB"`. 0 holds them back always.
    pub vm_memory_high_watermark: MemoryWatermark,
    /// The memory the share is taken of. Default 0: what the container or the machine has. Set it
    /// where other programs need a part of it.
    pub total_memory_available_override_value: ByteSize,
    /// Free space on the disk of `data_dir` below which publishers are held back. Default `"50MB"`.
    /// In production set it to about the machine's memory.
    pub disk_free_limit: ByteSize,
    /// Memory for messages that wait in queues. Default `"128MiB"`. Beyond it the largest queues leave
    /// what is far from their heads on disk and read it again when its turn comes. More saves reading
    /// where backlogs are long; it must stay well below `vm_memory_high_watermark`.
    pub message_memory: ByteSize,
    /// Milliseconds between two looks at memory and disk. Default 1000. One look costs some
    /// microseconds.
    pub monitor_interval: u64,
}

/// Who may log in when the data directory is new. Later changes of these have no effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The administrator that a new broker has. Default `guest`.
    pub default_user: String,
    /// Its password. Default `guest`. Change it before strangers can reach the broker.
    pub default_pass: Secret,
    /// Its tags, which say what it may do in the management API. Default `["administrator"]`.
    #[serde(deserialize_with = "values::one_or_many")]
    pub default_user_tags: Vec<String>,
    /// What it may do in the default vhost. Default: everything.
    pub default_permissions: Permissions,
    /// The vhost that a new broker has. Default `/`.
    pub default_vhost: String,
    /// Users who may log in from this machine only. Default `["guest"]`; an empty list lets
    /// everybody in from everywhere.
    #[serde(deserialize_with = "values::one_or_many")]
    pub loopback_users: Vec<String>,
}

/// Three regular expressions over the names of queues and exchanges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// What may be declared and deleted. Default `".*"`.
    pub configure: String,
    /// What may be published to and bound. Default `".*"`.
    pub write: String,
    /// What may be consumed from. Default `".*"`.
    pub read: String,
}

/// Vhosts, users, queues and the like that are taken in at every start, from files that RabbitMQ 3.x, 4.x or leveret
/// exported. What is there already stays as it is. A new broker that has such files has no default user and vhost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    /// Files, and directories whose `*.json` are taken by name. Default none. A file that cannot be taken in stops
    /// the start.
    #[serde(deserialize_with = "values::one_or_many")]
    pub load: Vec<String>,
    /// Leave files alone that are as they were at the last start. Default false. Makes starts with many
    /// thousand queues faster; what was deleted since is then not made again.
    pub skip_if_unchanged: bool,
}

/// Bounds on what clients may create. 0 is no bound, the default, as RabbitMQ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Vhosts of the broker.
    pub vhost_max: u64,
    /// Queues of the broker. An idle queue costs about a kilobyte.
    pub cluster_queue_limit: u64,
    /// Exchanges of the broker.
    pub cluster_exchange_limit: u64,
}

/// This broker as a node of a cluster. `leveret cluster init` founds one, `leveret cluster join` makes this node part of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Where other nodes connect, such as `0.0.0.0:25672`. Default nowhere: this broker is alone. Only nodes
    /// need to reach it.
    pub listen: String,
    /// Where other nodes find this one, as `HOST:PORT`. Default: `cluster.listen`, with the host name where that
    /// takes all addresses. It is settled when the node joins.
    pub advertise: String,
    /// What nodes prove to each other that they know, at least 8 characters, the same on all nodes. No default.
    /// What they send each other is not encrypted by it.
    pub secret: Secret,
    /// File that has the secret, instead. Default none.
    pub secret_file: String,
    /// Nodes that a new one asks to let it join when it starts, as `HOST:PORT`. Default none: it stays alone until it is
    /// told. Give all nodes the same list: the first of them by name founds the cluster when none has one.
    #[serde(deserialize_with = "values::one_or_many")]
    pub seeds: Vec<String>,
    /// `data` (default), or `witness`: a node that votes and holds no messages, so that two data nodes
    /// survive the loss of one.
    pub role: ClusterRole,
}

/// What a node of a cluster does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClusterRole {
    /// It has queues, and votes.
    #[default]
    Data,
    /// It votes.
    Witness,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            node_name: String::new(),
            cluster_name: String::new(),
            worker_threads: 0,
            amqp: Amqp::default(),
            tls: Tls::default(),
            management: Management::default(),
            prometheus: Prometheus::default(),
            log: Log::default(),
            resources: Resources::default(),
            auth: Auth::default(),
            definitions: Definitions::default(),
            limits: Limits::default(),
            cluster: Cluster::default(),
            cluster_formation: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Whether any listener speaks TLS.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        let listeners =
            [&self.amqp.tls_listen, &self.management.tls_listen, &self.prometheus.tls_listen];
        listeners.iter().any(|listen| !listen.is_empty())
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            listen: vec!["0.0.0.0:5672".to_owned()],
            tls_listen: Vec::new(),
            backlog: 1024,
            handshake_timeout: 10_000,
            heartbeat: 60,
            frame_max: 131_072,
            channel_max: 2047,
            connection_max: 0,
            max_message_size: ByteSize(134_217_728),
            consumer_max_per_channel: 0,
            default_consumer_prefetch: 0,
            consumer_timeout: 1_800_000,
            auth_mechanisms: Vec::new(),
        }
    }
}

impl Default for Management {
    fn default() -> Self {
        Self {
            listen: vec!["0.0.0.0:15672".to_owned()],
            tls_listen: Vec::new(),
            max_body_size: ByteSize(20_000_000),
            path_prefix: String::new(),
        }
    }
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            listen: vec!["0.0.0.0:15692".to_owned()],
            tls_listen: Vec::new(),
            path: "/metrics".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Plain }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            vm_memory_high_watermark: MemoryWatermark::Share(0.6),
            total_memory_available_override_value: ByteSize(0),
            disk_free_limit: ByteSize(50_000_000),
            message_memory: ByteSize(128 * 1024 * 1024),
            monitor_interval: 1000,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            default_user: "guest".to_owned(),
            default_pass: Secret("guest".to_owned()),
            default_user_tags: vec!["administrator".to_owned()],
            default_permissions: Permissions::default(),
            default_vhost: "/".to_owned(),
            loopback_users: vec!["guest".to_owned()],
        }
    }
}

impl Default for Permissions {
    fn default() -> Self {
        let everything = || ".*".to_owned();
        Self { configure: everything(), write: everything(), read: everything() }
    }
}
