//! Puts the configuration together: the defaults, over them RabbitMQ's file, over it leveret's own,
//! over it the environment (RabbitMQ's variables, then leveret's), over it the flags. A key that does not exist is an error that names the nearest one, because a
//! setting that silently has no effect is found too late.

use super::environment::Environment;
use super::{CertLoginFrom, Config, Tls, Verify, rabbitmq};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What every variable of the environment begins with.
pub const ENVIRONMENT_PREFIX: &str = "LEVERET_";

/// Variables with the prefix that are not keys of the file.
const OTHER_VARIABLES: [&str; 1] = ["LEVERET_CONFIG"];

/// What was given on the command line; what is `None` or empty was not.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// `node_name`.
    pub node_name: Option<String>,
    /// `amqp.listen`.
    pub amqp_listen: Vec<String>,
    /// `amqp.tls_listen`.
    pub amqp_tls_listen: Vec<String>,
    /// `management.listen`.
    pub management_listen: Vec<String>,
    /// `prometheus.listen`.
    pub prometheus_listen: Vec<String>,
    /// `cluster.listen`.
    pub cluster_listen: Option<String>,
    /// `log.level`.
    pub log_level: Option<String>,
}

/// Why the configuration cannot be used. The text is for the person who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value in it is of the wrong kind.
    #[error("{}: {source}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// The file has a key that means nothing.
    #[error("{}: there is no key `{key}`{}", path.display(), did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A line of a rabbitmq.conf makes no sense.
    #[error("{}:{line}: {reason}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable of the environment has a value of the wrong kind.
    #[error("environment variable {name}: {reason}")]
    BadVariable {
        /// The variable.
        name: String,
        /// What is wrong; never the value, which may be a secret.
        reason: String,
    },
    /// A value is of the right kind and yet cannot be used.
    #[error("{key}: {reason}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// Why, and what to write.
        reason: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

/// The configuration, and variables of the environment that look like ours and mean nothing. The
/// latter are no error: Kubernetes sets some for every service that is called `leveret`.
#[derive(Debug)]
pub struct Loaded {
    /// What the layers say together.
    pub config: Config,
    /// A sentence for each variable that was ignored.
    pub warnings: Vec<String>,
}

/// Puts the layers together. `file` is leveret's own (TOML), or RabbitMQ's if its name ends with `.conf`; `environment`
/// is every variable of the process, `memory_total` the bytes of memory that shares are taken of.
///
/// # Errors
/// The first thing that a person must correct.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
    memory_total: Option<u64>,
) -> Result<Loaded, ConfigError> {
    let known = known_keys();
    let environment: Vec<(String, String)> = environment.into_iter().collect();
    let rabbitmq = Environment::of(&environment);
    let mut warnings = rabbitmq.warnings();
    let mut table = rabbitmq.below_files();
    let theirs = file.filter(|path| is_rabbitmqs(path));
    merge(&mut table, rabbitmqs(theirs, &rabbitmq, &environment, memory_total, &mut warnings)?);
    if let Some(path) = file.filter(|path| !is_rabbitmqs(path)) {
        merge(&mut table, read_file(path, &known)?);
    }
    let host = host_name();
    merge(&mut table, rabbitmq.above_files(|path| leaf(&known, path), &host)?);
    warnings.extend(overlay_environment(&mut table, environment, &known)?);
    overlay_flags(&mut table, flags);
    let mut config: Config = table.try_into().map_err(|source: toml::de::Error| {
        ConfigError::Unusable { key: "configuration", reason: source.message().to_owned() }
    })?;
    if config.node_name.is_empty() {
        config.node_name = format!("rabbit@{host}");
    }
    check(&config)?;
    Ok(Loaded { config, warnings })
}

