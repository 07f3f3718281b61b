//! Queues, exchanges and bindings as bytes (records of messages are in `message`): the rows of
//! `queues`, `exchanges` and `bindings`.
//!
//! Strings and tables are a u32 length and that many bytes, big-endian; `flags` is one byte.
//!
//! ```text
//! queues     key: id                   value: flags (1 auto-delete) | vhost | name | arguments
//! exchanges  key: vhost | name         value: flags (1 auto-delete, 2 internal) | kind | arguments
//! bindings   key: flags (1 to an exchange) | vhost | source | destination | routing key | arguments
//! ```

use crate::ids::QueueId;
use crate::store::change::{BindingRecord, ExchangeRecord, QueueRecord};
use crate::store::error::StoreError;

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;
const TO_EXCHANGE: u8 = 1;

pub(in crate::store) fn encode_queue(record: &QueueRecord) -> Vec<u8> {
    let mut row = vec![if record.auto_delete { AUTO_DELETE } else { 0 }];
    put(&mut row, record.vhost.as_bytes());
    put(&mut row, record.name.as_bytes());
    put(&mut row, &record.arguments);
    row
}

pub(in crate::store) fn decode_queue(id: u64, row: &[u8]) -> Result<QueueRecord, StoreError> {
    let mut reader = Reader { table: "queues", rest: row };
    let flags = reader.flags(AUTO_DELETE)?;
    let record = QueueRecord {
        id: QueueId(id),
        vhost: reader.text()?,
        name: reader.text()?,
        auto_delete: flags & AUTO_DELETE != 0,
        arguments: reader.bytes()?,
    };
    reader.end()?;
    Ok(record)
}

/// The key that an exchange has.
pub(in crate::store) fn exchange_key(vhost: &str, name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    put(&mut key, vhost.as_bytes());
    put(&mut key, name.as_bytes());
    key
}

/// The vhost and the name that a key is made of.
pub(in crate::store) fn decode_exchange_key(key: &[u8]) -> Result<(String, String), StoreError> {
    let mut names = Reader { table: "exchanges", rest: key };
    let read = (names.text()?, names.text()?);
    names.end()?;
    Ok(read)
}

/// The value only; the key is [`exchange_key`].
pub(in crate::store) fn encode_exchange(record: &ExchangeRecord) -> Vec<u8> {
    let auto_delete = if record.auto_delete { AUTO_DELETE } else { 0 };
    let mut row = vec![auto_delete | if record.internal { INTERNAL } else { 0 }];
    put(&mut row, record.kind.as_bytes());
    put(&mut row, &record.arguments);
    row
}

pub(in crate::store) fn decode_exchange(key: &[u8], row: &[u8]) -> Result<ExchangeRecord, StoreError> {
    let (vhost, name) = decode_exchange_key(key)?;
    let mut reader = Reader { table: "exchanges", rest: row };
    let flags = reader.flags(AUTO_DELETE | INTERNAL)?;
    let record = ExchangeRecord {
        vhost,
        name,
        kind: reader.text()?,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments: reader.bytes()?,
    };
    reader.end()?;
    Ok(record)
}

/// The key; there is no value.
pub(in crate::store) fn encode_binding(record: &BindingRecord) -> Vec<u8> {
    let mut key = vec![if record.to_exchange { TO_EXCHANGE } else { 0 }];
    put(&mut key, record.vhost.as_bytes());
    put(&mut key, record.source.as_bytes());
    put(&mut key, record.destination.as_bytes());
    put(&mut key, &record.routing_key);
    put(&mut key, &record.arguments);
    key
}

pub(in crate::store) fn decode_binding(key: &[u8]) -> Result<BindingRecord, StoreError> {
    let mut reader = Reader { table: "bindings", rest: key };
    let flags = reader.flags(TO_EXCHANGE)?;
    let record = BindingRecord {
        vhost: reader.text()?,
        source: reader.text()?,
        to_exchange: flags & TO_EXCHANGE != 0,
        destination: reader.text()?,
        routing_key: reader.bytes()?,
        arguments: reader.bytes()?,
    };
    reader.end()?;
    Ok(record)
}

