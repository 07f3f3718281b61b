//! A message as bytes: the record, and the block of records that one read of a socket makes.
//!
//! A message is encoded once, when its content is complete. The same bytes lie in memory and on
//! disk, and a delivery copies them into frames. A [`Block`] never changes after it is built, so
//! any number of queues, consumers and the store share one without a lock.
//!
//! A record, integers big-endian:
//!
//! ```text
//!  0  u32  length of the whole record
//!  4  u8   flags: bit 0 = persistent (delivery-mode 2), bit 1 = dead-lettered here,
//!           bit 2 = has a header BCC to hide, bit 3 = its header CC counts no more,
//!           bit 4 = has a property `expiration`, bit 5 = has a property `priority`
//!  5  u8   length of the exchange's name
//!  6  u8   length of the routing key
//!  7  u8   priority, or 0
//!  8  u32  length of the properties
//! 12  u64  when it arrived, milliseconds since 1970
//! 20  exchange | routing key | properties (flags and list, as received) | body
//! ```
//!
//! A record has no sequence number of its own: a run of records lies under the number of its first
//! one, and a block that is routed to several queues has another in each.
//!
//! What the broker itself reads of properties and headers it reads by [`properties`],
//! [`headers`], `deaths`, `copies` and [`table`], without knowing which protocol they came by; no
//! other room knows how such a header is called.

pub(crate) mod copies;
pub(crate) mod deaths;
pub mod error;
pub mod headers;
pub mod properties;
pub(crate) mod reader;
#[cfg(test)]
pub(crate) mod samples;
pub mod table;

use bytes::{Bytes, BytesMut};
use std::fmt;
use std::ops::Range;

/// Bytes of a record before its exchange's name.
pub const RECORD_HEAD: usize = 20;

/// Where the time of its arrival lies in a record.
const ARRIVED: usize = 12;

/// A block takes no further record beyond this many bytes. 254 KiB: redb rounds a value up to a
/// power of two of its pages, so 256 KiB less a little is the largest that does not cost 512 KiB of
/// file.
pub const BLOCK_BYTES_MAX: usize = 254 * 1024;

/// A body that comes in parts has room for so many times what has just come: one of 64 KiB, cut in
/// two by a read, is seldom moved.
const PART_GROWTH: usize = 4;

/// A block takes no further record beyond this many.
pub const BLOCK_RECORDS_MAX: usize = 4096;

/// A body of this many bytes or more makes a block of its own, which no queue copies.
pub const LARGE_BODY: usize = 64 * 1024;

const PERSISTENT: u8 = 1;
const DIED: u8 = 2;
const BLIND: u8 = 4;
const SPENT: u8 = 8;
const EXPIRES: u8 = 16;
const PRIORITIZED: u8 = 32;

/// The header that holds further routing keys, an array of strings.
pub const CC: &str = "CC";

/// As [`CC`], and only the broker may know of them.
pub const BCC: &str = "BCC";

/// What the headers `CC` and `BCC` of a message mean (RabbitMQ: sender-selected.md).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Copies {
    /// `CC`, if there is one, holds further routing keys. There is no `BCC`.
    #[default]
    Open,
    /// As [`Copies::Open`]; and there is a `BCC`, of more keys, that nobody may be shown.
    Blind,
    /// `CC` is only there to be read: a dead-letter routing key has replaced all keys. There is no
    /// `BCC`.
    Spent,
}

/// The parts of a message, borrowed: what a record is made of, and what one reads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether it must survive a restart (delivery-mode 2).
    pub persistent: bool,
    /// Whether this broker dead-lettered it: only then is its `x-death` header ours to read.
    pub died: bool,
    /// Whether it has further routing keys, and what is to be hidden of them.
    pub copies: Copies,
    /// Whether it has a property `expiration`.
    pub expires: bool,
    /// Its property `priority`.
    pub priority: Option<u8>,
    /// When the broker took it, milliseconds since 1970.
    pub arrived_at_ms: u64,
    /// The exchange it was published to; empty for the default exchange. At most 255 bytes.
    pub exchange: &'a [u8],
    /// At most 255 bytes.
    pub routing_key: &'a [u8],
    /// Property flags and property list as on the wire.
    pub properties: &'a [u8],
    /// The content.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// As it arrives from a publisher: its properties say whether it is persistent, when it expires
    /// and which priority it has.
    #[inline(always)]
    #[must_use]
    pub fn published(
        arrived_at_ms: u64,
        (exchange, routing_key): (&'a [u8], &'a [u8]),
        properties: &'a [u8],
        body: &'a [u8],
    ) -> Self {
        Self {
            persistent: properties::delivery_mode(properties) == 2,
            died: false,
            copies: Copies::Open,
            expires: properties::has_expiration(properties),
            priority: properties::priority(properties),
            arrived_at_ms,
            exchange,
            routing_key,
            properties,
            body,
        }
    }

    /// Bytes of the record that this message becomes.
    #[must_use]
    pub fn record_len(&self) -> usize {
        RECORD_HEAD + self.exchange.len() + self.routing_key.len() + self.properties.len() + self.body.len()
    }
}

