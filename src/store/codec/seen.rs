//! What queues and exchanges that deduplicate have seen: the rows of `seen`.
//!
//! Each has as many slots as it remembers values; a value replaces the one that had its slot
//! before. Strings are a u32 length and that many bytes; integers are big-endian, so that the slots
//! of one owner lie side by side.
//!
//! ```text
//! key    0 | u64 queue           | u64 slot          value  u64 number | u64 until, ms since 1970 | the value
//!        1 | str vhost | str name | u64 slot
//! ```

use super::record;
use crate::ids::QueueId;
use crate::store::error::StoreError;
use crate::store::seen::{SeenBy, SeenRecord};

const QUEUE: u8 = 0;
const EXCHANGE: u8 = 1;

pub(in crate::store) fn encode_owner(by: &SeenBy) -> Vec<u8> {
    match by {
        SeenBy::Queue(id) => [&[QUEUE][..], &id.0.to_be_bytes()].concat(),
        SeenBy::Exchange { vhost, name } => [&[EXCHANGE][..], &record::exchange_key(vhost, name)].concat(),
    }
}

pub(in crate::store) fn encode_key(record: &SeenRecord) -> Vec<u8> {
    [encode_owner(&record.by).as_slice(), &record.slot.to_be_bytes()].concat()
}

pub(in crate::store) fn encode_row(record: &SeenRecord) -> Vec<u8> {
    [&record.number.to_be_bytes()[..], &record.until_ms.to_be_bytes(), &record.value].concat()
}

pub(in crate::store) fn decode_owner(owner: &[u8]) -> Result<SeenBy, StoreError> {
    match owner.split_first().ok_or_else(malformed)? {
        (&QUEUE, id) => Ok(SeenBy::Queue(QueueId(number(id.try_into().map_err(cut)?)?))),
        (&EXCHANGE, key) => {
            let (vhost, name) = record::decode_exchange_key(key)?;
            Ok(SeenBy::Exchange { vhost, name })
        }
        _ => Err(malformed()),
    }
}

pub(in crate::store) fn decode(key: &[u8], row: &[u8]) -> Result<SeenRecord, StoreError> {
    let (owner, slot) = key.split_last_chunk().ok_or_else(malformed)?;
    let (counted, rest) = row.split_first_chunk().ok_or_else(malformed)?;
    let (until_ms, value) = rest.split_first_chunk().ok_or_else(malformed)?;
    Ok(SeenRecord {
        by: decode_owner(owner)?,
        slot: number(*slot)?,
        number: number(*counted)?,
        until_ms: u64::from_be_bytes(*until_ms),
        value: value.to_vec(),
    })
}

fn number(bytes: [u8; 8]) -> Result<u64, StoreError> {
    super::number(u64::from_be_bytes(bytes))
}

fn malformed() -> StoreError {
    StoreError::Damaged("a row of `seen` is malformed".to_owned())
}

fn cut(_not_eight: std::array::TryFromSliceError) -> StoreError {
    malformed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(by: SeenBy) -> SeenRecord {
        SeenRecord { by, slot: 3, number: 131, until_ms: u64::MAX, value: b"Sid".to_vec() }
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn rows_are_as_drawn() {
        let queue = record(SeenBy::Queue(QueueId(7)));
        assert_eq!(encode_key(&queue), b"\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x03");
        let row = encode_row(&queue);
        assert_eq!(row, b"\0\0\0\0\0\0\0\x83\xff\xff\xff\xff\xff\xff\xff\xffSid");
        assert_eq!(decode(&encode_key(&queue), &row).unwrap(), queue);
        let exchange = record(SeenBy::Exchange { vhost: "/".to_owned(), name: "x".to_owned() });
        let key = encode_key(&exchange);
        assert_eq!(key, b"\x01\0\0\0\x01/\0\0\0\x01x\0\0\0\0\0\0\0\x03");
        assert_eq!(decode(&key, &row).unwrap(), exchange);
    }

    #[test]
    fn malformed_rows_are_refused() {
        let exchange = record(SeenBy::Exchange { vhost: "/".to_owned(), name: "x".to_owned() });
        let (key, row) = (encode_key(&exchange), encode_row(&exchange));
        for end in 0..key.len() {
            assert!(decode(&key[..end], &row).is_err(), "cut at {end}");
        }
        for end in 0..16 {
            assert!(decode(&key, &row[..end]).is_err(), "cut at {end}");
        }
        assert!(decode(&key, &[0xff; 20]).is_err(), "nothing counts so far");
        assert!(decode(b"\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x03", &row).is_err());
    }
}
