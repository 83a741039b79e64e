//! Numbers and byte strings as the disk keeps them: written compactly, read strictly. Whatever the
//! bytes are, reading ends with a value or a [`Damaged`], never with a panic or a large allocation.

use bytes::Bytes;
use std::ops::RangeInclusive;
use thiserror::Error;

/// Stored bytes that cannot have been written by this program: the disk's fault, or ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("stored bytes are damaged at offset {at}: {what}")]
pub struct Damaged {
    /// What is wrong with them.
    pub what: &'static str,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// A number with seven bits to a byte, lowest first; the last byte has its top bit clear.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads stored bytes from the front.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
    /// What the bytes are a part of, so that parts of them can be kept without a copy.
    whole: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len(), whole: None }
    }

    /// Reads bytes of which parts may be kept; they keep the whole.
    pub(crate) fn sharing(bytes: &'a Bytes) -> Self {
        Self { whole: Some(bytes), ..Self::new(bytes) }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error that something is wrong here.
    pub(crate) fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { what, at: self.len - self.rest.len() }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) =
            self.rest.split_first().ok_or_else(|| self.damaged("a byte is missing"))?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number as [`put_varint`] writes it, and only so: not longer than it has to be.
    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number is malformed"))
    }

    /// A number that fits 32 bits.
    pub(crate) fn varint_u32(&mut self) -> Result<u32, Damaged> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.damaged("a number is too large"))
    }

    /// How many items follow, each of at least `item` bytes.
    pub(crate) fn count(&mut self, item: usize) -> Result<usize, Damaged> {
        let n = usize::try_from(self.varint()?).ok();
        n.filter(|n| n.saturating_mul(item) <= self.rest.len())
            .ok_or_else(|| self.damaged("more items are announced than there can be"))
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let (front, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| self.damaged("fewer bytes are left than announced"))?;
        self.rest = rest;
        Ok(front)
    }

    /// Like [`Self::take`], to be kept.
    pub(crate) fn take_bytes(&mut self, n: usize) -> Result<Bytes, Damaged> {
        let whole = self.whole;
        let bytes = self.take(n)?;
        Ok(whole.map_or_else(|| Bytes::copy_from_slice(bytes), |whole| whole.slice_ref(bytes)))
    }

    /// Whether the bytes begin with a version that this program knows.
    pub(crate) fn version(&mut self, known: u8) -> Result<(), Damaged> {
        self.version_of(known..=known).map(|_| ())
    }

    /// The version with which the bytes begin, one of several that this program knows.
    pub(crate) fn version_of(&mut self, known: RangeInclusive<u8>) -> Result<u8, Damaged> {
        let version = self.byte()?;
        let is_known = known.contains(&version);
        is_known.then_some(version).ok_or_else(|| self.damaged("the format version is unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(values in prop::collection::vec(
            prop_oneof![any::<u64>(), 0u64..300, Just(u64::MAX)], 0..9)
        ) {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| put_varint(&mut bytes, *value));
            let mut reader = Reader::new(&bytes);
            for value in &values {
                prop_assert_eq!(reader.varint(), Ok(*value));
            }
            prop_assert!(reader.is_at_end() && reader.byte().is_err());
        }

        #[test]
        fn only_the_shortest_form_of_a_number_is_read(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - reader.rest.len()]);
            }
        }
    }
}
