//! Field tables: checked, read whole, read by key and written, all to the same end.

use leveret::message::table::{FieldTable, FieldValue, check as check_table, decode, encode, get};

/// Reads `data` as a table.
pub fn check(data: &[u8]) {
    let read = decode(data);
    assert_eq!(check_table(data).is_ok(), read.is_ok(), "a table is checked otherwise than it is read");
    let Ok(table) = read else {
        let _anything_but_a_panic = get(data, b"x");
        return;
    };
    for (name, value) in &table {
        let raw = get(data, name.as_bytes()).expect("a key of the table");
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
    let mut array = Vec::new();
    for (at, value) in [
        FieldValue::Boolean(true),
        FieldValue::ShortShortInt(-1),
        FieldValue::ShortShortUInt(1),
        FieldValue::ShortInt(-2),
        FieldValue::ShortUInt(2),
        FieldValue::LongInt(-3),
        FieldValue::LongUInt(3),
        FieldValue::LongLongInt(-4),
        FieldValue::Float(1.5),
        FieldValue::Double(-1.5),
        FieldValue::Decimal { scale: 2, value: 314 },
        FieldValue::LongString("text".into()),
        FieldValue::ByteArray(vec![0, 1, 2]),
        FieldValue::Timestamp(1_795_000_000),
        FieldValue::Void,
    ]
    .into_iter()
    .enumerate()
    {
        array.push(value.clone());
        table.insert(format!("k{at}"), value);
    }
    table.insert("array".into(), FieldValue::FieldArray(array));
    let mut outer = FieldTable::default();
    outer.insert("x".into(), FieldValue::FieldTable(table.clone()));
    vec![written(&table), written(&outer)]
}
