//! Direct replies to clients of other nodes.

use std::sync::Arc;

use leveret_cluster::replication::NodeId;
use leveret_cluster::replication::wire::proxy::Tell;
use leveret_engine::{Block, ChannelKey};
use leveret_protocol::Event;

use crate::node::Node;
use crate::replies::Replies;

impl Node {
    /// Hands a reply to the channel that waits for it; false if it is gone.
    pub(crate) fn reply_to(&self, channel: ChannelKey, block: Block) -> bool {
        let event = Event::Reply { channel, block };
        self.connections.with(channel.connection, |to| to.mailbox.post(event)).is_some()
    }

    /// The node on which a reply address is, if that is another one that is connected. Whether the address is still there,
    /// it knows alone.
    pub(crate) fn far_reply_node(&self, token: &str) -> Option<NodeId> {
        let me = self.membership()?;
        Replies::node_of(token).filter(|node| *node != me.node && self.remote.is_linked(*node))
    }

    /// Sends a reply to the node of its address; false if there is none.
    pub(crate) fn reply_far(&self, token: &str, block: &Block) -> bool {
        let Some(node) = self.far_reply_node(token) else { return false };
        let block = block.pack(0..block.len()).into();
        self.tell_node(node, Tell::Reply { token: Arc::from(token), block });
        true
    }

    /// A reply has come from another node.
    pub(super) fn replied(&self, from: NodeId, token: &str, block: &[u8]) {
        let Some(channel) = self.replies.find(token) else { return };
        match Block::unpack(block) {
            Ok(block) => {
                self.reply_to(channel, block);
            }
            Err(error) => tracing::error!(node = %from, %error, "a reply that is damaged"),
        }
    }
}
