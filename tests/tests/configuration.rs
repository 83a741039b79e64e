//! RabbitMQ's own configuration on leveret: `rabbitmq.conf`, the variables of its image, definitions at the start.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::process::{Command, Output};

use leveret_tests::{Broker, Folder, Options, leveret};

/// What RabbitMQ of this version exported; the password of its users of each hash is `secret`.
fn exported(version: &str) -> String {
    format!("{}/definitions/rabbitmq-{version}.json", env!("CARGO_MANIFEST_DIR"))
}

fn ctl_as(login: &str, broker: &Broker, arguments: &[&str]) -> Output {
    let url = format!("http://{login}@{}", broker.management());
    Command::new(leveret()).args(["ctl", "--url", &url]).args(arguments).output().unwrap()
}

fn ctl(folder: &Folder, arguments: &[&str]) -> String {
    let data = folder.data();
    let output =
        Command::new(leveret()).arg("ctl").arg("--data-dir").arg(data).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Options of a broker that reads this rabbitmq.conf.
fn configured(folder: &Folder, text: &str) -> Options {
    let file = folder.path().join("rabbitmq.conf");
    fs::write(&file, text).unwrap();
    // The extension may be left out.
    Options::default().set("RABBITMQ_CONFIG_FILE", file.with_extension(""))
}

#[test]
fn a_rabbitmq_conf_and_the_variables_of_the_image_set_a_broker_up() {
    let folder = Folder::new("conf");
    let text = "default_user = file\ndefault_vhost = jobs\ndefault_user_tags.administrator = true\n\
                default_permissions.read = ^only\ncluster_name = hares\nmqtt.vhost = x\n";
    let options = configured(&folder, text)
        .set("RABBITMQ_DEFAULT_USER", "anna")
        .set("RABBITMQ_DEFAULT_PASS", "hush");
    let Some(broker) = folder.broker(options) else { return };
    let output = ctl_as("anna:hush", &broker, &["list_permissions", "-p", "jobs", "--silent"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "anna\t.*\t.*\t^only\n");
    assert!(!ctl_as("file:guest", &broker, &["list_vhosts"]).status.success());
    assert!(ctl(&folder, &["status"]).contains("Cluster name: hares"));
    assert!(broker.log().contains("mean nothing here: mqtt.vhost"), "{}", broker.log());
}

#[test]
fn a_key_that_rabbitmq_does_not_know_stops_the_start_with_its_line() {
    let folder = Folder::new("conf-typo");
    if !Broker::may_start() {
        return;
    }
    let options = configured(&folder, "# mine\nheartbaet = 30\n");
    let (status, log) = Broker::try_launch(&options).unwrap_err();
    assert!(!status.success());
    let said = "rabbitmq.conf:2: Conf file attempted to set unknown variable: heartbaet; did you mean `heartbeat`?";
    assert!(log.contains(said), "{log}");
}

/// Everything of the files, and that a second start changes nothing.
fn takes_in(version: &str) {
    let folder = Folder::new("definitions");
    let text = format!("load_definitions = {}\nloopback_users = none\n", exported(version));
    let Some(broker) = folder.broker(configured(&folder, &text)) else { return };
    for user in ["md5", "sha256", "sha512"] {
        let output = ctl_as(&format!("{user}:secret"), &broker, &["list_queues", "-p", "shop"]);
        assert!(output.status.success(), "{user}: {}", String::from_utf8_lossy(&output.stderr));
        let wrong = ctl_as(&format!("{user}:guess"), &broker, &["list_queues", "-p", "shop"]);
        assert!(!wrong.status.success(), "{user}");
    }
    let before = everything(&folder);
    let queues = ctl(&folder, &["list_queues", "-p", "shop", "-s", "name", "durable", "policy"]);
    let mut queues: Vec<&str> = queues.lines().collect();
    queues.sort_unstable();
    assert_eq!(
        queues.join("\n"),
        "orders\ttrue\tshort\norders-dead\ttrue\tshort\npassing\tfalse\t\nreplicated\ttrue\t"
    );
    assert_eq!(
        ctl(&folder, &["list_user_limits", "--user", "sha256", "-s"]),
        "sha256\t[{\"max-channels\",20}]\n"
    );
    assert_eq!(
        ctl(&folder, &["list_vhost_limits", "-p", "shop", "-s"]),
        "shop\t[{\"max-queues\",50}]\n"
    );
    let bindings =
        ctl(&folder, &["list_bindings", "-p", "shop", "-s", "source_name", "destination_name"]);
    assert!(bindings.contains("events\torders\n"), "{bindings}");
    assert!(bindings.contains("events\tunrouted\n"), "{bindings}");
    // What is there stays as it is: no error, and nothing twice.
    broker.signal(rustix::process::Signal::TERM);
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    let again = folder.broker(configured(&folder, &text)).unwrap();
    let without_passing = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains("passing"));
        lines.sort_unstable();
        lines
    };
    assert_eq!(without_passing(&everything(&folder)), without_passing(&before));
    drop(again);
}

