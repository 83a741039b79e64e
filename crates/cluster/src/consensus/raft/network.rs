//! The way to other nodes, for a node that is alone: there is none, and whoever asks is told.

use std::future::Future;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, Snapshot};

use super::types::{Config, Vote};

/// No way to anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone;

/// Why another node is not reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this node is alone: it has no way to node {0}")]
struct NoWay(u64);

/// One node that is not reached.
pub(super) struct Nobody(u64);

impl Nobody {
    fn unreachable(&self) -> Unreachable {
        Unreachable::new(&NoWay(self.0))
    }
}

impl RaftNetworkFactory<Config> for Alone {
    type Network = Nobody;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Nobody {
        Nobody(target)
    }
}

impl RaftNetwork<Config> for Nobody {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Config>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot<Config>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Config, Fatal<u64>>> {
        Err(self.unreachable().into())
    }
}
