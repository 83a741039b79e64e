//! Keys of references to shared bodies. Each reference is there twice: found by body, to see who still
//! needs it, and found by slot, to release what a dropped queue held.

use crate::keys::number;
use crate::{BodyId, Slot};

pub(super) const REF_KEY: usize = 25;

/// Which of the two orders a key has.
const BY_BODY: u8 = 0;
const BY_SLOT: u8 = 1;

pub(super) fn by_body(id: BodyId, slot: Slot) -> [u8; REF_KEY] {
    let mut bytes = [BY_BODY; REF_KEY];
    bytes[1..17].copy_from_slice(&id.0);
    bytes[17..].copy_from_slice(&slot.0.to_be_bytes());
    bytes
}

pub(super) fn by_slot(id: BodyId, slot: Slot) -> [u8; REF_KEY] {
    let mut bytes = [BY_SLOT; REF_KEY];
    bytes[1..9].copy_from_slice(&slot.0.to_be_bytes());
    bytes[9..].copy_from_slice(&id.0);
    bytes
}

/// The slot at the end of a key in body order.
pub(super) fn parse_by_body(bytes: &[u8]) -> Option<(BodyId, Slot)> {
    if bytes.len() != REF_KEY || bytes[0] != BY_BODY {
        return None;
    }
    Some((BodyId(bytes[1..17].try_into().ok()?), Slot(number(&bytes[17..])?)))
}

/// The body at the end of a key in slot order.
pub(super) fn parse_by_slot(bytes: &[u8]) -> Option<(BodyId, Slot)> {
    if bytes.len() != REF_KEY || bytes[0] != BY_SLOT {
        return None;
    }
    Some((BodyId(bytes[9..].try_into().ok()?), Slot(number(&bytes[1..9])?)))
}
