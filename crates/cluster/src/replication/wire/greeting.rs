//! How two nodes find out whether they belong together. Whoever is refused is told why, and what to do.

use super::proof::Nonce;
use super::{GREETING_BYTES_MAX, VERSION};
use crate::replication::ids::{Incarnation, NodeId};
use leveret_engine::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// How far the clocks of two nodes may be apart, in milliseconds. Messages expire by the clock of the leader, so that
/// a leader change would make them live longer or shorter by as much.
pub const CLOCK_SKEW_MAX_MS: u64 = 60_000;

/// Bytes of a node's name, at most, so that a greeting fits its limit.
const NAME_BYTES_MAX: usize = GREETING_BYTES_MAX / 4;

/// The name of a cluster, drawn when it was founded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The first thing a node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version of frames it speaks.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its number there; 0 before it has one.
    pub node: NodeId,
    /// Its start; 0 before it has registered.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: Arc<str>,
    /// Its clock.
    pub now: Timestamp,
    /// What the other side has to answer for.
    pub nonce: Nonce,
}

/// Why a node is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// They have no version of frames in common.
    #[error(
        "node '{name}' speaks versions {oldest} to {newest} of the cluster protocol, and this node version {ours}; \
         upgrade one node after the other, no more than one release at a time"
    )]
    Version {
        /// The node that is refused.
        name: Arc<str>,
        /// Its oldest version.
        oldest: u16,
        /// Its newest version.
        newest: u16,
        /// The version here.
        ours: u16,
    },
    /// They belong to different clusters.
    #[error(
        "node '{name}' belongs to cluster {theirs}, and this node to cluster {ours}; \
         it must leave its cluster, or start with an empty data directory, before it joins this one"
    )]
    Cluster {
        /// The node that is refused.
        name: Arc<str>,
        /// Its cluster.
        theirs: ClusterId,
        /// The cluster here.
        ours: ClusterId,
    },
    /// It does not know the secret.
    #[error(
        "node '{name}' does not have this cluster's secret; set the same `cluster.secret` on all nodes"
    )]
    Secret {
        /// The node that is refused.
        name: Arc<str>,
    },
    /// It is no member.
    #[error(
        "node '{name}' ({node}) is not a member of this cluster, or was forgotten; \
         it must start with an empty data directory and join again"
    )]
    Unknown {
        /// The node that is refused.
        name: Arc<str>,
        /// Its number.
        node: NodeId,
    },
    /// Its clock is wrong, or the one here.
    #[error(
        "the clocks of node '{name}' and of this node are {apart_ms} ms apart; set them by NTP"
    )]
    Clock {
        /// The node that is refused.
        name: Arc<str>,
        /// How far, in milliseconds.
        apart_ms: u64,
    },
    /// Its name is too long.
    #[error("the name of a node has at most {NAME_BYTES_MAX} bytes")]
    Name,
    /// There is no cluster here.
    #[error(
        "it belongs to no cluster that node '{name}' could join; found one there first, with `leveret cluster init`"
    )]
    NoCluster {
        /// The node that is refused.
        name: Arc<str>,
    },
}

impl Hello {
    /// Whether to talk to a node that has greeted, from the point of view of this one: the version of frames to use. That
    /// it knows the secret, and that it is a member, is found out after this.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, theirs: &Self, now: Timestamp) -> Result<u16, Refused> {
        let name = || theirs.name.clone();
        if theirs.name.len() > NAME_BYTES_MAX {
            return Err(Refused::Name);
        }
        if theirs.oldest > VERSION || theirs.newest < VERSION {
            let Self { oldest, newest, .. } = *theirs;
            return Err(Refused::Version { name: name(), oldest, newest, ours: VERSION });
        }
        if theirs.cluster != self.cluster {
            let (theirs, ours) = (theirs.cluster, self.cluster);
            return Err(Refused::Cluster { name: name(), theirs, ours });
        }
        let apart_ms = now.since(theirs.now).max(theirs.now.since(now));
        if apart_ms > CLOCK_SKEW_MAX_MS {
            return Err(Refused::Clock { name: name(), apart_ms });
        }
        Ok(VERSION)
    }
}
