//! Where the copies of a queue are to be: what policy and arguments ask for, and which nodes that means now.

use super::ids::NodeId;
use super::metadata::{
    ClusterCommand, Metadata, NodeRecord, NodeRole, NodeState, QueueRecord, SyncMode,
};
use leveret_engine::policy::effective_definition;
use leveret_engine::{ParameterValue, QueueId, QueueKind, QueueMeta, Value};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Copies of a quorum queue that says nothing else.
// rabbitmq: quorum_queue.initial_cluster_size
const QUORUM_SIZE: u32 = 3;

/// What policy and arguments of a queue ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    /// How many copies, and where.
    pub mode: HaMode,
    /// How a new mirror comes by what it lacks.
    pub sync: SyncMode,
    /// Whether a copy that is not in sync is promoted when a node fails.
    pub on_failure: Promote,
    /// The same when a node is stopped.
    pub on_shutdown: Promote,
    /// Where the leader of a new queue is.
    pub locator: Locator,
    /// Whether a majority of its copies has to be in sync for it to be used.
    pub quorum: bool,
}

/// How many copies, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HaMode {
    /// One.
    #[default]
    One,
    /// On every data node.
    All,
    /// This many, the leader among them.
    Exactly(u32),
    /// On these nodes, by name.
    Nodes(Vec<Arc<str>>),
    /// This many when it is declared; later changes are made by hand.
    AtFirst(u32),
}

/// Whether a copy that is not in sync may be promoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Promote {
    /// Never: the queue waits for a copy that has everything.
    #[default]
    WhenSynced,
    /// Yes, rather than that nobody leads. What it lacks is lost.
    Always,
}

/// Where the leader of a new queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Locator {
    /// Where it was declared.
    #[default]
    ClientLocal,
    /// On the node that leads the fewest queues.
    Balanced,
}

impl Locator {
    /// RabbitMQ has five words for two ways; a random node is as good as the one with the fewest.
    // rabbitmq: queue-leader-locator, queue-master-locator
    fn parse(word: &str) -> Self {
        if word == "client-local" { Self::ClientLocal } else { Self::Balanced }
    }
}

impl Promote {
    fn of(value: Option<&ParameterValue>) -> Self {
        let always = value
            .is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("always"));
        if always { Self::Always } else { Self::WhenSynced }
    }
}

impl Placement {
    /// What a queue asks for. Policies have been validated when they were set; arguments when it was declared.
    #[must_use]
    pub fn of(queue: &QueueMeta) -> Self {
        let policy =
            effective_definition(queue.policy.as_deref(), queue.operator_policy.as_deref());
        let policy = Keys(&policy);
        let locator = policy.text("queue-leader-locator").map(str::to_owned);
        let locator = locator
            .or_else(|| policy.text("queue-master-locator").map(str::to_owned))
            .or_else(|| text_argument(queue, "x-queue-leader-locator"))
            .or_else(|| text_argument(queue, "x-queue-master-locator"));
        let locator = locator.map_or_else(Locator::default, |word| Locator::parse(&word));
        if queue.kind != QueueKind::Classic {
            return Self {
                mode: HaMode::AtFirst(group_size(queue)),
                locator,
                quorum: true,
                ..Self::default()
            };
        }
        Self {
            mode: policy.ha_mode(),
            sync: match policy.text("ha-sync-mode") {
                Some("manual") => SyncMode::Natural,
                _ => SyncMode::Copy,
            },
            on_failure: Promote::of(policy.get("ha-promote-on-failure")),
            on_shutdown: Promote::of(policy.get("ha-promote-on-shutdown")),
            locator,
            quorum: false,
        }
    }
}

fn text_argument(queue: &QueueMeta, key: &str) -> Option<String> {
    queue.arguments.get(key).and_then(Value::as_str).map(str::to_owned)
}

