//! What is agreed on of nodes and copies: placement, elections, and what is refused.

use super::super::{
    Alteration, ClusterCommand, Epoch, Handover, Incarnation, NodeId, NodeRole, NodeState, Notice,
    QueueRecord, Refusal, ReplicaId, Reply, StoreMark, SyncMode,
};
use super::support::{Agreed, Queues, name_of, store_of};
use leveret_engine::{ParameterValue, QueueId, QueueMeta, Table, Value};
use std::sync::Arc;

fn integer(n: i64) -> ParameterValue {
    n.into()
}

fn names(nodes: &[u64]) -> ParameterValue {
    ParameterValue::List(nodes.iter().map(|node| (&*name_of(*node)).into()).collect())
}

/// Three nodes and one queue under a policy, declared on node 1.
fn with_queue(n: u64, definition: &[(&str, ParameterValue)]) -> (Agreed, Queues, Arc<QueueMeta>) {
    let (mut agreed, mut queues) = (Agreed::of(n), Queues::new(&[("max-length", integer(9))]));
    queues.set(definition);
    let queue = queues.declare("q", Table::new());
    agreed.add(&queue, 1);
    (agreed, queues, queue)
}

impl Agreed {
    fn record(&self, queue: &QueueMeta) -> &QueueRecord {
        self.metadata.queue(queue.id).unwrap()
    }

    /// `1* 2 (3)`: node 1 leads, 2 is in sync, 3 is not.
    fn shape(&self, queue: &QueueMeta) -> String {
        let record = self.record(queue);
        let copy = |replica: &crate::replication::ReplicaRecord| {
            let node = replica.node;
            match (record.is_led_by(node), replica.is_in_sync()) {
                (true, _) => format!("{node}*"),
                (false, true) => node.to_string(),
                (false, false) => format!("({node})"),
            }
        };
        record.replicas.iter().map(copy).collect::<Vec<_>>().join(" ")
    }

    fn leader(&self, queue: &QueueMeta) -> Option<(u64, Epoch)> {
        let record = self.record(queue);
        record.leader.map(|leader| (leader.node.0, record.epoch))
    }

    fn alteration(&self, queue: &QueueMeta, node: u64, in_sync: bool) -> Alteration {
        let record = self.record(queue);
        let leader = record.leader.unwrap();
        Alteration {
            queue: queue.id,
            leader: leader.node,
            incarnation: leader.incarnation,
            epoch: record.epoch,
            cfg: record.cfg,
            node: NodeId(node),
            in_sync,
            node_incarnation: self.metadata.node(NodeId(node)).unwrap().incarnation,
            rid: record.replica(NodeId(node)).unwrap().rid,
        }
    }

    /// The leader finds a mirror in sync, or not.
    fn alter(&mut self, queue: &QueueMeta, node: u64, in_sync: bool) {
        let alteration = self.alteration(queue, node, in_sync);
        assert_eq!(self.does(ClusterCommand::Alter(alteration)), Ok(Reply::Done));
    }
}

#[test]
fn a_policy_says_where_the_copies_of_a_new_queue_are() {
    let check = |definition: &[(&str, ParameterValue)], shape: &str| {
        let (agreed, _, queue) = with_queue(3, definition);
        assert_eq!(agreed.shape(&queue), shape, "{definition:?}");
    };
    check(&[("max-length", integer(1))], "1*");
    check(&[("ha-mode", "all".into())], "1* 2 3");
    check(&[("ha-mode", "exactly".into()), ("ha-params", integer(2))], "1* 2");
    check(&[("ha-mode", "exactly".into()), ("ha-params", integer(9))], "1* 2 3");
    check(&[("ha-mode", "nodes".into()), ("ha-params", names(&[3, 2]))], "3* 2");
    check(&[("ha-mode", "nodes".into()), ("ha-params", names(&[3, 1]))], "1* 3");
    check(&[("ha-mode", "nodes".into()), ("ha-params", names(&[7]))], "1*");
}

