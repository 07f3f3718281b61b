//! Arguments and properties as an operator reads them: AMQP's values without their widths.

use crate::message::table;
use crate::message::table::{DEPTH_MAX, FieldTable, FieldValue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing.
    Nothing,
    /// A bool.
    Bool(bool),
    /// A whole number that fits.
    Signed(i64),
    /// A whole number that is too large for that.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
    /// A text; what is not UTF-8 is replaced.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// Values by name.
    Table(Arguments),
}

/// Values by name.
pub type Arguments = BTreeMap<String, Value>;

/// A table as it is told.
#[must_use]
pub fn arguments(table: &FieldTable) -> Arguments {
    table.iter().map(|(name, value)| (name.to_string(), Value::of(value))).collect()
}

/// As [`arguments`], of an encoded table; empty if it cannot be read.
#[must_use]
pub fn decoded(bytes: &[u8]) -> Arguments {
    table::decode(bytes).map(|table| arguments(&table)).unwrap_or_default()
}

/// Arguments as an operator wrote them, in AMQP's types: whole numbers become
/// `long`, others `double`, texts `longstr` (RabbitMQ: `rabbit_misc:to_amqp_table`).
///
/// # Errors
/// A name is too long for a table, a number does not fit, or it is nested too deep to be read.
pub fn table_of(arguments: &Arguments) -> Result<FieldTable, String> {
    table_within(arguments, 1)
}

/// As [`table_of`]; `depth` counts this table.
fn table_within(arguments: &Arguments, depth: usize) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        if name.len() > usize::from(u8::MAX) {
            return Err(format!("the argument '{name}' has a name of more than {} bytes", u8::MAX));
        }
        table.insert(
            name.as_str().into(),
            value.to_amqp(depth + 1).map_err(|why| format!("the argument '{name}' {why}"))?,
        );
    }
    Ok(table)
}

impl Value {
    /// `depth` counts the value, if it is a table or a list.
    fn to_amqp(&self, depth: usize) -> Result<FieldValue, String> {
        if depth > DEPTH_MAX && matches!(self, Self::List(_) | Self::Table(_)) {
            return Err(format!("is nested deeper than {DEPTH_MAX}"));
        }
        Ok(match self {
            Self::Nothing => FieldValue::Void,
            Self::Bool(value) => FieldValue::Boolean(*value),
            Self::Signed(value) => FieldValue::LongLongInt(*value),
            Self::Unsigned(value) => return Err(format!("is {value}, which is too large")),
            Self::Float(value) => FieldValue::Double(*value),
            Self::Text(value) => FieldValue::LongString(value.as_str().into()),
            Self::List(values) => {
                let values: Result<Vec<_>, _> = values.iter().map(|value| value.to_amqp(depth + 1)).collect();
                FieldValue::FieldArray(values?)
            }
            Self::Table(values) => FieldValue::FieldTable(table_within(values, depth)?),
        })
    }

    /// A value as it is told.
    pub(super) fn of(value: &FieldValue) -> Self {
        let text = |bytes: &[u8]| Self::Text(String::from_utf8_lossy(bytes).into_owned());
        match value {
            FieldValue::Boolean(value) => Self::Bool(*value),
            FieldValue::ShortShortInt(value) => Self::Signed((*value).into()),
            FieldValue::ShortShortUInt(value) => Self::Signed((*value).into()),
            FieldValue::ShortInt(value) => Self::Signed((*value).into()),
            FieldValue::ShortUInt(value) => Self::Signed((*value).into()),
            FieldValue::LongInt(value) => Self::Signed((*value).into()),
            FieldValue::LongUInt(value) => Self::Signed((*value).into()),
            FieldValue::LongLongInt(value) => Self::Signed(*value),
            FieldValue::Float(value) => Self::float((*value).into()),
            FieldValue::Double(value) => Self::float(*value),
            FieldValue::Decimal { scale, value } => {
                Self::float(f64::from(*value) / 10_f64.powi((*scale).into()))
            }
            FieldValue::LongString(value) | FieldValue::ByteArray(value) => text(value),
            FieldValue::FieldArray(array) => Self::List(array.as_slice().iter().map(Self::of).collect()),
            FieldValue::FieldTable(table) => Self::Table(arguments(table)),
            FieldValue::Timestamp(value) => {
                i64::try_from(*value).map_or(Self::Unsigned(*value), Self::Signed)
            }
            FieldValue::Void => Self::Nothing,
        }
    }

    /// JSON has no number that is none.
    fn float(value: f64) -> Self {
        if value.is_finite() { Self::Float(value) } else { Self::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What can be written can be read.
    #[test]
    fn tables_are_no_deeper_than_those_of_clients() {
        let nested = |depth: usize| {
            let lists = (2..depth).fold(Value::Bool(true), |inner, _| Value::List(vec![inner]));
            let tables = (2..depth)
                .fold(Value::Bool(true), |inner, _| Value::Table([("in".to_owned(), inner)].into()));
            [lists, tables].map(|value| Arguments::from([("x".to_owned(), value)]))
        };
        for arguments in nested(DEPTH_MAX + 1) {
            let mut encoded = Vec::new();
            table::encode(&table_of(&arguments).unwrap(), &mut encoded);
            assert_eq!(table::check(&encoded), Ok(()));
            assert_eq!(decoded(&encoded), arguments);
        }
        for arguments in nested(DEPTH_MAX + 2) {
            assert!(table_of(&arguments).unwrap_err().ends_with("is nested deeper than 64"));
        }
    }

    #[track_caller]
    fn check(value: FieldValue, expected: &Value) {
        let mut table = FieldTable::default();
        table.insert("x".into(), value);
        assert_eq!(&arguments(&table)["x"], expected);
        let mut encoded = Vec::new();
        table::encode(&table, &mut encoded);
        assert_eq!(&decoded(&encoded)["x"], expected, "as it lies in a table");
    }

    #[test]
    fn every_kind_is_told() {
        let text = |text: &str| Value::Text(text.to_owned());
        check(FieldValue::Boolean(true), &Value::Bool(true));
        check(FieldValue::ShortShortInt(-1), &Value::Signed(-1));
        check(FieldValue::LongUInt(u32::MAX), &Value::Signed(u32::MAX.into()));
        check(FieldValue::LongLongInt(i64::MIN), &Value::Signed(i64::MIN));
        check(FieldValue::Timestamp(u64::MAX), &Value::Unsigned(u64::MAX));
        check(FieldValue::Double(1.5), &Value::Float(1.5));
        check(FieldValue::Double(f64::NAN), &Value::Nothing);
        check(FieldValue::Decimal { scale: 2, value: 125 }, &Value::Float(1.25));
        check(FieldValue::LongString("a".into()), &text("a"));
        check(FieldValue::LongString(b"\xff".to_vec()), &text("\u{fffd}"));
        check(FieldValue::Void, &Value::Nothing);
        let list = vec![FieldValue::Boolean(false)];
        check(FieldValue::FieldArray(list), &Value::List(vec![Value::Bool(false)]));
        let mut table = FieldTable::default();
        table.insert("in".into(), FieldValue::Void);
        check(FieldValue::FieldTable(table), &Value::Table([("in".to_owned(), Value::Nothing)].into()));
        assert_eq!(decoded(b"\xff"), Arguments::new());
    }
}
