//! Field tables: whole, as values, or one key of the raw bytes without allocation.
//!
//! The kinds are RabbitMQ's, which differ from AMQP 0-9-1 section 4.2.5 (`s` is a number there, `x`
//! is unknown):
//!
//! ```text
//! table  = u32 length, { short string name, value }
//! array  = u32 length, { value }
//! value  = u8 kind, then
//!          t bool | b i8 | B u8                          1 byte
//!          s U i16 | u u16                               2 bytes
//!          I i32 | i u32 | f f32                         4 bytes
//!          l L i64 | T u64 seconds since 1970 | d f64    8 bytes
//!          D decimal: u8 scale, u32 value                5 bytes
//!          S long string | x bytes | A array | F table   u32 length and that many bytes
//!          V nothing                                     0 bytes
//! ```
//!
//! "Bytes of a table" are here always without the u32 length. Of two entries of one name the first
//! counts.

use super::error::Malformed;
use super::reader::ByteReader;
use std::collections::BTreeMap;

/// How deep tables and arrays may nest; a table without any counts as 1. Nobody needs more than a
/// few, and a frame could nest 26,000 arrays, which a recursive parser would pay for with its
/// stack.
pub const DEPTH_MAX: usize = 64;

/// Values by name. A name has 255 bytes at most.
pub type FieldTable = BTreeMap<String, FieldValue>;

/// A value in a table.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// `t`.
    Boolean(bool),
    /// `b`.
    ShortShortInt(i8),
    /// `B`.
    ShortShortUInt(u8),
    /// `s`, or `U`.
    ShortInt(i16),
    /// `u`.
    ShortUInt(u16),
    /// `I`.
    LongInt(i32),
    /// `i`.
    LongUInt(u32),
    /// `l`, or `L`.
    LongLongInt(i64),
    /// `f`.
    Float(f32),
    /// `d`.
    Double(f64),
    /// `D`.
    Decimal {
        /// How many of the digits come after the point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: mostly text, and mostly UTF-8.
    LongString(Vec<u8>),
    /// `x`.
    ByteArray(Vec<u8>),
    /// `A`.
    FieldArray(Vec<Self>),
    /// `T`, seconds since 1970.
    Timestamp(u64),
    /// `F`.
    FieldTable(FieldTable),
    /// `V`.
    Void,
}

const ARRAY: u8 = b'A';
const TABLE: u8 = b'F';

/// A value as it lies in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawValue<'a> {
    /// The octet that tells its kind, such as `b'S'`.
    pub kind: u8,
    /// Its bytes, without the length of those kinds that have one.
    pub bytes: &'a [u8],
}

impl<'a> RawValue<'a> {
    /// The values of an array, up to the first that is malformed; of anything else none.
    pub fn items(self) -> impl Iterator<Item = RawValue<'a>> {
        let mut rest = ByteReader::new(if self.kind == ARRAY { self.bytes } else { &[] });
        std::iter::from_fn(move || read_value(&mut rest))
    }

    /// The value that the bytes stand for.
    ///
    /// # Errors
    /// A nested table or array is malformed, or nested too deep.
    pub fn decode(self) -> Result<FieldValue, Malformed> {
        const WITHIN_A_TABLE: usize = 2;
        decode_value(self, WITHIN_A_TABLE)
    }
}

/// A whole table.
///
/// # Errors
/// It is malformed, nested deeper than [`DEPTH_MAX`], or has a name that is not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<FieldTable, Malformed> {
    decode_table(bytes, 1)
}

/// Whether [`decode`] would take these bytes, without building anything: what must be known before
/// a recursive parser may see them.
///
/// # Errors
/// As [`decode`].
pub fn check(bytes: &[u8]) -> Result<(), Malformed> {
    check_within(RawValue { kind: TABLE, bytes }, 1)
}

/// The value of one key; `None` when it is absent, or lies behind a malformed entry.
#[must_use]
pub fn get<'a>(bytes: &'a [u8], key: &[u8]) -> Option<RawValue<'a>> {
    let mut rest = ByteReader::new(bytes);
    loop {
        let name = rest.short_string()?;
        let value = read_value(&mut rest)?;
        if name == key {
            return Some(value);
        }
    }
}

fn read_value<'a>(from: &mut ByteReader<'a>) -> Option<RawValue<'a>> {
    let kind = from.u8()?;
    let bytes = match kind {
        b't' | b'b' | b'B' => from.take(1)?,
        b's' | b'U' | b'u' => from.take(2)?,
        b'I' | b'i' | b'f' => from.take(4)?,
        b'l' | b'L' | b'T' | b'd' => from.take(8)?,
        b'D' => from.take(5)?,
        b'S' | b'x' | ARRAY | TABLE => from.long_string()?,
        b'V' => &[],
        _ => return None,
    };
    Some(RawValue { kind, bytes })
}

