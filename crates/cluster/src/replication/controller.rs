//! Who is alive, as the node that leads the agreement sees it: it fences nodes that are not heard of, and takes them back.
//!
//! What it decides are commands like any other. Two nodes that both believe they lead the agreement do no harm: only one of
//! them can have a command agreed on.

use super::ids::{Incarnation, NodeId};
use super::metadata::{ClusterCommand, Metadata};
use leveret_engine::Timestamp;
use std::collections::BTreeMap;

/// How often every node sends a heartbeat, in milliseconds.
pub const HEARTBEAT_MS: u64 = 500;

/// How long a node is not heard of before it is fenced, in milliseconds: longer than [`LEASE_MS`](super::LEASE_MS), so that
/// it has stopped delivering by itself.
pub const FENCE_AFTER_MS: u64 = 4_000;

/// How long a node that was fenced has to be heard of before it is taken back, in milliseconds: one that comes and goes
/// would only move leaders about.
const STEADY_FOR_MS: u64 = 2_000;

/// How long a node is away before copies that policies count are made elsewhere, in milliseconds.
// rabbitmq: ha-mode exactly, which does so at once
pub const REPLACE_AFTER_MS: u64 = 60_000;

/// A record on disk that is older than this is written again, in milliseconds: what a node may lose of its disk without
/// its being noticed after the controller has changed.
const NOTE_DURABLE_AFTER_MS: u64 = 10_000;

/// What the node that leads the agreement knows of the others.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    incarnation: Incarnation,
    /// When it was last heard of, or first expected.
    last: Timestamp,
    /// Whether it was heard of at all.
    alive: bool,
    /// Since when it is heard of without a gap.
    steady_since: Timestamp,
    durable: u64,
    noted_at: Timestamp,
}

impl Heard {
    /// A node of which nothing was heard yet.
    fn expected(incarnation: Incarnation, now: Timestamp) -> Self {
        Self { incarnation, last: now, alive: false, steady_since: now, durable: 0, noted_at: now }
    }
}

impl Controller {
    /// This node begins to lead the agreement. All nodes count as heard of when it first looks: it does not know better.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node has sent a heartbeat. `durable` is the last group commit that it has on disk.
    pub fn heartbeat(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        durable: u64,
        now: Timestamp,
    ) {
        let heard = self.heard.entry(node).or_insert_with(|| Heard::expected(incarnation, now));
        if incarnation > heard.incarnation {
            *heard = Heard::expected(incarnation, now);
        }
        if incarnation == heard.incarnation {
            if !heard.alive || now.since(heard.last) >= FENCE_AFTER_MS {
                heard.steady_since = now;
            }
            (heard.alive, heard.last) = (true, now);
            heard.durable = heard.durable.max(durable);
        }
    }

    /// What is to be agreed on now.
    pub fn tick(&mut self, metadata: &Metadata, now: Timestamp) -> Vec<ClusterCommand> {
        let mut commands = Vec::new();
        for (id, node) in metadata.nodes() {
            let incarnation = node.incarnation;
            // A process that has registered just now has had no time for a heartbeat.
            let heard = self.heard.entry(id).or_insert_with(|| Heard::expected(incarnation, now));
            if heard.incarnation < incarnation {
                *heard = Heard::expected(incarnation, now);
            }
            let silent = now.since(heard.last);
            if node.is_live() && silent >= FENCE_AFTER_MS {
                commands.push(ClusterCommand::Fence { node: id, incarnation, lease_over: true });
            } else if !node.is_live() && !node.replaced && silent >= REPLACE_AFTER_MS {
                commands.push(ClusterCommand::Replace { node: id });
            }
            let steady = heard.alive
                && silent < FENCE_AFTER_MS
                && now.since(heard.steady_since) >= STEADY_FOR_MS;
            if !node.is_live() && steady {
                commands.push(ClusterCommand::Unfence { node: id, incarnation });
            }
            if heard.durable > node.durable && now.since(heard.noted_at) >= NOTE_DURABLE_AFTER_MS {
                heard.noted_at = now;
                let durable = heard.durable;
                commands.push(ClusterCommand::NoteDurable { node: id, incarnation, durable });
            }
        }
        commands
    }

