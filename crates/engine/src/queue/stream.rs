//! What a stream has in place of a head. Its log is that of any queue; nobody takes from it. Each consumer reads it
//! from a position of its own, an ack only makes room for more, and what goes are whole segments, oldest first. Hot path.
//!
//! *Invariant:* a reader is shown only what survives a crash of this node: another message never takes the offset of
//! one that somebody has seen.
// rabbitmq: streams

mod retention;

use super::consumers::Consumer;
use super::effects::{Budget, Delivery};
use super::level::Piece;
use super::ops::Returns;
use super::paging::READ_AHEAD;
use super::{Effects, Queue, Settle, Settlement};
use crate::block::Block;
use crate::ids::{ConsumerId, Seq};
use crate::limits::STREAM_SCAN_RECORDS;
use crate::time::Timestamp;
use leveret_codec::Properties;
use std::sync::Arc;

pub(super) use retention::Segments;

/// The header in which a publisher says by what a message may be filtered.
const FILTER_VALUE: &str = "x-stream-filter-value";

/// The priority of everything in a stream.
const LEVEL: u8 = 0;

/// Where a consumer of a stream begins: `x-stream-offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamOffset {
    /// The oldest message there is.
    First,
    /// The batch that came last.
    Last,
    /// What comes from now on.
    #[default]
    Next,
    /// This position, or the oldest message if that is behind it. One that does not exist yet is
    /// waited for.
    At(u64),
    /// What came at this time or later; what comes from now on if there is none.
    Since(Timestamp),
    /// The same for so many milliseconds ago.
    Ago(u64),
}

/// Which messages of a stream a consumer wants: `x-stream-filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Those with one of these values.
    pub values: Vec<Vec<u8>>,
    /// Those without a value as well: `x-stream-match-unfiltered`.
    pub unfiltered: bool,
}

impl StreamFilter {
    fn wants(&self, properties: &[u8]) -> bool {
        let headers = Properties::new(properties).headers();
        let value = headers.and_then(|headers| headers.get(FILTER_VALUE)?.as_bytes());
        match value {
            Some(value) => self.values.iter().any(|wanted| wanted == value),
            None => self.unfiltered,
        }
    }
}

/// How a consumer reads a stream. Queues of other types do not look at it.
#[derive(Clone, Debug, Default)]
pub struct StreamRead {
    /// Where it begins.
    pub from: StreamOffset,
    /// What it wants; `None` is everything.
    pub filter: Option<Arc<StreamFilter>>,
}

/// How far a consumer has read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The next position that it looks at.
    next: u64,
    /// What came before this time is left out, up to the position where the stream ended when the
    /// reader came.
    since: Option<(Timestamp, u64)>,
}

impl Reader {
    /// How many of the first `n` records of a piece are to be left out, and how many behind them
    /// are to be delivered.
    fn cut(&mut self, piece: &Piece<'_>, n: u32, filter: Option<&StreamFilter>) -> (u32, u32) {
        if self.since.is_some_and(|(_, end)| piece.start >= end) {
            self.since = None;
        }
        let block = piece.block;
        if self.since.is_none() && filter.is_none() && block.holes() == 0 {
            return (0, n);
        }
        let since = self.since;
        let wanted = |at: &u32| {
            let position = piece.start + u64::from(at - piece.first);
            let early = since.is_some_and(|(since, end)| {
                position < end && block.arrived_at(*at).is_some_and(|came| came < since)
            });
            !early
                && !block.is_hole(*at)
                && filter.is_none_or(|filter| filter.wants(block.record(*at).properties()))
        };
        let all = piece.first..piece.first + piece.n.min(STREAM_SCAN_RECORDS);
        let skipped = all.clone().take_while(|at| !wanted(at)).count() as u32;
        let rest = all.start + skipped..all.end;
        (skipped, rest.take_while(wanted).take(n as usize).count() as u32)
    }
}

/// What a reader finds.
enum Ahead {
    /// Something to read.
    Message,
    /// Something that is on its way from disk.
    Loading,
    /// Nothing.
    End,
}

impl Queue {
    /// Whether consumers read it without emptying it.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// The offset of the oldest message, and the one that the next message gets.
    #[must_use]
    pub fn offsets(&self) -> (u64, u64) {
        let level = self.level_index(LEVEL).and_then(|at| self.levels.get(at));
        let Some(level) = level else { return (0, 0) };
        let next = level.next();
        (level.ready_head().map_or(next, |head| head.start), next)
    }

    /// The place where a new consumer begins.
    pub(super) fn reader(&self, from: StreamOffset, now: Timestamp) -> Reader {
        let (first, _) = self.offsets();
        let level = self.level_index(LEVEL).and_then(|at| self.levels.get(at));
        // What is not durable yet is still to come.
        let end = level.map_or(0, |level| level.visible());
        let next = match from {
            StreamOffset::First => first,
            StreamOffset::Last => {
                let last = self.stream.as_ref().map_or(first, |segments| segments.last_batch());
                last.clamp(first, end.max(first))
            }
            StreamOffset::Next => end,
            StreamOffset::At(offset) => offset.max(first),
            StreamOffset::Since(since) => return self.reader_since(since, end),
            StreamOffset::Ago(ms) => {
                return self.reader_since(Timestamp(now.0.saturating_sub(ms)), end);
            }
        };
        Reader { next, since: None }
    }