pub(in crate::store) fn put(row: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("names, keys and arguments come in frames");
    row.extend_from_slice(&len.to_be_bytes());
    row.extend_from_slice(bytes);
}

/// Reads a row, or a part of one, from its head.
pub(in crate::store) struct Reader<'a> {
    pub(in crate::store) table: &'static str,
    pub(in crate::store) rest: &'a [u8],
}

impl Reader<'_> {
    pub(in crate::store) fn malformed(&self) -> StoreError {
        StoreError::Damaged(format!("a row of `{}` is malformed", self.table))
    }

    pub(in crate::store) fn flags(&mut self, known: u8) -> Result<u8, StoreError> {
        let flags = self.u8()?;
        if flags & !known == 0 { Ok(flags) } else { Err(self.malformed()) }
    }

    pub(in crate::store) fn u8(&mut self) -> Result<u8, StoreError> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(byte)
    }

    pub(in crate::store) fn i64(&mut self) -> Result<i64, StoreError> {
        let (number, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(i64::from_be_bytes(*number))
    }

    pub(in crate::store) fn u32(&mut self) -> Result<u32, StoreError> {
        let (number, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(in crate::store) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(bytes.to_vec())
    }

    pub(in crate::store) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_not_utf8| self.malformed())
    }

    pub(in crate::store) fn end(&self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn rows_are_as_drawn() {
        let queue = QueueRecord {
            id: QueueId(7),
            vhost: "/".to_owned(),
            name: "jobs".to_owned(),
            auto_delete: true,
            arguments: b"\x01xt\x01".to_vec(),
        };
        let row = encode_queue(&queue);
        assert_eq!(row, b"\x01\0\0\0\x01/\0\0\0\x04jobs\0\0\0\x04\x01xt\x01");
        assert_eq!(decode_queue(7, &row).unwrap(), queue);

        let exchange = ExchangeRecord {
            vhost: "/".to_owned(),
            name: "logs".to_owned(),
            kind: "topic".to_owned(),
            auto_delete: false,
            internal: true,
            arguments: Vec::new(),
        };
        let (key, row) = (exchange_key("/", "logs"), encode_exchange(&exchange));
        assert_eq!(key, b"\0\0\0\x01/\0\0\0\x04logs");
        assert_eq!(row, b"\x02\0\0\0\x05topic\0\0\0\0");
        assert_eq!(decode_exchange(&key, &row).unwrap(), exchange);

        let binding = BindingRecord {
            vhost: "/".to_owned(),
            source: "logs".to_owned(),
            to_exchange: true,
            destination: "all".to_owned(),
            routing_key: b"a.*\xff".to_vec(),
            arguments: Vec::new(),
        };
        let key = encode_binding(&binding);
        assert_eq!(key, b"\x01\0\0\0\x01/\0\0\0\x04logs\0\0\0\x03all\0\0\0\x04a.*\xff\0\0\0\0");
        assert_eq!(decode_binding(&key).unwrap(), binding);
    }

    #[test]
    fn malformed_rows_are_refused() {
        let row = b"\x01\0\0\0\x01/\0\0\0\x04jobs\0\0\0\x04\x01xt\x01";
        for end in 0..row.len() {
            assert!(decode_queue(7, &row[..end]).is_err(), "cut at {end}");
        }
        assert!(decode_queue(7, b"\x04\0\0\0\0\0\0\0\0\0\0\0\0").is_err());
        assert!(decode_queue(7, b"\x00\0\0\0\0\0\0\0\x01\xff\0\0\0\0").is_err());
        assert!(decode_queue(7, b"\x00\0\0\0\0\0\0\0\0\0\0\0\0more").is_err());
    }
}
