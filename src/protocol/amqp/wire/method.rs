//! The payload of a method frame: class, method, arguments (AMQP 0-9-1 section 4.2.4).
//!
//! ```text
//!  0  u16  class
//!  2  u16  method
//!  4  arguments
//! ```
//!
//! The methods of every message are decoded by hand and borrow from the frame:
//!
//! ```text
//! publish  60,40   u16 0, short exchange, short routing key, bits mandatory immediate
//! deliver  60,60   short consumer tag, u64 tag, bits redelivered, short exchange, short routing key
//! ack      60,80   u64 tag, bits multiple
//! reject   60,90   u64 tag, bits requeue
//! nack     60,120  u64 tag, bits multiple requeue
//! ```

use super::error::DecodeError;
use crate::message::reader::ByteReader;
use crate::message::table;
use amq_protocol::protocol::{AMQPClass, parse_class};

/// Class and method in one number, as the first four bytes of a payload.
pub(super) const PUBLISH: u32 = 60 << 16 | 40;
pub(super) const RETURN: u32 = 60 << 16 | 50;
pub(super) const DELIVER: u32 = 60 << 16 | 60;
pub(super) const GET_OK: u32 = 60 << 16 | 71;
pub(super) const ACK: u32 = 60 << 16 | 80;
pub(super) const REJECT: u32 = 60 << 16 | 90;
pub(super) const NACK: u32 = 60 << 16 | 120;

/// A method, borrowed from its frame where that pays.
#[derive(Debug, Clone, PartialEq)]
pub enum Method<'a> {
    /// basic.publish; a content follows.
    Publish {
        /// The exchange's name, not checked to be UTF-8. Empty for the default exchange.
        exchange: &'a [u8],
        /// The routing key.
        routing_key: &'a [u8],
        /// Return the message when no queue takes it.
        mandatory: bool,
        /// Return the message when no consumer takes it at once.
        immediate: bool,
    },
    /// basic.ack: from a consumer, or a broker's confirm.
    Ack {
        /// Delivery tag; 0 with `multiple` stands for all.
        tag: u64,
        /// Every tag up to this one.
        multiple: bool,
    },
    /// basic.nack: from a consumer, or a broker's refusal.
    Nack {
        /// Delivery tag; 0 with `multiple` stands for all.
        tag: u64,
        /// Every tag up to this one.
        multiple: bool,
        /// Back into the queue rather than dead-lettered.
        requeue: bool,
    },
    /// basic.reject.
    Reject {
        /// Delivery tag.
        tag: u64,
        /// Back into the queue rather than dead-lettered.
        requeue: bool,
    },
    /// basic.deliver, which only a client reads; a content follows.
    Deliver {
        /// Which consumer it is for.
        consumer_tag: &'a [u8],
        /// Delivery tag.
        tag: u64,
        /// Whether it may have been delivered before.
        redelivered: bool,
        /// The exchange it was published to.
        exchange: &'a [u8],
        /// The key it was published with.
        routing_key: &'a [u8],
    },
    /// Any other method.
    Other(Box<AMQPClass>),
}

/// Reads the payload of a method frame.
///
/// # Errors
/// The method is unknown, its arguments do not decode, or something follows them; a table is
/// malformed, nested too deep or has a name that is not UTF-8.
#[inline]
pub fn decode(payload: &[u8]) -> Result<Method<'_>, DecodeError> {
    let mut arguments = ByteReader::new(payload);
    let decoded = match arguments.u32() {
        Some(PUBLISH) => publish(arguments),
        Some(ACK) => ack(arguments),
        Some(DELIVER) => deliver(arguments),
        Some(NACK) => nack(arguments),
        Some(REJECT) => reject(arguments),
        _ => return decode_other(payload),
    };
    decoded.ok_or_else(|| undecodable(payload))
}

/// Class and method of a payload, for channel.close and connection.close; zeros when it is too
/// short.
#[must_use]
pub fn ids(payload: &[u8]) -> (u16, u16) {
    let mut payload = ByteReader::new(payload);
    payload.u16().zip(payload.u16()).unwrap_or_default()
}