// rabbitmq: x-quorum-initial-group-size, x-initial-cluster-size
fn group_size(queue: &QueueMeta) -> u32 {
    let keys = ["x-quorum-initial-group-size", "x-initial-cluster-size"];
    let given = keys.iter().find_map(|key| queue.arguments.get(key).and_then(Value::as_i64));
    given.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(QUORUM_SIZE)
}

/// The effective definition of a queue's policies.
struct Keys<'a>(&'a [(Arc<str>, ParameterValue)]);

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&ParameterValue> {
        self.0.iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    fn ha_mode(&self) -> HaMode {
        let params = self.get("ha-params");
        match self.text("ha-mode") {
            Some("all") => HaMode::All,
            Some("exactly") => {
                let n = params.and_then(ParameterValue::as_i64).and_then(|n| u32::try_from(n).ok());
                n.map_or(HaMode::One, HaMode::Exactly)
            }
            Some("nodes") => {
                let names = params.and_then(ParameterValue::as_list).unwrap_or_default();
                HaMode::Nodes(names.iter().filter_map(|n| n.as_str().map(Into::into)).collect())
            }
            _ => HaMode::One,
        }
    }
}

impl Metadata {
    fn data_nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.nodes().filter(|(_, node)| node.role == NodeRole::Data)
    }

    /// The nodes on which a policy wants copies; of those it leaves open, those with the fewest copies that are up.
    pub(super) fn wanted(&self, record: &QueueRecord) -> Vec<NodeId> {
        match &record.placement.mode {
            HaMode::One => record.leader.iter().map(|leader| leader.node).collect(),
            HaMode::All => self.data_nodes().map(|(id, _)| id).collect(),
            HaMode::AtFirst(_) => record.replicas.iter().map(|replica| replica.node).collect(),
            HaMode::Exactly(n) => self.exactly(record, *n as usize),
            HaMode::Nodes(names) => {
                let listed = self.listed(names);
                // rabbitmq: a list of which no node is there leaves the queue where it is
                if listed.is_empty() {
                    return record.leader.iter().map(|leader| leader.node).collect();
                }
                listed
            }
        }
    }

    /// The data nodes of a list, in its order; names that no node has are left out.
    fn listed(&self, names: &[Arc<str>]) -> Vec<NodeId> {
        let find = |name: &Arc<str>| {
            self.data_nodes().find(|(_, node)| node.name == *name).map(|(id, _)| id)
        };
        let mut listed: Vec<_> = names.iter().filter_map(find).collect();
        let mut seen = Vec::new();
        listed.retain(|id| !seen.contains(id) && (seen.push(*id), true).1);
        listed
    }

    /// `n` nodes: first the leader, then those whose copies are in sync, then the oldest, then others.
    fn exactly(&self, record: &QueueRecord, n: usize) -> Vec<NodeId> {
        let replaced = |id: NodeId| self.node(id).is_none_or(|node| node.replaced);
        let mut have: Vec<_> = record.replicas.iter().collect();
        have.sort_by_key(|replica| {
            let id = replica.node;
            (!record.is_led_by(id), replaced(id), !replica.is_in_sync())
        });
        let mut wanted: Vec<_> =
            have.into_iter().map(|replica| replica.node).filter(|id| !replaced(*id)).collect();
        wanted.truncate(n.max(1));
        let free = |id: &NodeId| !wanted.contains(id);
        let more: Vec<_> = self.by_copies().into_iter().filter(free).collect();
        wanted.extend(more.into_iter().take(n.saturating_sub(wanted.len())));
        wanted
    }

    /// Data nodes that are up, those with the fewest copies first.
    fn by_copies(&self) -> Vec<NodeId> {
        let up = |(_, node): &(NodeId, &NodeRecord)| node.state == NodeState::Up;
        let mut nodes: Vec<_> = self.data_nodes().filter(up).collect();
        nodes.sort_by_key(|(id, node)| (node.n_replicas, *id));
        nodes.into_iter().map(|(id, _)| id).collect()
    }

    /// The nodes of a new queue, its leader first. There may be none if no data node is up.
    pub(super) fn choose_first(
        &self,
        queue: QueueId,
        placement: &Placement,
        from: NodeId,
    ) -> Vec<NodeId> {
        let up = self.by_copies();
        let allowed: Vec<_> = match &placement.mode {
            HaMode::Nodes(names) => {
                let listed = self.listed(names);
                let listed: Vec<_> = listed.into_iter().filter(|id| up.contains(id)).collect();
                if listed.is_empty() { up.clone() } else { listed }
            }
            _ => up.clone(),
        };
        let leader = match placement.locator {
            Locator::ClientLocal if allowed.contains(&from) => Some(from),
            // rabbitmq: a queue whose list lacks the client's node begins on the first that is listed
            Locator::ClientLocal if matches!(placement.mode, HaMode::Nodes(_)) => {
                allowed.first().copied()
            }
            _ => self.fewest_leaders(&allowed, queue),
        };
        let Some(leader) = leader else { return Vec::new() };
        let others = |candidates: Vec<NodeId>, n: usize| {
            let rest = candidates.into_iter().filter(|id| *id != leader);
            std::iter::once(leader).chain(rest).take(n.max(1)).collect::<Vec<_>>()
        };
        match &placement.mode {
            HaMode::One => vec![leader],
            HaMode::All => others(self.spread(queue), usize::MAX),
            HaMode::Exactly(n) | HaMode::AtFirst(n) => others(up, *n as usize),
            HaMode::Nodes(names) => others(self.listed(names), usize::MAX),
        }
    }

    /// All data nodes, beginning with another one for every queue: the oldest mirror is promoted, so a node that fails
    /// leaves its queues to all others.
    fn spread(&self, queue: QueueId) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.data_nodes().map(|(id, _)| id).collect();
        if !nodes.is_empty() {
            let n = nodes.len() as u64;
            nodes.rotate_left(usize::try_from(queue.0 % n).unwrap_or(0));
        }
        nodes
    }

    fn fewest_leaders(&self, among: &[NodeId], queue: QueueId) -> Option<NodeId> {
        let rank = |id: &&NodeId| {
            let leads = self.node(**id).map_or(0, |node| node.n_leaders);
            // Of equals, another one for every queue.
            (leads, (id.0 + queue.0) % among.len().max(1) as u64)
        };
        among.iter().min_by_key(rank).copied()
    }

    /// The moves that give every node about as many leaders as any other, as far as there are copies in sync; at most
    /// `moves_max`.
    // rabbitmq: rabbitmq-queues rebalance
    #[must_use]
    pub fn rebalance(&self, moves_max: usize) -> Vec<ClusterCommand> {
        let mut leads: BTreeMap<NodeId, u64> = self
            .data_nodes()
            .filter(|(_, node)| node.state == NodeState::Up)
            .map(|(id, node)| (id, node.n_leaders))
            .collect();
        let mut moves = Vec::new();
        // Those with the most choice last, so that the others are not in their way.
        let mut queues: Vec<_> = self.queues().collect();
        queues.sort_by_key(|(id, record)| (record.in_sync().count(), Reverse(*id)));
        for (queue, record) in queues {
            let Some(from) = record.leader.map(|leader| leader.node) else { continue };
            let Some(most) = leads.get(&from).copied() else { continue };
            let others = record.in_sync().filter(|id| *id != from && leads.contains_key(id));
            let Some(to) = others.min_by_key(|id| leads.get(id).copied()) else { continue };
            let least = leads.get(&to).copied().unwrap_or_default();
            if most <= least + 1 || moves.len() >= moves_max {
                continue;
            }
            leads.insert(from, most - 1);
            leads.insert(to, least + 1);
            let epoch = record.epoch;
            moves.push(ClusterCommand::Transfer { queue, to, epoch, stopped: false });
        }
        moves
    }
}