#[test]
fn a_witness_holds_no_messages() {
    let mut agreed = Agreed::of(2);
    agreed.join(3, NodeRole::Witness);
    let queue = Queues::new(&[("ha-mode", "all".into())]).declare("q", Table::new());
    agreed.add(&queue, 3);
    let mut nodes: Vec<_> = agreed.record(&queue).in_sync().collect();
    nodes.sort();
    assert_eq!(nodes, [NodeId(1), NodeId(2)]);
    let refused = agreed.does(ClusterCommand::AddReplica { queue: queue.id, node: NodeId(3) });
    assert_eq!(refused, Err(Refusal::IsWitness(NodeId(3))));
}

#[test]
fn a_quorum_queue_has_three_copies_and_wants_a_majority_of_them() {
    let (mut agreed, mut queues) = (Agreed::of(5), Queues::new(&[("max-length", integer(9))]));
    let mut arguments = Table::new();
    arguments.insert("x-queue-type", "quorum");
    let queue = queues.declare("q", arguments.clone());
    agreed.add(&queue, 2);
    assert_eq!(agreed.record(&queue).min_in_sync, 2);
    assert_eq!(agreed.record(&queue).in_sync().count(), 3);
    arguments.insert("x-quorum-initial-group-size", Value::Int(5));
    let five = queues.declare("five", arguments);
    agreed.add(&five, 2);
    assert_eq!(agreed.record(&five).min_in_sync, 3);
    assert!(agreed.record(&five).is_led_by(NodeId(2)));
}

#[test]
fn leaders_are_spread_when_that_is_asked_for() {
    let locator = ("queue-leader-locator", "balanced".into());
    let (mut agreed, mut queues) = (Agreed::of(3), Queues::new(&[locator]));
    for n in 0..9 {
        let queue = queues.declare(&format!("q{n}"), Table::new());
        agreed.add(&queue, 1);
    }
    let leads: Vec<_> = agreed.metadata.nodes().map(|(_, node)| node.n_leaders).collect();
    assert_eq!(leads, [3, 3, 3]);
}

#[test]
fn the_oldest_copy_in_sync_is_promoted_when_a_node_fails() {
    let (mut agreed, _, queue) = with_queue(3, &[("ha-mode", "all".into())]);
    assert_eq!(agreed.leader(&queue), Some((1, Epoch(1))));
    agreed.fence(1);
    assert_eq!(agreed.shape(&queue), "(1) 2* 3");
    assert_eq!(agreed.leader(&queue), Some((2, Epoch(2))));
    let (from, to) = (Some(NodeId(1)), Some(NodeId(2)));
    let changed = Notice::LeaderChanged { queue: queue.id, from, to };
    assert!(agreed.changes.notices.contains(&changed), "{:?}", agreed.changes);
    assert!(agreed.changes.notices.contains(&Notice::NodeDown(NodeId(1))));
    agreed.fence(3);
    assert_eq!(agreed.shape(&queue), "(1) 2* (3)");
    // The last one stays in sync whatever happens: it has all that was confirmed.
    agreed.fence(2);
    assert_eq!(agreed.shape(&queue), "(1) 2 (3)");
    assert_eq!(agreed.leader(&queue), None);
    agreed.unfence(1);
    assert_eq!(agreed.leader(&queue), None);
    agreed.unfence(2);
    assert_eq!(agreed.leader(&queue), Some((2, Epoch(3))));
}

#[test]
fn a_node_that_has_started_again_leads_in_another_epoch_if_at_all() {
    let (mut agreed, _, queue) = with_queue(2, &[("ha-mode", "all".into())]);
    let before = agreed.record(&queue).leader.unwrap();
    agreed.register(1, store_of(1)).unwrap();
    assert_eq!(agreed.leader(&queue), Some((2, Epoch(2))));
    agreed.fence(1);
    agreed.register(2, store_of(2)).unwrap();
    assert_eq!(agreed.leader(&queue), Some((2, Epoch(3))));
    assert!(agreed.record(&queue).leader.unwrap().incarnation > before.incarnation);
    assert_eq!(agreed.record(&queue).handover, Handover::Settled);
}

