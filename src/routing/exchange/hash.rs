//! The hash that some exchanges route by: the same in every process, so that a restart moves no key
//! to another queue.
//!
//! Not for tables of ours: whoever chooses keys can make as many as he likes that collide here.

/// 2^64 over the golden ratio: what splitmix64 counts by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Of every two inputs about half of the bits of the outputs differ; one to one (splitmix64's last
/// step).
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(STEP);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The hash of some bytes.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = mix(bytes.len() as u64);
    let sum = words.iter().fold(start, |sum, word| mix(sum ^ u64::from_be_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(sum ^ u64::from_be_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// What these are is of no interest; that they stay is: queues are chosen by them.
    #[test]
    fn a_hash_is_the_same_for_ever() {
        assert_eq!(hash(b""), 0xa706_dd2f_4d19_7e6f);
        assert_eq!(hash(b"hare"), 0x05e5_c9c5_e795_4d04);
        assert_eq!(hash(b"order-4711"), 0xdcb1_5e32_4c47_553f);
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let keys =
            [&b""[..], b"\0", b"\0\0", b"12345678", b"12345678\0", b"12345679", b"1234567", b"a", b"b"];
        let hashes: HashSet<u64> = keys.iter().map(|key| hash(key)).collect();
        assert_eq!(hashes.len(), keys.len());
    }
}
