//! A node becomes a part of its cluster when it starts, and asks to become one.

use std::sync::Arc;

use super::*;
use crate::replication::Controller;
use crate::replication::Lease;
use crate::replication::wire::ClusterId;
use crate::transport::{GreetError, Identity, ask_stranger};
use openraft::ChangeMembers;

use super::messages::{Answered, Question};

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It has not come to that.
    #[error(transparent)]
    Greet(#[from] GreetError),
    /// The cluster does not want it.
    #[error("the cluster refuses: {0}")]
    Refused(String),
}

/// Asks a node at an address to let this one join its cluster: what this node is told, and the cluster.
///
/// # Errors
/// [`JoinError`].
pub async fn join(
    identity: &Identity,
    address: &str,
    join: Join,
) -> Result<(Joined, ClusterId), JoinError> {
    let odd = || JoinError::Refused("it has answered something else".into());
    let question = messages::frame(&Question::Join(join)).map_err(|_| odd())?;
    let (frame, cluster) = ask_stranger(identity, address, question).await?;
    match messages::read(&frame).ok().flatten() {
        Some(Answered::Joined(joined)) => Ok((joined, cluster)),
        Some(Answered::Refused(reason)) => Err(JoinError::Refused(reason)),
        _ => Err(odd()),
    }
}

impl Agent {
    /// Registers with the cluster, for as long as it takes: afterwards everything that was agreed on before is applied here
    /// (rule R1). From then on this node says that it is alive.
    pub(super) async fn take_part(
        &self,
        leader: &Leader,
        member: &Member,
        alone: bool,
        now: Timestamp,
    ) -> Result<Incarnation, OpenError> {
        let transport = &member.transport;
        let answers = Answers {
            raft: leader.raft.clone(),
            shared: Arc::clone(&self.shared),
            proposals: Arc::clone(&self.proposals),
            controller: Arc::new(Mutex::new(Controller::new())),
            me: self.me,
            clock: Arc::clone(&transport.identity().clock),
        };
        transport.answer_with(Arc::new(answers.clone()));
        for (node, address) in &member.others {
            transport.reach(*node, address);
        }
        if alone {
            self.add_founder(leader, member, now).await?;
        }
        let (node, store) = (NodeId(self.me), member.store);
        let durable = (member.durable)();
        let register = ClusterCommand::Register { node, store, durable };
        let Reply::Registered(incarnation) = self.decided(leader, register, now).await? else {
            return Err(kept("registering was answered with something else"));
        };
        let alive = Alive {
            answers,
            ways: leader.ways.clone(),
            incarnation,
            durable: Arc::clone(&member.durable),
            lease: Arc::new(Mutex::new(Lease::default())),
            until: Arc::clone(&self.lease),
            changing: Arc::default(),
        };
        tokio::spawn(alive.run());
        Ok(incarnation)
    }

    /// The node that founds a cluster is its first, and is reached where it says. Its log is read by now.
    async fn add_founder(
        &self,
        leader: &Leader,
        member: &Member,
        now: Timestamp,
    ) -> Result<(), OpenError> {
        let empty = self.shared.with_metadata(|metadata| metadata.nodes().next().is_none());
        if empty != Some(true) {
            return Ok(());
        }
        let name = Arc::clone(&member.transport.identity().name);
        let (addresses, role) = (vec![Arc::clone(&member.address)], member.role);
        self.decided(leader, ClusterCommand::AddNode { name, addresses, role }, now).await?;
        let node = BasicNode { addr: member.address.to_string() };
        let change = ChangeMembers::SetNodes(BTreeMap::from([(self.me, node)]));
        leader.raft.change_membership(change, true).await.map_err(kept)?;
        Ok(())
    }

    async fn decided(
        &self,
        leader: &Leader,
        command: ClusterCommand,
        now: Timestamp,
    ) -> Result<Reply, OpenError> {
        let changes = vec![Agreed::Cluster(command)];
        let answers = proposals::agree_at_once(leader, &self.shared, changes, now).await;
        let answer = answers.map_err(OpenError::Kept)?.pop();
        match answer.map(Answer::decided) {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(error)) => Err(OpenError::Cluster(error.to_string())),
            None => Err(kept("a change was not answered")),
        }
    }
}
