//! A series: rounds on one data folder. Each starts a broker, loads it, waits until it ends or ends it, and lets a second
//! broker say what is there.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::ledger::{Ledger, QUEUES};
use super::load::{self, BOTH, MARKS, Shared};
use super::messages::Id;
use super::read_back::read_back;
use crate::client::{arguments, text};
use crate::{Broker, Client, Deadline, Ended, FieldTable, Options, exchange, pause, queue, tx};

/// Messages of each publisher in a round; a queue with more than three rounds of them is purged.
const MESSAGES: u32 = 250;
const PURGE_FROM: usize = 750;

/// How long a round may take until its broker is ended.
const ROUND: Duration = Duration::from_secs(20);

/// How a round goes.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// The environment of the broker under load.
    pub environment: Vec<(&'static str, OsString)>,
    /// The environment of the broker that says what is there.
    pub checking: Vec<(&'static str, OsString)>,
    /// It is killed when so many messages are confirmed, unless it ends before. No more than it gets are waited for.
    pub kill_after: u64,
}

/// How many rounds: `LEVERET_ROUNDS`, or else `short`.
///
/// # Panics
/// When the variable is no number.
#[must_use]
pub fn rounds(short: u32) -> u32 {
    variable("LEVERET_ROUNDS").map_or(short, |rounds| rounds as u32)
}

/// The seeds of so many series: from `LEVERET_SEED` on, or else from `first`.
///
/// # Panics
/// When the variable is no number.
pub fn seeds(first: u64, series: u32) -> impl Iterator<Item = u64> {
    let first = variable("LEVERET_SEED").unwrap_or(first);
    first..first + u64::from(series)
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}: `{text}`: {error}")))
}

/// Rounds on one folder.
pub struct Series {
    seed: u64,
    folder: PathBuf,
    ledger: Ledger,
    round: u32,
    /// Messages published and confirmed in all rounds.
    pub counts: (usize, usize),
}

impl Series {
    /// A series in an empty folder of its own.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Self {
        let name = format!("leveret-{name}-{}-{seed}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        Self { seed, folder, ledger: Ledger::default(), round: 0, counts: (0, 0) }
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One round. `between` may do to the folder what it likes after each of its two brokers. Answers with how the first one
    /// ended.
    ///
    /// # Errors
    /// What broke.
    ///
    /// # Panics
    /// When a client meets what it cannot understand.
    pub fn round(
        &mut self,
        plan: &Round,
        between: &mut dyn FnMut(&Path),
    ) -> Result<Ended, Vec<String>> {
        self.round += 1;
        let ended = self.under_load(plan);
        between(&self.folder);
        let counts = self.ledger.counts();
        self.counts = (self.counts.0 + counts.0, self.counts.1 + counts.1);
        let options = Options {
            data_dir: Some(self.folder.clone()),
            environment: plan.checking.clone(),
            ..Options::default()
        };
        let refuses = |(status, log): Ended| {
            vec![format!("L3: the broker does not start again ({status}):\n{log}")]
        };
        let mut broker = Broker::try_launch(&options).map_err(refuses)?;
        // A broker that ended at its first start had no queues yet. One that refuses what it finds may have accepted a
        // client before.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| set_up(&broker))) {
            if !ends(&mut broker) {
                std::panic::resume_unwind(panic);
            }
            return Err(refuses(end(broker)));
        }
        let mut broken = Vec::new();
        let found = read_back(&broker, self.seed, &mut broken);
        broken.extend(self.ledger.close_round(found));
        end(broker);
        between(&self.folder);
        if broken.is_empty() { Ok(ended) } else { Err(broken) }
    }

    fn under_load(&mut self, plan: &Round) -> Ended {
        let options = Options {
            data_dir: Some(self.folder.clone()),
            environment: plan.environment.clone(),
            ..Options::default()
        };
        let mut broker = match Broker::try_launch(&options) {
            Ok(broker) => broker,
            Err(ended) => return ended,
        };
        // It may end while everything is set up.
        let prepared = catch_unwind(AssertUnwindSafe(|| {
            set_up(&broker);
            purge_large(&broker, &mut self.ledger);
            Clients::connect(&broker)
        }));
        match prepared {
            Ok(clients) => self.run(&mut broker, clients, plan.kill_after),
            Err(panic) if broker.is_alive() && !ends(&mut broker) => {
                std::panic::resume_unwind(panic)
            }
            Err(_) => {}
        }
        end(broker)
    }

