//! `leveret ctl` on a running broker, over the socket in its data directory and over HTTP; backups while it runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};

use leveret_tests::codec::PropertiesWriter;
use leveret_tests::{Broker, Client, Folder, Options, Outgoing, leveret, queue};

fn run(arguments: &[&str]) -> Output {
    Command::new(leveret()).args(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?} failed: {out}{err}");
    out
}

#[track_caller]
fn fails(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded: {}", text(&output.stdout));
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ctl(data: &Path, arguments: &[&str]) -> String {
    let data = data.to_str().unwrap();
    succeeds(&[&["ctl", "--data-dir", data], arguments].concat())
}

fn durable(name: &str) -> queue::Declare {
    queue::Declare { queue: name.into(), durable: true, ..queue::Declare::default() }
}

fn publish(client: &mut Client, queue: &str, count: u64) {
    let properties = PropertiesWriter { delivery_mode: Some(2), ..PropertiesWriter::default() };
    for number in 0..count {
        let message = Outgoing::new("", queue, number.to_be_bytes().to_vec());
        client.publish_later(1, &message.with(&properties));
    }
    client.flush_publishes();
    client.all_confirmed(1, 1, count);
}

#[test]
fn what_rabbitmqctl_changes_and_lists_leveret_ctl_does() {
    let folder = Folder::new("verbs");
    let Some(broker) = folder.open() else { return };
    let data = folder.data();
    ctl(&data, &["await_startup"]);
    ctl(&data, &["add_user", "anna", "secret"]);
    ctl(&data, &["set_user_tags", "anna", "administrator", "ops"]);
    ctl(&data, &["add_vhost", "shop", "--description", "orders"]);
    ctl(&data, &["set_permissions", "-p", "shop", "anna", "^a", ".*", ""]);
    let policy = ["set_policy", "-p", "shop", "short", "^tmp\\.", "{\"max-length\":3}"];
    ctl(&data, &[&policy[..], &["--apply-to", "queues", "--priority", "7"]].concat());
    assert_eq!(
        ctl(&data, &["list_users", "--silent"]),
        "anna\t[administrator, ops]\nguest\t[administrator]\n"
    );
    assert_eq!(
        ctl(&data, &["list_permissions", "-p", "shop", "-q"]),
        "user\tconfigure\twrite\tread\nanna\t^a\t.*\t\n"
    );
    let policies = ctl(&data, &["list_policies", "-p", "shop", "--formatter", "json"]);
    let policies: serde_json::Value = serde_json::from_str(&policies).unwrap();
    assert_eq!(policies[0]["definition"]["max-length"], 3);
    assert_eq!(policies[0]["priority"], 7);

    // The password counts over HTTP, and what was exported there can be taken in.
    let url = format!("http://anna:secret@{}", broker.management());
    succeeds(&["ctl", "--url", &url, "ping"]);
    ctl(&data, &["change_password", "anna", "changed"]);
    assert!(fails(&["ctl", "--url", &url, "ping"]).contains("user and password"));
    let url = format!("http://anna:changed@{}", broker.management());
    let file = folder.path().join("definitions.json");
    let file = file.to_str().unwrap();
    succeeds(&["ctl", "--url", &url, "export_definitions", file]);
    ctl(&data, &["delete_vhost", "shop"]);
    assert!(!ctl(&data, &["list_vhosts"]).contains("shop"));
    ctl(&data, &["import_definitions", file]);
    assert!(ctl(&data, &["list_vhosts", "name", "description"]).contains("shop\torders"));
}

#[test]
fn queues_are_listed_purged_and_deleted_and_connections_closed() {
    let folder = Folder::new("queues");
    let Some(broker) = folder.open() else { return };
    let data = folder.data();
    let mut client = Client::connect(&broker);
    client.confirms(1);
    client.call(1, durable("jobs"));
    publish(&mut client, "jobs", 5);
    assert_eq!(
        ctl(&data, &["list_queues", "-q"]),
        "name\tmessages\njobs\t5\n",
        "rabbitmqctl's columns"
    );
    assert_eq!(
        ctl(&data, &["list_queues", "-s", "name", "durable", "type"]),
        "jobs\ttrue\tclassic\n"
    );
    assert_eq!(ctl(&data, &["list_bindings", "-s"]), "\texchange\tjobs\tqueue\tjobs\t[]\n");
    assert!(ctl(&data, &["list_connections"]).contains("guest\t127.0.0.1\t"));
    assert_eq!(ctl(&data, &["purge_queue", "jobs"]), "Purging queue 'jobs' in vhost '/' ...\n");
    assert_eq!(ctl(&data, &["list_queues", "-s"]), "jobs\t0\n");
    let status = ctl(&data, &["status"]);
    for part in ["Queue count: 1", "Group commits: ", "protocol: amqp", "Alarms: (none)"] {
        assert!(status.contains(part), "{part} is not in\n{status}");
    }
    ctl(&data, &["close_all_connections", "enough"]);
    client.expect_close(0, 320, "CONNECTION_FORCED - enough");
    ctl(&data, &["delete_queue", "jobs"]);
    assert_eq!(ctl(&data, &["list_queues"]), "Listing queues for vhost / ...\n");
    let data = data.to_str().unwrap();
    assert!(fails(&["ctl", "--data-dir", data, "delete_queue", "jobs"]).contains("no such"));
}

#[test]
fn without_a_broker_a_command_says_where_it_looked() {
    let error = fails(&["ctl", "--data-dir", "/nonexistent", "status"]);
    assert!(error.contains("/nonexistent/leveret.sock"), "{error}");
    assert!(error.contains("--data-dir") && error.contains("--url"), "{error}");
}

#[test]
fn a_backup_of_a_running_broker_is_restored_with_all_that_was_confirmed() {
    let folder = Folder::new("backup");
    let Some(broker) = folder.open() else { return };
    let mut client = Client::connect(&broker);
    client.confirms(1);
    client.call(1, durable("kept"));
    publish(&mut client, "kept", 1000);
    ctl(&folder.data(), &["add_user", "anna", "secret"]);
    let (data, copy) = (folder.data(), folder.path().join("copy"));
    let (data, copy) = (data.to_str().unwrap(), copy.to_str().unwrap());
    let said = succeeds(&["backup", "--data-dir", data, "--to", copy]);
    assert!(said.contains("leveret restore --from"), "{said}");
    assert!(fails(&["backup", "--data-dir", data, "--to", copy]).contains("exists"));
    // What comes later is not in it.
    client.call(1, durable("later"));
    broker.kill();

    assert!(fails(&["restore", "--from", copy, "--data-dir", data]).contains("new directory"));
    let restored = folder.path().join("restored");
    let path = restored.to_str().unwrap();
    succeeds(&["restore", "--from", copy, "--data-dir", path]);
    let broker =
        Broker::own(&Options { data_dir: Some(restored.clone()), ..Options::default() }).unwrap();
    ctl(&restored, &["await_startup"]);
    assert_eq!(ctl(&restored, &["list_queues", "-s"]), "kept\t1000\n");
    assert!(ctl(&restored, &["list_users"]).contains("anna"));
    let mut client = Client::connect(&broker);
    for number in 0..1000_u64 {
        let got = client.get(1, "kept", true).expect("a message that was confirmed is there");
        assert_eq!(got.body, number.to_be_bytes());
    }
    // The backup can be read where it is, and is still whole.
    assert!(succeeds(&["check", "--data-dir", copy]).contains("as it was written"));
}
