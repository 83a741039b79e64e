//! What one client of this node has published to one queue and no answer has come for: numbered, and kept until it is
//! settled, so that it can be sent again to whoever leads the queue next.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_cluster::replication::Incarnation;
use leveret_cluster::replication::SessionId;
use leveret_engine::queue::effects::answers;
use leveret_engine::seq::RangeSet;
use leveret_engine::{
    Block, ChannelKey, ConfirmRun, ConnectionId, Incoming, SettleOutcome, Settled,
};
use smallvec::SmallVec;

use crate::connections::Handle;

/// Bytes of messages that one connection may have under way to other nodes, or to queues with several copies. Beyond
/// it the connection is not read until some are settled: as much as a fast network and a fast disk have under way.
pub(crate) const UNSETTLED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that the node itself (dead letters, replays) may have under way to one queue: what comes beyond it is refused.
const OWN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an entry takes besides its messages.
const ENTRY_BYTES: usize = 128;

/// How a queue names the publisher of a session when it answers. No channel of a client has the number 0.
pub(crate) fn key_of(session: SessionId) -> ChannelKey {
    ChannelKey {
        connection: ConnectionId(session.channel),
        number: 0,
        incarnation: session.incarnation.0 as u32,
    }
}

/// The session that a queue has named, if it is one.
pub(crate) fn session_of(channel: ChannelKey) -> Option<SessionId> {
    (channel.number == 0 && channel.incarnation > 0).then(|| SessionId {
        incarnation: Incarnation(u64::from(channel.incarnation)),
        channel: channel.connection.0,
    })
}

/// The publishes of one session to one queue.
pub(crate) struct Publisher {
    pub(crate) session: SessionId,
    /// The connection; `None` is the node itself.
    handle: Option<Arc<Handle>>,
    /// The number of the next.
    next: u64,
    /// The numbers that are not settled.
    open: RangeSet,
    /// Oldest first; each has something that is not settled, or one before it has.
    sent: VecDeque<Sent>,
    bytes: usize,
    /// How many of them were handed to the present leader.
    handed: usize,
    /// Whether there will be no more.
    pub(crate) ended: bool,
}

struct Sent {
    first: u64,
    block: Arc<Block>,
    confirms: SmallVec<[ConfirmRun; 2]>,
    bytes: usize,
}

impl Sent {
    fn end(&self) -> u64 {
        self.first + u64::from(self.block.len())
    }
}

/// Messages for the leader.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) session: SessionId,
    /// All behind this one and before `first` are settled.
    pub(crate) after: u64,
    /// The number of the first.
    pub(crate) first: u64,
    pub(crate) block: Arc<Block>,
    /// Which records of the block.
    pub(crate) records: std::ops::Range<u32>,
}

impl Publisher {
    pub(crate) fn new(session: SessionId, handle: Option<Arc<Handle>>) -> Self {
        Self {
            session,
            handle,
            next: 1,
            open: RangeSet::new(),
            sent: VecDeque::new(),
            bytes: 0,
            handed: 0,
            ended: false,
        }
    }

    /// Takes messages; gives back those that there is no room for.
    pub(crate) fn push(&mut self, incoming: Incoming) -> Option<Incoming> {
        let n = incoming.block.len();
        let bytes = incoming.block.memory() + ENTRY_BYTES;
        if self.handle.is_none() && self.bytes + bytes > OWN_BYTES_MAX {
            return Some(incoming);
        }
        let first = self.next;
        self.next += u64::from(n);
        self.open.insert(first..self.next);
        self.bytes += bytes;
        if let Some(handle) = &self.handle {
            handle.unsettled.add(bytes);
        }
        let Incoming { block, confirms } = incoming;
        self.sent.push_back(Sent { first, block: Arc::new(block), confirms, bytes });
        None
    }

    /// The next messages that the leader has not been sent: one run, or several where some between them are settled.
    pub(crate) fn hand_over(&mut self) -> SmallVec<[Outgoing; 1]> {
        let mut runs = SmallVec::new();
        while runs.is_empty() {
            let Some(sent) = self.sent.get(self.handed) else { break };
            self.handed += 1;
            let mut at = sent.first;
            while at < sent.end() {
                let (end, open) = self.open.stretch(at..sent.end());
                if open {
                    let record = |number: u64| (number - sent.first) as u32;
                    runs.push(Outgoing {
                        session: self.session,
                        after: self.open_before(at),
                        first: at,
                        block: Arc::clone(&sent.block),
                        records: record(at)..record(end),
                    });
                }
                at = end;
            }
        }
        runs
    }

    /// The last number before this one that is not settled; 0 if there is none.
    fn open_before(&self, number: u64) -> u64 {
        let before = self.open.iter().take_while(|range| range.start < number).last();
        before.map_or(0, |range| range.end.min(number) - 1)
    }

    /// Whether the leader has not been sent everything.
    pub(crate) fn has_more(&self) -> bool {
        self.handed < self.sent.len()
    }

    /// Somebody else leads, or something was lost on the way: everything that is not settled goes out again.
    pub(crate) fn begin_again(&mut self) {
        self.handed = 0;
    }

