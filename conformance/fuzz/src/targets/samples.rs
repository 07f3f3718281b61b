//! Sound rows and entries, as the store's pages draw them: what the targets of the store begin
//! with.

use leveret::message::{BlockBuilder, Message};

/// A text with its length before it.
pub fn text(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("a sample is short");
    [&len.to_be_bytes(), bytes].concat()
}

/// Records of two messages, of which the second is transient.
#[must_use]
pub fn records() -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    for persistent in [true, false] {
        builder.push(&Message {
            persistent,
            ..Message::published(1_795_000_000_000, (b"", b"q"), &[0, 0], b"hare")
        });
    }
    builder.build().bytes().to_vec()
}

/// A row of `queues`.
#[must_use]
pub fn queue() -> Vec<u8> {
    [&[1][..], &text(b"/"), &text(b"jobs"), &text(b"\x01xt\x01")].concat()
}

/// A key of `exchanges`, and its row.
#[must_use]
pub fn exchange() -> (Vec<u8>, Vec<u8>) {
    ([text(b"/"), text(b"logs")].concat(), [&[2][..], &text(b"topic"), &text(b"")].concat())
}

/// A key of `bindings`.
#[must_use]
pub fn binding() -> Vec<u8> {
    [&[0][..], &text(b"/"), &text(b"logs"), &text(b"jobs"), &text(b"a.*"), &text(b"")].concat()
}

/// A key of `seen`, and its row.
#[must_use]
pub fn seen() -> (Vec<u8>, Vec<u8>) {
    (b"\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03".to_vec(), [&[0; 7][..], &[131], &[0xff; 8], b"Sid"].concat())
}

/// A key of `users`, and its row: a password, a limit and a tag.
#[must_use]
pub fn user() -> (Vec<u8>, Vec<u8>) {
    let hash = [&b"salt"[..], &[7; 32]].concat();
    (text(b"bob"), [&[9][..], &text(&hash), &[0; 7], &[3], &text(b"monitoring")].concat())
}

/// A key of `permissions`, and its row.
#[must_use]
pub fn permission() -> (Vec<u8>, Vec<u8>) {
    ([text(b"bob"), text(b"/")].concat(), [text(b""), text(b".*"), text(b"^jobs")].concat())
}

/// A key of `topic_permissions`, and its row.
#[must_use]
pub fn topic_permission() -> (Vec<u8>, Vec<u8>) {
    ([text(b"bob"), text(b"/"), text(b"logs")].concat(), [text(b"^a"), text(b"")].concat())
}

/// A key of `vhosts`, and its row: a limit, a description, a type of queue and a tag.
#[must_use]
pub fn vhost() -> (Vec<u8>, Vec<u8>) {
    let limits = [&[5, 0, 0, 0, 7][..], &[0; 4]].concat();
    (text(b"v"), [limits, text(b"of the shop"), text(b"quorum"), text(b"shop")].concat())
}

/// A key of `policies`, and its row: a number, a text and an array.
#[must_use]
pub fn policy() -> (Vec<u8>, Vec<u8>) {
    let length = [&text(b"max-length")[..], b"\0\0\0\0\0\0\0\0\x05"].concat();
    let overflow = [&text(b"overflow")[..], b"\x01", &text(b"drop-head")].concat();
    let delays = [&text(b"retry-delays")[..], b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x09"].concat();
    let head = [&[0; 8][..], &text(b"^jobs"), &text(b"queues")].concat();
    ([&[0][..], &text(b"/"), &text(b"p")].concat(), [head, length, overflow, delays].concat())
}

/// A row of `segments` that holds [`records`], the second of them marked as transient.
#[must_use]
pub fn segment() -> Vec<u8> {
    let records = records();
    let bytes = u32::try_from(records.len()).expect("a sample is short").to_be_bytes();
    [b"\x01\0\0\0\x02", &bytes[..], b"\0\0\0\x01\x02", &records].concat()
}

/// A row of `segments` whose ten records are elsewhere, some of them settled.
#[must_use]
pub fn large_segment() -> Vec<u8> {
    b"\0\0\0\0\x0a\0\0\x10\0\0\x01\0\x02\x0e\0\x02".to_vec()
}

/// An entry with one change of every kind.
#[must_use]
pub fn entry() -> Vec<u8> {
    let number = |number: u64| number.to_be_bytes().to_vec();
    let (key, row) = exchange();
    let (slot, value) = seen();
    let auth = [user(), permission(), topic_permission(), vhost()];
    let [bob, may, keys, shop] = auth.map(|(key, row)| (text(&key), text(&row)));
    let (rule, says) = policy();
    [
        // Of queue 1: settle, delivered, return, declare, publish; queue 2 is gone.
        [vec![2], number(1), number(0), number(1)].concat(),
        [vec![4], number(1), number(1)].concat(),
        [vec![3], number(1), number(1), vec![0, 0, 0, 2]].concat(),
        [vec![5], number(1), text(&queue())].concat(),
        [vec![1], number(1), number(0), text(&records())].concat(),
        [vec![6], number(2)].concat(),
        [vec![7], text(&key), text(&row)].concat(),
        [vec![8], text(b"/"), text(b"old")].concat(),
        [vec![9], text(&binding())].concat(),
        [vec![10], text(&binding())].concat(),
        [vec![20], text(&slot), text(&value)].concat(),
        [vec![21], text(&slot[..9])].concat(),
        [&[40][..], &bob.0, &bob.1, &[41], &bob.0].concat(),
        [&[42][..], &may.0, &may.1, &[43], &may.0].concat(),
        [&[44][..], &keys.0, &keys.1, &[45], &keys.0].concat(),
        [&[46][..], &shop.0, &shop.1, &[47], &shop.0].concat(),
        [&[48][..], &text(&rule), &text(&says), &[49], &text(&rule)].concat(),
    ]
    .concat()
}
