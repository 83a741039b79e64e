//! What the tests share: queues under policies, and clusters of registered nodes.

use crate::replication::{
    Changes, ClusterCommand, Metadata, NodeId, NodeRole, Refusal, Reply, StoreMark,
};
use leveret_engine::command::{ApplyTo, PolicySpec, VhostSpec};
use leveret_engine::{
    Applied, Command, Outcome, ParameterValue, QueueDeclare, QueueMeta, Table, Timestamp, Topology,
    TopologyConfig,
};
use std::sync::Arc;

pub(super) const NOW: Timestamp = Timestamp(0);

/// A topology in which every queue has a policy.
pub(super) struct Queues(Topology);

impl Queues {
    pub(super) fn new(definition: &[(&str, ParameterValue)]) -> Self {
        let mut queues = Self(Topology::new(TopologyConfig::default()));
        queues.does(&Command::PutVhost(VhostSpec { name: "/".into(), ..VhostSpec::default() }));
        queues.set(definition);
        queues
    }

    pub(super) fn does(&mut self, command: &Command) -> Applied {
        self.0.apply(command, NOW).unwrap()
    }

    /// Gives the queues another policy.
    pub(super) fn set(&mut self, definition: &[(&str, ParameterValue)]) -> Applied {
        if definition.is_empty() {
            return self.does(&Command::DeletePolicy { vhost: "/".into(), name: "p".into() });
        }
        self.does(&Command::PutPolicy(PolicySpec {
            vhost: "/".into(),
            name: "p".into(),
            pattern: ".*".into(),
            apply_to: ApplyTo::Queues,
            priority: 0,
            definition: definition.iter().map(|(k, v)| ((*k).into(), v.clone())).collect(),
        }))
    }

    pub(super) fn declare(&mut self, name: &str, arguments: Table) -> Arc<QueueMeta> {
        let declare = QueueDeclare {
            vhost: "/".into(),
            name: name.into(),
            server_named: false,
            durable: true,
            exclusive_owner: None,
            auto_delete: false,
            arguments,
            user: "guest".into(),
            id: None,
        };
        match self.does(&Command::DeclareQueue(declare)).outcome {
            Outcome::QueueDeclared { queue, .. } => queue,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn name_of(node: u64) -> Arc<str> {
    format!("rabbit@{node}").into()
}

pub(in crate::replication) fn store_of(node: u64) -> StoreMark {
    StoreMark(u128::from(node) << 8)
}

/// Metadata, and what came of the last command.
#[derive(Default)]
pub(in crate::replication) struct Agreed {
    pub(in crate::replication) metadata: Metadata,
    pub(super) changes: Changes,
}

impl Agreed {
    /// Data nodes 1 to `n`, registered.
    pub(in crate::replication) fn of(n: u64) -> Self {
        let mut agreed = Self::default();
        for node in 1..=n {
            agreed.join(node, NodeRole::Data);
        }
        agreed
    }

    pub(super) fn join(&mut self, node: u64, role: NodeRole) {
        let (name, addresses) = (name_of(node), vec![format!("host{node}:25672").into()]);
        let added = self.does(ClusterCommand::AddNode { name, addresses, role });
        assert_eq!(added, Ok(Reply::Added(NodeId(node))));
        self.register(node, store_of(node)).unwrap();
    }

    pub(in crate::replication) fn register(
        &mut self,
        node: u64,
        store: StoreMark,
    ) -> Result<Reply, Refusal> {
        self.does(ClusterCommand::Register { node: NodeId(node), store, durable: 0 })
    }

    pub(in crate::replication) fn does(
        &mut self,
        command: ClusterCommand,
    ) -> Result<Reply, Refusal> {
        self.changes = Changes::default();
        self.metadata.apply(&command, &mut self.changes)
    }

    pub(super) fn fence(&mut self, node: u64) {
        let (node, incarnation) = self.start_of(node);
        self.does(ClusterCommand::Fence { node, incarnation, lease_over: true }).unwrap();
    }

    pub(super) fn unfence(&mut self, node: u64) {
        let (node, incarnation) = self.start_of(node);
        self.does(ClusterCommand::Unfence { node, incarnation }).unwrap();
    }

    fn start_of(&self, node: u64) -> (NodeId, crate::replication::Incarnation) {
        (NodeId(node), self.metadata.node(NodeId(node)).unwrap().incarnation)
    }

    pub(super) fn follow(&mut self, applied: &Applied, from: u64) {
        self.changes = Changes::default();
        self.metadata.follow(&applied.changes, NodeId(from), &mut self.changes);
    }

    pub(super) fn add(&mut self, queue: &QueueMeta, from: u64) {
        self.changes = Changes::default();
        self.metadata.queue_added(queue, NodeId(from), &mut self.changes);
    }
}
