//! Password hashes in RabbitMQ's form: base64 of a salt of four bytes followed by the digest of the
//! salt and the password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

/// Bytes of salt before the digest.
pub const SALT_BYTES: usize = 4;

/// How a password was hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashAlgorithm {
    /// Only in definitions files of RabbitMQ before 3.6.
    Md5,
    /// The default.
    #[default]
    Sha256,
    /// Where configured.
    Sha512,
}

/// Text that is no password hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is not base64.
    #[error("the password hash is not base64")]
    NotBase64,
}

/// A salted hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    algorithm: HashAlgorithm,
    /// Salt and digest.
    bytes: Box<[u8]>,
}

impl HashAlgorithm {
    /// RabbitMQ's name of the algorithm, as definitions files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "rabbit_password_hashing_md5",
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
        }
    }

    /// The algorithm of a name, with or without RabbitMQ's prefix.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("rabbit_password_hashing_").unwrap_or(name) {
            "md5" => Some(Self::Md5),
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            Self::Sha256 => {
                Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
            Self::Sha512 => {
                Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
        }
    }
}

impl PasswordHash {
    /// Hashes a password. The salt has to be random.
    #[must_use]
    pub fn new(algorithm: HashAlgorithm, password: &[u8], salt: [u8; SALT_BYTES]) -> Self {
        let mut bytes = salt.to_vec();
        bytes.extend(algorithm.digest(&salt, password));
        Self { algorithm, bytes: bytes.into() }
    }

    /// Reads a hash as definitions files have it. One of another length than its algorithm makes is kept and fits no
    /// password, as in RabbitMQ.
    ///
    /// # Errors
    /// When the text is not base64.
    pub fn from_base64(algorithm: HashAlgorithm, text: &str) -> Result<Self, PasswordError> {
        let bytes = STANDARD.decode(text).map_err(|_| PasswordError::NotBase64)?;
        Ok(Self { algorithm, bytes: bytes.into() })
    }

    /// The hash as definitions files have it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// How it was hashed.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Whether this is the hash of `password`, in a time that does not depend on where they differ.
    /// A blank password never fits.
    // rabbitmq: blank passwords are refused even if the hash would match
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let Some((salt, digest)) = self.bytes.split_at_checked(SALT_BYTES) else { return false };
        let computed = self.algorithm.digest(salt, password);
        same_bytes(digest, &computed) & !password.is_empty()
    }
}

/// Compares without an early exit.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (x, y)| std::hint::black_box(sum | (x ^ y)));
    (a.len() == b.len()) & (difference == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RabbitMQ's documentation of password hashes: salt 908DC60A, password test12.
    #[test]
    fn the_documented_hash_fits() {
        let salt = [0x90, 0x8D, 0xC6, 0x0A];
        let hash = PasswordHash::new(HashAlgorithm::Sha256, b"test12", salt);
        assert_eq!(hash.to_base64(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        assert!(hash.verify(b"test12"));
        assert!(!hash.verify(b"test13"));
        assert!(!hash.verify(b""));
    }

    #[test]
    fn every_algorithm_survives_base64() {
        for algorithm in [HashAlgorithm::Md5, HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
            let hash = PasswordHash::new(algorithm, b"secret", [1, 2, 3, 4]);
            let read = PasswordHash::from_base64(algorithm, &hash.to_base64()).unwrap();
            assert_eq!(read, hash);
            assert!(read.verify(b"secret"));
            assert_eq!(HashAlgorithm::parse(algorithm.name()), Some(algorithm));
        }
    }

    #[test]
    fn a_blank_password_never_fits() {
        assert!(!PasswordHash::new(HashAlgorithm::Sha256, b"", [0; 4]).verify(b""));
    }

    #[test]
    fn what_is_no_base64_is_refused_and_what_is_no_hash_fits_nothing() {
        let read = |text: &str| PasswordHash::from_base64(HashAlgorithm::Sha256, text);
        assert_eq!(read("not base64!"), Err(PasswordError::NotBase64));
        let other = PasswordHash::new(HashAlgorithm::Sha512, b"secret", [1; SALT_BYTES]);
        for text in ["", "AAAA", &other.to_base64()] {
            let kept = read(text).unwrap();
            assert_eq!(kept.to_base64(), text);
            assert!(!kept.verify(b"secret"), "{text}");
        }
    }
}
