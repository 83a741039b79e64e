//! The threads of the message store: one writes group commits, others read what queues want back in memory, one gives disk
//! space back. They hold no rules: what is written and what follows from it the node says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use leveret_node::{Node, Sealed};
use leveret_store::{MessageStore, ReadError, RocksStore, StoreError, failpoint};
use tracing::error;

use crate::clock::Clock;

/// What the process ends with when the disk fails: `EX_IOERR` of sysexits.h, so that a supervisor can tell it from
/// a wrong configuration.
const DISK_FAILED: i32 = 74;

/// Threads that read chunks. Two keep a disk busy while one of them hands over.
const READERS: usize = 2;

/// How often disk space is looked for that could be given back, and how much is written again for it at a time.
const COLLECT_EVERY: Duration = Duration::from_secs(5);
const COLLECT_BYTES: u64 = 64 * 1024 * 1024;

/// How often the memory of the queues is looked at: within this time publishers can fill about as much as the default
/// allows, and no more.
const PAGING_EVERY: Duration = Duration::from_millis(100);

/// What part of the time may go into looking: with very many queues they are looked at less often.
const PAGING_SHARE: u32 = 10;

/// The threads, as long as the broker runs.
pub(crate) struct Storage {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.end();
    }
}

/// What each thread works with.
#[derive(Clone)]
struct Shared {
    node: Arc<Node>,
    store: Arc<RocksStore>,
    clock: Arc<Clock>,
    ending: Arc<AtomicBool>,
}

impl Storage {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(
        node: &Arc<Node>,
        store: Arc<RocksStore>,
        clock: &Arc<Clock>,
    ) -> std::io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let shared = Shared {
            node: Arc::clone(node),
            store,
            clock: Arc::clone(clock),
            ending: Arc::clone(&ending),
        };
        let writer = shared.clone();
        let mut threads =
            vec![thread::Builder::new().name("store-write".into()).spawn(move || writer.write())?];
        for _ in 0..READERS {
            let reader = shared.clone();
            let named = thread::Builder::new().name("store-read".into());
            threads.push(named.spawn(move || reader.read())?);
        }
        let named = thread::Builder::new().name("store-collect".into());
        threads.push(named.spawn(move || shared.collect())?);
        Ok(Self { ending, threads })
    }

    /// Waits until everything that came is on disk, and ends the threads.
    pub(crate) fn end(&mut self) {
        self.ending.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A thread that panicked has said so.
            let _ended = thread.join();
        }
    }
}

impl Shared {
    /// One group after another; sleeps when there is none.
    fn write(self) {
        let waker = waker();
        loop {
            // Before the look: what comes after it is not missed.
            let ending = self.ending.load(Ordering::Acquire);
            if let Err(failed) = self.node.serve_copies(&*self.store, self.clock.now()) {
                give_up(&failed);
            }
            let group = self.node.seal(&waker, &mut || self.store.allocate_slot());
            match group {
                Ok(Some(group)) => self.commit(group).unwrap_or_else(|failed| give_up(&failed)),
                Ok(None) if ending => break,
                Ok(None) => thread::park(),
                Err(failed) => give_up(&failed),
            }
        }
        // Brings the durable marker up to date.
        if let Err(failed) = self.store.sync() {
            give_up(&failed);
        }
    }

    fn commit(&self, mut group: Sealed) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut group.batch);
        if !batch.is_empty() {
            let gcn = self.store.write(batch)?;
            self.node.written(&mut group, gcn);
            self.store.sync()?;
        }
        self.node.synced(group, self.clock.now());
        failpoint::pass("after-confirm");
        Ok(())
    }

    /// Gives disk space back that chunks took which are gone, a step at a time.
    fn collect(self) {
        while !self.ending.load(Ordering::Acquire) {
            if let Err(failed) = self.store.collect(COLLECT_BYTES) {
                give_up(&failed);
            }
            thread::park_timeout(COLLECT_EVERY);
        }
    }

    /// One chunk after another.
    fn read(self) {
        let waker = waker();
        while !self.ending.load(Ordering::Acquire) {
            let Some(load) = self.node.next_load(&waker) else {
                thread::park();
                continue;
            };
            let bytes = match self.store.read_chunk(&load.key) {
                Ok(bytes) => Some(bytes),
                Err(ReadError::Store(failed)) => give_up(&failed),
                Err(damage) => {
                    error!(
                        %damage,
                        "a part of a queue cannot be read; its messages are lost, the rest goes on"
                    );
                    None
                }
            };
            let key = load.key;
            let now = self.clock.now();
            let sound = self.node.loaded(load, bytes.as_ref(), now);
            if !sound && bytes.is_some() {
                error!(chunk = %key, "a part of a queue does not make sense; its messages are lost");
            }
        }
    }
}

/// Keeps the messages in memory within `limit` bytes. Runs until it is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a look took decides when the next one is due"
)]
pub(crate) async fn paging(node: Arc<Node>, limit: usize) {
    loop {
        let start = Instant::now();
        node.limit_memory(limit);
        tokio::time::sleep(PAGING_EVERY.max(start.elapsed() * PAGING_SHARE)).await;
    }
}

/// Wakes this thread.
fn waker() -> Waker {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Ends the process: what was not confirmed yet must not be, and a disk that failed once is not tried again, since the
/// system may have dropped what it could not write.
#[expect(clippy::exit, reason = "nothing that still runs may act on what is not on disk")]
fn give_up(failed: &dyn std::error::Error) -> ! {
    error!(
        %failed,
        "the message store failed, so this broker ends: nothing that was confirmed is lost. Look at the disk, \
         then start it again; `leveret check` tells what is in the data directory"
    );
    std::process::exit(DISK_FAILED)
}
