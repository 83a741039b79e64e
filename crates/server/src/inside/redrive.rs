//! Moving messages by hand: takes them from a queue as any consumer would, puts them where they are to go, and acknowledges
//! each only when it is there. What does not fit or cannot be moved goes back to its place at the end.

use super::client::{Client, Said};
use super::{CHANNEL, one};
use crate::clock::Clock;
use leveret_codec::{put_ack, put_nack};
use leveret_engine::Timestamp;
use leveret_engine::dead_letter::first_death;
use leveret_engine::view::{
    HandGot, HandRefused, Properties, PutMessage, REDRIVE_FAILURES_KEPT, Redrive, RedriveFailure,
    RedriveState, RedriveView,
};
use leveret_node::Node;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::info;

/// Redrives under way at once. Each has a connection inside the process.
const RUNNING_MAX: usize = 8;

/// Redrives that are remembered, running ones included.
const REMEMBERED: usize = 50;

/// Messages that are put before their confirms are waited for: enough that a sync of the disk serves many.
const BATCH: u64 = 256;

/// Payload bytes of one batch, beyond which it ends early.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Messages that one redrive looks at, at most: those that stay are held until the end, some bytes each.
const LOOKED_MAX: u64 = 10_000_000;

/// How long the confirms of one batch may take.
const CONFIRMS_MAX: Duration = Duration::from_secs(60);

/// All redrives of this node.
pub(crate) struct Redrives {
    node: Arc<Node>,
    clock: Arc<Clock>,
    jobs: Mutex<Jobs>,
}

#[derive(Default)]
struct Jobs {
    next: u64,
    all: VecDeque<Arc<Job>>,
}

struct Job {
    id: u64,
    view: Mutex<RedriveView>,
    cancelled: AtomicBool,
}

impl Redrives {
    pub(crate) fn new(node: Arc<Node>, clock: Arc<Clock>) -> Self {
        Self { node, clock, jobs: Mutex::default() }
    }

    /// Begins one; must be called within a tokio runtime.
    pub(crate) fn begin(&self, wanted: Redrive) -> Option<u64> {
        let mut jobs = self.jobs.lock();
        if jobs.all.iter().filter(|job| job.is_running()).count() >= RUNNING_MAX {
            return None;
        }
        jobs.next += 1;
        let job = Arc::new(Job::new(jobs.next, wanted, self.clock.now()));
        if jobs.all.len() >= REMEMBERED
            && let Some(ended) = jobs.all.iter().position(|job| !job.is_running())
        {
            jobs.all.remove(ended);
        }
        jobs.all.push_back(Arc::clone(&job));
        let (node, clock, id) = (Arc::clone(&self.node), Arc::clone(&self.clock), job.id);
        tokio::spawn(async move {
            let outcome = Work::run(&node, &clock, &job).await;
            job.end(outcome, clock.now());
        });
        Some(id)
    }

    pub(crate) fn views(&self) -> Vec<RedriveView> {
        self.jobs.lock().all.iter().map(|job| job.view.lock().clone()).collect()
    }

    pub(crate) fn cancel(&self, id: u64) -> bool {
        let jobs = self.jobs.lock();
        let job = jobs.all.iter().find(|job| job.id == id && job.is_running());
        job.inspect(|job| job.cancelled.store(true, Ordering::Relaxed)).is_some()
    }
}

impl Job {
    fn new(id: u64, wanted: Redrive, started: Timestamp) -> Self {
        let view = RedriveView::begun(id, wanted, started);
        Self { id, view: Mutex::new(view), cancelled: AtomicBool::new(false) }
    }

    fn is_running(&self) -> bool {
        self.view.lock().state == RedriveState::Running
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn end(&self, outcome: Result<(), HandRefused>, now: Timestamp) {
        let mut view = self.view.lock();
        view.ended = Some(now);
        view.state = match outcome {
            Err(refused) => RedriveState::Failed(refused.text),
            Ok(()) if self.is_cancelled() => RedriveState::Cancelled,
            Ok(()) => RedriveState::Done,
        };
        let (user, queue) = (&view.wanted.user.name, &view.wanted.queue);
        let moved: u64 = view.moved.values().sum();
        info!(%user, %queue, moved, failed = view.failed, state = ?view.state, "redrive ended");
    }
}

/// Where a message goes.
enum Way {
    /// It does not fit what was asked for.
    Stays,
    /// It cannot be moved.
    Nowhere(String),
    /// Into a queue, with the exchange and key that it is to have.
    To { queue: Arc<str>, exchange: Vec<u8>, routing_key: Vec<u8> },
}

/// A message that was put and is not confirmed yet.
struct Put {
    /// The number of the publish.
    number: u64,
    /// The delivery from the queue that it was in.
    delivery: u64,
    position: u64,
    message_id: Option<String>,
    queue: Arc<str>,
}

/// One redrive under way.
struct Work<'a> {
    node: &'a Arc<Node>,
    job: &'a Job,
    wanted: Redrive,
    client: Client,
    /// Publishes so far.
    numbers: u64,
}

