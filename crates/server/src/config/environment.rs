//! The variables of RabbitMQ's environment, which its Docker image and its packages are set up with. Those that leveret
//! has a meaning for become its own keys; they beat every file, but for the two that RabbitMQ's files beat.

use super::load::{ConfigError, parse_variable, put};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What every such variable begins with.
const PREFIX: &str = "RABBITMQ_";

/// Variables that are a key of leveret's by another name.
const SAME: [(&str, &str); 5] = [
    ("DEFAULT_PASS", "auth.default_pass"),
    ("DEFAULT_USER", "auth.default_user"),
    ("DEFAULT_VHOST", "auth.default_vhost"),
    ("MNESIA_DIR", "data_dir"),
    ("NODENAME", "node_name"),
];

/// Variables whose value is in the file that they name, as secrets are given to containers.
// rabbitmq: its Docker image, up to 3.8
const IN_FILES: [(&str, &str); 2] =
    [("DEFAULT_PASS_FILE", "auth.default_pass"), ("DEFAULT_USER_FILE", "auth.default_user")];

/// Variables of the Docker image that stand for keys of `rabbitmq.conf`.
// rabbitmq: its Docker image, up to 3.8
const KEYS: [(&str, &str); 6] = [
    ("SSL_CACERTFILE", "tls.cacertfile"),
    ("SSL_CERTFILE", "tls.certfile"),
    ("SSL_FAIL_IF_NO_PEER_CERT", "tls.fail_if_no_peer_cert"),
    ("SSL_KEYFILE", "tls.keyfile"),
    ("SSL_VERIFY", "tls.verify"),
    ("VM_MEMORY_HIGH_WATERMARK", "resources.vm_memory_high_watermark"),
];

/// RabbitMQ's variables.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes RabbitMQ's variables out of all; empty ones count as absent, as with RabbitMQ.
    pub(super) fn of(all: &[(String, String)]) -> Self {
        let ours = all.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(PREFIX)?;
            (!value.is_empty()).then(|| (name.to_owned(), value.clone()))
        });
        Self(ours.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The `rabbitmq.conf` that is named; its extension may be left out.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let named = PathBuf::from(self.get("CONFIG_FILE")?);
        let conf =
            named.extension().is_some_and(|extension| extension == super::rabbitmq::EXTENSION);
        if conf { Some(named) } else { Some(with_extension(&named)) }
    }

    /// The directory of further files, which may be written as a pattern.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let named = self.get("CONFIG_FILES")?;
        Some(PathBuf::from(named.strip_suffix("*.conf").unwrap_or(named)))
    }

    /// What files of RabbitMQ may say otherwise.
    // rabbitmq: RABBITMQ_NODE_PORT and RABBITMQ_NODE_IP_ADDRESS give way to listeners.tcp
    pub(super) fn below_files(&self) -> Table {
        let mut table = Table::new();
        let (ip, port) = (self.get("NODE_IP_ADDRESS"), self.get("NODE_PORT"));
        if ip.is_some() || port.is_some() {
            let ip = ip.filter(|ip| *ip != "auto").unwrap_or("*");
            let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
            let address = format!("{ip}:{}", port.unwrap_or("5672"));
            put(&mut table, "amqp.listen", Value::Array(vec![Value::String(address)]));
        }
        table
    }

    /// What beats every file. `kind` is a value of the kind that a key has, `host` completes the node's name.
    ///
    /// # Errors
    /// A value of the wrong kind, or a file that cannot be read.
    pub(super) fn above_files<'a>(
        &self,
        kind: impl Fn(&str) -> Option<&'a Value>,
        host: &str,
    ) -> Result<Table, ConfigError> {
        let mut table = Table::new();
        let bad = |name: &str, reason| ConfigError::BadVariable {
            name: format!("{PREFIX}{name}"),
            reason,
        };
        for (name, path) in IN_FILES {
            let Some(file) = self.get(name).map(PathBuf::from) else { continue };
            let text = std::fs::read_to_string(&file)
                .map_err(|source| ConfigError::Unreadable { path: file, source })?;
            let line = text.lines().next().unwrap_or_default();
            put(&mut table, path, Value::String(line.to_owned()));
        }
        for (name, path) in SAME.into_iter().chain(KEYS) {
            let Some(text) = self.get(name) else { continue };
            let value = parse_variable(text, kind(path)).map_err(|reason| bad(name, reason))?;
            put(&mut table, path, value);
        }
        // rabbitmq: without a host the node is one of this machine
        if let Some(name) = self.get("NODENAME").filter(|name| !name.contains('@')) {
            put(&mut table, "node_name", Value::String(format!("{name}@{host}")));
        }
        if let (Some(base), None) = (self.get("MNESIA_BASE"), self.get("MNESIA_DIR")) {
            let node = table.get("node_name").and_then(Value::as_str).unwrap_or("rabbit");
            let data = Path::new(base).join(node).to_string_lossy().into_owned();
            put(&mut table, "data_dir", Value::String(data));
        }
        if self.get("SSL_CERTFILE").is_some() && self.get("SSL_KEYFILE").is_some() {
            let everywhere = Value::String("*:5671".to_owned());
            put(&mut table, "amqp.tls_listen", Value::Array(vec![everywhere]));
        }
        if let Some(level) = self.get("LOG").and_then(level) {
            put(&mut table, "log.level", Value::String(level.to_owned()));
        }
        Ok(table)
    }

    /// Variables that would matter to RabbitMQ and do not here, each with a reason.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |name: &str, why: &str| {
            if self.get(name).is_some() {
                warnings.push(format!("environment variable {PREFIX}{name} has no effect: {why}"));
            }
        };
        warn("ADVANCED_CONFIG_FILE", "Erlang terms are not read; rabbitmq.conf is");
        warn(
            "SERVER_ADDITIONAL_ERL_ARGS",
            "there is no Erlang here; write keys into rabbitmq.conf",
        );
        warn("CONF_ENV_FILE", "set the variables themselves");
        warn("SSL_DEPTH", "the length of certificate chains is not bounded");
        warn("USE_LONGNAME", "give the node's whole name with RABBITMQ_NODENAME");
        warnings
    }
}

fn with_extension(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(super::rabbitmq::EXTENSION);
    PathBuf::from(name)
}

/// The level of the whole log in RabbitMQ's list of levels by category, such as `debug,+color`.
fn level(list: &str) -> Option<&'static str> {
    let mut whole = list.split(',').map(str::trim);
    whole.find_map(|part| super::rabbitmq::level(part).ok())
}
