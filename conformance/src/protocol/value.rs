//! A value of a field, an argument or a header: every type that AMQP 0-9-1 and RabbitMQ put into a
//! table.
//!
//! ```text
//! t bool    b i8  B u8  s i16  u u16  I i32  i u32  l i64  L u64    f f32  d f64  D decimal (scale u8, value u32)
//! S text (length u32)   x bytes (length u32)   T timestamp u64   A array   F table   V void
//! ```
//!
//! An integer of the type
//! `_` comes from a script that did not say which; a table then carries it as `I`, or `l` when too
//! large for that.

use crate::protocol::reader::Reader;
use std::fmt::Write;

/// How many nested arrays and tables are decoded.
const DEPTH_MAX: usize = 64;

/// How many bytes of a text are shown before it is cut.
const SHOWN_MAX: usize = 300;

/// A field value of AMQP 0-9-1 or of RabbitMQ (RabbitMQ: amqp-0-9-1-errata.md, section 3).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `t`, and a method's bit.
    Bool(bool),
    /// An integer of the type that the letter names.
    Int(char, i128),
    /// `f`.
    Float(f32),
    /// `d`.
    Double(f64),
    /// `D`: scale and unscaled value.
    Decimal(u8, u32),
    /// `S`, and a method's short or long string.
    Text(Vec<u8>),
    /// `x`.
    Bytes(Vec<u8>),
    /// `T`, seconds.
    Timestamp(u64),
    /// `A`.
    Array(Vec<Self>),
    /// `F`, in the order of the wire.
    Table(Vec<(Vec<u8>, Self)>),
    /// `V`.
    Void,
}

/// Width in bytes and signedness of the integer type `letter`.
pub(crate) fn integer_type(letter: char) -> Option<(usize, bool)> {
    Some(match letter {
        'b' => (1, true),
        'B' => (1, false),
        's' => (2, true),
        'u' => (2, false),
        'I' => (4, true),
        'i' => (4, false),
        'l' => (8, true),
        'L' => (8, false),
        _ => return None,
    })
}

/// Whether the integer type `letter` holds `number`.
pub(crate) fn fits(letter: char, number: i128) -> bool {
    integer_type(letter).is_some_and(|(bytes, signed)| {
        let bits = bytes * 8;
        if signed {
            (-(1_i128 << (bits - 1))..1_i128 << (bits - 1)).contains(&number)
        } else {
            (0..1_i128 << bits).contains(&number)
        }
    })
}

/// Appends the low `len` bytes of `number`, big-endian.
pub(crate) fn put_integer(out: &mut Vec<u8>, len: usize, number: i128) {
    let bytes = number.to_be_bytes();
    out.extend_from_slice(&bytes[bytes.len() - len..]);
}

/// Appends `text` with its length in four bytes before it.
pub(crate) fn put_long_text(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 4, i128::try_from(text.len()).unwrap_or(i128::MAX));
    out.extend_from_slice(text);
}

impl Value {
    /// The letter that the wire has for its type.
    pub(crate) fn letter(&self) -> char {
        match self {
            Self::Bool(_) => 't',
            Self::Int('_', number) if fits('I', *number) => 'I',
            Self::Int('_', _) => 'l',
            Self::Int(letter, _) => *letter,
            Self::Float(_) => 'f',
            Self::Double(_) => 'd',
            Self::Decimal(..) => 'D',
            Self::Text(_) => 'S',
            Self::Bytes(_) => 'x',
            Self::Timestamp(_) => 'T',
            Self::Array(_) => 'A',
            Self::Table(_) => 'F',
            Self::Void => 'V',
        }
    }

    /// Appends letter and value, as in a table.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut letter = [0; 4];
        out.extend_from_slice(self.letter().encode_utf8(&mut letter).as_bytes());
        match self {
            Self::Bool(truth) => out.push(u8::from(*truth)),
            Self::Int(_, number) => {
                put_integer(out, integer_type(self.letter()).map_or(8, |(bytes, _)| bytes), *number);
            }
            Self::Float(number) => out.extend_from_slice(&number.to_be_bytes()),
            Self::Double(number) => out.extend_from_slice(&number.to_be_bytes()),
            Self::Decimal(scale, number) => {
                out.push(*scale);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Text(text) | Self::Bytes(text) => put_long_text(out, text),
            Self::Timestamp(seconds) => out.extend_from_slice(&seconds.to_be_bytes()),
            Self::Array(values) => {
                let mut inner = Vec::new();
                for value in values {
                    value.encode(&mut inner);
                }
                put_long_text(out, &inner);
            }
            Self::Table(entries) => encode_table(entries, out),
            Self::Void => {}
        }
    }

