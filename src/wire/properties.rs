//! The payload of a content header frame (AMQP 0-9-1 section 4.2.6.1).
//!
//! ```text
//!  0  u16  class, 60
//!  2  u16  weight, 0
//!  4  u64  size of the body
//! 12  u16  property flags, then the properties whose bits are set, in this order:
//!          15 content type        short string     8 expiration   short string
//!          14 content encoding    short string     7 message id   short string
//!          13 headers             table            6 timestamp    u64 seconds since 1970
//!          12 delivery mode       u8               5 type         short string
//!          11 priority            u8               4 user id      short string
//!          10 correlation id      short string     3 app id       short string
//!           9 reply to            short string     2 cluster id   short string
//! ```
//!
//! Flags and list together are `raw`: what a message keeps as it came and hands on without looking
//! inside.

use super::error::DecodeError;
use super::reader::ByteReader;
use super::table;

/// The only class with a content.
pub const BASIC: u16 = 60;

/// Bytes of a content header before its property flags.
pub const HEADER_MIN: usize = 12;

/// The property flags of a message without properties.
pub const NONE: &[u8] = &[0, 0];

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const KIND: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
/// Bit 0 would announce more flags, bit 1 a property that nobody has defined.
const UNDEFINED: u16 = 0b11;

/// `raw` of a message whose only property is its delivery mode begins so: by far the most common
/// one.
const DELIVERY_MODE_ONLY: [u8; 2] = DELIVERY_MODE.to_be_bytes();

/// The delivery mode of a message that names none: transient.
const TRANSIENT: u8 = 1;

/// A content header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method that the content belongs to. When it is not 60, `raw` is unchecked.
    pub class: u16,
    /// How many bytes of body follow.
    pub body_size: u64,
    /// Property flags and list as received.
    pub raw: &'a [u8],
}

/// The properties of a message, borrowed from `raw`. Strings are not checked to be UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// The bytes of a table, without its length.
    pub headers: Option<&'a [u8]>,
    /// 1 is transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 255, more is more urgent.
    pub priority: Option<u8>,
    /// Which request this replies to.
    pub correlation_id: Option<&'a [u8]>,
    /// Where a reply goes, by custom a queue's name.
    pub reply_to: Option<&'a [u8]>,
    /// Time to live: milliseconds in decimal digits, if it is valid.
    pub expiration: Option<&'a [u8]>,
    /// The application's.
    pub message_id: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The property `type`: what the message is to the application.
    pub kind: Option<&'a [u8]>,
    /// The user who published it.
    pub user_id: Option<&'a [u8]>,
    /// The application's.
    pub app_id: Option<&'a [u8]>,
    /// Deprecated.
    pub cluster_id: Option<&'a [u8]>,
}

/// Reads the payload of a content header frame. What it accepts as `raw`, [`decode`] accepts, and
/// [`table::decode`] accepts its headers.
///
/// # Errors
/// It ends before the flags or has a weight; flags, list or headers do not decode, or something
/// follows.
#[inline]
pub fn decode_header(payload: &[u8]) -> Result<ContentHeader<'_>, DecodeError> {
    let Some((head, raw)) = payload.split_first_chunk::<HEADER_MIN>() else { return Err(too_short()) };
    let [class_high, class_low, weight_high, weight_low, body_size @ ..] = *head;
    let class = u16::from_be_bytes([class_high, class_low]);
    if [weight_high, weight_low] != [0, 0] {
        return Err(DecodeError::HeaderWeight);
    }
    if class == BASIC {
        match raw {
            [0, 0] => {}
            [high, low, _mode] if [*high, *low] == DELIVERY_MODE_ONLY => {}
            _ => check(raw)?,
        }
    }
    Ok(ContentHeader { class, body_size: u64::from_be_bytes(body_size), raw })
}

/// Reads property flags and list.
///
/// # Errors
/// They do not decode, or something follows. The headers' inside is not looked at.
#[inline]
pub fn decode(raw: &[u8]) -> Result<Properties<'_>, DecodeError> {
    read(raw).ok_or_else(undecodable)
}

