//! What of a command is agreed on and kept, and what concerns this node alone.
//!
//! What is durable is agreed on: its commands stand in a log, and the log alone makes the durable part
//! again, the same on every node. What is not (exclusive, non-durable and server-named queues,
//! non-durable exchanges, bindings with such an end) is applied at once, costs no disk and is in no
//! log.
//!
//! *Invariant:* what an agreed command does to the durable part depends on the durable part alone,
//! never on what is transient, on the configuration or on a limit. So everything that may be refused
//! for such a reason is refused by [`Topology::offer`], before there is anything to agree on.

use super::vhost::Vhost;
use super::{Changes, Topology};
use crate::arguments::compare_flag;
use crate::command::{
    Applied, BindingSpec, Change, Command, Destination, ExchangeDeclare, Outcome, QueueDeclare,
};
use crate::error::{BrokerError, RecordKind, ResourceName};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of durable things that agreement is sought on, with how often. They are this node's own
/// and in no snapshot.
#[derive(Debug, Default)]
pub(super) struct Sought(BTreeMap<Claim, u32>);

/// What an agreement under way will take or give up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    what: Claimed,
    vhost: Arc<str>,
    name: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claimed {
    /// A durable queue of this name will be there.
    Queue,
    /// A durable exchange of this name will be there.
    Exchange,
    /// An exchange that nobody uses will be gone.
    UnusedExchange,
}

impl Sought {
    fn begin(&mut self, command: &Command) {
        if let Some(claim) = Claim::of(command) {
            *self.0.entry(claim).or_insert(0) += 1;
        }
    }

    fn end(&mut self, command: &Command) {
        // The usual case on a node that follows, and when a log is read again.
        if self.0.is_empty() {
            return;
        }
        let Some(claim) = Claim::of(command) else { return };
        if let Some(n) = self.0.get_mut(&claim) {
            *n -= 1;
            if *n == 0 {
                self.0.remove(&claim);
            }
        }
    }

    fn has(&self, what: Claimed, vhost: &Arc<str>, name: &Arc<str>) -> bool {
        !self.0.is_empty()
            && self.0.contains_key(&Claim { what, vhost: vhost.clone(), name: name.clone() })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Durable queues that will be there, in one vhost or in all.
    pub(super) fn queues(&self, vhost: Option<&Vhost>) -> u64 {
        let is_in = |claim: &&Claim| {
            claim.what == Claimed::Queue && vhost.is_none_or(|vhost| *vhost.name() == claim.vhost)
        };
        self.0.keys().filter(is_in).count() as u64
    }

    /// Durable exchanges that will be there.
    fn exchanges(&self) -> u64 {
        self.0.keys().filter(|claim| claim.what == Claimed::Exchange).count() as u64
    }
}

impl Claim {
    fn of(command: &Command) -> Option<Self> {
        let (what, vhost, name) = match command {
            Command::DeclareQueue(declare) => (Claimed::Queue, &declare.vhost, &declare.name),
            Command::DeclareExchange(declare) => (Claimed::Exchange, &declare.vhost, &declare.name),
            Command::DeleteExchange { vhost, name, if_unused: true }
            | Command::CollectExchange { vhost, name } => (Claimed::UnusedExchange, vhost, name),
            _ => return None,
        };
        Some(Self { what, vhost: vhost.clone(), name: name.clone() })
    }
}

impl Topology {
    /// Takes a command from somebody on this node. `Some`: it concerned this node alone, or changed
    /// nothing, and has been applied. `None`: it changes what is kept, and [`Topology::apply_agreed`]
    /// follows once it is agreed on.
    ///
    /// # Errors
    /// Whatever RabbitMQ would refuse, but for the permissions of the user behind the command: those
    /// are the caller's to check ([`Topology::check`]). Nothing has changed then.
    pub fn offer(
        &mut self,
        command: &Command,
        now: Timestamp,
    ) -> Result<Option<Applied>, BrokerError> {
        let answered = if self.is_kept(command) {
            self.admit(command)?
        } else {
            self.admit_here(command)?;
            return self.carry_out(command, now).map(Some);
        };
        match answered {
            Some(outcome) => Ok(Some(Applied { outcome, changes: Vec::new() })),
            None => {
                self.sought.begin(command);
                Ok(None)
            }
        }
    }

    /// Applies a command that was agreed on: all of it, or nothing and an error. `now` is the time of
    /// the command, the same on every node that applies it.
    ///
    /// # Errors
    /// When it no longer fits what the commands before it have made.
    pub fn apply_agreed(
        &mut self,
        command: &Command,
        now: Timestamp,
    ) -> Result<Applied, BrokerError> {
        self.sought.end(command);
        self.carry_out(command, now)
    }

