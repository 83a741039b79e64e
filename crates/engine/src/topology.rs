//! Everything durable that is not a message, and its transient part: vhosts, users, permissions,
//! policies, limits, parameters, exchanges, queues, bindings. A deterministic state machine: it
//! changes by commands alone ([`Topology::offer`], [`Topology::apply_agreed`]), and the same commands
//! give the same state.
//!
//! What is not durable (exclusive and non-durable queues, non-durable exchanges, their bindings)
//! lives here as well, but is left out of agreements and snapshots.

mod access;
mod agreement;
mod bindings;
mod exchanges;
mod parameters;
mod policies;
mod queues;
mod snapshot;
mod transient;
mod users;
mod vhost;
mod vhosts;

use crate::auth::User;
use crate::command::{Change, Command, Outcome};
use crate::error::{BrokerError, RecordKind};
use crate::exchange::Exchange;
use crate::ids::{ConnectionId, QueueId};
use crate::limits::TopologyLimits;
use crate::parameter::ParameterValue;
use crate::queue_meta::QueueMeta;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use access::Examined;
pub use bindings::Binding;
pub use exchanges::exchange_kind;
pub use vhost::{Vhost, VhostInfo, VhostLimits};
pub use vhosts::default_commands;

/// What a topology is made with.
#[derive(Clone, Debug)]
pub struct TopologyConfig {
    /// How much of everything there may be.
    pub limits: TopologyLimits,
    /// Users that may only log in from this machine; `guest` by default.
    pub loopback_users: Vec<Arc<str>>,
    /// Counts the starts of the node, so that ids of transient queues are not given twice. Only the
    /// lower 20 bits count.
    pub boot: u32,
}

impl Default for TopologyConfig {
    fn default() -> Self {
        let (limits, loopback_users) = (TopologyLimits::default(), vec!["guest".into()]);
        Self { limits, loopback_users, boot: 0 }
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Topology {
    config: TopologyConfig,
    vhosts: BTreeMap<Arc<str>, Vhost>,
    users: BTreeMap<Arc<str>, Arc<User>>,
    global_parameters: BTreeMap<Arc<str>, ParameterValue>,
    /// Exclusive queues by the connection that owns them.
    owned: HashMap<ConnectionId, BTreeMap<QueueId, OwnedQueue>>,
    queues: foldhash::HashMap<QueueId, Arc<QueueMeta>>,
    ids: QueueIds,
    n_exchanges: u64,
    sought: agreement::Sought,
    routing_version: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
struct OwnedQueue {
    vhost: Arc<str>,
    name: Arc<str>,
}

/// The ids of the next queues.
#[derive(Clone, Copy, Debug)]
struct QueueIds {
    durable: u64,
    transient: u64,
}

impl QueueIds {
    fn new(boot: u32) -> Self {
        let boot = u64::from(boot) & 0xf_ffff;
        // 0 is never a queue.
        Self { durable: 1, transient: QueueId::TRANSIENT | boot << QueueId::TRANSIENT_COUNT_BITS }
    }

    fn take(&mut self, durable: bool) -> QueueId {
        let next = if durable { &mut self.durable } else { &mut self.transient };
        let id = QueueId(*next);
        *next += 1;
        id
    }

    fn restored(&mut self, id: QueueId) {
        if !id.is_transient() {
            self.durable = self.durable.max(id.0 + 1);
        }
    }
}

/// What a command changed so far.
#[derive(Debug, Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn push(&mut self, change: Change) {
        self.0.push(change);
    }
}

impl Topology {
    /// An empty topology: no vhost, no user. [`default_commands`] makes the usual first ones.
    #[must_use]
    pub fn new(config: TopologyConfig) -> Self {
        Self {
            ids: QueueIds::new(config.boot),
            config,
            vhosts: BTreeMap::new(),
            users: BTreeMap::new(),
            global_parameters: BTreeMap::new(),
            owned: HashMap::new(),
            queues: foldhash::HashMap::default(),
            n_exchanges: 0,
            sought: agreement::Sought::default(),
            routing_version: Arc::new(AtomicU64::new(1)),
        }
    }

    /// A number that grows with every change that can change a route or a permission. It is read
    /// without the topology.
    #[must_use]
    pub fn routing_version(&self) -> Arc<AtomicU64> {
        self.routing_version.clone()
    }

    /// The limits the topology was made with.
    #[must_use]
    pub fn limits(&self) -> &TopologyLimits {
        &self.config.limits
    }

    /// Queues of all vhosts.
    #[must_use]
    pub fn n_queues(&self) -> u64 {
        self.queues.len() as u64
    }

    /// A queue of any vhost by its id.
    #[must_use]
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Arc<QueueMeta>> {
        self.queues.get(&id)
    }

