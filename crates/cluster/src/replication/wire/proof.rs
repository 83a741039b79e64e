//! That a node knows the cluster's secret, without its being sent: an HMAC over what both sides have drawn.

use super::ClusterId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes that HMAC-SHA-256 works on at a time.
const BLOCK: usize = 64;

/// What a node has drawn for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 32]);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that has connected.
    Caller,
    /// The one that was connected to.
    Called,
}

/// That one side of one connection knows the secret. Of no use on another connection or for the other side.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof([u8; 32]);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

impl Proof {
    /// The proof of one side.
    #[must_use]
    pub fn new(
        secret: &[u8],
        cluster: ClusterId,
        side: Side,
        caller: Nonce,
        called: Nonce,
    ) -> Self {
        let role: &[u8] = match side {
            Side::Caller => b"leveret caller",
            Side::Called => b"leveret called",
        };
        Self(hmac(secret, &[role, &cluster.0.to_be_bytes(), &caller.0, &called.0]))
    }

    /// Whether it is the one that was expected, in a time that does not depend on where it differs.
    #[must_use]
    pub fn is(&self, expected: &Self) -> bool {
        let different = self.0.iter().zip(&expected.0).fold(0, |all, (a, b)| all | (a ^ b));
        different == 0
    }
}

/// HMAC-SHA-256 of several parts.
// spec: RFC 2104
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    let hashed = Sha256::digest(key);
    let key = if key.len() > BLOCK { &hashed[..] } else { key };
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let mut inner = Sha256::new().chain_update(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_code_is_that_of_the_standard() {
        // spec: RFC 4231, test cases 2 and 6
        let short = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&short), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex(&long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_proof_is_of_one_secret_side_and_connection() {
        let (a, b) = (Nonce([1; 32]), Nonce([2; 32]));
        let id = ClusterId(7);
        let proof = Proof::new(b"secret", id, Side::Caller, a, b);
        assert!(proof.is(&Proof::new(b"secret", id, Side::Caller, a, b)));
        let others = [
            Proof::new(b"Secret", id, Side::Caller, a, b),
            Proof::new(b"secret", id, Side::Called, a, b),
            Proof::new(b"secret", ClusterId(8), Side::Caller, a, b),
            Proof::new(b"secret", id, Side::Caller, b, a),
        ];
        assert!(others.iter().all(|other| !proof.is(other)));
    }
}
