//! Agreement by openraft, on a thread of its own. Nothing outside this folder sees openraft's types.
//!
//! A node that is alone is a group of one in the same format as a larger one.

mod log;
mod machine;
mod network;
mod proposals;
mod types;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::thread::{JoinHandle, ThreadId};

use leveret_engine::view::AgreementView;
use leveret_engine::{BrokerError, Command, Timestamp, TopologyConfig};
use leveret_store::MetaStore;
use openraft::{BasicNode, Raft, SnapshotPolicy};
use parking_lot::Mutex;

use self::log::LogStore;
use self::machine::{Machine, Shared};
use self::network::Alone;
use self::proposals::Proposals;
use self::types::Config;
use super::{AgreedState, DecidedDone, Done, MetaConsensus, Proposed, StateMachine};
use crate::replication::ClusterCommand;

/// The number of a node that is alone. In a cluster numbers are given by the log, never twice.
const ME: u64 = 1;

/// How often openraft looks at its clock. A node that is alone has nobody to send heartbeats to, and it
/// is told when to elect itself, so this is as good as never.
const TICK_MS: u64 = 3_600_000;

const PANICKED: &str = "agreement has panicked";

/// Entries that stay in the log when a snapshot has them.
const ENTRIES_BEHIND_SNAPSHOT: u64 = 64;