    /// Nothing depends on the time so far.
    pub(super) fn carry_out(
        &mut self,
        command: &Command,
        _now: Timestamp,
    ) -> Result<Applied, BrokerError> {
        let mut changes = Changes::default();
        let outcome = self.dispatch(command, &mut changes)?;
        self.note_changes(&outcome, &changes);
        Ok(Applied { outcome, changes: changes.0 })
    }

    /// Takes a command and agrees with itself: for a topology that is kept nowhere.
    ///
    /// # Errors
    /// As [`Topology::offer`].
    pub fn apply(&mut self, command: &Command, now: Timestamp) -> Result<Applied, BrokerError> {
        let mut applied = match self.offer(command, now)? {
            Some(applied) => applied,
            None => self.apply_agreed(command, now)?,
        };
        let mut at = 0;
        while let Some(change) = applied.changes.get(at) {
            at += 1;
            let Some(next) = change.consequence() else { continue };
            applied.changes.extend(self.apply_agreed(&next, now)?.changes);
        }
        applied.changes.retain(|change| change.consequence().is_none());
        Ok(applied)
    }

    /// Whether a command changes what is kept, as things are.
    fn is_kept(&self, command: &Command) -> bool {
        match command {
            Command::DeclareQueue(declare) => declare.effective_durable(),
            Command::DeclareExchange(declare) => declare.durable,
            Command::DeleteOwned { .. } => false,
            Command::DeleteQueue { vhost, name, id } => self
                .queue(vhost, name)
                .is_some_and(|queue| queue.durable && id.is_none_or(|id| id == queue.id)),
            Command::DeleteExchange { vhost, name, .. } => {
                self.exchange(vhost, name).is_some_and(|exchange| exchange.durable)
            }
            Command::Bind(spec) | Command::Unbind(spec) => {
                self.vhost(&spec.vhost).is_some_and(|vhost| vhost.has_durable_ends(spec))
            }
            _ => true,
        }
    }

