//! Direct reply-to: which channel a reply address leads to. Addresses are unguessable and live as long as their consumer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::HashMap;
use leveret_engine::ChannelKey;
use parking_lot::RwLock;

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
    /// Opens an address for `channel`, made of `secret`.
    pub(crate) fn open(&self, channel: ChannelKey, secret: [u8; 16]) -> Arc<str> {
        let token: Arc<str> = Arc::from(URL_SAFE_NO_PAD.encode(secret));
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

    pub(crate) fn find(&self, token: &str) -> Option<ChannelKey> {
        self.inner.read().by_token.get(token).copied()
    }
}
