//! The folder `docker`: its files are understood and fit together, and what the image does is done here without one. That
//! an image is built and started takes a Docker engine, which these tests do not have.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leveret_tests::series::{exported, metrics, queried};
use leveret_tests::{Broker, Folder, Options, PATIENCE, eventually, leveret};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

fn docker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docker")
}

fn read(path: &str) -> String {
    let path = docker().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Yaml {
    YamlLoader::load_from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}")).remove(0)
}

/// The words behind an instruction of the Dockerfile, all of them together.
fn instruction(name: &str) -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{name} ")));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_asks_for_nothing_that_is_not_exported() {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboards/leveret.json")).unwrap();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            asked.extend(queried(target["expr"].as_str().unwrap()));
        }
    }
    assert!(asked.len() > 30, "{asked:?}");
    let broker = Broker::start();
    let shown = exported(&metrics(&broker, "/metrics"));
    let missing: Vec<&String> = asked.difference(&shown).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn compose_prometheus_and_grafana_fit_together() {
    let compose = yaml("compose.yaml");
    let service = |name: &str| compose["services"][name].clone();
    let exposed = instruction("EXPOSE");
    let ports = service("leveret")["ports"].clone();
    for port in ports.as_vec().unwrap() {
        let inside = port.as_str().unwrap().rsplit(':').next().unwrap();
        assert!(exposed.contains(&inside.to_owned()), "{inside}");
        assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "strangers cannot reach it");
    }
    let target =
        yaml("prometheus.yaml")["scrape_configs"][0]["static_configs"][0]["targets"][0].clone();
    assert_eq!(target.as_str(), Some("leveret:15692"));
    assert!(exposed.contains(&"15692".to_owned()));
    let volume = service("leveret")["volumes"][0].clone();
    assert_eq!(volume.as_str(), Some("messages:/var/lib/rabbitmq"));
    assert_eq!(instruction("VOLUME"), ["/var/lib/rabbitmq"]);
    // Grafana finds the datasource that the dashboard has, and the dashboard where the provider looks.
    let source = yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0].clone();
    assert_eq!(source["type"].as_str(), Some("prometheus"));
    assert_eq!(source["url"].as_str(), Some("http://prometheus:9090"));
    let provider = yaml("grafana/provisioning/dashboards/leveret.yaml")["providers"][0].clone();
    let folder = provider["options"]["path"].as_str().unwrap();
    let mounts = service("grafana")["volumes"].clone();
    let mounted =
        |mount: &Yaml| mount.as_str().unwrap() == format!("./grafana/dashboards:{folder}:ro");
    assert!(mounts.as_vec().unwrap().iter().any(mounted), "{mounts:?}");
    for mount in mounts.as_vec().unwrap() {
        let here = mount.as_str().unwrap().split(':').next().unwrap();
        assert!(docker().join(here).exists(), "{here}");
    }
}

#[test]
fn what_the_dockerfile_copies_is_there() {
    let root = docker().parent().unwrap().to_owned();
    for line in read("Dockerfile").lines().filter(|line| line.starts_with("COPY docker/")) {
        let from = line.split_whitespace().nth(1).unwrap();
        assert!(root.join(from).exists(), "{from}");
    }
}

#[test]
fn the_image_is_prepared_with_a_user_and_directories_of_its_own() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root makes users and gives directories away");
        return;
    }
    let folder = Folder::new("image");
    fs::create_dir_all(folder.path().join("etc")).unwrap();
    for file in ["etc/passwd", "etc/group"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    // A second time changes nothing.
    for _ in 0..2 {
        let script = docker().join("install.sh");
        let done = Command::new("sh").arg(script).env("ROOT", folder.path()).status().unwrap();
        assert!(done.success());
    }
    let users = fs::read_to_string(folder.path().join("etc/passwd")).unwrap();
    assert_eq!(users.lines().count(), 1, "{users}");
    assert!(users.starts_with("rabbitmq:x:999:999:"), "{users}");
    assert_eq!(instruction("USER"), ["rabbitmq"]);
    use std::os::unix::fs::MetadataExt as _;
    let data = fs::metadata(folder.path().join("var/lib/rabbitmq/data")).unwrap();
    assert_eq!((data.uid(), data.mode() & 0o777), (999, 0o700));
}

#[test]
fn a_broker_with_the_configuration_of_the_image_lets_guest_in_and_answers_the_health_check() {
    let folder = Folder::new("image-run");
    let environment = instruction("ENV");
    assert!(environment.contains(&"RABBITMQ_CONFIG_FILES=/etc/rabbitmq/conf.d".to_owned()));
    let options = Options::default()
        .set("RABBITMQ_CONFIG_FILE", docker().join("rabbitmq.conf"))
        .set("RABBITMQ_CONFIG_FILES", docker().join("conf.d"));
    let Some(broker) = folder.broker(options) else { return };
    // It is told when everything is open.
    eventually("the banner", PATIENCE, || {
        broker.log().contains("may log in from everywhere").then_some(())
    });
    assert!(!broker.log().contains("mean nothing"), "{}", broker.log());
    // HEALTHCHECK, and what scripts call in RabbitMQ's image.
    let check: Vec<String> = serde_json::from_str(
        read("Dockerfile").split("CMD ").nth(1).unwrap().lines().next().unwrap(),
    )
    .unwrap();
    let run = |mut command: Command| {
        let path =
            format!("{}:{}", leveret().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output =
            command.env("LEVERET_DATA_DIR", folder.data()).env("PATH", path).output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let mut health = Command::new(leveret());
    health.args(&check[1..]);
    assert_eq!(check[0], "leveret");
    run(health);
    for arguments in [
        &["-q", "ping"][..],
        &["check_running"],
        &["-q", "check_port_connectivity"],
        &["check_local_alarms"],
        &["check_virtual_hosts"],
        &["list_queues", "-q", "name", "messages"],
    ] {
        let mut script = Command::new(docker().join("rabbitmqctl"));
        script.args(arguments);
        run(script);
    }
}
