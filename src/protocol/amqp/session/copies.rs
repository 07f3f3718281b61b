//! Copies: further routing keys in the headers `CC` and `BCC`, arrays of strings (RabbitMQ:
//! sender-selected.md).
//!
//! What is no string in such an array counts for nothing, as in RabbitMQ; a header that is no array
//! at all is refused.

use crate::message::table::{self, RawValue};
use crate::message::{BCC, CC, Copies};
use crate::protocol::amqp::fault::AmqpError;

/// The copies that a message asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CopyKeys<'a> {
    open: Option<RawValue<'a>>,
    blind: Option<RawValue<'a>>,
}

impl<'a> CopyKeys<'a> {
    /// Looks for them among headers that decode.
    ///
    /// # Errors
    /// 406 when one of the two is not an array.
    #[inline]
    pub(super) fn among(headers: &'a [u8]) -> Result<Self, AmqpError> {
        Ok(Self { open: array(headers, CC)?, blind: array(headers, BCC)? })
    }

    /// Whether the message asks for none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.blind.is_none()
    }

    /// What is to be kept of them with the message.
    pub(super) fn kind(&self) -> Copies {
        if self.blind.is_some() { Copies::Blind } else { Copies::Open }
    }

    /// All routing keys, each once, and first the one that the message has without copies: some
    /// exchanges go by that alone.
    pub(super) fn with(&self, routing_key: &'a [u8]) -> Vec<&'a [u8]> {
        let strings =
            |array: RawValue<'a>| array.items().filter(|item| item.kind == b'S').map(|item| item.bytes);
        let copies = self.open.into_iter().chain(self.blind).flat_map(strings);
        let mut keys: Vec<_> = copies.filter(|key| *key != routing_key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.insert(0, routing_key);
        keys
    }
}

#[inline]
fn array<'a>(headers: &'a [u8], name: &'static str) -> Result<Option<RawValue<'a>>, AmqpError> {
    match table::get(headers, name.as_bytes()) {
        Some(value) if value.kind != b'A' => Err(unacceptable(name, value)),
        found => Ok(found),
    }
}

#[cold]
fn unacceptable(header: &'static str, value: RawValue<'_>) -> AmqpError {
    match value.decode() {
        Ok(value) => AmqpError::CopiesNotArray { header, found: table::type_name(&value) },
        Err(malformed) => malformed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_both_headers_and_each_once() {
        let headers = b"\x02CCA\0\0\0\x0eS\0\0\0\x01bVS\0\0\0\x02zz\x01kV\x03BCCA\0\0\0\x06S\0\0\0\x01a";
        let copies = CopyKeys::among(headers).unwrap();
        assert!(!copies.is_empty());
        assert_eq!(copies.kind(), Copies::Blind);
        assert_eq!(copies.with(b"b"), [&b"b"[..], b"a", b"zz"]);
    }

    #[test]
    fn without_the_headers_there_are_none() {
        for headers in [&b""[..], b"\x02ccA\0\0\0\0", b"\x01xF\0\0\0\x04\x02CCV"] {
            let copies = CopyKeys::among(headers).unwrap();
            assert!(copies.is_empty());
            assert_eq!(copies.with(b"k"), [b"k"]);
        }
        let empty = CopyKeys::among(b"\x03BCCA\0\0\0\0").unwrap();
        assert!(!empty.is_empty(), "the header has to be hidden all the same");
        assert_eq!((empty.kind(), empty.with(b"k")), (Copies::Blind, vec![&b"k"[..]]));
    }

    #[test]
    fn what_is_no_array_is_named() {
        for (headers, header, found) in [
            (&b"\x02CCS\0\0\0\0"[..], "CC", "longstr"),
            (b"\x03BCCI\0\0\0\x01", "BCC", "signedint"),
            (b"\x03BCCV", "BCC", "void"),
            (b"\x03BCCF\0\0\0\0\x02CCl\0\0\0\0\0\0\0\0", "CC", "long"),
        ] {
            let fault = CopyKeys::among(headers).unwrap_err();
            assert_eq!(fault, AmqpError::CopiesNotArray { header, found });
        }
    }
}
