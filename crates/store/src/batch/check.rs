//! Whether a batch keeps its contract. Both implementations ask before they write anything.

use crate::{Batch, Gcn, StoreError};

/// Refuses a batch that breaks the contract; `last` is the number of the batch before it.
pub(crate) fn check(batch: &Batch, last: Gcn) -> Result<(), StoreError> {
    if batch.retire_upto.is_some_and(|upto| upto > last) {
        return Err(StoreError::Misuse("a record is retired that was not written yet"));
    }
    if batch.dropped_chunks.iter().any(|key| key.gcn > last) {
        return Err(StoreError::Misuse("a chunk is dropped that was not written yet"));
    }
    if has_twice(batch.chunks.iter().map(|chunk| chunk.key(Gcn(0)))) {
        return Err(StoreError::Misuse("two chunks of a batch begin at the same position"));
    }
    if has_twice(batch.dropped_chunks.iter().copied()) {
        return Err(StoreError::Misuse("a chunk is dropped twice"));
    }
    if has_twice(batch.body_refs.iter().copied()) {
        return Err(StoreError::Misuse("a slot refers twice to one body"));
    }
    if has_twice(batch.released_refs.iter().copied()) {
        return Err(StoreError::Misuse("a reference is released twice"));
    }
    let referred = |id| batch.body_refs.iter().any(|body_ref| body_ref.id == id);
    if !batch.bodies.iter().all(|body| referred(body.id)) {
        return Err(StoreError::Misuse("a body comes without a reference"));
    }
    Ok(())
}

fn has_twice<T: Ord>(items: impl ExactSizeIterator<Item = T>) -> bool {
    if items.len() < 2 {
        return false;
    }
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.windows(2).any(|pair| pair[0] == pair[1])
}
