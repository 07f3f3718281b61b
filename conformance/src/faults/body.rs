//! A message's body: its id, and behind it bytes that follow from it, so that damage shows.
//!
//! ```text
//!  0  u32  channel, big-endian
//!  4  u32  number, big-endian
//!  8       the eight bytes again and again, up to a length that follows from them
//! ```

use super::dice::mix;
use super::history::Id;

/// One message in so many is large enough to be kept apart by a broker that packs small ones
/// together.
const LARGE: u64 = 60;

/// The bytes of a message.
#[must_use]
pub fn encode(id: Id) -> Vec<u8> {
    let head = head(id);
    head.iter().copied().cycle().take(len(id)).collect()
}

/// The message that has these bytes.
#[must_use]
pub fn decode(body: &[u8]) -> Option<Id> {
    let (&[c0, c1, c2, c3, n0, n1, n2, n3], _) = body.split_first_chunk()?;
    let id =
        Id { channel: u32::from_be_bytes([c0, c1, c2, c3]), number: u32::from_be_bytes([n0, n1, n2, n3]) };
    (body.len() == len(id) && body.chunks(8).all(|part| head(id).starts_with(part))).then_some(id)
}

fn head(id: Id) -> [u8; 8] {
    let [c0, c1, c2, c3] = id.channel.to_be_bytes();
    let [n0, n1, n2, n3] = id.number.to_be_bytes();
    [c0, c1, c2, c3, n0, n1, n2, n3]
}

fn len(id: Id) -> usize {
    let dice = mix(u64::from(id.channel), u64::from(id.number));
    let len = if dice.is_multiple_of(LARGE) { 40_000 + dice % 100_000 } else { 8 + dice % 1_500 };
    usize::try_from(len).expect("small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_shows() {
        for number in 1..200 {
            let id = Id { channel: 7, number };
            let body = encode(id);
            assert_eq!(decode(&body), Some(id));
            assert_eq!(decode(&body[..body.len() - 1]), None, "one byte short");
            for at in [0, 5, body.len() / 2, body.len() - 1] {
                let mut damaged = body.clone();
                damaged[at] ^= 4;
                assert_eq!(decode(&damaged), None, "byte {at} of {number}");
            }
        }
        assert_eq!(decode(b"short"), None);
    }
}
