//! Copies of one queue talking to each other: what is visible, committed and confirmed, and when.

use super::super::{
    ClusterCommand, Effects, Epoch, Happened, ISR_LAG_MS, Incarnation, Message, NodeId, NotLeading,
    OpBytes, Origin, Payload, RESEND_AFTER_MS, Recovered, Replica, SessionId, SyncMode, Ticket,
};
use super::support::{Agreed, Queues};
use leveret_engine::{OpIndex, ParameterValue, QueueMeta, Table, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const SESSION: SessionId = SessionId { incarnation: Incarnation(1), channel: 7 };

/// A cluster whose network and disks work when they are told to.
struct Cluster {
    agreed: Agreed,
    queue: Arc<QueueMeta>,
    copies: BTreeMap<u64, Replica>,
    net: VecDeque<(NodeId, Message)>,
    /// What each node's disk has not done yet.
    writing: BTreeMap<u64, Ticket>,
    happened: BTreeMap<u64, Vec<Happened>>,
    /// Nodes that nobody reaches.
    cut: Vec<u64>,
    /// Disks that do nothing.
    stuck: Vec<u64>,
    n_parts: u32,
    now: Timestamp,
}

impl Cluster {
    /// Nodes 1 to `n` with a copy each; node 1 leads.
    fn new(n: u64, definition: &[(&str, ParameterValue)]) -> Self {
        Self::of(n, Queues::new(definition).declare("q", Table::new()))
    }

    fn of(n: u64, queue: Arc<QueueMeta>) -> Self {
        let mut agreed = Agreed::of(n);
        agreed.add(&queue, 1);
        let mut cluster = Self {
            agreed,
            queue,
            copies: BTreeMap::new(),
            net: VecDeque::new(),
            writing: BTreeMap::new(),
            happened: BTreeMap::new(),
            cut: Vec::new(),
            stuck: Vec::new(),
            n_parts: 1,
            now: Timestamp(1_000),
        };
        for node in 1..=n {
            cluster.open(node, Recovered::default());
        }
        cluster
    }

    fn mirrored(n: u64) -> Self {
        let mut cluster = Self::new(n, &[("ha-mode", "all".into())]);
        cluster.settle();
        cluster
    }

    fn open(&mut self, node: u64, recovered: Recovered) {
        let incarnation = self.agreed.metadata.node(NodeId(node)).unwrap().incarnation;
        let copy = Replica::new(self.queue.id, NodeId(node), incarnation, recovered);
        self.copies.insert(node, copy);
    }

    fn run<R>(
        &mut self,
        node: u64,
        work: impl FnOnce(&mut Replica, Timestamp, &mut Effects) -> R,
    ) -> R {
        let mut fx = Effects::default();
        let out = work(self.copies.get_mut(&node).unwrap(), self.now, &mut fx);
        assert_eq!(fx.fatal, None);
        if let Some(last) = fx.writes.last() {
            self.writing.insert(node, last.ticket);
        }
        self.net.extend(fx.sends);
        self.happened.entry(node).or_default().extend(fx.happened);
        for supply in fx.supplies {
            let last = supply.part + 1 == self.n_parts;
            let state = [u8::try_from(supply.part).unwrap()].into();
            let mut made = Effects::default();
            let copy = self.copies.get_mut(&node).unwrap();
            copy.supply(supply, state, last, self.now, &mut made);
            self.net.extend(made.sends);
        }
        for alteration in fx.alterations {
            // What does not fit any more changes nothing.
            let _ = self.agreed.does(ClusterCommand::Alter(alteration));
        }
        out
    }

    fn reachable(&self) -> Vec<u64> {
        self.copies.keys().copied().filter(|node| !self.cut.contains(node)).collect()
    }

    fn learn_all(&mut self) {
        let record = Arc::new(self.agreed.metadata.queue(self.queue.id).unwrap().clone());
        for node in self.reachable() {
            let registered = self.agreed.metadata.node(NodeId(node)).unwrap().incarnation;
            self.run(node, |copy, now, fx| copy.learn(&record, registered, now, fx));
        }
    }

    /// Everything happens until nothing does.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.learn_all();
            let writing: Vec<_> =
                self.writing.extract_if(.., |node, _| !self.stuck.contains(node)).collect();
            for (node, ticket) in &writing {
                self.run(*node, |copy, now, fx| copy.written(*ticket, now, fx));
            }
            let net = std::mem::take(&mut self.net);
            let quiet = net.is_empty() && writing.is_empty();
            for (to, message) in net {
                if !self.cut.contains(&to.0) && self.copies.contains_key(&to.0) {
                    self.run(to.0, |copy, now, fx| copy.receive(message, now, fx));
                }
            }
            if quiet
                && self.net.is_empty()
                && self.writing.keys().all(|node| self.stuck.contains(node))
            {
                return;
            }
        }
        panic!("it never settles");
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while self.now < end {
            self.now = self.now.plus(100);
            for node in self.reachable() {
                self.run(node, Replica::tick);
            }
            self.settle();
        }
    }

    /// Publishes number `first` to `first + n - 1`, unless they are there.
    fn publish(&mut self, node: u64, first: u64, n: u32) -> Result<u32, NotLeading> {
        let origin = Origin { session: SESSION, first, n };
        let admitted = self.copies[&node].admit(origin).unwrap();
        let n = n - admitted.skip;
        if n > 0 {
            let first = first + u64::from(admitted.skip);
            let origin = Some(Origin { session: SESSION, first, n });
            let op = OpBytes { origin, transient: false, bytes: [1].into() };
            self.run(node, |copy, now, fx| copy.append(op, now, fx))?;
        }
        Ok(admitted.confirmed)
    }

    fn publish_transient(&mut self, node: u64, first: u64) {
        let origin = Some(Origin { session: SESSION, first, n: 1 });
        let op = OpBytes { origin, transient: true, bytes: [2].into() };
        self.run(node, |copy, now, fx| copy.append(op, now, fx)).unwrap();
    }

    /// The last publish that a leader has confirmed.
    fn confirmed(&self, node: u64) -> u64 {
        let of = |happened: &Happened| match happened {
            Happened::Confirmed { first, n, .. } => Some(first + u64::from(*n) - 1),
            _ => None,
        };
        self.happened[&node].iter().filter_map(of).max().unwrap_or(0)
    }

    fn visible(&self, node: u64) -> u64 {
        let of = |happened: &Happened| match happened {
            Happened::Visible(upto) => Some(upto.0),
            _ => None,
        };
        self.happened[&node].iter().filter_map(of).max().unwrap_or(0)
    }

    fn in_sync(&self) -> Vec<u64> {
        let record = self.agreed.metadata.queue(self.queue.id).unwrap();
        let mut nodes: Vec<_> = record.in_sync().map(|node| node.0).collect();
        nodes.sort_unstable();
        nodes
    }

    fn leader(&self) -> Option<(u64, Epoch)> {
        let led = |(node, copy): (&u64, &Replica)| copy.leads().map(|epoch| (*node, epoch));
        self.copies.iter().filter_map(led).max_by_key(|(_, epoch)| *epoch)
    }

    /// The ops of a copy: the publishes it has.
    fn publishes(&self, node: u64) -> Vec<u64> {
        let of = |payload: &Payload| match payload {
            Payload::Op(op) => op.origin.map(|origin| origin.first..=origin.last()),
            _ => None,
        };
        let entries = self.copies[&node].log().entries();
        entries.filter_map(|(_, entry)| of(&entry.payload)).flatten().collect()
    }
}

