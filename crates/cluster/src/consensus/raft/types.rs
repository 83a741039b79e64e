//! openraft's types as this crate uses them, and the way from them to our bytes and back.

use std::collections::{BTreeMap, BTreeSet};

use leveret_store::{MetaError, MetaSnapshot};
use openraft::{
    AnyError, BasicNode, CommittedLeaderId, Entry, EntryPayload, LogId, Membership, RaftTypeConfig,
    SnapshotMeta, StoredMembership,
};

use crate::consensus::bytes::{self, Ballot, Batch, Body, BytesError, Members, Place};

openraft::declare_raft_types!(
    /// What is agreed on are batches of changes; what comes of one is told where it is applied, not by openraft.
    pub(super) Config:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        Entry = Entry<Config>,
        SnapshotData = Vec<u8>,
        Responder = openraft::impls::OneshotResponder<Config>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Log = LogId<u64>;
pub(super) type StorageError = openraft::StorageError<u64>;
pub(super) type StorageIOError = openraft::StorageIOError<u64>;
pub(super) type Meta = SnapshotMeta<u64, BasicNode>;
pub(super) type Stored = StoredMembership<u64, BasicNode>;
pub(super) type EntryOf = <Config as RaftTypeConfig>::Entry;

/// Why what is kept cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Store(#[from] MetaError),
    #[error("what is kept of topology cannot be read: {0}")]
    Bytes(#[from] BytesError),
}

impl From<Trouble> for AnyError {
    fn from(trouble: Trouble) -> Self {
        Self::new(&trouble)
    }
}

pub(super) fn place(log: &Log) -> Place {
    Place { term: log.leader_id.term, node: log.leader_id.node_id, index: log.index }
}

pub(super) fn log_id(place: Place) -> Log {
    LogId::new(CommittedLeaderId::new(place.term, place.node), place.index)
}

pub(super) fn ballot(vote: &Vote) -> Ballot {
    let leader = vote.leader_id();
    Ballot { term: leader.term, node: leader.node_id, committed: vote.is_committed() }
}

pub(super) fn vote(ballot: Ballot) -> Vote {
    let Ballot { term, node, committed } = ballot;
    if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
}

fn members(membership: &Membership<u64, BasicNode>) -> Members {
    let voters = membership.get_joint_config().iter();
    Members {
        voters: voters.map(|group| group.iter().copied().collect()).collect(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
    }
}

fn membership(members: Members) -> Membership<u64, BasicNode> {
    let groups = members.voters.into_iter().map(BTreeSet::from_iter).collect();
    let node = |(id, addr)| (id, BasicNode { addr });
    let nodes: BTreeMap<_, _> = members.nodes.into_iter().map(node).collect();
    Membership::new(groups, nodes)
}

pub(super) fn entry_bytes(entry: &EntryOf) -> Result<Vec<u8>, Trouble> {
    let body = match &entry.payload {
        EntryPayload::Blank => Body::Blank,
        EntryPayload::Normal(batch) => Body::Changes(batch.clone()),
        EntryPayload::Membership(membership) => Body::Members(members(membership)),
    };
    Ok(bytes::entry(place(&entry.log_id), &body)?)
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<EntryOf, Trouble> {
    let (place, body) = bytes::read_entry(bytes)?;
    let payload = match body {
        Body::Blank => EntryPayload::Blank,
        Body::Changes(batch) => EntryPayload::Normal(batch),
        Body::Members(members) => EntryPayload::Membership(membership(members)),
    };
    Ok(Entry { log_id: log_id(place), payload })
}

pub(super) fn snapshot_header(last: Option<Log>, stored: &Stored) -> Result<Vec<u8>, Trouble> {
    Ok(bytes::value(&bytes::SnapshotHeader {
        last: last.as_ref().map(place),
        members_at: stored.log_id().as_ref().map(place),
        members: members(stored.membership()),
    })?)
}

pub(super) fn snapshot_meta(snapshot: &MetaSnapshot) -> Result<Meta, Trouble> {
    let header: bytes::SnapshotHeader = bytes::read_value(&snapshot.header)?;
    let last_log_id = header.last.map(log_id);
    let stored = Stored::new(header.members_at.map(log_id), membership(header.members));
    Ok(meta(last_log_id, stored))
}

/// One place of the log has one snapshot: the same commands make the same state.
pub(super) fn meta(last_log_id: Option<Log>, last_membership: Stored) -> Meta {
    let snapshot_id = last_log_id.map_or_else(|| "empty".to_owned(), |last| last.to_string());
    SnapshotMeta { last_log_id, last_membership, snapshot_id }
}