    /// Refuses a command that concerns this node alone.
    fn admit_here(&self, command: &Command) -> Result<(), BrokerError> {
        match command {
            Command::DeclareQueue(declare) => {
                if self.sought.has(Claimed::Queue, &declare.vhost, &declare.name) {
                    return durable_is_coming(&declare.resource());
                }
                self.admit_queue(declare).map(|_| ())
            }
            Command::DeclareExchange(declare) => {
                let resource = ResourceName::exchange(&declare.vhost, declare.name.clone());
                if self.sought.has(Claimed::Exchange, &declare.vhost, &declare.name) {
                    return durable_is_coming(&resource);
                }
                self.admit_exchange(declare).map(|_| ())
            }
            Command::Bind(spec) => self.admit_bind(spec).map(|_| ()),
            Command::DeleteExchange { vhost, name, if_unused } => {
                self.admit_delete_exchange(vhost, name, *if_unused)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a command before it is agreed on, or answers it where nothing would change.
    fn admit(&self, command: &Command) -> Result<Option<Outcome>, BrokerError> {
        match command {
            Command::DeclareQueue(declare) => self.admit_queue(declare),
            Command::DeclareExchange(declare) => self.admit_exchange(declare),
            Command::Bind(spec) => self.admit_bind(spec),
            Command::Unbind(spec) => {
                super::bindings::check_default(spec)?;
                let known = self.vhost(&spec.vhost).is_some_and(|vhost| vhost.has_binding(spec));
                Ok((!known).then_some(Outcome::Unbound { existed: false }))
            }
            Command::DeleteExchange { vhost, name, if_unused } => {
                self.admit_delete_exchange(vhost, name, *if_unused).map(|()| None)
            }
            Command::CollectExchange { vhost, name } => {
                let unused = self.vhost(vhost).is_some_and(|vhost| vhost.is_unused(name));
                Ok((!unused).then_some(Outcome::Deleted { existed: false }))
            }
            Command::PutVhost(spec) => self.check_vhost_limit(&spec.name).map(|()| None),
            other => self.admit_record(other).map(|()| None),
        }
    }

    fn admit_queue(&self, declare: &QueueDeclare) -> Result<Option<Outcome>, BrokerError> {
        if let super::Examined::Existing(queue) = self.examine_queue_declare(declare)? {
            return Ok(Some(Outcome::QueueDeclared { created: false, queue }));
        }
        self.check_queue_limits(declare)?;
        self.check_new_queue(declare)?;
        Ok(None)
    }

    fn admit_exchange(&self, declare: &ExchangeDeclare) -> Result<Option<Outcome>, BrokerError> {
        if let super::Examined::Existing(_) = self.examine_exchange_declare(declare)? {
            return Ok(Some(Outcome::ExchangeDeclared { created: false }));
        }
        match self.config.limits.exchanges {
            Some(limit) if self.n_exchanges + self.sought.exchanges() >= limit => {
                Err(BrokerError::ExchangeLimit { name: declare.name.clone(), limit })
            }
            _ => Ok(None),
        }
    }

    fn admit_bind(&self, spec: &BindingSpec) -> Result<Option<Outcome>, BrokerError> {
        if self.examine_bind(spec)? {
            return Ok(Some(Outcome::Bound { created: false }));
        }
        if self.sought.has(Claimed::UnusedExchange, &spec.vhost, &spec.source) {
            let source = ResourceName::exchange(&spec.vhost, spec.source.clone());
            return Err(BrokerError::NotFound(source));
        }
        let limit = self.config.limits.bindings_per_vhost;
        if self.known_vhost(&spec.vhost)?.n_bindings() as u64 >= limit {
            return Err(BrokerError::BindingLimit { vhost: spec.vhost.clone(), limit });
        }
        Ok(None)
    }

    fn admit_delete_exchange(
        &self,
        vhost: &Arc<str>,
        name: &Arc<str>,
        if_unused: bool,
    ) -> Result<(), BrokerError> {
        super::exchanges::check_deletable(vhost, name)?;
        let in_use = |vhost: &Vhost| vhost.bindings_from(name).next().is_some();
        if if_unused && in_use(self.known_vhost(vhost)?) {
            return Err(BrokerError::InUse(ResourceName::exchange(vhost, name.clone())));
        }
        Ok(())
    }

    /// Refuses one more record where there are too many.
    fn admit_record(&self, command: &Command) -> Result<(), BrokerError> {
        match command {
            Command::PutUser(spec) => self.check_records(RecordKind::User, &self.users, &spec.name),
            Command::SetPermission(spec) => {
                let known = &self.known_vhost(&spec.vhost)?.permissions;
                self.check_records(RecordKind::Permission, known, &spec.user)
            }
            Command::SetTopicPermission(spec) => {
                let known = self.known_vhost(&spec.vhost)?.topic_permissions.get(&spec.user);
                known.map_or(Ok(()), |known| {
                    self.check_records(RecordKind::TopicPermission, known, &spec.exchange)
                })
            }
            Command::PutPolicy(spec) => {
                let known = self.known_vhost(&spec.vhost)?.policies.by_name();
                self.check_records(RecordKind::Policy, known, &spec.name)
            }
            Command::PutOperatorPolicy(spec) => {
                let known = self.known_vhost(&spec.vhost)?.operator_policies.by_name();
                self.check_records(RecordKind::OperatorPolicy, known, &spec.name)
            }
            Command::PutParameter { vhost, component, name, .. } => {
                let known = &self.known_vhost(vhost)?.parameters;
                let key = (component.clone(), name.clone());
                self.check_records(RecordKind::Parameter, known, &key)
            }
            Command::PutGlobalParameter { name, .. } => {
                let known = &self.global_parameters;
                self.check_records(RecordKind::GlobalParameter, known, name)
            }
            _ => Ok(()),
        }
    }

    /// Refuses one more record in a map that is full; replacing one is fine.
    fn check_records<K: Ord, V>(
        &self,
        kind: RecordKind,
        records: &BTreeMap<K, V>,
        key: &K,
    ) -> Result<(), BrokerError> {
        let limit = self.config.limits.records;
        if (records.len() as u64) < limit || records.contains_key(key) {
            return Ok(());
        }
        Err(BrokerError::RecordLimit { kind, limit })
    }
}

impl Vhost {
    /// Whether a binding would survive a restart: both its ends do.
    // rabbitmq: durable, semi-durable and transient bindings
    fn has_durable_ends(&self, spec: &BindingSpec) -> bool {
        let durable = |name: &str| self.exchange(name).is_some_and(|exchange| exchange.durable);
        durable(&spec.source)
            && match &spec.destination {
                Destination::Exchange(name) => durable(name),
                Destination::Queue(name) => self.queue(name).is_some_and(|queue| queue.durable),
            }
    }

    /// Whether an auto-delete exchange has no binding from it.
    fn is_unused(&self, exchange: &str) -> bool {
        self.exchange(exchange).is_some_and(|exchange| exchange.auto_delete)
            && self.bindings_from(exchange).next().is_none()
    }
}

impl Change {
    /// The command that follows from the change. It is agreed on by itself, since what led to it may
    /// have been nobody else's business, and whoever sent the command is answered after it.
    #[must_use]
    pub fn consequence(&self) -> Option<Command> {
        let Self::ExchangeUnused(exchange) = self else { return None };
        let (vhost, name) = (exchange.vhost.clone(), exchange.name.clone());
        Some(Command::CollectExchange { vhost, name })
    }
}

/// A durable one of this name is about to be there, and this one differs from it.
fn durable_is_coming(resource: &ResourceName) -> Result<(), BrokerError> {
    compare_flag("durable", resource, true, false)
}
