//! Records and blocks of them: bytes that are taken for a block give messages that make the same
//! block.

use bytes::Bytes;
use leveret::message::{Block, BlockBuilder, Copies, Message};

/// Reads `data` as the bytes of a block.
pub fn check(data: &[u8]) {
    let Ok(block) = Block::from_bytes(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(block.is_empty(), data.is_empty(), "a block of nothing");
    assert_eq!(block.slice(0..block.len()), block.bytes(), "a block is all of its records");
    let (mut persistent, mut bytes) = (0, 0);
    for index in 0..block.len() {
        let message = block.message(index);
        assert_eq!(block.body(index), message.body, "record {index} has two bodies");
        assert_eq!(block.is_persistent(index), message.persistent, "record {index}");
        assert_eq!(block.bytes_of(index..index + 1), message.record_len(), "record {index}");
        persistent += u32::from(message.persistent);
        bytes += message.record_len();
        let again = Block::of(&message);
        assert_eq!(again.message(0), message, "record {index} is another when it is written again");
    }
    assert_eq!((persistent, bytes), (block.persistent(), data.len()), "the records are not the block");
}

/// Blocks of none, one and several records.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let message = Message {
        copies: Copies::Blind,
        expires: true,
        priority: Some(3),
        ..Message::published(1_795_000_000_000, (b"amq.topic", b"a.b"), &[0x10, 0, 2], b"hare")
    };
    let plain = Message {
        persistent: false,
        died: true,
        copies: Copies::Spent,
        expires: true,
        priority: Some(3),
        exchange: b"",
        properties: &[0, 0],
        body: b"",
        ..message
    };
    let mut builder = BlockBuilder::default();
    for message in [&message, &plain, &message] {
        builder.push(message);
    }
    let blocks = [BlockBuilder::default().build(), Block::of(&message), Block::of(&plain), builder.build()];
    blocks.iter().map(|block| block.bytes().to_vec()).collect()
}