fn everything(folder: &Folder) -> String {
    [
        "list_queues",
        "list_exchanges",
        "list_bindings",
        "list_policies",
        "list_permissions",
        "list_topic_permissions",
        "list_operator_policies",
    ]
    .iter()
    .map(|verb| ctl(folder, &[verb, "-p", "shop", "-s"]))
    .chain([ctl(folder, &["list_users", "-s"]), ctl(folder, &["list_vhosts", "-s"])])
    .collect()
}

#[test]
fn definitions_of_rabbitmq_3_10_are_taken_in_at_the_start() {
    takes_in("3.10");
}

#[test]
fn definitions_of_rabbitmq_4_3_are_taken_in_at_the_start() {
    takes_in("4.3");
}

#[test]
fn a_new_broker_with_definitions_has_no_default_user() {
    let folder = Folder::new("no-guest");
    let file = folder.path().join("definitions.json");
    let text = "{\"vhosts\":[{\"name\":\"/\"}],\"users\":[{\"name\":\"anna\",\"password\":\"pw\",\"tags\":\"\"}]}";
    fs::write(&file, text).unwrap();
    let options = Options::default().set("LEVERET_DEFINITIONS_LOAD", file);
    let Some(_broker) = folder.broker(options) else { return };
    assert_eq!(ctl(&folder, &["list_users", "-s"]), "anna\t[]\n");
}

#[test]
fn unchanged_definitions_are_skipped_if_that_is_wanted_and_wrong_ones_stop_the_start() {
    let folder = Folder::new("skip");
    let file = folder.path().join("definitions.json");
    let user = |name: &str| {
        format!(
            "{{\"vhosts\":[{{\"name\":\"/\"}}],\"users\":[{{\"name\":\"{name}\",\"password\":\"pw\",\"tags\":\"\"}}]}}"
        )
    };
    fs::write(&file, user("anna")).unwrap();
    let options = || {
        Options::default()
            .set("LEVERET_DEFINITIONS_LOAD", file.clone())
            .set("LEVERET_DEFINITIONS_SKIP_IF_UNCHANGED", "true")
    };
    let Some(broker) = folder.broker(options()) else { return };
    ctl(&folder, &["delete_user", "anna"]);
    broker.kill();
    let broker = folder.broker(options()).unwrap();
    assert_eq!(ctl(&folder, &["list_users", "-s"]), "");
    broker.kill();
    fs::write(&file, user("bert")).unwrap();
    let broker = folder.broker(options()).unwrap();
    assert_eq!(ctl(&folder, &["list_users", "-s"]), "bert\t[]\n");
    broker.kill();
    fs::write(&file, "{\"users\":[{\"name\":\"carl\"}]}").unwrap();
    let options = Options { data_dir: Some(folder.data()), ..options() };
    let (status, log) = Broker::try_launch(&options).unwrap_err();
    assert!(!status.success());
    assert!(log.contains("user 'carl' has neither a password nor a password hash"), "{log}");
}

#[test]
fn a_configuration_is_looked_at_before_a_broker_starts_with_it() {
    let folder = Folder::new("conf-check");
    if !Broker::may_start() {
        return;
    }
    let run = |text: &str, verb: &str| {
        let file = folder.path().join("leveret.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(leveret());
        let output = command.args(["config", verb, "--config"]).arg(&file).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let (good, said) = run("[amqp]\nlisten = '127.0.0.1:5'\n", "check");
    assert!(good && said.contains("can start") && said.contains("127.0.0.1:5"), "{said}");
    for (wrong, wanted) in [
        ("[amqp]\nlisen = '127.0.0.1:5'\n", "did you mean `amqp.listen`"),
        ("[amqp]\nheartbeat = 'often'\n", "heartbeat"),
        ("[amqp]\ntls_listen = '127.0.0.1:5'\n", "needs tls.certfile"),
        ("[definitions]\nload = '/nowhere.json'\n", "/nowhere.json"),
    ] {
        let (good, said) = run(wrong, "check");
        assert!(!good && said.contains(wanted), "{wrong}: {said}");
    }
    let (good, said) = run("[auth]\ndefault_pass = 'hush'\n", "show");
    assert!(good && said.contains("heartbeat = 60") && !said.contains("hush"), "{said}");
}

#[test]
fn the_log_says_who_changed_what_and_never_a_password() {
    let folder = Folder::new("audit");
    let Some(broker) = folder.broker(Options::default()) else { return };
    let output = ctl_as("guest:guest", &broker, &["add_user", "anna", "hush"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!ctl_as("anna:hush", &broker, &["delete_user", "guest"]).status.success());
    ctl(&folder, &["set_user_tags", "anna", "monitoring"]);
    let log = broker.log();
    let line =
        |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["INFO", "user=\"guest\"", "PUT", "/api/users/anna", "status=201"]), "{log}");
    assert!(line(&["WARN", "user=\"anna\"", "DELETE", "/api/users/guest", "status=401"]), "{log}");
    assert!(line(&["INFO", "the broker's own account", "/api/users/anna", "204"]), "{log}");
    assert!(!log.contains("hush"), "{log}");
}
