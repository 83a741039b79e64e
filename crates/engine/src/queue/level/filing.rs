//! A level's part in checkpoints and paging: which slots are in chunks, which of them are away, and
//! which chunks nothing needs any more.

use super::{Level, Slot};
use crate::ids::Seq;
use crate::queue::checkpoint::{ChunkId, StoredChunk};
use crate::queue::filed::Place;
use crate::queue::level::Finished;
use crate::queue::slot::Kind;
use crate::queue::stats::Amount;
use crate::wire::Damaged;
use bytes::Bytes;
use std::ops::Range;

/// How many slots are looked at where a quick answer is wanted.
const SLOTS_LOOKED_AT: usize = 8;

/// What of a level is on disk, beyond its slots.
#[derive(Debug, Default)]
pub(super) struct LevelDisk {
    /// How many slots have live records that are not in memory.
    away: usize,
    /// Chunks that nothing needs any more.
    dropped: Vec<ChunkId>,
    /// Chunks that are being written and that nothing needs any more: first position, checkpoint.
    dead: Vec<(u64, u64)>,
}

impl LevelDisk {
    /// One more slot has its live records on disk only.
    pub(super) fn note_away(&mut self) {
        self.away += 1;
    }

    /// Nothing needs the chunk of a slot any more.
    fn bury(&mut self, priority: u8, first: u64, place: Place) {
        match place {
            Place::Stored(gcn) => {
                self.dropped.push(ChunkId { first: Seq::new(priority, first), gcn });
            }
            Place::Writing(checkpoint) => self.dead.push((first, checkpoint)),
        }
    }
}

impl Level {
    /// Files the wanted slots that are in no chunk yet. Small ones that are neighbours become one,
    /// and a small chunk before them is written again together with them, if it `may_grow`.
    pub(in crate::queue) fn file(
        &mut self,
        checkpoint: u64,
        may_grow: bool,
        wanted: impl Fn(&Slot) -> bool,
        chunks: &mut Vec<StoredChunk>,
    ) {
        let wanted = |slot: &Slot| slot.can_be_filed() && wanted(slot);
        let Some(first) = self.slots.iter().position(wanted) else { return };
        let again = first.checked_sub(1).filter(|at| {
            if !may_grow {
                return false;
            }
            let before = &self.slots[*at];
            let stored = before.stored_gcn().is_some() && before.block.is_some();
            stored && before.is_small() && before.goes_with(&self.slots[first])
        });
        let mut rest = self.slots.split_off(again.unwrap_or(first));
        let mut open = rest.pop_front();
        if again.is_some()
            && let Some(slot) = &mut open
        {
            self.forget_chunk(slot);
        }
        for slot in rest {
            if !slot.is_live() {
                self.dead -= 1;
            } else if !wanted(&slot) {
                self.close(open.take(), checkpoint, chunks);
                self.slots.push_back(slot);
            } else if let Some(joined) =
                open.take_if(|open| open.is_small() && open.goes_with(&slot))
            {
                open = Some(joined.join(&slot));
            } else {
                self.close(open.replace(slot), checkpoint, chunks);
            }
        }
        self.close(open, checkpoint, chunks);
    }

    fn close(&mut self, slot: Option<Slot>, checkpoint: u64, chunks: &mut Vec<StoredChunk>) {
        if let Some(mut slot) = slot {
            chunks.extend(slot.file(self.priority, checkpoint));
            self.slots.push_back(slot);
        }
    }

    /// Takes a slot for one that is in no chunk.
    fn forget_chunk(&mut self, slot: &mut Slot) {
        if let Some(filed) = slot.filed.take() {
            let disk = self.disk.get_or_insert_default();
            disk.bury(self.priority, slot.first, filed.place);
        }
    }

    pub(in crate::queue) fn take_dropped(&mut self, dropped: &mut Vec<ChunkId>) {
        if let Some(disk) = &mut self.disk {
            dropped.append(&mut disk.dropped);
        }
    }

    /// How many chunks nothing needs any more.
    pub(in crate::queue) fn n_dropped(&self) -> usize {
        self.disk.as_ref().map_or(0, |disk| disk.dropped.len())
    }

