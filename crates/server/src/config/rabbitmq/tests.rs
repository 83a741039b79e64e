//! Files as people have them, what leveret makes of them, and RabbitMQ's words for what is wrong.

use super::*;
use crate::config::load::{Loaded, load};
use crate::config::{Config, Flags, LogFormat, MemoryWatermark};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-{}-{name}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, file: &str, environment: &[(&str, &str)]) -> Result<Loaded, String> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load(Some(&self.0.join(file)), environment, &Flags::default(), Some(8_000_000_000))
            .map_err(|error| error.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn loaded(name: &str, text: &str) -> Result<Loaded, String> {
    Folder::new(name, &[("rabbitmq.conf", text)]).load("rabbitmq.conf", &[])
}

fn of(name: &str, text: &str) -> Config {
    loaded(name, text).unwrap().config
}

#[test]
fn the_usual_keys_mean_what_they_mean_to_rabbitmq() {
    let config = of(
        "usual",
        "listeners.tcp.default = 5673\nlisteners.tcp.local = 127.0.0.1:5674\nlisteners.tcp.v6 = ::1:5675
heartbeat = 20\nframe_max = 65536\nchannel_max = 0\nconnection_max = infinity
max_message_size = 1048576\nconsumer_timeout = undefined\nhandshake_timeout = 5000
tcp_listen_options.backlog = 4096\nvhost_max = 10\ncluster_name = hares
default_user = anna\ndefault_pass = 'se#cret'\ndefault_vhost = jobs
default_user_tags.monitoring = true\ndefault_user_tags.administrator = false
default_permissions.write = ^jobs\\.
loopback_users.anna = true\nloopback_users.guest = false
vm_memory_high_watermark.relative = 0.5\ndisk_free_limit.relative = 1.5
log.console.level = warning\nlog.console.formatter = json\nlog.file.level = debug
auth_mechanisms.1 = PLAIN\nauth_backends.1 = internal
management.tcp.port = 15680\nprometheus.tcp.ip = 127.0.0.1
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit@a
load_definitions = /etc/rabbitmq/definitions.json\n",
    );
    assert_eq!(config.amqp.listen, ["*:5673", "127.0.0.1:5674", "[::1]:5675"]);
    assert_eq!((config.amqp.heartbeat, config.amqp.frame_max), (20, 65_536));
    assert_eq!((config.amqp.channel_max, config.amqp.connection_max), (65_535, 0));
    assert_eq!(config.amqp.max_message_size.0, 1_048_576);
    assert_eq!((config.amqp.consumer_timeout, config.amqp.handshake_timeout), (0, 5000));
    assert_eq!((config.amqp.backlog, config.limits.vhost_max), (4096, 10));
    assert_eq!(config.cluster_name, "hares");
    let auth = &config.auth;
    assert_eq!((auth.default_user.as_str(), auth.default_pass.0.as_str()), ("anna", "se#cret"));
    assert_eq!(auth.default_vhost, "jobs");
    assert_eq!(auth.default_user_tags, ["monitoring"]);
    assert_eq!(auth.default_permissions.write, "^jobs\\.");
    assert_eq!(auth.default_permissions.read, ".*");
    assert_eq!(auth.loopback_users, ["anna"]);
    let resources = &config.resources;
    assert_eq!(resources.vm_memory_high_watermark, MemoryWatermark::Share(0.5));
    assert_eq!(resources.disk_free_limit.0, 12_000_000_000);
    assert_eq!((config.log.level.as_str(), config.log.format), ("warn", LogFormat::Json));
    assert_eq!(config.amqp.auth_mechanisms, ["PLAIN"]);
    assert_eq!(config.management.listen, ["*:15680"]);
    assert_eq!(config.prometheus.listen, ["127.0.0.1:15692"]);
    assert_eq!(config.cluster_formation["classic_config.nodes.1"], "rabbit@a");
    assert_eq!(config.definitions.load, ["/etc/rabbitmq/definitions.json"]);
}

#[test]
fn nothing_listens_where_the_file_says_none_and_tls_replaces_plain_management() {
    let config = of(
        "tls",
        "listeners.tcp = none\nlisteners.ssl.1 = 5671\nssl_options.cacertfile = /ca.pem
ssl_options.certfile = /cert.pem\nssl_options.keyfile = /key.pem\nssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true\nssl_cert_login_from = common_name
management.ssl.port = 15671\nmanagement.ssl.certfile = /other.pem\nprometheus.ssl.ip = ::1\n",
    );
    assert!(config.amqp.listen.is_empty());
    assert_eq!(config.amqp.tls_listen, ["*:5671"]);
    assert_eq!(config.tls.certfile, Some(PathBuf::from("/cert.pem")));
    assert!(config.tls.fail_if_no_peer_cert);
    assert!(config.management.listen.is_empty());
    assert_eq!(config.management.tls_listen, ["*:15671"]);
    assert!(config.prometheus.listen.is_empty());
    assert_eq!(config.prometheus.tls_listen, ["[::1]:15691"]);
}

#[test]
fn an_absolute_amount_of_memory_and_disk_beats_a_share() {
    let config = of(
        "absolute",
        "vm_memory_high_watermark.relative = 0.4\nvm_memory_high_watermark.absolute = 2GB
disk_free_limit.relative = 1.0\ndisk_free_limit.absolute = 1GB\n",
    );
    let resources = config.resources;
    assert_eq!(resources.vm_memory_high_watermark, MemoryWatermark::Bytes(2_000_000_000));
    assert_eq!(resources.disk_free_limit.0, 1_000_000_000);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant() {
    for (name, text, error) in [
        (
            "typo",
            "# x\nlisteners.tpc.default = 5672\n",
            "rabbitmq.conf:2: Conf file attempted to set unknown variable: listeners.tpc.default; did you mean `listeners.tcp.default`?",
        ),
        (
            "far",
            "zzzzzz = 1\n",
            "rabbitmq.conf:1: Conf file attempted to set unknown variable: zzzzzz",
        ),
        (
            "number",
            "\n\nheartbeat = often\n",
            "rabbitmq.conf:3: invalid type: string \"often\", expected u16",
        ),
        (
            "truth",
            "loopback_users.guest = no\n",
            "rabbitmq.conf:1: write true or false instead of no",
        ),
        (
            "level",
            "log.file.level = loud\n",
            "rabbitmq.conf:1: loud is not a level: write debug, info, warning, error or none",
        ),
        ("line", "heartbeat\n", "rabbitmq.conf:1: Syntax error: a line is `key = value`"),
        (
            "secret",
            "default_pass = encrypted:abc\n",
            "rabbitmq.conf:1: default_pass: encrypted values are not read; write the value that `rabbitmqctl decode` shows, or $(VARIABLE)",
        ),
        (
            "https",
            "definitions.import_backend = https\n",
            "rabbitmq.conf:1: definitions come from files: write local_filesystem instead of https",
        ),
    ] {
        let found = loaded(name, text).unwrap_err();
        assert!(found.ends_with(error), "{found}\n{error}");
    }
}

#[test]
fn what_means_nothing_here_is_named_in_one_warning() {
    let loaded = loaded(
        "nothing",
        "num_acceptors.tcp = 10\nmqtt.allow_anonymous = false\nauth_backends.1 = ldap
deprecated_features.permit.transient_nonexcl_queues = true\nlog.file = /var/log/x.log\n",
    )
    .unwrap();
    assert_eq!(
        loaded.warnings,
        ["these keys of RabbitMQ mean nothing here: auth_backends.1 = ldap, \
          deprecated_features.permit.transient_nonexcl_queues, log.file, mqtt.allow_anonymous, num_acceptors.tcp"]
    );
}

#[test]
fn files_of_conf_d_come_later_by_name_and_win() {
    let folder = Folder::new(
        "conf-d",
        &[
            ("rabbitmq.conf", "heartbeat = 1\nframe_max = 8192\nvhost_max = 5\n"),
            ("conf.d/20-b.conf", "heartbeat = 3\n"),
            ("conf.d/10-a.conf", "heartbeat = 2\nframe_max = 16384\n"),
            ("conf.d/90-not.txt", "heartbeat = 4\n"),
        ],
    );
    let config = folder.load("rabbitmq.conf", &[]).unwrap().config;
    assert_eq!(
        (config.amqp.heartbeat, config.amqp.frame_max, config.limits.vhost_max),
        (3, 16_384, 5)
    );
    let other = Folder::new("conf-e", &[("x.conf", "heartbeat = 9\n")]);
    let pattern = format!("{}/*.conf", other.0.display());
    let config =
        folder.load("rabbitmq.conf", &[("RABBITMQ_CONFIG_FILES", &pattern)]).unwrap().config;
    assert_eq!((config.amqp.heartbeat, config.amqp.frame_max), (9, 8192));
}

#[test]
fn the_environment_of_the_docker_image_is_read() {
    let folder = Folder::new(
        "docker",
        &[
            ("rabbitmq.conf", "default_user = file\nheartbeat = 5\ndefault_pass = $(SEED)\n"),
            ("secret", "hush\n"),
            ("own.toml", "[amqp]\nheartbeat = 6\n"),
        ],
    );
    // The extension may be left out.
    let named = folder.0.join("rabbitmq").to_string_lossy().into_owned();
    let secret = folder.0.join("secret").to_string_lossy().into_owned();
    let variables = [
        ("RABBITMQ_CONFIG_FILE", named.as_str()),
        ("RABBITMQ_DEFAULT_USER", "anna"),
        ("RABBITMQ_DEFAULT_VHOST", "jobs"),
        ("RABBITMQ_NODENAME", "hare"),
        ("RABBITMQ_NODE_PORT", "5700"),
        ("RABBITMQ_MNESIA_BASE", "/var/lib/rabbitmq/mnesia"),
        ("RABBITMQ_LOG", "connection=debug,warning"),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", "/etc/rabbitmq/advanced.config"),
        ("SEED", "from-a-variable"),
    ];
    let loaded = folder.load("own.toml", &variables).unwrap();
    let config = loaded.config;
    assert_eq!((config.auth.default_user.as_str(), config.amqp.heartbeat), ("anna", 6));
    assert_eq!(config.auth.default_pass.0, "from-a-variable");
    assert_eq!(config.auth.default_vhost, "jobs");
    assert!(config.node_name.starts_with("hare@"), "{}", config.node_name);
    assert_eq!(config.amqp.listen, ["*:5700"]);
    assert_eq!(config.data_dir, Path::new("/var/lib/rabbitmq/mnesia").join(&config.node_name));
    assert_eq!(config.log.level, "warn");
    assert!(loaded.warnings[0].contains("RABBITMQ_ADVANCED_CONFIG_FILE"), "{:?}", loaded.warnings);
    let more = [
        ("RABBITMQ_DEFAULT_PASS_FILE", secret.as_str()),
        ("LEVERET_AMQP_HEARTBEAT", "8"),
        ("RABBITMQ_CONFIG_FILE", "/nowhere/rabbitmq.conf"),
    ];
    let loaded = folder.load("own.toml", &more).unwrap();
    assert_eq!(loaded.config.auth.default_pass.0, "hush");
    assert_eq!(loaded.config.amqp.heartbeat, 8);
    assert!(loaded.warnings[0].starts_with("there is no /nowhere/"), "{:?}", loaded.warnings);
}

#[test]
fn every_key_without_effect_is_listed_once_and_in_order() {
    let keys: Vec<String> = keys::like(&[]);
    let listed: Vec<&String> = keys.iter().skip_while(|key| *key != "amqp10_client.*").collect();
    assert!(listed.len() > 250, "{}", listed.len());
    assert!(listed.is_sorted(), "the list is sorted, so that a key is found");
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), keys.len());
}
