//! What stands around a value on disk: the bytes, then a crc32c over key and bytes. It is at the
//! end, so that framing appends and never moves what is there. A value that landed under another
//! key fails as surely as one with a flipped bit.

use crate::{ChunkIndex, Place, ReadError};

const CRC: usize = 4;
const INDEX: usize = 37;

/// Appends the checksum to `value`.
pub(crate) fn seal(key: &[u8], value: &mut Vec<u8>) {
    let crc = checksum(key, value);
    value.extend_from_slice(&crc.to_le_bytes());
}

/// The length of what is inside, once its checksum is right.
pub(crate) fn open(place: Place, key: &[u8], value: &[u8]) -> Result<usize, ReadError> {
    let Some((inside, crc)) = value.split_last_chunk::<CRC>() else {
        let detail = format!("{} bytes are too few for a checksum", value.len());
        return Err(ReadError::Damaged { place, detail });
    };
    let (expected, found) = (u32::from_le_bytes(*crc), checksum(key, inside));
    if expected != found {
        let detail = format!("checksum {found:08x} instead of {expected:08x}");
        return Err(ReadError::Damaged { place, detail });
    }
    Ok(inside.len())
}

/// A chunk's value: data, index, checksum. The index is in the index column family as well, where
/// a scan does not touch data; here it lets a repair make that one anew.
pub(crate) fn seal_chunk(key: &[u8], index: &ChunkIndex, data: &mut Vec<u8>) {
    data.extend_from_slice(&encode_index(index));
    seal(key, data);
}

/// The length of a chunk's data and its index, once the checksum is right.
pub(crate) fn open_chunk(
    place: Place,
    key: &[u8],
    value: &[u8],
) -> Result<(usize, ChunkIndex), ReadError> {
    let inside = open(place, key, value)?;
    let index = value[..inside].split_last_chunk::<INDEX>();
    let Some((data, index)) = index else {
        let detail = format!("{inside} bytes are too few for an index");
        return Err(ReadError::Damaged { place, detail });
    };
    Ok((data.len(), decode_index(index)))
}

/// An index entry's value, sealed.
pub(crate) fn seal_index(key: &[u8], index: &ChunkIndex) -> Vec<u8> {
    let mut value = Vec::with_capacity(INDEX + CRC);
    value.extend_from_slice(&encode_index(index));
    seal(key, &mut value);
    value
}

/// The index entry in a sealed value.
pub(crate) fn open_index(place: Place, key: &[u8], value: &[u8]) -> Result<ChunkIndex, ReadError> {
    let inside = open(place, key, value)?;
    let Ok(index) = <&[u8; INDEX]>::try_from(&value[..inside]) else {
        let detail = format!("{inside} bytes instead of {INDEX}");
        return Err(ReadError::Damaged { place, detail });
    };
    Ok(decode_index(index))
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn encode_index(index: &ChunkIndex) -> [u8; INDEX] {
    let mut bytes = [0; INDEX];
    bytes[..4].copy_from_slice(&index.n.to_le_bytes());
    bytes[4..12].copy_from_slice(&index.end_seq.to_le_bytes());
    bytes[12..20].copy_from_slice(&index.bytes.to_le_bytes());
    bytes[20..28].copy_from_slice(&index.min_expiry.to_le_bytes());
    bytes[28..36].copy_from_slice(&index.first_at.to_le_bytes());
    bytes[36] = index.flags;
    bytes
}

fn decode_index(bytes: &[u8; INDEX]) -> ChunkIndex {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    ChunkIndex {
        n: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        end_seq: word(4),
        bytes: word(12),
        min_expiry: word(20),
        first_at: word(28),
        flags: bytes[36],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gcn, Slot};

    const PLACE: Place = Place::Checkpoint(Slot(1));

    #[test]
    fn every_flipped_bit_is_found() {
        let mut value = b"a checkpoint".to_vec();
        seal(b"key", &mut value);
        assert_eq!(open(PLACE, b"key", &value), Ok(12));
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(PLACE, b"key", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_value_under_another_key_is_damaged() {
        let mut value = b"a record".to_vec();
        seal(&1u64.to_be_bytes(), &mut value);
        assert!(open(Place::Record(Gcn(2)), &2u64.to_be_bytes(), &value).is_err());
    }

    #[test]
    fn a_value_cut_short_is_damaged_at_every_length() {
        let mut value = vec![7; 100];
        seal_chunk(b"key", &ChunkIndex { n: 3, ..ChunkIndex::default() }, &mut value);
        let (data, index) = open_chunk(PLACE, b"key", &value).expect("whole");
        assert_eq!((data, index.n), (100, 3));
        for len in 0..value.len() {
            assert!(open_chunk(PLACE, b"key", &value[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn an_index_comes_back_as_it_was() {
        let index = ChunkIndex {
            n: 0x0102_0304,
            end_seq: u64::MAX - 1,
            bytes: 5,
            min_expiry: u64::MAX,
            first_at: 6,
            flags: 0xa5,
        };
        assert_eq!(open_index(PLACE, b"k", &seal_index(b"k", &index)), Ok(index));
    }
}