#[test]
fn a_persistent_publish_is_confirmed_when_it_is_on_all_disks_in_sync() {
    let mut cluster = Cluster::mirrored(3);
    cluster.stuck = vec![3];
    cluster.publish(1, 1, 2).unwrap();
    cluster.settle();
    assert_eq!((cluster.visible(1), cluster.confirmed(1)), (2, 0));
    cluster.stuck.clear();
    cluster.settle();
    assert_eq!(cluster.confirmed(1), 2);
}

#[test]
fn a_transient_publish_is_confirmed_when_all_in_sync_have_received_it() {
    let mut cluster = Cluster::mirrored(2);
    cluster.stuck = vec![1, 2];
    cluster.publish_transient(1, 1);
    assert_eq!(cluster.confirmed(1), 0);
    cluster.settle();
    assert_eq!(cluster.confirmed(1), 1);
}

#[test]
fn a_mirror_that_gets_no_further_is_taken_out_and_comes_back_with_what_it_lacks() {
    let mut cluster = Cluster::mirrored(3);
    cluster.cut = vec![3];
    cluster.publish(1, 1, 1).unwrap();
    cluster.settle();
    assert_eq!((cluster.confirmed(1), cluster.in_sync()), (0, vec![1, 2, 3]));
    cluster.wait(ISR_LAG_MS - 200);
    assert_eq!(cluster.in_sync(), [1, 2, 3]);
    cluster.wait(400);
    assert_eq!((cluster.confirmed(1), cluster.in_sync()), (1, vec![1, 2]));
    cluster.publish(1, 2, 5).unwrap();
    cluster.settle();
    cluster.cut.clear();
    cluster.wait(1_000);
    assert_eq!((cluster.publishes(3), cluster.in_sync()), ((1..=6).collect(), vec![1, 2, 3]));
}

