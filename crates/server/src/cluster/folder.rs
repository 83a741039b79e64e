//! What the data directory remembers of the cluster: which one, and which node this is.
//!
//! | file | meaning |
//! |---|---|
//! | `cluster.json` | this is a node of a cluster |
//! | `cluster.joining` | it is to become one at the next start: what it will remember |
//! | `cluster.leaving` | it is to be alone at the next start |

use crate::server::{MESSAGES, META};
use leveret_cluster::replication::wire::ClusterId;
use leveret_cluster::replication::{NodeId, NodeRole};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::info;

const MEMBER: &str = "cluster.json";
const JOINING: &str = "cluster.joining";
const LEAVING: &str = "cluster.leaving";

/// What is put behind the names of folders that are no longer used.
const ASIDE: &str = "before";

/// Which node of which cluster this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The cluster, as text: numbers of this size are not for JSON.
    cluster: String,
    node: u64,
    /// Where the others reach this node.
    pub(crate) address: Arc<str>,
    pub(crate) witness: bool,
    /// The others as they were when this node joined. A founder had none.
    others: Vec<(u64, Arc<str>)>,
}

/// Why the directory cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FolderError {
    path: PathBuf,
    reason: String,
}

impl FolderError {
    pub(crate) fn of(what: &str, error: &io::Error) -> Self {
        Self { path: what.into(), reason: error.to_string() }
    }
}

impl Remembered {
    pub(crate) fn new(
        cluster: ClusterId,
        node: NodeId,
        address: &str,
        role: NodeRole,
        others: &[(NodeId, Arc<str>)],
    ) -> Self {
        Self {
            cluster: cluster.to_string(),
            node: node.0,
            address: address.into(),
            witness: role == NodeRole::Witness,
            others: others.iter().map(|(node, address)| (node.0, Arc::clone(address))).collect(),
        }
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        ClusterId(u128::from_str_radix(&self.cluster, 16).unwrap_or_default())
    }

    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    pub(crate) fn role(&self) -> NodeRole {
        if self.witness { NodeRole::Witness } else { NodeRole::Data }
    }

    pub(crate) fn others(&self) -> Vec<(NodeId, Arc<str>)> {
        let others = self.others.iter();
        others.map(|(node, address)| (NodeId(*node), Arc::clone(address))).collect()
    }
}

/// What the directory remembers, after what was to happen at this start has happened.
pub(crate) fn settle(data_dir: &Path) -> Result<Option<Remembered>, FolderError> {
    let (member, joining) = (data_dir.join(MEMBER), data_dir.join(JOINING));
    if data_dir.join(LEAVING).exists() {
        set_aside(data_dir)?;
        let removed = if member.exists() { fs::remove_file(&member) } else { Ok(()) };
        removed.map_err(|error| failed(&member, &error))?;
        let leaving = data_dir.join(LEAVING);
        fs::remove_file(&leaving).map_err(|error| failed(&leaving, &error))?;
        info!("this broker has left its cluster and begins anew, alone");
    }
    if joining.exists() {
        let remembered = read(&joining)?;
        if !remembered.others.is_empty() {
            // What was agreed on alone, and the numbers of its queues, mean something else in the cluster.
            set_aside(data_dir)?;
        }
        fs::rename(&joining, &member).map_err(|error| failed(&member, &error))?;
    }
    if member.exists() { read(&member).map(Some) } else { Ok(None) }
}

/// At the next start this is a node of a cluster.
pub(crate) fn will_join(data_dir: &Path, remembered: &Remembered) -> Result<(), FolderError> {
    let path = data_dir.join(JOINING);
    let bytes = serde_json::to_vec_pretty(remembered).unwrap_or_default();
    write(&path, &bytes)
}

/// At the next start this broker is alone, and new.
pub(crate) fn will_leave(data_dir: &Path) -> Result<(), FolderError> {
    write(&data_dir.join(LEAVING), b"")
}

/// Puts what the broker keeps where the next start does not find it. It is not deleted: that is for a person.
fn set_aside(data_dir: &Path) -> Result<(), FolderError> {
    for name in [META, MESSAGES] {
        let from = data_dir.join(name);
        if !from.exists() {
            continue;
        }
        let mut n = 1;
        let to = loop {
            let to = data_dir.join(format!("{name}.{ASIDE}-{n}"));
            if !to.exists() {
                break to;
            }
            n += 1;
        };
        fs::rename(&from, &to).map_err(|error| failed(&to, &error))?;
        info!(folder = %to.display(), "set aside; it is no longer used and can be deleted");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Remembered, FolderError> {
    let bytes = fs::read(path).map_err(|error| failed(path, &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| FolderError { path: path.to_owned(), reason: error.to_string() })
}

/// All of it or nothing, also after a power cut.
fn write(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let draft = path.with_extension("draft");
    let written = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    written().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> FolderError {
    FolderError { path: path.to_owned(), reason: error.to_string() }
}
