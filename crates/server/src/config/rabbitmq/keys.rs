//! What each key of `rabbitmq.conf` is called in leveret's own configuration. Which of RabbitMQ's keys mean nothing here
//! is in `without_effect.txt`.

use super::Translated;
use crate::config::Config;
use crate::config::load::{leaf, parse_variable, put};
use toml::{Table, Value};

/// Keys with the same meaning, and what leveret calls them.
const SAME: [(&str, &str); 36] = [
    ("channel_max", "amqp.channel_max"),
    ("cluster_exchange_limit", "limits.cluster_exchange_limit"),
    ("cluster_name", "cluster_name"),
    ("cluster_queue_limit", "limits.cluster_queue_limit"),
    ("connection_max", "amqp.connection_max"),
    ("consumer_max_per_channel", "amqp.consumer_max_per_channel"),
    ("consumer_timeout", "amqp.consumer_timeout"),
    ("default_pass", "auth.default_pass"),
    ("default_permissions.configure", "auth.default_permissions.configure"),
    ("default_permissions.read", "auth.default_permissions.read"),
    ("default_permissions.write", "auth.default_permissions.write"),
    ("default_user", "auth.default_user"),
    ("default_vhost", "auth.default_vhost"),
    ("definitions.skip_if_unchanged", "definitions.skip_if_unchanged"),
    ("disk_free_limit.absolute", "resources.disk_free_limit"),
    ("frame_max", "amqp.frame_max"),
    ("handshake_timeout", "amqp.handshake_timeout"),
    ("heartbeat", "amqp.heartbeat"),
    ("management.http.max_body_size", "management.max_body_size"),
    ("management.path_prefix", "management.path_prefix"),
    ("max_channels_per_connection", "amqp.channel_max"),
    ("max_connections", "amqp.connection_max"),
    ("max_message_size", "amqp.max_message_size"),
    ("memory_monitor_interval", "resources.monitor_interval"),
    ("nodename", "node_name"),
    ("prometheus.path", "prometheus.path"),
    ("ssl_cert_login_from", "tls.cert_login_from"),
    ("ssl_options.cacertfile", "tls.cacertfile"),
    ("ssl_options.certfile", "tls.certfile"),
    ("ssl_options.fail_if_no_peer_cert", "tls.fail_if_no_peer_cert"),
    ("ssl_options.keyfile", "tls.keyfile"),
    ("ssl_options.verify", "tls.verify"),
    ("tcp_listen_options.backlog", "amqp.backlog"),
    ("total_memory_available_override_value", "resources.total_memory_available_override_value"),
    ("vhost_max", "limits.vhost_max"),
    ("vm_memory_high_watermark.absolute", "resources.vm_memory_high_watermark"),
];

/// Keys with a meaning that takes more than another name; `$` is any word.
const SHAPED: [&str; 37] = [
    "auth_backends.$",
    "auth_mechanisms.$",
    "default_user_tags.$",
    "definitions.import_backend",
    "definitions.local.path",
    "disk_free_limit.relative",
    "listeners.ssl",
    "listeners.ssl.$",
    "listeners.tcp",
    "listeners.tcp.$",
    "load_definitions",
    "log.console",
    "log.console.formatter",
    "log.console.level",
    "log.default.level",
    "log.file.level",
    "loopback_users",
    "loopback_users.$",
    "management.listener.ip",
    "management.listener.port",
    "management.listener.ssl",
    "management.load_definitions",
    "management.ssl.cacertfile",
    "management.ssl.certfile",
    "management.ssl.ip",
    "management.ssl.keyfile",
    "management.ssl.port",
    "management.tcp.ip",
    "management.tcp.port",
    "prometheus.ssl.cacertfile",
    "prometheus.ssl.certfile",
    "prometheus.ssl.ip",
    "prometheus.ssl.keyfile",
    "prometheus.ssl.port",
    "prometheus.tcp.ip",
    "prometheus.tcp.port",
    "vm_memory_high_watermark.relative",
];