    /// The last group commit that a node has told of. If it starts with less, that is to be noted before it registers, so
    /// that rule R3 takes it for the loss that it is.
    #[must_use]
    pub fn last_durable(&self, node: NodeId) -> Option<u64> {
        self.heard.get(&node).map(|heard| heard.durable)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::support::Agreed;
    use super::*;

    const NODES: u64 = 3;

    /// What the controller does about nodes 1 to 3 over some time, of which those in `heard` send heartbeats.
    fn runs(
        controller: &mut Controller,
        agreed: &mut Agreed,
        heard: &[u64],
        ms: std::ops::Range<u64>,
    ) -> Vec<String> {
        let mut done = Vec::new();
        for now in ms.step_by(500).map(Timestamp) {
            for node in heard.iter().copied().map(NodeId) {
                let incarnation = agreed.metadata.node(node).unwrap().incarnation;
                controller.heartbeat(node, incarnation, 100 + now.0, now);
            }
            for command in controller.tick(&agreed.metadata, now) {
                done.push(match &command {
                    ClusterCommand::Fence { node, .. } => format!("{} fence {node}", now.0),
                    ClusterCommand::Unfence { node, .. } => format!("{} unfence {node}", now.0),
                    ClusterCommand::Replace { node } => format!("{} replace {node}", now.0),
                    ClusterCommand::NoteDurable { node, durable, .. } => {
                        format!("{} note {node} {durable}", now.0)
                    }
                    other => format!("{other:?}"),
                });
                agreed.does(command).unwrap();
            }
        }
        done
    }

    #[test]
    fn a_node_is_fenced_when_it_is_silent_and_taken_back_when_it_is_steady() {
        let (mut agreed, mut controller) = (Agreed::of(NODES), Controller::new());
        assert!(runs(&mut controller, &mut agreed, &[1, 2, 3], 0..5_000).is_empty());
        let silent = runs(&mut controller, &mut agreed, &[1, 2], 5_000..9_500);
        assert_eq!(silent, ["8500 fence 3"]);
        let back = runs(&mut controller, &mut agreed, &[1, 2, 3], 9_500..12_500);
        let notes = ["10000 note 1 10100", "10000 note 2 10100", "10000 note 3 10100"];
        assert_eq!(back[..3], notes);
        assert_eq!(back[3..], ["11500 unfence 3"]);
    }

    #[test]
    fn a_new_controller_takes_all_nodes_for_heard_of() {
        let (mut agreed, mut controller) = (Agreed::of(NODES), Controller::new());
        let done = runs(&mut controller, &mut agreed, &[1, 2], 50_000..55_000);
        assert_eq!(done, ["54000 fence 3"]);
    }

    #[test]
    fn a_process_that_has_just_registered_is_given_time_for_its_first_heartbeat() {
        let (mut agreed, mut controller) = (Agreed::of(NODES), Controller::new());
        assert!(runs(&mut controller, &mut agreed, &[1, 2, 3], 0..9_500).is_empty());
        agreed.register(3, super::super::tests::support::store_of(3)).unwrap();
        let done = runs(&mut controller, &mut agreed, &[1, 2], 9_500..13_500);
        assert!(done.iter().all(|line| line.contains("note")), "{done:?}");
        let done = runs(&mut controller, &mut agreed, &[1, 2], 13_500..14_000);
        assert_eq!(done, ["13500 fence 3"]);
    }

    #[test]
    fn heartbeats_of_an_earlier_start_count_for_nothing() {
        let (mut agreed, mut controller) = (Agreed::of(NODES), Controller::new());
        let old = agreed.metadata.node(NodeId(1)).unwrap().incarnation;
        agreed.register(1, super::super::tests::support::store_of(1)).unwrap();
        for now in (0..FENCE_AFTER_MS + 1).step_by(500).map(Timestamp) {
            controller.heartbeat(NodeId(1), old, 1, now);
        }
        assert!(controller.tick(&agreed.metadata, Timestamp(0)).is_empty());
        let commands = controller.tick(&agreed.metadata, Timestamp(FENCE_AFTER_MS));
        let fenced = |command: &ClusterCommand| {
            matches!(command, ClusterCommand::Fence { node: NodeId(1), .. })
        };
        assert!(commands.iter().any(fenced), "{commands:?}");
    }

    #[test]
    fn a_node_that_is_away_for_long_is_replaced_once() {
        let (mut agreed, mut controller) = (Agreed::of(NODES), Controller::new());
        let done = runs(&mut controller, &mut agreed, &[1, 2], 0..90_000);
        let about_3: Vec<_> = done.iter().filter(|line| line.ends_with(" 3")).collect();
        assert_eq!(about_3, ["4000 fence 3", "60000 replace 3"]);
    }
}