    /// Takes an answer; what clients and letters are to know of it goes to `told`. What is settled already is not told
    /// again.
    pub(crate) fn settle(
        &mut self,
        first: u64,
        n: u32,
        outcome: SettleOutcome,
        told: &mut Vec<Settled>,
    ) {
        let end = first.saturating_add(u64::from(n)).min(self.next);
        let mut at = first;
        while at < end {
            let (stop, open) = self.open.stretch(at..end);
            if open {
                self.open.remove(at..stop);
                self.tell(at..stop, outcome, told);
            }
            at = stop;
        }
        self.forget_settled();
    }

    fn tell(&self, numbers: std::ops::Range<u64>, outcome: SettleOutcome, told: &mut Vec<Settled>) {
        let from = self.sent.partition_point(|sent| sent.end() <= numbers.start);
        for sent in self.sent.range(from..).take_while(|sent| sent.first < numbers.end) {
            let record = |number: u64| (number.clamp(sent.first, sent.end()) - sent.first) as u32;
            let records = record(numbers.start)..record(numbers.end);
            told.extend(answers(&sent.confirms, records, outcome));
        }
    }

    fn forget_settled(&mut self) {
        let first_open = self.open.first().map_or(self.next, |range| range.start);
        let mut freed = 0;
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.end() <= first_open) {
            freed += sent.bytes;
            self.handed = self.handed.saturating_sub(1);
        }
        self.free(freed);
    }

    fn free(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(handle) = self.handle.as_ref().filter(|_| bytes > 0)
            && handle.unsettled.take(bytes)
        {
            handle.mailbox.end_rest();
        }
    }

    /// Whether everything is settled.
    pub(crate) fn is_done(&self) -> bool {
        self.sent.is_empty()
    }

    /// The queue is gone: that is how its deletion answers what was outstanding.
    // rabbitmq: publisher confirms
    pub(crate) fn settle_all(&mut self, told: &mut Vec<Settled>) {
        while let Some(range) = self.open.first() {
            self.open.remove(range.clone());
            self.tell(range, SettleOutcome::Accepted, told);
        }
        self.forget_settled();
    }
}

#[cfg(test)]
mod tests {
    use leveret_engine::{Body, NewRecord};

    use super::*;

    const SESSION: SessionId = SessionId { incarnation: Incarnation(3), channel: 9 };
    const CHANNEL: ChannelKey =
        ChannelKey { connection: ConnectionId(9), number: 1, incarnation: 1 };

    fn incoming(n: u32, first_tag: u64) -> Incoming {
        let mut block = Block::new();
        for _ in 0..n {
            block.push(&NewRecord {
                address: &[0, 0],
                properties: &[0, 0],
                persistent: false,
                priority: 0,
                expires_at: None,
                body: Body::Inline(b"x"),
            });
        }
        let run = ConfirmRun { first_record: 0, n, channel: CHANNEL, first_tag };
        Incoming { block, confirms: SmallVec::from_iter([run]) }
    }

    fn push(publisher: &mut Publisher, n: u32, first_tag: u64) {
        assert!(publisher.push(incoming(n, first_tag)).is_none());
    }

    fn handed(publisher: &mut Publisher) -> Vec<(u64, u64, u32)> {
        let mut all = Vec::new();
        while publisher.has_more() {
            let runs = publisher.hand_over();
            all.extend(
                runs.iter().map(|run| (run.after, run.first, run.records.end - run.records.start)),
            );
        }
        all
    }

    #[test]
    fn what_is_not_settled_goes_to_the_next_leader_in_order_and_is_answered_once() {
        let mut publisher = Publisher::new(SESSION, None);
        push(&mut publisher, 3, 11);
        push(&mut publisher, 4, 14);
        assert_eq!(handed(&mut publisher), [(0, 1, 3), (3, 4, 4)]);
        assert!(!publisher.has_more());
        let mut told = Vec::new();
        publisher.settle(2, 4, SettleOutcome::Accepted, &mut told);
        publisher.settle(3, 1, SettleOutcome::Accepted, &mut told);
        let tags =
            |told: &[Settled]| told.iter().map(|told| (told.first_tag, told.n)).collect::<Vec<_>>();
        assert_eq!(tags(&told), [(12, 2), (14, 2)]);
        publisher.begin_again();
        assert_eq!(handed(&mut publisher), [(0, 1, 1), (1, 6, 2)]);
        told.clear();
        publisher.settle(1, 7, SettleOutcome::Accepted, &mut told);
        assert_eq!(tags(&told), [(11, 1), (16, 2)]);
        assert!(publisher.is_done() && publisher.bytes == 0);
    }

    #[test]
    fn what_was_settled_before_is_left_out_at_the_front() {
        let mut publisher = Publisher::new(SESSION, None);
        push(&mut publisher, 2, 1);
        assert_eq!(handed(&mut publisher).len(), 1);
        publisher.settle(1, 2, SettleOutcome::Rejected, &mut Vec::new());
        push(&mut publisher, 1, 3);
        publisher.begin_again();
        assert_eq!(handed(&mut publisher), [(0, 3, 1)]);
    }

    #[test]
    fn what_the_node_itself_has_under_way_is_limited() {
        let mut publisher = Publisher::new(SESSION, None);
        publisher.bytes = OWN_BYTES_MAX;
        assert!(publisher.push(incoming(1, 1)).is_some());
        assert!(publisher.is_done());
    }

    #[test]
    fn the_name_of_a_session_is_read_back() {
        assert_eq!(session_of(key_of(SESSION)), Some(SESSION));
        assert_eq!(session_of(CHANNEL), None);
    }
}