#[test]
fn a_node_with_another_disk_is_in_sync_with_nothing() {
    let (mut agreed, _, queue) = with_queue(3, &[("ha-mode", "all".into())]);
    agreed.register(2, StoreMark(99)).unwrap();
    assert_eq!(agreed.shape(&queue), "1* (2) 3");
    assert!(agreed.changes.notices.contains(&Notice::NodeLostData(NodeId(2))));
    let node = NodeId(3);
    let incarnation = agreed.metadata.node(node).unwrap().incarnation;
    agreed.does(ClusterCommand::NoteDurable { node, incarnation, durable: 70 }).unwrap();
    agreed.does(ClusterCommand::Register { node, store: store_of(3), durable: 70 }).unwrap();
    assert_eq!(agreed.shape(&queue), "1* (2) 3");
    // The same disk as it was last week.
    agreed.does(ClusterCommand::Register { node, store: store_of(3), durable: 69 }).unwrap();
    assert_eq!(agreed.shape(&queue), "1* (2) (3)");
}

#[test]
fn a_queue_whose_last_copy_in_sync_lost_its_disk_is_lost_until_an_operator_decides() {
    let (mut agreed, _, queue) = with_queue(2, &[("ha-mode", "all".into())]);
    agreed.fence(2);
    agreed.register(1, StoreMark(99)).unwrap();
    assert_eq!(agreed.leader(&queue), None);
    assert!(agreed.changes.notices.contains(&Notice::QueueLost(queue.id)));
    agreed.unfence(2);
    assert_eq!(agreed.leader(&queue), None);
    let old = agreed.record(&queue).replica(NodeId(1)).unwrap().rid;
    let promote = ClusterCommand::PromoteStale { queue: queue.id, node: NodeId(2) };
    assert_eq!(agreed.does(promote.clone()), Ok(Reply::Done));
    assert_eq!(agreed.shape(&queue), "(1) 2*");
    let unclean = Notice::UncleanPromotion { queue: queue.id, to: NodeId(2) };
    assert!(agreed.changes.notices.contains(&unclean));
    let record = agreed.record(&queue);
    assert_eq!(record.lineage, 1);
    assert!(record.replica(NodeId(1)).unwrap().rid > old, "what it holds is set aside");
    assert_eq!(agreed.does(promote), Err(Refusal::HasLeader(queue.id)));
}

#[test]
fn a_copy_that_is_not_in_sync_is_promoted_only_if_the_policy_wants_it() {
    let all = ("ha-mode", "all".into());
    let always = ("ha-promote-on-failure", "always".into());
    let truth = ("ha-promote-on-failure", ParameterValue::Bool(true));
    for (definition, leader) in [
        (vec![all.clone()], None),
        (vec![all.clone(), always], Some(2)),
        (vec![all, truth], Some(2)),
    ] {
        let (mut agreed, _, queue) = with_queue(2, &definition);
        agreed.alter(&queue, 2, false);
        agreed.fence(1);
        assert_eq!(agreed.leader(&queue).map(|(node, _)| node), leader, "{definition:?}");
        assert_eq!(agreed.record(&queue).lineage, u32::from(leader.is_some()));
    }
}

#[test]
fn a_controlled_stop_follows_its_own_rule() {
    let all = ("ha-mode", "all".into());
    let always = ("ha-promote-on-shutdown", "always".into());
    for (definition, leader) in [(vec![all.clone()], None), (vec![all, always], Some(2))] {
        let (mut agreed, _, queue) = with_queue(2, &definition);
        agreed.alter(&queue, 2, false);
        agreed.does(ClusterCommand::Drain { node: NodeId(1) }).unwrap();
        assert_eq!(agreed.leader(&queue), Some((1, Epoch(1))));
        agreed.fence(1);
        assert_eq!(agreed.metadata.node(NodeId(1)).unwrap().state, NodeState::Stopped);
        assert_eq!(agreed.leader(&queue).map(|(node, _)| node), leader, "{definition:?}");
    }
}