#[inline]
fn publish(mut arguments: ByteReader<'_>) -> Option<Method<'_>> {
    arguments.u16()?;
    let exchange = arguments.short_string()?;
    let routing_key = arguments.short_string()?;
    let bits = arguments.u8()?;
    let method =
        Method::Publish { exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 };
    arguments.is_empty().then_some(method)
}

#[inline]
fn deliver(mut arguments: ByteReader<'_>) -> Option<Method<'_>> {
    let consumer_tag = arguments.short_string()?;
    let tag = arguments.u64()?;
    let redelivered = arguments.u8()? & 1 != 0;
    let exchange = arguments.short_string()?;
    let routing_key = arguments.short_string()?;
    let method = Method::Deliver { consumer_tag, tag, redelivered, exchange, routing_key };
    arguments.is_empty().then_some(method)
}

#[inline]
fn tag_and_bits(mut arguments: ByteReader<'_>) -> Option<(u64, u8)> {
    let tag = arguments.u64()?;
    let bits = arguments.u8()?;
    arguments.is_empty().then_some((tag, bits))
}

#[inline]
fn ack(arguments: ByteReader<'_>) -> Option<Method<'_>> {
    let (tag, bits) = tag_and_bits(arguments)?;
    Some(Method::Ack { tag, multiple: bits & 1 != 0 })
}

#[inline]
fn nack(arguments: ByteReader<'_>) -> Option<Method<'_>> {
    let (tag, bits) = tag_and_bits(arguments)?;
    Some(Method::Nack { tag, multiple: bits & 1 != 0, requeue: bits & 2 != 0 })
}

#[inline]
fn reject(arguments: ByteReader<'_>) -> Option<Method<'_>> {
    let (tag, bits) = tag_and_bits(arguments)?;
    Some(Method::Reject { tag, requeue: bits & 1 != 0 })
}

#[cold]
fn undecodable(payload: &[u8]) -> DecodeError {
    let (class, method) = ids(payload);
    DecodeError::Method { class, method }
}

#[inline(never)]
fn decode_other(payload: &[u8]) -> Result<Method<'_>, DecodeError> {
    let mut arguments = ByteReader::new(payload);
    let (Some(class), Some(method)) = (arguments.u16(), arguments.u16()) else {
        return Err(undecodable(payload));
    };
    if !is_known(class, method) {
        return Err(DecodeError::UnknownMethod);
    }
    if let Some(before_table) = before_table(class, method) {
        table::check(before_table.skip(arguments).ok_or_else(|| undecodable(payload))?)?;
    }
    match parse_class(payload) {
        Ok(([], class)) => Ok(Method::Other(Box::new(class))),
        _ => Err(undecodable(payload)),
    }
}

/// Every method of AMQP 0-9-1 as RabbitMQ extends it.
fn is_known(class: u16, method: u16) -> bool {
    match class {
        10 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51 | 60 | 61 | 70 | 71),
        20 => matches!(method, 10 | 11 | 20 | 21 | 40 | 41),
        30 | 85 => matches!(method, 10 | 11),
        40 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 51),
        50 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51),
        60 => matches!(
            method,
            10 | 11 | 20 | 21 | 30 | 31 | 40 | 50 | 60 | 70 | 71 | 72 | 80 | 90 | 100 | 110 | 111 | 120
        ),
        90 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31),
        _ => false,
    }
}

/// The arguments of a method that come before its only table.
struct BeforeTable {
    /// Bytes of fixed size at the front.
    fixed: usize,
    /// Short strings after those.
    short_strings: usize,
    /// Whether an octet of bits follows those.
    bits: bool,
}

/// Where the table of a method lies; `None` for a method without one.
fn before_table(class: u16, method: u16) -> Option<BeforeTable> {
    let (fixed, short_strings, bits) = match (class, method) {
        (10, 10) => (2, 0, false),     // connection.start: major, minor
        (10, 11) => (0, 0, false),     // connection.start-ok
        (40, 10) => (2, 2, true),      // exchange.declare: exchange, type
        (40, 30 | 40) => (2, 3, true), // exchange.bind, unbind: destination, source, routing key
        (50, 10) => (2, 1, true),      // queue.declare: queue
        (50, 20) => (2, 3, true),      // queue.bind: queue, exchange, routing key
        (50, 50) => (2, 3, false),     // queue.unbind: the same, and no bits
        (60, 20) => (2, 2, true),      // basic.consume: queue, consumer tag
        _ => return None,
    };
    Some(BeforeTable { fixed, short_strings, bits })
}

