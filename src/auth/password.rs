//! Passwords as they are kept: four bytes of salt, and the hash of salt and password (RabbitMQ:
//! passwords.md).
//!
//! In definitions and on the command line these bytes are base64, beside the name of the algorithm.

use crate::machine::random_bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use std::fmt;
use subtle::ConstantTimeEq;

/// Bytes of salt: RabbitMQ's, whose hashes these are.
const SALT: usize = 4;

/// How a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256, which new passwords are hashed with.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5, by which RabbitMQ hashed before 3.6, and which is no way to keep a password any more:
    /// whoever has one like that is let in and told to change it.
    Md5,
}

impl Algorithm {
    /// The name that RabbitMQ's definitions have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The algorithm that RabbitMQ's definitions call so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512, Self::Md5].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// By which of the two that are safe a password may have been hashed: salt and hash in base64.
    #[must_use]
    pub fn of_hash(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        [Self::Sha256, Self::Sha512].into_iter().find(|algorithm| bytes.len() == SALT + algorithm.len())
    }

    /// Bytes of a hash without its salt.
    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
        }
    }
}

/// A password that is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: Algorithm,
    /// Salt, then hash.
    bytes: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password with a salt of its own.
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes. It had some for the data file.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        let salt: [u8; SALT] = random_bytes().expect("the operating system has random bytes");
        Self::salted(Algorithm::Sha256, &salt, password)
    }

    fn salted(algorithm: Algorithm, salt: &[u8], password: &[u8]) -> Self {
        let mut bytes = salt.to_vec();
        match algorithm {
            Algorithm::Sha256 => {
                bytes.extend_from_slice(&Sha256::new().chain_update(salt).chain_update(password).finalize());
            }
            Algorithm::Sha512 => {
                bytes.extend_from_slice(&Sha512::new().chain_update(salt).chain_update(password).finalize());
            }
            Algorithm::Md5 => {
                bytes.extend_from_slice(&Md5::new().chain_update(salt).chain_update(password).finalize());
            }
        }
        Self { algorithm, bytes }
    }

    /// A hash that was made elsewhere; none if it has the wrong length.
    #[must_use]
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == SALT + algorithm.len()).then(|| Self { algorithm, bytes: bytes.to_vec() })
    }

    /// As [`PasswordHash::from_bytes`], of base64.
    #[must_use]
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().and_then(|bytes| Self::from_bytes(algorithm, &bytes))
    }

    /// Salt and hash in base64, as RabbitMQ's definitions have them.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// Salt and hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How it was hashed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this is the password. Takes as long wherever the first difference is.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let given = Self::salted(self.algorithm, &self.bytes[..SALT], password);
        self.bytes.ct_eq(&given.bytes).into()
    }
}

/// A hash is not for logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RabbitMQ's passwords.md.
    #[test]
    fn rabbitmqs_own_example_verifies() {
        let hash =
            PasswordHash::from_base64(Algorithm::Sha256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        assert!(hash.unwrap().verify(b"test12"));
    }

    /// The first was made by RabbitMQ 4.3.6, which lets the second and the fourth in; the third is
    /// of the same shape, made elsewhere.
    #[test]
    fn hashes_are_rabbitmqs() {
        for (algorithm, hash) in [
            (Algorithm::Sha256, "VgC7t6vlFkVSBguHPCYqoU29LN6UMkVJ6aOEEJ6NNg28Igg1"),
            (Algorithm::Sha256, "AQIDBIWjSI0tEAUUQQwCnZAhb4cy2FwX243IaQkIaBM3/rVR"),
            (
                Algorithm::Sha512,
                "AQIDBPxZ9dINRo0L8lDHLIDfxryl4lOwNg3eD+E4WwlrP7lVWWCnnpj9cw+JDeI0lEkqlk4WYZLIvfkDcxQPgJr+JE8=",
            ),
            (Algorithm::Md5, "AQIDBC9sNtMpq0jYPGKq/P87dGY="),
        ] {
            let read = PasswordHash::from_base64(algorithm, hash).unwrap();
            assert!(read.verify(b"hare"), "{hash}");
            let salt = &read.as_bytes()[..SALT];
            assert_eq!(PasswordHash::salted(algorithm, salt, b"hare").to_base64(), hash);
        }
    }

    #[test]
    fn only_the_password_verifies() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5] {
            let hash = PasswordHash::salted(algorithm, b"salt", b"secret");
            assert!(hash.verify(b"secret"));
            for wrong in [&b"Secret"[..], b"secret ", b"secre", b""] {
                assert!(!hash.verify(wrong));
            }
            let read = PasswordHash::from_base64(algorithm, &hash.to_base64()).unwrap();
            assert_eq!(read, hash);
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("md5"), None);
    }

    #[test]
    fn each_hash_has_a_salt_of_its_own() {
        assert_ne!(PasswordHash::of(b"a").as_bytes(), PasswordHash::of(b"a").as_bytes());
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "a", "a===", "kI3GCqW5", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR0000"] {
            assert_eq!(PasswordHash::from_base64(Algorithm::Sha256, text), None, "{text}");
        }
        let sha256 = PasswordHash::of(b"a");
        assert_eq!(PasswordHash::from_bytes(Algorithm::Sha512, sha256.as_bytes()), None);
        assert!(!format!("{sha256:?}").contains(&sha256.to_base64()));
    }
}
