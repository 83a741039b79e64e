//! The way to other nodes, as openraft sees it. A node that is alone has nobody to reach.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, Snapshot};

use super::messages::{self, Answered, Question};
use super::types::{Config, Trouble, Vote};
use crate::replication::NodeId;
use crate::transport::{CallError, Transport};

/// How long a snapshot may take until it is sent and installed.
pub(super) const SNAPSHOT_MAX: Duration = Duration::from_secs(60);

/// The ways from this node.
#[derive(Clone)]
pub(super) struct Ways(pub(super) Option<Arc<Transport>>);

/// Why another node gives no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("this node is alone: it has no way to node {0}")]
    Alone(u64),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Bytes(#[from] Trouble),
    #[error("node {0} cannot do it: {1}")]
    Refused(u64, String),
}

/// The way to one node.
pub(super) struct Way {
    ways: Ways,
    to: u64,
}

impl Ways {
    /// Asks a node.
    pub(super) async fn ask(
        &self,
        to: u64,
        question: &Question,
        within: Duration,
    ) -> Result<Answered, NoAnswer> {
        let transport = self.0.as_ref().ok_or(NoAnswer::Alone(to))?;
        let frame = transport.call(NodeId(to), messages::frame(question)?, within).await?;
        match messages::read(&frame)? {
            Some(Answered::Refused(reason)) => Err(NoAnswer::Refused(to, reason)),
            Some(answered) => Ok(answered),
            None => Err(NoAnswer::Refused(to, "it has answered something else".into())),
        }
    }
}

impl RaftNetworkFactory<Config> for Ways {
    type Network = Way;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Way {
        if let Some(transport) = &self.0 {
            transport.reach(NodeId(target), &node.addr);
        }
        Way { ways: self.clone(), to: target }
    }
}

impl Way {
    async fn ask<T>(
        &self,
        question: Result<Question, Trouble>,
        within: Duration,
        read: impl FnOnce(Answered) -> Option<T>,
    ) -> Result<T, Unreachable> {
        let asked = async { self.ways.ask(self.to, &question?, within).await };
        let answered = asked.await.map_err(|error| Unreachable::new(&error))?;
        let odd = || NoAnswer::Refused(self.to, "it has answered something else".into());
        read(answered).ok_or_else(|| Unreachable::new(&odd()))
    }
}

impl RaftNetwork<Config> for Way {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Config>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let question = Question::append(&rpc);
        Ok(self.ask(question, option.hard_ttl(), Answered::appended).await?)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let question = Ok(Question::vote(&rpc));
        Ok(self.ask(question, option.hard_ttl(), Answered::voted).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Config>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Config, Fatal<u64>>> {
        let question = Question::snapshot(&vote, &snapshot);
        let asked = self.ask(question, SNAPSHOT_MAX, Answered::installed);
        tokio::select! {
            installed = asked => Ok(installed?),
            closed = cancel => Err(closed.into()),
        }
    }
}
