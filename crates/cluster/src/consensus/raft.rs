//! Agreement by openraft, on a thread of its own. Nothing outside this folder sees openraft's types.
//!
//! A node that is alone is a group of one in the same format as a larger one.

mod alive;
mod answers;
mod leader;
mod log;
mod machine;
mod member;
mod messages;
mod network;
mod proposals;
mod shared;
mod types;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::thread::{JoinHandle, ThreadId};

use leveret_engine::view::AgreementView;
use leveret_engine::{BrokerError, Command, Timestamp, TopologyConfig};
use leveret_store::MetaStore;
use openraft::{BasicNode, Raft, SnapshotPolicy};
use parking_lot::Mutex;

use self::alive::Alive;
use self::answers::Answers;
use self::leader::Leader;
use self::log::LogStore;
use self::machine::Machine;
use self::network::{SNAPSHOT_MAX, Ways};
use self::proposals::Proposals;
use self::shared::Shared;
use super::{
    Agreed, AgreedState, Answer, DecidedDone, Done, MetaConsensus, Proposed, StateMachine,
};
use crate::replication::{ClusterCommand, Incarnation, NodeId, NodeRole, Reply, StoreMark};
use crate::transport::Transport;

pub use member::{JoinError, join};
pub use messages::{Join, Joined};
pub use proposals::Standing;

/// The number of a node that is alone, and of the one that founds a cluster. Numbers are given by the log, never twice.
const FOUNDER: u64 = 1;

/// How often who leads the agreement says so, and how long it is not heard before another one wants to lead, in
/// milliseconds. openraft's defaults are for machines that do not also wait for disks; no message waits for this.
const LEADS_EVERY_MS: u64 = 250;
const ELECTION_MS: (u64, u64) = (1_000, 2_000);

/// Entries that are sent to another node at a time, at most. An entry can have a megabyte, and all of them have to be there
/// within [`LEADS_EVERY_MS`].
const ENTRIES_AT_A_TIME: u64 = 16;

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
    /// The cluster does not want this node.
    #[error("the cluster refuses this node: {0}")]
    Cluster(String),
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
    /// This start of the process, in a cluster.
    pub incarnation: Option<Incarnation>,
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
    /// What this node is in its cluster; none if it is alone.
    pub member: Option<Member>,
    /// Told once if agreement ends by itself, with the reason. The node has to end then: nothing durable
    /// can be changed any more.
    pub failed: Box<dyn FnOnce(String) + Send>,
}

/// What a node is in its cluster.
#[derive(Clone)]
pub struct Member {
    /// The way to the others; it says which node this is.
    pub transport: Arc<Transport>,
    /// Where the others reach this node.
    pub address: Arc<str>,
    /// What this node does.
    pub role: NodeRole,
    /// Where others are reached, as far as it is known without them.
    pub others: Vec<(NodeId, Arc<str>)>,
    /// The name of its message store.
    pub store: StoreMark,
    /// The last group commit that the store has on disk.
    pub durable: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Agreement that is kept.
pub struct RaftConsensus {
    proposals: Arc<Proposals>,
    shared: Arc<Shared>,
    /// Until when this node may deliver from replicated queues, in ms.
    lease: Arc<AtomicU64>,
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
        let Opening { store, config, first, now, member, failed } = opening;
        let me = member.as_ref().map_or(FOUNDER, |member| member.transport.identity().node.0);
        let shared = Arc::new(Shared::new(config, me, store.starts()));
        let proposals = Arc::new(Proposals::default());
        let lease = Arc::default();
        let (opened, when_opened) = mpsc::sync_channel(1);
        let agent = Agent {
            me,
            shared: Arc::clone(&shared),
            proposals: Arc::clone(&proposals),
            member,
            lease: Arc::clone(&lease),
        };
        let alarm = Alarm(Some(failed));
        let run = move || agent.run(store, First { commands: first, now }, &opened, alarm);
        let thread = std::thread::Builder::new()
            .name("leveret-meta".into())
            .spawn(run)
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        let begun = when_opened.recv().unwrap_or_else(|_| Err(OpenError::Kept(PANICKED.into())))?;
        let Begun { state, incarnation } = begun;
        let thread_id = thread.thread().id();
        let machine = OnceLock::new();
        let thread = Mutex::new(Some(thread));
        let consensus = Arc::new(Self { proposals, shared, lease, machine, thread, thread_id });
        Ok(Opened { state, consensus, incarnation })
    }

    /// Another node is to lead the agreement, if it is there.
    pub fn transfer(&self, to: NodeId) {
        self.proposals.transfer(to);
    }

    /// Until when this node may deliver from replicated queues (rule R14).
    pub fn lease_until(&self) -> Timestamp {
        Timestamp(self.lease.load(Ordering::Acquire))
    }

