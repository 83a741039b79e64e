//! Options as people write them.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: PerfArgs,
}

fn args(line: &str) -> PerfArgs {
    Cli::try_parse_from(std::iter::once("perf").chain(line.split_whitespace())).unwrap().args
}

fn plan(line: &str) -> Plan {
    Plan::new(&args(line)).unwrap()
}

fn refused(line: &str) -> String {
    match Cli::try_parse_from(std::iter::once("perf").chain(line.split_whitespace())) {
        Err(error) => error.to_string(),
        Ok(cli) => Plan::new(&cli.args).unwrap_err().to_string(),
    }
}

#[test]
fn defaults_are_one_of_everything_for_ten_seconds() {
    let plan = plan("");
    assert_eq!((plan.producers, plan.consumers, plan.queues.len()), (1, 1, 1));
    assert_eq!((plan.size, plan.confirms, plan.ack_every, plan.prefetch), (16, 0, 0, 0));
    assert_eq!((plan.duration, plan.warmup), (Some(Duration::from_secs(10)), Duration::ZERO));
    assert_eq!((plan.exchange.as_str(), plan.exchange_type, plan.rate), ("", None, None));
}

#[test]
fn times() {
    for (text, ms) in
        [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("1.5s", 1_500)]
    {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "10", "s", "-1s", "1d", "1e999s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [("0", 0), ("16", 16), ("1k", 1_024), ("16KiB", 16_384), ("2M", 2_097_152)]
    {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in ["", "k", "-1", "1g", "513M", "99999999999999999999"] {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn queue_arguments_have_types() {
    let plan = plan(
        "--queue-args x-max-priority=5,x-queue-type=quorum,x-single-active-consumer=true,x-neg=-1",
    );
    let expected = [
        ("x-max-priority", ArgValue::Int(5)),
        ("x-queue-type", ArgValue::Text("quorum".into())),
        ("x-single-active-consumer", ArgValue::Bool(true)),
        ("x-neg", ArgValue::Int(-1)),
    ];
    assert_eq!(plan.queue_args, expected.map(|(key, value)| (key.to_owned(), value)));
    assert!(refused("--queue-args novalue").contains("'novalue' is not key=value"));
}

#[test]
fn one_queue_has_the_name_itself_and_several_have_numbers_of_one_width() {
    assert_eq!(plan("--queue orders").queues, ["orders"]);
    let plan = plan("--queue orders --queues 11");
    assert_eq!(
        (plan.queues.len(), plan.queues[0].as_str(), plan.queues[10].as_str()),
        (11, "orders-00", "orders-10")
    );
}

#[test]
fn ends_are_spread_over_queues() {
    let few = plan("--queue q --queues 4 --producers 2 --consumers 3");
    assert_eq!(few.keys_of_producer(0), ["q-0", "q-2"]);
    assert_eq!(few.keys_of_producer(1), ["q-1", "q-3"]);
    let consumed: Vec<_> = (0..3).flat_map(|i| few.queues_of_consumer(i)).collect();
    assert_eq!(consumed.len(), 4);
    let many = plan("--queue q --queues 2 --consumers 5");
    assert_eq!(many.queues_of_consumer(4), ["q-0"]);
    assert_eq!(many.queues_of_consumer(1), ["q-1"]);
}

#[test]
fn fanout_is_an_exchange_and_that_many_queues() {
    let plan = plan("--fanout 3 --queue q");
    assert_eq!(
        (plan.exchange.as_str(), plan.exchange_type.as_deref(), plan.queues.len()),
        ("q", Some("fanout"), 3)
    );
    assert_eq!(plan.copies(), 3);
    assert!(refused("--fanout 3 --queues 2").contains("cannot be used with"));
}

#[test]
fn an_exchange_without_a_type_is_not_declared() {
    let plan = plan("--exchange amq.topic --routing-key a.b");
    assert_eq!((plan.exchange.as_str(), plan.exchange_type.as_deref()), ("amq.topic", None));
    assert_eq!(plan.keys_of_producer(0), ["a.b"]);
}

#[test]
fn idle_connections_alone_open_nothing_else() {
    let idle = plan("--idle-connections 5");
    assert_eq!((idle.producers, idle.consumers), (0, 0));
    assert_eq!(plan("--idle-connections 5 --producers 1").producers, 1);
}

#[test]
fn messages_replace_the_duration() {
    assert_eq!(plan("--messages 5").duration, None);
    assert_eq!(plan("--messages 5 --duration 1s").duration, Some(Duration::from_secs(1)));
}

#[test]
fn prefetch_is_large_enough_for_the_acks() {
    assert_eq!(plan("--ack-every 100").prefetch, 1_000);
    assert_eq!(plan("--ack-every 5000").prefetch, 5_000);
    assert!(refused("--ack-every 100 --prefetch 50").contains("acks that never come"));
    assert_eq!(plan("--ack-every 100 --prefetch 0").prefetch, 0);
}

#[test]
fn what_makes_no_sense_is_refused_before_a_socket_is_opened() {
    assert!(refused("--producers 0 --consumers 0").contains("nothing to do"));
    assert!(refused("--producers 10001").contains("at most 10000"));
    assert!(refused("--confirms 70000").contains("65535"));
    assert!(refused("--rate 0").contains("above 0"));
    assert!(refused("--uri http://x").contains("amqp://"));
    assert!(refused(&format!("--queue {}", "q".repeat(256))).contains("255 bytes"));
}