    /// Reads letter and value.
    ///
    /// # Errors
    /// It is cut, of no known type, or nested too deep.
    fn decode(reader: &mut Reader<'_>, depth: usize) -> Result<Self, String> {
        if depth == 0 {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        let letter = char::from(reader.octet("a value's type")?);
        if let Some((bytes, signed)) = integer_type(letter) {
            let number = i128::from(reader.unsigned(bytes, "an integer")?);
            let wrapped = signed && !fits(letter, number);
            return Ok(Self::Int(letter, if wrapped { number - (1 << (bytes * 8)) } else { number }));
        }
        let four = |reader: &mut Reader<'_>, what| {
            reader.take(4, what).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        Ok(match letter {
            't' => Self::Bool(reader.octet("a boolean")? != 0),
            'f' => Self::Float(f32::from_be_bytes(four(reader, "a float")?)),
            'd' => Self::Double(f64::from_bits(reader.unsigned(8, "a double")?)),
            'D' => {
                let scale = reader.octet("a decimal's scale")?;
                Self::Decimal(scale, u32::from_be_bytes(four(reader, "a decimal")?))
            }
            'S' => Self::Text(reader.long_text("a long string")?.to_vec()),
            'x' => Self::Bytes(reader.long_text("a byte array")?.to_vec()),
            'T' => Self::Timestamp(reader.unsigned(8, "a timestamp")?),
            'A' => {
                let mut inner = Reader::new(reader.long_text("an array")?);
                let mut values = Vec::new();
                while !inner.is_empty() {
                    values.push(Self::decode(&mut inner, depth - 1)?);
                }
                Self::Array(values)
            }
            'F' => Self::Table(decode_entries(reader, depth - 1)?),
            'V' => Self::Void,
            _ => return Err(format!("'{}' is no type of a value", letter.escape_default())),
        })
    }

    /// As a script writes it; `typed` with the letter after an integer.
    pub(crate) fn show(&self, typed: bool) -> String {
        match self {
            Self::Bool(truth) => truth.to_string(),
            Self::Int(_, number) if typed => format!("{number}{}", self.letter()),
            Self::Int(_, number) => number.to_string(),
            Self::Float(number) => format!("{number:?}f"),
            Self::Double(number) => format!("{number:?}d"),
            Self::Decimal(scale, number) => show_decimal(*scale, *number),
            Self::Text(text) => show_text(text),
            Self::Bytes(bytes) => format!("bytes({})", show_text(bytes)),
            Self::Timestamp(seconds) => format!("{seconds}T"),
            Self::Array(values) => {
                format!("[{}]", values.iter().map(|value| value.show(true)).collect::<Vec<_>>().join(", "))
            }
            Self::Table(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", String::from_utf8_lossy(key), value.show(true)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            Self::Void => "void".into(),
        }
    }
}

fn show_decimal(scale: u8, number: u32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{number:0>width$}", width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{whole}.{part}D")
}

/// Text in quotes, escaped, cut when long.
pub(crate) fn show_text(text: &[u8]) -> String {
    let shown = &text[..text.len().min(SHOWN_MAX)];
    let mut out = String::from("\"");
    for &byte in shown {
        match byte {
            b'"' | b'\\' | b'$' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            0 => out.push_str("\\0"),
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                // Writing into a string cannot fail.
                let _infallible = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
    if text.len() > shown.len() {
        let _infallible = write!(out, "... ({} bytes)", text.len());
    }
    out
}

/// Appends a table with its length.
pub(crate) fn encode_table(entries: &[(Vec<u8>, Value)], out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    for (key, value) in entries {
        inner.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        inner.extend_from_slice(key);
        value.encode(&mut inner);
    }
    put_long_text(out, &inner);
}

/// Reads a table.
///
/// # Errors
/// It is cut or holds what is not a value.
pub(crate) fn decode_table(reader: &mut Reader<'_>) -> Result<Value, String> {
    decode_entries(reader, DEPTH_MAX).map(Value::Table)
}

fn decode_entries(reader: &mut Reader<'_>, depth: usize) -> Result<Vec<(Vec<u8>, Value)>, String> {
    let mut inner = Reader::new(reader.long_text("a table")?);
    let mut entries = Vec::new();
    while !inner.is_empty() {
        let key = inner.short_text("a table's key")?.to_vec();
        entries.push((key, Value::decode(&mut inner, depth)?));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(value: &Value) -> Value {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let back = Value::decode(&mut reader, DEPTH_MAX).unwrap();
        assert!(reader.is_empty());
        back
    }

    #[test]
    fn every_type_comes_back_as_it_went() {
        let mut all = vec![
            Value::Bool(true),
            Value::Float(1.5),
            Value::Double(-2.25),
            Value::Decimal(2, 314),
            Value::Text(b"hare".to_vec()),
            Value::Bytes(vec![0, 255]),
            Value::Timestamp(1_700_000_000),
            Value::Void,
        ];
        for letter in "bBsuIilL".chars() {
            let numbers = [0, 1, -1, 127, -128, 255, i128::from(i64::MIN), i128::from(u64::MAX)];
            all.extend(
                numbers
                    .into_iter()
                    .filter(|&number| fits(letter, number))
                    .map(|number| Value::Int(letter, number)),
            );
        }
        for value in &all {
            assert_eq!(&back(value), value);
        }
        let nested = Value::Table(vec![(b"k".to_vec(), Value::Array(all))]);
        assert_eq!(back(&nested), nested);
    }

    #[test]
    fn an_untyped_integer_takes_the_smaller_type_that_holds_it() {
        assert_eq!(back(&Value::Int('_', 7)), Value::Int('I', 7));
        assert_eq!(back(&Value::Int('_', 1 << 40)), Value::Int('l', 1 << 40));
    }

    #[test]
    fn what_is_cut_or_unknown_or_too_deep_is_refused() {
        let decode = |bytes: &[u8]| Value::decode(&mut Reader::new(bytes), DEPTH_MAX);
        for bad in [&b"I\0\0"[..], b"S\0\0\0\x05abc", b"Z", b"", b"F\0\0\0\x03\x01aZ"] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
        let mut deep = Value::Void;
        for _ in 0..=DEPTH_MAX {
            deep = Value::Array(vec![deep]);
        }
        let mut bytes = Vec::new();
        deep.encode(&mut bytes);
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn values_are_shown_as_scripts_write_them() {
        let value = Value::Table(vec![
            (b"count".to_vec(), Value::Int('l', 1)),
            (b"price".to_vec(), Value::Decimal(2, 5)),
            (b"by".to_vec(), Value::Array(vec![Value::Text(b"a\"\x01".to_vec()), Value::Void])),
        ]);
        assert_eq!(value.show(true), r#"{count: 1l, price: 0.05D, by: ["a\"\x01", void]}"#);
        assert_eq!(Value::Int('L', 7).show(false), "7");
    }
}
