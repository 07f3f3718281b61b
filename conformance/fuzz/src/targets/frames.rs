//! Input to frames: each is whole and within its limit, and no part of a frame is taken for one.

use crate::session::wire::encode;
use leveret::protocol::amqp::wire::frame::{FRAME_MAX, FRAME_MIN, decode, protocol_header};

/// Reads `data` as a stream of frames, until there is none or a fault.
pub fn check(data: &[u8]) {
    let _header = protocol_header(data);
    for frame_max in [FRAME_MIN, FRAME_MAX] {
        let mut rest = data;
        while let Ok(Some((frame, used))) = decode(rest, frame_max) {
            assert!(used <= rest.len(), "more is used than there is");
            assert!(frame.payload.len() <= frame_max as usize, "the payload is above the limit");
            let again = [
                &[frame.kind.octet()][..],
                &frame.channel.to_be_bytes(),
                &u32::try_from(frame.payload.len()).expect("it is within the limit").to_be_bytes(),
                frame.payload,
                &[0xCE],
            ];
            assert_eq!(again.concat(), &rest[..used], "the frame is not what it was read from");
            for cut in [0, 6, 7, used - 1] {
                assert_eq!(decode(&rest[..cut.min(used - 1)], frame_max), Ok(None), "cut at {cut}");
            }
            rest = &rest[used..];
        }
    }
}

/// A dialogue in frames of every kind.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let sentences = ["0 heartbeat", "1 channel.open", "1 basic.publish x key hello", "7 content-body abc"];
    let mut samples: Vec<Vec<u8>> = sentences.iter().map(|sentence| encode(sentence)).collect();
    samples.push(samples.concat());
    samples.push(encode("header"));
    samples
}