/// The delivery mode, 1 when there is none.
#[must_use]
#[inline]
pub fn delivery_mode(raw: &[u8]) -> u8 {
    match raw {
        [high, low, mode] if [*high, *low] == DELIVERY_MODE_ONLY => *mode,
        _ => read_delivery_mode(raw).unwrap_or(TRANSIENT),
    }
}

/// The priority, if there is one.
#[must_use]
#[inline]
pub fn priority(raw: &[u8]) -> Option<u8> {
    match raw {
        [high, ..] if high & PRIORITY.to_be_bytes()[0] != 0 => read_priority(raw),
        _ => None,
    }
}

/// Whether there is an expiration.
#[must_use]
#[inline]
pub fn has_expiration(raw: &[u8]) -> bool {
    raw.first().is_some_and(|high| high & EXPIRATION.to_be_bytes()[0] != 0)
}

fn check(raw: &[u8]) -> Result<(), DecodeError> {
    match decode(raw)?.headers {
        Some(headers) => table::check(headers),
        None => Ok(()),
    }
}

#[cold]
fn too_short() -> DecodeError {
    DecodeError::ShortHeader
}

#[cold]
fn undecodable() -> DecodeError {
    DecodeError::Properties
}

#[inline]
fn read(raw: &[u8]) -> Option<Properties<'_>> {
    let mut list = ByteReader::new(raw);
    let flags = list.u16()?;
    if flags & UNDEFINED != 0 {
        return None;
    }
    let properties = Properties {
        content_type: when(flags, CONTENT_TYPE, || list.short_string())?,
        content_encoding: when(flags, CONTENT_ENCODING, || list.short_string())?,
        headers: when(flags, HEADERS, || list.long_string())?,
        delivery_mode: when(flags, DELIVERY_MODE, || list.u8())?,
        priority: when(flags, PRIORITY, || list.u8())?,
        correlation_id: when(flags, CORRELATION_ID, || list.short_string())?,
        reply_to: when(flags, REPLY_TO, || list.short_string())?,
        expiration: when(flags, EXPIRATION, || list.short_string())?,
        message_id: when(flags, MESSAGE_ID, || list.short_string())?,
        timestamp: when(flags, TIMESTAMP, || list.u64())?,
        kind: when(flags, KIND, || list.short_string())?,
        user_id: when(flags, USER_ID, || list.short_string())?,
        app_id: when(flags, APP_ID, || list.short_string())?,
        cluster_id: when(flags, CLUSTER_ID, || list.short_string())?,
    };
    list.is_empty().then_some(properties)
}

/// What `read` reads when the bit is set; the outer `None` is a list that ends too early.
#[inline]
fn when<T>(flags: u16, bit: u16, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if flags & bit == 0 { Some(None) } else { read().map(Some) }
}

fn read_delivery_mode(raw: &[u8]) -> Option<u8> {
    let mut list = ByteReader::new(raw);
    let flags = list.u16()?;
    if flags & DELIVERY_MODE == 0 {
        return None;
    }
    when(flags, CONTENT_TYPE, || list.short_string())?;
    when(flags, CONTENT_ENCODING, || list.short_string())?;
    when(flags, HEADERS, || list.long_string())?;
    list.u8()
}

fn read_priority(raw: &[u8]) -> Option<u8> {
    let mut list = ByteReader::new(raw);
    let flags = list.u16()?;
    when(flags, CONTENT_TYPE, || list.short_string())?;
    when(flags, CONTENT_ENCODING, || list.short_string())?;
    when(flags, HEADERS, || list.long_string())?;
    when(flags, DELIVERY_MODE, || list.u8())?;
    list.u8()
}

/// The bytes of the headers' table, without its length; none when there are no headers.
#[must_use]
pub fn headers(raw: &[u8]) -> Option<&[u8]> {
    let mut list = ByteReader::new(raw);
    let flags = list.u16()?;
    if flags & HEADERS == 0 {
        return None;
    }
    when(flags, CONTENT_TYPE, || list.short_string())?;
    when(flags, CONTENT_ENCODING, || list.short_string())?;
    list.long_string()
}

