//! A method frame's payload: class, number and arguments, to bytes and back, by the table.

use crate::protocol::reader::Reader;
use crate::protocol::table::{FieldSpec, Kind, MethodSpec, method_of};
use crate::protocol::value::{Value, decode_table, encode_table, fits, put_integer, put_long_text};

/// A method with all its arguments, in the order of its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Method {
    /// Which.
    pub(crate) spec: &'static MethodSpec,
    /// One for each of the method's fields.
    pub(crate) arguments: Vec<Value>,
}

/// What a field holds when a script does not say.
pub(crate) fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Bit => Value::Bool(false),
        Kind::Octet | Kind::Short | Kind::Long | Kind::LongLong => Value::Int('_', 0),
        Kind::ShortText | Kind::LongText => Value::Text(Vec::new()),
        Kind::Timestamp => Value::Timestamp(0),
        Kind::Table => Value::Table(Vec::new()),
    }
}

/// Appends `value` as a field of `kind`, which is not a bit.
///
/// # Errors
/// The field cannot hold the value.
pub(crate) fn encode_field(kind: Kind, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match (kind, value) {
        (Kind::Octet | Kind::Short | Kind::Long | Kind::LongLong, Value::Int(_, number)) => {
            let letter = kind.letter().expect("these kinds are integers");
            if !fits(letter, *number) {
                return Err(format!("{number} does not fit"));
            }
            let bytes = match kind {
                Kind::Octet => 1,
                Kind::Short => 2,
                Kind::Long => 4,
                _ => 8,
            };
            put_integer(out, bytes, *number);
        }
        (Kind::ShortText, Value::Text(text)) => {
            let len = u8::try_from(text.len())
                .map_err(|_too_long| format!("{} bytes do not fit into a short string", text.len()))?;
            out.push(len);
            out.extend_from_slice(text);
        }
        (Kind::LongText, Value::Text(text)) => put_long_text(out, text),
        (Kind::Timestamp, Value::Timestamp(seconds)) => out.extend_from_slice(&seconds.to_be_bytes()),
        (Kind::Timestamp, Value::Int(_, number)) if fits('L', *number) => put_integer(out, 8, *number),
        (Kind::Table, Value::Table(entries)) => encode_table(entries, out),
        _ => return Err(format!("{} does not fit into a field of this type", value.show(true))),
    }
    Ok(())
}

/// Reads a field of `kind`, which is not a bit.
///
/// # Errors
/// It is cut or wrong.
pub(crate) fn decode_field(field: FieldSpec, reader: &mut Reader<'_>) -> Result<Value, String> {
    Ok(match field.kind {
        Kind::Bit => Value::Bool(reader.octet(field.name)? & 1 != 0),
        Kind::Octet => Value::Int('B', reader.unsigned(1, field.name)?.into()),
        Kind::Short => Value::Int('u', reader.unsigned(2, field.name)?.into()),
        Kind::Long => Value::Int('i', reader.unsigned(4, field.name)?.into()),
        Kind::LongLong => Value::Int('L', reader.unsigned(8, field.name)?.into()),
        Kind::ShortText => Value::Text(reader.short_text(field.name)?.to_vec()),
        Kind::LongText => Value::Text(reader.long_text(field.name)?.to_vec()),
        Kind::Timestamp => Value::Timestamp(reader.unsigned(8, field.name)?),
        Kind::Table => decode_table(reader)?,
    })
}

impl Method {
    /// The argument of the field called `name`.
    pub(crate) fn argument(&self, name: &str) -> Option<&Value> {
        let at = self.spec.fields.iter().position(|field| field.name == name)?;
        self.arguments.get(at)
    }