    /// Begins with the last block that may hold something of that time.
    fn reader_since(&self, since: Timestamp, end: u64) -> Reader {
        let level = self.level_index(LEVEL).and_then(|at| self.levels.get(at));
        let next = level.map_or(end, |level| level.before(since));
        Reader { next, since: Some((since, end)) }
    }

    /// Wakes every reader that has something to read and room for it, and asks for what is not in
    /// memory.
    pub(super) fn wake_readers(&mut self, fx: &mut Effects) {
        if !self.may_deliver {
            return;
        }
        let Some(mut consumers) = self.consumers.take() else { return };
        for consumer in consumers.all_mut().filter(|consumer| consumer.could_read()) {
            if matches!(self.ahead(&mut consumer.reader, fx), Ahead::Message) {
                consumer.wake(fx);
            }
        }
        self.consumers = Some(consumers);
    }

    /// Moves a reader over what is gone, and says what comes then.
    fn ahead(&mut self, reader: &mut Reader, fx: &mut Effects) -> Ahead {
        let Some(at) = self.level_index(LEVEL) else { return Ahead::End };
        let level = &mut self.levels[at];
        let Some(next) = level.live_from(reader.next).filter(|next| *next < level.visible()) else {
            return Ahead::End;
        };
        reader.next = next;
        if level.has_away() {
            level.request(next, 1 + READ_AHEAD, &mut fx.loads);
            if level.is_missing(next) {
                return Ahead::Loading;
            }
        }
        Ahead::Message
    }

    /// Reads on for a consumer, as far as its credit and the budget go. Says whether there may be
    /// more: then the caller has to come again.
    pub(super) fn read(
        &mut self,
        consumer: ConsumerId,
        mut left: Budget,
        out: &mut Vec<Delivery>,
        fx: &mut Effects,
    ) -> bool {
        let Some(mut consumers) = self.consumers.take() else { return false };
        let key = consumers.key(consumer);
        let mut more = false;
        if let Some(consumer) = key.and_then(|key| consumers.get_mut(key)) {
            more = true;
            let mut scanned = 0;
            while more && left.records > 0 && left.bytes > 0 && scanned < STREAM_SCAN_RECORDS {
                match self.read_piece(consumer, &mut left, out, fx) {
                    Some(skipped) => scanned += skipped,
                    None => more = false,
                }
            }
            consumer.set_awake(more);
        }
        self.consumers = Some(consumers);
        more
    }

    /// Reads a run of one block; says how many records were left out before it, or `None` if there
    /// is nothing to read now or no room for it.
    fn read_piece(
        &mut self,
        consumer: &mut Consumer,
        left: &mut Budget,
        out: &mut Vec<Delivery>,
        fx: &mut Effects,
    ) -> Option<u32> {
        let room = consumer.room();
        let may = self.may_deliver && room > 0 && !consumer.is_gone();
        if !may || !matches!(self.ahead(&mut consumer.reader, fx), Ahead::Message) {
            return None;
        }
        let level = &self.levels[self.level_index(LEVEL)?];
        let piece = level.piece(consumer.reader.next..level.visible())?;
        let wanted = piece.n.min(room).min(left.records);
        let filter = consumer.spec.read.filter.as_deref();
        let (skipped, n) = consumer.reader.cut(&piece, wanted, filter);
        let first = piece.first + skipped;
        let n = piece.block.fill(first..first + n, u64::from(left.bytes));
        let n = consumer.take_credit(n);
        let start = piece.start + u64::from(skipped);
        consumer.reader.next = start + u64::from(n);
        if n == 0 {
            return (skipped > 0).then_some(skipped);
        }
        out.push(delivery(piece.block, first, n, start, consumer.spec.id));
        let bytes = piece.block.body_bytes(first..first + n);
        consumer.has_read(n);
        left.records -= n;
        left.bytes = left.bytes.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.stats.delivered += u64::from(n);
        Some(skipped)
    }

    /// Takes acks, which make room for more. To give a message back does the same: it is still there.
    // rabbitmq: streams, basic.ack and basic.nack
    pub(super) fn settle_read(&mut self, settles: &[Settle], fx: &mut Effects) {
        let Some(mut consumers) = self.consumers.take() else { return };
        for settle in settles {
            if settle.how == Settlement::Ack {
                self.stats.acked += u64::from(settle.range.n);
            }
            if let Some(key) = settle.consumer.and_then(|id| consumers.key(id)) {
                consumers.settled(key, settle.range.n);
            }
        }
        self.keep_consumers(consumers);
        self.wake_readers(fx);
    }

    /// The blocks that some reader is at or is about to come to: `n` for each.
    pub(super) fn near_readers(&self, n: usize) -> Vec<(usize, u64)> {
        let Some(at) = self.level_index(LEVEL) else { return Vec::new() };
        let readers = self.consumers.iter().flat_map(|consumers| consumers.all());
        let slots = readers.flat_map(|consumer| {
            let slots = self.levels[at].slots_from(consumer.reader.next);
            slots.take(n).map(move |slot| (at, slot.first()))
        });
        slots.collect()
    }
}

fn delivery(block: &Arc<Block>, first: u32, n: u32, start: u64, to: ConsumerId) -> Delivery {
    Delivery {
        consumer: to,
        block: block.clone(),
        first,
        n,
        first_seq: Seq::new(LEVEL, start),
        redelivered: false,
        returns: Returns::default(),
        from_stream: true,
    }
}
