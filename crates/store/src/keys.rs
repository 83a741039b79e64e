//! Keys as bytes. Big-endian, so that the order of the bytes is the order that is meant: slots
//! together, high priorities first, then by position. Both implementations use them.

use crate::{ChunkKey, Gcn, Slot};

pub(crate) const CHUNK_KEY: usize = 25;

pub(crate) fn chunk(key: &ChunkKey) -> [u8; CHUNK_KEY] {
    let mut bytes = [0; CHUNK_KEY];
    bytes[..8].copy_from_slice(&key.slot.0.to_be_bytes());
    bytes[8] = 255 - key.priority;
    bytes[9..17].copy_from_slice(&key.first_seq.to_be_bytes());
    bytes[17..].copy_from_slice(&key.gcn.0.to_be_bytes());
    bytes
}

pub(crate) fn parse_chunk(bytes: &[u8]) -> Option<ChunkKey> {
    let bytes: &[u8; CHUNK_KEY] = bytes.try_into().ok()?;
    Some(ChunkKey {
        slot: Slot(number(&bytes[..8])?),
        priority: 255 - bytes[8],
        first_seq: number(&bytes[9..17])?,
        gcn: Gcn(number(&bytes[17..])?),
    })
}

/// A number of eight bytes; `None` for any other length.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