/// Records in the order of their arrival; immutable.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    bytes: Bytes,
    /// Where each record begins.
    starts: Box<[u32]>,
    persistent: u32,
    traits: Traits,
    /// Bytes that its records take beside their bodies.
    heads: usize,
}

/// What some record of a block has that most have not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Traits {
    /// A property `expiration`.
    expires: bool,
    /// A property `priority`.
    prioritized: bool,
    /// It may have been delivered before: known while it is handed from one queue to another, and
    /// not in the bytes.
    redelivered: bool,
}

impl Traits {
    fn add(&mut self, flags: u8) {
        self.expires |= flags & EXPIRES != 0;
        self.prioritized |= flags & PRIORITIZED != 0;
    }
}

/// Why bytes are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotABlock {
    /// Where the record begins that does not fit.
    pub at: usize,
}

impl fmt::Display for NotABlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record at byte {} is cut off or malformed", self.at)
    }
}

impl std::error::Error for NotABlock {}

impl Block {
    /// Reads a block back from the bytes of its records.
    ///
    /// # Errors
    /// A record's lengths do not add up.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, NotABlock> {
        let mut starts = Vec::new();
        let (mut persistent, mut traits, mut heads) = (0, Traits::default(), 0);
        let mut at = 0;
        while at < bytes.len() {
            let record = &bytes[at..];
            let (len, head) = record_len(record).ok_or(NotABlock { at })?;
            heads += head;
            starts.push(u32::try_from(at).map_err(|_beyond_4_gib| NotABlock { at })?);
            persistent += u32::from(record[4] & PERSISTENT);
            traits.add(record[4]);
            at += len;
        }
        Ok(Self { bytes, starts: starts.into(), persistent, traits, heads })
    }

    /// A block of one message whose body is large: the body is written once and never copied again.
    #[must_use]
    pub fn of(message: &Message<'_>) -> Self {
        let mut builder = BlockBuilder::default();
        builder.push(message);
        builder.build()
    }

    /// The same records as if they had arrived at this time, milliseconds since 1970.
    #[must_use]
    pub fn arrived_at(self, unix_ms: u64) -> Self {
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        for &start in &self.starts {
            let at = start as usize + ARRIVED;
            bytes[at..at + 8].copy_from_slice(&unix_ms.to_be_bytes());
        }
        Self { bytes: bytes.freeze(), ..self }
    }

    /// The same records, which may have been delivered before: the next queue says so to its
    /// consumers.
    #[must_use]
    pub fn redelivered(mut self) -> Self {
        self.traits.redelivered = true;
        self
    }

    /// Whether its records may have been delivered before they came to the queue they are handed
    /// to.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.traits.redelivered
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// Whether it holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How many of its records are persistent.
    #[must_use]
    pub fn persistent(&self) -> u32 {
        self.persistent
    }

    /// Whether a record has a property `expiration`.
    #[must_use]
    pub fn expires(&self) -> bool {
        self.traits.expires
    }

    /// Whether a record has a property `priority`.
    #[must_use]
    pub fn is_prioritized(&self) -> bool {
        self.traits.prioritized
    }

    /// The priority of record `index`.
    #[must_use]
    pub fn priority(&self, index: u32) -> Option<u8> {
        let at = self.start(index);
        let (flags, priority) = (self.bytes.get(at + 4)?, self.bytes.get(at + 7)?);
        (flags & PRIORITIZED != 0).then_some(*priority)
    }

    /// The bytes of all records.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of the records in `range`.
    #[must_use]
    pub fn slice(&self, range: Range<u32>) -> Bytes {
        self.bytes.slice(self.start(range.start)..self.start(range.end))
    }

    /// The records in `ranges` as a block of their own, which holds nothing of this one.
    #[must_use]
    pub fn only(&self, ranges: impl Iterator<Item = Range<u32>>) -> Self {
        let mut kept = BlockBuilder::default();
        for range in ranges {
            let (base, at) = (self.start(range.start), kept.bytes.len());
            kept.bytes.extend_from_slice(&self.bytes[base..self.start(range.end)]);
            for index in range {
                let start = at + self.start(index) - base;
                kept.starts.push(u32::try_from(start).expect("no further in than in the whole"));
                kept.persistent += u32::from(self.is_persistent(index));
                kept.heads += record_len(&self.bytes[self.start(index)..]).map_or(0, |(_, head)| head);
            }
        }
        kept.bytes.shrink_to_fit();
        kept.traits = self.traits;
        kept.build()
    }

    /// How many bytes the records in `range` take.
    #[must_use]
    pub fn bytes_of(&self, range: Range<u32>) -> usize {
        self.start(range.end).saturating_sub(self.start(range.start))
    }

    /// How many bytes the bodies of the records in `range` have: exactly of all records, or where
    /// what records have beside their bodies is of one size, as it is as a rule; else nearly. No
    /// record is looked at.
    #[must_use]
    pub fn bodies_of(&self, range: Range<u32>) -> u64 {
        if range == (0..self.len()) {
            return self.bytes.len().saturating_sub(self.heads) as u64;
        }
        let heads_before = |index: u32| self.heads as u64 * u64::from(index) / u64::from(self.len().max(1));
        let heads = heads_before(range.end) - heads_before(range.start);
        (self.bytes_of(range) as u64).saturating_sub(heads)
    }

    /// Whether record `index` is persistent.
    #[must_use]
    pub fn is_persistent(&self, index: u32) -> bool {
        self.bytes.get(self.start(index) + 4).is_some_and(|flags| flags & PERSISTENT != 0)
    }

    /// Record `index`.
    ///
    /// # Panics
    /// When there is no such record: indices come from the queue that holds the block.
    #[must_use]
    pub fn message(&self, index: u32) -> Message<'_> {
        let record = &self.bytes[self.start(index)..self.start(index + 1)];
        let exchange_end = RECORD_HEAD + usize::from(record[5]);
        let key_end = exchange_end + usize::from(record[6]);
        let properties_end = key_end + word(record, 8) as usize;
        let mut arrived = [0; 8];
        arrived.copy_from_slice(&record[ARRIVED..ARRIVED + 8]);
        Message {
            persistent: record[4] & PERSISTENT != 0,
            died: record[4] & DIED != 0,
            copies: copies(record[4]),
            expires: record[4] & EXPIRES != 0,
            priority: (record[4] & PRIORITIZED != 0).then_some(record[7]),
            arrived_at_ms: u64::from_be_bytes(arrived),
            exchange: &record[RECORD_HEAD..exchange_end],
            routing_key: &record[exchange_end..key_end],
            properties: &record[key_end..properties_end],
            body: &record[properties_end..],
        }
    }

    /// When the first and the last of the records in `range` arrived, in milliseconds since 1970;
    /// none if there are none.
    #[must_use]
    pub fn arrivals(&self, range: Range<u32>) -> Option<(u64, u64)> {
        let arrival = |index: u32| {
            let at = self.start(index) + ARRIVED;
            Some(u64::from_be_bytes(self.bytes.get(at..at + 8)?.try_into().ok()?))
        };
        if range.is_empty() {
            return None;
        }
        let first = arrival(range.start)?;
        Some((first, if range.len() == 1 { first } else { arrival(range.end - 1)? }))
    }

    /// The body of record `index` as a share of the block's bytes.
    #[must_use]
    pub fn body(&self, index: u32) -> Bytes {
        let body_len = self.message(index).body.len();
        let end = self.start(index + 1);
        self.bytes.slice(end - body_len..end)
    }

    fn start(&self, index: u32) -> usize {
        self.starts.get(index as usize).map_or(self.bytes.len(), |&at| at as usize)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} records, {} bytes)", self.starts.len(), self.bytes.len())
    }
}