/// Appends property flags and list.
///
/// # Panics
/// When a string is longer than 255 bytes.
pub fn encode(properties: &Properties<'_>, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(NONE);
    let mut list = Writer { flags: 0, out };
    list.short_string(CONTENT_TYPE, properties.content_type);
    list.short_string(CONTENT_ENCODING, properties.content_encoding);
    if let Some(headers) = properties.headers {
        let len = u32::try_from(headers.len()).expect("headers fit a frame");
        list.bytes(HEADERS, &len.to_be_bytes());
        list.bytes(HEADERS, headers);
    }
    list.octet(DELIVERY_MODE, properties.delivery_mode);
    list.octet(PRIORITY, properties.priority);
    list.short_string(CORRELATION_ID, properties.correlation_id);
    list.short_string(REPLY_TO, properties.reply_to);
    list.short_string(EXPIRATION, properties.expiration);
    list.short_string(MESSAGE_ID, properties.message_id);
    if let Some(timestamp) = properties.timestamp {
        list.bytes(TIMESTAMP, &timestamp.to_be_bytes());
    }
    list.short_string(KIND, properties.kind);
    list.short_string(USER_ID, properties.user_id);
    list.short_string(APP_ID, properties.app_id);
    list.short_string(CLUSTER_ID, properties.cluster_id);
    let flags = list.flags.to_be_bytes();
    out[at..at + 2].copy_from_slice(&flags);
}

/// Appends properties and remembers which.
struct Writer<'o> {
    flags: u16,
    out: &'o mut Vec<u8>,
}

