//! Publishes encoded once and written over and over: all a producer does per message is to let the
//! kernel copy it.
//!
//! The buffer holds whole rounds over the producer's queues. Only `--latency` changes it: a stamp
//! in each body.

use crate::perf::connection::CHANNEL;
use crate::perf::error::PerfError;
use crate::perf::inbox::STAMP_BYTES;
use crate::protocol::amqp::wire::encode::{self, Content};

/// Most bytes one write takes, and what small messages fill.
const WRITE_BYTES: usize = 256 * 1024;
/// Most bytes a producer keeps: one message for each of its queues has to fit.
const RING_MAX: usize = 256 << 20;
/// Bytes of a frame in front of its payload, and behind it.
const FRAME_HEAD: usize = 7;
const FRAME_END: usize = 1;

/// Encoded publishes, in the order in which they are sent.
#[derive(Debug)]
pub struct Ring {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// Where the body of each message begins.
    bodies: Vec<usize>,
    /// Which message is the next.
    next: usize,
}

impl Ring {
    /// Encodes these messages, in turn, into frames of at most `frame_max` bytes.
    ///
    /// # Errors
    ///
    /// [`PerfError::Options`] when they do not fit into memory meant for them.
    pub fn new(messages: &[Content<'_>], frame_max: u32) -> Result<Self, PerfError> {
        assert!(!messages.is_empty(), "a producer has at least one queue");
        let mut ring = Self { bytes: Vec::new(), ends: Vec::new(), bodies: Vec::new(), next: 0 };
        loop {
            for message in messages {
                if ring.bytes.len() + message.body.len() > RING_MAX {
                    return Err(PerfError::Options(
                        "--queues times --size: 256 MiB a producer at most".to_owned(),
                    ));
                }
                ring.push(message, frame_max);
            }
            // Another round only if it keeps the buffer within one write.
            let round = ring.bytes.len() / (ring.ends.len() / messages.len());
            if ring.bytes.len() + round > WRITE_BYTES {
                return Ok(ring);
            }
        }
    }

    fn push(&mut self, message: &Content<'_>, frame_max: u32) {
        let start = self.bytes.len();
        encode::publish(&mut self.bytes, CHANNEL, frame_max, false, message);
        let header = start + self.frame_len(start);
        let body = header + self.frame_len(header) + FRAME_HEAD;
        self.bodies.push(body);
        self.ends.push(self.bytes.len());
    }

    /// Length of the frame that begins here.
    fn frame_len(&self, at: usize) -> usize {
        let size = self.bytes[at + 3..].first_chunk().map_or(0, |size| u32::from_be_bytes(*size));
        FRAME_HEAD + size as usize + FRAME_END
    }

    /// The next messages, at most `room` and at least one: how many, and their bytes. A `stamp` is
    /// put into each.
    pub fn take(&mut self, room: u64, stamp: Option<[u8; STAMP_BYTES]>) -> (u64, &[u8]) {
        let first = self.next;
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let fit = self.ends[first..].partition_point(|end| end - start <= WRITE_BYTES).max(1);
        let count = usize::try_from(room).map_or(fit, |room| fit.min(room));
        assert!(count > 0, "nothing may be sent");
        if let Some(stamp) = stamp {
            for body in &self.bodies[first..first + count] {
                self.bytes[*body..body + STAMP_BYTES].copy_from_slice(&stamp);
            }
        }
        self.next = (first + count) % self.ends.len();
        (count as u64, &self.bytes[start..self.ends[first + count - 1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_MAX: u32 = 4096;

    fn ring(keys: &[&str], body: &[u8]) -> Ring {
        let messages = keys.iter().map(|key| Content {
            exchange: b"",
            routing_key: key.as_bytes(),
            properties: &[0, 0],
            body,
        });
        Ring::new(&messages.collect::<Vec<_>>(), FRAME_MAX).unwrap()
    }

    /// Takes `room` at a time, `times` times over, and checks that nothing is lost, doubled or out
    /// of turn.
    fn check(keys: &[&str], body: &[u8], room: u64, times: usize) {
        let mut ring = ring(keys, body);
        let (mut sent, mut count) = (Vec::new(), 0);
        for _ in 0..times {
            let (taken, bytes) = ring.take(room, None);
            assert!(taken >= 1 && taken <= room);
            assert!(bytes.len() <= WRITE_BYTES || taken == 1);
            count += usize::try_from(taken).unwrap();
            sent.extend_from_slice(bytes);
        }
        let mut expected = Vec::new();
        for key in keys.iter().cycle().take(count) {
            let content = Content { exchange: b"", routing_key: key.as_bytes(), properties: &[0, 0], body };
            encode::publish(&mut expected, CHANNEL, FRAME_MAX, false, &content);
        }
        assert!(sent == expected, "{keys:?} {} {room}", body.len());
    }

    #[test]
    fn messages_come_in_turn() {
        check(&["q"], b"0123456789abcdef", 1, 9_000);
        check(&["q"], b"0123456789abcdef", u64::MAX, 3);
        check(&["q-9", "q-10", "q-11"], b"0123456789abcdef", 1000, 20);
        check(&["a", "bb"], &[1; 20_000], 5, 20);
        check(&["q"], &[2; 300_000], 10, 3);
        check(&["q"], &[], 7, 2_000);
    }

    #[test]
    fn a_stamp_goes_to_the_front_of_the_body() {
        for size in [8, 16, 5_000] {
            let mut ring = ring(&["q", "long-name"], &vec![0; size]);
            let (count, bytes) = ring.take(2, Some(*b"STAMPED!"));
            assert_eq!(count, 2);
            let found: Vec<_> = bytes.windows(8).filter(|window| window == b"STAMPED!").collect();
            assert_eq!(found.len(), 2);
            let (method, header) = (18, 22);
            let first_body = method + header + FRAME_HEAD;
            assert_eq!(&bytes[first_body..first_body + 8], b"STAMPED!");
        }
    }

    #[test]
    fn too_much_for_memory_is_refused() {
        let content = Content { exchange: b"", routing_key: b"q", properties: &[0, 0], body: &[0; 1 << 20] };
        let messages: Vec<_> = (0..300).map(|_| Content { ..content }).collect();
        assert!(matches!(Ring::new(&messages, FRAME_MAX), Err(PerfError::Options(_))));
    }
}