fn copies(flags: u8) -> Copies {
    match flags & (BLIND | SPENT) {
        0 => Copies::Open,
        BLIND => Copies::Blind,
        _ => Copies::Spent,
    }
}

fn word(record: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&record[at..at + 4]);
    u32::from_be_bytes(bytes)
}

/// The length of the record at the head of `bytes`, when all of it is there and its parts fit into
/// it.
fn record_len(bytes: &[u8]) -> Option<(usize, usize)> {
    if bytes.len() < RECORD_HEAD {
        return None;
    }
    let len = word(bytes, 0) as usize;
    let parts = RECORD_HEAD + usize::from(bytes[5]) + usize::from(bytes[6]) + word(bytes, 8) as usize;
    (parts <= len && len <= bytes.len()).then_some((len, parts))
}

/// Collects records into the next [`Block`].
#[derive(Debug, Default)]
pub struct BlockBuilder {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    persistent: u32,
    traits: Traits,
    /// Bytes that its records take beside their bodies.
    heads: usize,
}

impl BlockBuilder {
    /// How many records there are so far.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Appends a message.
    ///
    /// # Panics
    /// On a name or key over 255 bytes or a record over 4 GiB: the wire cannot carry them.
    pub fn push(&mut self, message: &Message<'_>) {
        self.bytes.reserve(message.record_len().min(BLOCK_BYTES_MAX));
        self.push_head(message, message.body.len());
        self.bytes.extend_from_slice(message.body);
    }

