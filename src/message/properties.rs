//! The properties of a message: flags, and the list of those that are there (AMQP 0-9-1 section
//! 4.2.6.1).
//!
//! ```text
//!  0  u16  property flags, then the properties whose bits are set, in this order:
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

use super::error::Malformed;
use super::reader::ByteReader;
use super::table;

/// The property flags of a message without properties.
pub const NONE: &[u8] = &[0, 0];

pub(crate) const CONTENT_TYPE: u16 = 1 << 15;
pub(crate) const CONTENT_ENCODING: u16 = 1 << 14;
pub(crate) const HEADERS: u16 = 1 << 13;
pub(crate) const DELIVERY_MODE: u16 = 1 << 12;
pub(crate) const PRIORITY: u16 = 1 << 11;
pub(crate) const CORRELATION_ID: u16 = 1 << 10;
pub(crate) const REPLY_TO: u16 = 1 << 9;
pub(crate) const EXPIRATION: u16 = 1 << 8;
pub(crate) const MESSAGE_ID: u16 = 1 << 7;
pub(crate) const TIMESTAMP: u16 = 1 << 6;
pub(crate) const KIND: u16 = 1 << 5;
pub(crate) const USER_ID: u16 = 1 << 4;
pub(crate) const APP_ID: u16 = 1 << 3;
pub(crate) const CLUSTER_ID: u16 = 1 << 2;
/// Bit 0 would announce more flags, bit 1 a property that nobody has defined.
pub(crate) const UNDEFINED: u16 = 0b11;

/// `raw` of a message whose only property is its delivery mode begins so: by far the most common
/// one.
const DELIVERY_MODE_ONLY: [u8; 2] = DELIVERY_MODE.to_be_bytes();

/// The delivery mode of a message that names none: transient.
const TRANSIENT: u8 = 1;

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

/// Reads property flags and list.
///
/// # Errors
/// They do not decode, or something follows. The headers' inside is not looked at.
#[inline]
pub fn decode(raw: &[u8]) -> Result<Properties<'_>, Malformed> {
    read(raw).ok_or(Malformed::Properties)
}

/// Whether [`decode`] would take these bytes, and [`table::decode`] the headers among them.
///
/// # Errors
/// What is malformed.
#[inline]
pub fn check(raw: &[u8]) -> Result<(), Malformed> {
    match raw {
        [0, 0] => Ok(()),
        [high, low, _mode] if [*high, *low] == DELIVERY_MODE_ONLY => Ok(()),
        _ => check_list(raw),
    }
}

fn check_list(raw: &[u8]) -> Result<(), Malformed> {
    match decode(raw)?.headers {
        Some(headers) => table::check(headers),
        None => Ok(()),
    }
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

/// The time to live that a message with these properties has of its own, milliseconds, if it has a
/// valid one.
#[must_use]
pub fn expiration_ms(raw: &[u8]) -> Option<u64> {
    let properties = decode(raw).ok()?;
    str::from_utf8(properties.expiration?).ok()?.parse().ok()
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