#[test]
fn an_idle_queue_asks_for_nothing() {
    let mut cluster = Cluster::mirrored(3);
    cluster.publish(1, 1, 1).unwrap();
    cluster.wait(2_000);
    assert_eq!(cluster.copies[&1].next_deadline(), None);
    cluster.wait(10 * ISR_LAG_MS);
    assert_eq!(cluster.in_sync(), [1, 2, 3]);
}

#[test]
fn a_mirror_that_missed_what_is_committed_is_told_again() {
    let mut cluster = Cluster::mirrored(2);
    cluster.publish(1, 1, 1).unwrap();
    cluster.settle();
    cluster.now = cluster.now.plus(RESEND_AFTER_MS);
    cluster.run(1, Replica::tick);
    assert!(!cluster.net.is_empty());
    cluster.net.clear();
    cluster.wait(2 * RESEND_AFTER_MS);
    assert_eq!(cluster.copies[&2].commit(), cluster.copies[&1].commit());
    assert_eq!(cluster.copies[&1].next_deadline(), None);
}

#[test]
fn a_leader_says_nothing_before_the_start_of_its_epoch_is_on_its_disk() {
    let mut cluster = Cluster::new(2, &[("ha-mode", "all".into())]);
    cluster.stuck = vec![1];
    cluster.settle();
    cluster.publish(1, 1, 1).unwrap();
    cluster.settle();
    assert!(cluster.copies[&2].log().end().index == OpIndex(0));
    cluster.stuck.clear();
    cluster.settle();
    assert_eq!((cluster.publishes(2), cluster.confirmed(1)), (vec![1], 1));
}

#[test]
fn after_a_failover_a_resent_publish_is_known_and_confirmed_once_it_is_safe() {
    let mut cluster = Cluster::mirrored(3);
    cluster.publish(1, 1, 2).unwrap();
    cluster.wait(1_000);
    // Number 3 reaches everybody, but the leader does not hear of it.
    cluster.publish(1, 3, 1).unwrap();
    cluster.cut = vec![1];
    cluster.settle();
    cluster.agreed.fence(1);
    cluster.settle();
    assert_eq!(cluster.leader(), Some((2, Epoch(2))));
    let confirmed = cluster.publish(2, 1, 4).unwrap();
    assert_eq!(confirmed, 3, "1 and 2 before the failover, 3 with the new epoch");
    cluster.settle();
    assert_eq!(cluster.confirmed(2), 4);
    assert_eq!(cluster.publishes(2), [1, 2, 3, 4]);
    assert_eq!(cluster.publishes(3), [1, 2, 3, 4]);
}

#[test]
fn what_a_deposed_leader_has_alone_is_cut_off_when_it_comes_back() {
    let mut cluster = Cluster::mirrored(3);
    cluster.publish(1, 1, 1).unwrap();
    cluster.settle();
    cluster.cut = vec![1];
    cluster.net.clear();
    cluster.publish(1, 2, 9).unwrap();
    cluster.net.clear();
    cluster.agreed.fence(1);
    cluster.settle();
    cluster.publish(2, 2, 1).unwrap();
    cluster.settle();
    assert_eq!(cluster.confirmed(1), 1);
    cluster.cut.clear();
    cluster.agreed.unfence(1);
    cluster.wait(1_000);
    assert_eq!(cluster.publishes(1), [1, 2]);
    assert_eq!(cluster.in_sync(), [1, 2, 3]);
    assert!(cluster.happened[&1].contains(&Happened::Deposed));
    assert_eq!(cluster.publish(1, 3, 1), Err(NotLeading));
}

#[test]
fn a_deposed_leader_that_knows_nothing_of_it_hears_it_from_its_mirrors() {
    let mut cluster = Cluster::mirrored(3);
    cluster.agreed.fence(1);
    cluster.cut = vec![1];
    cluster.settle();
    cluster.cut.clear();
    // It has not learnt the new record yet.
    cluster.publish(1, 1, 1).unwrap();
    let net = std::mem::take(&mut cluster.net);
    for (to, message) in net {
        cluster.run(to.0, |copy, now, fx| copy.receive(message, now, fx));
    }
    let net = std::mem::take(&mut cluster.net);
    assert!(net.iter().any(|(_, message)| matches!(message, Message::Stale(_))), "{net:?}");
    for (to, message) in net {
        cluster.run(to.0, |copy, now, fx| copy.receive(message, now, fx));
    }
    assert_eq!(cluster.copies[&1].leads(), None);
}

