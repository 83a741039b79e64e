//! The segments of a stream, and which of them it forgets: whole ones, oldest first, never the one that is being
//! filled. They are no lasting state: they follow from what is published and what is there after a restart.
// rabbitmq: retention of streams

use super::super::{DropReason, Effects, Op, Queue, push_seq_ranges};
use super::LEVEL;
use crate::record;
use crate::settings::StreamSettings;
use crate::time::Timestamp;
use std::collections::VecDeque;

/// A stretch of a stream that is forgotten as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    /// The position of its first message.
    first: u64,
    bytes: u64,
    /// When its last message came, or a little later.
    last_at: Timestamp,
}

/// The segments of a stream.
#[derive(Debug, Default)]
pub(in crate::queue) struct Segments {
    /// Those that are full, oldest first.
    full: VecDeque<Segment>,
    /// The one that is being filled.
    open: Segment,
    /// Of all of them.
    bytes: u64,
    /// The position of the first message of the batch that came last.
    last_batch: u64,
}

impl Segments {
    pub(super) fn last_batch(&self) -> u64 {
        self.last_batch
    }

    /// Messages were appended; the segment that was being filled may be full.
    pub(in crate::queue) fn appended(
        &mut self,
        first: u64,
        bytes: u64,
        at: Timestamp,
        segment_bytes: u64,
    ) {
        if self.open.bytes > 0 && self.open.bytes >= segment_bytes {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        if self.open.bytes == 0 {
            self.open.first = first;
        }
        self.open.bytes += bytes;
        self.open.last_at = at;
        self.bytes += bytes;
        self.last_batch = first;
    }

    /// Where the full segment at `at` ends.
    fn end(&self, at: usize) -> u64 {
        self.full.get(at + 1).unwrap_or(&self.open).first
    }

    /// Messages below `end` are gone.
    pub(in crate::queue) fn truncated(&mut self, end: u64) {
        while !self.full.is_empty() && self.end(0) <= end {
            self.bytes -= self.full.pop_front().map_or(0, |gone| gone.bytes);
        }
    }

    /// Up to where messages are to go.
    fn excess(&self, settings: &StreamSettings, now: Timestamp) -> Option<u64> {
        // rabbitmq: looked at when a segment is full, before the next one has anything
        let mut kept = self.bytes - self.open.bytes;
        let goes = |segment: &&Segment| {
            let too_much = settings.max_bytes.is_some_and(|max| kept > max);
            let too_old = settings.max_age.is_some_and(|age| segment.last_at.plus(age) <= now);
            kept -= segment.bytes;
            too_much || too_old
        };
        let n = self.full.iter().take_while(goes).count();
        n.checked_sub(1).map(|last| self.end(last))
    }

    /// When the oldest full segment is too old.
    fn deadline(&self, settings: &StreamSettings) -> Option<Timestamp> {
        Some(self.full.front()?.last_at.plus(settings.max_age?))
    }
}

impl Queue {
    /// Forgets what is too much or too old.
    pub(in crate::queue) fn truncate(&mut self, now: Timestamp, fx: &mut Effects) {
        let (Some(segments), Some(settings), true) =
            (&self.stream, &self.settings.stream, self.leads)
        else {
            return;
        };
        let (first, _) = self.offsets();
        let Some(end) = segments.excess(settings, now).filter(|end| *end > first) else { return };
        let mut ranges = Vec::new();
        push_seq_ranges(LEVEL, first..end, &mut ranges);
        for range in ranges {
            self.emit(Op::Drop { range, reason: DropReason::Truncated }, fx);
        }
    }

    /// When [`Self::truncate`] has something to do next.
    pub(in crate::queue) fn truncation_due(&self) -> Option<Timestamp> {
        self.stream.as_ref()?.deadline(self.settings.stream.as_ref()?)
    }

    /// Finds the segments of what a restart brought back.
    pub(in crate::queue) fn find_segments(&mut self) {
        let Some(settings) = self.settings.stream.as_deref().copied() else { return };
        let mut segments = Segments::default();
        let level = self.level_index(LEVEL).and_then(|at| self.levels.get(at));
        for slot in level.iter().flat_map(|level| level.slots()).filter(|slot| slot.is_live()) {
            let amount = slot.amount(&slot.positions());
            let bytes = amount.bytes + amount.n * record::HEAD as u64;
            // What is before it came until then.
            segments.open.last_at = slot.arrived_at();
            segments.appended(slot.first_live(), bytes, slot.arrived_at(), settings.segment_bytes);
        }
        self.stream = Some(Box::new(segments));
    }
}
