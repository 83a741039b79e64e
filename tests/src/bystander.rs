//! A client that has nothing to do with what a test does to the broker, and must not notice it: it
//! publishes with confirms and consumes, one message after another, until the test is over.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::broker::Broker;
use crate::client::{Client, Outgoing};
use crate::clock::Stopwatch;

/// The pause between two messages: many within a test, little load.
const PAUSE: Duration = Duration::from_millis(5);

/// How long one message may take, confirmed and delivered. A broker that is busy with something else for
/// this long has been disturbed.
const ROUND_LIMIT: Duration = Duration::from_secs(5);

/// The running bystander.
#[derive(Debug)]
pub struct Bystander {
    stop: SyncSender<()>,
    thread: JoinHandle<Served>,
}

/// How a bystander was served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Messages confirmed and delivered.
    pub messages: u64,
    /// The longest that one of them took.
    pub slowest: Duration,
}

impl Bystander {
    /// Connects and starts.
    ///
    /// # Panics
    /// When the broker refuses.
    #[must_use]
    pub fn start(broker: &Broker) -> Self {
        let mut client = Client::connect(broker);
        client.set_patience(ROUND_LIMIT);
        client.confirms(1);
        let queue = client.declare_own(1);
        client.consume(1, &queue, "bystander", false);
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let mut served = Served::default();
            loop {
                let last = !matches!(stopped.recv_timeout(PAUSE), Err(RecvTimeoutError::Timeout));
                let round = Stopwatch::start();
                served.messages += 1;
                exchange(&mut client, &queue, served.messages);
                served.slowest = served.slowest.max(round.elapsed());
                if last {
                    client.close();
                    return served;
                }
            }
        });
        Self { stop, thread }
    }

    /// Lets it send one more message and answers with how it was served.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn finish(self) -> Served {
        // It has failed if it does not listen; the join tells.
        let _ = self.stop.send(());
        match self.thread.join() {
            Ok(served) => served,
            Err(_) => panic!("a bystander was disturbed; what happened to it is written above"),
        }
    }
}

/// One message there and back.
fn exchange(client: &mut Client, queue: &str, number: u64) {
    client.publish(1, &Outgoing::number(queue, number));
    assert_eq!(client.next_confirm(1), (number, false, true));
    let message = client.next_message(1);
    assert_eq!((message.number(), message.redelivered), (number, false));
    client.ack(1, message.delivery_tag, false);
}
