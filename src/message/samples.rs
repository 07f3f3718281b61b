//! For tests only: one of each thing that a table holds.

use super::table::{FieldTable, FieldValue};

/// A table with a value of every kind, nested ones too.
pub(crate) fn every_kind() -> FieldTable {
    let scalars = [
        FieldValue::Boolean(true),
        FieldValue::ShortShortInt(-1),
        FieldValue::ShortShortUInt(255),
        FieldValue::ShortInt(-2),
        FieldValue::ShortUInt(65_535),
        FieldValue::LongInt(-3),
        FieldValue::LongUInt(4_000_000_000),
        FieldValue::LongLongInt(-4),
        FieldValue::Float(0.5),
        FieldValue::Double(-0.25),
        FieldValue::Decimal { scale: 2, value: 314 },
        FieldValue::LongString("text \u{e9}".into()),
        FieldValue::LongString(vec![0xff, 0]),
        FieldValue::Timestamp(1_795_000_000),
        FieldValue::ByteArray(vec![0, 1, 255]),
        FieldValue::Void,
    ];
    let mut table = FieldTable::default();
    for (index, value) in scalars.iter().enumerate() {
        table.insert(format!("scalar-{index}"), value.clone());
    }
    let inner = table.clone();
    table.insert("".into(), FieldValue::FieldTable(FieldTable::default()));
    table.insert("k".repeat(255), FieldValue::FieldArray(Vec::new()));
    table.insert("array".into(), FieldValue::FieldArray(scalars.to_vec()));
    table.insert("table".into(), FieldValue::FieldTable(inner));
    table
}

/// A table whose entry `a` holds so many arrays or tables, each within the one before.
pub(crate) fn nested(kind: u8, levels: usize) -> Vec<u8> {
    let name: &[u8] = if kind == b'F' { b"\x01a" } else { b"" };
    let per_level = name.len() + 5;
    let mut bytes = b"\x01a".to_vec();
    for level in (0..levels).rev() {
        if level + 1 < levels {
            bytes.extend_from_slice(name);
        }
        bytes.push(kind);
        bytes.extend_from_slice(&u32::try_from(level * per_level).unwrap().to_be_bytes());
    }
    bytes
}
