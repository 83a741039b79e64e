//! Direct reply-to: which channel a reply address leads to. Addresses are unguessable and live as long as their consumer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::HashMap;
use leveret_cluster::replication::NodeId;
use leveret_engine::ChannelKey;
use parking_lot::RwLock;

/// What ends the number of the node in an address; in no secret.
const NODE_END: char = '.';

#[derive(Default)]
pub(crate) struct Replies {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_token: HashMap<Arc<str>, ChannelKey>,
    by_channel: HashMap<ChannelKey, Arc<str>>,
}

impl Replies {
    /// Opens an address for `channel`, made of `secret`; in a cluster it says on which node it is.
    pub(crate) fn open(
        &self,
        channel: ChannelKey,
        secret: [u8; 16],
        node: Option<NodeId>,
    ) -> Arc<str> {
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let token: Arc<str> = match node {
            Some(node) => format!("{node}{NODE_END}{secret}").into(),
            None => secret.into(),
        };
        let mut inner = self.inner.write();
        inner.by_token.insert(Arc::clone(&token), channel);
        if let Some(old) = inner.by_channel.insert(channel, Arc::clone(&token)) {
            inner.by_token.remove(&old);
        }
        token
    }

    pub(crate) fn close(&self, channel: ChannelKey) {
        let mut inner = self.inner.write();
        if let Some(token) = inner.by_channel.remove(&channel) {
            inner.by_token.remove(&token);
        }
    }

    /// The node on which an address is, if it says so.
    pub(crate) fn node_of(token: &str) -> Option<NodeId> {
        token.split_once(NODE_END)?.0.parse().ok().map(NodeId)
    }

    pub(crate) fn find(&self, token: &str) -> Option<ChannelKey> {
        self.inner.read().by_token.get(token).copied()
    }
}