    /// Begins a record whose body of `body_len` bytes follows through [`BlockBuilder::push_body`];
    /// `message.body` is not looked at.
    ///
    /// # Panics
    /// As [`BlockBuilder::push`].
    pub fn push_head(&mut self, message: &Message<'_>, body_len: usize) {
        let at = u32::try_from(self.bytes.len()).expect("a block is far smaller than 4 GiB");
        let len = message.record_len() - message.body.len() + body_len;
        let mut head = [0; RECORD_HEAD];
        head[0..4].copy_from_slice(&u32::try_from(len).expect("bodies are limited").to_be_bytes());
        head[4] = if message.persistent { PERSISTENT } else { 0 } | if message.died { DIED } else { 0 };
        head[4] |= match message.copies {
            Copies::Open => 0,
            Copies::Blind => BLIND,
            Copies::Spent => SPENT,
        };
        head[4] |= if message.expires { EXPIRES } else { 0 };
        if let Some(priority) = message.priority {
            head[4] |= PRIORITIZED;
            head[7] = priority;
        }
        head[5] = u8::try_from(message.exchange.len()).expect("a short string");
        head[6] = u8::try_from(message.routing_key.len()).expect("a short string");
        let properties_len = u32::try_from(message.properties.len()).expect("fits a frame");
        head[8..12].copy_from_slice(&properties_len.to_be_bytes());
        head[ARRIVED..ARRIVED + 8].copy_from_slice(&message.arrived_at_ms.to_be_bytes());
        self.starts.push(at);
        self.persistent += u32::from(message.persistent);
        self.traits.add(head[4]);
        self.heads += len - body_len;
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(message.exchange);
        self.bytes.extend_from_slice(message.routing_key);
        self.bytes.extend_from_slice(message.properties);
    }

    /// Goes on with the body of the record that [`BlockBuilder::push_head`] began; `missing` is its
    /// length from here on.
    pub fn push_body(&mut self, part: &[u8], missing: usize) {
        // Room for what is announced is made by what has come: announcing costs a client nothing.
        self.bytes.reserve(missing.min(PART_GROWTH * part.len()));
        self.bytes.extend_from_slice(part);
    }