/// What RabbitMQ's own files say: the one that is given or else named in the environment, and those beside it.
fn rabbitmqs(
    given: Option<&Path>,
    named: &Environment,
    environment: &[(String, String)],
    memory_total: Option<u64>,
    warnings: &mut Vec<String>,
) -> Result<Table, ConfigError> {
    let file = given.map(Path::to_owned).or_else(|| named.file());
    if let Some(path) = &file
        && let Err(source) = std::fs::metadata(path)
    {
        if given.is_some() {
            return Err(ConfigError::Unreadable { path: path.clone(), source });
        }
        // rabbitmq: it starts without the file that its environment names
        warnings.push(format!("there is no {}: {source}", path.display()));
    }
    let variable = |name: &str| {
        environment.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
    };
    let directory = named.directory();
    let read = rabbitmq::read(file.as_deref(), directory.as_deref(), variable, memory_total)?;
    if !read.without_effect.is_empty() {
        let keys = read.without_effect.join(", ");
        warnings.push(format!("these keys of RabbitMQ mean nothing here: {keys}"));
    }
    Ok(read.table)
}

fn is_rabbitmqs(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == rabbitmq::EXTENSION)
}

/// Lays one table over another.
fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn read_file(path: &Path, known: &Table) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let bad = |source| ConfigError::BadFile { path: path.to_owned(), source: Box::new(source) };
    let table: Table = toml::from_str(&text).map_err(bad)?;
    if let Some(key) = unknown_key(&table, known, "") {
        let nearest = nearest(&key, &paths(known, ""));
        return Err(ConfigError::UnknownKey { path: path.to_owned(), key, nearest });
    }
    // From the text, not from the table: the error then shows the line.
    toml::from_str::<Config>(&text).map_err(bad)?;
    Ok(table)
}

/// Every key with a value of its kind.
pub(super) fn known_keys() -> Table {
    let example = Config {
        tls: Tls {
            certfile: Some(PathBuf::new()),
            keyfile: Some(PathBuf::new()),
            cacertfile: Some(PathBuf::new()),
            verify: Verify::VerifyNone,
            fail_if_no_peer_cert: false,
            cert_login_from: CertLoginFrom::DistinguishedName,
        },
        ..Config::default()
    };
    Table::try_from(example).unwrap_or_default()
}

fn unknown_key(given: &Table, known: &Table, prefix: &str) -> Option<String> {
    given.iter().find_map(|(key, value)| match (known.get(key), value) {
        (None, _) => Some(format!("{prefix}{key}")),
        // What is kept for others may have any keys.
        (Some(Value::Table(inner)), Value::Table(_)) if inner.is_empty() => None,
        (Some(Value::Table(inner)), Value::Table(value)) => {
            unknown_key(value, inner, &format!("{prefix}{key}."))
        }
        _ => None,
    })
}

/// The dotted paths of all leaves.
fn paths(known: &Table, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in known {
        match value {
            Value::Table(inner) => found.extend(paths(inner, &format!("{prefix}{key}."))),
            _ => found.push(format!("{prefix}{key}")),
        }
    }
    found
}

/// The known key that is nearest to what was written, if any is near: the same last part in
/// another section, or a few letters apart.
pub(super) fn nearest(written: &str, known: &[String]) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |key: &String| {
        let whole = distance(written, key);
        if last(written) == last(key) { whole.min(2) } else { whole }
    };
    let best = known.iter().min_by_key(|key| (near(key), distance(written, key)))?;
    (near(best) <= 3.max(written.len() / 3)).then(|| best.clone())
}

/// Letters to change, add or leave out to get from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn overlay_environment(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    known: &Table,
) -> Result<Vec<String>, ConfigError> {
    let paths = paths(known, "");
    let name_of =
        |path: &String| ENVIRONMENT_PREFIX.to_owned() + &path.replace('.', "_").to_uppercase();
    let names: Vec<String> = paths.iter().map(name_of).collect();
    let mut warnings = Vec::new();
    for (name, text) in environment {
        if !name.starts_with(ENVIRONMENT_PREFIX) || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let Some(at) = names.iter().position(|known| *known == name) else {
            let hint = did_you_mean(nearest(&name, &names).as_deref());
            warnings.push(format!("environment variable {name} means nothing{hint}"));
            continue;
        };
        let kind = leaf(known, &paths[at]);
        let value = parse_variable(&text, kind)
            .map_err(|reason| ConfigError::BadVariable { name, reason })?;
        put(table, &paths[at], value);
    }
    Ok(warnings)
}