/// RabbitMQ's keys that mean nothing here. `$` is any word, `*` at the end any number of them.
const WITHOUT_EFFECT: &str = include_str!("without_effect.txt");

fn without_effect() -> impl Iterator<Item = &'static str> {
    WITHOUT_EFFECT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Every key there is, for a hint about one that there is not: what may be any word is the word of that key.
pub(super) fn like(words: &[&str]) -> Vec<String> {
    let filled = |pattern: &str| {
        let parts = pattern.split('.').enumerate();
        let parts = parts.map(|(at, part)| match (part, words.get(at)) {
            ("$", Some(word)) => word,
            (part, _) => part,
        });
        parts.collect::<Vec<_>>().join(".")
    };
    let same = SAME.iter().map(|(key, _)| *key);
    same.chain(SHAPED).chain(without_effect()).map(filled).collect()
}

fn fits(pattern: &str, words: &[&str]) -> bool {
    let mut words = words.iter();
    for wanted in pattern.split('.') {
        match (wanted, words.next()) {
            ("*", _) => return true,
            ("$", Some(_)) => {}
            (wanted, Some(word)) if wanted == *word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// One listener in the making, whose address and port are keys of their own.
#[derive(Debug, Default)]
struct Place {
    ip: Option<String>,
    port: Option<String>,
}

impl Place {
    fn is_given(&self) -> bool {
        self.ip.is_some() || self.port.is_some()
    }

    fn address(&self, port: &str) -> Value {
        let port = self.port.as_deref().unwrap_or(port);
        let text = match self.ip.as_deref() {
            None => format!("*:{port}"),
            Some(ip) if ip.contains(':') => format!("[{ip}]:{port}"),
            Some(ip) => format!("{ip}:{port}"),
        };
        Value::String(text)
    }
}

/// What the settings mean so far.
#[derive(Debug)]
pub(super) struct Meaning {
    memory_total: Option<u64>,
    known: Table,
    translated: Translated,
    management: Place,
    management_tls: Place,
    /// `management.listener.ssl`: the one listener of old files speaks TLS.
    old_management_tls: bool,
    prometheus: Place,
    prometheus_tls: Place,
    console_level: bool,
}

impl Meaning {
    pub(super) fn new(memory_total: Option<u64>) -> Self {
        Self {
            memory_total,
            known: crate::config::load::known_keys(),
            translated: Translated::default(),
            management: Place::default(),
            management_tls: Place::default(),
            old_management_tls: false,
            prometheus: Place::default(),
            prometheus_tls: Place::default(),
            console_level: false,
        }
    }

    /// Takes a setting; settings come in the order of their keys. `false` says that RabbitMQ has no such key.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn take(&mut self, words: &[&str], value: &str) -> Result<bool, String> {
        let whole = words.join(".");
        if let Some((_, path)) = SAME.iter().find(|(key, _)| *key == whole) {
            self.set(path, value)?;
        } else if SHAPED.iter().any(|pattern| fits(pattern, words)) {
            self.shape(words, value)?;
        } else if words.first() == Some(&"cluster_formation") {
            self.cluster_formation(words.get(1..).unwrap_or_default().join("."), value);
        } else if without_effect().any(|pattern| fits(pattern, words)) {
            self.ignore(whole);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Keeps what is for whoever forms the cluster, by its own name.
    fn cluster_formation(&mut self, key: String, value: &str) {
        let table = &mut self.translated.table;
        let kept = table.entry("cluster_formation").or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(kept) = kept {
            kept.insert(key, Value::String(value.to_owned()));
        }
    }

    fn ignore(&mut self, key: String) {
        self.translated.without_effect.push(key);
    }

    /// Sets a key of leveret, of whatever kind it is.
    fn set(&mut self, path: &str, value: &str) -> Result<(), String> {
        let kind = leaf(&self.known, path);
        // rabbitmq: a limit that is none; leveret writes 0 for it
        let unlimited = matches!(value, "infinity" | "undefined" | "unlimited");
        let value = match kind {
            Some(Value::Integer(_)) if unlimited => Value::Integer(0),
            kind => parse_variable(value, kind)?,
        };
        // rabbitmq: channel_max = 0 is no limit
        let value = match (path, value) {
            ("amqp.channel_max", Value::Integer(0)) => Value::Integer(65_535),
            (_, value) => value,
        };
        let mut alone = Table::new();
        put(&mut alone, path, value.clone());
        alone.try_into::<Config>().map_err(|error| error.message().to_owned())?;
        put(&mut self.translated.table, path, value);
        Ok(())
    }

    fn push(&mut self, path: &str, value: &str) {
        let mut list = match leaf(&self.translated.table, path) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        list.push(Value::String(value.to_owned()));
        put(&mut self.translated.table, path, Value::Array(list));
    }

    /// Makes a list that is empty rather than the default one.
    fn begin(&mut self, path: &str) {
        if leaf(&self.translated.table, path).is_none() {
            put(&mut self.translated.table, path, Value::Array(Vec::new()));
        }
    }

    fn shape(&mut self, words: &[&str], value: &str) -> Result<(), String> {
        match words {
            ["listeners", kind] => {
                none(value)?;
                self.begin(listen_path(kind));
            }
            ["listeners", kind, _] => self.push(listen_path(kind), &address(value)),
            ["loopback_users"] => {
                none(value)?;
                self.begin("auth.loopback_users");
            }
            ["loopback_users", name] => self.member("auth.loopback_users", name, value)?,
            ["default_user_tags", tag] => self.member("auth.default_user_tags", tag, value)?,
            ["auth_mechanisms", _] => match value {
                "PLAIN" | "AMQPLAIN" | "EXTERNAL" => self.push("amqp.auth_mechanisms", value),
                _ => self.ignore(format!("{} = {value}", words.join("."))),
            },
            ["auth_backends", _] => {
                if !matches!(value, "internal" | "rabbit_auth_backend_internal") {
                    self.ignore(format!("{} = {value}", words.join(".")));
                }
            }
            ["definitions", "import_backend"] => {
                if !matches!(
                    value,
                    "local_filesystem" | "local" | "rabbit_definitions_import_local_filesystem"
                ) {
                    return Err(format!(
                        "definitions come from files: write local_filesystem instead of {value}"
                    ));
                }
            }
            ["load_definitions"]
            | ["management", "load_definitions"]
            | ["definitions", "local", "path"] => self.push("definitions.load", value),
            ["disk_free_limit", "relative"] => self.disk_share(value)?,
            ["vm_memory_high_watermark", "relative"] => {
                // rabbitmq: an absolute value wins, and came before by its name
                if leaf(&self.translated.table, "resources.vm_memory_high_watermark").is_none() {
                    self.set("resources.vm_memory_high_watermark", value)?;
                }
            }
            ["log", ..] => self.log(words, value)?,
            _ => self.place(words, value)?,
        }
        Ok(())
    }

    fn member(&mut self, path: &str, name: &str, value: &str) -> Result<(), String> {
        self.begin(path);
        if truth(value)? {
            self.push(path, name);
        }
        Ok(())
    }

    fn disk_share(&mut self, value: &str) -> Result<(), String> {
        if leaf(&self.translated.table, "resources.disk_free_limit").is_some() {
            return Ok(());
        }
        let share: f64 = value.parse().map_err(|_| format!("{value} is not a number"))?;
        let total = self.memory_total.ok_or("this system does not tell how much memory it has")?;
        self.set(
            "resources.disk_free_limit",
            &format!("{}", (total as f64 * share.max(0.0)) as u64),
        )
    }

    fn log(&mut self, words: &[&str], value: &str) -> Result<(), String> {
        match words {
            ["log", "console"] => {
                if !truth(value)? {
                    self.ignore("log.console = false".to_owned());
                }
                Ok(())
            }
            ["log", "console", "formatter"] => match value {
                "json" => self.set("log.format", "json"),
                "plaintext" => self.set("log.format", "plain"),
                _ => Err("write plaintext or json".to_owned()),
            },
            // The log is one, and the console's settings fit it best. They come first by their names.
            ["log", which, "level"] if *which == "console" || !self.console_level => {
                self.console_level |= *which == "console";
                self.set("log.level", level(value)?)
            }
            _ => Ok(()),
        }
    }

    fn place(&mut self, words: &[&str], value: &str) -> Result<(), String> {
        let (plain, tls) = (&mut self.management, &mut self.management_tls);
        let (metrics, metrics_tls) = (&mut self.prometheus, &mut self.prometheus_tls);
        let field = match words {
            ["management", "tcp" | "listener", "ip"] => &mut plain.ip,
            ["management", "tcp" | "listener", "port"] => &mut plain.port,
            ["management", "ssl", "ip"] => &mut tls.ip,
            ["management", "ssl", "port"] => &mut tls.port,
            ["prometheus", "tcp", "ip"] => &mut metrics.ip,
            ["prometheus", "tcp", "port"] => &mut metrics.port,
            ["prometheus", "ssl", "ip"] => &mut metrics_tls.ip,
            ["prometheus", "ssl", "port"] => &mut metrics_tls.port,
            ["management", "listener", "ssl"] => {
                self.old_management_tls = truth(value)?;
                return Ok(());
            }
            // There is one set of certificates; that of AMQP, which comes later by its name, wins.
            [_, "ssl", file] => return self.set(&format!("tls.{file}"), value),
            _ => return Ok(()),
        };
        *field = Some(value.to_owned());
        Ok(())
    }

    /// What all of it means.
    pub(super) fn done(mut self) -> Translated {
        if self.old_management_tls {
            self.management_tls = std::mem::take(&mut self.management);
        }
        let table = &mut self.translated.table;
        for (section, plain, tls, ports) in [
            ("management", &self.management, &self.management_tls, ["15672", "15671"]),
            ("prometheus", &self.prometheus, &self.prometheus_tls, ["15692", "15691"]),
        ] {
            // rabbitmq: with TLS alone there is no plain listener
            if tls.is_given() {
                let listen = Value::Array(vec![tls.address(ports[1])]);
                put(table, &format!("{section}.tls_listen"), listen);
                put(table, &format!("{section}.listen"), Value::Array(Vec::new()));
            }
            if plain.is_given() {
                let listen = Value::Array(vec![plain.address(ports[0])]);
                put(table, &format!("{section}.listen"), listen);
            }
        }
        self.translated
    }
}

fn listen_path(kind: &str) -> &'static str {
    if kind == "ssl" { "amqp.tls_listen" } else { "amqp.listen" }
}

/// A listener: a port, or an address and a port, where IPv6 needs no brackets.
fn address(value: &str) -> String {
    match value.rsplit_once(':') {
        None => format!("*:{value}"),
        Some((host, port)) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{port}")
        }
        Some(_) => value.to_owned(),
    }
}

fn none(value: &str) -> Result<(), String> {
    if value == "none" { Ok(()) } else { Err(format!("write none instead of {value}")) }
}

fn truth(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("write true or false instead of {value}"))
}

/// RabbitMQ's levels in leveret's words.
pub(in crate::config) fn level(value: &str) -> Result<&'static str, String> {
    Ok(match value {
        "debug" => "debug",
        "info" | "notice" => "info",
        "warning" | "warn" => "warn",
        "error" | "critical" | "alert" | "emergency" => "error",
        "none" => "off",
        _ => {
            return Err(format!(
                "{value} is not a level: write debug, info, warning, error or none"
            ));
        }
    })
}
