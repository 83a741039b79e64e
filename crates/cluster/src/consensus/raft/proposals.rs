//! Proposals on their way: gathered while the group before them is written, and answered when they are
//! applied.
//!
//! A group is one entry of the log and so one write to disk. It never waits for company: what is there
//! when the one before is done is the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leveret_engine::view::AgreementView;
use leveret_engine::{BrokerError, Command, Timestamp};
use openraft::{BasicNode, LogId, RaftMetrics};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::leader::{Leader, Unsettled};
use super::shared::Shared;
use crate::consensus::agreed::{Agreed, Answer};
use crate::consensus::bytes::{Batch, Stamped};
use crate::consensus::{DecidedDone, Done, NotDecided, Proposed, Settled, StateMachine};
use crate::replication::{ClusterCommand, NodeId};

/// Commands of one group, at most: applying them takes a millisecond or so, in which nobody else is
/// answered.
const GROUP_COMMANDS_MAX: usize = 1024;

/// Bytes of one group, at most (but for its last command).
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Proposals that wait, at most. A channel and an HTTP request have one each, a queue that is
/// going has one; more than a million is a defect that must not eat the memory.
const WAITING_MAX: usize = 1 << 20;

/// How long a group is proposed before those who wait are told that nobody knows what comes of it.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// The proposals that wait, and their end of the thread that agrees.
#[derive(Default)]
pub(super) struct Proposals {
    inner: Mutex<Inner>,
    wake: Notify,
    /// Told when this node is to lead.
    called: Notify,
    /// Told when another one is to, and who.
    moved: Notify,
    to: Mutex<Option<NodeId>>,
    /// Whether this node lets another one lead.
    yields: AtomicBool,
    figures: Mutex<AgreementView>,
    standing: Mutex<Standing>,
}

/// Who leads the agreement and who votes, as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who leads; nobody while there is no majority, or between two leaders.
    pub leader: Option<NodeId>,
    /// Who votes.
    pub voters: Vec<NodeId>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Pending>,
    closed: bool,
}

struct Pending {
    stamped: Stamped,
    waiter: Waiter,
}

/// Who is told what came of a change.
enum Waiter {
    Topology(Done),
    Cluster(DecidedDone),
}

impl Waiter {
    fn refuse(self, error: BrokerError) {
        match self {
            Self::Topology(done) => done(Err(error)),
            Self::Cluster(done) => done(Err(NotDecided::NotAgreed(error))),
        }
    }
}

impl Pending {
    fn new(command: Command, at: Timestamp, done: Done) -> Self {
        let stamped = Stamped { at, change: Agreed::Topology(command) };
        Self { stamped, waiter: Waiter::Topology(done) }
    }
}

impl Proposals {
    /// Offers a command to the machine, and has it agreed on where it has to be.
    pub(super) fn propose(
        self: &Arc<Self>,
        machine: &Arc<dyn StateMachine>,
        command: Command,
        now: Timestamp,
        done: Done,
    ) -> Option<Proposed> {
        match machine.offer(&command, now) {
            Some(Settled { outcome, next }) if next.is_empty() => Some(outcome),
            Some(settled) => {
                self.finish(Some(machine), settled, now, done);
                None
            }
            None => {
                self.push(Pending::new(command, now, done));
                None
            }
        }
    }

