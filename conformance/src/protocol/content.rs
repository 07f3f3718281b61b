//! A content header frame's payload: class, weight, body size, and the properties that its flags
//! announce.
//!
//! ```text
//! class u16 | weight u16 | body size u64 | flags u16 (bit 15 = content-type ... bit 2 = cluster-id) | properties
//! ```

use crate::protocol::method::{decode_field, encode_field};
use crate::protocol::reader::Reader;
use crate::protocol::table::{BASIC, properties};
use crate::protocol::value::{Value, put_integer};

/// The payload of a content header frame (AMQP 0-9-1 section 2.3.5.2).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    /// The class of the content, 60.
    pub(crate) class: u16,
    /// Unused by the protocol, 0.
    pub(crate) weight: u16,
    /// Bytes of the body that follows.
    pub(crate) size: u64,
    /// Those that are there, by name, in the order of the wire.
    pub(crate) properties: Vec<(&'static str, Value)>,
}

impl Header {
    /// A header of class basic.
    pub(crate) fn new(size: u64, properties: Vec<(&'static str, Value)>) -> Self {
        Self { class: BASIC, weight: 0, size, properties }
    }

    /// The property called `name`.
    pub(crate) fn property(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(property, _)| *property == name).map(|(_, value)| value)
    }

    /// The payload of its frame.
    ///
    /// # Errors
    /// A value does not fit its property; the text names it.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        put_integer(&mut out, 2, self.class.into());
        put_integer(&mut out, 2, self.weight.into());
        put_integer(&mut out, 8, self.size.into());
        let (mut flags, mut values) = (0_u16, Vec::new());
        for (at, property) in properties().iter().enumerate() {
            if let Some(value) = self.property(property.name) {
                flags |= 1 << (15 - at);
                encode_field(property.kind, value, &mut values)
                    .map_err(|why| format!("{}: {why}", property.name))?;
            }
        }
        put_integer(&mut out, 2, flags.into());
        out.extend_from_slice(&values);
        Ok(out)
    }

    /// Reads a content header frame's payload to its last byte.
    ///
    /// # Errors
    /// It is cut, wrong or too long.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(payload);
        let class = u16::try_from(reader.unsigned(2, "a class")?).unwrap_or_default();
        let weight = u16::try_from(reader.unsigned(2, "a weight")?).unwrap_or_default();
        let size = reader.unsigned(8, "a body size")?;
        let flags = reader.unsigned(2, "property flags")?;
        if flags & 0b11 != 0 {
            return Err(format!("property flags {flags:#06x} announce properties that do not exist"));
        }
        let mut found = Vec::new();
        for (at, property) in properties().iter().enumerate() {
            if flags & (1 << (15 - at)) != 0 {
                found.push((property.name, decode_field(*property, &mut reader)?));
            }
        }
        if reader.is_empty() {
            Ok(Self { class, weight, size, properties: found })
        } else {
            Err(format!("a content header is followed by {} bytes too many", reader.len()))
        }
    }

    /// The properties as a script writes them, each with a space before it.
    pub(crate) fn show_properties(&self) -> String {
        self.properties.iter().map(|(name, value)| format!(" {name}={}", value.show(false))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_back_and_nothing_more_is_accepted() {
        let header = Header::new(
            5,
            vec![
                ("content-type", Value::Text(b"text/plain".to_vec())),
                ("headers", Value::Table(vec![(b"k".to_vec(), Value::Bool(true))])),
                ("delivery-mode", Value::Int('B', 2)),
                ("timestamp", Value::Timestamp(9)),
                ("cluster-id", Value::Text(Vec::new())),
            ],
        );
        let bytes = header.encode().unwrap();
        assert_eq!(&bytes[12..14], &[0b1011_0000, 0b0100_0100]);
        assert_eq!(Header::decode(&bytes).unwrap(), header);
        assert!(Header::decode(&[&bytes[..], b"!"].concat()).is_err());
        assert!(Header::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
