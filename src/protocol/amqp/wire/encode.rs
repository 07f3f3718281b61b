//! Values to frames, appended to a `Vec`. The counterpart of [`super::frame`],
//! [`super::method`] and [`super::header`], which draw the bytes.
//!
//! Delivering is the hottest path of the broker: its bytes are reserved once and then appended in
//! pieces. Names, keys and tags are short strings, at most 255 bytes; one that is longer is a
//! defect of the caller, and panics.

use super::frame::{FRAME_END, FRAME_HEAD, FRAME_MIN, FRAME_OVERHEAD, Kind};
use super::header::BASIC;
use super::method::{ACK, DELIVER, GET_OK, NACK, PUBLISH, RETURN};
use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, gen_class};

/// A message as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<'a> {
    /// The exchange it is, or was, published to.
    pub exchange: &'a [u8],
    /// The routing key.
    pub routing_key: &'a [u8],
    /// Property flags and list as on the wire.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// What a delivery adds to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Delivery tag.
    pub tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
}

/// No method with a content has more bytes than this beside its strings, properties and body: the
/// frames of method and header, and the arguments of fixed size.
const CONTENT_HEAD: usize = 64;

/// Any method, without a content.
///
/// # Panics
/// Never: writing to memory does not fail.
pub fn method(out: &mut Vec<u8>, channel: u16, method: &AMQPClass) {
    let at = open_frame(out, Kind::Method, channel);
    let context = WriteContext::from(std::mem::take(out));
    let written = gen_class(method)(context).expect("writing to memory does not fail");
    *out = written.into_inner().0;
    close_frame(out, at);
}

/// A heartbeat.
pub fn heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&frame_head(Kind::Heartbeat, 0, 0));
    out.push(FRAME_END);
}

/// basic.ack: a client's acknowledgement or a broker's confirm.
pub fn ack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool) {
    settle(out, channel, ACK, tag, u8::from(multiple));
}

/// basic.nack: a client's refusal or a broker's.
pub fn nack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool, requeue: bool) {
    settle(out, channel, NACK, tag, u8::from(multiple) | u8::from(requeue) << 1);
}

#[inline]
fn settle(out: &mut Vec<u8>, channel: u16, method: u32, tag: u64, bits: u8) {
    const ARGUMENTS: u32 = 13;
    let mut frame = [0; FRAME_HEAD + ARGUMENTS as usize + 1];
    frame[0..7].copy_from_slice(&frame_head(Kind::Method, channel, ARGUMENTS));
    frame[7..11].copy_from_slice(&method.to_be_bytes());
    frame[11..19].copy_from_slice(&tag.to_be_bytes());
    frame[19] = bits;
    frame[20] = FRAME_END;
    out.extend_from_slice(&frame);
}

/// basic.publish and its content.
pub fn publish(out: &mut Vec<u8>, channel: u16, frame_max: u32, mandatory: bool, content: &Content<'_>) {
    reserve(out, frame_max, 0, content);
    let at = open_method(out, channel, PUBLISH);
    out.extend_from_slice(&[0, 0]);
    short_string(out, content.exchange);
    short_string(out, content.routing_key);
    out.push(u8::from(mandatory));
    close_frame(out, at);
    header(out, channel, content.properties, content.body.len() as u64);
    body(out, channel, frame_max, content.body);
}

/// basic.deliver and its content.
#[inline]
pub fn deliver(
    out: &mut Vec<u8>,
    channel: u16,
    frame_max: u32,
    consumer_tag: &[u8],
    delivery: Delivery,
    content: &Content<'_>,
) {
    reserve(out, frame_max, consumer_tag.len(), content);
    deliver_method(out, channel, consumer_tag, delivery, content);
    header(out, channel, content.properties, content.body.len() as u64);
    body(out, channel, frame_max, content.body);
}

/// basic.deliver and the content header only, for a body that follows as shared slices, each
/// between [`body_frame_head`] and an end octet. `content.body` is not looked at.
pub fn deliver_head(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery: Delivery,
    content: &Content<'_>,
    body_size: u64,
) {
    deliver_method(out, channel, consumer_tag, delivery, content);
    header(out, channel, content.properties, body_size);
}

/// What comes before the `len` bytes of a body frame; after them the caller adds [`FRAME_END`].
pub fn body_frame_head(out: &mut Vec<u8>, channel: u16, len: u32) {
    out.extend_from_slice(&frame_head(Kind::Body, channel, len));
}

/// How many bytes of a body go into one frame.
#[must_use]
#[inline]
pub fn body_frame_max(frame_max: u32) -> usize {
    // Nobody negotiates less; a caller that passed less must not make frames without payload for
    // ever.
    (frame_max.max(FRAME_MIN) - FRAME_OVERHEAD) as usize
}

/// basic.get-ok and its content.
pub fn get_ok(
    out: &mut Vec<u8>,
    channel: u16,
    frame_max: u32,
    delivery: Delivery,
    message_count: u32,
    content: &Content<'_>,
) {
    reserve(out, frame_max, 0, content);
    let at = open_method(out, channel, GET_OK);
    out.extend_from_slice(&delivery.tag.to_be_bytes());
    out.push(u8::from(delivery.redelivered));
    short_string(out, content.exchange);
    short_string(out, content.routing_key);
    out.extend_from_slice(&message_count.to_be_bytes());
    close_frame(out, at);
    header(out, channel, content.properties, content.body.len() as u64);
    body(out, channel, frame_max, content.body);
}

