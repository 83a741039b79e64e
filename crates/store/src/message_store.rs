//! The contract of the message store. Whoever implements it passes `suite`; whoever uses it relies
//! on what is written here and on nothing else.

use bytes::Bytes;

use crate::{
    Batch, BodyId, ChunkIndex, ChunkKey, Figures, Gcn, ReadError, Slot, StoreError, StoreId,
};

/// A passive object: every call does its work in the caller's thread and returns when it is done.
///
/// **Atomic and ordered.** A batch takes effect as a whole. After a crash the store holds a prefix of what was
/// written: all batches up to some group commit and nothing of those after it.
///
/// **Durable.** That prefix contains everything up to the last number that [`sync`](Self::sync)
/// returned. What was written later may be there or not.
///
/// **Visible.** What [`write`](Self::write) returned for is what reads answer, durable or not.
///
/// **Numbered.** Group commits count up by one. A number that was durable never comes back with
/// other content, also after a crash, a restore or a repair.
///
/// **Checked.** Every record, chunk, checkpoint and body carries a checksum that is verified each time it
/// is read. Damaged bytes are never returned.
///
/// **Failing.** The first write or sync that fails is the last: all later ones answer
/// [`StoreError::Stopped`]. The process should end; the state to go on from is what the next start reads.
///
/// Calls may come from any number of threads. `write` calls exclude each other; a `sync` and any
/// number of reads go on meanwhile.
pub trait MessageStore: Send + Sync {
    /// The name of this store.
    fn id(&self) -> StoreId;

    /// A slot that was never handed out before by this store, also not before a crash. Touches the disk
    /// once in [`crate::SLOT_STEP`] calls.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn allocate_slot(&self) -> Result<Slot, StoreError>;

    /// Writes a batch and gives its number. A batch with nothing in it is not written, and the last
    /// number is the answer.
    ///
    /// # Errors
    /// `Misuse` when the batch breaks the contract of [`Batch`]; nothing is written and the store goes on.
    /// Otherwise the disk's: see *Failing* above.
    fn write(&self, batch: Batch) -> Result<Gcn, StoreError>;

    /// Waits until everything written before the call is on disk, and gives the number up to which that
    /// holds. Without anything new it is cheap. Call it once more when all is quiet: it then
    /// brings the durable marker up to date, which lags by up to [`crate::MARKER_EVERY`].
    ///
    /// # Errors
    /// The disk's: see *Failing* above.
    fn sync(&self) -> Result<Gcn, StoreError>;

    /// The data of a chunk.
    ///
    /// # Errors
    /// `Damaged` and `Missing` concern this chunk alone.
    fn read_chunk(&self, key: &ChunkKey) -> Result<Bytes, ReadError>;

    /// The content of a record; none when it is retired, when it was never written or when its batch had
    /// none.
    ///
    /// # Errors
    /// `Damaged` concerns the log as a whole: a store does not start with it.
    fn read_record(&self, gcn: Gcn) -> Result<Option<Bytes>, ReadError>;

    /// A shared body.
    ///
    /// # Errors
    /// `Damaged` and `Missing` concern this body alone.
    fn read_body(&self, id: &BodyId) -> Result<Bytes, ReadError>;

    /// Shows the newest checkpoint of every slot, by slot. Memory is bounded by the largest.
    ///
    /// # Errors
    /// `Damaged` when one of them is; then the store as a whole has to be repaired.
    fn checkpoints(&self, each: &mut dyn FnMut(Slot, &[u8])) -> Result<(), StoreError>;

    /// Shows the chunks of a slot: highest priority first, then by position, then by group commit. The
    /// data is not read.
    ///
    /// # Errors
    /// `Damaged` when an index entry is; a repair makes it anew from the chunk.
    fn chunk_indexes(
        &self,
        slot: Slot,
        each: &mut dyn FnMut(ChunkKey, ChunkIndex),
    ) -> Result<(), StoreError>;

    /// Shows all records with content that are not retired, oldest first. Memory is bounded by the largest.
    ///
    /// # Errors
    /// `Damaged` when one of them is; then the store as a whole has to be repaired.
    fn records(&self, each: &mut dyn FnMut(Gcn, &[u8])) -> Result<(), StoreError>;

    /// Shows the bodies that a slot refers to.
    ///
    /// # Errors
    /// The disk's.
    fn body_refs(&self, slot: Slot, each: &mut dyn FnMut(BodyId)) -> Result<(), StoreError>;

    /// Counts and sizes. Costs some microseconds.
    fn figures(&self) -> Figures;
}
