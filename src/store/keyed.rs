//! A checksum that nobody can foresee without its key: NH over each KiB, then a polynomial over
//! what that gives.
//!
//! ```text
//! NH of up to 1 KiB, padded with zeros to a multiple of 16 bytes, as little-endian u64:
//!     n = sum of (m[2i] + k[2i]) * (m[2i+1] + k[2i+1])      sums of two modulo 2^64, the sum of all modulo 2^128
//! checksum, modulo p = 2^61 - 1, with a random r below p:
//!     c = 1;  for each n, as three digits of 61, 61 and 6 bits, the lowest first:  c = c * r + digit
//!     c = (c * r + length) * r
//! ```
//!
//! NH is from UMAC (RFC 4418), with words of 64 bits: two messages of one length give the same `n`
//! with a probability of 2^-64, whatever they are. A polynomial of degree d takes a given value, or
//! the value of another such polynomial, for at most d of all r: of 8 MiB with a probability below
//! 2^-46. So it is with that probability that somebody who knows neither the key nor any checksum
//! made with it (the file tells them to nobody) makes bytes with a matching checksum, or makes
//! bytes that still match when others take the place of some. Of the second a CRC gives no
//! guarantee, with a secret in it or not: it is linear, so which changes it does not notice is
//! known to everybody.
//!
//! Of cost 0.05 to 0.1 ns a byte where CRC-32 is 0.02, HighwayHash 0.17 to 0.3 and GMAC 0.9.

use crate::machine::random_bytes;
use std::fmt;
use std::io;

/// Bytes that one sum of products covers.
const STRIDE: usize = 1024;

/// A Mersenne prime.
const P: u64 = (1 << 61) - 1;

/// Bytes of a key: a word for each word of a stride, and `r`.
pub(super) const KEY_BYTES: usize = STRIDE + 8;

/// The secret key of a round of the journal or of a log, and the checksum that needs it.
#[derive(Clone)]
pub(super) struct Key {
    words: Box<[u64; STRIDE / 8]>,
    r: u64,
}

impl fmt::Debug for Key {
    /// It is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A key that nobody knows.
    pub(super) fn random() -> io::Result<([u8; KEY_BYTES], Self)> {
        let bytes = random_bytes()?;
        Ok((bytes, Self::from_bytes(&bytes)))
    }

    /// The key that these bytes are.
    pub(super) fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut words = bytes.chunks_exact(8).map(word);
        let mut key = Self { words: Box::new([0; STRIDE / 8]), r: 0 };
        key.words.iter_mut().zip(&mut words).for_each(|(place, word)| *place = word);
        key.r = words.next().unwrap_or_default() % P;
        key
    }

    /// The checksum of `bytes`.
    pub(super) fn checksum(&self, bytes: &[u8]) -> u64 {
        let mut sum = 1;
        for stride in bytes.chunks(STRIDE) {
            let products = self.products(stride);
            for digit in [products, products >> 61, products >> 122] {
                sum = self.shift(sum, low(digit) & P);
            }
        }
        sum = self.shift(sum, bytes.len() as u64);
        self.shift(sum, 0)
    }

    /// NH.
    fn products(&self, stride: &[u8]) -> u128 {
        let (pairs, rest) = stride.as_chunks::<16>();
        let mut sum = 0_u128;
        let mut keys = self.words.as_chunks::<2>().0.iter();
        let mut add = |pair: &[u8; 16], key: &[u64; 2]| {
            let (first, second) = pair.split_at(8);
            let (first, second) = (word(first).wrapping_add(key[0]), word(second).wrapping_add(key[1]));
            sum = sum.wrapping_add(u128::from(first) * u128::from(second));
        };
        for (pair, key) in pairs.iter().zip(&mut keys) {
            add(pair, key);
        }
        if let Some(key) = keys.next().filter(|_| !rest.is_empty()) {
            let mut pair = [0; 16];
            pair[..rest.len()].copy_from_slice(rest);
            add(&pair, key);
        }
        sum
    }

    /// `sum * r + digit`, modulo [`P`]; `sum` and `digit` are below 2^61.
    fn shift(&self, sum: u64, digit: u64) -> u64 {
        let product = u128::from(sum) * u128::from(self.r) + u128::from(digit);
        let folded = (low(product) & P) + low(product >> 61);
        let folded = (folded & P) + (folded >> 61);
        if folded >= P { folded - P } else { folded }
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// The lower half.
fn low(number: u128) -> u64 {
    let [l0, l1, l2, l3, l4, l5, l6, l7, ..] = number.to_le_bytes();
    u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn key(seed: u64) -> Key {
        let mut bytes = [0; KEY_BYTES];
        let mut state = seed;
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
        Key::from_bytes(&bytes)
    }

    /// As the head of this file draws it, in numbers that cannot overflow; a change here is a new
    /// format.
    fn drawn(key: &Key, bytes: &[u8]) -> u64 {
        let p = u128::from(P);
        let step = |sum: u128, digit: u128| (sum * u128::from(key.r) + digit) % p;
        let mut sum = 1;
        for stride in bytes.chunks(STRIDE) {
            let mut padded = stride.to_vec();
            padded.resize(stride.len().next_multiple_of(16), 0);
            let m: Vec<u64> =
                padded.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
            let product = |i: usize| {
                let (first, second) =
                    (m[i].wrapping_add(key.words[i]), m[i + 1].wrapping_add(key.words[i + 1]));
                u128::from(first) * u128::from(second)
            };
            let n = (0..m.len()).step_by(2).map(product).fold(0, u128::wrapping_add);
            for digit in [n & p, (n >> 61) & p, n >> 122] {
                sum = step(sum, digit);
            }
        }
        u64::try_from(step(step(sum, bytes.len() as u128), 0)).unwrap()
    }

    #[test]
    fn the_checksum_is_as_drawn() {
        let bytes: Vec<u8> = (0..5000_u32).map(|at| (at * at % 251).to_le_bytes()[0]).collect();
        for len in [0, 1, 7, 8, 15, 16, 17, 31, 1000, 1023, 1024, 1025, 1040, 2048, 5000] {
            for seed in 1..5 {
                assert_eq!(
                    key(seed).checksum(&bytes[..len]),
                    drawn(&key(seed), &bytes[..len]),
                    "{len} bytes"
                );
            }
        }
        assert_eq!(key(1).checksum(&[0xff; 3000]), drawn(&key(1), &[0xff; 3000]), "the largest words");
    }

    #[test]
    fn what_differs_has_another_checksum() {
        let mut seen = HashSet::new();
        let mut bytes = vec![0; 2100];
        for len in 0..bytes.len() {
            assert!(seen.insert(key(1).checksum(&bytes[..len])), "{len} zeros");
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(key(1).checksum(&bytes)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_ne!(key(1).checksum(&bytes), key(2).checksum(&bytes));
    }

    /// What a CRC does: for it this difference is the same whatever the secret is.
    #[test]
    fn which_changes_it_would_not_notice_depends_on_the_key() {
        let (one, other) = ([7; 64], [9; 64]);
        let difference = |seed| key(seed).checksum(&one) ^ key(seed).checksum(&other);
        let all: HashSet<u64> = (0..100).map(difference).collect();
        assert_eq!(all.len(), 100);
    }

    #[test]
    fn no_two_random_keys_are_the_same() {
        let (one, other) = (Key::random().unwrap(), Key::random().unwrap());
        assert_ne!(one.0, other.0);
        assert_eq!(one.1.checksum(b"a"), Key::from_bytes(&one.0).checksum(b"a"));
    }
}
