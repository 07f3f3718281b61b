//! Policies: the rows of `policies`.
//!
//! The table comes into being with the first policy. Strings are a u32 length and that many bytes,
//! integers are big-endian.
//!
//! ```text
//! key    rank (0 a user's, 1 an operator's) | str vhost | str name
//! value  i64 priority | str pattern | str what it is for | (str key | value) ...
//!        a value: 0 i64, or 1 str, or 2 u32 count and as many i64
//! ```

use super::record::{Reader, put};
use crate::policy::{ApplyTo, Definition, Policy, PolicyChange, Rank, Value};
use crate::store::error::StoreError;

const INTEGER: u8 = 0;
const TEXT: u8 = 1;
const INTEGERS: u8 = 2;

/// A change as bytes.
pub(in crate::store) struct PolicyRow {
    pub(in crate::store) key: Vec<u8>,
    /// None takes the row away.
    pub(in crate::store) value: Option<Vec<u8>>,
}

pub(in crate::store) fn encode(change: &PolicyChange) -> PolicyRow {
    let (rank, vhost, name, value) = match change {
        PolicyChange::Put(rank, policy) => (rank, &policy.vhost, &policy.name, Some(encode_policy(policy))),
        PolicyChange::Delete { rank, vhost, name } => (rank, vhost, name, None),
    };
    let mut key = vec![u8::from(*rank == Rank::Operator)];
    put(&mut key, vhost.as_bytes());
    put(&mut key, name.as_bytes());
    PolicyRow { key, value }
}

fn encode_policy(policy: &Policy) -> Vec<u8> {
    let mut row = policy.priority.to_be_bytes().to_vec();
    put(&mut row, policy.pattern.as_bytes());
    put(&mut row, policy.apply_to.name().as_bytes());
    for (key, value) in &policy.definition {
        put(&mut row, key.as_bytes());
        match value {
            Value::Integer(number) => {
                row.push(INTEGER);
                row.extend_from_slice(&number.to_be_bytes());
            }
            // No policy is kept with the last.
            Value::Text(text) | Value::Other(text) => {
                row.push(TEXT);
                put(&mut row, text.as_bytes());
            }
            Value::Integers(numbers) => {
                row.push(INTEGERS);
                let count = u32::try_from(numbers.len()).expect("a policy has a limited number of delays");
                row.extend_from_slice(&count.to_be_bytes());
                numbers.iter().for_each(|number| row.extend_from_slice(&number.to_be_bytes()));
            }
        }
    }
    row
}

pub(in crate::store) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<PolicyChange, StoreError> {
    let mut reader = Reader { table: "policies", rest: key };
    let rank = if reader.flags(1)? == 1 { Rank::Operator } else { Rank::User };
    let (vhost, name) = (reader.text()?, reader.text()?);
    reader.end()?;
    let Some(value) = value else { return Ok(PolicyChange::Delete { rank, vhost, name }) };
    let mut reader = Reader { table: "policies", rest: value };
    let (priority, pattern) = (reader.i64()?, reader.text()?);
    let apply_to = ApplyTo::named(&reader.text()?).map_err(|_unknown| reader.malformed())?;
    let mut definition = Definition::new();
    while !reader.rest.is_empty() {
        let key = reader.text()?;
        definition.insert(key, decode_value(&mut reader)?);
    }
    Ok(PolicyChange::Put(rank, Policy { vhost, name, pattern, apply_to, priority, definition }))
}

fn decode_value(reader: &mut Reader<'_>) -> Result<Value, StoreError> {
    Ok(match reader.u8()? {
        INTEGER => Value::Integer(reader.i64()?),
        TEXT => Value::Text(reader.text()?),
        INTEGERS => {
            let count = reader.u32()?;
            Value::Integers((0..count).map(|_| reader.i64()).collect::<Result<_, _>>()?)
        }
        _ => return Err(reader.malformed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let definition = [
            ("max-length".to_owned(), Value::Integer(-5)),
            ("overflow".to_owned(), Value::Text("drop-head".to_owned())),
            ("retry-delays".to_owned(), Value::Integers(vec![1, 2])),
        ];
        Policy {
            vhost: "/".to_owned(),
            name: "p".to_owned(),
            pattern: "^q".to_owned(),
            apply_to: ApplyTo::Queues,
            priority: -1,
            definition: definition.into(),
        }
    }

    fn changes() -> [PolicyChange; 3] {
        let (rank, vhost, name) = (Rank::User, "/".to_owned(), "p".to_owned());
        [
            PolicyChange::Put(Rank::Operator, policy()),
            PolicyChange::Put(rank, Policy { definition: Definition::new(), ..policy() }),
            PolicyChange::Delete { rank, vhost, name },
        ]
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn rows_are_as_drawn() {
        let PolicyRow { key, value } = encode(&changes()[0]);
        assert_eq!(key, b"\x01\0\0\0\x01/\0\0\0\x01p");
        let head = b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x02^q\0\0\0\x06queues";
        let length = b"\0\0\0\x0amax-length\0\xff\xff\xff\xff\xff\xff\xff\xfb";
        let overflow = b"\0\0\0\x08overflow\x01\0\0\0\x09drop-head";
        let delays = b"\0\0\0\x0cretry-delays\x02\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02";
        assert_eq!(value.unwrap(), [&head[..], length, overflow, delays].concat());
        let PolicyRow { key, value } = encode(&changes()[2]);
        assert_eq!((key.as_slice(), value), (&b"\0\0\0\0\x01/\0\0\0\x01p"[..], None));
    }

    #[test]
    fn every_change_comes_back() {
        for change in changes() {
            let PolicyRow { key, value } = encode(&change);
            assert_eq!(decode(&key, value.as_deref()).unwrap(), change);
        }
    }

    #[test]
    fn malformed_rows_are_refused() {
        let PolicyRow { key, value } = encode(&changes()[0]);
        let value = value.unwrap();
        (0..key.len()).for_each(|end| assert!(decode(&key[..end], None).is_err(), "cut at {end}"));
        assert!(decode(b"\x02\0\0\0\x01/\0\0\0\x01p", None).is_err());
        // Without some of its last keys a policy is a policy.
        let whole = [24, 47, 73];
        for end in (0..value.len()).filter(|end| !whole.contains(end)) {
            assert!(decode(&key, Some(&value[..end])).is_err(), "cut at {end}");
        }
        let mut odd = value.clone();
        odd[38] = 3;
        assert!(decode(&key, Some(&odd)).is_err());
        let count = value.len() - 20;
        odd = value;
        odd[count..count + 4].fill(0xff);
        assert!(decode(&key, Some(&odd)).is_err());
    }
}
