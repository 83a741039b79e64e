//! The messages of the proof: everything about one follows from its number and the seed.

use leveret_codec::PropertiesWriter;

use crate::Outgoing;

/// Bytes at the head of a body that say which message it is.
const HEAD: usize = 8;

/// A message: who published it in the upper half, which one of his it is in the lower.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id(pub u64);

impl Id {
    /// The message `number` of the publisher `who`.
    #[must_use]
    pub fn new(who: u32, number: u32) -> Self {
        Self(u64::from(who) << 32 | u64::from(number))
    }

    /// Who published it.
    #[must_use]
    pub fn who(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Its body, of all kinds of sizes: next to nothing, inline, by reference, in several frames.
    #[must_use]
    pub fn body(self, seed: u64) -> Vec<u8> {
        let mut state = mix(self.0 ^ seed);
        let size = match state % 64 {
            0 => 140_000,
            1..=6 => 4_000 + (state >> 8) as usize % 8_000,
            _ => (state >> 8) as usize % 400,
        };
        let mut body = Vec::with_capacity(HEAD + size + 8);
        body.extend_from_slice(&self.0.to_be_bytes());
        while body.len() < HEAD + size {
            state = mix(state);
            body.extend_from_slice(&state.to_be_bytes());
        }
        body.truncate(HEAD + size);
        body
    }

    /// The message as it is published.
    #[must_use]
    pub fn outgoing(self, seed: u64, (exchange, key): (&str, &str), persistent: bool) -> Outgoing {
        let properties = PropertiesWriter {
            delivery_mode: Some(if persistent { 2 } else { 1 }),
            ..PropertiesWriter::default()
        };
        Outgoing::new(exchange, key, self.body(seed)).with(&properties)
    }

    /// Which message a body belongs to; none when it is not byte for byte what was published.
    #[must_use]
    pub fn of_body(body: &[u8], seed: u64) -> Option<Self> {
        let id = Self(u64::from_be_bytes(*body.first_chunk::<HEAD>()?));
        (id.body(seed) == body).then_some(id)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.who(), self.0 as u32)
    }
}

/// Another number, as if at random (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