    /// A queue by vhost and name.
    #[must_use]
    pub fn queue(&self, vhost: &str, name: &str) -> Option<&Arc<QueueMeta>> {
        self.vhost(vhost)?.queue(name)
    }

    /// An exchange by vhost and name.
    #[must_use]
    pub fn exchange(&self, vhost: &str, name: &str) -> Option<&Arc<Exchange>> {
        self.vhost(vhost)?.exchange(name)
    }

    /// How many connections the vhost may have.
    #[must_use]
    pub fn vhost_connection_limit(&self, vhost: &str) -> Option<u64> {
        self.vhost(vhost)?.limits().connections
    }

    /// How many connections the user may have.
    #[must_use]
    pub fn user_connection_limit(&self, user: &str) -> Option<u64> {
        self.user(user)?.max_connections
    }

    /// How many channels the user may have.
    #[must_use]
    pub fn user_channel_limit(&self, user: &str) -> Option<u64> {
        self.user(user)?.max_channels
    }

    /// Exchanges of all vhosts, predeclared ones included.
    #[must_use]
    pub fn n_exchanges(&self) -> u64 {
        self.n_exchanges
    }

    /// Keeps the map of ids and the version of routes in step.
    fn note_changes(&mut self, outcome: &Outcome, changes: &Changes) {
        if !changes.0.is_empty() || bound(outcome) {
            self.routing_version.fetch_add(1, Ordering::Release);
        }
        for change in &changes.0 {
            match change {
                Change::QueueAdded(queue) | Change::QueueChanged(queue) => {
                    self.queues.insert(queue.id, queue.clone());
                }
                Change::QueueRemoved(queue) => {
                    self.queues.remove(&queue.id);
                }
                _ => {}
            }
        }
    }

    fn dispatch(
        &mut self,
        command: &Command,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        match command {
            Command::DeclareQueue(declare) => self.declare_queue(declare, changes),
            Command::DeleteQueue { vhost, name, id } => {
                self.delete_queue(vhost, name, *id, changes)
            }
            Command::DeleteOwned { connection } => Ok(self.delete_owned(*connection, changes)),
            Command::Bind(spec) => self.bind(spec),
            Command::Unbind(spec) => self.unbind(spec, changes),
            Command::DeclareExchange(declare) => self.declare_exchange(declare, changes),
            Command::DeleteExchange { vhost, name, if_unused } => {
                self.delete_exchange(vhost, name, *if_unused, changes)
            }
            Command::CollectExchange { vhost, name } => self.collect_exchange(vhost, name, changes),
            Command::SetNextQueue(id) => {
                self.ids.durable = self.ids.durable.max(id.0);
                Ok(Outcome::Done)
            }
            other => self.dispatch_records(other, changes),
        }
    }

    fn dispatch_records(
        &mut self,
        command: &Command,
        changes: &mut Changes,
    ) -> Result<Outcome, BrokerError> {
        match command {
            Command::PutVhost(spec) => self.put_vhost(spec, changes),
            Command::DeleteVhost { name } => self.delete_vhost(name, changes),
            Command::SetVhostLimit { vhost, limit, value } => {
                self.set_vhost_limit(vhost, *limit, *value, changes)
            }
            Command::SetTracing { vhost, on } => self.set_tracing(vhost, *on, changes),
            Command::PutPolicy(spec) => self.put_policy(spec, changes),
            Command::DeletePolicy { vhost, name } => self.delete_policy(vhost, name, changes),
            Command::PutOperatorPolicy(spec) => self.put_operator_policy(spec, changes),
            Command::DeleteOperatorPolicy { vhost, name } => {
                self.delete_operator_policy(vhost, name, changes)
            }
            Command::PutParameter { vhost, component, name, value } => {
                self.put_parameter(vhost, component, name, value, changes)
            }
            Command::DeleteParameter { vhost, component, name } => {
                self.delete_parameter(vhost, component, name, changes)
            }
            Command::PutGlobalParameter { name, value } => {
                self.put_global_parameter(name, value, changes)
            }
            Command::DeleteGlobalParameter { name } => self.delete_global_parameter(name, changes),
            other => self.dispatch_users(other, changes),
        }
    }

    fn vhost_mut(&mut self, name: &str) -> Result<&mut Vhost, BrokerError> {
        self.vhosts.get_mut(name).ok_or_else(|| no_record(RecordKind::Vhost, name))
    }

    fn known_vhost(&self, name: &str) -> Result<&Vhost, BrokerError> {
        self.vhosts.get(name).ok_or_else(|| no_record(RecordKind::Vhost, name))
    }
}

fn bound(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Bound { created: true } | Outcome::Unbound { existed: true })
}

fn no_record(kind: RecordKind, name: &str) -> BrokerError {
    BrokerError::NoSuchRecord { kind, name: name.into() }
}

#[cfg(test)]
mod tests;
