//! Frames made by hand, right or wrong as an attack wants them.
//!
//! ```text
//! frame    type u8 | channel u16 | length u32 | payload | 0xCE
//! method   class u16 | method u16 | arguments
//! header   class u16 | weight u16 | body u64 | property flags u16 | properties
//! ```

/// Frames of methods.
pub(crate) const METHOD: u8 = 1;
/// Frames of content headers.
pub(crate) const HEADER: u8 = 2;
/// Frames of bodies.
pub(crate) const BODY: u8 = 3;
/// The last octet of each.
const END: u8 = 0xCE;

/// What a client says first.
pub(crate) const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";

/// The largest payload of the frames that are agreed on here.
pub(crate) const PAYLOAD_MAX: usize = 131_072 - 8;

/// Property flags: headers, delivery mode.
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;

/// A length as the wire has it; nothing here is longer.
fn len32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("nothing of 4 GiB is made here").to_be_bytes()
}

/// A frame.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(len32(payload));
    frame.extend(payload);
    frame.push(END);
    frame
}

/// A method frame; `arguments` one after the other.
pub(crate) fn method(channel: u16, ids: (u16, u16), arguments: &[&[u8]]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(ids.0.to_be_bytes());
    payload.extend(ids.1.to_be_bytes());
    payload.extend(arguments.concat());
    frame(METHOD, channel, &payload)
}

/// A short string; cut at its 255 bytes.
pub(crate) fn short(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(255)];
    let mut bytes = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
    bytes.extend(text);
    bytes
}

/// A long string, or a table that has these bytes.
pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    let mut long = len32(bytes).to_vec();
    long.extend(bytes);
    long
}

/// A table within a table, and so on, without the length of the outermost.
pub(crate) fn deep(depth: usize) -> Vec<u8> {
    let mut table = Vec::new();
    for _level in 0..depth {
        let inner = long(&table);
        table = b"\x01kF".to_vec();
        table.extend(inner);
    }
    table
}

/// A table of `count` short texts, without its length.
pub(crate) fn wide(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| [short(&format!("key-{n}")), b"S".to_vec(), long(b"value")].concat()).collect()
}