    /// Has a change of nodes and copies agreed on.
    pub(super) fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone) {
        let stamped = Stamped { at: now, change: Agreed::Cluster(command) };
        self.push(Pending { stamped, waiter: Waiter::Cluster(done) });
    }

    fn push(&self, pending: Pending) {
        let refused = {
            let mut inner = self.inner.lock();
            if inner.closed {
                BrokerError::ShuttingDown
            } else if inner.waiting.len() >= WAITING_MAX {
                BrokerError::Internal("too many changes of topology wait for the disk".into())
            } else {
                inner.waiting.push_back(pending);
                drop(inner);
                self.wake.notify_one();
                return;
            }
        };
        pending.waiter.refuse(refused);
    }

    /// Answers a proposal once what follows from it is agreed on, too.
    fn finish(
        self: &Arc<Self>,
        machine: Option<&Arc<dyn StateMachine>>,
        settled: Settled,
        now: Timestamp,
        done: Done,
    ) {
        let Settled { outcome, mut next } = settled;
        while let (Some(machine), Some(command)) = (machine, next.pop()) {
            if let Some(settled) = machine.offer(&command, now) {
                next.extend(settled.next);
                continue;
            }
            let (this, machine) = (Arc::clone(self), Arc::downgrade(machine));
            let then = Box::new(move |_: Proposed| {
                let machine = machine.upgrade();
                this.finish(machine.as_ref(), Settled { outcome, next }, now, done);
            });
            self.push(Pending::new(command, now, then));
            return;
        }
        done(outcome);
    }

    /// Takes no more proposals; those that wait are refused by whoever runs them.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.wake.notify_one();
    }

    /// Refuses whatever waits.
    pub(super) fn refuse(&self) {
        self.close();
        // Refusing one may push another, which is refused at once.
        let waiting = std::mem::take(&mut self.inner.lock().waiting);
        for pending in waiting {
            pending.waiter.refuse(BrokerError::ShuttingDown);
        }
    }

    /// The next group; `None` when there will be no more.
    async fn next(&self) -> Option<Vec<Pending>> {
        loop {
            {
                let mut inner = self.inner.lock();
                if inner.closed {
                    return None;
                }
                if !inner.waiting.is_empty() {
                    let n = inner.waiting.len().min(GROUP_COMMANDS_MAX);
                    return Some(inner.waiting.drain(..n).collect());
                }
            }
            self.wake.notified().await;
        }
    }

    /// How far agreement is.
    pub(super) fn figures(&self) -> AgreementView {
        *self.figures.lock()
    }

    /// This node is to lead as soon as it can.
    pub(super) fn lead(&self) {
        self.called.notify_one();
    }

    /// Another node is to lead, if it is there.
    pub(super) fn transfer(&self, to: NodeId) {
        *self.to.lock() = Some(to);
        self.moved.notify_one();
    }

    /// Whether this node lets another one lead: it says nothing that would make the others wait for it.
    pub(super) fn yields(&self) -> bool {
        self.yields.load(Ordering::Acquire)
    }

    /// Who leads and who votes.
    pub(super) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    fn note(&self, metrics: &RaftMetrics<u64, BasicNode>, took: Option<Duration>) {
        let index = |log: &Option<LogId<u64>>| log.map_or(0, |log| log.index);
        *self.standing.lock() = Standing {
            leader: metrics.current_leader.map(NodeId),
            voters: metrics.membership_config.membership().voter_ids().map(NodeId).collect(),
        };
        let mut figures = self.figures.lock();
        let seconds = took.map_or(figures.commit_latency_seconds, |took| took.as_secs_f64());
        *figures = AgreementView {
            term: metrics.current_term,
            last_written: metrics.last_log_index.unwrap_or(0),
            last_applied: index(&metrics.last_applied),
            snapshot: index(&metrics.snapshot),
            commit_latency_seconds: seconds,
        };
    }

    /// Agrees on what is proposed until [`Proposals::close`].
    ///
    /// # Errors
    /// When it can go on no more, with the reason.
    pub(super) async fn run(
        self: &Arc<Self>,
        leader: &Leader,
        shared: &Shared,
    ) -> Result<(), String> {
        let raft = &leader.raft;
        let mut metrics = raft.metrics();
        loop {
            let group = tokio::select! {
                group = self.next() => group,
                changed = metrics.changed() => {
                    // Other trouble than that of a write, such as that of a snapshot.
                    if let Err(fatal) = &metrics.borrow_and_update().running_state {
                        return Err(fatal.to_string());
                    }
                    changed.map_err(|_| "agreement has stopped".to_owned())?;
                    self.note(&metrics.borrow(), None);
                    if shared.snapshot_is_due() {
                        raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
                    }
                    continue;
                }
                () = self.moved.notified() => {
                    let to = self.to.lock().take();
                    if let Some(to) = to {
                        leader.hand_over(to.0, &self.yields).await;
                    }
                    continue;
                }
                () = self.called.notified() => {
                    raft.trigger().elect().await.map_err(|error| error.to_string())?;
                    continue;
                }
            };
            let Some(group) = group else { return Ok(()) };
            #[expect(clippy::disallowed_methods, reason = "IO is timed where it is done")]
            let begun = Instant::now();
            self.agree(leader, shared, group).await?;
            self.note(&raft.metrics().borrow(), Some(begun.elapsed()));
            if shared.snapshot_is_due() {
                raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            }
        }
    }

    async fn agree(
        self: &Arc<Self>,
        leader: &Leader,
        shared: &Shared,
        group: Vec<Pending>,
    ) -> Result<(), String> {
        let split = |Pending { stamped, waiter }| (stamped.at, (stamped, waiter));
        let (times, pairs): (Vec<_>, Vec<_>) = group.into_iter().map(split).unzip();
        let (stamps, waiters): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut waiting = times.into_iter().zip(waiters);
        let mut stamps = stamps.into_iter();
        while stamps.len() > 0 {
            let (origin, told) = shared.expect();
            let batch = Batch::gather(origin, &mut stamps, GROUP_COMMANDS_MAX, GROUP_BYTES_MAX);
            let batch = batch.map_err(|error| Unsettled::Fatal(error.to_string()));
            let written = match batch {
                Ok(batch) => leader
                    .write(&batch, told, Some(SETTLED_WITHIN))
                    .await
                    .map_err(|unsettled| (unsettled, batch.changes().len())),
                Err(unsettled) => Err((unsettled, 0)),
            };
            let answers = match written {
                Ok(answers) => answers,
                Err((Unsettled::Fatal(reason), _)) => {
                    waiting.for_each(|(_, waiter)| waiter.refuse(BrokerError::ShuttingDown));
                    return Err(reason);
                }
                Err((unsettled, n)) => {
                    for (_, waiter) in waiting.by_ref().take(n) {
                        waiter.refuse(BrokerError::Internal(unsettled.to_string().into()));
                    }
                    continue;
                }
            };
            let machine = shared.machine();
            for (answer, (at, waiter)) in answers.into_iter().zip(&mut waiting) {
                match waiter {
                    Waiter::Topology(done) => {
                        self.finish(machine.as_ref(), answer.settled(), at, done);
                    }
                    Waiter::Cluster(done) => done(answer.decided()),
                }
            }
        }
        // The node is gone before what it has proposed was applied.
        waiting.for_each(|(_, waiter)| waiter.refuse(BrokerError::ShuttingDown));
        Ok(())
    }
}

/// Agrees on changes before there are proposals, all or nothing, for as long as it takes.
pub(super) async fn agree_at_once(
    leader: &Leader,
    shared: &Shared,
    changes: Vec<Agreed>,
    at: Timestamp,
) -> Result<Vec<Answer>, String> {
    let mut stamps = changes.into_iter().map(|change| Stamped { at, change });
    let (origin, told) = shared.expect();
    let batch = Batch::gather(origin, &mut stamps, usize::MAX, usize::MAX);
    let batch = batch.map_err(|error| error.to_string())?;
    leader.write(&batch, told, None).await.map_err(|error| error.to_string())
}
