//! What waits to be written to a socket: own bytes, and large bodies that are shared and not
//! copied, in order.
//!
//! All own bytes lie in one buffer; a shared body is remembered with the place in that buffer where
//! it belongs:
//!
//! ```text
//! own      [ written | head of a | end of a, head of b | end of b, more frames ]
//! shared                         ^ body of a           ^ body of b
//! ```
//!
//! So a large body costs no allocation here, and frames behind it go on in the same buffer.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Own bytes that are written are cut off the buffer when there are at least this many (and more
/// than what is left, so that moving the rest costs little).
const CUT_OFF_MIN: usize = 64 * 1024;

/// A buffer that grew beyond this is given back as soon as it is empty: twice what one read of a
/// socket brings.
const KEEP_MAX: usize = 512 * 1024;

/// Bytes to write, in order.
#[derive(Debug, Default)]
pub struct Output {
    own: Vec<u8>,
    /// How much of `own` is written.
    written: usize,
    shared: VecDeque<Shared>,
    /// Bytes in `shared`.
    shared_len: usize,
    /// Grows with everything that is written.
    progress: u64,
}

#[derive(Debug)]
struct Shared {
    /// How many bytes of `own` come before it.
    after: usize,
    /// What of it is not written yet; never empty.
    bytes: Bytes,
}

