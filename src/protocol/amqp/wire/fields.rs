//! Field tables of methods, which `amq-protocol` reads, as the rest of the broker has them.

use crate::message::table::{FieldTable, FieldValue};
use amq_protocol::types::{self, AMQPValue};

/// A table that came in a method, whose depth [`super::method::decode`] has checked.
#[must_use]
pub fn read(table: &types::FieldTable) -> FieldTable {
    table.into_iter().map(|(name, value)| (name.as_str().to_owned(), read_value(value))).collect()
}

fn read_value(value: &AMQPValue) -> FieldValue {
    match value {
        AMQPValue::Boolean(value) => FieldValue::Boolean(*value),
        AMQPValue::ShortShortInt(value) => FieldValue::ShortShortInt(*value),
        AMQPValue::ShortShortUInt(value) => FieldValue::ShortShortUInt(*value),
        AMQPValue::ShortInt(value) => FieldValue::ShortInt(*value),
        AMQPValue::ShortUInt(value) => FieldValue::ShortUInt(*value),
        AMQPValue::LongInt(value) => FieldValue::LongInt(*value),
        AMQPValue::LongUInt(value) => FieldValue::LongUInt(*value),
        AMQPValue::LongLongInt(value) => FieldValue::LongLongInt(*value),
        AMQPValue::Float(value) => FieldValue::Float(*value),
        AMQPValue::Double(value) => FieldValue::Double(*value),
        AMQPValue::DecimalValue(decimal) => {
            FieldValue::Decimal { scale: decimal.scale, value: decimal.value }
        }
        // A short string has no octet of its own in RabbitMQ's tables, so none comes.
        AMQPValue::ShortString(text) => FieldValue::LongString(text.as_str().into()),
        AMQPValue::LongString(text) => FieldValue::LongString(text.as_bytes().to_vec()),
        AMQPValue::ByteArray(bytes) => FieldValue::ByteArray(bytes.as_slice().to_vec()),
        AMQPValue::FieldArray(items) => {
            FieldValue::FieldArray(items.as_slice().iter().map(read_value).collect())
        }
        AMQPValue::Timestamp(seconds) => FieldValue::Timestamp(*seconds),
        AMQPValue::FieldTable(table) => FieldValue::FieldTable(read(table)),
        AMQPValue::Void => FieldValue::Void,
    }
}
