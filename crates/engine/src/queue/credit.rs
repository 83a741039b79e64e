//! The limit of unacknowledged messages that the consumers of one channel share
//! (`basic.qos` with `global`). Shared by the channel and every queue it consumes from.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How many more messages the consumers of a channel may be handed together.
///
/// # Contract
///
/// Queues take before they assign and give back when a message is settled or its assignment is
/// undone. A queue that is refused leaves its consumer out until
/// [`credit_changed`](crate::queue::Queue::credit_changed) is called for it; so whoever changes
/// the limit, or settles messages of the channel, asks [`Self::take_refused`] afterwards and if
/// it says yes calls `credit_changed` for every consumer of the channel. Without that call a
/// consumer of another queue would wait forever.
#[derive(Debug, Default)]
pub struct ChannelCredit {
    /// 0 is no limit.
    limit: AtomicU32,
    used: AtomicU32,
    refused: AtomicBool,
}

impl ChannelCredit {
    /// A limit of `limit` messages; 0 is no limit.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit: AtomicU32::new(limit), ..Self::default() }
    }

    /// Sets the limit; 0 removes it. It holds at once, also for what is out already.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// The limit; 0 is none.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::SeqCst)
    }

    /// How many messages are out.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::SeqCst)
    }

    /// Takes up to `n` and says how many were granted. Less than asked is remembered as a refusal.
    pub fn try_take(&self, n: u32) -> u32 {
        let mut granted = self.grant(n);
        if granted < n {
            // Between a failed attempt and the mark somebody may give back and not see the mark.
            self.refused.store(true, Ordering::SeqCst);
            granted += self.grant(n - granted);
        }
        granted
    }

    /// Takes `n` that are out already, whether there is room for them or not.
    pub fn take_beyond(&self, n: u32) {
        let more = |used: u32| Some(used.saturating_add(n));
        // The closure always answers, so this cannot fail.
        let _ = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    fn grant(&self, n: u32) -> u32 {
        let mut granted = 0;
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            let limit = self.limit();
            let room = if limit == 0 { n } else { limit.saturating_sub(used) };
            granted = n.min(room);
            (granted > 0).then(|| used.saturating_add(granted))
        });
        taken.map_or(0, |_| granted)
    }

    /// Gives back `n`.
    pub fn give_back(&self, n: u32) {
        let given = self
            .used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| Some(used.saturating_sub(n)));
        debug_assert!(given.is_ok_and(|used| used >= n), "more credit given back than taken");
    }

    /// Whether a queue was refused since the last call.
    pub fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::SeqCst)
    }
}
