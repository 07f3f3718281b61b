//! Field tables: checked, read whole, read by key and written, all to the same end.

use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use leveret::wire::table::{check as check_table, decode, encode, get};

/// Reads `data` as a table.
pub fn check(data: &[u8]) {
    let read = decode(data);
    assert_eq!(check_table(data).is_ok(), read.is_ok(), "a table is checked otherwise than it is read");
    let Ok(table) = read else {
        let _anything_but_a_panic = get(data, b"x");
        return;
    };
    for (name, value) in table.inner() {
        let raw = get(data, name.as_str().as_bytes()).expect("a key of the table");
        let mut one = FieldTable::default();
        one.insert(name.clone(), value.clone());
        let mut alone = FieldTable::default();
        alone.insert(name.clone(), raw.decode().expect("a value of the table"));
        assert_eq!(written(&one), written(&alone), "'{name}' is another value when asked for by its key");
    }
    let once = written(&table);
    let again = decode(&once).expect("what was written is read");
    // As bytes, for a number may be none, which is not even equal to itself.
    assert_eq!(written(&again), once, "a table changes when it is written");
}

fn written(table: &FieldTable) -> Vec<u8> {
    let mut out = Vec::new();
    encode(table, &mut out);
    out
}

/// A table of every type, and one in another.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let mut table = FieldTable::default();
    let mut array = FieldArray::default();
    for (at, value) in [
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-1),
        AMQPValue::ShortShortUInt(1),
        AMQPValue::ShortInt(-2),
        AMQPValue::ShortUInt(2),
        AMQPValue::LongInt(-3),
        AMQPValue::LongUInt(3),
        AMQPValue::LongLongInt(-4),
        AMQPValue::Float(1.5),
        AMQPValue::Double(-1.5),
        AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 }),
        AMQPValue::LongString("text".into()),
        AMQPValue::ByteArray(vec![0, 1, 2].into()),
        AMQPValue::Timestamp(1_795_000_000),
        AMQPValue::Void,
    ]
    .into_iter()
    .enumerate()
    {
        array.push(value.clone());
        table.insert(format!("k{at}").into(), value);
    }
    table.insert("array".into(), AMQPValue::FieldArray(array));
    let mut outer = FieldTable::default();
    outer.insert("x".into(), AMQPValue::FieldTable(table.clone()));
    vec![written(&table), written(&outer)]
}