    /// Notes a chunk that nothing needs.
    pub(in crate::queue) fn drop_chunk(&mut self, id: ChunkId) {
        self.disk.get_or_insert_default().dropped.push(id);
    }

    /// First positions of chunks that died before they were written.
    pub(in crate::queue) fn dead_while_written(&self) -> impl Iterator<Item = u64> + '_ {
        self.disk.iter().flat_map(|disk| disk.dead.iter().map(|(first, _)| *first))
    }

    /// Notes that a chunk was written; says whether its block is to leave memory.
    pub(in crate::queue) fn stored(&mut self, first: u64, checkpoint: u64, gcn: u64) -> bool {
        if let Some(disk) = &mut self.disk
            && let Some(at) = disk.dead.iter().position(|dead| *dead == (first, checkpoint))
        {
            disk.dead.swap_remove(at);
            self.drop_chunk(ChunkId { first: Seq::new(self.priority, first), gcn });
            return false;
        }
        let at = self.slot_index(first);
        let filed = at.and_then(|at| self.slots[at].filed.as_mut());
        let Some(filed) = filed.filter(|filed| filed.place == Place::Writing(checkpoint)) else {
            return false;
        };
        filed.place = Place::Stored(gcn);
        std::mem::take(&mut filed.leaving)
    }

    /// The first slot with something that only the ops have.
    pub(in crate::queue) fn first_unfiled(&self) -> Option<&Slot> {
        let only_ops = |slot: &&Slot| slot.filed.is_none() && slot.is_live();
        self.slots.iter().filter(only_ops).find(|slot| slot.kind != Kind::Transient)
    }

    /// The op that published the oldest record that is live, or an earlier one.
    pub(in crate::queue) fn oldest_op(&self) -> Option<u64> {
        self.slots.iter().find(|slot| slot.is_live()).map(|slot| slot.first_op)
    }

    /// The first op that may have put something here that only the ops have, seen at the first slots alone; 0 if they do
    /// not tell.
    pub(in crate::queue) fn needs_ops_from(&self) -> u64 {
        let lasting = |slot: &&Slot| slot.is_live() && slot.kind != Kind::Transient;
        match self.slots.iter().take(SLOTS_LOOKED_AT).find(lasting) {
            Some(slot) if slot.filed.is_none() => slot.first_op,
            None if self.slots.len() <= SLOTS_LOOKED_AT => u64::MAX,
            _ => 0,
        }
    }

    /// Slots in chunks of which a restart does not bring back everything.
    pub(in crate::queue) fn filed_partly(&self) -> impl Iterator<Item = &Slot> {
        let filed = self.slots.iter().filter(|slot| slot.filed.is_some() && slot.is_live());
        filed.filter(|slot| slot.kind != Kind::Transient && !slot.lasts_wholly())
    }

    pub(in crate::queue) fn has_away(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.away > 0)
    }

    /// A slot that is in a chunk has no live record any more.
    pub(super) fn filed_slot_died(&mut self, at: usize, was_away: bool) {
        let slot = &mut self.slots[at];
        let (first, Some(filed)) = (slot.first, slot.filed.take()) else { return };
        let disk = self.disk.get_or_insert_default();
        disk.bury(self.priority, first, filed.place);
        disk.away -= usize::from(was_away);
    }

    /// Whether the record at `position` is not in memory.
    pub(in crate::queue) fn is_missing(&self, position: u64) -> bool {
        self.has_away() && self.slot(position).is_some_and(Slot::is_away)
    }

    pub(in crate::queue) fn slot(&self, position: u64) -> Option<&Slot> {
        self.slots.get(self.slot_index(position)?)
    }

    /// The slots from the one of `position` on.
    pub(in crate::queue) fn slots_from(&self, position: u64) -> impl Iterator<Item = &Slot> {
        let from = self.slot_index(position).unwrap_or(self.slots.len());
        self.slots.range(from..)
    }

    pub(in crate::queue) fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Asks for the blocks that are away among the `n` slots from the one of `position` on.
    pub(in crate::queue) fn request(&mut self, position: u64, n: usize, loads: &mut Vec<ChunkId>) {
        let Some(from) = self.slot_index(position) else { return };
        for slot in self.slots.range_mut(from..).take(n).filter(|slot| slot.is_away()) {
            let Some(gcn) = slot.stored_gcn() else { continue };
            if let Some(filed) = slot.filed.as_mut().filter(|filed| !filed.loading) {
                filed.loading = true;
                loads.push(ChunkId { first: Seq::new(self.priority, slot.first), gcn });
            }
        }
    }

    /// Lets the block of the slot at `first` leave memory, now or as soon as it is stored. Says
    /// how many bytes that frees and whether it has left, or `None` if it is in no chunk.
    pub(in crate::queue) fn let_go(&mut self, first: u64) -> Option<(usize, bool)> {
        let at = self.slot_index(first)?;
        let slot = &mut self.slots[at];
        let stored = slot.stored_gcn().is_some();
        let filed = slot.filed.as_mut().filter(|_| slot.block.is_some())?;
        if !stored {
            filed.leaving = true;
            return Some((slot.memory(), false));
        }
        let freed = slot.leave();
        self.disk.get_or_insert_default().note_away();
        Some((freed, true))
    }

    /// The slot that waits for a chunk.
    pub(in crate::queue) fn waits_for(&self, id: ChunkId) -> Option<&Slot> {
        let slot = self.slot(id.first.index())?;
        let loading = slot.filed.as_ref().is_some_and(|filed| filed.loading);
        let same = slot.first == id.first.index() && slot.stored_gcn() == Some(id.gcn);
        (loading && same && slot.is_away()).then_some(slot)
    }

    /// Gives the block of the slot at `first` back.
    pub(in crate::queue) fn come_back(&mut self, first: u64, data: &Bytes) -> Result<(), Damaged> {
        if let Some(at) = self.slot_index(first) {
            self.slots[at].come_back(self.priority, data)?;
            self.disk.get_or_insert_default().away -= 1;
        }
        Ok(())
    }

    /// How much of a stretch of live and done records is ready, and how much is out.
    pub(in crate::queue) fn shares(&self, range: &Range<u64>) -> Finished {
        let mut live = Vec::new();
        self.live_parts(range.clone(), &mut live);
        let mut shares = Finished::default();
        for part in live {
            let mut at = part.start;
            while at < part.end {
                let (stop, ready) = self.ready_stretch(at..part.end);
                let share = if ready { &mut shares.ready } else { &mut shares.out };
                *share += self.amount(at..stop);
                at = stop;
            }
        }
        (shares.dead, shares.delayed) = self.held(range);
        shares.out = shares.out - shares.dead - shares.delayed;
        shares
    }

    /// The longest stretch from the start of `range` that is all ready or not at all.
    fn ready_stretch(&self, range: Range<u64>) -> (u64, bool) {
        if range.start >= self.read {
            return (range.end, true);
        }
        self.returned.stretch(range.start..range.end.min(self.read))
    }

    /// The parts of a live stretch, with whether each is in memory; those that are not lie in one
    /// slot each.
    pub(in crate::queue) fn parts_by_presence(
        &self,
        range: Range<u64>,
        parts: &mut Vec<(Range<u64>, bool)>,
    ) {
        for slot in self.slots_from(range.start).take_while(|slot| slot.first < range.end) {
            let part = range.start.max(slot.first)..range.end.min(slot.end());
            match parts.last_mut() {
                Some((last, true)) if last.end == part.start && !slot.is_away() => {
                    last.end = part.end;
                }
                _ => parts.push((part, !slot.is_away())),
            }
        }
    }

    /// How much is not in memory.
    pub(in crate::queue) fn away(&self) -> Amount {
        let none = Amount::default();
        if !self.has_away() {
            return none;
        }
        let away = self.slots.iter().filter(|slot| slot.is_away());
        away.fold(none, |sum, slot| sum + self.amount_of(slot))
    }

    fn amount_of(&self, slot: &Slot) -> Amount {
        let shares = self.shares(&slot.positions());
        shares.ready + shares.out + shares.dead + shares.delayed
    }
}