    fn run(&mut self, broker: &mut Broker, clients: Clients, kill_after: u64) {
        let shared = Arc::new(Shared {
            seed: self.seed,
            ledger: Mutex::new(std::mem::take(&mut self.ledger)),
            confirmed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let threads = clients.start(&shared, self.round * 16);
        let limit = Deadline::after(ROUND);
        while broker.is_alive()
            && shared.confirmed.load(Ordering::Relaxed) < kill_after
            && !threads.publishers.iter().all(std::thread::JoinHandle::is_finished)
            && !limit.is_over()
        {
            pause(Duration::from_millis(1));
        }
        if broker.is_alive() {
            broker.signal(Signal::KILL);
        }
        shared.stop.store(true, Ordering::Relaxed);
        for thread in threads.publishers.into_iter().chain(threads.consumers) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        let mut ledger = shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.ledger = std::mem::take(&mut *ledger);
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        // What a failure left is worth a look.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether it ends by itself in the next moment: a socket may close before its process is gone.
fn ends(broker: &mut Broker) -> bool {
    let limit = Deadline::after(Duration::from_secs(2));
    while broker.is_alive() && !limit.is_over() {
        pause(Duration::from_millis(5));
    }
    !broker.is_alive()
}

fn end(mut broker: Broker) -> Ended {
    if broker.is_alive() {
        broker.signal(Signal::KILL);
    }
    broker.wait()
}

/// Exchange and queues, whether they are there or not.
fn set_up(broker: &Broker) {
    let mut client = Client::connect(broker);
    let kind = exchange::Declare {
        exchange: BOTH.into(),
        kind: "fanout".into(),
        durable: true,
        ..exchange::Declare::default()
    };
    client.call(1, kind);
    let letters = arguments([
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ]);
    let short = arguments([("x-max-length", 10.into())]);
    for (name, table) in QUEUES.map(|name| (name, FieldTable::default())) {
        let table = if name == "work" { letters.clone() } else { table };
        client.declare_durable(1, name, table);
    }
    client.declare_durable(1, MARKS, short);
    for name in &QUEUES[..2] {
        let bind =
            queue::Bind { queue: (*name).into(), exchange: BOTH.into(), ..queue::Bind::default() };
        client.call(1, bind);
    }
}

/// Keeps a series from growing, and purges on the way.
fn purge_large(broker: &Broker, ledger: &mut Ledger) {
    let mut client = Client::connect(broker);
    for (queue, name) in QUEUES.iter().enumerate() {
        let all = ledger.holds(queue).to_vec();
        if all.len() > PURGE_FROM {
            all.iter().for_each(|id| ledger.settle(queue, *id, false));
            client.call(1, queue::Purge { queue: (*name).into(), nowait: false });
            let mut other = Client::connect(broker);
            other.confirms(1);
            other.publish_confirmed(1, &Id::new(0, 0).outgoing(0, ("", MARKS), true));
            ledger.durable(queue, &all);
        }
    }
}

/// The clients of a round, ready to begin.
struct Clients {
    publishers: Vec<Client>,
    transactions: Client,
    consumers: Vec<(usize, Client)>,
}

struct Threads {
    publishers: Vec<std::thread::JoinHandle<()>>,
    consumers: Vec<std::thread::JoinHandle<()>>,
}

impl Clients {
    fn connect(broker: &Broker) -> Self {
        let publisher = || {
            let mut client = Client::connect(broker);
            client.confirms(1);
            client
        };
        let publishers = (0..3).map(|_| publisher()).collect();
        let mut transactions = Client::connect(broker);
        transactions.call(1, tx::Select {});
        let consumer = |own| {
            let mut client = Client::connect(broker);
            load::start_consumer(&mut client, own);
            (own, client)
        };
        let consumers = [0, 2].map(consumer).into();
        Self { publishers, transactions, consumers }
    }

    fn start(self, shared: &Arc<Shared>, first: u32) -> Threads {
        let mut publishers = Vec::new();
        for (n, client) in self.publishers.into_iter().enumerate() {
            let shared = Arc::clone(shared);
            let who = first + n as u32;
            // Left and right with their exchange, work alone.
            publishers.push(std::thread::spawn(move || {
                let _ended = load::publish(&shared, client, (who, n, n < 2), MESSAGES);
            }));
        }
        let (client, who) = (self.transactions, first + 3);
        let transacting = Arc::clone(shared);
        publishers.push(std::thread::spawn(move || {
            let _ended = load::transact(&transacting, client, (who, 4), MESSAGES);
        }));
        let mut consumers = Vec::new();
        for (own, client) in self.consumers {
            let shared = Arc::clone(shared);
            let rejects = if QUEUES[own] == "work" { 0.35 } else { 0.0 };
            let who = first + 8 + own as u32;
            consumers.push(std::thread::spawn(move || {
                let _ended = load::consume(&shared, client, (who, own), rejects);
            }));
        }
        Threads { publishers, consumers }
    }
}
