//! The key by which the management API names a binding among those of two ends: its routing key,
//! quoted, and a hash of its arguments if it has any (RabbitMQ:
//! `rabbit_mgmt_format:pack_binding_props`).
//!
//! Programs keep such keys and compare them with those that RabbitMQ made, so the hash is that of
//! Erlang's terms, `erlang:phash2`: a list of `{Name, Type, Value}`.

use crate::message::table::{FieldTable, FieldValue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The golden ratio, by whose multiples kinds of terms are told apart.
const RATIO: u32 = 0x9e37_79b9;

/// A binding without a routing key and arguments.
const BARE: &str = "~";

/// The key of a binding.
#[must_use]
pub fn properties_key(routing_key: &[u8], arguments: &FieldTable) -> String {
    let is_bare = arguments.iter().next().is_none();
    match (routing_key.is_empty(), is_bare) {
        (true, true) => BARE.to_owned(),
        (_, true) => quoted(routing_key),
        (_, false) => {
            let hash = Hash::of(arguments).to_be_bytes();
            format!("{}~{}", quoted(routing_key), URL_SAFE_NO_PAD.encode(hash))
        }
    }
}

/// As RabbitMQ quotes it (`mochiweb_util:quote_plus`).
#[must_use]
pub fn quoted(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => quoted.push(char::from(byte)),
            b' ' => quoted.push('+'),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}

/// `erlang:phash2` (OTP: `make_hash2`).
struct Hash(u32);

impl Hash {
    fn of(arguments: &FieldTable) -> u32 {
        let mut hash = Self(0);
        hash.table(arguments);
        hash.0
    }

    /// A list of `{Name, Type, Value}`.
    fn table(&mut self, table: &FieldTable) {
        for (name, value) in table.iter() {
            self.tuple(3);
            self.binary(name.as_bytes());
            self.value(value);
        }
        self.nil();
    }

    /// A type and a value.
    fn value(&mut self, value: &FieldValue) {
        match value {
            FieldValue::Boolean(value) => {
                self.atom("bool");
                self.atom(if *value { "true" } else { "false" });
            }
            FieldValue::ShortShortInt(value) => self.number("byte", (*value).into()),
            FieldValue::ShortShortUInt(value) => self.number("unsignedbyte", (*value).into()),
            FieldValue::ShortInt(value) => self.number("short", (*value).into()),
            FieldValue::ShortUInt(value) => self.number("unsignedshort", (*value).into()),
            FieldValue::LongInt(value) => self.number("signedint", (*value).into()),
            FieldValue::LongUInt(value) => self.number("unsignedint", (*value).into()),
            FieldValue::LongLongInt(value) => self.number("long", (*value).into()),
            FieldValue::Timestamp(value) => self.number("timestamp", (*value).into()),
            FieldValue::Float(value) => self.float("float", (*value).into()),
            FieldValue::Double(value) => self.float("double", *value),
            FieldValue::Decimal { scale, value } => {
                self.atom("decimal");
                self.tuple(2);
                self.integer((*scale).into());
                self.integer((*value).into());
            }
            FieldValue::LongString(text) => {
                self.atom("longstr");
                self.binary(text);
            }
            FieldValue::ByteArray(bytes) => {
                self.atom("binary");
                self.binary(bytes);
            }
            FieldValue::FieldArray(array) => {
                self.atom("array");
                for value in array.as_slice() {
                    self.tuple(2);
                    self.value(value);
                }
                self.nil();
            }
            FieldValue::FieldTable(table) => {
                self.atom("table");
                self.table(table);
            }
            FieldValue::Void => {
                self.atom("void");
                self.atom("undefined");
            }
        }
    }

    fn number(&mut self, kind: &str, value: i128) {
        self.atom(kind);
        self.integer(value);
    }

    fn float(&mut self, kind: &str, value: f64) {
        self.atom(kind);
        let bits = value.to_bits();
        self.mix(high(bits), low(bits), 12);
    }

    fn tuple(&mut self, arity: u32) {
        self.mix(arity, 0, 9);
    }

    /// The end of a list.
    fn nil(&mut self) {
        self.mix(2, 0, 2);
    }

    fn atom(&mut self, name: &str) {
        let mut value = 0_u32;
        for byte in name.bytes() {
            value = (value << 4).wrapping_add(byte.into());
            let top = value & 0xf000_0000;
            value ^= top >> 24;
            value ^= top;
        }
        self.mix(value, 0, 3);
    }

    fn integer(&mut self, value: i128) {
        let magnitude = u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX);
        let is_short = (-(1 << 27)..1 << 27).contains(&value);
        if is_short {
            // Negative ones are mixed twice, as Erlang does it.
            if value < 0 {
                self.mix(low(magnitude), 0, 1);
            }
            let wrapped = if value < 0 { low(magnitude).wrapping_neg() } else { low(magnitude) };
            self.mix(wrapped, 0, 1);
            return;
        }
        // As a number of one digit of 64 bits, or as two halves.
        self.mix(low(magnitude), high(magnitude), if value < 0 { 10 } else { 11 });
    }

    /// A block of bytes (Bob Jenkins: lookup2).
    fn binary(&mut self, bytes: &[u8]) {
        let seed = RATIO.wrapping_mul(13).wrapping_add(self.0);
        if bytes.is_empty() {
            self.0 = seed;
            return;
        }
        let (mut a, mut b, mut c) = (RATIO, RATIO, seed);
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        let mut blocks = bytes.chunks_exact(12);
        for block in &mut blocks {
            a = a.wrapping_add(word(&block[..4]));
            b = b.wrapping_add(word(&block[4..8]));
            c = c.wrapping_add(word(&block[8..]));
            (a, b, c) = mixed(a, b, c);
        }
        let rest = blocks.remainder();
        let part = |from: usize| word(&rest[from.min(rest.len())..(from + 4).min(rest.len())]);
        c = c.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        a = a.wrapping_add(part(0));
        b = b.wrapping_add(part(4));
        // The lowest byte of this one is the length's.
        c = c.wrapping_add(part(8) << 8);
        self.0 = mixed(a, b, c).2;
    }

    fn mix(&mut self, one: u32, other: u32, kind: u32) {
        let ratio = RATIO.wrapping_mul(kind);
        self.0 = mixed(ratio.wrapping_add(one), ratio.wrapping_add(other), self.0).2;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn mixed(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for [first, second, third] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> first);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << second);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> third);
    }
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(routing_key: &str, arguments: &[(&str, FieldValue)], expected: &str) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        assert_eq!(properties_key(routing_key.as_bytes(), &table), expected);
    }

    #[test]
    fn keys_are_rabbitmqs() {
        check("", &[], "~");
        check("order.*", &[], "order.%2A");
        check("a b/c~d", &[], "a+b%2Fc%7Ed");
        check("order.*", &[("a", FieldValue::LongLongInt(1))], "order.%2A~Ajat_Q");
        check("", &[("x-match", FieldValue::LongString("all".into()))], "~3ujGfg");
        let list = FieldValue::FieldArray(vec![FieldValue::LongLongInt(1), FieldValue::Boolean(true)]);
        check("", &[("a", list), ("b", FieldValue::LongInt(-5))], "~smFSjQ");
        check("", &[("h", FieldValue::Timestamp(1_700_000_000))], "~JBgYXA");
    }
}
