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
    since: Timestamp,
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    incarnation: Incarnation,
    last: Timestamp,
    /// Since when it is heard of without a gap.
    steady_since: Timestamp,
    durable: u64,
    noted_at: Timestamp,
}

impl Controller {
    /// This node leads the agreement since now. All nodes count as heard of: it does not know better.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { since: now, heard: BTreeMap::new() }
    }

    /// A node has sent a heartbeat. `durable` is the last group commit that it has on disk.
    pub fn heartbeat(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        durable: u64,
        now: Timestamp,
    ) {
        let fresh = Heard { incarnation, last: now, steady_since: now, durable, noted_at: now };
        let heard = self.heard.entry(node).or_insert(fresh);
        if incarnation > heard.incarnation {
            *heard = fresh;
        }
        if incarnation == heard.incarnation {
            if now.since(heard.last) >= FENCE_AFTER_MS {
                heard.steady_since = now;
            }
            heard.last = now;
            heard.durable = heard.durable.max(durable);
        }
    }

    /// What is to be agreed on now.
    pub fn tick(&mut self, metadata: &Metadata, now: Timestamp) -> Vec<ClusterCommand> {
        let mut commands = Vec::new();
        for (id, node) in metadata.nodes() {
            let incarnation = node.incarnation;
            let heard = self.heard.get_mut(&id).filter(|it| it.incarnation == incarnation);
            let silent_since = heard.as_ref().map_or(self.since, |heard| heard.last);
            let silent = now.since(silent_since);
            if node.is_live() && silent >= FENCE_AFTER_MS {
                commands.push(ClusterCommand::Fence { node: id, incarnation, lease_over: true });
            } else if !node.is_live() && !node.replaced && silent >= REPLACE_AFTER_MS {
                commands.push(ClusterCommand::Replace { node: id });
            }
            let Some(heard) = heard else { continue };
            let steady = silent < FENCE_AFTER_MS && now.since(heard.steady_since) >= STEADY_FOR_MS;
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
