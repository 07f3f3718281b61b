//! The payload of a content header frame (AMQP 0-9-1 section 4.2.6.1).
//!
//! ```text
//!  0  u16  class, 60
//!  2  u16  weight, 0
//!  4  u64  size of the body
//! 12  property flags and list: see [`properties`]
//! ```

use super::error::DecodeError;
use crate::message::properties;

/// The only class with a content.
pub const BASIC: u16 = 60;

/// Bytes of a content header before its property flags.
pub const HEADER_MIN: usize = 12;

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

/// Reads the payload of a content header frame. What it accepts as `raw`, [`properties::decode`]
/// accepts, and `message::table::decode` accepts its headers.
///
/// # Errors
/// It ends before the flags or has a weight; flags, list or headers do not decode, or something
/// follows.
#[inline]
pub fn decode(payload: &[u8]) -> Result<ContentHeader<'_>, DecodeError> {
    let (head, raw) = payload.split_first_chunk::<HEADER_MIN>().ok_or(DecodeError::ShortHeader)?;
    let [class_high, class_low, weight_high, weight_low, body_size @ ..] = *head;
    let class = u16::from_be_bytes([class_high, class_low]);
    if [weight_high, weight_low] != [0, 0] {
        return Err(DecodeError::HeaderWeight);
    }
    if class == BASIC {
        properties::check(raw)?;
    }
    Ok(ContentHeader { class, body_size: u64::from_be_bytes(body_size), raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::error::Malformed;
    use crate::message::properties::{
        APP_ID, CLUSTER_ID, CONTENT_ENCODING, CONTENT_TYPE, CORRELATION_ID, DELIVERY_MODE, EXPIRATION,
        HEADERS, KIND, MESSAGE_ID, NONE, PRIORITY, Properties, REPLY_TO, TIMESTAMP, UNDEFINED, USER_ID,
        delivery_mode, encode, has_expiration, priority,
    };
    use crate::message::samples::nested;
    use crate::message::table;
    use crate::protocol::amqp::wire::fields;
    use crate::protocol::amqp::wire::samples::every_kind;
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
        assert_eq!(decode(&payload), Ok(ContentHeader { class: BASIC, body_size: 5, raw: &raw }));

        let decoded = properties::decode(&raw).unwrap();
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
            let fault = decode(&payload[..cut]).unwrap_err();
            let is_right = match fault {
                DecodeError::ShortHeader => cut < HEADER_MIN,
                DecodeError::Malformed(Malformed::Properties | Malformed::Table) => cut >= HEADER_MIN,
                _ => false,
            };
            assert!(is_right, "{bits:b} cut at {cut}: {fault}");
        }
        let longer = [payload.as_slice(), &[0]].concat();
        assert!(decode(&longer).is_err(), "{bits:b} and a byte more");
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
            assert!(
                matches!(decode(&payload), Err(DecodeError::Malformed(Malformed::Properties))),
                "{flags:?}"
            );
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let with_headers = |headers: &[u8]| {
            let mut raw = Vec::new();
            encode(&Properties { headers: Some(headers), ..Properties::default() }, &mut raw);
            decode(&header(BASIC, 0, &raw)).map(|_| ()).map_err(|fault| fault.to_string())
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
            decode(&payload).unwrap_err().to_string(),
            "expected content header for class 60, got non content header frame instead"
        );
        let payload = header(50, 7, &[255, 255]);
        let other = ContentHeader { class: 50, body_size: 7, raw: &[255, 255] };
        assert_eq!(decode(&payload), Ok(other));
    }
}