#[test]
fn a_mirror_whose_part_of_the_log_is_gone_is_copied_to_part_by_part() {
    let mut cluster = Cluster::mirrored(3);
    cluster.n_parts = 3;
    cluster.cut = vec![3];
    cluster.publish(1, 1, 4).unwrap();
    cluster.wait(3_000);
    assert_eq!(cluster.in_sync(), [1, 2]);
    let commit = cluster.copies[&1].commit();
    cluster.run(1, |copy, _, _| assert_eq!(copy.retire(commit), commit));
    cluster.cut.clear();
    cluster.wait(2_000);
    cluster.publish(1, 5, 1).unwrap();
    cluster.settle();
    assert_eq!(cluster.in_sync(), [1, 2, 3]);
    let parts = cluster.happened[&3].iter().filter_map(|happened| match happened {
        Happened::Received(part) => Some(part.state.to_vec()),
        _ => None,
    });
    assert_eq!(parts.collect::<Vec<_>>(), [[0], [1], [2]]);
    assert_eq!(cluster.publishes(3), [5]);
    assert_eq!(cluster.copies[&3].log().base().index, commit);
    // It knows the publishes that are in the copy.
    cluster.cut = vec![1, 2];
    cluster.agreed.fence(1);
    cluster.agreed.fence(2);
    cluster.settle();
    assert_eq!(cluster.publish(3, 3, 4), Ok(3));
    assert_eq!(cluster.publishes(3), [5, 6]);
}

#[test]
fn while_a_copy_is_under_way_the_log_behind_it_stays() {
    let mut cluster = Cluster::mirrored(2);
    cluster.n_parts = 2;
    cluster.cut = vec![2];
    cluster.publish(1, 1, 1).unwrap();
    cluster.wait(3_000);
    let copied = cluster.copies[&1].commit();
    cluster.run(1, |copy, _, _| copy.retire(copied));
    cluster.run(1, |copy, now, fx| copy.reconnected(NodeId(2), now, fx));
    cluster.publish(1, 2, 1).unwrap();
    cluster.settle();
    assert!(cluster.copies[&1].commit() > copied);
    let kept = cluster.run(1, |copy, _, _| copy.retire(OpIndex(u64::MAX)));
    assert_eq!(kept, copied);
}

#[test]
fn a_mirror_that_gets_only_what_is_new_is_in_sync_when_what_is_older_is_consumed() {
    let manual = [("ha-mode", "all".into()), ("ha-sync-mode", "manual".into())];
    let mut cluster = Cluster::new(2, &manual);
    cluster.settle();
    cluster.cut = vec![2];
    cluster.publish(1, 1, 3).unwrap();
    cluster.wait(3_000);
    let commit = cluster.copies[&1].commit();
    cluster.run(1, |copy, _, _| copy.retire(commit));
    cluster.run(1, |copy, now, fx| copy.set_oldest_live(OpIndex(2), now, fx));
    cluster.cut.clear();
    cluster.wait(2_000);
    cluster.publish(1, 4, 1).unwrap();
    cluster.wait(1_000);
    assert_eq!((cluster.publishes(2), cluster.in_sync()), (vec![4], vec![1]));
    assert_eq!(cluster.copies[&2].lacks_upto(), commit);
    let after = OpIndex(commit.0 + 1);
    cluster.run(1, |copy, now, fx| copy.set_oldest_live(after, now, fx));
    cluster.settle();
    assert_eq!(cluster.in_sync(), [1, 2]);
    assert_eq!(cluster.copies[&2].lacks_upto(), OpIndex(0));
}

#[test]
fn such_a_mirror_is_copied_to_when_an_operator_asks_for_it() {
    let manual = [("ha-mode", "all".into()), ("ha-sync-mode", "manual".into())];
    let mut cluster = Cluster::new(2, &manual);
    cluster.settle();
    cluster.cut = vec![2];
    cluster.publish(1, 1, 3).unwrap();
    cluster.wait(3_000);
    let commit = cluster.copies[&1].commit();
    cluster.run(1, |copy, _, _| copy.retire(commit));
    cluster.run(1, |copy, now, fx| copy.set_oldest_live(OpIndex(2), now, fx));
    cluster.cut.clear();
    cluster.wait(2_000);
    assert_eq!(cluster.in_sync(), [1]);
    let (queue, mode) = (cluster.queue.id, SyncMode::Copy);
    cluster.agreed.does(ClusterCommand::SetSync { queue, mode }).unwrap();
    cluster.publish(1, 4, 1).unwrap();
    cluster.wait(2_000);
    assert_eq!(cluster.in_sync(), [1, 2]);
    assert!(
        cluster.happened[&2]
            .iter()
            .any(|it| matches!(it, Happened::Received(part) if !part.natural))
    );
}

