//! The bytes of one message as a queue keeps it, and a view of them. Hot path.
//! Properties and address are kept exactly as they came from the wire and are not looked into here.
//!
//! ```text
//! total u32 | body u32 | expires u64 | properties u32 | address u16 | flags u8 | priority u8   (24 bytes, little endian)
//! | address: exchange and routing key as short strings, length bytes included, then hidden keys likewise
//! | properties: property flags and values
//! | body, or a u32 that numbers one of the block's shared bodies
//! ```
//!
//! In a stream, where nothing expires, `expires` is the time of arrival.

mod keys;

use crate::time::Timestamp;
use bytes::Bytes;

/// A body of at least this many bytes is kept by reference instead of being copied into the block:
/// below it a copy costs less than counting references and a vectored write.
pub const BODY_BY_REFERENCE: usize = 4096;

/// Bytes of a record before its address.
pub(crate) const HEAD: usize = 24;

/// `delivery_mode` was 2.
const PERSISTENT: u8 = 1;
/// The body is one of the block's shared bodies.
const SHARED: u8 = 2;
/// The message had a failed delivery in the queue that it was dead-lettered from.
const REDELIVERED: u8 = 4;
/// More short strings follow the routing key.
const HIDDEN_KEYS: u8 = 8;
/// The CC header no longer takes part in routing.
const CC_SPENT: u8 = 16;
/// There is no message: see [`HOLE_BYTES`].
const HOLE: u8 = 32;
/// The flags that a stored message may have.
const STORED_FLAGS: u8 = PERSISTENT | SHARED | REDELIVERED | HIDDEN_KEYS | CC_SPENT;

/// Where the expiry is inside a record.
pub(crate) const EXPIRES: std::ops::Range<usize> = 8..16;
/// Where the flags are inside a record.
pub(crate) const FLAGS: usize = 22;
/// Where the priority is inside a record.
pub(crate) const PRIORITY: usize = 23;

/// What stands for a position whose message is done, so that those behind it keep their places.
pub(crate) const HOLE_BYTES: [u8; HEAD] = {
    let mut head = [0; HEAD];
    head[0] = HEAD as u8;
    head[FLAGS] = HOLE;
    head
};

/// The body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Bytes that are copied into the block.
    Inline(&'a [u8]),
    /// Bytes that are kept by reference.
    Shared(&'a Bytes),
}

impl<'a> Body<'a> {
    /// The bytes, wherever they are.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.bytes().len()
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A message that is about to be written into a block.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Exchange and routing key as short strings, length bytes included. More short strings may
    /// follow: keys that are routed by and never shown, those of the BCC header. At most
    /// `u16::MAX` bytes in all.
    pub address: &'a [u8],
    /// Property flags and values as received.
    pub properties: &'a [u8],
    /// Whether `delivery_mode` is 2.
    pub persistent: bool,
    /// The `priority` property, 0 if absent.
    pub priority: u8,
    /// When the message expires by its own `expiration`; the queue's TTL is applied by the queue.
    pub expires_at: Option<Timestamp>,
    /// The body, at most `u32::MAX` bytes.
    pub body: Body<'a>,
}

impl NewRecord<'_> {
    /// Bytes the record takes in a block.
    #[must_use]
    pub fn stored_len(&self) -> usize {
        let body = match self.body {
            Body::Inline(bytes) => bytes.len(),
            Body::Shared(_) => 4,
        };
        HEAD + self.address.len() + self.properties.len() + body
    }

    /// The fixed part of the record.
    pub(crate) fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let mut flags = if self.persistent { PERSISTENT } else { 0 };
        if matches!(self.body, Body::Shared(_)) {
            flags |= SHARED;
        }
        if shown_len(self.address) < self.address.len() {
            flags |= HIDDEN_KEYS;
        }
        head[0..4].copy_from_slice(&(self.stored_len() as u32).to_le_bytes());
        head[4..8].copy_from_slice(&(self.body.len() as u32).to_le_bytes());
        head[EXPIRES].copy_from_slice(&expiry_to_u64(self.expires_at).to_le_bytes());
        head[16..20].copy_from_slice(&(self.properties.len() as u32).to_le_bytes());
        head[20..22].copy_from_slice(&(self.address.len() as u16).to_le_bytes());
        head[FLAGS] = flags;
        head[PRIORITY] = self.priority;
        head
    }
}

/// A message inside a block.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    head: &'a [u8; HEAD],
    rest: &'a [u8],
    bodies: &'a [Bytes],
}

impl<'a> Record<'a> {
    /// The record whose bytes these are; `None` if they are too short for its own lengths.
    pub(crate) fn new(bytes: &'a [u8], bodies: &'a [Bytes]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let record = Self { head, rest, bodies };
        (record.body_start() + record.stored_body_len() == rest.len()).then_some(record)
    }

    /// The record at the start of stored bytes, and how many of them it is; `None` if there is no
    /// whole message.
    pub(crate) fn stored(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let total = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
        let record = Self::new(bytes.get(..total)?, &[])?;
        (record.head[FLAGS] & !STORED_FLAGS == 0).then_some((record, total))
    }