#[test]
fn a_node_that_is_about_to_stop_hands_over_what_it_leads() {
    let (mut agreed, _, queue) = with_queue(3, &[("ha-mode", "all".into())]);
    agreed.does(ClusterCommand::Drain { node: NodeId(2) }).unwrap();
    agreed.does(ClusterCommand::Drain { node: NodeId(1) }).unwrap();
    assert_eq!(agreed.shape(&queue), "1 2 3*");
    // Nobody stays: it may as well stay where it is.
    agreed.does(ClusterCommand::Drain { node: NodeId(3) }).unwrap();
    assert_eq!(agreed.leader(&queue).map(|(_, epoch)| epoch), Some(Epoch(3)));
}

#[test]
fn a_change_of_the_copies_counts_only_for_what_its_leader_knew() {
    let (mut agreed, _, queue) = with_queue(3, &[("ha-mode", "all".into())]);
    agreed.alter(&queue, 3, false);
    let add = agreed.alteration(&queue, 3, true);
    let outdated = [
        Alteration { epoch: Epoch(9), ..add },
        Alteration { cfg: crate::replication::Cfg(1), ..add },
        Alteration { leader: NodeId(2), ..add },
        Alteration { incarnation: Incarnation(9), ..add },
    ];
    for wanted in outdated {
        assert_eq!(agreed.does(ClusterCommand::Alter(wanted)), Err(Refusal::Outdated(queue.id)));
    }
    let stale = [
        Alteration { rid: ReplicaId(99), ..add },
        Alteration { node_incarnation: Incarnation(1), ..add },
    ];
    for wanted in stale {
        let wanted = Alteration { cfg: agreed.record(&queue).cfg, ..wanted };
        assert_eq!(agreed.does(ClusterCommand::Alter(wanted)), Ok(Reply::Declined));
    }
    // It is not in sync, so that its failure changes nothing of the record.
    agreed.fence(3);
    let add = agreed.alteration(&queue, 3, true);
    assert_eq!(agreed.does(ClusterCommand::Alter(add)), Ok(Reply::Declined));
    agreed.unfence(3);
    // What was declined does not come true when it comes again.
    let outdated = Err(Refusal::Outdated(queue.id));
    assert_eq!(agreed.does(ClusterCommand::Alter(add)), outdated);
    agreed.alter(&queue, 3, true);
    assert_eq!(agreed.shape(&queue), "1* 2 3");
    let itself =
        Alteration { cfg: agreed.record(&queue).cfg, ..agreed.alteration(&queue, 1, false) };
    let refused = Err(Refusal::LeadsQueue { queue: queue.id, node: NodeId(1) });
    assert_eq!(agreed.does(ClusterCommand::Alter(itself)), refused);
}

#[test]
fn a_new_policy_adds_copies_and_drops_others_when_all_that_are_wanted_are_in_sync() {
    let (mut agreed, mut queues, queue) = with_queue(3, &[("max-length", integer(1))]);
    let applied = queues.set(&[("ha-mode", "nodes".into()), ("ha-params", names(&[2, 3]))]);
    agreed.follow(&applied, 1);
    assert_eq!(agreed.shape(&queue), "1* (2) (3)");
    agreed.alter(&queue, 3, true);
    // The leader is not listed: a listed copy takes over, and it stays until all of them are in sync.
    assert_eq!(agreed.shape(&queue), "1 (2) 3*");
    agreed.alter(&queue, 2, true);
    assert_eq!(agreed.shape(&queue), "2 3*");
    let applied = queues.set(&[("max-length", integer(1))]);
    agreed.follow(&applied, 1);
    assert_eq!(agreed.shape(&queue), "3*");
}

