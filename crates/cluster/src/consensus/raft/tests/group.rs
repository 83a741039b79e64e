//! Agreement of three nodes: openraft over our log and our machine, in virtual time. The seed cuts the network, starts nodes
//! again from what they kept, and makes snapshots; whatever was answered must be on all of them in the end, in one order.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use leveret_engine::{Command, Topology, TopologyConfig};
use leveret_store::MemoryMeta;
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, Raft, Snapshot, SnapshotPolicy};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{NOW, declare, first};
use crate::consensus::raft::leader::Leader;
use crate::consensus::raft::log::LogStore;
use crate::consensus::raft::machine::Machine;
use crate::consensus::raft::network::Ways as Network;
use crate::consensus::raft::proposals::agree_at_once;
use crate::consensus::raft::shared::Shared;
use crate::consensus::raft::types::{Config, Vote};
use crate::consensus::{Agreed, Answer};

const NODES: u64 = 3;

/// What happens in one run.
const ROUNDS: u32 = 150;

/// How long a proposal is waited for, in virtual time: it may be nobody's to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a group whose network is well takes to agree, at most, in virtual time.
const HEALED: Duration = Duration::from_secs(60);

/// The way between nodes, and who is reached by it.
struct Router {
    rafts: Mutex<BTreeMap<u64, Raft<Config>>>,
    cut: Mutex<BTreeSet<(u64, u64)>>,
    random: Mutex<StdRng>,
}

/// Why a node is not reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the way from {0} to {1} is cut")]
struct Cut(u64, u64);

impl Router {
    /// One way, after some time.
    async fn pass(&self, from: u64, to: u64) -> Result<(), Unreachable> {
        let ms = self.random.lock().random_range(0..15);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if self.cut.lock().contains(&(from, to)) {
            return Err(Unreachable::new(&Cut(from, to)));
        }
        Ok(())
    }

    fn raft(&self, of: u64) -> Result<Raft<Config>, Unreachable> {
        self.rafts.lock().get(&of).cloned().ok_or_else(|| Unreachable::new(&Cut(of, of)))
    }
}

/// The ways from one node.
#[derive(Clone)]
struct Ways {
    router: Arc<Router>,
    me: u64,
}

impl RaftNetworkFactory<Config> for Ways {
    type Network = Way;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Way {
        Way { router: Arc::clone(&self.router), me: self.me, target }
    }
}

/// The way from one node to another.
struct Way {
    router: Arc<Router>,
    me: u64,
    target: u64,
}

impl Way {
    /// There and back; what fails on the way back has been done all the same.
    async fn call<T, E, F>(&self, work: impl FnOnce(Raft<Config>) -> F) -> Result<T, Unreachable>
    where
        E: std::error::Error + 'static,
        F: Future<Output = Result<T, E>>,
    {
        self.router.pass(self.me, self.target).await?;
        let raft = self.router.raft(self.target)?;
        let done = work(raft).await.map_err(|error| Unreachable::new(&error))?;
        self.router.pass(self.target, self.me).await?;
        Ok(done)
    }
}

impl RaftNetwork<Config> for Way {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Config>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        Ok(self.call(async move |raft| raft.append_entries(rpc).await).await?)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        Ok(self.call(async move |raft| raft.vote(rpc).await).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Config>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Config, Fatal<u64>>> {
        Ok(self.call(async move |raft| raft.install_full_snapshot(vote, snapshot).await).await?)
    }
}

/// Three nodes, of which each keeps what it has when it is started again.
struct Group {
    router: Arc<Router>,
    stores: BTreeMap<u64, Arc<MemoryMeta>>,
    shared: BTreeMap<u64, Arc<Shared>>,
    /// Counts the starts of all nodes.
    starts: u64,
    random: StdRng,
}

fn config() -> openraft::Config {
    openraft::Config {
        cluster_name: "leveret".into(),
        heartbeat_interval: 100,
        election_timeout_min: 400,
        election_timeout_max: 800,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 2,
        ..openraft::Config::default()
    }
}

impl Group {
    async fn new(seed: u64) -> Self {
        let router = Router {
            rafts: Mutex::default(),
            cut: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        };
        let mut group = Self {
            router: Arc::new(router),
            stores: (1..=NODES).map(|node| (node, Arc::default())).collect(),
            shared: BTreeMap::new(),
            starts: 1,
            random: StdRng::seed_from_u64(seed),
        };
        for node in 1..=NODES {
            group.start(node).await;
        }
        let members: BTreeMap<_, _> =
            (1..=NODES).map(|node| (node, BasicNode::default())).collect();
        group.raft(1).initialize(members).await.unwrap();
        group
    }

