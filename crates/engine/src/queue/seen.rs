//! Deduplication: a message whose deduplication header a queue has seen is not taken a second time. A header is
//! remembered while its message is in the queue, or, with a window, for a time or a number of others after it came.
// rabbitmq: x-message-deduplication (community plugin)

use super::effects::answers;
use super::effects::{ConfirmRun, Incoming, Outcome};
use super::ops::{Op, OpIndex};
use super::{Effects, Queue};
use crate::block::Block;
use crate::exchange::deduplication::{Key, key_of};
use crate::ids::{Seq, SeqRange};
use crate::limits::SEEN_KEYS_MAX;
use crate::settings::Deduplication;
use crate::time::Timestamp;
use foldhash::{HashMap, HashSet};
use leveret_codec::Properties;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::ops::Range;

/// A header that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenKey {
    /// The position of the message that had it.
    pub at: Seq,
    /// A digest of its value.
    pub key: [u8; 16],
    /// Until when it is remembered; at the end of time while nothing else ends it.
    pub until: Timestamp,
}

/// The headers that a queue remembers.
#[derive(Debug)]
pub(super) struct SeenKeys {
    window: Deduplication,
    keys: HashMap<Key, (Seq, Timestamp)>,
    /// In the order they came, but for priorities.
    order: BTreeMap<Seq, Key>,
    /// The op that remembered last.
    last: OpIndex,
}

impl SeenKeys {
    pub(super) fn new(window: Deduplication) -> Self {
        Self { window, keys: HashMap::default(), order: BTreeMap::new(), last: OpIndex::default() }
    }

    /// Whether headers are remembered longer than their messages are there.
    fn outlives_messages(&self) -> bool {
        self.window.ttl.is_some() || self.window.size.is_some()
    }

    fn has(&self, key: &Key, now: Timestamp) -> bool {
        self.keys.get(key).is_some_and(|(_, until)| *until > now)
    }

    pub(super) fn remember(&mut self, seen: &SeenKey) {
        if let Some((before, _)) = self.keys.insert(seen.key, (seen.at, seen.until)) {
            self.order.remove(&before);
        }
        self.order.insert(seen.at, seen.key);
        let size =
            self.window.size.map_or(SEEN_KEYS_MAX, |size| size.min(SEEN_KEYS_MAX as u64) as usize);
        while self.order.len() > size
            && let Some((_, key)) = self.order.pop_first()
        {
            self.keys.remove(&key);
        }
    }

    /// Messages are done.
    pub(super) fn finished(&mut self, range: SeqRange) {
        if self.outlives_messages() {
            return;
        }
        while let Some((at, key)) = self.order.range(range.first..range.end()).next() {
            let (at, key) = (*at, *key);
            self.order.remove(&at);
            self.keys.remove(&key);
        }
    }

    /// Forgets from the oldest on what is remembered no longer.
    fn forget_expired(&mut self, now: Timestamp) {
        while let Some(first) = self.order.first_entry()
            && self.keys.get(first.get()).is_none_or(|(_, until)| *until <= now)
        {
            self.keys.remove(&first.remove());
        }
    }

    /// All that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = SeenKey> + '_ {
        self.order.iter().filter_map(|(at, key)| {
            let (_, until) = self.keys.get(key)?;
            Some(SeenKey { at: *at, key: *key, until: *until })
        })
    }

    /// How much memory that takes, about.
    pub(super) fn memory(&self) -> usize {
        self.order.len() * 2 * size_of::<SeenKey>()
    }
}

/// What a record is told apart by, if it has a deduplication header.
fn key_at(block: &Block, at: u32) -> Option<Key> {
    key_of(Properties::new(block.record(at).properties()).headers()?)
}

impl Queue {
    /// Takes the messages of a batch that were not seen before; the others are confirmed as if they were taken.
    pub(super) fn publish_unseen(
        &mut self,
        block: &Block,
        confirms: &[ConfirmRun],
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let mut at = 0;
        while at < block.len() {
            let n = self.unseen(block, at, now);
            if n == 0 {
                self.stats.duplicates += 1;
                self.confirm_duplicate(confirms, at, fx);
                at += 1;
                continue;
            }
            let mut part =
                Incoming { confirms: part_of(confirms, at..at + n), ..Incoming::default() };
            part.block.append_from(block, at..at + n);
            self.publish_taken(part, now, fx);
            at += n;
        }
    }

    /// Tells the publisher of a duplicate that the queue has the message, once it surely has.
    fn confirm_duplicate(&mut self, confirms: &[ConfirmRun], at: u32, fx: &mut Effects) {
        let answers = answers(confirms, at..at + 1, Outcome::Accepted);
        let last = self.seen.as_ref().map(|seen| seen.last).unwrap_or_default();
        match &mut self.log {
            Some(log) if self.settings.durable => log.wait_for(last, answers, fx),
            _ => fx.settled.extend(answers),
        }
    }

    /// How many records from `from` on are no duplicates, neither of what was seen nor of each other.
    fn unseen(&mut self, block: &Block, from: u32, now: Timestamp) -> u32 {
        let Some(seen) = &mut self.seen else { return block.len() - from };
        seen.forget_expired(now);
        let mut fresh = HashSet::default();
        let is_fresh = |at: &u32| {
            key_at(block, *at).is_none_or(|key| !seen.has(&key, now) && fresh.insert(key))
        };
        (from..block.len()).take_while(is_fresh).count() as u32
    }

    /// Remembers the headers of a block that was appended.
    pub(super) fn remember(
        &mut self,
        first: Seq,
        keys: Vec<(u32, Key)>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let Some(seen) = &self.seen else { return };
        let until = seen.window.ttl.map_or(Timestamp(u64::MAX), |ttl| now.plus(ttl));
        let one = |(at, key): (u32, Key)| SeenKey { at: first.plus(at.into()), key, until };
        let keys: Box<[SeenKey]> = keys.into_iter().map(one).collect();
        if !keys.is_empty() {
            self.emit(Op::Remember(keys), fx);
            let last = self.last_op().unwrap_or_default();
            if let Some(seen) = &mut self.seen {
                seen.last = last;
            }
        }
    }

    /// The headers of a block, if the queue looks at them.
    pub(super) fn keys_in(&self, block: &Block) -> Vec<(u32, Key)> {
        if self.seen.is_none() {
            return Vec::new();
        }
        (0..block.len()).filter_map(|at| Some((at, key_at(block, at)?))).collect()
    }

    /// Takes over what a restart brought back of what was seen.
    pub(super) fn recover_seen(&mut self, all: &[SeenKey]) {
        let Some(mut seen) = self.seen.take() else { return };
        for one in all {
            let level = self.level_index(one.at.level()).map(|at| &self.levels[at]);
            let is_there = level.is_some_and(|level| level.is_live(one.at.index()));
            if is_there || seen.outlives_messages() {
                seen.remember(one);
            }
        }
        self.seen = Some(seen);
    }
}

/// The confirms of some records, told as those of a block of their own.
fn part_of(confirms: &[ConfirmRun], records: Range<u32>) -> SmallVec<[ConfirmRun; 2]> {
    let part = |run: &ConfirmRun| {
        let start = run.first_record.max(records.start);
        let end = (run.first_record + run.n).min(records.end);
        (start < end).then(|| ConfirmRun {
            first_record: start - records.start,
            n: end - start,
            channel: run.channel,
            first_tag: run.first_tag + u64::from(start - run.first_record),
        })
    };
    confirms.iter().filter_map(part).collect()
}
