//! The payloads of method and content header frames: what is read says the same when it is written
//! and read again.

use crate::session::wire::encode as sentence_bytes;
use crate::targets::session::SENTENCES;
use leveret::message::{properties, table};
use leveret::protocol::amqp::wire::encode;
use leveret::protocol::amqp::wire::frame::{FRAME_MAX, Kind, decode as frame};
use leveret::protocol::amqp::wire::header;
use leveret::protocol::amqp::wire::method::{Method, decode, ids};

/// Reads `data` as a method and as a content header.
pub fn check(data: &[u8]) {
    let _ids = ids(data);
    if let Ok(Method::Other(method)) = decode(data) {
        let mut written = Vec::new();
        encode::method(&mut written, 1, &method);
        let (again, _used) = frame(&written, u32::MAX).expect("it was just written").expect("all of it");
        let mut twice = Vec::new();
        let Ok(Method::Other(read)) = decode(again.payload) else { panic!("{method:?} is not read again") };
        encode::method(&mut twice, 1, &read);
        // As bytes, for a number in a table may be none, which is not even equal to itself.
        assert_eq!(twice, written, "{method:?}");
    }
    let Ok(header) = header::decode(data) else { return };
    let _mode = properties::delivery_mode(header.raw);
    if header.class == 60 {
        let read = properties::decode(header.raw).expect("what a header takes, its properties take");
        if let Some(headers) = read.headers {
            table::decode(headers).expect("what a header takes, its table takes");
        }
        let mut raw = Vec::new();
        properties::encode(&read, &mut raw);
        assert_eq!(properties::decode(&raw), Ok(read), "properties change when they are written");
    }
}

/// The payload of each frame of a dialogue that is of these kinds.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for bytes in SENTENCES.iter().map(|sentence| sentence_bytes(sentence)) {
        let mut rest = bytes.as_slice();
        while let Ok(Some((found, used))) = frame(rest, FRAME_MAX) {
            if matches!(found.kind, Kind::Method | Kind::Header) {
                samples.push(found.payload.to_vec());
            }
            rest = &rest[used..];
        }
    }
    samples
}
