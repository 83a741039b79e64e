//! The bytes of what is kept: entries of the log, votes, snapshots. They are our own, so that another
//! version of openraft reads them as well.
//!
//! Every value starts with the version of its format. What follows is postcard: integers of variable
//! length, enums by the number of their variant, nothing that describes itself. A change of a type
//! in here is a new version, and the old one stays readable.

use std::sync::Arc;

use leveret_engine::{Command, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::agreed::{Agreed, State};
use crate::replication::Metadata;

/// The version of all formats in here but snapshots.
const VERSION: u8 = 1;

/// The version of snapshots; those of version 1 are commands of the topology and nothing else.
const SNAPSHOT_VERSION: u8 = 2;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BytesError {
    /// They were written by a later leveret.
    #[error("version {0} of the format is not known")]
    Version(u8),
    /// They are no value of the type.
    #[error("malformed bytes: {0}")]
    Malformed(#[from] postcard::Error),
    /// Something follows the value, or nothing is there.
    #[error("malformed bytes: wrong length")]
    Length,
}

/// A change and the time at which it was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) at: Timestamp,
    pub(super) change: Agreed,
}

/// Who has proposed a batch. A batch may stand in the log twice, since its proposer sends it again when it does not hear
/// what became of it: what a proposer has numbered lower than what was applied of it is not applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The node.
    pub(super) node: u64,
    /// Counts the starts of its process.
    pub(super) start: u64,
    /// Counts the batches of that start, from 1 on; 0 is not counted.
    pub(super) number: u64,
}

/// Changes that are agreed on together, and their bytes.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    origin: Origin,
    changes: Arc<[Stamped]>,
    bytes: Arc<[u8]>,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) term: u64,
    pub(super) node: u64,
    pub(super) index: u64,
}

/// Whom a node has voted for, and whether a majority has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    pub(super) term: u64,
    pub(super) node: u64,
    pub(super) committed: bool,
}

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Members {
    /// The voters; two groups while membership changes.
    pub(super) voters: Vec<Vec<u64>>,
    /// Everybody with an address.
    pub(super) nodes: Vec<(u64, String)>,
}

/// What an entry of the log says.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Blank,
    Changes(Batch),
    Members(Members),
}

/// What a snapshot holds besides the commands of the topology.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Besides {
    /// Nodes and copies.
    pub(super) metadata: Metadata,
    /// The last batch of each node that was applied.
    pub(super) applied: Vec<Origin>,
}

/// What a snapshot is a snapshot of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    /// The last entry that is in it.
    pub(super) last: Option<Place>,
    /// The entry that made the members.
    pub(super) members_at: Option<Place>,
    pub(super) members: Members,
}

const BLANK: u8 = 0;
/// Commands of the topology alone: what was written before there were clusters.
const COMMANDS: u8 = 1;
const MEMBERS: u8 = 2;
const CHANGES: u8 = 3;

impl Batch {
    /// Takes changes from `waiting`, but not more than `changes_max`, and not many more bytes than
    /// `bytes_max`.
    pub(super) fn gather(
        origin: Origin,
        waiting: &mut impl Iterator<Item = Stamped>,
        changes_max: usize,
        bytes_max: usize,
    ) -> Result<Self, BytesError> {
        let (mut changes, mut bytes) = (Vec::new(), postcard::to_extend(&origin, Vec::new())?);
        while changes.len() < changes_max && bytes.len() < bytes_max {
            let Some(stamped) = waiting.next() else { break };
            bytes = postcard::to_extend(&stamped, bytes)?;
            changes.push(stamped);
        }
        Ok(Self { origin, changes: changes.into(), bytes: bytes.into() })
    }

    /// A batch from its bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BytesError> {
        let (origin, rest) = postcard::take_from_bytes(bytes)?;
        let changes = sequence(rest)?;
        Ok(Self { origin, changes: changes.into(), bytes: bytes.into() })
    }

    /// A batch from the bytes of one that was written before there were clusters.
    fn decode_commands(bytes: &[u8]) -> Result<Self, BytesError> {
        let commands: Vec<(Timestamp, Command)> = sequence(bytes)?;
        let stamped = |(at, command)| Stamped { at, change: Agreed::Topology(command) };
        let mut waiting = commands.into_iter().map(stamped);
        Self::gather(Origin::default(), &mut waiting, usize::MAX, usize::MAX)
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn changes(&self) -> &[Stamped] {
        &self.changes
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Values until the bytes end.
fn sequence<T: DeserializeOwned>(mut rest: &[u8]) -> Result<Vec<T>, BytesError> {
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (value, after) = postcard::take_from_bytes(rest)?;
        values.push(value);
        rest = after;
    }
    Ok(values)
}

/// The bytes of an entry.
pub(super) fn entry(place: Place, body: &Body) -> Result<Vec<u8>, BytesError> {
    let mut out = postcard::to_extend(&place, vec![VERSION])?;
    match body {
        Body::Blank => out.push(BLANK),
        Body::Changes(batch) => {
            out.push(CHANGES);
            out.extend_from_slice(batch.bytes());
        }
        Body::Members(members) => {
            out.push(MEMBERS);
            out = postcard::to_extend(members, out)?;
        }
    }
    Ok(out)
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<(Place, Body), BytesError> {
    let (place, rest): (Place, _) = postcard::take_from_bytes(versioned(bytes, VERSION)?)?;
    let (kind, rest) = rest.split_first().ok_or(BytesError::Length)?;
    let body = match *kind {
        BLANK if rest.is_empty() => Body::Blank,
        COMMANDS => Body::Changes(Batch::decode_commands(rest)?),
        CHANGES => Body::Changes(Batch::decode(rest)?),
        MEMBERS => Body::Members(whole(rest)?),
        _ => return Err(BytesError::Length),
    };
    Ok((place, body))
}

/// The bytes of a small value.
pub(super) fn value<T: Serialize>(value: &T) -> Result<Vec<u8>, BytesError> {
    Ok(postcard::to_extend(value, vec![VERSION])?)
}

pub(super) fn read_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BytesError> {
    whole(versioned(bytes, VERSION)?)
}

/// The bytes of what makes the state again.
pub(super) fn snapshot(state: &State, applied: &[Origin]) -> Result<Vec<u8>, BytesError> {
    let besides = Besides { metadata: state.metadata.clone(), applied: applied.to_vec() };
    let mut out = postcard::to_extend(&besides, vec![SNAPSHOT_VERSION])?;
    for command in &state.commands {
        out = postcard::to_extend(command, out)?;
    }
    Ok(out)
}

/// What makes the state again, and the last batch of each node that is in it.
pub(super) fn read_snapshot(bytes: &[u8]) -> Result<(State, Vec<Origin>), BytesError> {
    let (besides, rest) = match bytes.split_first() {
        // Written before there were clusters.
        Some((&VERSION, rest)) => (Besides::default(), rest),
        _ => postcard::take_from_bytes(versioned(bytes, SNAPSHOT_VERSION)?)?,
    };
    let Besides { metadata, applied } = besides;
    Ok((State { commands: sequence(rest)?, metadata }, applied))
}

fn versioned(bytes: &[u8], version: u8) -> Result<&[u8], BytesError> {
    match bytes.split_first() {
        Some((&found, rest)) if found == version => Ok(rest),
        Some((&other, _)) => Err(BytesError::Version(other)),
        None => Err(BytesError::Length),
    }
}

fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BytesError> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(BytesError::Length),
    }
}

#[cfg(test)]
mod tests;