    fn raft(&self, node: u64) -> Raft<Config> {
        self.router.raft(node).unwrap()
    }

    async fn start(&mut self, node: u64) {
        let store = Arc::clone(&self.stores[&node]);
        let shared = Arc::new(Shared::new(TopologyConfig::default(), node, self.starts));
        self.starts += 1;
        let log = LogStore::new(Arc::clone(&store) as _);
        let machine = Machine::open(Arc::clone(&shared), store).unwrap();
        let ways = Ways { router: Arc::clone(&self.router), me: node };
        let config = Arc::new(config().validate().unwrap());
        let raft = Raft::new(node, config, ways, log, machine).await.unwrap();
        self.router.rafts.lock().insert(node, raft);
        self.shared.insert(node, shared);
    }

    /// Proposes at whichever node leads, and says whether it was answered.
    async fn propose(&self, commands: &[Command]) -> bool {
        for node in 1..=NODES {
            let raft = self.raft(node);
            if raft.current_leader().await != Some(node) {
                continue;
            }
            let changes = commands.iter().cloned().map(Agreed::Topology).collect();
            let leader = Leader { raft, ways: Network(None), me: node };
            let agreed = agree_at_once(&leader, &self.shared[&node], changes, NOW);
            if let Ok(Ok(answers)) = tokio::time::timeout(PATIENCE, agreed).await {
                let refused =
                    |answer: &Answer| matches!(answer, Answer::Topology(of) if of.outcome.is_err());
                assert!(!answers.iter().any(refused), "{answers:?}");
                return true;
            }
        }
        false
    }

    /// Something goes wrong, or gets well.
    async fn disturb(&mut self) {
        let node = self.random.random_range(1..=NODES);
        let other = node % NODES + 1;
        match self.random.random_range(0..10) {
            0 => drop(self.router.cut.lock().insert((node, other))),
            1 => self.router.cut.lock().extend([(node, other), (other, node)]),
            2 => {
                let ways = (1..=NODES).flat_map(|third| [(node, third), (third, node)]);
                self.router.cut.lock().extend(ways);
            }
            3..6 => self.router.cut.lock().clear(),
            6 | 7 => {
                self.raft(node).shutdown().await.unwrap();
                self.start(node).await;
            }
            8 => self.raft(node).trigger().snapshot().await.unwrap(),
            _ => {
                let ms = self.random.random_range(0..2_000);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
        }
    }

    /// All is well again: what every node has after it has caught up.
    async fn settle(&mut self) -> Vec<Topology> {
        self.router.cut.lock().clear();
        let deadline = tokio::time::timeout(HEALED, async {
            while !self.propose(&[declare("last")]).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        deadline.await.expect("a group that is well agrees");
        let applied =
            |raft: &Raft<Config>| raft.metrics().borrow().last_applied.map(|log| log.index);
        let last = (1..=NODES).map(|node| applied(&self.raft(node))).max().unwrap();
        for node in 1..=NODES {
            let raft = self.raft(node);
            raft.wait(Some(HEALED)).applied_index_at_least(last, "level").await.unwrap();
        }
        (1..=NODES).map(|node| self.shared[&node].take_state().unwrap().topology).collect()
    }
}

/// How much was answered in a run.
async fn run(seed: u64) -> usize {
    let mut group = Group::new(seed).await;
    while !group.propose(&first()).await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut answered = Vec::new();
    for n in 0..ROUNDS {
        if group.random.random_bool(0.3) {
            group.disturb().await;
        }
        let name = format!("q{n}");
        if group.propose(&[declare(&name)]).await {
            answered.push(name);
        }
    }
    let topologies = group.settle().await;
    for topology in &topologies {
        for name in &answered {
            assert!(topology.queue("/", name).is_some(), "seed {seed}: {name} is lost");
        }
        let commands = topology.snapshot_commands();
        assert_eq!(commands, topologies[0].snapshot_commands(), "seed {seed}");
    }
    answered.len()
}

#[test]
fn what_a_group_has_answered_is_on_all_its_nodes_whatever_fails() {
    const SEEDS: u64 = 12;
    let run_alone = |seed| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(run(seed))
    };
    let answered: usize = (0..SEEDS).map(run_alone).sum();
    let proposed = usize::try_from(SEEDS).unwrap() * ROUNDS as usize;
    assert!(answered > proposed / 3, "{answered} of {proposed} answered");
}
