//! How long a queue may get. Only what is ready counts.

use super::{DropReason, Effects, Queue};
use crate::block::Block;
use crate::settings::Overflow;

impl Queue {
    /// Drops from the head what is too much: the oldest message of the highest priority first.
    // rabbitmq: maxlength, drop-head
    pub(super) fn drop_excess(&mut self, fx: &mut Effects) {
        if self.settings.overflow != Overflow::DropHead || !self.leads {
            return;
        }
        let max_n = self.settings.max_length.unwrap_or(u64::MAX);
        let max_bytes = self.settings.max_length_bytes.unwrap_or(u64::MAX);
        while self.ready.n > max_n || self.ready.bytes > max_bytes {
            let excess_n = self.ready.n.saturating_sub(max_n);
            let excess_bytes = self.ready.bytes.saturating_sub(max_bytes);
            let heads = self.levels.iter().enumerate();
            let Some((at, head)) =
                heads.filter_map(|(at, level)| Some((at, level.ready_head()?))).next()
            else {
                return;
            };
            if self.is_dead_lettered(DropReason::MaxLength)
                && self.levels[at].is_missing(head.start)
            {
                return self.load_from(at, head.start, fx);
            }
            let Some(slot) = self.levels[at].slot(head.start) else { return };
            let here = head.start..head.end.min(slot.end());
            let for_bytes = slot.fill(&here, excess_bytes);
            let n = excess_n.min(here.end - here.start).max(u64::from(for_bytes));
            self.discard(at, here.start..here.start + n, DropReason::MaxLength, fx);
        }
    }

    /// How many records of a block, from `first` on, the queue takes as things stand; `None` if
    /// it takes all of them.
    pub(super) fn fitting(&self, block: &Block, first: u32) -> Option<u32> {
        if self.settings.overflow == Overflow::DropHead {
            return None;
        }
        let rest = first..block.len();
        let room_n =
            self.settings.max_length.map_or(u64::MAX, |max| max.saturating_sub(self.ready.n));
        let room_bytes = self
            .settings
            .max_length_bytes
            .map_or(u64::MAX, |max| max.saturating_sub(self.ready.bytes));
        if u64::from(block.len() - first) <= room_n && block.body_bytes(rest.clone()) <= room_bytes
        {
            return None;
        }
        let n = room_n.min(u64::from(block.len() - first)) as u32;
        let by_bytes = rest.take_while(|at| block.body_bytes(first..at + 1) <= room_bytes);
        Some(by_bytes.take(n as usize).count() as u32)
    }
}