impl BeforeTable {
    /// The bytes of the table.
    fn skip(self, mut arguments: ByteReader<'_>) -> Option<&[u8]> {
        arguments.take(self.fixed)?;
        for _ in 0..self.short_strings {
            arguments.short_string()?;
        }
        arguments.take(usize::from(self.bits))?;
        arguments.long_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::samples::nested;
    use crate::protocol::amqp::wire::samples::{every_method, payload_of};
    use amq_protocol::protocol::basic::AMQPMethod as Basic;

    /// What must come of a method that `amq-protocol` encoded.
    fn check(class: &AMQPClass) {
        let payload = payload_of(class);
        let name = format!("{class:?}");
        assert_eq!(ids(&payload), (class.get_amqp_class_id(), class.get_amqp_method_id()), "{name}");
        let expected = match class {
            AMQPClass::Basic(Basic::Publish(method)) => Method::Publish {
                exchange: method.exchange.as_str().as_bytes(),
                routing_key: method.routing_key.as_str().as_bytes(),
                mandatory: method.mandatory,
                immediate: method.immediate,
            },
            AMQPClass::Basic(Basic::Deliver(method)) => Method::Deliver {
                consumer_tag: method.consumer_tag.as_str().as_bytes(),
                tag: method.delivery_tag,
                redelivered: method.redelivered,
                exchange: method.exchange.as_str().as_bytes(),
                routing_key: method.routing_key.as_str().as_bytes(),
            },
            AMQPClass::Basic(Basic::Ack(method)) => {
                Method::Ack { tag: method.delivery_tag, multiple: method.multiple }
            }
            AMQPClass::Basic(Basic::Nack(method)) => {
                Method::Nack { tag: method.delivery_tag, multiple: method.multiple, requeue: method.requeue }
            }
            AMQPClass::Basic(Basic::Reject(method)) => {
                Method::Reject { tag: method.delivery_tag, requeue: method.requeue }
            }
            _ => Method::Other(Box::new(class.clone())),
        };
        assert_eq!(decode(&payload), Ok(expected), "{name}");
        for cut in 0..payload.len() {
            let fault = decode(&payload[..cut]).unwrap_err();
            assert!(matches!(fault, DecodeError::Method { .. }), "{name} cut at {cut}: {fault}");
        }
        let mut longer = payload;
        longer.push(0);
        assert!(matches!(decode(&longer), Err(DecodeError::Method { .. })), "{name} and a byte more");
    }

    #[test]
    fn every_method_comes_back_whole_and_no_other_way() {
        every_method().iter().for_each(check);
    }

    #[test]
    fn the_samples_and_the_list_of_known_methods_agree() {
        let samples: Vec<_> = every_method().iter().map(|class| ids(&payload_of(class))).collect();
        for class in 0..=200 {
            for method in 0..=200 {
                let known = samples.contains(&(class, method));
                assert_eq!(is_known(class, method), known, "class {class}, method {method}");
            }
        }
    }

    #[test]
    fn an_unknown_method_is_not_implemented() {
        for payload in [[0, 60, 0, 41], [0, 61, 0, 40], [0, 0, 0, 0], [255; 4]] {
            let fault = decode(&payload).unwrap_err();
            assert_eq!(fault.to_string(), "unimplemented method");
        }
    }

    #[test]
    fn a_method_that_does_not_decode_is_named() {
        let fault = decode(&[0, 60, 0, 40, 0, 0, 9, b'x']).unwrap_err();
        assert_eq!(fault.to_string(), "method 40 of class 60 does not decode");
        assert_eq!(ids(&[0, 60, 0]), (0, 0));
    }

    /// `amq-protocol` must meet the deepest table that is allowed, and none beyond, wherever a
    /// table may be.
    #[test]
    fn a_table_nested_too_deep_is_refused_in_every_method_that_has_one() {
        let mut with_tables = 0;
        for class in every_method() {
            let payload = payload_of(&class);
            let (class, method) = ids(&payload);
            let Some(layout) = before_table(class, method) else { continue };
            let old = layout.skip(ByteReader::new(&payload[4..])).unwrap();
            let at = old.as_ptr() as usize - payload.as_ptr() as usize;
            let with = |table: &[u8]| {
                let mut changed = payload[..at - 4].to_vec();
                changed.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
                changed.extend_from_slice(table);
                changed.extend_from_slice(&payload[at + old.len()..]);
                changed
            };
            for kind in [b'A', b'F'] {
                let deepest = with(&nested(kind, table::DEPTH_MAX - 1));
                assert!(decode(&deepest).is_ok(), "class {class}, method {method}");
                for levels in [table::DEPTH_MAX, 20_000] {
                    let fault = decode(&with(&nested(kind, levels))).unwrap_err();
                    assert_eq!(fault.to_string(), "field table nested too deep");
                }
            }
            with_tables += 1;
        }
        assert_eq!(with_tables, 9);
    }
}