impl Writer<'_> {
    fn bytes(&mut self, bit: u16, bytes: &[u8]) {
        self.flags |= bit;
        self.out.extend_from_slice(bytes);
    }

    fn octet(&mut self, bit: u16, value: Option<u8>) {
        if let Some(value) = value {
            self.bytes(bit, &[value]);
        }
    }

    fn short_string(&mut self, bit: u16, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.bytes(bit, &[u8::try_from(value.len()).expect("a short string")]);
            self.bytes(bit, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fields;
    use crate::wire::samples::{every_kind, nested};
    use amq_protocol::frame::WriteContext;
    use amq_protocol::protocol::basic::{AMQPProperties, gen_properties};

    fn raw_of(properties: &AMQPProperties) -> Vec<u8> {
        gen_properties(properties)(WriteContext::from(Vec::new())).unwrap().into_inner().0
    }

    fn header(class: u16, body_size: u64, raw: &[u8]) -> Vec<u8> {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(&body_size.to_be_bytes());
        payload.extend_from_slice(raw);
        payload
    }

    /// All properties of a message, or those whose bits are set.
    fn sample(bits: u16) -> AMQPProperties {
        let mut sample = AMQPProperties::default();
        let mut with = |bit: u16, set: fn(AMQPProperties) -> AMQPProperties| {
            if bits & bit != 0 {
                sample = set(std::mem::take(&mut sample));
            }
        };
        with(CONTENT_TYPE, |p| p.with_content_type("text/plain".into()));
        with(CONTENT_ENCODING, |p| p.with_content_encoding("gzip".into()));
        with(HEADERS, |p| p.with_headers(every_kind()));
        with(DELIVERY_MODE, |p| p.with_delivery_mode(2));
        with(PRIORITY, |p| p.with_priority(9));
        with(CORRELATION_ID, |p| p.with_correlation_id("c-1".into()));
        with(REPLY_TO, |p| p.with_reply_to("".into()));
        with(EXPIRATION, |p| p.with_expiration("60000".into()));
        with(MESSAGE_ID, |p| p.with_message_id("m".repeat(255).into()));
        with(TIMESTAMP, |p| p.with_timestamp(1_795_000_000));
        with(KIND, |p| p.with_type("order".into()));
        with(USER_ID, |p| p.with_user_id("guest".into()));
        with(APP_ID, |p| p.with_app_id("shop".into()));
        with(CLUSTER_ID, |p| p.with_cluster_id("c".into()));
        sample
    }

    fn check_sample(bits: u16) {
        let expected = sample(bits);
        let raw = raw_of(&expected);
        let payload = header(BASIC, 5, &raw);
        assert_eq!(decode_header(&payload), Ok(ContentHeader { class: BASIC, body_size: 5, raw: &raw }));

        let decoded = decode(&raw).unwrap();
        let text = |value: &Option<amq_protocol::types::ShortString>| {
            value.as_ref().map(|value| value.as_str().as_bytes().to_vec())
        };
        let own = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
        assert_eq!(own(decoded.content_type), text(expected.content_type()));
        assert_eq!(own(decoded.content_encoding), text(expected.content_encoding()));
        let headers = expected.headers().as_ref().map(fields::read);
        assert_eq!(decoded.headers.map(|table| table::decode(table).unwrap()), headers);
        assert_eq!(decoded.delivery_mode, *expected.delivery_mode());
        assert_eq!(decoded.priority, *expected.priority());
        assert_eq!(own(decoded.correlation_id), text(expected.correlation_id()));
        assert_eq!(own(decoded.reply_to), text(expected.reply_to()));
        assert_eq!(own(decoded.expiration), text(expected.expiration()));
        assert_eq!(own(decoded.message_id), text(expected.message_id()));
        assert_eq!(decoded.timestamp, *expected.timestamp());
        assert_eq!(own(decoded.kind), text(expected.kind()));
        assert_eq!(own(decoded.user_id), text(expected.user_id()));
        assert_eq!(own(decoded.app_id), text(expected.app_id()));
        assert_eq!(own(decoded.cluster_id), text(expected.cluster_id()));

        let mut again = b"before".to_vec();
        encode(&decoded, &mut again);
        assert_eq!(again, [b"before", raw.as_slice()].concat());
        assert_eq!(delivery_mode(&raw), expected.delivery_mode().unwrap_or(1));
        assert_eq!(priority(&raw), *expected.priority());
        assert_eq!(has_expiration(&raw), expected.expiration().is_some());

        for cut in 0..payload.len() {
            let fault = decode_header(&payload[..cut]).unwrap_err();
            let is_right = match fault {
                DecodeError::ShortHeader => cut < HEADER_MIN,
                DecodeError::Properties | DecodeError::Table => cut >= HEADER_MIN,
                _ => false,
            };
            assert!(is_right, "{bits:b} cut at {cut}: {fault}");
        }
        let longer = [payload.as_slice(), &[0]].concat();
        assert!(decode_header(&longer).is_err(), "{bits:b} and a byte more");
    }

    #[test]
    fn every_property_comes_back_as_amq_protocol_wrote_it() {
        check_sample(0);
        check_sample(!UNDEFINED);
        for bit in 2..16 {
            check_sample(1 << bit);
            check_sample(1 << bit | DELIVERY_MODE);
            check_sample(!UNDEFINED & !(1 << bit));
        }
    }

    #[test]
    fn undefined_flags_are_refused() {
        for flags in [[0, 1], [0, 2], [0x10, 1]] {
            let payload = header(BASIC, 0, &[flags[0], flags[1], 2]);
            assert!(matches!(decode_header(&payload), Err(DecodeError::Properties)), "{flags:?}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let with_headers = |headers: &[u8]| {
            let mut raw = Vec::new();
            encode(&Properties { headers: Some(headers), ..Properties::default() }, &mut raw);
            decode_header(&header(BASIC, 0, &raw)).map(|_| ()).map_err(|fault| fault.to_string())
        };
        assert_eq!(with_headers(b"\x01aV"), Ok(()));
        assert_eq!(with_headers(b"\x01aZ"), Err("field table does not decode".into()));
        assert_eq!(with_headers(&nested(b'A', 20_000)), Err("field table nested too deep".into()));
    }

    #[test]
    fn a_weight_is_unexpected_and_another_class_left_to_the_session() {
        let mut payload = header(BASIC, 0, NONE);
        payload[3] = 1;
        assert_eq!(
            decode_header(&payload).unwrap_err().to_string(),
            "expected content header for class 60, got non content header frame instead"
        );
        let payload = header(50, 7, &[255, 255]);
        let other = ContentHeader { class: 50, body_size: 7, raw: &[255, 255] };
        assert_eq!(decode_header(&payload), Ok(other));
    }
}
