//! Who is alive: this node says so twice a second, and whoever leads the agreement acts on what it hears and does not
//! hear. It also makes those vote that should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use leveret_engine::Timestamp;
use openraft::{BasicNode, ChangeMembers};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use super::answers::Answers;
use super::network::Ways;
use crate::replication::wire::Frame;
use crate::replication::{
    ClusterCommand, Controller, HEARTBEAT_MS, Incarnation, LEASE_MS, Lease, NodeId, NodeRecord,
};

/// Nodes that vote, at most: each vote costs the ones who wait for it.
const VOTERS_MAX: usize = 5;

/// Entries that a node may lack and still be made to vote.
const BEHIND_MAX: u64 = 256;

/// This node among the living.
pub(super) struct Alive {
    pub(super) answers: Answers,
    pub(super) ways: Ways,
    pub(super) incarnation: Incarnation,
    /// The last group commit on disk.
    pub(super) durable: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) lease: Arc<Mutex<Lease>>,
    /// The end of the lease, in ms, for those who have no time for a lock.
    pub(super) until: Arc<AtomicU64>,
    pub(super) changing: Arc<AtomicBool>,
}

impl Alive {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let this = Arc::new(self);
        let mut interval = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut led = false;
        loop {
            interval.tick().await;
            this.reach_all();
            tokio::spawn(Arc::clone(&this).beat());
            let leads = this.answers.leads();
            if leads {
                this.control(!led);
            }
            led = leads;
        }
    }

    /// Every node calls every other one, whoever leads: copies of queues are anywhere.
    fn reach_all(&self) {
        let Some(transport) = &self.ways.0 else { return };
        let nodes = self.answers.shared.with_metadata(|metadata| {
            let address =
                |(id, node): (NodeId, &NodeRecord)| Some((id, Arc::clone(node.addresses.first()?)));
            metadata.nodes().filter_map(address).collect::<Vec<_>>()
        });
        for (node, address) in nodes.unwrap_or_default() {
            transport.reach(node, &address);
        }
    }

    /// Says that this node is alive, and notes the lease when that was heard.
    async fn beat(self: Arc<Self>) {
        let now = (self.answers.clock)();
        let number = self.lease.lock().sent(now);
        let leader = self.answers.raft.metrics().borrow().current_leader;
        let Some(leader) = leader else { return };
        let heard = if leader == self.answers.me {
            if !self.answers.leads() {
                return;
            }
            let durable = (self.durable)();
            let me = NodeId(leader);
            self.answers.controller.lock().heartbeat(me, self.incarnation, durable, now);
            let confirmed = self.answers.raft.ensure_linearizable();
            let within = Duration::from_millis(LEASE_MS);
            matches!(tokio::time::timeout(within, confirmed).await, Ok(Ok(_)))
        } else {
            let (incarnation, durable) = (self.incarnation, (self.durable)());
            let beat = Frame::Heartbeat { number, incarnation, durable };
            let Some(transport) = &self.ways.0 else { return };
            let within = Duration::from_millis(LEASE_MS);
            let heard = transport.call(NodeId(leader), beat, within).await;
            matches!(heard, Ok(Frame::Heard { number: heard }) if heard == number)
        };
        if heard {
            let mut lease = self.lease.lock();
            lease.answered(number);
            self.until.store(lease.until().0, Ordering::Release);
        }
    }

    /// Acts on who is heard of and who is not.
    fn control(self: &Arc<Self>, anew: bool) {
        let now: Timestamp = (self.answers.clock)();
        let answers = &self.answers;
        let commands = {
            let mut controller = answers.controller.lock();
            if anew {
                *controller = Controller::new();
                controller.heartbeat(NodeId(answers.me), self.incarnation, (self.durable)(), now);
            }
            answers.shared.with_metadata(|metadata| controller.tick(metadata, now))
        };
        for command in commands.unwrap_or_default() {
            match &command {
                ClusterCommand::Fence { node, .. } => {
                    warn!(%node, "a node of the cluster is not heard of; others take over what it leads");
                }
                ClusterCommand::Unfence { node, .. } => {
                    info!(%node, "a node of the cluster is heard of again");
                }
                _ => {}
            }
            // It is looked at again at the next beat.
            answers.proposals.decide(command, now, Box::new(|_| {}));
        }
        if !self.changing.swap(true, Ordering::AcqRel) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = this.converge().await {
                    debug!(error, "who votes is not changed yet");
                }
                this.changing.store(false, Ordering::Release);
            });
        }
    }

    /// Makes the members of the agreement those that the cluster has: new nodes learn first, and vote when they have
    /// everything and the number of votes stays odd.
    async fn converge(&self) -> Result<(), String> {
        let raft = &self.answers.raft;
        let (members, replication, last) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            let members = metrics.membership_config.membership().clone();
            (members, metrics.replication.clone().unwrap_or_default(), metrics.last_log_index)
        };
        let nodes: Option<BTreeMap<u64, (String, bool)>> =
            self.answers.shared.with_metadata(|metadata| {
                let of = |(id, node): (NodeId, &NodeRecord)| {
                    let address = node.addresses.first().map(|address| address.to_string());
                    (id.0, (address.unwrap_or_default(), node.is_live()))
                };
                metadata.nodes().map(of).collect()
            });
        let Some(nodes) = nodes.filter(|nodes| !nodes.is_empty()) else { return Ok(()) };
        let known: BTreeSet<u64> = members.nodes().map(|(id, _)| *id).collect();
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        for (id, (address, _)) in nodes.iter().filter(|(id, _)| !known.contains(id)) {
            let node = BasicNode { addr: address.clone() };
            raft.add_learner(*id, node, false).await.map_err(|error| error.to_string())?;
        }
        let gone = |ids: &BTreeSet<u64>| -> BTreeSet<u64> {
            ids.iter().filter(|id| !nodes.contains_key(id)).copied().collect()
        };
        let ready = |id: &u64| {
            let matched = replication.get(id).copied().flatten().map(|log| log.index);
            let live = nodes.get(id).is_some_and(|(_, live)| *live);
            live && matched.is_some_and(|at| at + BEHIND_MAX >= last.unwrap_or(0))
        };
        let mut ready: Vec<u64> =
            known.iter().filter(|id| !voters.contains(id) && ready(id)).copied().collect();
        let gone_voters = gone(&voters);
        if !gone_voters.is_empty() {
            if gone_voters == voters {
                // Somebody has to be left.
                let next: BTreeSet<u64> = ready.into_iter().take(1).collect();
                let change = ChangeMembers::AddVoterIds(next);
                raft.change_membership(change, true).await.map_err(|error| error.to_string())?;
                return Ok(());
            }
            let change = ChangeMembers::RemoveVoters(gone_voters);
            raft.change_membership(change, false).await.map_err(|error| error.to_string())?;
            return Ok(());
        }
        let gone = gone(&known);
        if !gone.is_empty() {
            let change = ChangeMembers::RemoveNodes(gone.clone());
            raft.change_membership(change, false).await.map_err(|error| error.to_string())?;
            if let Some(transport) = &self.ways.0 {
                gone.into_iter().for_each(|id| transport.forget(NodeId(id)));
            }
            return Ok(());
        }
        ready.truncate(VOTERS_MAX.saturating_sub(voters.len()));
        if (voters.len() + ready.len()).is_multiple_of(2) {
            ready.pop();
        }
        if !ready.is_empty() {
            info!(nodes = ?ready, "nodes vote from now on");
            let change = ChangeMembers::AddVoterIds(ready.into_iter().collect());
            raft.change_membership(change, true).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