    /// Bytes of what was pushed so far.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// About the bytes of memory that this takes: what was pushed, and half of its room, for what
    /// was moved to make it.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.bytes.capacity() / 2
    }

    /// Whether a record of `record_len` bytes may still go into this block.
    #[must_use]
    pub fn has_room(&self, record_len: usize) -> bool {
        self.starts.is_empty()
            || (self.bytes.len() + record_len <= BLOCK_BYTES_MAX && self.starts.len() < BLOCK_RECORDS_MAX)
    }

    /// The block of everything pushed.
    #[must_use]
    pub fn build(self) -> Block {
        let Self { bytes, starts, persistent, traits, heads } = self;
        Block { bytes: bytes.into(), starts: starts.into(), persistent, traits, heads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(body: &[u8], persistent: bool) -> Message<'_> {
        Message {
            persistent,
            ..Message::published(1_795_000_000_123, (b"logs", b"a.b"), &[0x10, 0, 2], body)
        }
    }

    #[test]
    fn a_body_that_is_announced_takes_no_memory_before_it_comes() {
        let mut builder = BlockBuilder::default();
        builder.push_head(&sample(b"", true), 1 << 27);
        assert!(builder.bytes.capacity() < 200, "{}", builder.bytes.capacity());
        builder.push_body(b"x", 1 << 27);
        assert!(builder.bytes.capacity() < 400, "{}", builder.bytes.capacity());
    }

    #[test]
    fn bodies_are_counted_without_looking_at_records() {
        let block = |messages: &[Message<'_>]| {
            let mut builder = BlockBuilder::default();
            messages.iter().for_each(|message| builder.push(message));
            builder.build()
        };
        let alike = block(&[sample(b"123", false), sample(b"", false), sample(b"12345", true)]);
        let other = Message { routing_key: b"a.b.c.d", ..sample(b"12", false) };
        let mixed = block(&[sample(b"123", false), other]);
        for block in [Block::from_bytes(alike.bytes().clone()).unwrap(), alike] {
            assert_eq!([0..3, 0..1, 1..2, 1..3, 2..2].map(|range| block.bodies_of(range)), [8, 3, 0, 5, 0]);
        }
        assert_eq!(mixed.bodies_of(0..2), 5);
        assert_eq!(mixed.bodies_of(0..1) + mixed.bodies_of(1..2), 5, "the parts are the whole");
    }

    #[test]
    fn a_block_reads_back_what_was_pushed() {
        let mut builder = BlockBuilder::default();
        builder.push(&sample(b"one", true));
        builder.push(&sample(b"", false));
        builder.push_head(&sample(b"", true), 4);
        builder.push_body(b"fo", 4);
        builder.push_body(b"ur", 2);
        let block = builder.build();
        let again = Block::from_bytes(block.bytes().clone()).unwrap();
        assert_eq!(block, again);
        assert_eq!(again.len(), 3);
        assert_eq!(again.persistent(), 2);
        assert_eq!(again.message(0), sample(b"one", true));
        assert_eq!(again.message(1), sample(b"", false));
        assert_eq!(&again.body(2)[..], b"four");
        assert_eq!(again.slice(1..3), block.bytes().slice(block.bytes_of(0..1)..));
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "lists of ranges, some of which have one")]
    fn a_part_of_a_block_is_a_block() {
        let mut builder = BlockBuilder::default();
        for (body, persistent) in [("one", true), ("two", false), ("three", true), ("four", true)] {
            builder.push(&sample(body.as_bytes(), persistent));
        }
        let block = builder.build();
        for ranges in [vec![0..4], vec![1..3], vec![0..1, 2..4], vec![3..3], vec![]] {
            let part = block.only(ranges.iter().cloned());
            let bytes: Vec<_> = ranges.iter().map(|range| block.slice(range.clone())).collect();
            assert_eq!(part.bytes(), &bytes.concat(), "{ranges:?}");
            assert_eq!(Block::from_bytes(part.bytes().clone()).unwrap(), part, "{ranges:?}");
        }
    }

    #[test]
    fn flags_do_not_disturb_each_other() {
        let mut builder = BlockBuilder::default();
        let mut pushed = Vec::new();
        for copies in [Copies::Open, Copies::Blind, Copies::Spent] {
            for bits in 0..4 {
                let (expires, priority) = (bits & 1 == 0, (bits > 0).then_some(bits));
                let message = Message {
                    died: bits & 1 != 0,
                    copies,
                    expires,
                    priority,
                    ..sample(b"body", bits & 2 != 0)
                };
                builder.push(&message);
                pushed.push(message);
            }
        }
        let block = Block::from_bytes(builder.build().bytes().clone()).unwrap();
        assert_eq!((0..12).map(|index| block.message(index)).collect::<Vec<_>>(), pushed);
        assert_eq!((block.priority(3), block.expires(), block.is_prioritized()), (Some(3), true, true));
        let plain = Block::of(&sample(b"body", true));
        assert!(!plain.expires() && !plain.is_prioritized());
        assert_eq!(block.priority(0), None);
    }

    #[test]
    fn the_time_of_arrival_can_be_another_one() {
        let mut builder = BlockBuilder::default();
        builder.push(&sample(b"one", true));
        builder.push(&sample(b"two", false));
        let block = builder.build();
        let shared = block.clone();
        let later = block.arrived_at(7);
        assert_eq!(later.message(1), Message { arrived_at_ms: 7, ..sample(b"two", false) });
        assert_eq!(later.message(0).arrived_at_ms, 7);
        assert_eq!((later.arrivals(0..2), later.arrivals(1..1)), (Some((7, 7)), None));
        assert_eq!(later.arrivals(9..10), None, "there is no such record");
        assert_eq!(shared.message(0), sample(b"one", true), "who shares the block sees nothing of it");
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let block = Block::of(&sample(b"body", true));
        for cut in 1..block.bytes().len() {
            assert_eq!(
                Block::from_bytes(block.bytes().slice(..cut)),
                Err(NotABlock { at: 0 }),
                "cut at {cut}"
            );
        }
        let mut wrong = block.bytes().to_vec();
        wrong[8] = 0xff;
        assert_eq!(Block::from_bytes(wrong.into()), Err(NotABlock { at: 0 }));
    }
}