#[test]
fn fewer_copies_are_those_in_sync() {
    let (mut agreed, mut queues, queue) = with_queue(3, &[("ha-mode", "all".into())]);
    agreed.alter(&queue, 2, false);
    let applied = queues.set(&[("ha-mode", "exactly".into()), ("ha-params", integer(2))]);
    agreed.follow(&applied, 1);
    assert_eq!(agreed.shape(&queue), "1* 3");
}

#[test]
fn a_copy_that_is_away_for_long_is_made_elsewhere() {
    let exactly = [("ha-mode", "exactly".into()), ("ha-params", integer(2))];
    let (mut agreed, _, queue) = with_queue(3, &exactly);
    agreed.fence(2);
    assert_eq!(agreed.shape(&queue), "1* (2)");
    agreed.does(ClusterCommand::Replace { node: NodeId(2) }).unwrap();
    assert_eq!(agreed.shape(&queue), "1* (2) (3)");
    agreed.alter(&queue, 3, true);
    assert_eq!(agreed.shape(&queue), "1* 3");
    agreed.unfence(2);
    assert_eq!(agreed.shape(&queue), "1* 3");
}

#[test]
fn a_node_that_joins_gets_a_copy_of_what_is_on_all_nodes() {
    let (mut agreed, _, queue) = with_queue(2, &[("ha-mode", "all".into())]);
    agreed.join(3, NodeRole::Data);
    assert_eq!(agreed.shape(&queue), "1* 2 (3)");
    let mode = SyncMode::Natural;
    agreed.does(ClusterCommand::SetSync { queue: queue.id, mode }).unwrap();
    let role = agreed.record(&queue).replica(NodeId(3)).unwrap().role;
    assert_eq!(role, crate::replication::ReplicaRole::Learner(SyncMode::Natural));
}

#[test]
fn a_node_is_forgotten_only_if_it_is_down_and_nothing_is_lost_with_it() {
    let (mut agreed, _, queue) = with_queue(3, &[("ha-mode", "all".into())]);
    let forget = |node| ClusterCommand::Forget { node: NodeId(node) };
    assert_eq!(agreed.does(forget(3)), Err(Refusal::NodeIsUp(NodeId(3))));
    agreed.fence(3);
    assert_eq!(agreed.does(forget(3)), Ok(Reply::Done));
    assert_eq!(agreed.shape(&queue), "1* 2");
    assert_eq!(agreed.does(forget(3)), Err(Refusal::NoSuchNode(NodeId(3))));
    agreed.fence(2);
    agreed.fence(1);
    let only = Refusal::OnlyCopies { node: NodeId(1), n_queues: 1 };
    assert_eq!(agreed.does(forget(1)), Err(only));
    // A number is never given again.
    let (name, addresses, role) = (name_of(3), Vec::new(), NodeRole::Data);
    let again = agreed.does(ClusterCommand::AddNode { name, addresses, role });
    assert_eq!(again, Ok(Reply::Added(NodeId(4))));
}

#[test]
fn a_name_is_taken_once() {
    let mut agreed = Agreed::of(1);
    let (name, addresses, role) = (name_of(1), Vec::new(), NodeRole::Data);
    let refused = agreed.does(ClusterCommand::AddNode { name, addresses, role }).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a node named 'rabbit@1' is in the cluster already; leave or forget it first"
    );
}

#[test]
fn rebalancing_moves_leaders_to_copies_in_sync_until_all_nodes_lead_as_many() {
    let (mut agreed, mut queues) = (Agreed::of(3), Queues::new(&[("ha-mode", "all".into())]));
    for n in 0..12 {
        let queue = queues.declare(&format!("q{n}"), Table::new());
        agreed.add(&queue, 1);
    }
    let moves = agreed.metadata.rebalance(usize::MAX);
    assert_eq!(moves.len(), 8);
    assert_eq!(agreed.metadata.rebalance(3).len(), 3);
    for command in moves {
        assert_eq!(agreed.does(command), Ok(Reply::Done));
    }
    let leads: Vec<_> = agreed.metadata.nodes().map(|(_, node)| node.n_leaders).collect();
    assert_eq!(leads, [4, 4, 4]);
    assert!(agreed.metadata.rebalance(usize::MAX).is_empty());
}