/// Why what is kept cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read, or it is damaged.
    #[error("{0}")]
    Kept(String),
    /// What a new node begins with is refused.
    #[error("the default user and vhost cannot be created: {0}")]
    First(BrokerError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

/// What was kept, opened.
pub struct Opened {
    /// What was agreed on so far.
    pub state: AgreedState,
    /// The agreement that changes it from now on.
    pub consensus: Arc<RaftConsensus>,
}

/// What to open.
pub struct Opening {
    /// Where it is kept.
    pub store: Arc<dyn MetaStore>,
    /// The settings of the topology.
    pub config: TopologyConfig,
    /// What a node begins with on which nothing was ever agreed.
    pub first: Vec<Command>,
    /// Now.
    pub now: Timestamp,
    /// Told once if agreement ends by itself, with the reason. The node has to end then: nothing durable
    /// can be changed any more.
    pub failed: Box<dyn FnOnce(String) + Send>,
}

/// Agreement that is kept.
pub struct RaftConsensus {
    proposals: Arc<Proposals>,
    shared: Arc<Shared>,
    machine: OnceLock<Weak<dyn StateMachine>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

impl RaftConsensus {
    /// Reads what was kept and agrees on the first commands where nothing was. Blocks until all of it is
    /// done, for as long as the disk takes.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(opening: Opening) -> Result<Opened, OpenError> {
        let Opening { store, config, first, now, failed } = opening;
        let shared = Arc::new(Shared::new(config, ME, store.starts()));
        let proposals = Arc::new(Proposals::default());
        let (opened, when_opened) = mpsc::sync_channel(1);
        let agent = Agent { shared: Arc::clone(&shared), proposals: Arc::clone(&proposals) };
        let alarm = Alarm(Some(failed));
        let run = move || agent.run(store, First { commands: first, now }, &opened, alarm);
        let thread = std::thread::Builder::new()
            .name("leveret-meta".into())
            .spawn(run)
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        let state = when_opened.recv().unwrap_or_else(|_| Err(OpenError::Kept(PANICKED.into())))?;
        let thread_id = thread.thread().id();
        let machine = OnceLock::new();
        let thread = Mutex::new(Some(thread));
        let consensus = Arc::new(Self { proposals, shared, machine, thread, thread_id });
        Ok(Opened { state, consensus })
    }

    /// How far agreement is, for management.
    pub fn figures(&self) -> AgreementView {
        self.proposals.figures()
    }

    /// Ends: what has been written is answered, what waits is refused. Blocks until the store is let go.
    pub fn shutdown(&self) {
        self.proposals.close();
        self.shared.detach();
        let thread = self.thread.lock().take();
        // An answer may own the last reference to this value, and then this is that thread.
        if let Some(thread) = thread.filter(|_| std::thread::current().id() != self.thread_id) {
            // A panic in it has been told as a failure.
            let _ = thread.join();
        }
    }
}

impl Drop for RaftConsensus {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl MetaConsensus for RaftConsensus {
    fn attach(&self, machine: Weak<dyn StateMachine>) {
        self.shared.attach(Weak::clone(&machine));
        // The first machine stays; a node attaches itself once.
        let _ = self.machine.set(machine);
    }

    fn propose(&self, command: Command, now: Timestamp, done: Done) -> Option<Proposed> {
        let Some(machine) = self.machine.get().and_then(Weak::upgrade) else {
            return Some(Err(BrokerError::ShuttingDown));
        };
        self.proposals.propose(&machine, command, now, done)
    }

    fn decide(&self, command: ClusterCommand, now: Timestamp, done: DecidedDone) {
        self.proposals.decide(command, now, done);
    }
}

/// What a node begins with.
struct First {
    commands: Vec<Command>,
    now: Timestamp,
}

/// Tells of a failure, once; of a panic by itself.
struct Alarm(Option<Box<dyn FnOnce(String) + Send>>);

impl Alarm {
    fn raise(&mut self, reason: String) {
        if let Some(failed) = self.0.take() {
            failed(reason);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.raise(PANICKED.to_owned());
        }
    }
}

/// The thread that agrees.
struct Agent {
    shared: Arc<Shared>,
    proposals: Arc<Proposals>,
}

impl Agent {
    fn run(
        &self,
        store: Arc<dyn MetaStore>,
        first: First,
        opened: &mpsc::SyncSender<Result<AgreedState, OpenError>>,
        mut alarm: Alarm,
    ) {
        // One thread is enough: openraft waits for each write before it goes on.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| OpenError::Thread(error.to_string()));
        let started = runtime.and_then(|runtime| {
            let raft = runtime.block_on(self.start(store, first))?;
            Ok((runtime, raft))
        });
        let (runtime, raft) = match started {
            Ok((runtime, (raft, state))) => {
                // The opener waits for this.
                let _ = opened.send(Ok(state));
                (runtime, raft)
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let ended = runtime.block_on(async {
            let ended = self.proposals.run(&raft, &self.shared).await;
            // What it could still say is in `ended`.
            let _ = raft.shutdown().await;
            ended
        });
        self.proposals.refuse();
        if let Err(reason) = ended {
            alarm.raise(reason);
        }
    }

    async fn start(
        &self,
        store: Arc<dyn MetaStore>,
        first: First,
    ) -> Result<(Raft<Config>, AgreedState), OpenError> {
        let log = LogStore::new(Arc::clone(&store));
        let last = log.state().map_err(kept)?.last_log_id.map(|last| last.index);
        let machine = Machine::open(Arc::clone(&self.shared), store).map_err(kept)?;
        let config = Arc::new(config().validate().map_err(kept)?);
        let raft = Raft::new(ME, config, Alone, log, machine).await.map_err(kept)?;
        if !raft.is_initialized().await.map_err(kept)? {
            let me = BTreeMap::from([(ME, BasicNode::default())]);
            raft.initialize(me).await.map_err(kept)?;
        } else if raft.current_leader().await != Some(ME) {
            raft.trigger().elect().await.map_err(kept)?;
        }
        raft.wait(None).current_leader(ME, "this node leads").await.map_err(kept)?;
        raft.wait(None).applied_index_at_least(last, "the log is read").await.map_err(kept)?;
        if self.shared.is_pristine() {
            let outcomes = proposals::agree_at_once(&raft, &self.shared, first.commands, first.now);
            for outcome in outcomes.await.map_err(OpenError::Kept)? {
                outcome.map_err(OpenError::First)?;
            }
        }
        let state = self.shared.take_state();
        Ok((raft, state.ok_or_else(|| kept("the topology is taken already"))?))
    }
}

fn kept(error: impl ToString) -> OpenError {
    OpenError::Kept(error.to_string())
}

fn config() -> openraft::Config {
    openraft::Config {
        cluster_name: "leveret".into(),
        enable_tick: false,
        enable_heartbeat: false,
        heartbeat_interval: TICK_MS,
        election_timeout_min: 2 * TICK_MS,
        election_timeout_max: 3 * TICK_MS,
        // `Shared::snapshot_is_due` says when.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: ENTRIES_BEHIND_SNAPSHOT,
        ..openraft::Config::default()
    }
}

#[cfg(test)]
mod tests;