fn read_name<'a>(from: &mut ByteReader<'a>) -> Result<&'a str, Malformed> {
    let name = from.short_string().ok_or(Malformed::Table)?;
    str::from_utf8(name).map_err(|_position| Malformed::TableName)
}

/// `depth` counts this table or array.
fn check_within(container: RawValue<'_>, depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed::TableDepth);
    }
    let mut rest = ByteReader::new(container.bytes);
    while !rest.is_empty() {
        if container.kind == TABLE {
            read_name(&mut rest)?;
        }
        let value = read_value(&mut rest).ok_or(Malformed::Table)?;
        if matches!(value.kind, ARRAY | TABLE) {
            check_within(value, depth + 1)?;
        }
    }
    Ok(())
}

fn decode_table(bytes: &[u8], depth: usize) -> Result<FieldTable, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed::TableDepth);
    }
    let mut table = FieldTable::default();
    let mut rest = ByteReader::new(bytes);
    while !rest.is_empty() {
        let name = read_name(&mut rest)?;
        let value = decode_value(read_value(&mut rest).ok_or(Malformed::Table)?, depth + 1)?;
        if !table.contains_key(name) {
            table.insert(name.to_owned(), value);
        }
    }
    Ok(table)
}

fn decode_array(bytes: &[u8], depth: usize) -> Result<Vec<FieldValue>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed::TableDepth);
    }
    let mut array = Vec::new();
    let mut rest = ByteReader::new(bytes);
    while !rest.is_empty() {
        array.push(decode_value(read_value(&mut rest).ok_or(Malformed::Table)?, depth + 1)?);
    }
    Ok(array)
}

/// `depth` counts the value, if it is a table or an array.
fn decode_value(value: RawValue<'_>, depth: usize) -> Result<FieldValue, Malformed> {
    match value.kind {
        ARRAY => return decode_array(value.bytes, depth).map(FieldValue::FieldArray),
        TABLE => return decode_table(value.bytes, depth).map(FieldValue::FieldTable),
        _ => {}
    }
    decode_scalar(value).ok_or(Malformed::Table)
}