impl Output {
    /// The buffer to append frames to. Nothing may be taken from it.
    pub fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Appends a large body without copying it. For a small one a copy into [`Output::own`] is
    /// cheaper.
    pub fn share(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.shared_len += bytes.len();
            self.shared.push_back(Shared { after: self.own.len(), bytes });
        }
    }

    /// Bytes not yet written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.len() - self.written + self.shared_len
    }

    /// Another number after anything was written.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Whether everything is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Points `into` at the first bytes to write, and says how many of its slices were set. None of
    /// them is empty.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut into = into.iter_mut();
        let room = into.len();
        let mut put = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let slot = into.next();
            let fits = slot.is_some();
            if let Some(slot) = slot {
                *slot = IoSlice::new(bytes);
            }
            fits
        };
        let mut from = self.written;
        let all = self.shared.iter().all(|shared| {
            let own = &self.own[from..shared.after];
            from = shared.after;
            put(own) && put(&shared.bytes)
        });
        if all {
            put(&self.own[from..]);
        }
        room - into.len()
    }

    /// Takes note that the first `count` bytes are written, and lets go of them.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "more was written than there was");
        self.progress += count as u64;
        let mut left = count;
        while let Some(first) = self.shared.front_mut() {
            let own = left.min(first.after - self.written);
            self.written += own;
            left -= own;
            let shared = left.min(first.bytes.len());
            first.bytes.advance(shared);
            self.shared_len -= shared;
            left -= shared;
            if !first.bytes.is_empty() {
                return self.cut_off();
            }
            self.shared.pop_front();
        }
        self.written += left;
        self.cut_off();
    }

    /// Frees what is written of the own bytes, if that is all or much of them.
    fn cut_off(&mut self) {
        if self.written == self.own.len() {
            self.own.clear();
            if self.own.capacity() > KEEP_MAX {
                self.own = Vec::new();
            }
        } else if self.written >= CUT_OFF_MIN && self.written > self.own.len() / 2 {
            self.own.drain(..self.written);
        } else {
            return;
        }
        for shared in &mut self.shared {
            shared.after -= self.written;
        }
        self.written = 0;
    }

    /// Appends all that waits in `other`, which is empty afterwards and keeps its buffer.
    pub fn append(&mut self, other: &mut Self) {
        let offset = self.own.len();
        for mut shared in other.shared.drain(..) {
            shared.after = shared.after - other.written + offset;
            self.shared.push_back(shared);
        }
        self.own.extend_from_slice(&other.own[other.written..]);
        self.shared_len += other.shared_len;
        other.shared_len = 0;
        other.own.clear();
        other.written = 0;
    }

    /// Gives the buffers back if nothing waits in them: for a connection that has become idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self { progress: self.progress, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::for_seeds;

    /// All that waits, through no more than `slots` slices at a time.
    fn first_bytes(output: &Output, slots: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); slots];
        let count = output.slices(&mut slices);
        assert!(slices[..count].iter().all(|slice| !slice.is_empty()));
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    fn all_bytes(output: &Output) -> Vec<u8> {
        let all = first_bytes(output, 2 * output.shared.len() + 1);
        assert_eq!(all.len(), output.len());
        assert_eq!(all.is_empty(), output.is_empty());
        all
    }

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut output = Output::default();
        assert_eq!(first_bytes(&output, 4), b"");
        output.share(Bytes::from_static(b"one"));
        output.own().extend_from_slice(b"two");
        output.share(Bytes::new());
        output.own().extend_from_slice(b"three");
        output.share(Bytes::from_static(b"four"));
        output.share(Bytes::from_static(b"five"));
        assert_eq!(all_bytes(&output), b"onetwothreefourfive");
        assert_eq!(first_bytes(&output, 0), b"");
        assert_eq!(first_bytes(&output, 2), b"onetwothree");
        assert_eq!(first_bytes(&output, 3), b"onetwothreefour");
        for written in 1..=19 {
            output.advance(1);
            assert_eq!(all_bytes(&output), &b"onetwothreefourfive"[written..]);
        }
        assert!(output.is_empty());
    }

    #[test]
    fn a_slow_reader_does_not_make_the_buffer_grow() {
        let mut output = Output::default();
        output.own().extend_from_slice(&[0; CUT_OFF_MIN]);
        for _ in 0..1000 {
            output.own().extend_from_slice(&[0; 8192]);
            output.advance(8192);
        }
        assert_eq!(output.len(), CUT_OFF_MIN);
        assert!(output.own.capacity() <= 4 * CUT_OFF_MIN, "{}", output.own.capacity());
    }

    #[test]
    fn a_buffer_is_kept_within_limits_and_given_back_on_request() {
        let mut output = Output::default();
        output.own().extend_from_slice(&vec![0; KEEP_MAX]);
        output.shrink();
        assert_eq!(output.len(), KEEP_MAX, "what waits is not lost");
        output.advance(KEEP_MAX);
        assert_eq!(output.own.capacity(), KEEP_MAX);
        output.shrink();
        assert_eq!(output.own.capacity(), 0);
        output.own().extend_from_slice(&vec![0; KEEP_MAX + 1]);
        output.advance(KEEP_MAX + 1);
        assert_eq!(output.own.capacity(), 0);
    }

    /// Random appends and writes against a plain queue of bytes.
    #[test]
    fn any_mix_of_appends_and_writes_keeps_the_order() {
        for_seeds(|draw| {
            let mut output = Output::default();
            let mut other = Output::default();
            let mut expected = Vec::new();
            let mut expected_other = Vec::new();
            for step in 0..2000_u32 {
                let bytes =
                    vec![step.to_le_bytes()[0]; draw.index(if step % 50 == 0 { 100_000 } else { 50 })];
                let (output_of, model) = match draw.index(3) {
                    0 => (&mut other, &mut expected_other),
                    _ => (&mut output, &mut expected),
                };
                model.extend_from_slice(&bytes);
                match draw.index(2) {
                    0 => output_of.own().extend_from_slice(&bytes),
                    _ => output_of.share(bytes.into()),
                }
                if draw.index(3) == 0 {
                    let count = draw.index(model.len() + 1);
                    model.drain(..count);
                    output_of.advance(count);
                }
                if draw.index(10) == 0 {
                    output.append(&mut other);
                    expected.append(&mut expected_other);
                    assert!(other.is_empty());
                }
                assert!(all_bytes(&output) == expected, "step {step}");
                assert!(all_bytes(&other) == expected_other, "step {step}");
            }
        });
    }
}