/// All that a client says until it is let in, with channel 1 open.
pub(crate) fn handshake() -> Vec<u8> {
    [
        PROTOCOL.to_vec(),
        method(0, (10, 11), &[&long(&[]), &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")]),
        method(0, (10, 31), &[&2047_u16.to_be_bytes(), &131_072_u32.to_be_bytes(), &[0, 0]]),
        method(0, (10, 40), &[&short("/"), &short(""), &[0]]),
        open_channel(1),
    ]
    .concat()
}

/// channel.open.
pub(crate) fn open_channel(channel: u16) -> Vec<u8> {
    method(channel, (20, 10), &[&short("")])
}

/// channel.close.
pub(crate) fn close_channel(channel: u16) -> Vec<u8> {
    method(channel, (20, 40), &[&200_u16.to_be_bytes(), &short(""), &[0; 4]])
}

/// connection.close.
pub(crate) fn close() -> Vec<u8> {
    method(0, (10, 50), &[&200_u16.to_be_bytes(), &short(""), &[0; 4]])
}

/// queue.declare with a table of arguments.
pub(crate) fn declare_with(name: &str, durable: bool, table: &[u8]) -> Vec<u8> {
    method(1, (50, 10), &[&[0, 0], &short(name), &[if durable { 2 } else { 0 }], &long(table)])
}

/// queue.declare.
pub(crate) fn declare(name: &str, durable: bool) -> Vec<u8> {
    declare_with(name, durable, &[])
}

/// queue.declare of a queue that goes with its connection.
pub(crate) fn declare_exclusive(name: &str) -> Vec<u8> {
    method(1, (50, 10), &[&[0, 0], &short(name), &[4], &long(&[])])
}

/// queue.delete.
pub(crate) fn delete(name: &str) -> Vec<u8> {
    method(1, (50, 40), &[&[0, 0], &short(name), &[0]])
}

/// queue.bind.
pub(crate) fn bind(queue: &str, exchange: &str, key: &str) -> Vec<u8> {
    let names = [short(queue), short(exchange), short(key)].concat();
    method(1, (50, 20), &[&[0, 0], &names, &[0], &long(&[])])
}

/// queue.unbind.
pub(crate) fn unbind(queue: &str, exchange: &str, key: &str) -> Vec<u8> {
    let names = [short(queue), short(exchange), short(key)].concat();
    method(1, (50, 50), &[&[0, 0], &names, &long(&[])])
}

/// exchange.declare of a transient exchange.
pub(crate) fn declare_exchange(name: &str, kind: &str) -> Vec<u8> {
    method(1, (40, 10), &[&[0, 0], &short(name), &short(kind), &[0], &long(&[])])
}

/// exchange.delete.
pub(crate) fn delete_exchange(name: &str) -> Vec<u8> {
    method(1, (40, 20), &[&[0, 0], &short(name), &[0]])
}

/// basic.consume with acknowledgements.
pub(crate) fn consume(queue: &str, tag: &str) -> Vec<u8> {
    method(1, (60, 20), &[&[0, 0], &short(queue), &short(tag), &[0], &long(&[])])
}

/// basic.cancel.
pub(crate) fn cancel(tag: &str) -> Vec<u8> {
    method(1, (60, 30), &[&short(tag), &[0]])
}

/// basic.qos for each consumer.
pub(crate) fn prefetch(count: u16) -> Vec<u8> {
    method(1, (60, 10), &[&[0; 4], &count.to_be_bytes(), &[0]])
}

/// basic.get with an acknowledgement.
pub(crate) fn get(queue: &str) -> Vec<u8> {
    method(1, (60, 70), &[&[0, 0], &short(queue), &[0]])
}

/// basic.ack.
pub(crate) fn ack(channel: u16, tag: u64, multiple: bool) -> Vec<u8> {
    method(channel, (60, 80), &[&tag.to_be_bytes(), &[u8::from(multiple)]])
}

/// confirm.select.
pub(crate) fn select_confirm() -> Vec<u8> {
    method(1, (85, 10), &[&[0]])
}

/// A heartbeat.
pub(crate) fn heartbeat() -> Vec<u8> {
    frame(8, 0, &[])
}

/// The method of a publish alone.
pub(crate) fn publish_method(channel: u16, exchange: &str, key: &str, mandatory: bool) -> Vec<u8> {
    method(channel, (60, 40), &[&[0, 0], &short(exchange), &short(key), &[u8::from(mandatory)]])
}

/// A content header that announces a body of `size` bytes; `headers` is a table without its length.
pub(crate) fn header(channel: u16, size: u64, persistent: bool, headers: Option<&[u8]>) -> Vec<u8> {
    let flags = if persistent { DELIVERY_MODE } else { 0 } | if headers.is_some() { HEADERS } else { 0 };
    let mut payload = vec![0, 60, 0, 0];
    payload.extend(size.to_be_bytes());
    payload.extend(flags.to_be_bytes());
    if let Some(headers) = headers {
        payload.extend(long(headers));
    }
    if persistent {
        payload.push(2);
    }
    frame(HEADER, channel, &payload)
}

/// A message by the default exchange, on channel 1.
pub(crate) fn publish(queue: &str, body: &[u8], persistent: bool) -> Vec<u8> {
    [publish_method(1, "", queue, false), content(body, persistent)].concat()
}

/// What comes after a publish on channel 1.
pub(crate) fn content(body: &[u8], persistent: bool) -> Vec<u8> {
    let mut bytes = header(1, body.len() as u64, persistent, None);
    for part in body.chunks(PAYLOAD_MAX) {
        bytes.extend(frame(BODY, 1, part));
    }
    bytes
}
