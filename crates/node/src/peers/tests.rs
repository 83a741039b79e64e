//! A node among others: what it sends, and whom it takes for the leader of a queue.

use std::sync::Arc;

use leveret_cluster::LocalConsensus;
use leveret_cluster::replication::{Metadata, NodeRole, Reply, StoreMark};
use leveret_engine::command::{QueueDeclare, VhostSpec};
use leveret_engine::{Command, Outcome, Table, TopologyConfig};

use super::*;
use crate::node::NodeConfig;

const NOW: Timestamp = Timestamp(1_000);

/// Node 1 of a cluster of which node 2 has registered as well.
fn node() -> Arc<Node> {
    let mut metadata = Metadata::default();
    let mut changes = Changes::default();
    let mut decide = |command| metadata.apply(&command, &mut changes).unwrap();
    for n in 1..=2 {
        let (name, addresses) = (format!("rabbit@{n}").into(), Vec::new());
        decide(ClusterCommand::AddNode { name, addresses, role: NodeRole::Data });
        let (node, store) = (NodeId(n), StoreMark(n.into()));
        let registered = decide(ClusterCommand::Register { node, store, durable: 0 });
        assert_eq!(registered, Reply::Registered(Incarnation(n)));
    }
    let config = NodeConfig {
        name: "rabbit@1".into(),
        connection: leveret_protocol::ConnectionConfig::default(),
        seed: [1; 32],
        connection_max: None,
        topology: Topology::new(TopologyConfig::default()),
        metadata,
        membership: Some(Membership { node: NodeId(1), incarnation: Incarnation(1) }),
        meta: Arc::new(LocalConsensus::default()),
        keeps_messages: false,
    };
    let node = Node::new(config, NOW);
    let spec = VhostSpec { name: "/".into(), ..VhostSpec::default() };
    assert!(node.propose(Command::PutVhost(spec), NOW, Box::new(|_| {})).unwrap().is_ok());
    node
}

fn declare(node: &Node, durable: bool) -> QueueId {
    let declare = QueueDeclare {
        vhost: "/".into(),
        name: "q".into(),
        server_named: false,
        durable,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Table::new(),
        user: "guest".into(),
        id: None,
    };
    match node.propose(Command::DeclareQueue(declare), NOW, Box::new(|_| {})) {
        Some(Ok(Outcome::QueueDeclared { queue, .. })) => queue.id,
        other => panic!("{other:?}"),
    }
}

fn heard(number: u64) -> Frame {
    Frame::Heard { number }
}

#[test]
fn a_new_queue_is_led_where_it_was_declared_until_its_node_starts_again() {
    let node = node();
    let queue = declare(&node, true);
    assert_eq!(node.leader_of(queue), Leads::Here);
    let again = ClusterCommand::Register { node: NodeId(1), store: StoreMark(1), durable: 0 };
    node.decide(again, NOW, Box::new(|decided| assert!(decided.is_ok())));
    // What is led by a later start of this node is not led by this one.
    assert_eq!(node.leader_of(queue), Leads::Nobody);
    let fence =
        ClusterCommand::Fence { node: NodeId(1), incarnation: Incarnation(3), lease_over: true };
    node.decide(fence, NOW, Box::new(|decided| assert!(decided.is_ok())));
    let elsewhere = declare_elsewhere(&node);
    assert_eq!(node.leader_of(elsewhere), Leads::There(NodeId(2)));
}

/// While node 1 is fenced, new queues are led by node 2.
fn declare_elsewhere(node: &Node) -> QueueId {
    let delete = Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None };
    assert!(node.propose(delete, NOW, Box::new(|_| {})).unwrap().is_ok());
    declare(node, true)
}

#[test]
fn a_transient_queue_is_led_here() {
    let node = node();
    assert_eq!(node.leader_of(declare(&node, false)), Leads::Here);
}

#[test]
fn frames_for_nodes_that_are_not_connected_are_dropped() {
    let node = node();
    let waker = Waker::noop();
    node.send_frame(NodeId(2), heard(1));
    assert!(node.take_frames(waker).is_empty());
    node.peer_up(NodeId(2), Incarnation(2), NOW);
    node.peer_up(NodeId(3), Incarnation(3), NOW);
    // What every node is told first.
    assert_eq!(node.take_frames(waker).len(), 2);
    node.send_frame(NodeId(2), heard(2));
    node.send_frame(NodeId(3), heard(3));
    node.send_frame(NodeId(2), heard(4));
    node.peer_down(NodeId(3), NOW);
    let frames = node.take_frames(waker);
    assert_eq!(frames, [(NodeId(2), heard(2)), (NodeId(2), heard(4))]);
}