    fn u32_at<const AT: usize>(&self) -> u32 {
        u32::from_le_bytes([self.head[AT], self.head[AT + 1], self.head[AT + 2], self.head[AT + 3]])
    }

    fn address_len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.head[20], self.head[21]]))
    }

    fn properties_len(&self) -> usize {
        self.u32_at::<16>() as usize
    }

    fn body_start(&self) -> usize {
        self.address_len() + self.properties_len()
    }

    fn stored_body_len(&self) -> usize {
        if self.is_shared() { 4 } else { self.body_len() }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.head[FLAGS] & SHARED != 0
    }

    /// Which of the block's shared bodies is this one's.
    pub(crate) fn shared_index(&self) -> Option<usize> {
        let at = self.rest.get(self.body_start()..)?.first_chunk::<4>()?;
        self.is_shared().then(|| u32::from_le_bytes(*at) as usize)
    }

    /// Exchange and routing key as short strings, length bytes included: as `basic.deliver` and
    /// `basic.get-ok` carry them.
    #[must_use]
    pub fn address(&self) -> &'a [u8] {
        let whole = self.whole_address();
        if self.head[FLAGS] & HIDDEN_KEYS == 0 {
            return whole;
        }
        whole.get(..shown_len(whole)).unwrap_or_default()
    }

    /// The address and the hidden keys, as [`NewRecord::address`] takes them.
    #[must_use]
    pub fn whole_address(&self) -> &'a [u8] {
        self.rest.get(..self.address_len()).unwrap_or_default()
    }

    /// Keys that the message is routed by and that nobody is shown: those of the BCC header.
    pub fn hidden_keys(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.whole_address().get(self.address().len()..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (key, after) = (!rest.is_empty()).then(|| short_string(rest))?;
            rest = after;
            Some(key)
        })
    }

    /// Whether the keys of the CC header no longer take part in routing: the message was
    /// dead-lettered with another key.
    #[must_use]
    pub fn cc_spent(&self) -> bool {
        self.head[FLAGS] & CC_SPENT != 0
    }

    /// The exchange it was published to.
    #[must_use]
    pub fn exchange(&self) -> &'a [u8] {
        short_string(self.address()).0
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &'a [u8] {
        short_string(short_string(self.address()).1).0
    }

    /// Property flags and values as received.
    #[must_use]
    pub fn properties(&self) -> &'a [u8] {
        self.rest.get(self.address_len()..self.body_start()).unwrap_or_default()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Body<'a> {
        if let Some(body) = self.shared_index().and_then(|at| self.bodies.get(at)) {
            return Body::Shared(body);
        }
        Body::Inline(self.rest.get(self.body_start()..).unwrap_or_default())
    }

    /// Bytes of the body, without touching it.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.u32_at::<4>() as usize
    }

    /// Whether `delivery_mode` was 2.
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.head[FLAGS] & PERSISTENT != 0
    }

    /// Whether the message had a failed delivery in the queue that it was dead-lettered from:
    /// it is delivered with `redelivered` set even the first time.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.head[FLAGS] & REDELIVERED != 0
    }

    /// The `priority` property, 0 if absent.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.head[PRIORITY]
    }

    /// When it expires, by its own expiration or the queue's TTL.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        let stored = self.head[EXPIRES].first_chunk().map_or(0, |at| u64::from_le_bytes(*at));
        expiry_from_u64(stored)
    }
}

/// Whether the record that begins with `head` is persistent.
pub(crate) fn is_persistent(head: &[u8]) -> bool {
    head[FLAGS] & PERSISTENT != 0
}

/// Whether the record that begins with `head` stands for nothing.
pub(crate) fn is_hole(head: &[u8]) -> bool {
    head[FLAGS] & HOLE != 0
}

/// Makes a record persistent.
pub(crate) fn make_persistent(bytes: &mut [u8]) {
    bytes[FLAGS] |= PERSISTENT;
}

/// Sets the mark behind [`Record::redelivered`] in the bytes of a record.
pub(crate) fn mark_redelivered(bytes: &mut [u8]) {
    bytes[FLAGS] |= REDELIVERED;
}

/// Sets the mark behind [`Record::cc_spent`] in the bytes of a record.
pub(crate) fn mark_cc_spent(bytes: &mut [u8]) {
    bytes[FLAGS] |= CC_SPENT;
}

/// Bytes of the first two short strings.
fn shown_len(address: &[u8]) -> usize {
    let (_, rest) = short_string(address);
    address.len() - short_string(rest).1.len()
}

/// The stored form of an expiry: 0 is never, so the epoch itself becomes the millisecond after it.
pub(crate) fn expiry_to_u64(at: Option<Timestamp>) -> u64 {
    at.map_or(0, |at| at.0.max(1))
}

/// The expiry behind its stored form.
pub(crate) fn expiry_from_u64(stored: u64) -> Option<Timestamp> {
    (stored != 0).then_some(Timestamp(stored))
}

/// Splits a short string off the front.
pub(crate) fn short_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return (&[], &[]) };
    rest.split_at_checked(usize::from(*len)).unwrap_or_default()
}