    /// The number in the field called `name`; 0 when there is none.
    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.argument(name) {
            Some(Value::Int(_, number)) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        }
    }

    /// Whether the bit called `name` is set.
    pub(crate) fn bit(&self, name: &str) -> bool {
        self.argument(name) == Some(&Value::Bool(true))
    }

    /// The text in the field called `name`; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> &[u8] {
        match self.argument(name) {
            Some(Value::Text(text)) => text,
            _ => &[],
        }
    }

    /// The payload of its frame.
    ///
    /// # Errors
    /// An argument does not fit its field; the text names it.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        put_integer(&mut out, 2, self.spec.class.into());
        put_integer(&mut out, 2, self.spec.id.into());
        let mut bits: Option<u32> = None;
        for (field, value) in self.spec.fields.iter().zip(&self.arguments) {
            if field.kind == Kind::Bit {
                let shift = bits.filter(|&count| count < 8).unwrap_or(0);
                if shift == 0 {
                    out.push(0);
                }
                if let Some(last) = out.last_mut() {
                    *last |= u8::from(value == &Value::Bool(true)) << shift;
                }
                bits = Some(shift + 1);
            } else {
                bits = None;
                encode_field(field.kind, value, &mut out).map_err(|why| format!("{}: {why}", field.name))?;
            }
        }
        Ok(out)
    }

    /// Reads a method frame's payload to its last byte.
    ///
    /// # Errors
    /// No such method, or its arguments are cut, wrong or followed by something.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(payload);
        let class = u16::try_from(reader.unsigned(2, "a class")?).unwrap_or_default();
        let id = u16::try_from(reader.unsigned(2, "a method")?).unwrap_or_default();
        let spec = method_of(class, id).ok_or_else(|| format!("there is no method {class},{id}"))?;
        let mut arguments = Vec::with_capacity(spec.fields.len());
        let mut bits: Option<(u8, u32)> = None;
        for field in &spec.fields {
            if field.kind == Kind::Bit {
                let (octet, shift) = match bits.filter(|(_, shift)| *shift < 8) {
                    Some(packed) => packed,
                    None => (reader.octet(field.name)?, 0),
                };
                arguments.push(Value::Bool(octet >> shift & 1 != 0));
                bits = Some((octet, shift + 1));
            } else {
                bits = None;
                arguments
                    .push(decode_field(*field, &mut reader).map_err(|why| format!("{}: {why}", spec.name))?);
            }
        }
        if reader.is_empty() {
            Ok(Self { spec, arguments })
        } else {
            Err(format!("{} is followed by {} bytes too many", spec.name, reader.len()))
        }
    }

    /// As a script writes it, without the fields that are zero and nobody asks for.
    pub(crate) fn show(&self) -> String {
        let mut out = self.spec.name.to_owned();
        for (field, value) in self.spec.fields.iter().zip(&self.arguments) {
            if !field.name.starts_with("reserved-") || value != &zero(field.kind) {
                out.push(' ');
                out.push_str(field.name);
                out.push('=');
                out.push_str(&value.show(false));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::table::method;

    fn sample(kind: Kind) -> Value {
        match kind {
            Kind::Bit => Value::Bool(true),
            Kind::Octet => Value::Int('B', 0xfe),
            Kind::Short => Value::Int('u', 0xfedc),
            Kind::Long => Value::Int('i', 0xfedc_ba98),
            Kind::LongLong => Value::Int('L', 0xfedc_ba98_7654_3210),
            Kind::ShortText | Kind::LongText => Value::Text(b"hare".to_vec()),
            Kind::Timestamp => Value::Timestamp(7),
            Kind::Table => Value::Table(vec![(b"k".to_vec(), Value::Int('l', -1))]),
        }
    }

    #[test]
    fn every_method_comes_back_as_it_went() {
        for class in 0..100 {
            for spec in (0..=255).filter_map(|id| method_of(class, id)) {
                let arguments = spec.fields.iter().map(|field| sample(field.kind)).collect();
                let sent = Method { spec, arguments };
                let bytes = sent.encode().unwrap();
                assert_eq!(Method::decode(&bytes).unwrap(), sent);
                for cut in 0..bytes.len() {
                    assert!(Method::decode(&bytes[..cut]).is_err(), "{} cut at {cut}", spec.name);
                }
                assert!(Method::decode(&[&bytes[..], b"!"].concat()).is_err(), "{} with more", spec.name);
            }
        }
    }

    #[test]
    fn bits_are_packed_from_the_lowest() {
        let spec = method("queue.declare").unwrap();
        let mut arguments: Vec<_> = spec.fields.iter().map(|field| zero(field.kind)).collect();
        arguments[3] = Value::Bool(true);
        arguments[5] = Value::Bool(true);
        let bytes = Method { spec, arguments }.encode().unwrap();
        assert_eq!(bytes, [0, 50, 0, 10, 0, 0, 0, 0b1010, 0, 0, 0, 0]);
    }

    #[test]
    fn a_value_too_large_for_its_field_is_named() {
        let spec = method("basic.qos").unwrap();
        let arguments = vec![Value::Int('_', 0), Value::Int('_', 65536), Value::Bool(false)];
        assert_eq!(Method { spec, arguments }.encode().unwrap_err(), "prefetch-count: 65536 does not fit");
    }
}
