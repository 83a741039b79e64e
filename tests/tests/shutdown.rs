//! Ends and starts: SIGTERM, a data folder in use, a port in use, a configuration that is wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use leveret_tests::{Broker, Client, Login, Options, Outgoing, Stopwatch, free_address, leveret};
use rustix::process::Signal;

/// Runs `leveret serve` where it must end by itself.
fn serve_in_vain(arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(leveret());
    command.arg("serve").args(arguments);
    let child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Some(child);
    let output = leveret_tests::eventually("leveret gives up", leveret_tests::PATIENCE, || {
        let ended = child.as_mut()?.try_wait().unwrap();
        ended.and_then(|_| child.take()).map(|child| child.wait_with_output().unwrap())
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output, said)
}

fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("leveret-shutdown-{}-{name}", std::process::id()))
}

#[test]
fn sigterm_says_goodbye_to_every_client_and_ends_well() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let mut busy = Client::connect(&broker);
    busy.confirms(1);
    let queue = busy.declare_own(1);
    busy.consume(1, &queue, "", false);
    busy.publish_confirmed(1, &Outgoing::number(&queue, 1));
    let _ = busy.next_message(1);
    let mut idle = Client::login(broker.amqp(), &Login::default());
    let mut stranger = Client::mute(broker.amqp());
    stranger.greet();
    broker.signal(Signal::TERM);
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    for client in [&mut busy, &mut idle] {
        client.expect_close(0, 320, text);
        client.expect_end();
    }
    stranger.expect_end();
    let (status, log) = broker.wait();
    assert!(status.success(), "{status}:\n{log}");
}

#[test]
fn sigterm_does_not_wait_for_clients_that_never_answer() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    // It does not read, so it does not answer connection.close either.
    let silent = Client::connect(&broker);
    broker.signal(Signal::TERM);
    let (status, log) = broker.wait();
    assert!(status.success(), "{status}:\n{log}");
    drop(silent);
}

#[test]
fn second_sigint_ends_at_once() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let silent = Client::connect(&broker);
    let mut told = Client::connect(&broker);
    broker.signal(Signal::INT);
    // The first has been understood: it says goodbye and waits for the silent one.
    assert_eq!(told.closed().code, 320);
    let time = Stopwatch::start();
    broker.signal(Signal::INT);
    let (status, log) = broker.wait();
    assert_eq!(status.code(), Some(130), "{status}:\n{log}");
    assert!(time.elapsed() < Duration::from_secs(2), "{:?}", time.elapsed());
    drop(silent);
}

#[test]
fn broker_starts_again_on_the_data_it_left() {
    let dir = scratch("again");
    let options = Options { data_dir: Some(dir.clone()), ..Options::default() };
    for _ in 0..3 {
        let Some(broker) = Broker::own(&options) else { return };
        let mut client = Client::connect(&broker);
        client.declare_own(1);
        client.close();
        broker.signal(Signal::TERM);
        let (status, log) = broker.wait();
        assert!(status.success(), "{status}:\n{log}");
    }
    // The third time after a kill, which leaves the lock file behind.
    drop(Broker::own(&options));
    let Some(broker) = Broker::own(&options) else { return };
    let _ = Client::connect(&broker);
    drop(broker);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn second_broker_on_the_same_data_is_refused() {
    let Some(broker) = Broker::own(&Options::default()) else { return };
    let dir = broker.data_dir();
    let addresses = [free_address(), free_address(), free_address()].map(|a| a.to_string());
    let (output, said) = serve_in_vain(&[
        "--data-dir",
        &dir.display().to_string(),
        "--amqp-listen",
        &addresses[0],
        "--management-listen",
        &addresses[1],
        "--prometheus-listen",
        &addresses[2],
    ]);
    assert!(!output.status.success());
    assert!(said.contains("is in use by another leveret"), "{said}");
    assert!(said.contains(&dir.display().to_string()), "{said}");
    // The first is not disturbed.
    let _ = Client::connect(&broker);
}

#[test]
fn port_in_use_is_named() {
    for taken in 0..3 {
        let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut addresses = [free_address(), free_address(), free_address()];
        addresses[taken] = holder.local_addr().unwrap();
        let [amqp, management, prometheus] = addresses.map(|address| address.to_string());
        let dir = scratch(&format!("port-{taken}"));
        let (output, said) = serve_in_vain(&[
            "--data-dir",
            &dir.display().to_string(),
            "--amqp-listen",
            &amqp,
            "--management-listen",
            &management,
            "--prometheus-listen",
            &prometheus,
        ]);
        let _ = std::fs::remove_dir_all(&dir);
        assert!(!output.status.success());
        let expected = format!("cannot listen on {}", addresses[taken]);
        assert!(said.contains(&expected), "{expected} is not in:\n{said}");
    }
}

#[test]
fn wrong_configuration_is_named() {
    let dir = scratch("config");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("leveret.toml");
    std::fs::write(&file, "[amqp]\nheartbeet = 5\n").unwrap();
    let (output, said) = serve_in_vain(&[
        "--config",
        &file.display().to_string(),
        "--data-dir",
        &dir.join("data").display().to_string(),
    ]);
    assert!(!output.status.success());
    assert!(said.contains("heartbeet") && said.contains("heartbeat"), "{said}");
    std::fs::remove_dir_all(&dir).unwrap();
}
