//! What an entry of the database holds once its checksum is right, and a walk that goes on behind
//! damage. For checks and repairs; starting and serving stop at damage.

use super::columns::Column;
use super::db::Db;
use crate::keys::{self, CHUNK_KEY, number};
use crate::{ChunkIndex, ChunkKey, Gcn, Place, ReadError, Slot, frame};

pub(super) fn record(name: &[u8], value: &[u8]) -> Result<(Gcn, usize), ReadError> {
    let gcn = Gcn(number(name).ok_or_else(|| odd_key(Place::Record(Gcn(0)), name))?);
    Ok((gcn, frame::open(Place::Record(gcn), name, value)?))
}

pub(super) fn checkpoint(name: &[u8], value: &[u8]) -> Result<(Slot, usize), ReadError> {
    let slot = Slot(number(name).ok_or_else(|| odd_key(Place::Checkpoint(Slot(0)), name))?);
    Ok((slot, frame::open(Place::Checkpoint(slot), name, value)?))
}

pub(super) fn chunk_index(name: &[u8], value: &[u8]) -> Result<(ChunkKey, ChunkIndex), ReadError> {
    let key = chunk_key(name)?;
    Ok((key, frame::open_index(Place::ChunkIndex(key), name, value)?))
}

pub(super) fn chunk_key(name: &[u8]) -> Result<ChunkKey, ReadError> {
    let none = ChunkKey { slot: Slot(0), priority: 0, first_seq: 0, gcn: Gcn(0) };
    keys::parse_chunk(name).ok_or_else(|| odd_key(Place::ChunkIndex(none), name))
}

fn odd_key(place: Place, name: &[u8]) -> ReadError {
    ReadError::Damaged { place, detail: format!("its key has {} bytes", name.len()) }
}

/// Shows every entry of a column that can be read, and tells of each region that cannot. Between a region and
/// the next entry shown at most as much is passed over as the region is long.
pub(super) fn salvage(
    db: &Db,
    column: Column,
    each: &mut dyn FnMut(&[u8], &[u8]),
    damaged: &mut dyn FnMut(String),
) {
    let mut from = vec![0; key_bytes(column)];
    loop {
        let mut iterator = db.iterator(column, &from, None);
        while let Some((key, value)) = iterator.item() {
            each(key, value);
            from.clear();
            from.extend_from_slice(key);
            iterator.next();
        }
        let Err(error) = iterator.status() else { return };
        damaged(error.to_string());
        match beyond(db, column, &from) {
            Some(next) => from = next,
            None => return,
        }
    }
}

/// The first key behind a damaged region that begins after `last`: keys are tried at doubling distance.
fn beyond(db: &Db, column: Column, last: &[u8]) -> Option<Vec<u8>> {
    for bit in 0..last.len() * 8 {
        let from = plus(last, bit)?;
        let iterator = db.iterator(column, &from, None);
        if let Some(key) = iterator.key() {
            return Some(key.to_vec());
        }
        if iterator.status().is_ok() {
            return None;
        }
    }
    None
}

/// `key` as a number plus 2^`bit`; none when there is no such key.
fn plus(key: &[u8], bit: usize) -> Option<Vec<u8>> {
    let mut sum = key.to_vec();
    let mut carry = 1u16 << (bit % 8);
    for byte in sum.iter_mut().rev().skip(bit / 8) {
        carry += u16::from(*byte);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
        if carry == 0 {
            return Some(sum);
        }
    }
    None
}

fn key_bytes(column: Column) -> usize {
    match column {
        Column::Default => 1,
        Column::Log | Column::Checkpoint => 8,
        Column::Chunk | Column::ChunkIndex => CHUNK_KEY,
        Column::Body => 16,
        Column::BodyRef => super::ref_keys::REF_KEY,
    }
}

#[cfg(test)]
mod tests {
    use super::plus;

    #[test]
    fn keys_are_numbers_of_any_length() {
        assert_eq!(plus(&[0, 255], 0), Some(vec![1, 0]));
        assert_eq!(plus(&[1, 2, 3], 9), Some(vec![1, 4, 3]));
        assert_eq!(plus(&[255, 255], 0), None);
        assert_eq!(plus(&[0, 0], 16), None);
    }
}