impl<'a> Work<'a> {
    async fn run(
        node: &'a Arc<Node>,
        clock: &'a Arc<Clock>,
        job: &'a Job,
    ) -> Result<(), HandRefused> {
        let wanted = job.view.lock().wanted.clone();
        let mut client = Client::open(node, clock, &wanted.user, &wanted.vhost).await?;
        client.select_confirms().await?;
        let total = ready(node, &wanted).min(wanted.limit.unwrap_or(u64::MAX)).min(LOOKED_MAX);
        job.view.lock().total = total;
        let mut work = Work { node, job, wanted, client, numbers: 0 };
        let mut looked = 0;
        while looked < total && !job.is_cancelled() {
            let begun = clock.now();
            let size = work.wanted.rate.map_or(BATCH, |rate| u64::from(rate).clamp(1, BATCH));
            let n = work.batch(looked, size.min(total - looked)).await?;
            if n == 0 {
                break;
            }
            looked += n;
            if let Some(rate) = work.wanted.rate {
                let due = begun.plus(n * 1000 / u64::from(rate.max(1)));
                tokio::time::sleep_until(clock.instant(due)).await;
            }
        }
        // All that is not acknowledged goes back to where it was.
        work.client.send(|out, _| put_nack(out, CHANNEL, 0, true, true));
        work.client.close().await;
        Ok(())
    }

    /// Looks at up to `size` messages and moves those that fit; returns how many there were.
    async fn batch(&mut self, looked: u64, size: u64) -> Result<u64, HandRefused> {
        let mut puts = Vec::new();
        let (mut n, mut bytes) = (0, 0);
        while n < size && bytes < BATCH_BYTES {
            let got = one(&mut self.client, &self.wanted.queue, false, usize::MAX).await?;
            let Some((delivery, message)) = got else { break };
            n += 1;
            bytes += message.body.len();
            self.job.view.lock().looked += 1;
            self.look(delivery, looked + n, message, &mut puts);
        }
        tokio::time::timeout(CONFIRMS_MAX, self.settle(puts)).await.unwrap_or_else(|_| {
            let text = "the queues did not confirm within a minute".to_owned();
            Err(HandRefused { code: 541, text })
        })?;
        Ok(n)
    }

    /// Decides about one message and puts it on its way.
    fn look(&mut self, delivery: u64, position: u64, message: HandGot, puts: &mut Vec<Put>) {
        let id = Properties::new(&message.properties).message_id();
        let message_id = id.map(|id| String::from_utf8_lossy(id).into_owned());
        match way(&self.wanted, &message) {
            Way::Stays => self.job.view.lock().passed += 1,
            Way::Nowhere(reason) => {
                self.failed(RedriveFailure { position, message_id, queue: None, reason });
            }
            Way::To { queue, exchange, routing_key } => {
                let found = self.node.find_queue(&self.wanted.vhost, &queue);
                let found = match found {
                    Ok(found) => found,
                    Err(error) => {
                        let (queue, reason) = (Some(queue), error.explain());
                        self.failed(RedriveFailure { position, message_id, queue, reason });
                        return;
                    }
                };
                if self.wanted.dry_run {
                    *self.job.view.lock().moved.entry(queue).or_default() += 1;
                    return;
                }
                let HandGot { properties, body, .. } = message;
                self.client.put(found.id, &PutMessage { exchange, routing_key, properties, body });
                self.numbers += 1;
                puts.push(Put { number: self.numbers, delivery, position, message_id, queue });
            }
        }
    }

    /// Waits for the confirms of a batch and acknowledges what has arrived.
    async fn settle(&mut self, mut puts: Vec<Put>) -> Result<(), HandRefused> {
        while !puts.is_empty() {
            let (settled, confirmed) = match self.client.said().await? {
                Said::Confirmed(settled) => (settled, true),
                Said::Refused(settled) => (settled, false),
                Said::Method(_) | Said::Header { .. } | Said::Body(_) => continue,
            };
            let (those, rest) = puts.into_iter().partition(|put: &Put| settled.is_of(put.number));
            puts = rest;
            for put in those {
                self.settled(put, confirmed);
            }
        }
        Ok(())
    }

    fn settled(&mut self, put: Put, confirmed: bool) {
        let Put { delivery, position, message_id, queue, .. } = put;
        if confirmed {
            self.client.send(|out, _| put_ack(out, CHANNEL, delivery, false));
            *self.job.view.lock().moved.entry(queue).or_default() += 1;
            return;
        }
        let reason = format!("queue '{queue}' refuses messages: it is full");
        self.failed(RedriveFailure { position, message_id, queue: Some(queue), reason });
    }

    fn failed(&self, failure: RedriveFailure) {
        let mut view = self.job.view.lock();
        view.failed += 1;
        if view.failures.len() < REDRIVE_FAILURES_KEPT {
            view.failures.push(failure);
        }
    }
}

fn ready(node: &Arc<Node>, wanted: &Redrive) -> u64 {
    use leveret_engine::view::Registry as _;
    let found = node.find_queue(&wanted.vhost, &wanted.queue);
    found.ok().and_then(|queue| node.queue_figures(queue.id)).map_or(0, |f| f.counts.ready)
}

fn way(wanted: &Redrive, message: &HandGot) -> Way {
    let death = first_death(&message.properties);
    let filtered = wanted.died_in.is_some() || wanted.reason.is_some() || wanted.before.is_some();
    let fits = death.is_some_and(|death| {
        wanted.died_in.as_deref().is_none_or(|queue| queue == death.queue)
            && wanted.reason.as_deref().is_none_or(|reason| reason == death.reason)
            && wanted.before.is_none_or(|before| death.at.is_some_and(|at| at <= before))
    });
    if filtered && !fits {
        return Way::Stays;
    }
    match (&wanted.to, death) {
        // It keeps the address it has.
        (Some(to), _) => Way::To {
            queue: Arc::clone(to),
            exchange: message.exchange.clone().into_bytes(),
            routing_key: message.routing_key.clone().into_bytes(),
        },
        (None, Some(death)) => Way::To {
            queue: death.queue.into(),
            exchange: death.exchange.to_vec(),
            routing_key: death.routing_key.to_vec(),
        },
        (None, None) => Way::Nowhere("it is no dead letter: it has no x-death".to_owned()),
    }
}
