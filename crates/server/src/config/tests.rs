//! The layers and their order, and the errors that people see.

use super::load::{Loaded, load};
use super::*;
use std::io::Write as _;
use std::path::Path;

/// A file that is gone with the test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-{}-{name}.toml", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn with(
    file: Option<&Path>,
    environment: &[(&str, &str)],
    flags: &Flags,
) -> Result<Loaded, String> {
    load(file, variables(environment), flags, None).map_err(|error| error.to_string())
}

fn of_file(name: &str, text: &str) -> Result<Config, String> {
    let file = TempFile::new(name, text);
    with(Some(&file.0), &[], &Flags::default()).map(|loaded| loaded.config)
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = with(None, &[], &Flags::default()).unwrap().config;
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.amqp.listen, ["0.0.0.0:5672"]);
    assert_eq!(config.management.listen, ["0.0.0.0:15672"]);
    assert_eq!(config.prometheus.listen, ["0.0.0.0:15692"]);
    assert!(config.node_name.starts_with("rabbit@"), "{}", config.node_name);
}

#[test]
fn environment_beats_file_and_flags_beat_both() {
    let file = TempFile::new(
        "order",
        "data_dir = '/file'\nnode_name = 'file@h'\n[amqp]\nlisten = '127.0.0.1:1'\nheartbeat = 7\n",
    );
    let environment =
        [("LEVERET_NODE_NAME", "env@h"), ("LEVERET_AMQP_LISTEN", "127.0.0.1:2, [::1]:2")];
    let flags = Flags { amqp_listen: vec!["127.0.0.1:3".to_owned()], ..Flags::default() };
    let config = with(Some(&file.0), &environment, &Flags::default()).unwrap().config;
    assert_eq!(config.data_dir, Path::new("/file"));
    assert_eq!(config.node_name, "env@h");
    assert_eq!(config.amqp.listen, ["127.0.0.1:2", "[::1]:2"]);
    assert_eq!(config.amqp.heartbeat, 7);
    let config = with(Some(&file.0), &environment, &flags).unwrap().config;
    assert_eq!(config.amqp.listen, ["127.0.0.1:3"]);
    assert_eq!(config.node_name, "env@h");
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_is_named() {
    for (name, text, key, meant) in [
        ("typo", "[amqp]\nlistn = 'x'\n", "amqp.listn", "amqp.listen"),
        ("place", "listen = 'x'\n", "listen", "amqp.listen"),
        (
            "words",
            "[resources]\nmemory_high_watermark = 0.4\n",
            "resources.memory_high_watermark",
            "resources.vm_memory_high_watermark",
        ),
    ] {
        let error = of_file(name, text).unwrap_err();
        assert!(
            error.ends_with(&format!("there is no key `{key}`; did you mean `{meant}`?")),
            "{error}"
        );
    }
    let error = of_file("far", "[zzz]\nq = 1\n").unwrap_err();
    assert!(error.ends_with("there is no key `zzz`"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_with_its_line() {
    let error = of_file("kind", "\n[amqp]\nheartbeat = 'often'\n").unwrap_err();
    assert!(error.contains("line 3"), "{error}");
    let error = with(None, &[("LEVERET_AMQP_HEARTBEAT", "often")], &Flags::default()).unwrap_err();
    assert!(error.contains("heartbeat") || error.contains("invalid type"), "{error}");
}

#[test]
fn a_variable_that_means_nothing_is_a_warning() {
    let loaded = with(
        None,
        &[("LEVERET_SERVICE_HOST", "10.0.0.1"), ("LEVERET_AMQP_LISTN", "x"), ("HOME", "/")],
        &Flags::default(),
    )
    .unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[1].contains("did you mean `LEVERET_AMQP_LISTEN`"));
}

#[test]
fn every_key_has_a_variable_of_the_right_kind() {
    let config = with(
        None,
        &[
            ("LEVERET_TLS_FAIL_IF_NO_PEER_CERT", "true"),
            ("LEVERET_TLS_VERIFY", "verify_peer"),
            ("LEVERET_TLS_CACERTFILE", "/ca.pem"),
            ("LEVERET_RESOURCES_DISK_FREE_LIMIT", "2GB"),
            ("LEVERET_RESOURCES_VM_MEMORY_HIGH_WATERMARK", "0.4"),
            ("LEVERET_AUTH_LOOPBACK_USERS", ""),
            ("LEVERET_WORKER_THREADS", "3"),
        ],
        &Flags::default(),
    )
    .unwrap()
    .config;
    assert!(config.tls.fail_if_no_peer_cert);
    assert_eq!(config.resources.disk_free_limit, ByteSize(2_000_000_000));
    assert_eq!(config.resources.vm_memory_high_watermark, MemoryWatermark::Share(0.4));
    assert!(config.auth.loopback_users.is_empty());
    assert_eq!(config.worker_threads, 3);
}

#[test]
fn sizes_are_read_as_rabbitmq_reads_them() {
    for (text, bytes) in [
        ("0", 0),
        ("512", 512),
        ("50MB", 50_000_000),
        ("2GiB", 2 << 30),
        ("64 kB", 64_000),
        ("1k", 1000),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for text in ["", "MB", "5 miles", "-1", "99999999999TB"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    assert_eq!("4GB".parse(), Ok(MemoryWatermark::Bytes(4_000_000_000)));
    assert_eq!(MemoryWatermark::Share(0.5).bytes(1000), 500);
    assert!(of_file("share", "[resources]\nvm_memory_high_watermark = 1.5\n").is_err());
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (name, text, word) in [
        ("cert", "[amqp]\ntls_listen = '127.0.0.1:0'\n", "tls.certfile"),
        (
            "ca",
            "[amqp]\ntls_listen='127.0.0.1:0'\n[tls]\ncertfile='a'\nkeyfile='b'\nverify='verify_peer'\n",
            "tls.cacertfile",
        ),
        ("fail", "[tls]\nfail_if_no_peer_cert = true\n", "verify_peer"),
        ("frame", "[amqp]\nframe_max = 100\n", "4096"),
        ("name", "node_name = 'a b'\n", "node name"),
    ] {
        let error = of_file(name, text).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let config = of_file("secret", "[auth]\ndefault_pass = 'hunter2'\n").unwrap();
    assert_eq!(config.auth.default_pass.0, "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}
