//! What nodes ask each other about agreement, and the way from openraft's requests to bytes and back.

use std::sync::Arc;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{Snapshot, SnapshotMeta};
use serde::{Deserialize, Serialize};

use super::types::{
    Config, Meta, Trouble, Vote, ballot, entry_bytes, log_id, place, read_entry, snapshot_header,
    snapshot_meta, vote,
};
use crate::consensus::bytes::{self, Ballot, Place};
use crate::replication::wire::{Frame, Run};
use crate::replication::{NodeId, NodeRole};
use leveret_store::MetaSnapshot;

/// A question of one node to another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Entries of the log, from who leads.
    Append { ballot: Ballot, prev: Option<Place>, entries: Vec<Run>, commit: Option<Place> },
    /// A vote is asked for.
    Vote { ballot: Ballot, last: Option<Place> },
    /// All of the state, from who leads.
    Snapshot { ballot: Ballot, header: Run, data: Run },
    /// A batch that is to be agreed on.
    Propose(Run),
    /// A node that belongs to no cluster wants to join.
    Join(Join),
    /// The asked node is to lead the agreement as soon as it can.
    Lead,
    /// Whoever leads is to let another node lead.
    Transfer(u64),
}

/// A node that wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Its name.
    pub name: Arc<str>,
    /// Where the others reach it.
    pub address: Arc<str>,
    /// What it does.
    pub role: NodeRole,
}

/// What a node that has joined is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its number.
    pub node: NodeId,
    /// The others, and where they are reached.
    pub others: Vec<(NodeId, Arc<str>)>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answered {
    Appended,
    AppendedUpto(Option<Place>),
    Conflict,
    HigherVote(Ballot),
    Voted {
        ballot: Ballot,
        granted: bool,
        last: Option<Place>,
    },
    Installed(Ballot),
    /// The batch is applied where the agreement is led.
    Agreed,
    /// The asked node does not lead the agreement.
    NotLeading,
    Joined(Joined),
    /// It cannot be done, and why.
    Refused(String),
    /// It will be done.
    Noted,
}

impl Question {
    pub(super) fn append(request: &AppendEntriesRequest<Config>) -> Result<Self, Trouble> {
        let run = |entry| Ok::<_, Trouble>(Run::from(entry_bytes(entry)?));
        Ok(Self::Append {
            ballot: ballot(&request.vote),
            prev: request.prev_log_id.as_ref().map(place),
            entries: request.entries.iter().map(run).collect::<Result<_, _>>()?,
            commit: request.leader_commit.as_ref().map(place),
        })
    }

    pub(super) fn vote(request: &VoteRequest<u64>) -> Self {
        let last = request.last_log_id.as_ref().map(place);
        Self::Vote { ballot: ballot(&request.vote), last }
    }

    pub(super) fn snapshot(vote: &Vote, snapshot: &Snapshot<Config>) -> Result<Self, Trouble> {
        let SnapshotMeta { last_log_id, last_membership, .. } = &snapshot.meta;
        let header = snapshot_header(*last_log_id, last_membership)?;
        let data = Run::from(snapshot.snapshot.as_slice());
        Ok(Self::Snapshot { ballot: ballot(vote), header: header.into(), data })
    }
}

/// What openraft is asked to append.
pub(super) fn append_request(
    of: Ballot,
    prev: Option<Place>,
    entries: &[Run],
    commit: Option<Place>,
) -> Result<AppendEntriesRequest<Config>, Trouble> {
    Ok(AppendEntriesRequest {
        vote: vote(of),
        prev_log_id: prev.map(log_id),
        entries: entries.iter().map(|entry| read_entry(entry)).collect::<Result<_, _>>()?,
        leader_commit: commit.map(log_id),
    })
}

pub(super) fn vote_request(of: Ballot, last: Option<Place>) -> VoteRequest<u64> {
    VoteRequest { vote: vote(of), last_log_id: last.map(log_id) }
}

pub(super) fn snapshot_request(header: &[u8], data: &[u8]) -> Result<Snapshot<Config>, Trouble> {
    let kept = MetaSnapshot { header: header.to_vec(), data: data.to_vec() };
    let meta: Meta = snapshot_meta(&kept)?;
    Ok(Snapshot { meta, snapshot: Box::new(kept.data) })
}

impl From<AppendEntriesResponse<u64>> for Answered {
    fn from(response: AppendEntriesResponse<u64>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Appended,
            AppendEntriesResponse::PartialSuccess(upto) => {
                Self::AppendedUpto(upto.as_ref().map(place))
            }
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(ballot(&vote)),
        }
    }
}

impl From<VoteResponse<u64>> for Answered {
    fn from(response: VoteResponse<u64>) -> Self {
        let VoteResponse { vote, vote_granted, last_log_id } = response;
        let last = last_log_id.as_ref().map(place);
        Self::Voted { ballot: ballot(&vote), granted: vote_granted, last }
    }
}

impl Answered {
    pub(super) fn appended(self) -> Option<AppendEntriesResponse<u64>> {
        Some(match self {
            Self::Appended => AppendEntriesResponse::Success,
            Self::AppendedUpto(upto) => AppendEntriesResponse::PartialSuccess(upto.map(log_id)),
            Self::Conflict => AppendEntriesResponse::Conflict,
            Self::HigherVote(ballot) => AppendEntriesResponse::HigherVote(vote(ballot)),
            _ => return None,
        })
    }

    pub(super) fn voted(self) -> Option<VoteResponse<u64>> {
        let Self::Voted { ballot, granted, last } = self else { return None };
        let last_log_id = last.map(log_id);
        Some(VoteResponse { vote: vote(ballot), vote_granted: granted, last_log_id })
    }

    pub(super) fn installed(self) -> Option<SnapshotResponse<u64>> {
        let Self::Installed(ballot) = self else { return None };
        Some(SnapshotResponse::new(vote(ballot)))
    }
}

/// A question or an answer as a frame.
pub(super) fn frame<T: Serialize>(of: &T) -> Result<Frame, Trouble> {
    Ok(Frame::Agreement(bytes::value(of)?.into()))
}

pub(super) fn read<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<Option<T>, Trouble> {
    let Frame::Agreement(run) = frame else { return Ok(None) };
    Ok(Some(bytes::read_value(run)?))
}