fn decode_scalar(RawValue { kind, bytes }: RawValue<'_>) -> Option<FieldValue> {
    Some(match kind {
        b't' => FieldValue::Boolean(array(bytes)? != [0]),
        b'b' => FieldValue::ShortShortInt(i8::from_be_bytes(array(bytes)?)),
        b'B' => FieldValue::ShortShortUInt(u8::from_be_bytes(array(bytes)?)),
        b's' | b'U' => FieldValue::ShortInt(i16::from_be_bytes(array(bytes)?)),
        b'u' => FieldValue::ShortUInt(u16::from_be_bytes(array(bytes)?)),
        b'I' => FieldValue::LongInt(i32::from_be_bytes(array(bytes)?)),
        b'i' => FieldValue::LongUInt(u32::from_be_bytes(array(bytes)?)),
        b'l' | b'L' => FieldValue::LongLongInt(i64::from_be_bytes(array(bytes)?)),
        b'T' => FieldValue::Timestamp(u64::from_be_bytes(array(bytes)?)),
        b'f' => FieldValue::Float(f32::from_be_bytes(array(bytes)?)),
        b'd' => FieldValue::Double(f64::from_be_bytes(array(bytes)?)),
        b'D' => {
            let [scale, value @ ..] = array::<5>(bytes)?;
            FieldValue::Decimal { scale, value: u32::from_be_bytes(value) }
        }
        b'S' => FieldValue::LongString(bytes.into()),
        b'x' => FieldValue::ByteArray(bytes.to_vec()),
        b'V' => FieldValue::Void,
        _ => return None,
    })
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// The bytes of a table that has `value` under `name`, or nothing, and is otherwise the same to the
/// byte: decoding and encoding would put the fields of nested tables into another order.
///
/// # Panics
/// When `name` is longer than 255 bytes.
#[must_use]
pub fn with(bytes: &[u8], name: &str, value: Option<&FieldValue>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut rest, mut at, mut missing) = (ByteReader::new(bytes), 0, value);
    let put = |value: &FieldValue, out: &mut Vec<u8>| {
        out.push(u8::try_from(name.len()).expect("a short string"));
        out.extend_from_slice(name.as_bytes());
        encode_value(value, out);
    };
    while let Some(key) = rest.short_string()
        && read_value(&mut rest).is_some()
    {
        if key > name.as_bytes()
            && let Some(value) = missing.take()
        {
            put(value, &mut out);
        }
        let end = bytes.len() - rest.len();
        if key != name.as_bytes() {
            out.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    if let Some(value) = missing {
        put(value, &mut out);
    }
    out
}

/// The value as a whole number, if it is one of the integer types.
#[must_use]
pub fn integer(value: &FieldValue) -> Option<i64> {
    match *value {
        FieldValue::ShortShortInt(number) => Some(number.into()),
        FieldValue::ShortShortUInt(number) => Some(number.into()),
        FieldValue::ShortInt(number) => Some(number.into()),
        FieldValue::ShortUInt(number) => Some(number.into()),
        FieldValue::LongInt(number) => Some(number.into()),
        FieldValue::LongUInt(number) => Some(number.into()),
        FieldValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

/// The strings of an array; of anything else none.
pub(crate) fn strings(array: Option<&FieldValue>) -> Vec<Vec<u8>> {
    let Some(FieldValue::FieldArray(items)) = array else { return Vec::new() };
    let string = |item: &FieldValue| match item {
        FieldValue::LongString(text) => Some(text.clone()),
        _ => None,
    };
    items.as_slice().iter().filter_map(string).collect()
}

/// Appends the bytes of a table, its names in ascending order.
///
/// # Panics
/// When a value is longer than 4 GiB, which nothing that came in a frame is.
pub fn encode(table: &FieldTable, out: &mut Vec<u8>) {
    for (name, value) in table {
        let name = name.as_bytes();
        out.push(u8::try_from(name.len()).expect("a short string"));
        out.extend_from_slice(name);
        encode_value(value, out);
    }
}

fn encode_value(value: &FieldValue, out: &mut Vec<u8>) {
    out.push(kind_of(value));
    match value {
        FieldValue::Boolean(value) => out.push(u8::from(*value)),
        FieldValue::ShortShortInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::ShortShortUInt(value) => out.push(*value),
        FieldValue::ShortInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::ShortUInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::LongInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::LongUInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::LongLongInt(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::Float(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::Double(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::Decimal { scale, value } => {
            out.push(*scale);
            out.extend_from_slice(&value.to_be_bytes());
        }
        FieldValue::LongString(bytes) | FieldValue::ByteArray(bytes) => {
            with_len(out, |out| out.extend_from_slice(bytes));
        }
        FieldValue::FieldArray(array) => with_len(out, |out| {
            for value in array {
                encode_value(value, out);
            }
        }),
        FieldValue::Timestamp(value) => out.extend_from_slice(&value.to_be_bytes()),
        FieldValue::FieldTable(table) => with_len(out, |out| encode(table, out)),
        FieldValue::Void => {}
    }
}

/// The octet that tells the kind of a value.
fn kind_of(value: &FieldValue) -> u8 {
    match value {
        FieldValue::Boolean(_) => b't',
        FieldValue::ShortShortInt(_) => b'b',
        FieldValue::ShortShortUInt(_) => b'B',
        FieldValue::ShortInt(_) => b's',
        FieldValue::ShortUInt(_) => b'u',
        FieldValue::LongInt(_) => b'I',
        FieldValue::LongUInt(_) => b'i',
        FieldValue::LongLongInt(_) => b'l',
        FieldValue::Float(_) => b'f',
        FieldValue::Double(_) => b'd',
        FieldValue::Decimal { .. } => b'D',
        FieldValue::LongString(_) => b'S',
        FieldValue::ByteArray(_) => b'x',
        FieldValue::FieldArray(_) => ARRAY,
        FieldValue::Timestamp(_) => b'T',
        FieldValue::FieldTable(_) => TABLE,
        FieldValue::Void => b'V',
    }
}

/// Appends what `write` writes, after its length.
fn with_len(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = u32::try_from(out.len() - at - 4).expect("a value is far smaller than 4 GiB");
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

/// A value's type as RabbitMQ's error texts name it, such as `signedint`.
#[must_use]
pub fn type_name(value: &FieldValue) -> &'static str {
    match value {
        FieldValue::Boolean(_) => "bool",
        FieldValue::ShortShortInt(_) => "byte",
        FieldValue::ShortShortUInt(_) => "unsignedbyte",
        FieldValue::ShortInt(_) => "short",
        FieldValue::ShortUInt(_) => "unsignedshort",
        FieldValue::LongInt(_) => "signedint",
        FieldValue::LongUInt(_) => "unsignedint",
        FieldValue::LongLongInt(_) => "long",
        FieldValue::Float(_) => "float",
        FieldValue::Double(_) => "double",
        FieldValue::Decimal { .. } => "decimal",
        FieldValue::LongString(_) => "longstr",
        FieldValue::FieldArray(_) => "array",
        FieldValue::Timestamp(_) => "timestamp",
        FieldValue::FieldTable(_) => "table",
        FieldValue::ByteArray(_) => "binary",
        FieldValue::Void => "void",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::samples::{every_kind, nested};

    fn encoded(table: &FieldTable) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(table, &mut bytes);
        bytes
    }

    #[test]
    fn every_kind_comes_back_as_it_went() {
        let table = every_kind();
        let bytes = encoded(&table);
        assert_eq!(decode(&bytes), Ok(table.clone()));
        assert_eq!(check(&bytes), Ok(()));
        for (name, value) in &table {
            let raw = get(&bytes, name.as_bytes()).unwrap();
            assert_eq!(raw.decode().as_ref(), Ok(value), "{name}");
        }
        assert_eq!(get(&bytes, b"absent"), None);
    }

    #[test]
    fn names_are_written_in_ascending_order() {
        let mut table = FieldTable::default();
        for name in ["b", "c", "a"] {
            table.insert(name.into(), FieldValue::Void);
        }
        assert_eq!(encoded(&table), b"\x01aV\x01bV\x01cV");
    }

    #[test]
    fn one_name_is_replaced_and_everything_else_stays_as_it_is() {
        let bytes = b"\x01aV\x01cF\0\0\0\x06\x01zV\x01yV\x01bV\x01aV";
        assert_eq!(with(bytes, "a", None), b"\x01cF\0\0\0\x06\x01zV\x01yV\x01bV");
        assert_eq!(with(bytes, "d", None), bytes);
        let flag = Some(&FieldValue::Boolean(true));
        assert_eq!(with(bytes, "b", flag), b"\x01aV\x01bt\x01\x01cF\0\0\0\x06\x01zV\x01yV\x01aV");
        assert_eq!(with(b"\x01aV", "b", flag), b"\x01aV\x01bt\x01");
        assert_eq!(with(b"", "b", flag), b"\x01bt\x01");
        assert_eq!(with(b"\x01aV\x01bI\0", "c", None), b"\x01aV", "it ends where it is malformed");
    }

    #[test]
    fn other_octets_for_the_same_kind_are_understood() {
        let table = decode(b"\x01aU\xff\xfe\x01bL\0\0\0\0\0\0\0\x05").unwrap();
        assert_eq!(table["a"], FieldValue::ShortInt(-2));
        assert_eq!(table["b"], FieldValue::LongLongInt(5));
    }

    #[test]
    fn the_first_of_two_equal_names_counts() {
        let bytes = b"\x01at\x01\x01at\x00";
        assert_eq!(decode(bytes).unwrap()["a"], FieldValue::Boolean(true));
        assert_eq!(get(bytes, b"a"), Some(RawValue { kind: b't', bytes: &[1] }));
    }

    #[test]
    fn an_array_is_walked_without_building_it() {
        let array = |kind, bytes| RawValue { kind, bytes };
        let items: Vec<_> = array(ARRAY, b"S\0\0\0\x01aVb\x07").items().collect();
        assert_eq!(items, [array(b'S', b"a"), array(b'V', b""), array(b'b', b"\x07")]);
        assert_eq!(array(ARRAY, b"").items().count(), 0);
        assert_eq!(array(ARRAY, b"VS\0\0\0\x02a").items().count(), 1, "it ends where it is malformed");
        assert_eq!(array(b'S', b"VV").items().count(), 0);
    }

    #[test]
    fn a_table_cut_anywhere_is_refused() {
        let bytes = encoded(&every_kind());
        let whole_entries = every_kind().len();
        let accepted = (0..bytes.len()).filter(|&cut| check(&bytes[..cut]).is_ok()).count();
        assert_eq!(accepted, whole_entries, "only between two entries is what is left a table");
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]).is_ok(), check(&bytes[..cut]).is_ok(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_and_says_why() {
        let refused = |bytes: &[u8]| {
            let fault = decode(bytes).unwrap_err();
            assert_eq!(check(bytes), Err(fault));
            fault.to_string()
        };
        assert_eq!(refused(b"\x01aZ"), "field table does not decode");
        assert_eq!(refused(b"\x01aF\xff\xff\xff\xff"), "field table does not decode");
        assert_eq!(refused(b"\x01\xffV"), "field table with a name that is not UTF-8");
    }

    #[test]
    fn the_deepest_table_is_taken_and_one_level_more_refused() {
        for kind in [ARRAY, TABLE] {
            let deepest = nested(kind, DEPTH_MAX - 1);
            assert_eq!(check(&deepest), Ok(()));
            assert_eq!(encoded(&decode(&deepest).unwrap()), deepest);
            for depth in [DEPTH_MAX, 20_000] {
                let too_deep = nested(kind, depth);
                assert_eq!(check(&too_deep), Err(Malformed::TableDepth));
                assert_eq!(decode(&too_deep), Err(Malformed::TableDepth));
                assert!(get(&too_deep, b"a").unwrap().decode().is_err());
                assert_eq!(get(&too_deep, b"b"), None);
            }
        }
    }
}
