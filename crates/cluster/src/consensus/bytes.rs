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

/// The version of all formats in here.
const VERSION: u8 = 1;

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

/// A command and the time at which it was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) at: Timestamp,
    pub(super) command: Command,
}

/// Commands that are agreed on together, and their bytes.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    commands: Arc<[Stamped]>,
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
    Commands(Batch),
    Members(Members),
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
const COMMANDS: u8 = 1;
const MEMBERS: u8 = 2;

impl Batch {
    /// Takes commands from `waiting`, but not more than `commands_max`, and not many more bytes than
    /// `bytes_max`.
    pub(super) fn gather(
        waiting: &mut impl Iterator<Item = Stamped>,
        commands_max: usize,
        bytes_max: usize,
    ) -> Result<Self, BytesError> {
        let (mut commands, mut bytes) = (Vec::new(), Vec::new());
        while commands.len() < commands_max && bytes.len() < bytes_max {
            let Some(stamped) = waiting.next() else { break };
            bytes = postcard::to_extend(&stamped, bytes)?;
            commands.push(stamped);
        }
        Ok(Self { commands: commands.into(), bytes: bytes.into() })
    }

    fn decode(bytes: &[u8]) -> Result<Self, BytesError> {
        let (mut commands, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (stamped, after): (Stamped, _) = postcard::take_from_bytes(rest)?;
            commands.push(stamped);
            rest = after;
        }
        Ok(Self { commands: commands.into(), bytes: bytes.into() })
    }

    pub(super) fn commands(&self) -> &[Stamped] {
        &self.commands
    }

    /// How much room it takes in the log.
    pub(super) fn byte_len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// The bytes of an entry.
pub(super) fn entry(place: Place, body: &Body) -> Result<Vec<u8>, BytesError> {
    let mut out = postcard::to_extend(&place, vec![VERSION])?;
    match body {
        Body::Blank => out.push(BLANK),
        Body::Commands(batch) => {
            out.push(COMMANDS);
            out.extend_from_slice(&batch.bytes);
        }
        Body::Members(members) => {
            out.push(MEMBERS);
            out = postcard::to_extend(members, out)?;
        }
    }
    Ok(out)
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<(Place, Body), BytesError> {
    let (place, rest): (Place, _) = postcard::take_from_bytes(versioned(bytes)?)?;
    let (kind, rest) = rest.split_first().ok_or(BytesError::Length)?;
    let body = match *kind {
        BLANK if rest.is_empty() => Body::Blank,
        COMMANDS => Body::Commands(Batch::decode(rest)?),
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
    whole(versioned(bytes)?)
}

/// The bytes of the commands that make the state again.
pub(super) fn snapshot(commands: &[Command]) -> Result<Vec<u8>, BytesError> {
    let mut out = vec![VERSION];
    for command in commands {
        out = postcard::to_extend(command, out)?;
    }
    Ok(out)
}

/// Hands over the commands of a snapshot one by one.
pub(super) fn read_snapshot(
    bytes: &[u8],
    mut each: impl FnMut(&Command),
) -> Result<(), BytesError> {
    let mut rest = versioned(bytes)?;
    while !rest.is_empty() {
        let (command, after) = postcard::take_from_bytes(rest)?;
        each(&command);
        rest = after;
    }
    Ok(())
}

fn versioned(bytes: &[u8]) -> Result<&[u8], BytesError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
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