/// Reads a variable as the kind of value that the key has. Numbers that are no numbers stay texts,
/// because sizes may have a unit; the key's own type judges them.
pub(super) fn parse_variable(text: &str, kind: Option<&Value>) -> Result<Value, String> {
    let texts = |text: &str| {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
    };
    Ok(match kind {
        Some(Value::Array(_)) => texts(text),
        Some(Value::Boolean(_)) => {
            Value::Boolean(text.trim().parse().map_err(|_| "write true or false".to_owned())?)
        }
        Some(Value::Integer(_) | Value::Float(_)) => match text.trim().parse::<i64>() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::String(text.trim().to_owned()),
        },
        _ => Value::String(text.to_owned()),
    })
}

pub(super) fn leaf<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => leaf(table.get(section)?.as_table()?, rest),
    }
}

pub(super) fn put(table: &mut Table, path: &str, value: Value) {
    let Some((section, key)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        put(inner, key, value);
    }
}

fn overlay_flags(table: &mut Table, flags: &Flags) {
    let mut text = |path: &str, value: Option<String>| {
        if let Some(value) = value {
            put(table, path, Value::String(value));
        }
    };
    text("data_dir", flags.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned()));
    text("node_name", flags.node_name.clone());
    text("cluster.listen", flags.cluster_listen.clone());
    text("log.level", flags.log_level.clone());
    for (path, list) in [
        ("amqp.listen", &flags.amqp_listen),
        ("amqp.tls_listen", &flags.amqp_tls_listen),
        ("management.listen", &flags.management_listen),
        ("prometheus.listen", &flags.prometheus_listen),
    ] {
        if !list.is_empty() {
            put(table, path, Value::Array(list.iter().cloned().map(Value::String).collect()));
        }
    }
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = name.split('.').next().unwrap_or_default();
    if short.is_empty() { "localhost".to_owned() } else { short.to_owned() }
}

/// What no single value shows.
fn check(config: &Config) -> Result<(), ConfigError> {
    let unusable =
        |key, reason: &str| Err(ConfigError::Unusable { key, reason: reason.to_owned() });
    let tls = &config.tls;
    let tls_wanted = config.wants_tls();
    if tls_wanted && (tls.certfile.is_none() || tls.keyfile.is_none()) {
        return unusable(
            "amqp.tls_listen",
            "a TLS listener needs tls.certfile and tls.keyfile (PEM files)",
        );
    }
    if tls_wanted && tls.verify == Verify::VerifyPeer && tls.cacertfile.is_none() {
        return unusable(
            "tls.verify",
            "verify_peer needs tls.cacertfile, the authorities to trust",
        );
    }
    if tls.fail_if_no_peer_cert && tls.verify == Verify::VerifyNone {
        return unusable("tls.fail_if_no_peer_cert", "it has no effect without verify_peer");
    }
    if config.amqp.frame_max < 4096 {
        return unusable("amqp.frame_max", "the smallest frame size is 4096");
    }
    if config.amqp.channel_max == 0 {
        return unusable("amqp.channel_max", "write 1 to 65535");
    }
    if config.amqp.max_message_size.0 > 536_870_912 {
        return unusable("amqp.max_message_size", "the largest possible value is 536870912");
    }
    const MECHANISMS: [&str; 3] = ["PLAIN", "AMQPLAIN", "EXTERNAL"];
    if config.amqp.auth_mechanisms.iter().any(|name| !MECHANISMS.contains(&name.as_str())) {
        return unusable("amqp.auth_mechanisms", "write PLAIN, AMQPLAIN or EXTERNAL");
    }
    for (key, path) in [
        ("management.path_prefix", &config.management.path_prefix),
        ("prometheus.path", &config.prometheus.path),
    ] {
        let usable = path.starts_with('/') && !path.contains(['{', '}', '?', '#', ' ']);
        if !path.is_empty() && !usable {
            return unusable(key, "write a path such as /broker");
        }
    }
    if config.resources.monitor_interval == 0 {
        return unusable("resources.monitor_interval", "write milliseconds, at least 1");
    }
    if config.node_name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return unusable("node_name", "a node name has no spaces");
    }
    Ok(())
}