#[test]
fn members_of_a_quorum_queue_are_added_and_dropped_by_hand() {
    let (mut agreed, mut queues) = (Agreed::of(4), Queues::new(&[("max-length", integer(9))]));
    let mut arguments = Table::new();
    arguments.insert("x-queue-type", "quorum");
    let meta = queues.declare("q", arguments);
    agreed.add(&meta, 1);
    let queue = meta.id;
    assert_eq!(agreed.shape(&meta), "1* 2 3");
    agreed.does(ClusterCommand::AddReplica { queue, node: NodeId(4) }).unwrap();
    // One that only begins to learn does not make the majority larger.
    assert_eq!((agreed.shape(&meta), agreed.record(&meta).min_in_sync), ("1* 2 3 (4)".into(), 2));
    agreed.alter(&meta, 4, true);
    assert_eq!(agreed.record(&meta).min_in_sync, 3);
    agreed.does(ClusterCommand::DropReplica { queue, node: NodeId(2) }).unwrap();
    assert_eq!((agreed.shape(&meta), agreed.record(&meta).min_in_sync), ("1* 3 4".into(), 2));
    let leads = Err(Refusal::LeadsQueue { queue, node: NodeId(1) });
    assert_eq!(agreed.does(ClusterCommand::DropReplica { queue, node: NodeId(1) }), leads);
    let nobody = ClusterCommand::AddReplica { queue: QueueId(99), node: NodeId(1) };
    assert_eq!(agreed.does(nobody), Err(Refusal::NoSuchQueue(QueueId(99))));
}

#[test]
fn counts_of_copies_and_leaders_are_those_of_the_records() {
    let (mut agreed, mut queues, _) = with_queue(3, &[("ha-mode", "all".into())]);
    for n in 0..5 {
        let queue = queues.declare(&format!("q{n}"), Table::new());
        agreed.add(&queue, 1 + n % 3);
    }
    agreed.fence(1);
    let applied = queues.set(&[("ha-mode", "exactly".into()), ("ha-params", integer(2))]);
    agreed.follow(&applied, 1);
    agreed.unfence(1);
    agreed.register(2, StoreMark(5)).unwrap();
    for (id, node) in agreed.metadata.nodes() {
        let records = || agreed.metadata.queues().map(|(_, record)| record);
        let copies = records().filter(|record| record.replica(id).is_some()).count() as u64;
        let leads = records().filter(|record| record.is_led_by(id)).count() as u64;
        assert_eq!((node.n_replicas, node.n_leaders), (copies, leads), "{id}");
    }
}

#[test]
fn the_agreed_state_is_read_as_it_was_written() {
    let (mut agreed, ..) = with_queue(3, &[("ha-mode", "all".into())]);
    agreed.fence(2);
    let bytes = postcard::to_allocvec(&agreed.metadata).unwrap();
    let read: crate::replication::Metadata = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read, agreed.metadata);
}

#[test]
fn a_node_that_is_alone_has_no_records() {
    let mut agreed = Agreed::default();
    let queue = Queues::new(&[("ha-mode", "all".into())]).declare("q", Table::new());
    agreed.metadata.follow(
        &[leveret_engine::command::Change::QueueAdded(queue.clone())],
        NodeId(0),
        &mut agreed.changes,
    );
    assert!(agreed.metadata.queue(queue.id).is_none());
    // When it founds a cluster, what it has gets a record there.
    agreed.join(1, NodeRole::Data);
    agreed.add(&queue, 1);
    assert_eq!(agreed.shape(&queue), "1*");
}
