//! A node's own view of whether it is still counted among the living. Rule R14: without a lease it delivers nothing from
//! replicated queues, since somebody else may have been made their leader.
//!
//! It is about delivering twice only. What is confirmed is safe without any clock.

use leveret_engine::Timestamp;
use std::collections::VecDeque;

/// How long a node may deliver after it has *sent* a heartbeat that was answered, in milliseconds. The node that leads the
/// agreement fences no one earlier than [`FENCE_AFTER_MS`](super::FENCE_AFTER_MS) after it *received* one: the
/// difference is what the clocks of two machines may drift apart in that time, with much to spare.
pub const LEASE_MS: u64 = 2_500;

/// Heartbeats that wait for an answer, at most; older ones are as good as lost.
const UNANSWERED_MAX: usize = 16;

/// The lease of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    until: Timestamp,
    sent: VecDeque<(u64, Timestamp)>,
    last: u64,
}

impl Lease {
    /// A heartbeat leaves now; answers with its number.
    pub fn sent(&mut self, now: Timestamp) -> u64 {
        self.last += 1;
        if self.sent.len() >= UNANSWERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.last, now));
        self.last
    }

    /// A heartbeat was answered, by a node that was the leader of the agreement after it had received it.
    pub fn answered(&mut self, number: u64) {
        while let Some((of, at)) = self.sent.pop_front_if(|(of, _)| *of <= number) {
            if of == number {
                self.until = self.until.max(at.plus(LEASE_MS));
            }
        }
    }

    /// Whether the node may deliver now.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// When it ends.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_when_the_answered_heartbeat_was_sent() {
        let mut lease = Lease::default();
        assert!(!lease.is_valid(Timestamp(0)));
        let first = lease.sent(Timestamp(1_000));
        let second = lease.sent(Timestamp(1_500));
        lease.answered(first);
        assert!(lease.is_valid(Timestamp(3_499)) && !lease.is_valid(Timestamp(3_500)));
        lease.answered(second);
        assert_eq!(lease.until(), Timestamp(4_000));
    }

    #[test]
    fn answers_to_heartbeats_that_were_not_sent_count_for_nothing() {
        let mut lease = Lease::default();
        let first = lease.sent(Timestamp(1_000));
        lease.answered(first + 5);
        assert!(!lease.is_valid(Timestamp(1_001)));
    }
}
