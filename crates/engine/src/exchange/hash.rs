//! Hashes that are the same on every node and after every restart, for exchanges that choose a
//! destination by one.

/// A hash of bytes: FNV-1a with a finish that spreads it over all bits.
pub(crate) fn of_bytes(bytes: &[u8]) -> u64 {
    mix(continued(FNV_START, bytes))
}

/// A hash of several byte strings, which differ from their concatenation.
pub(crate) fn of_all<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let one =
        |hash, part: &[u8]| continued(continued(hash, part), &(part.len() as u64).to_le_bytes());
    mix(parts.into_iter().fold(FNV_START, one))
}

/// Two hashes as one.
#[inline]
pub(crate) fn pair(a: u64, b: u64) -> u64 {
    mix(a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

const FNV_START: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

fn continued(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Lets every bit of the input change every bit of the output (the finish of MurmurHash3).
#[inline]
pub(crate) fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

/// The negative natural logarithm of `hash` taken as a number between 0 and 1. By multiplication
/// and division alone, which give the same bits on every machine.
#[inline]
pub(crate) fn exponential(hash: u64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    // The top 53 bits, and never 0.
    let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let bits = uniform.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    -(exponent as f64 * LN_2 + 2.0 * s * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for hash in [0, 1 << 11, 1 << 40, 1 << 63, u64::MAX - (1 << 60), u64::MAX] {
            let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            let difference = exponential(hash) + uniform.ln();
            assert!(difference.abs() < 1e-8, "{hash}: {difference}");
        }
    }

    #[test]
    fn hashes_stay_what_they_are() {
        // Destinations on disk and on other nodes depend on these.
        assert_eq!(of_bytes(b""), mix(FNV_START));
        assert_eq!(of_bytes(b"a"), mix(0xAF63_DC4C_8601_EC8C));
        assert_ne!(of_all([&b"ab"[..], b"c"]), of_all([&b"a"[..], b"bc"]));
        assert_eq!(mix(1), 0xB456_BCFC_34C2_CB2C);
    }
}
