//! Whole runs against a null relay in this process.

use std::sync::Arc;
use std::thread::JoinHandle;

use clap::Parser;

use super::relay::Relay;
use super::report::Summary;
use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: PerfArgs,
}

struct Served {
    uri: String,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), PerfError>>>,
}

impl Served {
    fn start() -> Self {
        let relay = Relay::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let uri = format!("amqp://{}", relay.address().unwrap());
        let done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&done);
        let thread = thread::spawn(move || relay.serve(move || until.load(Relaxed)));
        Self { uri, done, thread: Some(thread) }
    }

    fn run(&self, line: &str) -> Result<Summary, PerfError> {
        let line = format!("perf --uri {} --quiet {line}", self.uri);
        let args = Cli::try_parse_from(line.split_whitespace()).unwrap().args;
        session::run(Plan::new(&args)?, &AtomicBool::new(false), &mut io::sink())
    }

    /// Everything sent arrives.
    fn lossless(&self, line: &str) -> Summary {
        let summary = self.run(line).unwrap();
        assert!(summary.sent > 0, "{summary}");
        assert_eq!(summary.received, summary.sent, "{summary}");
        assert_eq!(summary.out_of_order, 0, "{summary}");
        assert_eq!(summary.notes, Vec::<String>::new());
        summary
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

#[test]
fn what_is_sent_is_received() {
    let served = Served::start();
    for size in ["0", "15", "16", "1000", "16k", "300k"] {
        let summary = served.lossless(&format!("--size {size} --duration 300ms"));
        assert!(summary.sent_per_second > 0.0 && summary.received_per_second > 0.0, "{summary}");
        assert_eq!(summary.latency_us.is_some(), summary.size_bytes >= 16, "{summary}");
    }
}

#[test]
fn a_rate_is_kept_and_every_message_timed() {
    let served = Served::start();
    let summary = served.lossless("--rate 2000 --size 32 --duration 300ms");
    let latency = summary.latency_us.unwrap();
    assert_eq!(latency.count, summary.received);
    assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max && latency.max > 0.0);
    assert_eq!(summary.send_lag_us.unwrap().count, summary.sent);
    assert!((500..=800).contains(&summary.sent), "{summary}");
}

#[test]
fn confirms_come_for_every_message() {
    let served = Served::start();
    let summary = served.lossless("--confirms 100 --duration 300ms");
    assert_eq!((summary.confirmed, summary.nacked), (summary.sent, 0));
    assert!(summary.confirm_latency_us.unwrap().count > 0);
    let summary = served.lossless("--confirms 10 --rate 1000 --duration 300ms");
    assert_eq!(summary.confirmed, summary.sent);
    assert_eq!(summary.confirm_latency_us.unwrap().count, summary.sent);
}

#[test]
fn manual_acks_work_with_and_without_prefetch() {
    let served = Served::start();
    served.lossless("--ack-every 100 --prefetch 1000 --duration 300ms");
    served.lossless("--ack-every 1 --prefetch 0 --size 1k --duration 300ms");
}

#[test]
fn several_producers_consumers_and_queues() {
    let served = Served::start();
    let summary =
        served.lossless("--producers 2 --consumers 2 --queues 5 --messages 5000 --size 100");
    assert_eq!(summary.sent, 10_000);
    let summary = served.lossless("--producers 2 --consumers 3 --messages 5000");
    assert_eq!(summary.sent, 10_000);
}

#[test]
fn fanout_multiplies() {
    let served = Served::start();
    let summary = served.run("--fanout 3 --messages 1000 --size 64").unwrap();
    assert_eq!((summary.sent, summary.received), (1_000, 3_000));
}

#[test]
fn an_exchange_with_keys_reaches_each_queue() {
    let served = Served::start();
    served.lossless("--exchange-type direct --queues 3 --messages 3000");
}

#[test]
fn messages_are_counted_exactly() {
    let served = Served::start();
    let summary = served.lossless("--messages 12345 --size 200");
    assert_eq!(summary.sent, 12_345);
    let summary = served.lossless("--messages 10 --rate 100 --confirms 1");
    assert_eq!((summary.sent, summary.confirmed), (10, 10));
}

#[test]
fn one_end_alone_is_legal() {
    let served = Served::start();
    let summary = served.run("--consumers 0 --messages 1000").unwrap();
    assert_eq!((summary.sent, summary.received), (1_000, 0));
    let summary = served.run("--producers 0 --duration 100ms").unwrap();
    assert_eq!((summary.sent, summary.received), (0, 0));
}

#[test]
fn warm_up_is_not_measured() {
    let served = Served::start();
    let summary = served.lossless("--rate 1000 --warmup 200ms --duration 200ms");
    let measured = summary.latency_us.unwrap().count;
    assert!((150..=250).contains(&measured) && summary.sent >= 350, "{summary}");
    assert!((0.19..0.4).contains(&summary.measured_seconds), "{summary}");
}

#[test]
fn idle_connections_are_held() {
    let served = Served::start();
    let summary = served.run("--idle-connections 20 --duration 200ms").unwrap();
    assert_eq!((summary.idle_connections, summary.sent), (20, 0));
}

#[test]
fn queues_of_the_run_are_gone_afterwards_and_others_stay() {
    let served = Served::start();
    served.run("--queue mine --messages 1 --keep").unwrap();
    let notes = served.run("--queue mine --messages 1").unwrap().notes;
    assert!(notes[0].contains("queue mine exists already"), "{notes:?}");
    let notes = served.run("--queue mine --messages 1").unwrap().notes;
    assert_eq!(notes.len(), 1, "it was kept, since it was there before");
    served.run("--queue other --messages 1").unwrap();
    assert!(served.run("--queue other --messages 1").unwrap().notes.is_empty());
}

#[test]
fn ctrl_c_ends_in_order() {
    let served = Served::start();
    let line = format!("perf --uri {} --quiet --duration 1h", served.uri);
    let args = Cli::try_parse_from(line.split_whitespace()).unwrap().args;
    let interrupt = AtomicBool::new(false);
    let summary = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(std::time::Duration::from_millis(300));
            interrupt.store(true, Relaxed);
        });
        session::run(Plan::new(&args).unwrap(), &interrupt, &mut io::sink()).unwrap()
    });
    assert!(summary.interrupted && summary.sent == summary.received, "{summary}");
}

#[test]
fn nobody_there_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let line = format!("perf --uri amqp://{free}");
    let args = Cli::try_parse_from(line.split_whitespace()).unwrap().args;
    let plan = Plan::new(&args).unwrap();
    let error = session::run(plan, &AtomicBool::new(false), &mut io::sink()).unwrap_err();
    assert!(error.to_string().contains("`leveret serve`"), "{error}");
}

#[test]
fn a_refusal_by_the_broker_is_an_error_with_its_words() {
    let served = Served::start();
    let error = served.run("--exchange missing --messages 1").unwrap_err();
    assert!(error.to_string().contains("404 NOT_FOUND - no exchange 'missing'"), "{error}");
}

#[test]
fn json_has_the_documented_keys() {
    let served = Served::start();
    let json = serde_json::to_value(served.lossless("--messages 10")).unwrap();
    let help = options::JSON_HELP;
    for key in json.as_object().unwrap().keys() {
        assert!(help.contains(key.as_str()), "{key} is not in the help");
    }
}