    /// Who leads the agreement and who votes.
    pub fn standing(&self) -> Standing {
        self.proposals.standing()
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

/// What a node goes on with once it is open.
struct Begun {
    state: AgreedState,
    incarnation: Option<Incarnation>,
}

/// The thread that agrees.
struct Agent {
    me: u64,
    shared: Arc<Shared>,
    proposals: Arc<Proposals>,
    member: Option<Member>,
    lease: Arc<AtomicU64>,
}

impl Agent {
    fn run(
        &self,
        store: Arc<dyn MetaStore>,
        first: First,
        opened: &mpsc::SyncSender<Result<Begun, OpenError>>,
        mut alarm: Alarm,
    ) {
        // One thread is enough: openraft waits for each write before it goes on.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| OpenError::Thread(error.to_string()));
        let started = runtime.and_then(|runtime| {
            let started = runtime.block_on(self.start(store, first))?;
            Ok((runtime, started))
        });
        let (runtime, leader) = match started {
            Ok((runtime, (leader, begun))) => {
                // The opener waits for this.
                let _ = opened.send(Ok(begun));
                (runtime, leader)
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let ended = runtime.block_on(async {
            let ended = self.proposals.run(&leader, &self.shared).await;
            // What it could still say is in `ended`.
            let _ = leader.raft.shutdown().await;
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
    ) -> Result<(Leader, Begun), OpenError> {
        let log = LogStore::new(Arc::clone(&store));
        let last = log.state().map_err(kept)?.last_log_id.map(|last| last.index);
        let machine = Machine::open(Arc::clone(&self.shared), store).map_err(kept)?;
        let config = if self.member.is_some() { in_cluster() } else { alone() };
        let config = Arc::new(config.validate().map_err(kept)?);
        let ways = Ways(self.member.as_ref().map(|member| Arc::clone(&member.transport)));
        let raft = Raft::new(self.me, config, ways.clone(), log, machine).await.map_err(kept)?;
        let leader = Leader { raft: raft.clone(), ways, me: self.me };
        let alone = self.is_alone(&leader).await?;
        if alone {
            self.found(&leader, last, &first).await?;
        }
        let incarnation = match &self.member {
            Some(member) => Some(self.take_part(&leader, member, alone, first.now).await?),
            None => None,
        };
        let state = self.shared.take_state();
        let state = state.ok_or_else(|| kept("the topology is taken already"))?;
        Ok((leader, Begun { state, incarnation }))
    }

    /// Whether nobody else votes.
    async fn is_alone(&self, leader: &Leader) -> Result<bool, OpenError> {
        if !leader.raft.is_initialized().await.map_err(kept)? {
            // Whoever joins is told by the others who they are.
            return Ok(self.member.as_ref().is_none_or(|member| member.others.is_empty()));
        }
        let metrics = leader.raft.metrics();
        let members = metrics.borrow().membership_config.membership().clone();
        if let Some(member) = &self.member {
            for (id, node) in members.nodes() {
                member.transport.reach(NodeId(*id), &node.addr);
            }
        }
        Ok(members.voter_ids().eq([self.me]))
    }

    /// A node that has no others leads by itself, and begins with something.
    async fn found(
        &self,
        leader: &Leader,
        last: Option<u64>,
        first: &First,
    ) -> Result<(), OpenError> {
        let raft = &leader.raft;
        if !raft.is_initialized().await.map_err(kept)? {
            let me = BTreeMap::from([(self.me, BasicNode::default())]);
            raft.initialize(me).await.map_err(kept)?;
        } else if raft.current_leader().await != Some(self.me) {
            raft.trigger().elect().await.map_err(kept)?;
        }
        raft.wait(None).current_leader(self.me, "this node leads").await.map_err(kept)?;
        raft.wait(None).applied_index_at_least(last, "the log is read").await.map_err(kept)?;
        if self.shared.is_pristine() {
            let commands = first.commands.iter().cloned().map(Agreed::Topology).collect();
            let answers = proposals::agree_at_once(leader, &self.shared, commands, first.now);
            for answer in answers.await.map_err(OpenError::Kept)? {
                answer.settled().outcome.map_err(OpenError::First)?;
            }
        }
        Ok(())
    }
}

fn kept(error: impl ToString) -> OpenError {
    OpenError::Kept(error.to_string())
}

fn alone() -> openraft::Config {
    openraft::Config {
        enable_tick: false,
        enable_heartbeat: false,
        heartbeat_interval: TICK_MS,
        election_timeout_min: 2 * TICK_MS,
        election_timeout_max: 3 * TICK_MS,
        ..common()
    }
}

fn in_cluster() -> openraft::Config {
    openraft::Config {
        heartbeat_interval: LEADS_EVERY_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        max_payload_entries: ENTRIES_AT_A_TIME,
        install_snapshot_timeout: SNAPSHOT_MAX.as_millis() as u64,
        ..common()
    }
}

fn common() -> openraft::Config {
    openraft::Config {
        cluster_name: "leveret".into(),
        // `Shared::snapshot_is_due` says when.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: ENTRIES_BEHIND_SNAPSHOT,
        ..openraft::Config::default()
    }
}

#[cfg(test)]
mod tests;
