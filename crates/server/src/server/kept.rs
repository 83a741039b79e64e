//! What is kept besides messages: opened before the first client can come in, closed after the last is gone.

use super::start::StartError;
use crate::config::{Config, Permissions};
use leveret_cluster::replication::Incarnation;
use leveret_cluster::{AgreedState, Member, OpenError, Opened, Opening, RaftConsensus};
use leveret_engine::Command;
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::PermissionSpec;
use leveret_engine::limits::TopologyLimits;
use leveret_engine::time::Timestamp;
use leveret_engine::topology::{TopologyConfig, default_commands};
use leveret_store::{MetaStore, RocksMeta};
use std::path::Path;
use std::sync::Arc;
use tracing::error;

/// The directory of it in the data directory.
pub(crate) const FOLDER: &str = "meta";

/// What the process ends with when the disk fails: `EX_IOERR` of sysexits.h.
const DISK_FAILED: i32 = 74;

/// The agreement of this node, let go when it is dropped.
pub(super) struct Agreement {
    pub(super) consensus: Arc<RaftConsensus>,
    pub(super) store: Arc<RocksMeta>,
}

impl Drop for Agreement {
    fn drop(&mut self) {
        self.consensus.shutdown();
    }
}

/// What was kept, opened.
pub(super) struct Kept {
    pub(super) state: AgreedState,
    /// This start of the process, in a cluster.
    pub(super) incarnation: Option<Incarnation>,
    pub(super) agreement: Agreement,
}

/// Opens what is kept in the data directory. As a node of a cluster that takes until a majority of it is there. A new one begins with the default user and vhost.
pub(super) fn open(
    config: &Config,
    data_dir: &Path,
    member: Option<Member>,
    now: Timestamp,
) -> Result<Kept, StartError> {
    let store = Arc::new(RocksMeta::open(&data_dir.join(FOLDER))?);
    let opened = RaftConsensus::open(Opening {
        config: topology_config(config, store.starts()),
        store: Arc::clone(&store) as _,
        first: first_commands(config),
        now,
        member,
        failed: Box::new(give_up),
    });
    let opened = opened.map_err(|error| match error {
        OpenError::First(reason) => StartError::Defaults(reason),
        other => StartError::Agreement(other),
    })?;
    let Opened { state, consensus, incarnation } = opened;
    Ok(Kept { state, incarnation, agreement: Agreement { consensus, store } })
}

fn topology_config(config: &Config, starts: u64) -> TopologyConfig {
    let limits = TopologyLimits {
        queues: super::start::some(config.limits.cluster_queue_limit),
        exchanges: super::start::some(config.limits.cluster_exchange_limit),
        vhosts: super::start::some(config.limits.vhost_max),
        ..TopologyLimits::default()
    };
    let loopback_users = config.auth.loopback_users.iter();
    TopologyConfig {
        limits,
        loopback_users: loopback_users.map(|name| name.as_str().into()).collect(),
        // Only its lower bits count.
        boot: starts as u32,
    }
}

/// What a new node begins with; nothing where a definitions file brings its own.
// rabbitmq: with load_definitions there is no default user
fn first_commands(config: &Config) -> Vec<Command> {
    if !config.definitions.load.is_empty() {
        return Vec::new();
    }
    let auth = &config.auth;
    let password = auth.default_pass.0.as_bytes();
    let password = PasswordHash::new(HashAlgorithm::default(), password, super::start::random());
    let (vhost, user) = (auth.default_vhost.as_str().into(), auth.default_user.as_str().into());
    let tags = auth.default_user_tags.iter().map(|tag| tag.as_str().into()).collect();
    let mut commands = default_commands(&vhost, &user, password, tags);
    let Permissions { configure, write, read } = &auth.default_permissions;
    commands.push(Command::SetPermission(PermissionSpec {
        user,
        vhost,
        configure: configure.as_str().into(),
        write: write.as_str().into(),
        read: read.as_str().into(),
    }));
    commands
}

/// Ends the process: a disk that failed once is not tried again, since the system may have dropped what it could
/// not write.
#[expect(clippy::exit, reason = "nothing that still runs may act on what is not on disk")]
fn give_up(reason: String) {
    error!(
        %reason,
        "changes of queues, users and the like can no longer be kept, so this broker ends: nothing \
         that was answered is lost. Look at the disk, then start it again"
    );
    std::process::exit(DISK_FAILED)
}