#[test]
fn a_quorum_queue_confirms_nothing_without_a_majority() {
    let mut arguments = Table::new();
    arguments.insert("x-queue-type", "quorum");
    let queue = Queues::new(&[("max-length", 9.into())]).declare("q", arguments);
    let mut cluster = Cluster::of(3, queue);
    cluster.settle();
    cluster.cut = vec![2];
    cluster.publish(1, 1, 1).unwrap();
    cluster.wait(3_000);
    assert_eq!((cluster.in_sync(), cluster.confirmed(1)), (vec![1, 3], 1));
    cluster.cut = vec![2, 3];
    cluster.publish(1, 2, 1).unwrap();
    cluster.wait(3_000);
    assert_eq!((cluster.in_sync(), cluster.confirmed(1)), (vec![1], 1));
    assert_eq!(cluster.visible(1), 2);
    cluster.cut = vec![2];
    cluster.wait(2_000);
    assert_eq!((cluster.in_sync(), cluster.confirmed(1)), (vec![1, 3], 2));
}

#[test]
fn a_process_that_is_not_the_registered_one_acts_on_nothing() {
    let mut cluster = Cluster::mirrored(2);
    cluster.publish(1, 1, 1).unwrap();
    cluster.settle();
    let old = cluster.copies[&2].clone();
    cluster.agreed.register(2, super::support::store_of(2)).unwrap();
    cluster.copies.insert(2, old);
    cluster.open(2, Recovered::default());
    // The process before this one is still there somewhere; it knows of no record.
    let record = Arc::new(cluster.agreed.metadata.queue(cluster.queue.id).unwrap().clone());
    let mut stale = Replica::new(cluster.queue.id, NodeId(2), Incarnation(1), Recovered::default());
    let mut fx = Effects::default();
    let registered = cluster.agreed.metadata.node(NodeId(2)).unwrap().incarnation;
    stale.learn(&record, registered, cluster.now, &mut fx);
    assert!(stale.record().is_none());
    cluster.run(1, |copy, now, fx| copy.reconnected(NodeId(2), now, fx));
    for (_, message) in &cluster.net {
        stale.receive(message.clone(), cluster.now, &mut fx);
    }
    assert!(fx.sends.is_empty() && fx.writes.is_empty() && stale.log().end().index == OpIndex(0));
}

#[test]
fn after_an_unclean_promotion_the_old_copies_are_set_aside() {
    let always = [("ha-mode", "all".into()), ("ha-promote-on-failure", "always".into())];
    let mut cluster = Cluster::new(2, &always);
    cluster.settle();
    cluster.publish(1, 1, 1).unwrap();
    cluster.wait(1_000);
    cluster.cut = vec![2];
    cluster.publish(1, 2, 1).unwrap();
    cluster.wait(3_000);
    assert_eq!((cluster.in_sync(), cluster.confirmed(1)), (vec![1], 2));
    let rid = cluster.copies[&1].rid();
    cluster.agreed.fence(1);
    cluster.cut = vec![1];
    cluster.settle();
    assert_eq!(cluster.leader().map(|(node, _)| node), Some(2));
    cluster.publish(2, 2, 4).unwrap();
    cluster.settle();
    cluster.cut.clear();
    cluster.agreed.unfence(1);
    cluster.wait(2_000);
    assert!(cluster.happened[&1].contains(&Happened::Quarantined { rid }));
    assert_eq!((cluster.publishes(1), cluster.in_sync()), ((1..=5).collect(), vec![1, 2]));
}

#[test]
fn a_copy_that_started_again_goes_on_with_what_its_disk_has() {
    let mut cluster = Cluster::mirrored(2);
    cluster.publish(1, 1, 2).unwrap();
    cluster.settle();
    let copy = &cluster.copies[&2];
    let entries = copy.log().entries().map(|(_, entry)| entry.clone()).collect();
    let recovered = Recovered { rid: copy.rid(), entries, ..Recovered::default() };
    cluster.agreed.register(2, super::support::store_of(2)).unwrap();
    cluster.open(2, recovered);
    cluster.publish(1, 3, 1).unwrap();
    cluster.settle();
    cluster.wait(1_000);
    assert_eq!((cluster.publishes(2), cluster.in_sync()), (vec![1, 2, 3], vec![1, 2]));
    assert_eq!(cluster.confirmed(1), 3);
}