/// basic.return and its content; `code` and `text` say why, such as 312 `NO_ROUTE`.
pub fn basic_return(
    out: &mut Vec<u8>,
    channel: u16,
    frame_max: u32,
    code: u16,
    text: &str,
    content: &Content<'_>,
) {
    reserve(out, frame_max, text.len(), content);
    let at = open_method(out, channel, RETURN);
    out.extend_from_slice(&code.to_be_bytes());
    short_string(out, text.as_bytes());
    short_string(out, content.exchange);
    short_string(out, content.routing_key);
    close_frame(out, at);
    header(out, channel, content.properties, content.body.len() as u64);
    body(out, channel, frame_max, content.body);
}

/// Makes room for a method, a header and the body's frames at once; `text_len` is for a further
/// string.
#[inline]
fn reserve(out: &mut Vec<u8>, frame_max: u32, text_len: usize, content: &Content<'_>) {
    let body_frames = content.body.len() / body_frame_max(frame_max) + 1;
    out.reserve(
        CONTENT_HEAD
            + text_len
            + content.exchange.len()
            + content.routing_key.len()
            + content.properties.len()
            + content.body.len()
            + body_frames * FRAME_OVERHEAD as usize,
    );
}

#[inline]
fn deliver_method(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery: Delivery,
    content: &Content<'_>,
) {
    // The length is reckoned beforehand, not patched in afterwards, and what is of fixed size is
    // appended in as few pieces as there are: a small delivery takes a quarter less time so.
    /// Class, method, delivery tag, bits, and the lengths of three strings.
    const FIXED: usize = 16;
    let strings = consumer_tag.len() + content.exchange.len() + content.routing_key.len();
    let len = u32::try_from(FIXED + strings).expect("three short strings");
    let mut head = [0; FRAME_HEAD + 5];
    head[0..7].copy_from_slice(&frame_head(Kind::Method, channel, len));
    head[7..11].copy_from_slice(&DELIVER.to_be_bytes());
    head[11] = short_len(consumer_tag);
    out.extend_from_slice(&head);
    out.extend_from_slice(consumer_tag);
    let mut middle = [0; 10];
    middle[0..8].copy_from_slice(&delivery.tag.to_be_bytes());
    middle[8] = u8::from(delivery.redelivered);
    middle[9] = short_len(content.exchange);
    out.extend_from_slice(&middle);
    out.extend_from_slice(content.exchange);
    short_string(out, content.routing_key);
    out.push(FRAME_END);
}

/// A content header frame.
#[inline]
fn header(out: &mut Vec<u8>, channel: u16, properties: &[u8], body_size: u64) {
    const FIXED: usize = 12;
    let len = u32::try_from(FIXED + properties.len()).expect("properties came in one frame");
    let mut head = [0; FRAME_HEAD + FIXED];
    head[0..7].copy_from_slice(&frame_head(Kind::Header, channel, len));
    head[7..9].copy_from_slice(&BASIC.to_be_bytes());
    head[11..19].copy_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// As many body frames as the body needs: none for an empty one.
#[inline]
fn body(out: &mut Vec<u8>, channel: u16, frame_max: u32, body: &[u8]) {
    for part in body.chunks(body_frame_max(frame_max)) {
        let len = u32::try_from(part.len()).expect("a part is smaller than a frame");
        body_frame_head(out, channel, len);
        out.extend_from_slice(part);
        out.push(FRAME_END);
    }
}

#[inline]
fn frame_head(kind: Kind, channel: u16, len: u32) -> [u8; FRAME_HEAD] {
    let [channel_high, channel_low] = channel.to_be_bytes();
    let [a, b, c, d] = len.to_be_bytes();
    [kind.octet(), channel_high, channel_low, a, b, c, d]
}

/// Begins a frame whose length is not known yet; where its payload begins is what [`close_frame`]
/// needs.
#[inline]
fn open_frame(out: &mut Vec<u8>, kind: Kind, channel: u16) -> usize {
    out.extend_from_slice(&frame_head(kind, channel, 0));
    out.len()
}

#[inline]
fn open_method(out: &mut Vec<u8>, channel: u16, method: u32) -> usize {
    let at = open_frame(out, Kind::Method, channel);
    out.extend_from_slice(&method.to_be_bytes());
    at
}

#[inline]
fn close_frame(out: &mut Vec<u8>, payload_at: usize) {
    let len = u32::try_from(out.len() - payload_at).expect("a method is smaller than 4 GiB");
    out[payload_at - 4..payload_at].copy_from_slice(&len.to_be_bytes());
    out.push(FRAME_END);
}

#[inline]
fn short_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(short_len(text));
    out.extend_from_slice(text);
}

#[inline]
fn short_len(text: &[u8]) -> u8 {
    u8::try_from(text.len()).expect("a short string")
}
