//! Making room: a blob file goes when nothing in it is alive, so a few old chunks can hold many. They
//! are written again, with the same content under the same key, one at a time.

use super::columns::Column;
use super::db::store_error;
use super::{RocksStore, one};
use crate::{ChunkKey, Place, ReadError, StoreError, frame, keys};

/// Chunks looked at in one call, so that sorting them costs little memory.
const CHUNKS_AT_ONCE: usize = 10_000;

/// Less garbage than this is not worth reading anything for.
const GARBAGE_FROM: u64 = 128 << 20;

/// What collecting did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Collected {
    /// Chunks that were written again.
    pub chunks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Damaged chunks that were stepped over; reading them tells.
    pub damaged: u64,
}

pub(super) fn collect(store: &RocksStore, bytes: u64) -> Result<Collected, StoreError> {
    let mut done = Collected::default();
    let garbage = store.db.property(Column::Chunk, "rocksdb.live-blob-file-garbage-size");
    let all = store.db.property(Column::Chunk, "rocksdb.live-blob-file-size");
    if garbage < GARBAGE_FROM || garbage < all / 2 {
        return Ok(done);
    }
    rewrite_oldest(store, bytes, &mut done)?;
    Ok(done)
}

/// The oldest are in the oldest files, which have most of the garbage.
pub(super) fn rewrite_oldest(
    store: &RocksStore,
    bytes: u64,
    done: &mut Collected,
) -> Result<(), StoreError> {
    let oldest = store.writer.lock().chunks.oldest(CHUNKS_AT_ONCE);
    for key in oldest {
        if done.bytes >= bytes {
            break;
        }
        match rewrite(store, &key) {
            Ok(Some(bytes)) => {
                done.chunks += 1;
                done.bytes += bytes;
            }
            Ok(None) => {}
            Err(ReadError::Store(error)) => return Err(error),
            Err(ReadError::Damaged { .. } | ReadError::Missing { .. }) => done.damaged += 1,
        }
    }
    Ok(())
}

/// Under the writer's lock, so that the chunk is not dropped in between.
fn rewrite(store: &RocksStore, key: &ChunkKey) -> Result<Option<u64>, ReadError> {
    let writer = store.writer.lock();
    store.go_on()?;
    if !writer.chunks.contains(key) {
        return Ok(None);
    }
    let (place, name) = (Place::Chunk(*key), keys::chunk(key));
    let value = one(place, Column::Chunk, store.db.get(Column::Chunk, &name))?;
    frame::open_chunk(place, &name, &value)?;
    let put = store.db.db.put_cf(store.db.handle(Column::Chunk), name, &value);
    put.map_err(|error| store.stop(store_error("collecting chunks", &error)))?;
    Ok(Some(value.len() as u64))
}
